//! Work on a thread of its own, which ends when nobody wants it any more.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::Owned;
use crate::{Error, Result};

/// Work that goes on until it is done or this is dropped.
pub(crate) struct Background {
    stop: Arc<Stop>,
    thread: Owned<Option<JoinHandle<()>>>,
}

/// Whether work shall end.
#[derive(Default)]
pub(crate) struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `time`, or until the work shall end; whether it shall.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is_set, time, |is_set| !*is_set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn set(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl Background {
    /// Starts `work` on a thread called `name`.
    ///
    /// # Errors
    /// [`Error::Threads`] where the system refuses it.
    pub(crate) fn start(name: &str, work: impl FnOnce(&Stop) + Send + 'static) -> Result<Background> {
        let stop = Arc::new(Stop::default());
        let of_thread = Arc::clone(&stop);
        let builder = std::thread::Builder::new().name(name.to_owned());
        let thread = builder
            .spawn(move || work(&of_thread))
            .map_err(|e| Error::Threads { n_threads: 1, reason: e.to_string() })?;
        Ok(Background { stop, thread: Owned::new(Some(thread)) })
    }

    /// Whether it goes on.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // In a child made by fork there is no such thread.
        if self.thread.is_current() {
            self.stop.set();
            if let Some(thread) = self.thread.take() {
                // A panic there was told by its own message.
                let _ = thread.join();
            }
        }
    }
}
