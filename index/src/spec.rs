//! Kinds of indexes, and which one to build.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;

use crate::auto::{Costs, choose};
use crate::{ExactIndex, HnswIndex, HnswParameters, Index, Matrix, Result};

/// A kind of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Looks at every row: the truth.
    Exact,
    /// A hierarchical navigable small world graph (Malkov and Yashunin 2018): fast, may miss a row.
    Hnsw,
}

impl IndexKind {
    /// Every kind.
    pub const ALL: [IndexKind; 2] = [IndexKind::Exact, IndexKind::Hnsw];

    /// The name in files and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Exact => "exact",
            IndexKind::Hnsw => "hnsw",
        }
    }
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By name: `auto`, `exact` or `hnsw`, with default parameters.
impl FromStr for IndexSpec {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<IndexSpec> {
        let specs = [IndexSpec::Auto, IndexSpec::Exact, IndexSpec::from(IndexKind::Hnsw)];
        specs.into_iter().find(|spec| spec.name() == text).ok_or_else(|| {
            let (value, expected) = (format!("'{text}'"), "'auto', 'exact' or 'hnsw'".to_owned());
            CoreError::OutOfRange { what: "kind of index", value, expected }.into()
        })
    }
}

/// Which index to build, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum IndexSpec {
    /// Whichever [`choose`] says at the size that there is.
    Auto,
    /// An [`ExactIndex`].
    Exact,
    /// An [`HnswIndex`].
    Hnsw(HnswParameters),
}

/// With default parameters.
impl From<IndexKind> for IndexSpec {
    fn from(kind: IndexKind) -> IndexSpec {
        match kind {
            IndexKind::Exact => IndexSpec::Exact,
            IndexKind::Hnsw => IndexSpec::Hnsw(HnswParameters::default()),
        }
    }
}

impl IndexSpec {
    /// The kind for a matrix of `n_numbers`, rows times width.
    pub fn kind(self, costs: Option<Costs>, n_numbers: u64) -> IndexKind {
        match self {
            IndexSpec::Auto => choose(costs, n_numbers),
            IndexSpec::Exact => IndexKind::Exact,
            IndexSpec::Hnsw(_) => IndexKind::Hnsw,
        }
    }

    /// The name in files and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            IndexSpec::Auto => "auto",
            IndexSpec::Exact => IndexKind::Exact.name(),
            IndexSpec::Hnsw(_) => IndexKind::Hnsw.name(),
        }
    }

    /// The parameters of a graph, should there be one.
    pub fn parameters(self) -> HnswParameters {
        match self {
            IndexSpec::Auto | IndexSpec::Exact => HnswParameters::default(),
            IndexSpec::Hnsw(parameters) => parameters,
        }
    }

    /// Checks the parameters, which may come from a file.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) with the parameter that is out of range.
    pub fn check(self) -> Result<()> {
        match self {
            IndexSpec::Auto | IndexSpec::Exact => Ok(()),
            IndexSpec::Hnsw(parameters) => parameters.check(),
        }
    }

    /// Builds the index of a matrix.
    ///
    /// # Errors
    /// Those of [`HnswIndex::build`].
    pub fn build(self, matrix: impl Into<Matrix>, distance: Distance) -> Result<Box<dyn Index>> {
        let matrix = matrix.into();
        Ok(match self.kind(None, matrix.values().len() as u64) {
            IndexKind::Exact => Box::new(ExactIndex::new(matrix, distance)),
            IndexKind::Hnsw => Box::new(HnswIndex::build(matrix, distance, self.parameters())?),
        })
    }
}
