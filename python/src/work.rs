//! Long work: done on a thread of its own while the thread that called holds no lock of Python's, heeds signals and tells
//! progress.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;
use sketchfind as runtime;
use sketchfind::{Cancel, Progress};

use crate::errors::{Native, defect, raised};
use crate::feed::{Fed, Feed, Pictures};
use crate::progress::Teller;

/// How often signals are looked for, and progress is told.
const TICK: Duration = Duration::from_millis(20);
/// How long work that was cancelled is waited for. What does not stop within this, as a file on a dead network, is left to
/// end by itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does `work`, which owns all that it needs, and returns what comes of it. Ctrl-C ends the call at once.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(Progress<'_>, Cancel<'_>) -> runtime::Result<T> + Send + 'static,
) -> PyResult<T> {
    run_told(py, Teller::silent(), work)
}

/// [`run`], and `teller` is told how much is done.
pub(crate) fn run_told<T: Send + 'static>(
    py: Python<'_>,
    teller: Teller,
    work: impl FnOnce(Progress<'_>, Cancel<'_>) -> runtime::Result<T> + Send + 'static,
) -> PyResult<T> {
    let mut running = Running::start(teller, work)?;
    let outcome = running.wait(py);
    running.end(py);
    outcome
}

/// [`run_told`] with pictures, which are taken from Python on the thread that called, a few ahead of the work.
pub(crate) fn run_fed<T: Send + 'static>(
    pictures: &Pictures<'_>,
    teller: Teller,
    work: impl FnOnce(Fed, Progress<'_>, Cancel<'_>) -> runtime::Result<T> + Send + 'static,
) -> PyResult<T> {
    let py = pictures.py();
    let feed = Feed::new(pictures.length());
    let fed = feed.taker();
    let mut running = Running::start(teller, move |progress, cancel| work(fed, progress, cancel))?;
    let outcome = running.give_all(pictures, &feed);
    // Whoever waits for more gets none.
    feed.end();
    let outcome = match outcome {
        Ok(None) => running.wait(py),
        Ok(Some(done)) => Ok(done),
        Err(error) => Err(error),
    };
    running.end(py);
    outcome
}

#[derive(Default)]
struct Shared {
    n_done: AtomicUsize,
    is_cancelled: AtomicBool,
}

struct Running<T> {
    shared: Arc<Shared>,
    done: Receiver<std::thread::Result<runtime::Result<T>>>,
    is_over: bool,
    teller: Teller,
}

impl<T: Send + 'static> Running<T> {
    fn start(
        teller: Teller,
        work: impl FnOnce(Progress<'_>, Cancel<'_>) -> runtime::Result<T> + Send + 'static,
    ) -> PyResult<Running<T>> {
        let (sender, done) = channel();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let call = move || {
            let tell = |n_done| own.n_done.store(n_done, Ordering::Relaxed);
            let is_cancelled = || own.is_cancelled.load(Ordering::Relaxed);
            let work = AssertUnwindSafe(|| work(Progress::new(&tell), Cancel::new(&is_cancelled)));
            // Nobody waits any more where the call was interrupted and patience is at its end.
            let _ = sender.send(std::panic::catch_unwind(work));
        };
        let thread = std::thread::Builder::new().name("sketchfind-call".into()).spawn(call);
        thread.map_err(|error| Native::new_err(format!("cannot start a thread: {error}")))?;
        Ok(Running { shared, done, is_over: false, teller })
    }

    /// What the work came to, if it is done within `wait`.
    fn poll(&mut self, py: Python<'_>, wait: Duration) -> PyResult<Option<T>> {
        let done = &mut self.done;
        let received = py.detach(move || done.recv_timeout(wait));
        self.is_over = received.as_ref().err() != Some(&RecvTimeoutError::Timeout);
        let outcome = match received {
            Ok(Ok(Ok(value))) => Some(value),
            Ok(Ok(Err(error))) => return Err(raised(error)),
            Ok(Err(panic)) => {
                let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
                return Err(defect(
                    &words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default(),
                ));
            }
            Err(RecvTimeoutError::Timeout) => {
                py.check_signals()?;
                None
            }
            Err(RecvTimeoutError::Disconnected) => return Err(defect("a call ended without a word")),
        };
        self.teller.tell(py, self.shared.n_done.load(Ordering::Relaxed))?;
        Ok(outcome)
    }

    fn wait(&mut self, py: Python<'_>) -> PyResult<T> {
        loop {
            if let Some(value) = self.poll(py, TICK)? {
                return Ok(value);
            }
        }
    }

    /// Gives all pictures to the feed, or what the work came to where it ended before that.
    fn give_all(&mut self, pictures: &Pictures<'_>, feed: &Feed) -> PyResult<Option<T>> {
        let py = pictures.py();
        while let Some(picture) = pictures.next()? {
            let mut rest = Some(picture);
            while rest.is_some() {
                let not_taken = &mut rest;
                py.detach(|| feed.offer(not_taken, TICK));
                if let Some(value) = self.poll(py, Duration::ZERO)? {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    /// Stops what still runs.
    fn end(mut self, py: Python<'_>) {
        if !self.is_over {
            self.shared.is_cancelled.store(true, Ordering::Relaxed);
            let done = &mut self.done;
            // Whatever it came to, an exception is on its way.
            py.detach(move || drop(done.recv_timeout(PATIENCE)));
        }
        self.teller.close(py);
    }
}
