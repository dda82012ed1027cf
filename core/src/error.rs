//! What can go wrong with the data that crosses the doors; each kind states both sides.

use std::path::{Path, PathBuf};

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in this crate. Every kind names the file or the value and what was expected of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} '{}': {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file was read, but is not what it should be.
    #[error("'{}': {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, where, and what was expected.
        reason: String,
    },
    /// An image could not be decoded.
    #[error("cannot decode image {origin}: {reason}")]
    Image {
        /// The path in quotes, or words such as `given as bytes`.
        origin: String,
        /// What the decoder said.
        reason: String,
    },
    /// A drawing is blank, or nearly.
    #[error("nothing is drawn: {reason}")]
    Blank {
        /// What was measured and expected.
        reason: String,
    },
    /// A data set breaks a law of `core::dataset`.
    #[error("data set '{}': {reason}", path.display())]
    Dataset {
        /// The manifest or folder.
        path: PathBuf,
        /// Which law is broken, and by which entry.
        reason: String,
    },
    /// Two numbers that must be equal are not.
    #[error("{what}: expected {expected}, got {got}")]
    Mismatch {
        /// What was counted or measured.
        what: &'static str,
        /// What was expected.
        expected: String,
        /// What there was.
        got: String,
    },
    /// A value that must be finite is not.
    #[error("{what} has a value that is not finite ({value}) in row {row}")]
    NotFinite {
        /// What the value belongs to.
        what: &'static str,
        /// Its row, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A value is outside its range.
    #[error("{what} is {value}, expected {expected}")]
    OutOfRange {
        /// The value's name.
        what: &'static str,
        /// The value.
        value: String,
        /// The range or choice.
        expected: String,
    },
}

impl Error {
    /// An [`Error::Io`] for `path`; for use as `map_err(Error::io("read", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    /// An [`Error::Malformed`] for `path`.
    pub fn malformed(path: &Path, reason: impl Into<String>) -> Error {
        Error::Malformed { path: path.to_owned(), reason: reason.into() }
    }
}

/// An error and its causes as one line, for programs: a cause whose text the line has already is not said again.
///
/// ```
/// use sketchfind_core::{Error, error::explain};
/// let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
/// let error = Error::io("read", std::path::Path::new("a.png"))(missing);
/// assert_eq!(explain(&error), "cannot read 'a.png': no such file");
/// ```
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
