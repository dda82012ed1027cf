//! Indexes: which rows of a matrix of embeddings are nearest to a query.
//!
//! Every kind passes one conformance suite. The distances of their hits are the same
//! [`Distance::between`](sketchfind_core::distance::Distance::between) to the last bit; an approximate index
//! may miss a row, never misplace one.

mod auto;
mod bounds;
mod codes;
pub(crate) mod exact;
mod graph;
mod grow;
mod hnsw;
mod kernel;
mod large;
mod matrix;
mod points;
mod principal;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::ranking::Ranking;

pub use auto::{Costs, LARGEST_EXACT, Recall, choose};
pub use exact::ExactIndex;
pub(crate) use exact::{Rows, check_queries};
pub(crate) use graph::{Graph, Layer};
pub use grow::MOST_IN_ORDER;
pub(crate) use hnsw::Shape;
pub use hnsw::{HnswIndex, HnswParameters};
pub use matrix::Matrix;
pub(crate) use points::Sight;

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

    /// What [`Index::search`] gives for each of `queries`, on all cores; faster than one after another.
    ///
    /// # Shapes
    /// `queries`: `[Q, D]`, row-major.
    ///
    /// # Errors
    /// Those of [`Index::search`]; [`Error::Core`](crate::Error::Core) where the values are not whole queries.
    fn search_batch(&self, queries: &[f32], k: usize) -> Result<Vec<Ranking>> {
        let queries = check_queries(queries, self.matrix().width())?;
        exact::each(&queries, |query| self.search(query, k))
    }
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

/// By name: `auto`, `exact` or `hnsw`, with ordinary parameters.
impl FromStr for IndexSpec {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<IndexSpec> {
        let specs = [IndexSpec::Auto, IndexSpec::Exact, IndexSpec::ordinary(IndexKind::Hnsw)];
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

impl IndexSpec {
    /// `kind` with its ordinary parameters.
    pub fn ordinary(kind: IndexKind) -> IndexSpec {
        match kind {
            IndexKind::Exact => IndexSpec::Exact,
            IndexKind::Hnsw => IndexSpec::Hnsw(HnswParameters::default()),
        }
    }

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
    // Values alone would pass for narrower or wider queries.
    queries.rows().take(1).try_for_each(|query| check_query(query, exact.matrix().width()))?;
    let (mut n_found, mut n_expected) = (0, 0);
    let found = approximate.search_batch(queries.values(), k)?;
    for (expected, found) in exact.search_batch(queries.values(), k)?.iter().zip(&found) {
        if let Some(farthest) = expected.hits().last() {
            let near = found.hits().iter().filter(|hit| hit.distance <= farthest.distance).count();
            n_found += near.min(expected.hits().len());
            n_expected += expected.hits().len();
        }
    }
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
