//! What can go wrong with networks and weights; each kind states both sides.

use std::path::{Path, PathBuf};

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of `sketchfind-core`, mostly of files.
    #[error(transparent)]
    Core(#[from] sketchfind_core::Error),
    /// No network has this name.
    #[error("no network is called '{name}'; known are {known}")]
    UnknownNetwork {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A network's description contradicts itself.
    #[error("network '{network}', node {node}: {reason}")]
    Description {
        /// The network.
        network: String,
        /// The node's index.
        node: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights do not fit a network. All differences are listed at once.
    #[error("weights do not fit the network '{network}':{}", list_differences(.missing, .misshapen, .unexpected))]
    WeightsDoNotFit {
        /// The network.
        network: String,
        /// Tensors that the network needs and that are not there.
        missing: Vec<String>,
        /// Tensors of another shape, as `name: expected [..], got [..]`.
        misshapen: Vec<String>,
        /// Tensors that the network does not have.
        unexpected: Vec<String>,
    },
    /// A tensor's values do not fill its shape.
    #[error("tensor of shape {shape:?} has {n_values} values, expected {expected}")]
    TensorShape {
        /// The shape.
        shape: Vec<usize>,
        /// The values that there are.
        n_values: usize,
        /// The product of the shape.
        expected: String,
    },
    /// A file of weights cannot be read as such.
    #[error("'{}': {reason}", path.display())]
    WeightsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what was expected.
        reason: String,
    },
    /// A file that describes a network cannot be read as such.
    #[error("'{}': {reason}", path.display())]
    NetworkFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what was expected.
        reason: String,
    },
    /// A tensor holds NaN or an infinity.
    #[error("tensor '{tensor}' holds a value that is not finite ({value})")]
    NotFinite {
        /// The tensor's name.
        tensor: String,
        /// The value.
        value: f32,
    },
    /// A network cannot be written as ONNX.
    #[error("cannot write the network '{network}' as ONNX: {reason}")]
    Onnx {
        /// The network.
        network: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// An [`Error::WeightsFile`] for `path`.
    pub fn weights_file(path: &Path, reason: impl Into<String>) -> Error {
        Error::WeightsFile { path: path.to_owned(), reason: reason.into() }
    }
}

fn list_differences(missing: &[String], misshapen: &[String], unexpected: &[String]) -> String {
    let mut text = String::new();
    for (title, names) in [("missing", missing), ("misshapen", misshapen), ("unexpected", unexpected)] {
        if !names.is_empty() {
            text.push_str(&format!("\n  {title} ({}): {}", names.len(), names.join(", ")));
        }
    }
    text
}
