//! Exact search: every row is looked at.
//!
//! Most rows are only looked at in float32, as fast as the processor can: there a distance is known to lie between two
//! bounds (`bounds.rs`), and rows that cannot be among the nearest drop out. The few that are left are ordered by the
//! distance itself, so that hits, distances and ties are those of looking at every row in float64. Where a matrix is
//! searched again and again, its rows are looked at in 8 bits before that (`codes.rs`).

use std::ops::Range;

use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::ranking::{Hit, Ranking};

use crate::bounds::{Nearest, QueryBounds, WIDEST};
use crate::codes::Codes;
use crate::kernel::{RowList, Sums, one_by_one};
use crate::{Among, Index, IndexKind, Matrix, Query, Result};

/// Bytes in one block of rows: a task long enough to be worth handing to another core.
const BLOCK: usize = 1 << 21;
/// Rows that are left from looking at all from which on they are looked at more closely, before float64.
const N_FOR_BOUNDS: usize = 64;

/// Exact search: every row is looked at, on all cores where the matrix is large.
///
/// ```
/// use std::sync::Arc;
/// use sketchfind_core::{distance::Distance, embeddings::Embeddings};
/// use sketchfind_index::{ExactIndex, Index};
///
/// let photos = Embeddings::new(vec!["a".into(), "b".into()], 1, vec![5.0, 1.0])?;
/// let index = ExactIndex::new(Arc::new(photos), Distance::Mse);
/// let nearest = index.search(&[2.0], 1)?;
/// assert_eq!((nearest.hits()[0].row, nearest.hits()[0].distance), (1, 1.0)); // (2 - 1)^2
/// # Ok::<(), sketchfind_index::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExactIndex {
    matrix: Matrix,
    distance: Distance,
}

impl ExactIndex {
    /// An index of a matrix by `distance`. Nothing is copied or computed yet: a large matrix is written in 8 bits beside
    /// itself, a quarter of its size, once it was searched a few times.
    pub fn new(matrix: impl Into<Matrix>, distance: Distance) -> ExactIndex {
        ExactIndex { matrix: matrix.into(), distance }
    }

    /// Does now what else is done beside the first searches, so that all searches take the same time.
    pub fn prepare(&self) {
        self.matrix.prepare(self.distance);
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

    fn nearest(&self, query: Query<'_>, k: usize, among: Among<'_>) -> Result<Ranking> {
        search(&self.matrix, self.distance, query, k, among)
    }
}

/// The `k` nearest to `query` of the rows `among` which it is asked for, looking at every one.
pub(crate) fn search(
    matrix: &Matrix,
    distance: Distance,
    query: Query<'_>,
    k: usize,
    among: Among<'_>,
) -> Result<Ranking> {
    let ids = if let Among::These(ids) = among { Some(ids) } else { None };
    let list = RowList { values: matrix.values(), width: matrix.width(), ids };
    let is_wanted = if let Among::Where { is_wanted, .. } = among { is_wanted } else { &|_| true };
    Search { matrix, distance, query: query.values(), k: k.min(list.len()), list, is_wanted }.run()
}

/// One way to look at rows.
struct Search<'a> {
    matrix: &'a Matrix,
    distance: Distance,
    query: &'a [f32],
    k: usize,
    list: RowList<'a>,
    is_wanted: &'a (dyn Fn(usize) -> bool + Sync),
}

