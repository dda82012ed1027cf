//! Approximate search with a hierarchical navigable small world graph (Malkov and Yashunin 2018), by hnsw_rs.
//!
//! hnsw_rs builds the layers above the lowest, a sixteenth of the points; the lowest is built here (`grow.rs`). What hnsw_rs
//! does not take care of is done here too:
//! - It exits the process on a large `m` and panics on NaN: everything is checked first.
//! - It copies what it is given and wants distances that are never negative: it is given numbers of points alone, and squared
//!   distances between their rows in 8 bits or, where these do not tell neighbours apart, in float32 (`points.rs`), which
//!   order them nearly as the model's distance does and can neither overflow nor fall below zero.
//! - Rows that look the same would fill each other's lists of neighbours: the graph holds them once.
//! - Rows that are inserted cluster after cluster cut off whole clusters (measured on 4,000 rows in 40 clusters: a tenth of
//!   the rows could not be found). They are inserted in an order that a seed shuffles.
//! - A row whose neighbours all have nearer ones of their own can still end up without a way to it, and rows that
//!   several threads insert at once more so: after building, every row is searched for, and those that cannot be
//!   found are kept in a list that every search looks through as well.
//! - It takes memory and time for what only building needs: the layers are copied out of it into lists of numbers,
//!   which search (`graph.rs`) and the cache on disk use, and hnsw_rs's own are dropped.
//! - The graph's distances are not the model's: hits are scored again with the exact distance.
//!
//! Up to [`MOST_IN_ORDER`] rows are inserted one after another, and levels are drawn from hnsw_rs's
//! fixed seed, so that the same matrix gives the same graph. Of more rows the rest is inserted on all cores, and which of two
//! rows comes first is the system's choice: graphs then differ a little from build to build.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hnsw_rs::prelude::{Distance as GraphDistance, Hnsw};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;
use sketchfind_core::random::Stream;
use sketchfind_core::ranking::Ranking;
use sketchfind_core::work::{Cancel, Progress};

use crate::graph::{Graph, Layer, Scratch, Space};
use crate::grow::{MOST_IN_ORDER, lowest_layer};
use crate::points::{Floats, PointRows, RowFormat};
use crate::{Among, Error, Index, IndexKind, Matrix, Query, Result, each, exact};

/// The parameters of a graph, by the names of Malkov and Yashunin 2018.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HnswParameters {
    /// Neighbours that a row keeps in each upper layer (twice as many in the lowest), 2 to 255.
    pub m: usize,
    /// Candidates looked at when a row is inserted, at least `m`.
    pub ef_construction: usize,
    /// Candidates looked at in a search, at least 1; a search for more rows looks at as many as it is asked
    /// for.
    pub ef_search: usize,
}

/// What users of such graphs take for embeddings of some hundred to some thousand components.
impl Default for HnswParameters {
    fn default() -> Self {
        HnswParameters { m: 16, ef_construction: 200, ef_search: 64 }
    }
}

impl HnswParameters {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) with the parameter that is out of range.
    pub fn check(self) -> Result<()> {
        // hnsw_rs exits the process above 256 neighbours, and counts them in 8 bits; with 1 its levels are
        // infinite.
        check_range("m", self.m, 2, 255)?;
        check_range("ef_construction", self.ef_construction, self.m, 10_000)?;
        check_range("ef_search", self.ef_search, 1, MOST_CANDIDATES)
    }
}

/// The most candidates of a search.
pub const MOST_CANDIDATES: usize = 100_000;

fn check_range(what: &'static str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let (value, expected) = (value.to_string(), format!("{low} to {high}"));
    Err(CoreError::OutOfRange { what, value, expected }.into())
}

/// The distance by which hnsw_rs builds: it is given numbers of points, and their rows say how far they are from each other.
/// Never negative, never NaN.
struct BetweenPoints<'a> {
    point_rows: PointRows<'a>,
    /// The row of each.
    rows: &'a [u32],
}

impl GraphDistance<u32> for BetweenPoints<'_> {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        let row = |point: &[u32]| self.rows[point[0] as usize];
        self.point_rows.distance_between(row(a), row(b))
    }
}

