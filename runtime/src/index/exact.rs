//! Exact search: every row is looked at.

use std::sync::Arc;

use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::ranking::{Hit, Ranking};

use super::{Index, IndexKind, check_query};
use crate::Result;

/// Components in one block of rows, 4 MiB: a task long enough to be worth handing to another core.
const BLOCK: usize = 1 << 20;

/// Exact search: every row is looked at, on all cores where the matrix is large.
///
/// ```
/// use std::sync::Arc;
/// use sketchfind_core::{distance::Distance, embeddings::Embeddings};
/// use sketchfind_runtime::{ExactIndex, Index};
///
/// let photos = Embeddings::new(vec!["a".into(), "b".into()], 1, vec![5.0, 1.0])?;
/// let index = ExactIndex::new(Arc::new(photos), Distance::Mse);
/// let nearest = index.search(&[2.0], 1)?;
/// assert_eq!((nearest.hits()[0].row, nearest.hits()[0].distance), (1, 1.0)); // (2 - 1)^2
/// # Ok::<(), sketchfind_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExactIndex {
    embeddings: Arc<Embeddings>,
    distance: Distance,
}

impl ExactIndex {
    /// An index of `embeddings` by `distance`. Nothing is copied or computed.
    pub fn new(embeddings: Arc<Embeddings>, distance: Distance) -> ExactIndex {
        ExactIndex { embeddings, distance }
    }
}

impl Index for ExactIndex {
    fn kind(&self) -> IndexKind {
        IndexKind::Exact
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    fn search(&self, query: &[f32], k: usize) -> Result<Ranking> {
        search(&self.embeddings, self.distance, query, k)
    }
}

/// The `k` rows nearest to `query`, looking at every one.
pub(super) fn search(
    embeddings: &Embeddings,
    distance: Distance,
    query: &[f32],
    k: usize,
) -> Result<Ranking> {
    let width = embeddings.width();
    check_query(query, width)?;
    let rows_per_block = (BLOCK / width).max(1);
    if embeddings.len() <= rows_per_block {
        return Ok(Ranking::exact(query, embeddings, distance, k)?);
    }
    // Each block keeps its own k nearest. The order of hits is total, so the blocks do not show in the
    // result.
    let blocks: Vec<Ranking> = embeddings
        .values()
        .par_chunks(rows_per_block * width)
        .enumerate()
        .map(|(block, values)| {
            let first = block * rows_per_block;
            let hits = values.chunks_exact(width).enumerate().map(|(row, embedding)| Hit {
                row: first + row,
                distance: distance.between(query, embedding),
            });
            Ranking::new(hits.collect(), k)
        })
        .collect::<std::result::Result<_, _>>()?;
    Ok(Ranking::new(blocks.iter().flat_map(|ranking| ranking.hits()).copied().collect(), k)?)
}
