//! How much an approximate index finds of what there is.

use sketchfind_core::embeddings::Embeddings;

use crate::{Among, Index, Query, Result};

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
    let width = exact.matrix().width();
    let queries = queries.rows().map(|query| Query::new(query, width)).collect::<Result<Vec<_>>>()?;
    let (mut n_found, mut n_expected) = (0, 0);
    let found = approximate.nearest_each(&queries, k, Among::All)?;
    for (expected, found) in exact.nearest_each(&queries, k, Among::All)?.iter().zip(&found) {
        if let Some(farthest) = expected.hits().last() {
            let near = found.hits().iter().filter(|hit| hit.distance <= farthest.distance).count();
            n_found += near.min(expected.hits().len());
            n_expected += expected.hits().len();
        }
    }
    Ok(if n_expected == 0 { 1.0 } else { n_found as f64 / n_expected as f64 })
}
