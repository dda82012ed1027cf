//! One writer at a time: the lock of a gallery's folder.

use std::fs::{Metadata, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sketchfind_core::Error as CoreError;

use super::identity::Identity;
use crate::process::{NotForChildren, Process};
use crate::{Error, Result};

/// The name of the locked file in a gallery's folder.
pub(super) const LOCK: &str = "lock";

/// A lock that is held until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    file: NotForChildren,
    process: Process,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It is the parent's: a child that unlocks it lets a second writer in.
        if self.process.is_current() {
            // To close the file is not enough: a child that another thread is just starting has it open too until it
            // becomes its own program, and the lock with it.
            let _ = self.file.unlock();
        }
    }
}

/// How long one waits for those who write by turns: a turn takes as long as a file is synced.
const LONGEST_TURN: Duration = Duration::from_secs(1);

impl Lock {
    /// Takes the lock as [`Lock::take`] does, and waits for a moment where somebody has it: one who writes by turns gives it
    /// back.
    ///
    /// # Errors
    /// Those of [`Lock::take`].
    pub(super) fn take_soon(folder: &Path) -> Result<Lock> {
        let started = Instant::now();
        loop {
            match Lock::take(folder) {
                Err(Error::Locked { .. }) if started.elapsed() < LONGEST_TURN => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => return other,
            }
        }
    }

    /// Takes the lock of the gallery in `folder`, without waiting.
    ///
    /// # Errors
    /// [`Error::Locked`] where another writer has it; [`Error::Core`] where the file cannot be made.
    pub(super) fn take(folder: &Path) -> Result<Lock> {
        loop {
            let lock = Lock::try_take(folder)?;
            // Before the lock was taken the folder may have been replaced, and then it is that of what was thrown away.
            let identity = |metadata: std::io::Result<Metadata>| Identity::of(&metadata.ok()?);
            let (own, there) =
                (identity(lock.file.metadata()), identity(std::fs::metadata(folder.join(LOCK))));
            if own == there {
                return Ok(lock);
            }
        }
    }

    fn try_take(folder: &Path) -> Result<Lock> {
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
        // For people who held: what counts is the lock.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
        Ok(Lock { file: NotForChildren::new(file), process: Process::current() })
    }
}
