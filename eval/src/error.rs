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
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
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
    /// A query has no label where every query needs one.
    #[error("the query '{query}' has no label in the column '{column}'")]
    NoLabel {
        /// The query's id.
        query: String,
        /// What is labelled.
        column: String,
    },
    /// Something that is asked for by its id is not there.
    #[error("{asker}: there is no {what} '{id}'")]
    Unknown {
        /// Who asks for it.
        asker: String,
        /// What it should be: `photo in the reference space`, `sketch`, ...
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// Neighbours need company.
    #[error("there are {n} photos, expected at least 3: one to stand at and two to compare")]
    TooFewPhotos {
        /// Photos that there are.
        n: usize,
    },
    /// Queries and gallery have embeddings of different widths.
    #[error("the queries' embeddings are {queries} wide, the gallery's {gallery}")]
    Widths {
        /// The queries' width.
        queries: usize,
        /// The gallery's width.
        gallery: usize,
    },
    /// An id cannot stand in a file whose fields are parted by spaces.
    #[error("the id '{id}' is not one word, which a run or qrels file needs")]
    TrecId {
        /// The id.
        id: String,
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
    /// Distances do not say which photo is the one.
    #[error(
        "nothing can be learned of the distances of {n} sketches: a nearer photo is no likelier to be the one. Is the model \
         trained, and is it asked of what it was trained for?"
    )]
    NoCalibration {
        /// The sketches that were to be learned from.
        n: usize,
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
