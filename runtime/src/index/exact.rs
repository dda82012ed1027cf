//! Exact search: every row is looked at.
//!
//! Most rows are only looked at in float32, as fast as the processor can: there a distance is known to lie between two
//! bounds (`bounds.rs`), and rows that cannot be among the nearest drop out. The few that are left are ordered by the
//! distance itself, so that hits, distances and ties are those of looking at every row in float64. Where a matrix is
//! searched again and again, a look at the rows' principal components comes before that (`principal.rs`), or, where these
//! say too little, and while they are made, a look at all components in 8 bits (`codes.rs`).

use std::ops::Range;

use rayon::prelude::*;
use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;
use sketchfind_core::ranking::{Hit, Ranking};

use super::bounds::{BatchBounds, Nearest, QueryBounds, WIDEST};
use super::codes::Codes;
use super::kernel::{Packed, RowList, Sums, multiply, one_by_one};
use super::principal::{Principal, Shared};
use super::{Index, IndexKind, Matrix, check_query};
use crate::Result;

/// Bytes in one block of rows: a task long enough to be worth handing to another core.
const BLOCK: usize = 1 << 21;
/// Rows that are left from looking at all from which on they are looked at more closely, before float64.
const N_FOR_BOUNDS: usize = 64;
/// Queries from which on they are multiplied with the rows all at once.
const N_FOR_BATCH: usize = 3;
/// The same where there is a look at principal components: fewer take less one by one than the directions take to be put into
/// float64 for all of them (measured: half the speed for 8 queries, 20,000 x 2048).
const N_FOR_LOOK: usize = 32;
/// Queries that are searched for at once: enough that reading the rows is for nothing, few enough for their lists.
const LARGEST_BATCH: usize = 1024;

/// Exact search: every row is looked at, on all cores where the matrix is large.
///
/// ```
/// use std::sync::Arc;
/// use sketchfind_core::{distance::Distance, embeddings::Embeddings};
/// use sketchfind::{ExactIndex, Index};
///
/// let photos = Embeddings::new(vec!["a".into(), "b".into()], 1, vec![5.0, 1.0])?;
/// let index = ExactIndex::new(Arc::new(photos), Distance::Mse);
/// let nearest = index.search(&[2.0], 1)?;
/// assert_eq!((nearest.hits()[0].row, nearest.hits()[0].distance), (1, 1.0)); // (2 - 1)^2
/// # Ok::<(), sketchfind::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExactIndex {
    matrix: Matrix,
    distance: Distance,
}

impl ExactIndex {
    /// An index of a matrix by `distance`. Nothing is copied or computed yet: a large matrix is written in 8 bits beside
    /// itself, a quarter of its size, once it was searched for a few single queries, and its principal components, less
    /// than a tenth of it, once it was searched for a thousand queries; while these are made, they take up to a quarter.
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

    fn search(&self, query: &[f32], k: usize) -> Result<Ranking> {
        search(&self.matrix, self.distance, query, k, Rows::All)
    }

    fn search_batch(&self, queries: &[f32], k: usize) -> Result<Vec<Ranking>> {
        search_batch(&self.matrix, self.distance, queries, k, Rows::All)
    }
}

/// Which rows of a matrix are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Every row.
    All,
    /// Those of which this is true.
    Where(&'a (dyn Fn(usize) -> bool + Sync)),
    /// These, in any order, each once.
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
    check_query(query, matrix.width())?;
    Search::new(matrix, distance, k, rows).one(query)
}

/// What [`search`] gives for each of `queries`, `[Q, D]`.
pub(crate) fn search_batch(
    matrix: &Matrix,
    distance: Distance,
    queries: &[f32],
    k: usize,
    rows: Rows<'_>,
) -> Result<Vec<Ranking>> {
    let queries = check_queries(queries, matrix.width())?;
    let search = Search::new(matrix, distance, k, rows);
    let mut rankings = Vec::with_capacity(queries.len());
    for queries in queries.chunks(LARGEST_BATCH) {
        rankings.extend(search.many(queries)?);
    }
    Ok(rankings)
}

/// One way to look at rows, for any query.
struct Search<'a> {
    matrix: &'a Matrix,
    distance: Distance,
    k: usize,
    list: RowList<'a>,
    is_wanted: &'a (dyn Fn(usize) -> bool + Sync),
}

