//! Search: which rows of a matrix of embeddings are nearest to a query.
//!
//! Every kind of index passes one conformance suite. The distances of their hits are the same
//! [`Distance::between`] to the last bit; an approximate index may miss a row, never misplace one. Rows come through a
//! trait, [`Rows`], wherever they lie; a query is checked once, when it becomes a [`Query`].
//!
//! **Architecture invariants:** nothing here knows of galleries, photos, files or models, or prints, exits or panics on user
//! data.

mod auto;
mod bounds;
mod codes;
mod error;
mod exact;
mod graph;
mod grow;
mod hnsw;
mod kernel;
mod large;
mod matrix;
mod points;
mod query;
mod recall;
mod spec;

use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::ranking::Ranking;

pub use auto::{Costs, LARGEST_EXACT, Recall, choose};
pub use error::{Error, Result};
pub use exact::ExactIndex;
pub use graph::{Graph, Layer};
pub use grow::MOST_IN_ORDER;
pub use hnsw::{BuiltGraph, HnswIndex, HnswParameters, MOST_CANDIDATES};
pub use matrix::{Matrix, Rows};
pub use points::RowFormat;
pub use query::Query;
pub use recall::recall_at_k;
pub use spec::{IndexKind, IndexSpec};

/// Which rows of a matrix are looked at.
#[derive(Clone, Copy)]
pub enum Among<'a> {
    /// Every row.
    All,
    /// Those that are wanted.
    Where {
        /// The number of rows that are not.
        n_unwanted: usize,
        /// Whether a row is.
        is_wanted: &'a (dyn Fn(usize) -> bool + Sync),
    },
    /// These, in any order, each once and none beyond the last.
    These(&'a [u32]),
}

/// Finds the rows of a matrix of embeddings that are nearest to a query.
pub trait Index: Send + Sync {
    /// The kind.
    fn kind(&self) -> IndexKind;

    /// The distance that it is built for.
    fn distance(&self) -> Distance;

    /// The matrix that it searches.
    fn matrix(&self) -> &Matrix;

    /// The `k` rows nearest to a query that was checked, of those `among` which it is looked for, or all where there are
    /// fewer; equal distances are in order of rows. Exact where rows are listed, whatever the kind.
    ///
    /// # Panics
    /// Where the query was checked for another width than the matrix has, or a listed row is beyond the last.
    ///
    /// # Errors
    /// [`Error::Core`], for which rows and queries that were checked give no cause.
    fn nearest(&self, query: Query<'_>, k: usize, among: Among<'_>) -> Result<Ranking>;

    /// [`Index::nearest`] for each of `queries`, on all cores.
    ///
    /// # Errors
    /// Those of [`Index::nearest`].
    fn nearest_each(&self, queries: &[Query<'_>], k: usize, among: Among<'_>) -> Result<Vec<Ranking>> {
        each(queries, |query| self.nearest(query, k, among))
    }

    /// The number of rows.
    fn len(&self) -> usize {
        self.matrix().len()
    }

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` rows nearest to `query`, or all where there are fewer; equal distances are in order of rows, which is that
    /// of ids in [`Embeddings`](sketchfind_core::embeddings::Embeddings).
    ///
    /// # Shapes
    /// `query`: `[D]`.
    ///
    /// # Errors
    /// [`Error::Core`] where the query has another width than the matrix or is not finite.
    fn search(&self, query: &[f32], k: usize) -> Result<Ranking> {
        self.nearest(Query::new(query, self.matrix().width())?, k, Among::All)
    }

    /// What [`Index::search`] gives for each of `queries`, on all cores.
    ///
    /// # Shapes
    /// `queries`: `[Q, D]`, row-major.
    ///
    /// # Errors
    /// Those of [`Index::search`]; [`Error::Core`] where the values are not whole queries.
    fn search_batch(&self, queries: &[f32], k: usize) -> Result<Vec<Ranking>> {
        self.nearest_each(&Query::each(queries, self.matrix().width())?, k, Among::All)
    }
}

/// Searches for each query, on all cores; for a single one on the caller's thread, because a small matrix is searched before
/// another has woken up.
fn each(queries: &[Query<'_>], search: impl Fn(Query<'_>) -> Result<Ranking> + Sync) -> Result<Vec<Ranking>> {
    match queries {
        [query] => Ok(vec![search(*query)?]),
        _ => queries.par_iter().map(|query| search(*query)).collect(),
    }
}
