//! The process that something belongs to. A child that is made by fork has a copy of the memory and none of the threads: what
//! was opened before the fork cannot be used there, and its end must neither wait for threads that are not there nor undo what
//! the parent holds.

use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

/// The process that made this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// This process.
    pub(crate) fn current() -> Process {
        Process(std::process::id())
    }

    /// Whether this process made the value, and not the one that it was forked from.
    pub(crate) fn is_current(self) -> bool {
        self == Process::current()
    }

    /// Refuses `what` where another process has opened it.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub(crate) fn check(self, what: impl FnOnce() -> String) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        Err(Error::Forked { what: what(), opened_by: self.0, here: Process::current().0 })
    }
}

/// A value that is dropped by the process that made it, and forgotten by a child of it.
pub(crate) struct Owned<T> {
    process: Process,
    /// Taken by `drop`, and by nobody before.
    value: Option<T>,
}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Owned<T> {
        Owned { process: Process::current(), value: Some(value) }
    }

    /// Whether this process made it.
    pub(crate) fn is_current(&self) -> bool {
        self.process.is_current()
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only drop takes the value")
    }
}

impl<T> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("only drop takes the value")
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.is_current() {
            std::mem::forget(self.value.take());
        }
    }
}

/// Runs `work` on threads that are alive: rayon's own, or in a child whose parent had started those before the fork, new ones.
///
/// # Errors
/// [`Error::Threads`] where the system refuses new ones.
pub(crate) fn on_live_threads<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    /// The process that first came here, and whose threads rayon's own are.
    static FIRST: AtomicU32 = AtomicU32::new(0);
    let here = std::process::id();
    match FIRST.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(work()),
        Err(first) if first == here => Ok(work()),
        Err(_parent) => Ok(threads_of_child()?.install(work)),
    }
}

/// The threads of this process, which was made by fork.
fn threads_of_child() -> Result<Arc<rayon::ThreadPool>> {
    static THREADS: Mutex<Option<Owned<Arc<rayon::ThreadPool>>>> = Mutex::new(None);
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    match &*threads {
        Some(there) if there.is_current() => Ok(Arc::clone(there)),
        _ => {
            let n_threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            let new = pool(n_threads)?;
            *threads = Some(Owned::new(Arc::clone(&new)));
            Ok(new)
        }
    }
}

/// A pool of `n_threads` threads of this crate's own.
///
/// # Errors
/// [`Error::Threads`].
pub(crate) fn pool(n_threads: usize) -> Result<Arc<rayon::ThreadPool>> {
    let builder = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .thread_name(|number| format!("sketchfind-{number}"));
    let pool = builder.build().map_err(|e| Error::Threads { n_threads, reason: e.to_string() })?;
    Ok(Arc::new(pool))
}

/// A file that children made by fork do not keep open: what is locked would stay locked until the last of them ends.
#[derive(Debug)]
pub(crate) struct NotForChildren(File);

impl NotForChildren {
    pub(crate) fn new(file: File) -> NotForChildren {
        #[cfg(unix)]
        at_fork::leave(&file);
        NotForChildren(file)
    }
}

impl Deref for NotForChildren {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for NotForChildren {
    fn drop(&mut self) {
        // Before its number is another file's.
        #[cfg(unix)]
        at_fork::forget(&self.0);
    }
}

#[cfg(unix)]
mod at_fork {
    //! What a child does at once when it is made: it lets go of files, by putting nothing in their places, so that their
    //! numbers stay taken until whoever has them closes them.

    use std::fs::File;
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::sync::Once;
    use std::sync::atomic::{AtomicI32, Ordering};

    /// The most files: of more, children hold the rest.
    const MOST: usize = 256;
    const FREE: i32 = -1;
    static FILES: [AtomicI32; MOST] = [const { AtomicI32::new(FREE) }; MOST];
    /// A file that is always empty.
    static NOTHING: AtomicI32 = AtomicI32::new(FREE);
    static PREPARED: Once = Once::new();

    pub(super) fn leave(file: &File) {
        PREPARED.call_once(prepare);
        for place in &FILES {
            let own = file.as_raw_fd();
            if place.compare_exchange(FREE, own, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    pub(super) fn forget(file: &File) {
        let own = file.as_raw_fd();
        let freed = |place: &AtomicI32| {
            place.compare_exchange(own, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let _ = FILES.iter().any(freed);
    }

    // The system calls a function of C in a child.
    #[allow(unsafe_code)]
    fn prepare() {
        let Ok(nothing) = File::open("/dev/null") else { return };
        NOTHING.store(nothing.into_raw_fd(), Ordering::Release);
        // SAFETY: the function does only what is allowed in a child of a process with threads: it reads atomic numbers and
        // calls dup2 and fcntl. Where it cannot be registered, children hold the files.
        unsafe { libc::pthread_atfork(None, None, Some(let_go)) };
    }

    // As above.
    #[allow(unsafe_code)]
    extern "C" fn let_go() {
        let nothing = NOTHING.load(Ordering::Acquire);
        for place in &FILES {
            let file = place.load(Ordering::Acquire);
            if file != FREE {
                // SAFETY: the number is that of a file which the child has open too, as it was not closed before the fork;
                // from here on it is the empty file, which programs that the child starts do not get either.
                unsafe {
                    libc::dup2(nothing, file);
                    libc::fcntl(file, libc::F_SETFD, libc::FD_CLOEXEC);
                }
            }
        }
    }
}
