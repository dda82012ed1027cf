//! How a call ended, as a code.

use sketchfind_core::Error as CoreError;

use sketchfind::Error;

/// How a call ended. Anything but SKF_OK leaves a message for skf_last_error. There may be more of them in later versions.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum skf_status {
    /// Done.
    SKF_OK = 0,
    /// An argument is null, not UTF-8, out of range or not finite.
    SKF_BAD_ARGUMENT = 1,
    /// A file cannot be read or written: missing, no permission, disk full.
    SKF_IO = 2,
    /// An image cannot be decoded or is over the limit, or nothing is drawn on it.
    SKF_BAD_IMAGE = 3,
    /// A gallery or model is damaged, foreign or of a newer version.
    SKF_BAD_FILE = 4,
    /// ONNX Runtime or the device cannot be used, its telemetry cannot be switched off, or the model cannot be run.
    SKF_NATIVE = 5,
    /// Another writer has the gallery.
    SKF_LOCKED = 6,
    /// The gallery is open for reading only.
    SKF_READ_ONLY = 7,
    /// The photo is there already.
    SKF_EXISTS = 8,
    /// The caller's function said that the work is to stop.
    SKF_CANCELLED = 9,
    /// What is used was opened by the process that this one was forked from: open it in this one.
    SKF_FORKED = 10,
    /// A picture was given to a gallery that has no model: it takes embeddings that are ready, and is asked with such.
    SKF_NO_MODEL = 11,
    /// A defect of this library.
    SKF_INTERNAL = 99,
}
use skf_status::*;

/// What went wrong: a code and words.
pub(crate) struct Failure(pub(crate) skf_status, pub(crate) String);

pub(crate) type Outcome<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match &error {
            Error::Core(CoreError::Io { .. }) | Error::BrokenPicture { source: CoreError::Io { .. }, .. } => {
                SKF_IO
            }
            Error::Core(CoreError::Image { .. } | CoreError::Blank { .. })
            | Error::BrokenImage { .. }
            | Error::BrokenPicture { .. } => SKF_BAD_IMAGE,
            Error::Core(
                CoreError::OutOfRange { .. } | CoreError::Mismatch { .. } | CoreError::NotFinite { .. },
            ) => SKF_BAD_ARGUMENT,
            Error::Core(_) | Error::Gallery { .. } | Error::OtherModel { .. } | Error::Graph { .. } => {
                SKF_BAD_FILE
            }
            Error::Locked { .. } => SKF_LOCKED,
            Error::ReadOnly { .. } => SKF_READ_ONLY,
            Error::PhotoExists { .. } | Error::RepeatedId { .. } | Error::OtherSource { .. } => SKF_EXISTS,
            Error::Cancelled => SKF_CANCELLED,
            Error::Forked { .. } => SKF_FORKED,
            Error::NoModel { .. } => SKF_NO_MODEL,
            _ => SKF_NATIVE,
        };
        Failure(status, error.to_string())
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Failure {
        Error::Core(error).into()
    }
}

/// An argument that is not as it is to be.
pub(crate) fn bad(words: impl Into<String>) -> Failure {
    Failure(SKF_BAD_ARGUMENT, words.into())
}
