//! Indexes: which rows of a matrix of embeddings are nearest to a query.
//!
//! Every kind passes one conformance suite. The distances of their hits are the same
//! [`Distance::between`](sketchfind_core::distance::Distance::between) to the last bit; an approximate index
//! may miss a row, never misplace one.

pub(crate) mod exact;
mod hnsw;
mod matrix;

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::ranking::Ranking;

pub use exact::ExactIndex;
pub(crate) use exact::Rows;
pub use hnsw::{HnswIndex, HnswParameters};
pub use matrix::Matrix;

use crate::Result;

/// Finds the rows of a matrix of embeddings that are nearest to a query.
pub trait Index: Send + Sync {
    /// The kind.
    fn kind(&self) -> IndexKind;

    /// The distance that it is built for.
    fn distance(&self) -> Distance;

    /// The matrix that it searches.
    fn matrix(&self) -> &Matrix;

    /// The number of rows.
    fn len(&self) -> usize {
        self.matrix().len()
    }

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` rows nearest to `query`, or all where there are fewer; equal distances are in order of rows, which is that
    /// of ids in [`Embeddings`].
    ///
    /// # Shapes
    /// `query`: `[D]`.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) where the query has another width than the matrix or is not
    /// finite.
    fn search(&self, query: &[f32], k: usize) -> Result<Ranking>;
}

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

impl FromStr for IndexKind {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<IndexKind> {
        IndexKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let (value, expected) = (format!("'{text}'"), "'exact' or 'hnsw'".to_owned());
            CoreError::OutOfRange { what: "kind of index", value, expected }.into()
        })
    }
}

/// Which index to build, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum IndexSpec {
    /// An [`ExactIndex`].
    Exact,
    /// An [`HnswIndex`].
    Hnsw(HnswParameters),
}

impl IndexSpec {
    /// `kind` with its ordinary parameters.
    pub fn ordinary(kind: IndexKind) -> IndexSpec {
        match kind {
            IndexKind::Exact => IndexSpec::Exact,
            IndexKind::Hnsw => IndexSpec::Hnsw(HnswParameters::ORDINARY),
        }
    }

    /// The kind.
    pub fn kind(self) -> IndexKind {
        match self {
            IndexSpec::Exact => IndexKind::Exact,
            IndexSpec::Hnsw(_) => IndexKind::Hnsw,
        }
    }

    /// Checks the parameters, which may come from a file.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) with the parameter that is out of range.
    pub fn check(self) -> Result<()> {
        match self {
            IndexSpec::Exact => Ok(()),
            IndexSpec::Hnsw(parameters) => parameters.check(),
        }
    }

    /// Builds the index of a matrix.
    ///
    /// # Errors
    /// Those of [`HnswIndex::build`].
    pub fn build(self, matrix: impl Into<Matrix>, distance: Distance) -> Result<Box<dyn Index>> {
        let matrix = matrix.into();
        Ok(match self {
            IndexSpec::Exact => Box::new(ExactIndex::new(matrix, distance)),
            IndexSpec::Hnsw(parameters) => Box::new(HnswIndex::build(matrix, distance, parameters)?),
        })
    }
}

/// The share of the exact `k` nearest rows that `approximate` finds, over all `queries`; 1 where there is
/// nothing to find. A found row counts where it is as near as the exact k-th, so that ties do not count
/// against an index.
///
/// # Shapes
/// `queries`: `[Q, D]`.
///
/// # Errors
/// Those of [`Index::search`].
pub fn recall_at_k(
    approximate: &dyn Index,
    exact: &dyn Index,
    queries: &Embeddings,
    k: usize,
) -> Result<f64> {
    let rows: Vec<&[f32]> = queries.rows().collect();
    let counts: Vec<(usize, usize)> = rows
        .par_iter()
        .map(|query| {
            let expected = exact.search(query, k)?;
            let Some(farthest) = expected.hits().last() else {
                return Ok((0, 0));
            };
            let found = approximate.search(query, k)?;
            let n_found = found.hits().iter().filter(|hit| hit.distance <= farthest.distance).count();
            Ok((n_found.min(expected.hits().len()), expected.hits().len()))
        })
        .collect::<Result<_>>()?;
    let (n_found, n_expected) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    Ok(if n_expected == 0 { 1.0 } else { n_found as f64 / n_expected as f64 })
}

/// Refuses a query of another width or with a component that is not finite. hnsw_rs panics on those.
pub(crate) fn check_query(query: &[f32], width: usize) -> Result<()> {
    if query.len() != width {
        return Err(CoreError::Mismatch {
            what: "width of the query's embedding",
            expected: width.to_string(),
            got: query.len().to_string(),
        }
        .into());
    }
    match query.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(position) => Err(CoreError::OutOfRange {
            what: "a component of the query's embedding",
            value: format!("{} (component {position})", query[position]),
            expected: "a finite number".into(),
        }
        .into()),
    }
}
