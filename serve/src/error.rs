//! What can keep a server from starting or running.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can keep a server from starting or running. What is wrong with a request is told to its client instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The gallery or its model cannot be opened.
    #[error(transparent)]
    Runtime(#[from] sketchfind::Error),
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    Core(#[from] sketchfind_core::Error),
    /// Clients are to change a gallery in a database, beside which there is no folder for the files of photos.
    #[error(
        "gallery '{}': clients cannot change it, since what they add is kept in files beside a gallery's folder, and one in a \
         database has none; serve it without a token, and add photos with `sketchfind index add`",
        gallery.display()
    )]
    Changes {
        /// The gallery's address, without its password.
        gallery: PathBuf,
    },
    /// Drawings cannot be kept in a folder.
    #[error("drawings cannot be kept in '{}': {reason}", folder.display())]
    Teach {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The system refused threads, timers or signals.
    #[error("cannot {action}: {reason}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A limit is out of its range.
    #[error("the limit {name} is {value}, expected {expected}")]
    Limit {
        /// Its name in [`Limits`](crate::Limits).
        name: &'static str,
        /// Its value.
        value: u64,
        /// The range.
        expected: &'static str,
    },
    /// A token that would be easy to guess, or that no client could send.
    #[error("the token {origin} {reason}")]
    Token {
        /// Where it comes from.
        origin: String,
        /// What is wrong, without the token.
        reason: &'static str,
    },
    /// The file of a token cannot be read.
    #[error("cannot read the token's file '{}': {reason}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
}
