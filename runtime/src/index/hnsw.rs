//! Approximate search with a hierarchical navigable small world graph (Malkov and Yashunin 2018), by hnsw_rs.
//!
//! What hnsw_rs does not take care of is done here:
//! - It exits the process on a large `m` and panics on NaN: everything is checked first.
//! - It needs distances that are never negative: the graph holds the rows scaled into the unit cube (mean
//!   squared difference) or to unit length (cosine), under the Euclidean distance, which orders them as the
//!   model's distance does and can neither overflow nor fall below zero.
//! - Equal rows would fill each other's lists of neighbours: the graph holds each distinct row once.
//! - Lists of neighbours keep the nearest only, so that rows inserted cluster after cluster cut off whole
//!   clusters (measured on 4,000 rows in 40 clusters: a tenth of the rows could not be found). The rows are
//!   inserted in an order that a seed shuffles, which left none lost there.
//! - A row whose neighbours all have nearer ones of their own can still end up without a way to it: after
//!   building, every row is searched for, and those that cannot be found are kept in a list that every search
//!   looks through as well.
//! - Its distances are float32: hits are scored again with the exact distance.
//!
//! Rows are inserted one after another and levels are drawn from hnsw_rs's fixed seed, so the same matrix
//! gives the same graph. The graph is never written to disk; the matrix is the truth.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use hnsw_rs::prelude::{DistL2, Distance as GraphDistance, Hnsw};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;
use sketchfind_core::random::Stream;
use sketchfind_core::ranking::{Hit, Ranking};

use super::{Index, IndexKind, Matrix, Rows, check_query, exact};
use crate::Result;

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
    /// What the paper and its users take for embeddings of some hundred to some thousand components.
    pub const ORDINARY: HnswParameters = HnswParameters { m: 16, ef_construction: 200, ef_search: 64 };

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
        let distance = DistL2.eval(a, b);
        // hnsw_rs panics on NaN. As far away as can be is the answer that cannot win.
        if distance.is_nan() { f32::INFINITY } else { distance.max(0.0) }
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
    mapping: Mapping,
    graph: Hnsw<'static, f32, Euclidean>,
    /// The rows of the matrix that each point of the graph stands for: one, or several that are equal.
    rows_of_point: Vec<Vec<usize>>,
    /// Rows that the graph has no way to, looked through in every search; sorted.
    apart: Vec<usize>,
}

impl std::fmt::Debug for HnswIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HnswIndex")
            .field("n_rows", &self.matrix.len())
            .field("distance", &self.distance)
            .field("parameters", &self.parameters)
            .field("n_apart", &self.apart.len())
            .finish_non_exhaustive()
    }
}

impl HnswIndex {
    /// Builds the graph of a matrix by `distance`, and makes sure that every row can be found. The graph
    /// holds a copy of the rows, so it takes a little more memory than the matrix once more.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) where a parameter is out of range or there are more than 2^31 - 1
    /// rows.
    pub fn build(
        matrix: impl Into<Matrix>,
        distance: Distance,
        parameters: HnswParameters,
    ) -> Result<HnswIndex> {
        parameters.check()?;
        let matrix = matrix.into();
        // hnsw_rs numbers the points of a layer in a signed 32-bit number.
        check_range("rows of an index", matrix.len(), 0, i32::MAX as usize)?;
        let mapping = Mapping::of(distance, &matrix);
        let (m, ef_construction) = (parameters.m, parameters.ef_construction);
        let graph = Hnsw::new(m, matrix.len().max(1), N_LAYERS, ef_construction, Euclidean);
        let mut index = HnswIndex {
            matrix,
            distance,
            parameters,
            mapping,
            graph,
            rows_of_point: Vec::new(),
            apart: Vec::new(),
        };
        index.insert_rows();
        index.graph.set_searching_mode(true);
        index.set_apart_what_is_not_found();
        Ok(index)
    }

    /// The parameters it was built with.
    pub fn parameters(&self) -> HnswParameters {
        self.parameters
    }