/// Approximate search in a graph.
///
/// ```
/// use std::sync::Arc;
/// use sketchfind_core::{distance::Distance, embeddings::Embeddings};
/// use sketchfind_index::{HnswIndex, HnswParameters, Index};
///
/// let photos = Embeddings::new(vec!["a".into(), "b".into()], 1, vec![5.0, 1.0])?;
/// let index = HnswIndex::build(Arc::new(photos), Distance::Mse, HnswParameters::default())?;
/// assert_eq!(index.search(&[2.0], 1)?.hits()[0].row, 1);
/// # Ok::<(), sketchfind_index::Error>(())
/// ```
pub struct HnswIndex {
    matrix: Matrix,
    distance: Distance,
    parameters: HnswParameters,
    built: BuiltGraph,
    /// The row of each point whose vector is the point's.
    first_rows: Vec<u32>,
    /// Where rows are compared in float32.
    floats: Option<Floats>,
    /// What searches use, as many as have been at once.
    scratches: Mutex<Vec<Scratch>>,
}

/// What is found out by building: all that the cache keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuiltGraph {
    /// The format of the rows that it is built of.
    pub row_format: RowFormat,
    /// Its layers.
    pub graph: Graph,
    /// Where the rows of each point of the graph begin in `rows`, and where the last one's end.
    pub starts: Vec<u64>,
    /// The rows that points stand for: one each, or several that are equal.
    pub rows: Vec<u32>,
    /// Points that the graph has no way to; sorted.
    pub lost: Vec<u32>,
    /// Their rows, and rows that are no point's, looked through in every search; sorted.
    pub apart: Vec<u32>,
}

impl BuiltGraph {
    /// The row of each point whose vector is the point's.
    fn first_rows(&self) -> Vec<u32> {
        // The last start is the end.
        let starts = self.starts.iter().take(self.starts.len().saturating_sub(1));
        starts.filter_map(|&start| self.rows.get(start as usize).copied()).collect()
    }

    /// Whether its numbers fit each other and a matrix of `n_rows`, so that no search can stumble.
    fn fits(&self, n_rows: usize) -> bool {
        let starts_fit = |starts: &[u64], n: usize| {
            starts.first() == Some(&0) && starts.is_sorted() && starts.last() == Some(&(n as u64))
        };
        let mut n_points = self.starts.len().saturating_sub(1);
        for layer in &self.graph.layers {
            let n = layer.n_points();
            let is_point = |&point: &u32| (point as usize) < n;
            if n == 0
                || n > n_points
                || !starts_fit(&layer.starts, layer.neighbours.len())
                || !layer.neighbours.iter().all(is_point)
            {
                return false;
            }
            n_points = n;
        }
        let n_points = self.graph.n_points();
        let are_points = self.starts.len() == n_points + 1 && starts_fit(&self.starts, self.rows.len());
        if !are_points || self.starts.windows(2).any(|pair| pair[0] == pair[1]) {
            return false;
        }
        if !self.lost.is_sorted() || self.lost.iter().any(|&point| point as usize >= n_points) {
            return false;
        }
        // Every row is a point's, or apart, or both where its point is lost.
        let mut times = vec![0_u8; n_rows];
        let mut count = |rows: &[u32]| {
            rows.iter().all(|&row| {
                times.get_mut(row as usize).is_some_and(|times| {
                    *times = times.saturating_add(1);
                    true
                })
            })
        };
        let of_point =
            |point: usize| &self.rows[self.starts[point] as usize..self.starts[point + 1] as usize];
        (0..n_points).all(|point| self.lost.binary_search(&(point as u32)).is_ok() || count(of_point(point)))
            && count(&self.apart)
            && times.iter().all(|&times| times == 1)
    }
}

impl std::fmt::Debug for HnswIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HnswIndex")
            .field("n_rows", &self.matrix.len())
            .field("distance", &self.distance)
            .field("parameters", &self.parameters)
            .field("n_apart", &self.n_apart())
            .finish_non_exhaustive()
    }
}

impl HnswIndex {
    /// Builds the graph of a matrix by `distance`, and makes sure that every row can be found.
    ///
    /// # Errors
    /// [`Error::Core`] where a parameter is out of range or there are more than 2^31 - 1 rows.
    pub fn build(
        matrix: impl Into<Matrix>,
        distance: Distance,
        parameters: HnswParameters,
    ) -> Result<HnswIndex> {
        HnswIndex::build_with(matrix, distance, parameters, Progress::default(), Cancel::default())
    }

