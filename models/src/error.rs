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
    /// Weights do not fit a network. Its text has some of the differences of each kind, [`Error::differences`] all.
    #[error("weights do not fit the network '{network}':{}", some_differences(.missing, .misshapen, .unexpected))]
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
    /// An ONNX file cannot be used as a model.
    #[error("'{}': {reason}", path.display())]
    OnnxFile {
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

    /// All differences between weights and a network that they do not fit, a line each; nothing for another error.
    pub fn differences(&self) -> Option<String> {
        let Error::WeightsDoNotFit { missing, misshapen, unexpected, .. } = self else {
            return None;
        };
        let lines = kinds(missing, misshapen, unexpected)
            .into_iter()
            .flat_map(|(title, names)| names.iter().map(move |name| format!("{title}: {name}\n")));
        Some(lines.collect())
    }

    /// How many differences are left out of the text of this error.
    pub fn n_differences_untold(&self) -> usize {
        let Error::WeightsDoNotFit { missing, misshapen, unexpected, .. } = self else {
            return 0;
        };
        kinds(missing, misshapen, unexpected).iter().map(|(_, names)| names.len().saturating_sub(TOLD)).sum()
    }
}

type Kinds<'e> = [(&'static str, &'e [String]); 3];

fn kinds<'e>(missing: &'e [String], misshapen: &'e [String], unexpected: &'e [String]) -> Kinds<'e> {
    [("missing", missing), ("misshapen", misshapen), ("unexpected", unexpected)]
}

/// How many names of a kind an error tells.
const TOLD: usize = 4;

fn some_differences(missing: &[String], misshapen: &[String], unexpected: &[String]) -> String {
    let mut text = String::new();
    for (title, names) in kinds(missing, misshapen, unexpected) {
        if names.is_empty() {
            continue;
        }
        // A name comes from a file and may be of any length.
        let told: Vec<String> = names.iter().take(TOLD).map(|name| shortened(name)).collect();
        text.push_str(&format!("\n  {title} ({}): {}", names.len(), told.join(", ")));
        if names.len() > TOLD {
            text.push_str(&format!(" and {} more", names.len() - TOLD));
        }
    }
    text
}

fn shortened(name: &str) -> String {
    const LONGEST: usize = 120;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    format!("{}...", name.chars().take(LONGEST).collect::<String>())
}