impl Search<'_> {
    fn run(&self) -> Result<Ranking> {
        if self.k == 0 {
            return Ok(Ranking::new(vec![], 0)?);
        }
        // Making something of all rows may be worth it where most of them are looked at.
        let is_most = self.list.len() * 2 >= self.matrix.len();
        let codes = if self.bounds_help() && is_most {
            self.matrix.codes_if_worth_it(self.distance)
        } else {
            self.matrix.codes_if_there(self.distance)
        };
        if let Some(ranking) = self.in_8_bits(codes) {
            return ranking;
        }
        if self.bounds_help() { self.in_float32() } else { self.scan() }
    }

    /// Whether looking in float32 first is worth it: where most rows are asked for, all would be looked at twice.
    fn bounds_help(&self) -> bool {
        self.matrix.width() <= WIDEST && self.k <= self.list.len() / 8
    }

    /// What `work` gives for the places of each block of rows, on all cores where there are several blocks of `BLOCK`
    /// bytes.
    fn in_blocks<T: Send>(&self, row_bytes: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
        let n = self.list.len();
        let n_for_one = (BLOCK / row_bytes).max(1);
        // Handing work to other threads takes longer than one block does.
        if n <= n_for_one {
            return vec![work(0..n)];
        }
        // Few blocks for each core, because each of them finds out anew how near the nearest are, and as many for each.
        let n_threads = rayon::current_num_threads();
        let n_blocks = n.div_ceil(n_for_one.max(n.div_ceil(4 * n_threads))).next_multiple_of(n_threads);
        let n_in_block = n.div_ceil(n_blocks);
        let blocks = (0..n.div_ceil(n_in_block)).into_par_iter();
        blocks.map(|block| work(block * n_in_block..((block + 1) * n_in_block).min(n))).collect()
    }

    /// Looks at the rows in 8 bits, where they are written and that helps.
    fn in_8_bits(&self, codes: Option<&Codes>) -> Option<Result<Ranking>> {
        let codes = codes.filter(|_| self.k <= self.list.len() / 2)?;
        let coded = codes.query(self.query)?;
        let block = |places| {
            let mut nearest = Nearest::new(self.k);
            codes.offer(self.list, places, &coded, self.is_wanted, &mut nearest);
            nearest
        };
        let rows = self.left_of(&self.in_blocks(self.matrix.width(), block));
        if rows.len() < N_FOR_BOUNDS || self.matrix.width() > WIDEST {
            return Some(self.rank(&rows));
        }
        // They are many, and wanted: they are looked at in float32, they alone.
        let ids: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let list = RowList { ids: Some(&ids), ..self.list };
        Some(Search { list, is_wanted: &|_| true, ..*self }.in_float32())
    }

    fn in_float32(&self) -> Result<Ranking> {
        let bounds = QueryBounds::new(self.distance, self.query);
        let kind = Sums::of(self.distance);
        let block = |places| {
            let mut nearest = Nearest::new(self.k);
            one_by_one(self.list, places, self.query, kind, &mut |row, sums| {
                let (low, high) = bounds.of(sums);
                if nearest.may_hold(low) && (self.is_wanted)(row) {
                    nearest.offer(row, low, high);
                }
            });
            nearest
        };
        let blocks: Vec<Nearest> = self.in_blocks(4 * self.matrix.width(), block);
        self.rank(&self.left_of(&blocks))
    }

    /// The rows that blocks have left together.
    fn left_of(&self, blocks: &[Nearest]) -> Vec<usize> {
        let mut nearest = Nearest::new(self.k);
        blocks.iter().for_each(|block| nearest.join(block));
        nearest.rows().collect()
    }

    /// Ranks rows by the distance.
    fn rank(&self, rows: &[usize]) -> Result<Ranking> {
        const MOST_FOR_ONE: usize = 1024;
        let hit = |&row: &usize| self.hit(row);
        let hits = if rows.len() <= MOST_FOR_ONE {
            rows.iter().filter_map(hit).collect()
        } else {
            rows.par_iter().filter_map(hit).collect()
        };
        Ok(Ranking::new(hits, self.k)?)
    }

    fn hit(&self, row: usize) -> Option<Hit> {
        let embedding = self.matrix.row(row)?;
        Some(Hit { row, distance: self.distance.between(self.query, embedding) })
    }

    /// Looks at every row by the distance itself. Each block keeps its own k nearest; the order of hits is total, so the
    /// blocks do not show in the result.
    fn scan(&self) -> Result<Ranking> {
        let block = |places: Range<usize>| {
            let rows = places.map(|place| self.list.row(place)).filter(|&row| (self.is_wanted)(row));
            Ranking::new(rows.filter_map(|row| self.hit(row)).collect(), self.k)
        };
        let blocks: Vec<Ranking> = self
            .in_blocks(4 * self.matrix.width(), block)
            .into_iter()
            .collect::<std::result::Result<_, _>>()?;
        let hits = blocks.iter().flat_map(|ranking| ranking.hits()).copied();
        Ok(Ranking::new(hits.collect(), self.k)?)
    }
}