    /// [`HnswIndex::build`] with progress and a way to stop. What is done is counted in rows: each is inserted and then
    /// searched for, a half each.
    ///
    /// # Errors
    /// Those of [`HnswIndex::build`]; [`Error::Cancelled`].
    pub fn build_with(
        matrix: impl Into<Matrix>,
        distance: Distance,
        parameters: HnswParameters,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<HnswIndex> {
        parameters.check()?;
        let matrix = matrix.into();
        // hnsw_rs numbers the points of a layer in a signed 32-bit number.
        check_range("rows of an index", matrix.len(), 0, i32::MAX as usize)?;
        let codes = matrix.codes(distance);
        let row_format = RowFormat::for_rows(&matrix, distance, codes)?;
        let floats = (row_format == RowFormat::Float32).then(|| Floats::new(&matrix, codes));
        let point_rows = PointRows { codes, floats: floats.as_ref() };
        let points = Points::of(&matrix, point_rows);
        let first_rows: Vec<u32> = (0..points.rows.len()).map(|point| points.first_row(point)).collect();
        let work = Work { n_done: AtomicUsize::new(0), progress, cancel };
        // As many as have a second layer where each has one with a chance of 1 / m.
        let n_upper = points.rows.len().div_ceil(parameters.m);
        let upper = Hnsw::new(
            parameters.m,
            n_upper.max(1),
            N_LAYERS,
            parameters.ef_construction,
            BetweenPoints { point_rows, rows: &first_rows },
        );
        insert(&upper, n_upper, &work)?;
        let (mut built, order) = built_of(&upper, &points, row_format);
        drop(upper);
        let first_rows = built.first_rows();
        let space = Space { point_rows, rows: &first_rows };
        built.graph.choose(&space, parameters.m);
        let (m, ef) = (parameters.m, parameters.ef_construction);
        let lowest = lowest_layer(&space, &built.graph.layers, &order, m, ef, &|| work.one_done())?;
        if !order.is_empty() {
            built.graph.layers.insert(0, lowest);
        }
        let mut index = HnswIndex::of_built(matrix, distance, parameters, built, floats);
        index.set_apart_what_is_not_found(&work)?;
        progress.tell(index.len());
        Ok(index)
    }

    /// The index of a graph that was built before; nothing where its numbers do not fit each other and the matrix, on which a
    /// search would stumble.
    pub fn of_built_graph(
        matrix: Matrix,
        distance: Distance,
        parameters: HnswParameters,
        built: BuiltGraph,
    ) -> Option<HnswIndex> {
        if !built.fits(matrix.len()) {
            return None;
        }
        // Now rather than in the first search.
        let codes = matrix.codes(distance);
        let floats = (built.row_format == RowFormat::Float32).then(|| Floats::new(&matrix, codes));
        Some(HnswIndex::of_built(matrix, distance, parameters, built, floats))
    }

    fn of_built(
        matrix: Matrix,
        distance: Distance,
        parameters: HnswParameters,
        built: BuiltGraph,
        floats: Option<Floats>,
    ) -> HnswIndex {
        let first_rows = built.first_rows();
        HnswIndex { matrix, distance, parameters, built, first_rows, floats, scratches: Mutex::default() }
    }

    /// What the cache keeps of it.
    pub fn built(&self) -> &BuiltGraph {
        &self.built
    }

    /// What `search_batch` gives with another number of candidates than the parameters say. That every row is found holds
    /// for no fewer than they say.
    ///
    /// # Shapes
    /// `queries`: `[Q, D]`, row-major.
    ///
    /// # Errors
    /// Those of [`Index::search_batch`]; [`Error::Core`] where `ef_search` is out of range.
    pub fn search_batch_with(&self, queries: &[f32], k: usize, ef_search: usize) -> Result<Vec<Ranking>> {
        self.nearest_each_with(&Query::each(queries, self.matrix.width())?, k, Among::All, ef_search)
    }

    /// [`Index::nearest_each`] with another number of candidates than the parameters say.
    ///
    /// # Errors
    /// Those of [`Index::nearest_each`]; [`Error::Core`] where `ef_search` is out of range.
    pub fn nearest_each_with(
        &self,
        queries: &[Query<'_>],
        k: usize,
        among: Among<'_>,
        ef_search: usize,
    ) -> Result<Vec<Ranking>> {
        HnswParameters { ef_search, ..self.parameters }.check()?;
        each(queries, |query| self.search_with(query, k, ef_search, among))
    }

    /// The parameters it was built with.
    pub fn parameters(&self) -> HnswParameters {
        self.parameters
    }

    /// The number of rows that the graph has no way to and every search looks through one by one. Many of
    /// them make searches slow, never wrong; a larger `m` makes fewer.
    pub fn n_apart(&self) -> usize {
        self.built.apart.len()
    }

    /// Searches for every point as a query would and sets the rows of those apart that are not among their
    /// own candidates.
    fn set_apart_what_is_not_found(&mut self, work: &Work<'_>) -> Result<()> {
        let is_lost = |point: u32| {
            work.one_done()?;
            let row = self.rows_of(point).first().and_then(|&row| self.matrix.row(row as usize));
            let query = row.map(|row| Query::new(row, self.matrix.width())).transpose()?;
            let found = query.and_then(|query| self.points_near(query, self.parameters.ef_search));
            Ok(found.is_none_or(|found| !found.contains(&point)).then_some(point))
        };
        let n_points = self.built.graph.n_points() as u32;
        let lost = (0..n_points).into_par_iter().map(is_lost).collect::<Result<Vec<Option<u32>>>>()?;
        let lost: Vec<u32> = lost.into_iter().flatten().collect();
        let mut apart: Vec<u32> = lost.iter().flat_map(|&point| self.rows_of(point)).copied().collect();
        self.built.apart.append(&mut apart);
        self.built.apart.sort_unstable();
        self.built.lost = lost;
        Ok(())
    }

    /// The rows that a point stands for.
    fn rows_of(&self, point: u32) -> &[u32] {
        let range = |point: usize| {
            let (start, end) = (*self.built.starts.get(point)?, *self.built.starts.get(point + 1)?);
            self.built.rows.get(start as usize..end as usize)
        };
        range(point as usize).unwrap_or_default()
    }

    /// The `ef` points that the graph finds near `query`, nearest first; nothing where the graph cannot tell.
    fn points_near(&self, query: Query<'_>, ef: usize) -> Option<Vec<u32>> {
        let point_rows = PointRows { codes: self.matrix.codes(self.distance), floats: self.floats.as_ref() };
        let query = point_rows.query(query.values())?;
        let space = Space { point_rows, rows: &self.first_rows };
        let pool = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = pool().pop().unwrap_or_default();
        let points = self.built.graph.search(&space, &query, ef, &mut scratch);
        pool().push(scratch);
        Some(points)
    }
}

/// The rows of a matrix, those together that look the same.
struct Points {
    /// The rows of each; the first one's vector is the point's. In the order of insertion.
    rows: Vec<Vec<u32>>,
    /// Rows of which nothing is known.
    apart: Vec<u32>,
}

impl Points {
    fn of(matrix: &Matrix, point_rows: PointRows<'_>) -> Points {
        let mut order: Vec<u32> = (0..matrix.len() as u32).collect();
        Stream::new(0, "hnsw insertion order", &[]).shuffle(&mut order);
        let hashes: Vec<u64> = order.par_iter().map(|&row| hash_of(point_rows.bytes_of(row))).collect();
        let mut points_of_hash: HashMap<u64, Vec<usize>> = HashMap::with_capacity(order.len());
        let mut points = Points { rows: Vec::with_capacity(order.len()), apart: Vec::new() };
        for (row, hash) in order.into_iter().zip(hashes) {
            if point_rows.codes.is_unknown(row) {
                points.apart.push(row);
                continue;
            }
            let same_hash = points_of_hash.entry(hash).or_default();
            let is_equal =
                |&&point: &&usize| point_rows.bytes_of(points.first_row(point)) == point_rows.bytes_of(row);
            if let Some(&point) = same_hash.iter().find(is_equal) {
                points.rows[point].push(row);
            } else {
                same_hash.push(points.rows.len());
                points.rows.push(vec![row]);
            }
        }
        points
    }

    fn first_row(&self, point: usize) -> u32 {
        self.rows[point][0]
    }
}

/// What is done of a graph's building.
struct Work<'a> {
    /// Points that were inserted or searched for.
    n_done: AtomicUsize,
    progress: Progress<'a>,
    cancel: Cancel<'a>,
}

impl Work<'_> {
    /// Passes of all points.
    const PASSES: usize = 2;

