//! Approximate search with a hierarchical navigable small world graph (Malkov and Yashunin 2018), by hnsw_rs.
//!
//! What hnsw_rs does not take care of is done here:
//! - It exits the process on a large `m` and panics on NaN: everything is checked first.
//! - It needs distances that are never negative: it is given the rows scaled into the unit cube (mean squared
//!   difference) or to unit length (cosine), under the Euclidean distance, which orders them as the model's
//!   distance does and can neither overflow nor fall below zero.
//! - Equal rows would fill each other's lists of neighbours: the graph holds each distinct row once.
//! - Lists of neighbours keep the nearest only, so that rows inserted cluster after cluster cut off whole
//!   clusters (measured on 4,000 rows in 40 clusters: a tenth of the rows could not be found). The rows are
//!   inserted in an order that a seed shuffles, which left none lost there, and neighbours that lead in
//!   different directions are chosen once the graph is there (`graph.rs`).
//! - A row whose neighbours all have nearer ones of their own can still end up without a way to it, and rows that
//!   several threads insert at once more so: after building, every row is searched for, and those that cannot be
//!   found are kept in a list that every search looks through as well.
//! - It takes memory and time for what only building needs: the graph is copied out of it into lists of numbers,
//!   which search (`graph.rs`) and the cache on disk (`cache.rs`) use, and hnsw_rs's own is dropped.
//! - Its distances are float32: hits are scored again with the exact distance.
//!
//! Up to [`MOST_IN_ORDER`] rows are inserted one after another, and levels are drawn from hnsw_rs's fixed seed, so
//! that the same matrix gives the same graph. Of more rows the rest is inserted on all cores, and which of two
//! rows comes first is the system's choice: graphs then differ a little from build to build.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hnsw_rs::prelude::{Distance as GraphDistance, Hnsw};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;
use sketchfind_core::random::Stream;
use sketchfind_core::ranking::Ranking;

use super::bounds::{is_ordinary, length};
use super::graph::{Graph, Layer, Scratch, Space};
use super::kernel::squared_difference;
use super::{Index, IndexKind, Matrix, Rows, check_queries, check_query, exact};
use crate::{Error, Result};

/// The most rows that are inserted one after another.
pub const MOST_IN_ORDER: usize = 10_000;

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

impl HnswParameters {
    /// What users of such graphs take for embeddings of some hundred to some thousand components, but for half of the usual
    /// 200 candidates in building: choosing neighbours anew once the graph is there makes good for them (measured on
    /// 20,000 rows of 512: recall as with 200, in less time).
    pub const ORDINARY: HnswParameters = HnswParameters { m: 16, ef_construction: 100, ef_search: 64 };

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) with the parameter that is out of range.
    pub fn check(self) -> Result<()> {
        // hnsw_rs exits the process above 256 neighbours, and counts them in 8 bits; with 1 its levels are
        // infinite.
        check_range("m", self.m, 2, 255)?;
        check_range("ef_construction", self.ef_construction, self.m, 10_000)?;
        check_range("ef_search", self.ef_search, 1, 100_000)
    }
}

fn check_range(what: &'static str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let (value, expected) = (value.to_string(), format!("{low} to {high}"));
    Err(CoreError::OutOfRange { what, value, expected }.into())
}

/// The Euclidean distance in the graph. Never negative, never NaN: what goes in is finite and of moderate
/// size.
struct Euclidean;

impl GraphDistance<f32> for Euclidean {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        let distance = squared_difference(a, b).sqrt();
        // hnsw_rs panics on NaN. As far away as can be is the answer that cannot win.
        if distance.is_nan() { f32::INFINITY } else { distance }
    }
}

/// How a row or a query goes into the graph.
#[derive(Clone, Copy, Debug)]
enum Mapping {
    /// Divided by the largest absolute component of the matrix.
    Scale(f64),
    /// Divided by its own length.
    Normalise,
}

impl Mapping {
    fn of(distance: Distance, embeddings: &Matrix) -> Mapping {
        match distance {
            Distance::Mse => {
                let largest =
                    embeddings.values().iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                Mapping::Scale(if largest == 0.0 { 1.0 } else { f64::from(largest) })
            }
            Distance::Cosine => Mapping::Normalise,
        }
    }