    /// The number of rows that the graph has no way to and every search looks through one by one. Many of
    /// them make searches slow, never wrong; a larger `m` makes fewer.
    pub fn n_apart(&self) -> usize {
        self.apart.len()
    }

    fn insert_rows(&mut self) {
        // By hash, because the vectors themselves would take the matrix's memory once more.
        let mut points_of_hash: HashMap<u64, Vec<usize>> = HashMap::with_capacity(self.matrix.len());
        let mut order: Vec<usize> = (0..self.matrix.len()).collect();
        Stream::new(0, "hnsw insertion order", &[]).shuffle(&mut order);
        for row in order {
            let Some(vector) = self.matrix.row(row).and_then(|row| self.mapping.apply(row)) else {
                self.apart.push(row);
                continue;
            };
            let points = points_of_hash.entry(hash_of(&vector)).or_default();
            let equal = points.iter().find(|&&point| {
                let first = self.rows_of_point[point].first().and_then(|&row| self.matrix.row(row));
                first.and_then(|first| self.mapping.apply(first)).is_some_and(|first| first == vector)
            });
            if let Some(&point) = equal {
                self.rows_of_point[point].push(row);
                continue;
            }
            let point = self.rows_of_point.len();
            self.graph.insert((&vector, point));
            points.push(point);
            self.rows_of_point.push(vec![row]);
        }
    }

    /// Searches for every point as a query would and sets the rows of those apart that are not among their
    /// own candidates.
    fn set_apart_what_is_not_found(&mut self) {
        let lost: Vec<usize> = (0..self.rows_of_point.len())
            .into_par_iter()
            .filter(|&point| {
                let row = self.rows_of_point[point].first().and_then(|&row| self.matrix.row(row));
                let vector = row.and_then(|row| self.mapping.apply(row));
                vector.is_none_or(|vector| !self.points_near(&vector, 1).any(|found| found == point))
            })
            .collect();
        self.apart.extend(lost.into_iter().flat_map(|point| std::mem::take(&mut self.rows_of_point[point])));
        self.apart.sort_unstable();
    }

    /// The graph's candidates for `k` points near `vector`.
    fn points_near(&self, vector: &[f32], k: usize) -> impl Iterator<Item = usize> {
        let ef = self.parameters.ef_search.max(k).min(self.rows_of_point.len());
        let found = if ef == 0 { Vec::new() } else { self.graph.search(vector, ef, ef) };
        found.into_iter().map(|neighbour| neighbour.d_id)
    }
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
    /// The `k` nearest to `query` of the rows that `is_wanted`, where `n_unwanted` are not.
    pub(crate) fn search_among(
        &self,
        query: &[f32],
        k: usize,
        n_unwanted: usize,
        is_wanted: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Ranking> {
        check_query(query, self.matrix.width())?;
        let k = k.min(self.len() - n_unwanted.min(self.len()));
        let exact_search = || {
            let rows = if n_unwanted == 0 { Rows::All } else { Rows::Where(is_wanted) };
            exact::search(&self.matrix, self.distance, query, k, rows)
        };
        // A zero query is as far from every row by cosine.
        let Some(vector) = self.mapping.apply(query) else {
            return exact_search();
        };
        // The graph knows nothing of what is unwanted: more are asked for until enough of them are not.
        let mut n_asked = k;
        let rows = loop {
            // Where most rows are asked for, the graph only adds work.
            if n_asked.saturating_mul(2) >= self.len() {
                return exact_search();
            }
            let near = self.points_near(&vector, n_asked).flat_map(|point| &self.rows_of_point[point]);
            let rows: Vec<usize> = near.chain(&self.apart).copied().filter(|&row| is_wanted(row)).collect();
            if rows.len() >= k {
                break rows;
            }
            if n_unwanted == 0 {
                // The graph is in pieces, and the one that the query fell into is too small.
                return exact_search();
            }
            n_asked = n_asked.max(self.parameters.ef_search) * 2;
        };
        let hits = rows.into_iter().filter_map(|row| {
            let embedding = self.matrix.row(row)?;
            Some(Hit { row, distance: self.distance.between(query, embedding) })
        });
        Ok(Ranking::new(hits.collect(), k)?)
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
