//! Long work: who is told how far it is, and who may stop it.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::border::check_reserve;
use crate::status::Outcome;
use sketchfind::{Cancel, Error, Progress, Result};

/// Who is told how far long work is, and who may stop it. All zeros is nobody, and so is a null pointer to it.
///
/// The functions are called on the thread that called for the work, one at a time, some twenty times a second, and once at its
/// beginning and end. They may not unwind, nor change the gallery.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_work {
    /// Called with how much is done, and of how much; of what, the function says that does the work. Null for nobody.
    pub progress: Option<unsafe extern "C" fn(user: *mut c_void, n_done: usize, n_all: usize)>,
    /// Asked whether the work is to stop; it ends then with SKF_CANCELLED. Null for nobody.
    pub is_cancelled: Option<unsafe extern "C" fn(user: *mut c_void) -> bool>,
    /// What the two functions are given.
    pub user: *mut c_void,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// How often the caller is told and asked.
const EVERY: Duration = Duration::from_millis(50);

/// The caller's functions, on the caller's thread.
struct Watcher<'w> {
    work: &'w skf_work,
    n_all: Option<usize>,
    n_told: Option<usize>,
}

impl Watcher<'_> {
    fn tell(&mut self, n_done: usize) {
        let (Some(progress), Some(n_all)) = (self.work.progress, self.n_all) else { return };
        // Others may add to what there is to do meanwhile.
        let n_done = n_done.min(n_all);
        if self.n_told.replace(n_done) != Some(n_done) {
            // SAFETY: by the contract of the functions that take the work.
            unsafe { progress(self.work.user, n_done, n_all) };
        }
    }

    fn is_cancelled(&self) -> bool {
        // SAFETY: by the contract of the functions that take the work.
        self.work.is_cancelled.is_some_and(|is_cancelled| unsafe { is_cancelled(self.work.user) })
    }
}

/// Does `what`, of which there is `n_all` to do, where that is told. Where somebody watches it is done on a thread of its own, so that the caller's
/// functions are called on the caller's thread whatever threads the work is done on.
///
/// # Safety
/// `work` is null or points to work whose functions may be called with its `user`.
pub(crate) unsafe fn watched<T: Send>(
    work: *const skf_work,
    n_all: Option<usize>,
    what: impl FnOnce(Progress<'_>, Cancel<'_>) -> Result<T> + Send,
) -> Outcome<T> {
    // SAFETY: by this function's contract.
    let Some(work) = (unsafe { work.as_ref() }) else {
        return Ok(what(Progress::default(), Cancel::default())?);
    };
    check_reserve(&work.reserved, "skf_work")?;
    let mut watcher = Watcher { work, n_all, n_told: None };
    if watcher.is_cancelled() {
        return Err(Error::Cancelled.into());
    }
    watcher.tell(0);
    let (n_done, is_cancelled) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (goes_on, ended) = channel::<()>();
    let done = std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("sketchfind-work".to_owned());
        let worker = worker.spawn_scoped(scope, || {
            let _until_the_end = goes_on;
            // Threads overtake each other; what is done stays done.
            let tell = |n| {
                n_done.fetch_max(n, Ordering::Relaxed);
            };
            what(Progress::new(&tell), Cancel::new(&|| is_cancelled.load(Ordering::Relaxed)))
        });
        let worker = worker.map_err(|e| Error::Threads { n_threads: 1, reason: e.to_string() })?;
        while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            watcher.tell(n_done.load(Ordering::Relaxed));
            if watcher.is_cancelled() {
                is_cancelled.store(true, Ordering::Relaxed);
            }
        }
        // What is a defect there is one here.
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    // Some work tells of every few hundred.
    watcher.tell(n_all.unwrap_or_default());
    Ok(done)
}
