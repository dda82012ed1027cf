//! What can go wrong in training and export; each kind names the file or value.

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
    /// An error of `sketchfind-models`.
    #[error(transparent)]
    Models(#[from] sketchfind_models::Error),
    /// An error of `sketchfind-eval`.
    #[error(transparent)]
    Eval(#[from] sketchfind_eval::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A network takes images of one size only, and these are of another.
    #[error("the network takes a map of {expected:?} there, its images give {got:?}")]
    MapSize {
        /// Height and width.
        expected: [usize; 2],
        /// The map's shape, `[n, c, h, w]`.
        got: Vec<i64>,
    },
    /// A network cannot be exported in a lower precision.
    #[error("the network cannot be exported as {precision}: {reason}")]
    Precision {
        /// The precision's name.
        precision: &'static str,
        /// Why.
        reason: String,
    },
    /// A configuration cannot be read or a value is outside its range.
    #[error("config '{}': {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key, its value, and what was expected.
        reason: String,
    },
    /// The data set cannot be trained on.
    #[error("data set '{}': {reason}", path.display())]
    Data {
        /// The manifest.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Training gave something that is not a number.
    #[error(
        "{what} of step {step} (epoch {epoch}) is {value}; training stopped. A smaller learning rate helps most"
    )]
    NotFinite {
        /// What it is: `the loss`, `the gradient's norm`, `the weights' norm after the update`.
        what: &'static str,
        /// The step, from 1.
        step: u64,
        /// The epoch, from 1.
        epoch: u64,
        /// Its value.
        value: f64,
    },
    /// The caller asked to stop before the first step.
    #[error("interrupted before the first step")]
    Interrupted,
    /// An optimiser's stored state lacks a tensor.
    #[error("the checkpoint's optimiser has no tensor '{name}': it is of another optimiser or network")]
    Optimiser {
        /// Its name.
        name: String,
    },
    /// A run's folder is not what is expected.
    #[error("run '{}': {reason}", path.display())]
    Run {
        /// The folder or a file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A device cannot be used.
    #[error("device '{device}': {reason}")]
    Device {
        /// The device that was asked for.
        device: &'static str,
        /// Why it cannot be used and what would help.
        reason: String,
    },
}

impl Error {
    pub(crate) fn run(path: &Path, reason: impl std::fmt::Display) -> Error {
        Error::Run { path: path.to_owned(), reason: reason.to_string() }
    }
}