impl<'a> Search<'a> {
    fn new(matrix: &'a Matrix, distance: Distance, k: usize, rows: Rows<'a>) -> Search<'a> {
        let ids = if let Rows::These(ids) = rows { Some(ids) } else { None };
        let list = RowList { values: matrix.values(), width: matrix.width(), ids };
        let is_wanted = if let Rows::Where(is_wanted) = rows { is_wanted } else { &|_| true };
        Search { matrix, distance, k: k.min(list.len()), list, is_wanted }
    }

    /// Whether looking in float32 first is worth it: where most rows are asked for, all would be looked at twice.
    fn bounds_help(&self) -> bool {
        self.matrix.width() <= WIDEST && self.k <= self.list.len() / 8
    }

    /// Whether most of the matrix is looked at, so that making something of all its rows may be worth it.
    fn is_most(&self) -> bool {
        self.list.len() * 2 >= self.matrix.len()
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

    fn one(&self, query: &[f32]) -> Result<Ranking> {
        if self.k == 0 {
            return Ok(Ranking::new(vec![], 0)?);
        }
        if let Some((principal, looking)) = self.principal(1).and_then(|p| Some((p, p.query(query)?))) {
            let shared = Shared::new();
            let block = |places| {
                principal.nearest(self.list, places, (query, &looking), (self.k, self.is_wanted), &shared)
            };
            return self.rank_seen(query, &self.left_of(&self.in_blocks(principal.row_bytes(), block)));
        }
        let codes = if self.bounds_help() && self.is_most() {
            self.matrix.codes_if_worth_it(self.distance)
        } else {
            self.matrix.codes_if_there(self.distance)
        };
        if let Some(ranking) = self.one_in_8_bits(query, codes) {
            return ranking;
        }
        if self.bounds_help() { self.one_in_float32(query) } else { self.scan(query) }
    }

    /// Looks at the rows in 8 bits, where they are written and that helps.
    fn one_in_8_bits(&self, query: &[f32], codes: Option<&Codes>) -> Option<Result<Ranking>> {
        let codes = codes.filter(|_| self.k <= self.list.len() / 2)?;
        let coded = codes.query(query)?;
        let block = |places| {
            let mut nearest = Nearest::new(self.k);
            codes.offer(self.list, places, &coded, self.is_wanted, &mut nearest);
            nearest
        };
        let rows = self.left_of(&self.in_blocks(self.matrix.width(), block));
        if self.matrix.width() > WIDEST {
            return Some(self.rank_rows(query, &rows));
        }
        Some(self.rank_left(query, &rows, |left| left.one_in_float32(query)))
    }

    /// A first look at the rows for `n` queries, where there is one and it helps: not with few rows, for which the query's
    /// own components take longer than the rows do.
    fn principal(&self, n: usize) -> Option<&'a Principal> {
        const FEW: usize = 1 << 10;
        if !self.bounds_help() || self.list.len() < FEW {
            return None;
        }
        self.matrix.principal_if_worth_it(self.distance, if self.is_most() { n } else { 0 })
    }

    fn one_in_float32(&self, query: &[f32]) -> Result<Ranking> {
        let bounds = QueryBounds::new(self.distance, query);
        let kind = Sums::of(self.distance);
        let block = |places| {
            let mut nearest = Nearest::new(self.k);
            one_by_one(self.list, places, query, kind, &mut |row, sums| {
                let (low, high) = bounds.of(sums);
                if nearest.may_hold(low) && (self.is_wanted)(row) {
                    nearest.offer(row, low, high);
                }
            });
            nearest
        };
        let blocks: Vec<Nearest> = self.in_blocks(4 * self.matrix.width(), block);
        self.rank_rows(query, &self.left_of(&blocks))
    }

    fn many(&self, queries: &[&[f32]]) -> Result<Vec<Ranking>> {
        let principal = if queries.len() < N_FOR_BATCH { None } else { self.principal(queries.len()) };
        // The others, of which bounds say nothing, are searched for one after another.
        let suits = |query: &&[f32]| {
            BatchBounds::suit(query) && principal.is_none_or(|principal| principal.suits(query))
        };
        let is_suited: Vec<bool> = queries.iter().map(suits).collect();
        let pairs = queries.iter().zip(&is_suited);
        let suited: Vec<&[f32]> =
            pairs.filter(|&(_, &is_suited)| is_suited).map(|(&query, _)| query).collect();
        let fewest = if principal.is_some() { N_FOR_LOOK } else { N_FOR_BATCH };
        if self.k == 0 || !self.bounds_help() || suited.len() < fewest {
            return each(queries, |query| self.one(query));
        }
        // As if all of a row were read: with many queries small blocks are long enough.
        let row_bytes = 4 * self.matrix.width();
        let blocks: Vec<Vec<Nearest>> = if let Some(principal) = principal {
            let together = principal.together(&suited);
            self.in_blocks(row_bytes, |places| together.nearest(self.list, places, self.k, self.is_wanted))
        } else {
            let lengths = self.matrix.lengths();
            let packed = Packed::new(&suited, self.matrix.width());
            self.in_blocks(row_bytes, |places| {
                let mut bounds = BatchBounds::new(self.distance, lengths, &suited, self.k, self.is_wanted);
                multiply(self.list, places, &packed, &mut bounds);
                bounds.into_nearest()
            })
        };
        let mut rankings = (0..suited.len())
            .into_par_iter()
            .map(|number| {
                let rows = self.left_of(blocks.iter().map(|block| &block[number]));
                match principal {
                    Some(_) => self.rank_seen(suited[number], &rows),
                    None => self.rank_rows(suited[number], &rows),
                }
            })
            .collect::<Result<Vec<_>>>()?
            .into_iter();
        let ranking = |(query, is_suited): (&&[f32], bool)| match is_suited.then(|| rankings.next()).flatten()
        {
            Some(ranking) => Ok(ranking),
            None => self.one(query),
        };
        queries.iter().zip(is_suited).map(ranking).collect()
    }

    /// The rows that blocks have left together.
    fn left_of<'n>(&self, blocks: impl IntoIterator<Item = &'n Nearest>) -> Vec<usize> {
        let mut nearest = Nearest::new(self.k);
        blocks.into_iter().for_each(|block| nearest.join(block));
        nearest.rows().collect()
    }

    /// Ranks rows that looking at principal components has left.
    fn rank_seen(&self, query: &[f32], rows: &[usize]) -> Result<Ranking> {
        let codes = self.matrix.codes_if_there(self.distance);
        self.rank_left(query, rows, |left| {
            left.one_in_8_bits(query, codes).unwrap_or_else(|| left.one_in_float32(query))
        })
    }

    /// Ranks the rows that are left, which are wanted and have numbers in 32 bits: where they are many, `search` does, of
    /// them alone.
    fn rank_left(
        &self,
        query: &[f32],
        rows: &[usize],
        search: impl FnOnce(Search<'_>) -> Result<Ranking>,
    ) -> Result<Ranking> {
        if rows.len() < N_FOR_BOUNDS {
            return self.rank_rows(query, rows);
        }
        let ids: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let list = RowList { ids: Some(&ids), ..self.list };
        search(Search { list, is_wanted: &|_| true, ..*self })
    }

    /// Ranks rows by the distance.
    fn rank_rows(&self, query: &[f32], rows: &[usize]) -> Result<Ranking> {
        const MOST_FOR_ONE: usize = 1024;
        let hit = |&row: &usize| self.hit(query, row);
        let hits = if rows.len() <= MOST_FOR_ONE {
            rows.iter().filter_map(hit).collect()
        } else {
            rows.par_iter().filter_map(hit).collect()
        };
        Ok(Ranking::new(hits, self.k)?)
    }

    fn hit(&self, query: &[f32], row: usize) -> Option<Hit> {
        let embedding = self.matrix.row(row)?;
        Some(Hit { row, distance: self.distance.between(query, embedding) })
    }

    /// Looks at every row by the distance itself. Each block keeps its own k nearest; the order of hits is total, so the
    /// blocks do not show in the result.
    fn scan(&self, query: &[f32]) -> Result<Ranking> {
        let block = |places: Range<usize>| {
            let rows = places.map(|place| self.list.row(place)).filter(|&row| (self.is_wanted)(row));
            Ranking::new(rows.filter_map(|row| self.hit(query, row)).collect(), self.k)
        };
        let blocks: Vec<Ranking> = self
            .in_blocks(4 * self.matrix.width(), block)
            .into_iter()
            .collect::<std::result::Result<_, _>>()?;
        let hits = blocks.iter().flat_map(|ranking| ranking.hits()).copied();
        Ok(Ranking::new(hits.collect(), self.k)?)
    }
}

/// Searches for each query, on all cores; for a single one on the caller's thread, because a small matrix is searched before
/// another has woken up.
pub(crate) fn each(
    queries: &[&[f32]],
    search: impl Fn(&[f32]) -> Result<Ranking> + Sync,
) -> Result<Vec<Ranking>> {
    match queries {
        [query] => Ok(vec![search(query)?]),
        _ => queries.par_iter().map(|query| search(query)).collect(),
    }
}

/// The queries of `[Q, D]`.
pub(crate) fn check_queries(queries: &[f32], width: usize) -> Result<Vec<&[f32]>> {
    if !queries.len().is_multiple_of(width) {
        return Err(CoreError::Mismatch {
            what: "values of the queries' embeddings",
            expected: format!("whole rows of width {width}"),
            got: queries.len().to_string(),
        }
        .into());
    }
    let queries: Vec<&[f32]> = queries.chunks_exact(width).collect();
    queries.iter().try_for_each(|query| check_query(query, width))?;
    Ok(queries)
}
