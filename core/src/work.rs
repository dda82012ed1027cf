//! Long work: who is told how far it is, and who may stop it.

use std::fmt;

/// Who is told how much of some work is done, from time to time and on any thread.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use sketchfind_core::work::Progress;
/// let done = AtomicUsize::new(0);
/// Progress::new(&|n_done| done.store(n_done, Ordering::Relaxed)).tell(7);
/// assert_eq!(done.into_inner(), 7);
/// ```
#[derive(Clone, Copy)]
pub struct Progress<'a>(&'a (dyn Fn(usize) + Sync));

impl<'a> Progress<'a> {
    /// Calls `tell` with how much is done.
    pub fn new(tell: &'a (dyn Fn(usize) + Sync)) -> Progress<'a> {
        Progress(tell)
    }

    /// Says how much is done; the unit is that of the work.
    pub fn tell(self, n_done: usize) {
        (self.0)(n_done);
    }
}

/// Nobody is told.
impl Default for Progress<'_> {
    fn default() -> Self {
        Progress(&|_| ())
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Who may stop some work. It is asked from time to time, on any thread; the work then ends with an error that says so.
#[derive(Clone, Copy)]
pub struct Cancel<'a>(&'a (dyn Fn() -> bool + Sync));

impl<'a> Cancel<'a> {
    /// The work stops soon after `is_cancelled` says so.
    pub fn new(is_cancelled: &'a (dyn Fn() -> bool + Sync)) -> Cancel<'a> {
        Cancel(is_cancelled)
    }

    /// Whether the work is to stop.
    pub fn is_cancelled(self) -> bool {
        (self.0)()
    }
}

/// Nobody stops it.
impl Default for Cancel<'_> {
    fn default() -> Self {
        Cancel(&|| false)
    }
}

impl fmt::Debug for Cancel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancel")
    }
}
