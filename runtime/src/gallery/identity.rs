//! Which file it is: files of a gallery are told apart by what the system calls them (device and inode). Two files that are
//! there at the same time never have the same name of this kind, and a file that is held open is there: so a gallery that was
//! replaced by another with the very same words in its `gallery.json` is known as another one.

use std::fs::Metadata;

/// Which file it is, among those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The identity of a file, where the system tells.
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Option<Identity> {
        use std::os::unix::fs::MetadataExt;
        Some(Identity { device: metadata.dev(), inode: metadata.ino() })
    }

    /// The identity of a file, where the system tells.
    #[cfg(not(unix))]
    pub(super) fn of(_metadata: &Metadata) -> Option<Identity> {
        None
    }
}