    /// The graph's vector, or nothing for a zero vector that has no direction.
    fn apply(self, row: &[f32]) -> Option<Vec<f32>> {
        let divisor = match self {
            Mapping::Scale(largest) => largest,
            Mapping::Normalise => row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt(),
        };
        // A query may be far outside the matrix; its square has to stay within float32.
        const FAR: f64 = 1e15;
        (divisor > 0.0).then(|| {
            // Adding zero turns -0 into 0, so that equal vectors have equal bits.
            row.iter().map(|&value| (f64::from(value) / divisor).clamp(-FAR, FAR) as f32 + 0.0).collect()
        })
    }
}

/// Approximate search in a graph.
///
/// ```
/// use std::sync::Arc;
/// use sketchfind_core::{distance::Distance, embeddings::Embeddings};
/// use sketchfind_runtime::{HnswIndex, HnswParameters, Index};
///
/// let photos = Embeddings::new(vec!["a".into(), "b".into()], 1, vec![5.0, 1.0])?;
/// let index = HnswIndex::build(Arc::new(photos), Distance::Mse, HnswParameters::ORDINARY)?;
/// assert_eq!(index.search(&[2.0], 1)?.hits()[0].row, 1);
/// # Ok::<(), sketchfind_runtime::Error>(())
/// ```
pub struct HnswIndex {
    matrix: Matrix,
    distance: Distance,
    parameters: HnswParameters,
    shape: Shape,
    vectors: Vectors,
    /// What searches use, as many as have been at once.
    scratches: Mutex<Vec<Scratch>>,
}

/// What is found out by building: all that the cache keeps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) graph: Graph,
    /// Where the rows of each point of the graph begin in `rows`, and where the last one's end.
    pub(crate) starts: Vec<u64>,
    /// The rows that points stand for: one each, or several that are equal.
    pub(crate) rows: Vec<u32>,
    /// Points that the graph has no way to; sorted.
    pub(crate) lost: Vec<u32>,
    /// Their rows, and rows that are no point's, looked through in every search; sorted.
    pub(crate) apart: Vec<u32>,
}

