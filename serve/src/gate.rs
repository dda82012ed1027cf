//! Work on threads of its own, as much at once as was stated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Lets a stated number of things through at once, in the order in which they came.
#[derive(Clone)]
pub(crate) struct Gate {
    inside: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    n_waiting: usize,
    /// How long one waits.
    wait: Duration,
}

/// The right to be inside of a gate, until it is dropped.
pub(crate) struct Pass {
    _inside: OwnedSemaphorePermit,
}

/// Whether the client of a piece of work has gone away.
#[derive(Clone)]
pub(crate) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    /// Ends work that nobody waits for any more.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.0.load(Ordering::Relaxed) {
            // Nobody reads it.
            return Err(Problem::new(
                axum::http::StatusCode::REQUEST_TIMEOUT,
                "abandoned",
                "the client has gone away",
            ));
        }
        Ok(())
    }
}

/// Says so when it is dropped: a request whose client goes away is dropped where it waits.
struct OnDrop(Abandoned);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Gate {
    /// A gate for `n_inside` at once and `n_waiting` in line, each for at most `wait`.
    pub(crate) fn new(n_inside: usize, n_waiting: usize, wait: Duration) -> Gate {
        let (inside, waiting) = (Arc::new(Semaphore::new(n_inside)), Arc::new(Semaphore::new(n_waiting)));
        Gate { inside, waiting, n_waiting, wait }
    }

    /// How many are in line.
    pub(crate) fn n_waiting(&self) -> usize {
        self.n_waiting.saturating_sub(self.waiting.available_permits())
    }

    /// Goes in at once, or not at all.
    ///
    /// # Errors
    /// [`Problem::overloaded`].
    pub(crate) fn enter_now(&self) -> Result<Pass, Problem> {
        match Arc::clone(&self.inside).try_acquire_owned() {
            Ok(permit) => Ok(Pass { _inside: permit }),
            Err(_full) => Err(Problem::overloaded()),
        }
    }

    /// Goes in when it is its turn, if there is a place in line and its turn comes in time. Who goes away meanwhile leaves
    /// the line at once.
    ///
    /// # Errors
    /// [`Problem::overloaded`].
    pub(crate) async fn enter(&self) -> Result<Pass, Problem> {
        if let Ok(pass) = self.enter_now() {
            return Ok(pass);
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(Problem::overloaded());
        };
        match tokio::time::timeout(self.wait, Arc::clone(&self.inside).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Pass { _inside: permit }),
            Ok(Err(_closed)) => Err(Problem::overloaded()),
            Err(_elapsed) => Err(Problem::overloaded()),
        }
    }
}

/// Runs `work` on a thread of its own. It holds `pass` until it is done, even where the client goes away before, so
/// that the gate's number is that of threads at work.
///
/// # Errors
/// Those of `work`; [`Problem::internal`] where it panics.
pub(crate) async fn on_thread<T: Send + 'static>(
    pass: Pass,
    work: impl FnOnce(&Abandoned) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let abandoned = Abandoned(Arc::new(AtomicBool::new(false)));
    let _on_drop = OnDrop(abandoned.clone());
    let result = tokio::task::spawn_blocking(move || {
        let _pass = pass;
        work(&abandoned)
    });
    match result.await {
        Ok(result) => result,
        Err(panic) => Err(Problem::internal(&panic)),
    }
}

/// Runs a question to the gallery on a thread that may wait: a database is asked over a network. It is short, and takes no turn.
///
/// # Errors
/// Those of `ask`; [`Problem::internal`] where it panics.
pub(crate) async fn asked<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(ask).await.unwrap_or_else(|panic| Err(Problem::internal(&panic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    /// Longer than any test.
    const WAIT: Duration = Duration::from_secs(600);

    #[test]
    fn a_line_is_as_long_as_stated_and_moves_and_ends() {
        block_on(async {
            let gate = Gate::new(1, 1, Duration::from_millis(50));
            let pass = gate.enter_now().unwrap();
            // Nobody leaves in time.
            assert_eq!(gate.enter().await.err().unwrap().code(), "overloaded");
            let (first, second) = (gate.clone(), gate.clone());
            let waits = tokio::spawn(async move { first.enter().await.map(drop).is_ok() });
            while gate.n_waiting() == 0 {
                tokio::task::yield_now().await;
            }
            // The one place in line is taken.
            assert!(second.enter().await.is_err());
            drop(pass);
            assert!(waits.await.unwrap());
            assert_eq!(gate.n_waiting(), 0);
            // Who goes away gives its place back.
            let _pass = gate.enter_now().unwrap();
            let third = gate.clone();
            let goes_away = tokio::spawn(async move { third.enter().await.map(drop) });
            while gate.n_waiting() == 0 {
                tokio::task::yield_now().await;
            }
            goes_away.abort();
            let _ = goes_away.await;
            assert_eq!(gate.n_waiting(), 0);
        });
    }

    #[test]
    fn a_full_gate_refuses_at_once_and_opens_again() {
        let gate = Gate::new(1, 0, WAIT);
        let pass = gate.enter_now().unwrap();
        assert!(gate.enter_now().is_err());
        assert!(block_on(gate.enter()).is_err(), "there is no place in line");
        drop(pass);
        gate.enter_now().unwrap();
    }

    #[test]
    fn a_pass_is_held_until_the_thread_is_done() {
        block_on(async {
            let gate = Gate::new(1, 1, WAIT);
            let (begin, begun) = std::sync::mpsc::channel();
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let (seen, was_abandoned) = std::sync::mpsc::channel();
            let work = on_thread(gate.enter_now().unwrap(), move |abandoned| {
                let _ = begin.send(());
                let _ = ended.recv();
                let _ = seen.send(abandoned.check().is_err());
                Ok(())
            });
            // The client goes away.
            let task = tokio::spawn(work);
            while begun.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            task.abort();
            let _ = task.await;
            assert!(gate.enter_now().is_err(), "the thread is still at work");
            drop(end);
            gate.enter().await.unwrap();
            assert!(was_abandoned.recv().unwrap());
        });
    }

    #[test]
    fn a_panic_is_an_error() {
        let gate = Gate::new(1, 0, WAIT);
        let result: Result<(), Problem> =
            block_on(on_thread(gate.enter_now().unwrap(), |_| panic!("on purpose")));
        assert_eq!(result.unwrap_err().code(), "internal");
        gate.enter_now().unwrap();
    }
}
