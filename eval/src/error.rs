//! What can go wrong in an evaluation; each kind names the values.

use std::path::{Path, PathBuf};

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of `sketchfind-core`.
    #[error(transparent)]
    Core(#[from] sketchfind_core::Error),
    /// There is nothing to evaluate.
    #[error("there is no {what} to evaluate")]
    Empty {
        /// `query` or `gallery photo`.
        what: &'static str,
    },
    /// A query's match is not known.
    #[error("the query '{query}' has no match: none is given for it")]
    NoTruth {
        /// The query's id.
        query: String,
    },
    /// A query's match is not in the gallery.
    #[error("the query '{query}' has the match '{truth}', which is not in the gallery")]
    TruthNotInGallery {
        /// The query's id.
        query: String,
        /// The id of its match.
        truth: String,
    },
    /// Queries and gallery have embeddings of different widths.
    #[error("the queries' embeddings are {queries} wide, the gallery's {gallery}")]
    Widths {
        /// The queries' width.
        queries: usize,
        /// The gallery's width.
        gallery: usize,
    },
    /// A setting is outside its range.
    #[error("{what} is {value}, expected {expected}")]
    OutOfRange {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// Its range.
        expected: &'static str,
    },
    /// Two evaluations cannot be compared.
    #[error("the two evaluations cannot be compared: {reason}")]
    NotComparable {
        /// What differs between them.
        reason: String,
    },
    /// A file of a report cannot be read or written as such.
    #[error("'{}': {reason}", path.display())]
    ReportFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn report_file(path: &Path, reason: impl std::fmt::Display) -> Error {
        Error::ReportFile { path: path.to_owned(), reason: reason.to_string() }
    }
}