impl Shape {
    /// Whether its numbers fit each other and a matrix of `n_rows`, so that no search can stumble.
    pub(crate) fn fits(&self, n_rows: usize) -> bool {
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

/// Where the points' vectors are.
#[derive(Debug)]
struct Vectors {
    mapping: Mapping,
    /// The vectors as the mapping gives them, where the matrix's own are too large or too small for float32's squares.
    copy: Option<Vec<f32>>,
    /// The row of each point, in the matrix or the copy.
    rows: Vec<u32>,
    /// By cosine, one over the length of each.
    inverse_lengths: Option<Vec<f32>>,
}

impl Vectors {
    fn new(matrix: &Matrix, distance: Distance, mapping: Mapping, shape: &Shape) -> Vectors {
        let first_rows: Vec<u32> =
            shape.starts.iter().filter_map(|&start| shape.rows.get(start as usize).copied()).collect();
        // The last start is the end.
        let first_rows = first_rows[..shape.graph.n_points().min(first_rows.len())].to_vec();
        if matrix.lengths().are_ordinary() {
            let inverse = |&row: &u32| (1.0 / matrix.lengths().of_row(row as usize)) as f32;
            let inverse_lengths =
                (distance == Distance::Cosine).then(|| first_rows.iter().map(inverse).collect());
            return Vectors { mapping, copy: None, rows: first_rows, inverse_lengths };
        }
        let vectors = first_rows.iter().flat_map(|&row| {
            let vector = matrix.row(row as usize).and_then(|row| mapping.apply(row));
            vector.unwrap_or_else(|| vec![0.0; matrix.width()])
        });
        let inverse_lengths = (distance == Distance::Cosine).then(|| vec![1.0; first_rows.len()]);
        let rows = (0..first_rows.len() as u32).collect();
        Vectors { mapping, copy: Some(vectors.collect()), rows, inverse_lengths }
    }

    fn space<'a>(&'a self, matrix: &'a Matrix) -> Space<'a> {
        Space {
            values: self.copy.as_deref().unwrap_or_else(|| matrix.values()),
            width: matrix.width(),
            rows: &self.rows,
            inverse_lengths: self.inverse_lengths.as_deref(),
        }
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
    /// Builds the graph of a matrix by `distance`, and makes sure that every row can be found. While it is built, the
    /// rows are in memory once more.
    ///
    /// # Errors
    /// [`Error::Core`] where a parameter is out of range or there are more than 2^31 - 1 rows.
    pub fn build(
        matrix: impl Into<Matrix>,
        distance: Distance,
        parameters: HnswParameters,
    ) -> Result<HnswIndex> {
        HnswIndex::build_with(matrix, distance, parameters, &|_| (), &|| false)
    }

    /// [`HnswIndex::build`], which says from time to time how many rows are in the graph, on any thread, and stops when
    /// it is told to.
    ///
    /// # Errors
    /// Those of [`HnswIndex::build`]; [`Error::Cancelled`] once `is_cancelled` says so.
    pub fn build_with(
        matrix: impl Into<Matrix>,
        distance: Distance,
        parameters: HnswParameters,
        on_progress: &(dyn Fn(usize) + Sync),
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<HnswIndex> {
        parameters.check()?;
        let matrix = matrix.into();
        // hnsw_rs numbers the points of a layer in a signed 32-bit number.
        check_range("rows of an index", matrix.len(), 0, i32::MAX as usize)?;
        let mapping = Mapping::of(distance, &matrix);
        let points = Points::of(&matrix, mapping);
        let graph = Hnsw::new(
            parameters.m,
            points.rows.len().max(1),
            N_LAYERS,
            parameters.ef_construction,
            Euclidean,
        );
        insert(&graph, &matrix, mapping, &points, on_progress, is_cancelled)?;
        let shape = shape_of(&graph, points);
        drop(graph);
        let mut index = HnswIndex::of_shape(matrix, distance, parameters, mapping, shape);
        index.shape.graph.choose(&index.vectors.space(&index.matrix), parameters.m);
        index.set_apart_what_is_not_found();
        Ok(index)
    }

    /// The index of a graph that was built before.
    pub(crate) fn of_cache(
        matrix: Matrix,
        distance: Distance,
        parameters: HnswParameters,
        shape: Shape,
    ) -> HnswIndex {
        let mapping = Mapping::of(distance, &matrix);
        HnswIndex::of_shape(matrix, distance, parameters, mapping, shape)
    }

    fn of_shape(
        matrix: Matrix,
        distance: Distance,
        parameters: HnswParameters,
        mapping: Mapping,
        shape: Shape,
    ) -> HnswIndex {
        let vectors = Vectors::new(&matrix, distance, mapping, &shape);
        HnswIndex { matrix, distance, parameters, shape, vectors, scratches: Mutex::default() }
    }

    /// What the cache keeps of it.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
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
        HnswParameters { ef_search, ..self.parameters }.check()?;
        let queries = check_queries(queries, self.matrix.width())?;
        queries.par_iter().map(|query| self.search_as(query, k, ef_search, 0, &|_| true)).collect()
    }

    /// The parameters it was built with.
    pub fn parameters(&self) -> HnswParameters {
        self.parameters
    }

    /// The number of rows that the graph has no way to and every search looks through one by one. Many of
    /// them make searches slow, never wrong; a larger `m` makes fewer.
    pub fn n_apart(&self) -> usize {
        self.shape.apart.len()
    }

    /// Searches for every point as a query would and sets the rows of those apart that are not among their
    /// own candidates.
    fn set_apart_what_is_not_found(&mut self) {
        let is_lost = |&point: &u32| {
            let row = self.rows_of(point).first().and_then(|&row| self.matrix.row(row as usize));
            let ef = self.parameters.ef_search;
            row.is_none_or(|row| !self.points_near(row, ef).contains(&point))
        };
        let n_points = self.shape.graph.n_points() as u32;
        let lost: Vec<u32> = (0..n_points).into_par_iter().filter(is_lost).collect();
        let mut apart: Vec<u32> = lost.iter().flat_map(|&point| self.rows_of(point)).copied().collect();
        self.shape.apart.append(&mut apart);
        self.shape.apart.sort_unstable();
        self.shape.lost = lost;
    }

    /// The rows that a point stands for.
    fn rows_of(&self, point: u32) -> &[u32] {
        let range = |point: usize| {
            let (start, end) = (*self.shape.starts.get(point)?, *self.shape.starts.get(point + 1)?);
            self.shape.rows.get(start as usize..end as usize)
        };
        range(point as usize).unwrap_or_default()
    }

    /// The `ef` points that the graph finds near `query`, nearest first.
    fn points_near(&self, query: &[f32], ef: usize) -> Vec<u32> {
        let space = self.vectors.space(&self.matrix);
        let mapped = self.vectors.copy.as_ref().and_then(|_| self.vectors.mapping.apply(query));
        let vector = mapped.as_deref().unwrap_or(query);
        let inverse_length = (1.0 / length(vector)) as f32;
        let pool = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = pool().pop().unwrap_or_default();
        let points = self.shape.graph.search(&space, vector, inverse_length, ef, &mut scratch);
        pool().push(scratch);
        points
    }
}

/// The distinct vectors among the rows of a matrix.
struct Points {
    /// The rows of each; the first one's vector is the point's. In the order of insertion.
    rows: Vec<Vec<u32>>,
    /// Rows without a vector.
    apart: Vec<u32>,
}

impl Points {
    fn of(matrix: &Matrix, mapping: Mapping) -> Points {
        let vector = |row: u32| matrix.row(row as usize).and_then(|row| mapping.apply(row));
        let mut order: Vec<u32> = (0..matrix.len() as u32).collect();
        Stream::new(0, "hnsw insertion order", &[]).shuffle(&mut order);
        let hashes: Vec<Option<u64>> =
            order.par_iter().map(|&row| vector(row).map(|vector| hash_of(&vector))).collect();
        // By hash, because the vectors themselves would take the matrix's memory once more.
        let mut points_of_hash: HashMap<u64, Vec<usize>> = HashMap::with_capacity(order.len());
        let mut points = Points { rows: Vec::with_capacity(order.len()), apart: Vec::new() };
        for (row, hash) in order.into_iter().zip(hashes) {
            let Some(hash) = hash else {
                points.apart.push(row);
                continue;
            };
            let same_hash = points_of_hash.entry(hash).or_default();
            let is_equal = |&&point: &&usize| {
                points.rows[point].first().is_some_and(|&first| vector(first) == vector(row))
            };
            if let Some(&point) = same_hash.iter().find(is_equal) {
                points.rows[point].push(row);
            } else {
                same_hash.push(points.rows.len());
                points.rows.push(vec![row]);
            }
        }
        points
    }
}

/// Inserts the points in their order, all but the first [`MOST_IN_ORDER`] on all cores.
fn insert(
    graph: &Hnsw<'static, f32, Euclidean>,
    matrix: &Matrix,
    mapping: Mapping,
    points: &Points,
    on_progress: &(dyn Fn(usize) + Sync),
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let n_done = AtomicUsize::new(0);
    let insert = |point: usize| {
        if point.is_multiple_of(256) && is_cancelled() {
            return Err(Error::Cancelled);
        }
        let row = points.rows[point].first().and_then(|&row| matrix.row(row as usize));
        if let Some(vector) = row.and_then(|row| mapping.apply(row)) {
            graph.insert((&vector, point));
        }
        let n_done = n_done.fetch_add(1, Ordering::Relaxed) + 1;
        if n_done.is_multiple_of(256) {
            on_progress(n_done);
        }
        Ok(())
    };
    let n = points.rows.len();
    (0..n.min(MOST_IN_ORDER)).try_for_each(insert)?;
    (MOST_IN_ORDER.min(n)..n).into_par_iter().try_for_each(insert)
}

/// Copies hnsw_rs's graph.
fn shape_of(graph: &Hnsw<'static, f32, Euclidean>, points: Points) -> Shape {
    let n = points.rows.len();
    // The layer and the neighbours of each point.
    let mut levels = vec![0_u8; n];
    let mut neighbours: Vec<Vec<Vec<u32>>> = vec![Vec::new(); n];
    // Its iterator panics on an empty graph.
    if graph.get_nb_point() > 0 {
        for point in graph.get_point_indexation() {
            let (number, level) = (point.get_origin_id(), point.get_point_id().0);
            levels[number] = level;
            let lists = point.get_neighborhood_id().into_iter().take(usize::from(level) + 1);
            neighbours[number] = lists
                .map(|list| list.iter().map(|neighbour| neighbour.get_origin_id() as u32).collect())
                .collect();
        }
    }
    let first_row = |point: usize| points.rows[point].first().copied();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&point| (Reverse(levels[point]), first_row(point)));
    let mut number_of = vec![0_u32; n];
    for (number, &point) in (0_u32..).zip(&order) {
        number_of[point] = number;
    }
    let n_layers = levels.iter().max().map_or(0, |&level| usize::from(level) + 1);
    let layers = (0..n_layers).map(|layer| {
        let n_in_layer = order.iter().take_while(|&&point| usize::from(levels[point]) >= layer).count();
        let list = |point: usize| -> Vec<u32> {
            let list = neighbours[point].get(layer).into_iter().flatten();
            let numbers = list.map(|&neighbour| number_of[neighbour as usize]);
            numbers.filter(|&number| (number as usize) < n_in_layer).collect()
        };
        Layer::new(&order[..n_in_layer].iter().map(|&point| list(point)).collect::<Vec<_>>())
    });
    let graph = Graph { layers: layers.collect() };
    let mut starts = vec![0_u64];
    let mut rows = Vec::with_capacity(n);
    for &point in &order {
        rows.extend(&points.rows[point]);
        starts.push(rows.len() as u64);
    }
    Shape { graph, starts, rows, lost: Vec::new(), apart: points.apart }
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

    fn search(&self, query: &[f32], k: usize) -> Result<Ranking> {
        self.search_among(query, k, 0, &|_| true)
    }
}

impl HnswIndex {
    /// What [`HnswIndex::search_among`] gives for each of `queries`, `[Q, D]`.
    pub(crate) fn search_batch_among(
        &self,
        queries: &[f32],
        k: usize,
        n_unwanted: usize,
        is_wanted: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Vec<Ranking>> {
        let queries = check_queries(queries, self.matrix.width())?;
        queries.par_iter().map(|query| self.search_among(query, k, n_unwanted, is_wanted)).collect()
    }

    /// The `k` nearest to `query` of the rows that `is_wanted`, where `n_unwanted` are not.
    pub(crate) fn search_among(
        &self,
        query: &[f32],
        k: usize,
        n_unwanted: usize,
        is_wanted: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Ranking> {
        check_query(query, self.matrix.width())?;
        self.search_as(query, k, self.parameters.ef_search, n_unwanted, is_wanted)
    }

    /// [`HnswIndex::search_among`] for a query that was checked, with `ef_search` candidates.
    fn search_as(
        &self,
        query: &[f32],
        k: usize,
        ef_search: usize,
        n_unwanted: usize,
        is_wanted: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Ranking> {
        let k = k.min(self.len() - n_unwanted.min(self.len()));
        let exact_search = || {
            let rows = if n_unwanted == 0 { Rows::All } else { Rows::Where(is_wanted) };
            exact::search(&self.matrix, self.distance, query, k, rows)
        };
        // A zero query is as far from every row by cosine, and float32 has no squares for what is very large or small.
        let query_length = length(query);
        if !is_ordinary(query_length) || query_length == 0.0 {
            return exact_search();
        }
        // The graph knows nothing of what is unwanted: more are asked for until enough of them are not.
        let mut n_asked = k;
        let rows = loop {
            // Where most rows are asked for, the graph only adds work.
            if n_asked.saturating_mul(2) >= self.len() {
                return exact_search();
            }
            let found = self.points_near(query, n_asked.max(ef_search));
            let near = found.iter().filter(|point| self.shape.lost.binary_search(point).is_err());
            let near = near.flat_map(|&point| self.rows_of(point)).chain(&self.shape.apart);
            let rows: Vec<u32> = near.copied().filter(|&row| is_wanted(row as usize)).collect();
            if rows.len() >= k {
                break rows;
            }
            if n_unwanted == 0 {
                // The graph is in pieces, and the one that the query fell into is too small.
                return exact_search();
            }
            n_asked = n_asked.max(ef_search) * 2;
        };
        exact::search(&self.matrix, self.distance, query, k, Rows::These(&rows))
    }
}

fn hash_of(vector: &[f32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for value in vector {
        hasher.write_u32(value.to_bits());
    }
    hasher.finish()
}

/// The number of layers, hnsw_rs's largest: with `m` at least 2, one row in 65,536 would reach it.
const N_LAYERS: usize = 16;