    /// Counts one more.
    fn one_done(&self) -> Result<()> {
        let n_done = self.n_done.fetch_add(1, Ordering::Relaxed) + 1;
        if n_done.is_multiple_of(256) {
            self.check()?;
            self.progress.tell(n_done / Work::PASSES);
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Inserts the first `n` points in their order, all but the first [`MOST_IN_ORDER`] on all cores.
fn insert(graph: &Hnsw<'_, u32, BetweenPoints<'_>>, n: usize, work: &Work<'_>) -> Result<()> {
    let insert = |point: usize| {
        work.check()?;
        graph.insert((&[point as u32], point));
        Ok(())
    };
    (0..n.min(MOST_IN_ORDER)).try_for_each(insert)?;
    (MOST_IN_ORDER.min(n)..n).into_par_iter().try_for_each(insert)
}

/// Copies hnsw_rs's graph of the first points, as the layers above one of all points that is still to be built: in the order
/// that is given beside it.
fn built_of(
    graph: &Hnsw<'_, u32, BetweenPoints<'_>>,
    points: &Points,
    row_format: RowFormat,
) -> (BuiltGraph, Vec<u32>) {
    let n = points.rows.len();
    // The layers of each point but for the lowest, and its neighbours in them.
    let mut neighbours: Vec<Vec<Vec<u32>>> = vec![Vec::new(); n];
    // Its iterator panics on an empty graph.
    if graph.get_nb_point() > 0 {
        for point in graph.get_point_indexation() {
            let lists = point.get_neighborhood_id().into_iter().take(usize::from(point.get_point_id().0) + 1);
            neighbours[point.get_origin_id()] = lists
                .map(|list| list.iter().map(|neighbour| neighbour.get_origin_id() as u32).collect())
                .collect();
        }
    }
    let mut by_layer: Vec<usize> = (0..n).collect();
    by_layer.sort_by_key(|&point| (Reverse(neighbours[point].len()), points.first_row(point)));
    let mut number_of = vec![0_u32; n];
    for (number, &point) in (0_u32..).zip(&by_layer) {
        number_of[point] = number;
    }
    let n_layers = neighbours.iter().map(Vec::len).max().unwrap_or(0);
    let layers = (0..n_layers).map(|layer| {
        let n_in_layer = by_layer.iter().take_while(|&&point| neighbours[point].len() > layer).count();
        let list = |point: usize| -> Vec<u32> {
            let list = neighbours[point].get(layer).into_iter().flatten();
            let numbers = list.map(|&neighbour| number_of[neighbour as usize]);
            numbers.filter(|&number| (number as usize) < n_in_layer).collect()
        };
        Layer::new(&by_layer[..n_in_layer].iter().map(|&point| list(point)).collect::<Vec<_>>())
    });
    let graph = Graph { layers: layers.collect() };
    let mut starts = vec![0_u64];
    let mut rows = Vec::with_capacity(n);
    for &point in &by_layer {
        rows.extend(&points.rows[point]);
        starts.push(rows.len() as u64);
    }
    (BuiltGraph { row_format, graph, starts, rows, lost: Vec::new(), apart: points.apart.clone() }, number_of)
}

impl Index for HnswIndex {
    fn kind(&self) -> IndexKind {
        IndexKind::Hnsw
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    fn nearest(&self, query: Query<'_>, k: usize, among: Among<'_>) -> Result<Ranking> {
        self.search_with(query, k, self.parameters.ef_search, among)
    }
}

impl HnswIndex {
    /// [`Index::nearest`] with `ef_search` candidates.
    fn search_with(&self, query: Query<'_>, k: usize, ef_search: usize, among: Among<'_>) -> Result<Ranking> {
        let exact_search = |among| exact::search(&self.matrix, self.distance, query, k, among);
        let (n_unwanted, is_wanted): (usize, &(dyn Fn(usize) -> bool + Sync)) = match among {
            Among::All => (0, &|_| true),
            Among::Where { n_unwanted, is_wanted } => (n_unwanted, is_wanted),
            Among::These(_) => return exact_search(among),
        };
        let k = k.min(self.len() - n_unwanted.min(self.len()));
        // The graph knows nothing of what is unwanted: more are asked for until enough of them are not.
        let mut n_asked = k;
        let rows = loop {
            // Where most rows are asked for, the graph only adds work.
            if n_asked.saturating_mul(2) >= self.len() {
                return exact_search(among);
            }
            // A zero query is as far from every row by cosine, and one far out as far as float32 can tell.
            let Some(found) = self.points_near(query, n_asked.max(ef_search)) else {
                return exact_search(among);
            };
            let near = found.iter().filter(|point| self.built.lost.binary_search(point).is_err());
            let near = near.flat_map(|&point| self.rows_of(point)).chain(&self.built.apart);
            let rows: Vec<u32> = near.copied().filter(|&row| is_wanted(row as usize)).collect();
            if rows.len() >= k {
                break rows;
            }
            if n_unwanted == 0 {
                // The graph is in pieces, and the one that the query fell into is too small.
                return exact_search(among);
            }
            n_asked = n_asked.max(ef_search) * 2;
        };
        exact_search(Among::These(&rows))
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The number of layers, hnsw_rs's largest: with `m` at least 2, one row in 65,536 would reach it.
const N_LAYERS: usize = 16;
