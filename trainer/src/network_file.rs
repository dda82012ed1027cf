//! A network that is a file, as a run remembers it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A network's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// Where it was.
    pub path: PathBuf,
    /// What was in it.
    pub sha256: String,
}
