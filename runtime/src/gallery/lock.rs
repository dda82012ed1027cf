//! One writer at a time: the lock of a gallery's folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use sketchfind_core::Error as CoreError;

use crate::{Error, Result};

/// The name of the locked file in a gallery's folder.
pub(super) const LOCK: &str = "lock";

/// A lock that is held until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // To close the file is not enough: a child that another thread is just starting has it open too until it becomes
        // its own program, and the lock with it.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Takes the lock of the gallery in `folder`, without waiting.
    ///
    /// # Errors
    /// [`Error::Locked`] where another writer has it; [`Error::Core`] where the file cannot be made.
    pub(super) fn take(folder: &Path) -> Result<Lock> {
        let path = folder.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(CoreError::io("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(Error::Locked { path: folder.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(CoreError::io("lock", &path)(error).into()),
        }
        // For people who look: what counts is the lock.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
        Ok(Lock(file))
    }
}
