//! Exact search: every row is looked at.

use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::ranking::{Hit, Ranking};

use super::{Index, IndexKind, Matrix, check_query};
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
    matrix: Matrix,
    distance: Distance,
}

impl ExactIndex {
    /// An index of a matrix by `distance`. Nothing is copied or computed.
    pub fn new(matrix: impl Into<Matrix>, distance: Distance) -> ExactIndex {
        ExactIndex { matrix: matrix.into(), distance }
    }
}

impl Index for ExactIndex {
    fn kind(&self) -> IndexKind {
        IndexKind::Exact
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    fn search(&self, query: &[f32], k: usize) -> Result<Ranking> {
        search(&self.matrix, self.distance, query, k, Rows::All)
    }
}

/// Which rows of a matrix are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Every row.
    All,
    /// Those of which this is true.
    Where(&'a (dyn Fn(usize) -> bool + Sync)),
    /// These, ascending.
    These(&'a [u32]),
}

/// The `k` nearest to `query` of `rows`, looking at every one.
pub(crate) fn search(
    matrix: &Matrix,
    distance: Distance,
    query: &[f32],
    k: usize,
    rows: Rows<'_>,
) -> Result<Ranking> {
    let width = matrix.width();
    check_query(query, width)?;
    let rows_per_block = (BLOCK / width).max(1);
    let hit = |row: usize, embedding: &[f32]| Hit { row, distance: distance.between(query, embedding) };
    // Each block keeps its own k nearest. The order of hits is total, so the blocks do not show in the
    // result.
    let ranked = |hits: Vec<Hit>| Ranking::new(hits, k);
    let blocks: Vec<Ranking> = match rows {
        Rows::These(rows) => {
            let block = |rows: &[u32]| {
                let hits = rows.iter().map(|&row| row as usize);
                ranked(hits.filter_map(|row| Some(hit(row, matrix.row(row)?))).collect())
            };
            rows.par_chunks(rows_per_block).map(block).collect::<std::result::Result<_, _>>()?
        }
        Rows::All | Rows::Where(_) => {
            let is_wanted = |row: usize| if let Rows::Where(wanted) = rows { wanted(row) } else { true };
            let block = |(block, values): (usize, &[f32])| {
                let first = block * rows_per_block;
                let hits = values.chunks_exact(width).zip(first..).filter(|(_, row)| is_wanted(*row));
                ranked(hits.map(|(embedding, row)| hit(row, embedding)).collect())
            };
            let values = matrix.values();
            if matrix.len() <= rows_per_block {
                return Ok(block((0, values))?);
            }
            let blocks = values.par_chunks(rows_per_block * width).enumerate();
            blocks.map(block).collect::<std::result::Result<_, _>>()?
        }
    };
    Ok(Ranking::new(blocks.iter().flat_map(|ranking| ranking.hits()).copied().collect(), k)?)
}
