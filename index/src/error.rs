//! What can go wrong in search.

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A query, a matrix or a parameter is not what it should be.
    #[error(transparent)]
    Core(#[from] sketchfind_core::Error),
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
}
