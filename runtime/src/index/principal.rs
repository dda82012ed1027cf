//! A matrix seen through its principal components: a first look at a few numbers of a row, and at the row itself only
//! where they say that it may be near. No hit is lost by that.
//!
//! Now and then the rows that seem nearest are looked at themselves, so that it is soon known how near the nearest are; the
//! others wait until all rows were seen, and most of them drop out by then.
//!
//! Let `a` be a row less the centre, and `Q`, `[R, D]`, orthonormal directions. By Pythagoras and the triangle inequality
//! `f(a) = (Q a, |a - Q^T Q a|)` moves no two vectors apart: `|f(a) - f(b)| <= |a - b|`. So the distance of what is seen
//! of two vectors is a lower bound of theirs, whatever the directions. It is a good one where these hold most of the
//! variance, as a few principal components of embeddings do; they are found by subspace iteration from random directions
//! (Halko, Martinsson and Tropp 2011, 'Finding structure with randomness', algorithm 4.4), and then turned at random
//! within the space that they span, so that each holds as much as any other and 8 bits suit them all.
//!
//! Directions have roundings. With `Q Q^T = I + E`, `|E| <= e`, and `P` the projection to the space that they span,
//! `|P a|^2` is `(Q a)^T (I + E)^-1 (Q a)`, and so between `|Q a|^2 / (1 + e)` and `|Q a|^2 / (1 - e)`: the bound holds when
//! it is divided by `sqrt(1 + e)`, with `|a - P a|` known up to what follows from `e`. That and the roundings of `Q a`, which
//! is computed in float64, are written down as lost of a row, as what 8 bits lose is (`codes.rs`).

use std::collections::BinaryHeap;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{Array2, ArrayView2, Axis, s};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::random::Stream;

use super::bounds::{Nearest, QueryBounds, UNIT_ROUNDOFF, is_ordinary, length, relative_error};
use super::codes::{self, CodedQuery, Codes, RELATIVE, Written, factor, less_centre};
use super::kernel::{ARCH, Interest, Limits, Numbers, Packed, RowList, Sums, multiply, one_by_one};

/// Rows and width from which on the first look is worth its while; the widest for which it is not too long in the making.
const ROWS_FROM: usize = 1 << 10;
const WIDTHS: RangeInclusive<usize> = 256..=4096;
/// Rows from which the directions are learnt.
const SAMPLE: usize = 1 << 12;
/// The most directions: few enough that making them does not take longer than using them gains.
const MOST: usize = 512;
/// Numbers that are seen of a row are a multiple of this: what a processor sums up at once.
const STEP: usize = 64;
/// The share of the variance that may be outside of what is seen; directions are added until it is.
const OUTSIDE: f64 = 0.08;
/// The share beyond which looking is in vain: too many rows seem near.
const TOO_MUCH_OUTSIDE: f64 = 0.15;
/// The share of squared distances that has to be seen: the nearest are about that much nearer than others.
const TIGHT: f64 = 0.6;
/// Steps of the subspace iteration.
const ITERATIONS: usize = 3;
/// Rows that are projected together.
const TOGETHER: usize = 128;
/// Rows after which those that seem nearest are looked at themselves.
const STAGE: usize = 1 << 10;
/// The error of a projection in float64 relative to the length of what is projected, generously: `sqrt(R)` times that of a
/// sum of 4,096 products.
const PROJECTED: f64 = 1e-10;

/// A first look at the rows of a matrix.
#[derive(Debug)]
pub(crate) struct Principal {
    distance: Distance,
    plane: Plane,
    /// What is seen of the rows, `[N, R + 1]`.
    codes: Codes,
}

/// Directions through the centre of the rows.
#[derive(Debug)]
struct Plane {
    /// The mean of the rows, `[D]`.
    centre: Vec<f32>,
    centre_length: f64,
    /// The directions, `[R, D]`.
    basis: Array2<f32>,
    /// How far the directions are from orthonormal: at least the norm of `Q Q^T - I`.
    off: f64,
}

/// A query as a first look wants it.
#[derive(Debug)]
pub(crate) struct Looking {
    coded: CodedQuery,
    lost: f64,
    /// The length of what is outside of the plane.
    outside: f64,
}

/// What searches of different parts of the rows tell each other of a query, as bits of numbers that are not negative,
/// which order as the numbers do. They change no hit, only how soon rows drop out.
#[derive(Debug)]
pub(super) struct Shared {
    /// How far from what is seen of the query that of a row may be, but for what is lost of the row.
    reach: AtomicU64,
    /// The squared distance up to which a row seems to be among the nearest.
    promising: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Shared {
        let infinite = || AtomicU64::new(f64::INFINITY.to_bits());
        Shared { reach: infinite(), promising: infinite() }
    }

    /// The smaller one of a number and what others have told, who are told.
    fn smaller(number: &AtomicU64, ours: f64) -> f64 {
        ours.min(f64::from_bits(number.fetch_min(ours.to_bits(), Ordering::Relaxed)))
    }
}

/// A row that seems near.
#[derive(Debug)]
struct Promising {
    /// What its squared distance may be.
    estimate: f64,
    row: usize,
    /// The lower bound of its distance.
    low: f64,
    is_known: bool,
}

impl PartialEq for Promising {
    fn eq(&self, other: &Promising) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Promising {}

impl PartialOrd for Promising {
    fn partial_cmp(&self, other: &Promising) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Promising {
    fn cmp(&self, other: &Promising) -> std::cmp::Ordering {
        self.estimate.total_cmp(&other.estimate)
    }
}

/// A search of one part of the rows for one query.
struct Part<'a> {
    principal: &'a Principal,
    query: &'a [f32],
    bounds: QueryBounds,
    shared: &'a Shared,
    /// What is lost of the query, and the length of what is outside of the plane.
    lost: f64,
    outside: f64,
    reach: f64,
    k: usize,
    /// The `k` rows that seem nearest, the farthest on top.
    seeming: BinaryHeap<Promising>,
    /// Whether all of them were looked at.
    is_known: bool,
    promising: f64,
    nearest: Nearest,
}

impl Part<'_> {
    /// Takes in a row that is wanted, from what is written of it and of the query.
    fn take(&mut self, row: usize, written: Written) {
        let low = self.principal.low(written.near(self.lost));
        // What is outside of the plane has no direction that is known, so it is taken to be at right angles.
        let estimate = written.square.max(0.0) + 2.0 * self.outside * self.principal.outside(row);
        if estimate > self.promising {
            return self.nearest.offer(row, low, f64::INFINITY);
        }
        self.seeming.push(Promising { estimate, row, low, is_known: false });
        self.is_known = false;
        if self.seeming.len() > self.k {
            let farthest = self.seeming.pop().filter(|farthest| !farthest.is_known);
            if let Some(Promising { row, low, .. }) = farthest {
                self.nearest.offer(row, low, f64::INFINITY);
            }
        }
        if self.seeming.len() == self.k
            && let Some(farthest) = self.seeming.peek()
        {
            self.promising = self.promising.min(farthest.estimate);
        }
    }

    /// Looks at those that seem nearest themselves. Returns whether less is in reach since.
    fn look(&mut self, list: RowList<'_>) -> bool {
        let before = self.reach;
        if !self.is_known {
            let mut seeming = std::mem::take(&mut self.seeming).into_vec();
            let rows: Vec<u32> = seeming
                .iter()
                .filter(|seeming| !seeming.is_known)
                .map(|seeming| seeming.row as u32)
                .collect();
            let list = RowList { ids: Some(&rows), ..list };
            let kind = Sums::of(self.principal.distance);
            one_by_one(list, 0..rows.len(), self.query, kind, &mut |row, sums| {
                let (low, high) = self.bounds.of(sums);
                self.nearest.offer(row, low, high);
            });
            seeming.iter_mut().for_each(|seeming| seeming.is_known = true);
            self.seeming = seeming.into();
            self.is_known = true;
            self.reach = self.reach.min(self.principal.reach(self.nearest.limit(), self.lost));
        }
        self.reach = Shared::smaller(&self.shared.reach, self.reach);
        self.promising = Shared::smaller(&self.shared.promising, self.promising);
        self.reach < before
    }
}

impl Principal {
    /// A look at the rows of a matrix `[N, width]`; nothing where it would be too small, or would show too little.
    pub(super) fn new(values: &[f32], width: usize, distance: Distance) -> Option<Principal> {
        let n_rows = values.len() / width;
        if n_rows < ROWS_FROM || !WIDTHS.contains(&width) {
            return None;
        }
        let centre = codes::mean(values, width, distance);
        let plane = Plane::new(values, width, distance, centre)?;
        let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
        let (seen, lost) = plane.project(distance, &rows);
        let codes = Codes::with_losses(&seen, plane.n_seen(), &lost);
        let principal = Principal { distance, plane, codes };
        (principal.tightness(values) >= TIGHT).then_some(principal)
    }

    /// The median, over some pairs of rows, of the share of their squared distance that is seen to be there at least.
    fn tightness(&self, values: &[f32]) -> f64 {
        const N_PAIRS: usize = 256;
        let width = self.plane.centre.len();
        let list = RowList { values, width, ids: None };
        let mut stream = Stream::new(2, "principal components", &[]);
        let mut shares = Vec::new();
        for _ in 0..N_PAIRS {
            let [query, row] = [stream.below(list.len()), stream.below(list.len())];
            let query = &values[query * width..][..width];
            let mut share = 0.0;
            if let Some(looking) = self.query(query) {
                let (bounds, nothing) = (QueryBounds::new(self.distance, query), self.low(0.0));
                let mut all = 0.0;
                one_by_one(list, row..row + 1, query, Sums::of(self.distance), &mut |_, sums| {
                    all = bounds.of(sums).1 - nothing;
                });
                self.codes.look(list, row..row + 1, &looking.coded, f64::INFINITY, &mut |_, written| {
                    share = (self.low(written.near(looking.lost)) - nothing) / all;
                    f64::INFINITY
                });
            }
            // Not a number where a row meets itself.
            if !share.is_nan() {
                shares.push(share);
            }
        }
        shares.sort_by(f64::total_cmp);
        shares.get(shares.len() / 2).copied().unwrap_or(0.0)
    }

    /// Whether a query is one of which [`Principal::query`] says something.
    pub(super) fn suits(&self, query: &[f32]) -> bool {
        let factor = factor(self.distance, query);
        let lengths = length(query) * factor + self.plane.centre_length;
        factor > 0.0 && is_ordinary(lengths) && self.codes.is_near(lengths)
    }

    /// Bytes that are seen of a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.codes.stride()
    }

    /// A query; nothing where the look would say nothing of it.
    pub(super) fn query(&self, query: &[f32]) -> Option<Looking> {
        let Plane { centre, basis, .. } = &self.plane;
        let factor = factor(self.distance, query);
        if factor == 0.0 {
            return None;
        }
        let centred: Vec<f64> = less_centre(query, factor, centre).collect();
        let basis = basis.as_slice()?;
        let mut inside = vec![0.0; self.plane.n_seen() - 1];
        ARCH.dispatch(Project { basis, vector: &centred, out: &mut inside });
        let mut seen = vec![0.0; self.plane.n_seen()];
        let lost = self.plane.see(length(query) * factor, &centred, &inside, &mut seen);
        let outside = f64::from(*seen.last()?);
        Some(Looking { coded: self.codes.query(&seen)?, lost, outside }).filter(|_| lost.is_finite())
    }

    /// The rows at `places` that are wanted and may be among the `k` nearest to `query`.
    pub(super) fn nearest(
        &self,
        list: RowList<'_>,
        places: Range<usize>,
        (query, looking): (&[f32], &Looking),
        (k, is_wanted): (usize, &(dyn Fn(usize) -> bool + Sync)),
        shared: &Shared,
    ) -> Nearest {
        let bounds = QueryBounds::new(self.distance, query);
        let mut part = self.part(query, bounds, (looking.lost, looking.outside), k, shared);
        let Range { mut start, end } = places;
        while start < end {
            let stop = (start + STAGE).min(end);
            let reach = part.reach;
            self.codes.look(list, start..stop, &looking.coded, reach, &mut |place, written| {
                let row = list.row(place);
                if is_wanted(row) {
                    part.take(row, written);
                }
                reach
            });
            part.look(list);
            start = stop;
        }
        part.nearest
    }

    fn part<'a>(
        &'a self,
        query: &'a [f32],
        bounds: QueryBounds,
        (lost, outside): (f64, f64),
        k: usize,
        shared: &'a Shared,
    ) -> Part<'a> {
        let promising = f64::from_bits(shared.promising.load(Ordering::Relaxed));
        let reach = f64::from_bits(shared.reach.load(Ordering::Relaxed));
        Part {
            principal: self,
            query,
            bounds,
            shared,
            lost,
            outside,
            reach,
            k,
            seeming: BinaryHeap::new(),
            is_known: true,
            promising,
            nearest: Nearest::new(k),
        }
    }

    /// The length of what is outside of the plane of a row, roughly.
    fn outside(&self, row: usize) -> f64 {
        let (scale, ..) = self.codes.known(row as u32);
        let number = self.codes.numbers(row as u32).last().copied().unwrap_or_default();
        let mean = self.codes.centre().last().copied().unwrap_or_default();
        f64::from(scale * f32::from(number) + mean).max(0.0)
    }

    /// How far apart what is seen of a query and of a row may be, but for what is lost of the row, where the bound of their
    /// distance is `limit`.
    fn reach(&self, limit: f64, lost: f64) -> f64 {
        let square = match self.distance {
            Distance::Mse => limit,
            Distance::Cosine => 2.0 * (1.0 + limit) + RELATIVE,
        };
        (square.max(0.0) * (1.0 + self.plane.off)).sqrt() * (1.0 + 2.0 * RELATIVE) + lost
    }

    /// The lower bound of a distance where what is seen of a query and of a row is `near` apart, less what is lost: the
    /// inverse of [`Principal::reach`].
    fn low(&self, near: f64) -> f64 {
        let square = near * near / (1.0 + self.plane.off) * (1.0 - 4.0 * RELATIVE);
        match self.distance {
            Distance::Mse => square,
            Distance::Cosine => square / 2.0 - 1.0 - RELATIVE,
        }
    }

    /// Queries that are looked for together.
    pub(super) fn together<'a>(&'a self, queries: &'a [&'a [f32]]) -> Together<'a> {
        let n_seen = self.plane.n_seen();
        let (mut seen, lost) = self.plane.project(self.distance, queries);
        let centre = self.codes.centre();
        let mut seen_queries = Vec::with_capacity(queries.len());
        for (seen, &lost) in seen.chunks_exact_mut(n_seen).zip(&lost) {
            let outside = seen.last().copied().map_or(0.0, f64::from);
            for (value, &mean) in seen.iter_mut().zip(centre) {
                *value = (f64::from(*value) - f64::from(mean)) as f32;
            }
            let length = length(seen);
            let lost = f64::from(lost) + 4.0 * UNIT_ROUNDOFF * (length + self.codes.centre_length());
            seen_queries.push(Seen { length, lost, outside });
        }
        let rows: Vec<&[f32]> = seen.chunks_exact(n_seen).collect();
        let packed = Packed::new(&rows, n_seen);
        let shared = queries.iter().map(|_| Shared::new()).collect();
        let bounds = queries.iter().map(|query| QueryBounds::new(self.distance, query)).collect();
        Together { principal: self, queries, bounds, seen: seen_queries, packed, shared }
    }
}

impl Plane {
    /// The plane that holds most of the rows' variance; nothing where that is not most of it.
    fn new(values: &[f32], width: usize, distance: Distance, centre: Vec<f32>) -> Option<Plane> {
        let n_rows = values.len() / width;
        let n_sampled = n_rows.min(SAMPLE);
        let mut sample = Array2::<f32>::zeros((n_sampled, width));
        for (place, mut out) in sample.outer_iter_mut().enumerate() {
            let row = &values[place * n_rows / n_sampled * width..][..width];
            let centred = less_centre(row, factor(distance, row), &centre);
            out.iter_mut().zip(centred).for_each(|(out, value)| *out = value as f32);
        }
        // The unit does not matter: in this one nothing is too large or too small for float32.
        let largest = sample.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        if !(largest > 0.0 && largest.is_finite()) {
            return None;
        }
        sample.mapv_inplace(|value| value / largest);
        let covariance = product(sample.t(), sample.view());
        let total: f64 = covariance.diag().iter().map(|&value| f64::from(value)).sum();
        let mut stream = Stream::new(1, "principal components", &[]);
        let mut normals = |rows: usize, columns: usize| {
            // Sums of four uniform numbers: all directions alike is all that is asked of them.
            Array2::from_shape_fn((rows, columns), |_| (0..4).map(|_| stream.unit() as f32 - 0.5).sum())
        };
        let n_most = (width / 4 + 1).min(MOST) / STEP * STEP - 1;
        let mut basis = normals(n_most, width);
        for _ in 0..ITERATIONS {
            basis = orthonormal(&product(basis.view(), covariance.view()), 1);
        }
        let images = product(basis.view(), covariance.view());
        let held = |row: usize| f64::from(basis.row(row).dot(&images.row(row))) / total;
        let mut order: Vec<(f64, usize)> = (0..basis.nrows()).map(|row| (held(row), row)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut outside = 1.0;
        let enough = order.iter().position(|&(held, _)| {
            outside -= held;
            outside <= OUTSIDE
        });
        // Not a number where the rows were too large for float32.
        if outside.is_nan() || outside > TOO_MUCH_OUTSIDE {
            return None;
        }
        let n = enough.map_or(order.len(), |place| (place + 2).next_multiple_of(STEP) - 1).min(order.len());
        let rows: Vec<usize> = order[..n].iter().map(|&(_, row)| row).collect();
        let turn = orthonormal(&normals(n, n), 2);
        let basis = orthonormal(&product(turn.view(), basis.select(Axis(0), &rows).view()), 2);
        let wide = basis.mapv(f64::from);
        let mut gram = wide.dot(&wide.t());
        gram.diag_mut().mapv_inplace(|value| value - 1.0);
        // With what the roundings of that product can be.
        let off =
            gram.iter().map(|value| value * value).sum::<f64>().sqrt() + wide.len() as f64 * f64::EPSILON;
        const FAR_OFF: f64 = 1e-3;
        (off < FAR_OFF).then(|| Plane { centre_length: length(&centre), centre, basis, off })
    }

    /// Numbers that are seen of a vector.
    fn n_seen(&self) -> usize {
        self.basis.nrows() + 1
    }

    /// What is seen of vectors, `[N, R + 1]`, and what is lost of each.
    fn project(&self, distance: Distance, vectors: &[&[f32]]) -> (Vec<f32>, Vec<f32>) {
        let n_seen = self.n_seen();
        let (mut seen, mut lost) = (vec![0.0; vectors.len() * n_seen], vec![0.0; vectors.len()]);
        let basis = self.basis.mapv(f64::from);
        let chunks = seen.par_chunks_mut(TOGETHER * n_seen).zip(lost.par_chunks_mut(TOGETHER));
        vectors.par_chunks(TOGETHER).zip(chunks).for_each(|(vectors, (seen, lost))| {
            self.project_together(basis.view(), distance, vectors, seen, lost);
        });
        (seen, lost)
    }

    /// [`Plane::project`] as one matrix product with the directions in float64.
    fn project_together(
        &self,
        basis: ArrayView2<'_, f64>,
        distance: Distance,
        vectors: &[&[f32]],
        seen: &mut [f32],
        lost: &mut [f32],
    ) {
        let factors: Vec<f64> = vectors.iter().map(|vector| factor(distance, vector)).collect();
        let mut centred = Array2::<f64>::zeros((vectors.len(), self.centre.len()));
        for ((mut out, vector), &factor) in centred.outer_iter_mut().zip(vectors).zip(&factors) {
            out.iter_mut()
                .zip(less_centre(vector, factor, &self.centre))
                .for_each(|(out, value)| *out = value);
        }
        let inside = centred.dot(&basis.t());
        let both = centred.outer_iter().zip(inside.outer_iter()).zip(vectors.iter().zip(&factors));
        for (((centred, inside), (vector, &factor)), (seen, lost)) in
            both.zip(seen.chunks_exact_mut(self.n_seen()).zip(lost))
        {
            let (Some(centred), Some(inside)) = (centred.as_slice(), inside.as_slice()) else {
                *lost = f32::INFINITY;
                continue;
            };
            let of_row = self.see(length(vector) * factor, centred, inside, seen);
            // A vector with no direction is as far from all others, whatever is seen of it.
            *lost = if factor > 0.0 { (of_row as f32).next_up() } else { f32::INFINITY };
        }
    }

    /// What is seen of a vector, which was `vector_length` long before the centre was taken off, from what lies inside; the
    /// length of what is lost.
    fn see(&self, vector_length: f64, centred: &[f64], inside: &[f64], seen: &mut [f32]) -> f64 {
        let lengths = vector_length + self.centre_length;
        let square = |vector: &[f64]| -> f64 { vector.iter().map(|value| value * value).sum() };
        let outside = (square(centred) - square(inside)).max(0.0);
        if !is_ordinary(lengths) || !outside.is_finite() {
            seen.fill(0.0);
            return f64::INFINITY;
        }
        for (seen, &value) in seen.iter_mut().zip(inside.iter().chain([&outside.sqrt()])) {
            *seen = value as f32;
        }
        let uncertain = (2.0 * self.off + 4.0 * PROJECTED) * lengths * lengths;
        // |sqrt(s) - sqrt(t)| is |s - t| / (sqrt(s) + sqrt(t)), and at most sqrt(|s - t|).
        let of_outside = if outside > uncertain { uncertain / outside.sqrt() } else { uncertain.sqrt() };
        (PROJECTED + 4.0 * UNIT_ROUNDOFF) * lengths + of_outside
    }
}

/// A matrix product, block by block of the first one's rows on all cores.
fn product(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let n_in_block = a.nrows().div_ceil(2 * rayon::current_num_threads()).max(STEP);
    let blocks: Vec<_> = out.axis_chunks_iter_mut(Axis(0), n_in_block).collect();
    blocks.into_par_iter().enumerate().for_each(|(block, mut out)| {
        let start = block * n_in_block;
        let rows = a.slice(s![start..start + out.nrows(), ..]);
        out.assign(&rows.dot(&b));
    });
    out
}

/// Orthonormal rows that span what those of `vectors` span: Gram and Schmidt, `n_passes` times, by blocks of rows, most of
/// which are matrix products. Rows that depend on those before them are left out.
fn orthonormal(vectors: &Array2<f32>, n_passes: usize) -> Array2<f32> {
    const BLOCK: usize = 32;
    /// A row of which less than this share is left depends on those before.
    const NOTHING_LEFT: f32 = 1e-4;
    let mut basis = Array2::<f32>::zeros(vectors.dim());
    let mut n = 0;
    for block in vectors.axis_chunks_iter(Axis(0), BLOCK) {
        let before: Vec<f32> = block.outer_iter().map(|row| row.dot(&row).sqrt()).collect();
        let mut block = block.to_owned();
        for _ in 0..n_passes {
            let done = basis.slice(s![..n, ..]);
            let shares = product(block.view(), done.t());
            block -= &product(shares.view(), done);
        }
        let start = n;
        for (row, before) in block.outer_iter().zip(before) {
            let mut row = row.to_owned();
            for _ in 0..n_passes.max(2) {
                for done in basis.slice(s![start..n, ..]).outer_iter() {
                    let share = row.dot(&done);
                    row.scaled_add(-share, &done);
                }
            }
            let left = row.dot(&row).sqrt();
            if left > NOTHING_LEFT * before {
                row /= left;
                basis.row_mut(n).assign(&row);
                n += 1;
            }
        }
    }
    basis.slice(s![..n, ..]).to_owned()
}

/// The products of all directions with a vector, in float64.
struct Project<'a> {
    basis: &'a [f32],
    vector: &'a [f64],
    out: &'a mut [f64],
}

impl WithSimd for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        const LANES: usize = 32;
        let (chunks, rest) = self.vector.as_chunks::<LANES>();
        for (out, direction) in self.out.iter_mut().zip(self.basis.chunks_exact(self.vector.len())) {
            let (direction_chunks, direction_rest) = direction.as_chunks::<LANES>();
            let mut sums = [0.0_f64; LANES];
            for (direction, chunk) in direction_chunks.iter().zip(chunks) {
                for lane in 0..LANES {
                    sums[lane] += f64::from(direction[lane]) * chunk[lane];
                }
            }
            let rest = direction_rest.iter().zip(rest).map(|(&a, &b)| f64::from(a) * b);
            *out = sums.iter().sum::<f64>() + rest.sum::<f64>();
        }
    }
}

/// Many queries as a first look wants them.
pub(super) struct Together<'a> {
    principal: &'a Principal,
    queries: &'a [&'a [f32]],
    bounds: Vec<QueryBounds>,
    seen: Vec<Seen>,
    packed: Packed,
    shared: Vec<Shared>,
}

/// What is known of a query beside what is seen of it.
struct Seen {
    length: f64,
    lost: f64,
    /// The length of what is outside of the plane.
    outside: f64,
}

impl Together<'_> {
    /// For each query the rows at `places` that are wanted and may be among its `k` nearest.
    pub(super) fn nearest(
        &self,
        list: RowList<'_>,
        places: Range<usize>,
        k: usize,
        is_wanted: &(dyn Fn(usize) -> bool + Sync),
    ) -> Vec<Nearest> {
        let n = self.queries.len();
        let part = |query: usize| {
            let Seen { lost, outside, .. } = self.seen[query];
            let (bounds, shared) = (self.bounds[query], &self.shared[query]);
            self.principal.part(self.queries[query], bounds, (lost, outside), k, shared)
        };
        let mut look = Look {
            together: self,
            list,
            is_wanted,
            error: relative_error(self.principal.plane.n_seen()),
            limits: Limits::new(n),
            parts: (0..n).map(part).collect(),
        };
        (0..n).for_each(|query| look.set(query));
        multiply(SeenRows { codes: &self.principal.codes, list }, places, &self.packed, &mut look);
        let nearest = |mut part: Part<'_>| {
            part.look(list);
            part.nearest
        };
        look.parts.into_iter().map(nearest).collect()
    }
}

/// What is seen of the rows of a list.
#[derive(Clone, Copy)]
struct SeenRows<'a> {
    codes: &'a Codes,
    list: RowList<'a>,
}

impl Numbers for SeenRows<'_> {
    type Number = i8;

    fn width(&self) -> usize {
        self.codes.width()
    }

    #[inline(always)]
    fn row(&self, place: usize) -> usize {
        self.list.row(place)
    }

    #[inline(always)]
    fn numbers(&self, place: usize) -> &[i8] {
        self.codes.numbers(self.list.row(place) as u32)
    }
}

/// A search of one part of the rows for many queries.
///
/// With `w` what is written of a row, `l` what is lost of it, `x` what is seen of a query and `t` how far a row may be from it,
/// rows are looked at where `|w|^2 + |x|^2 - 2 w x <= (t + l)^2`, that is
/// `(|w|^2 - l^2) - 2 w x - l (2 t) <= t^2 - |x|^2`. The product is off by `g |w| |x| / 2`, which one product of a number of the
/// row and one of the query has to allow for: `(l + m |w|) (2 t + g |x| / m)`, for any `m`, is at least
/// `2 t l + g |w| |x|`.
struct Look<'a> {
    together: &'a Together<'a>,
    list: RowList<'a>,
    is_wanted: &'a (dyn Fn(usize) -> bool + Sync),
    /// The relative error of a product.
    error: f64,
    limits: Limits,
    /// Of each query; its reach is `t`.
    parts: Vec<Part<'a>>,
}

impl Look<'_> {
    /// More than a few roundings in float32 are, relative to what is rounded.
    const MORE: f64 = 16.0 * UNIT_ROUNDOFF;

    /// `g`.
    fn off(&self) -> f64 {
        2.0 * self.error + 2.0 * Self::MORE
    }

    /// Writes down what follows from `t` of a query.
    fn set(&mut self, query: usize) {
        let (reach, length) = (self.parts[query].reach, self.together.seen[query].length);
        let square = length * length;
        let slack = (2.0 * reach + self.off().sqrt() * length) * (1.0 + Self::MORE);
        let limit = reach * reach - square + Self::MORE * (reach * reach + square);
        self.limits.set(query, (slack as f32).next_up(), (limit as f32).next_up());
    }
}

impl Interest for Look<'_> {
    fn begin(&mut self) {
        for query in 0..self.parts.len() {
            if self.parts[query].look(self.list) {
                self.set(query);
            }
        }
    }

    #[inline(always)]
    fn row(&self, row: usize) -> Option<[f32; 3]> {
        let (scale, lost, written) = self.together.principal.codes.known(row as u32);
        if lost.is_infinite() {
            return None;
        }
        let offset = written * (1.0 - Self::MORE) - lost * lost * (1.0 + Self::MORE);
        // `m` is the square root of `g`.
        let slack = (lost + self.off().sqrt() * written.sqrt()) * (1.0 + Self::MORE);
        Some([(offset as f32).next_down(), -2.0 * scale, (slack as f32).next_up()])
    }

    #[inline(always)]
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn take(&mut self, row: usize, query: usize, product: f32) {
        let (scale, lost, written) = self.together.principal.codes.known(row as u32);
        let length = self.together.seen[query].length;
        let square = written + length * length - 2.0 * f64::from(scale) * f64::from(product);
        let rounding = 2.0 * self.error * written.sqrt() * length + RELATIVE * (written + length * length);
        let part = &mut self.parts[query];
        let far = part.reach + lost;
        if square - rounding <= far * far && (self.is_wanted)(row) {
            part.take(row, Written { square, rounding, lost });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 256;

    /// Rows near a plane of eight directions, some of them far out, one without a direction.
    fn rows(seed: u64, n: usize, off: f64) -> Vec<f32> {
        let mut directions = Stream::new(1, "directions", &[]);
        let directions: Vec<f64> = (0..8 * WIDTH).map(|_| directions.unit() - 0.5).collect();
        let mut stream = Stream::new(seed, "rows", &[]);
        let mut rows = Vec::new();
        for row in 0..n {
            let shares: Vec<f64> = (0..8).map(|_| stream.unit() - 0.3).collect();
            let size = [1.0, 1.0, 1.0, 1e-3, 30.0, 0.0][if row == 5 { 5 } else { row % 5 }];
            for k in 0..WIDTH {
                let inside: f64 = (0..8).map(|d| shares[d] * directions[d * WIDTH + k]).sum();
                rows.push((size * (inside + off * (stream.unit() - 0.5))) as f32);
            }
        }
        rows
    }

    #[test]
    fn what_is_seen_is_no_farther_apart_than_what_is_and_not_much_nearer() {
        for (distance, off) in
            [(Distance::Mse, 0.3), (Distance::Mse, 0.0), (Distance::Cosine, 0.3), (Distance::Cosine, 0.0)]
        {
            let base = rows(1, 1_100, off);
            let principal = Principal::new(&base, WIDTH, distance).unwrap();
            assert!(principal.plane.off < 1e-4, "{}", principal.plane.off);
            let list = RowList { values: &base, width: WIDTH, ids: None };
            let mut shares = Vec::new();
            for query in rows(2, 20, 2.0 * off).chunks_exact(WIDTH) {
                let Some(looking) = principal.query(query) else {
                    assert!(distance == Distance::Cosine && query.iter().all(|&value| value == 0.0));
                    continue;
                };
                let mut n_seen = 0;
                principal.codes.look(
                    list,
                    0..list.len(),
                    &looking.coded,
                    f64::INFINITY,
                    &mut |row, written| {
                        n_seen += 1;
                        let near = written.near(looking.lost);
                        let low = principal.low(near);
                        // In the units of the bounds.
                        let between = distance.between(query, &base[row * WIDTH..][..WIDTH]);
                        let is = match distance {
                            Distance::Mse => between * WIDTH as f64,
                            Distance::Cosine => between - 1.0,
                        };
                        assert!(low <= is, "{distance}, row {row}: {low} and {is}");
                        if near > 0.0 {
                            shares.push((low - principal.low(0.0)) / (is - principal.low(0.0)));
                        }
                        f64::INFINITY
                    },
                );
                assert_eq!(n_seen, list.len());
            }
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            assert!(mean > 0.6, "{distance}, {off}: {mean}");
        }
    }

    #[test]
    fn rows_of_which_too_little_is_seen_are_not_looked_at_so() {
        let mut stream = Stream::new(3, "flat", &[]);
        let flat: Vec<f32> = (0..1_100 * WIDTH).map(|_| stream.unit() as f32).collect();
        assert!(Principal::new(&flat, WIDTH, Distance::Mse).is_none());
        assert!(Principal::new(&vec![1.5; 1_100 * WIDTH], WIDTH, Distance::Mse).is_none());
        assert!(Principal::new(&rows(1, 900, 0.1), WIDTH, Distance::Mse).is_none());
        // One row that is so far out that roundings hide the others.
        let mut outlier = rows(1, 1_100, 0.1);
        assert!(Principal::new(&outlier, WIDTH, Distance::Mse).is_some());
        outlier[..WIDTH].fill(1e9);
        assert!(Principal::new(&outlier, WIDTH, Distance::Mse).is_none());
    }

    #[test]
    fn dependent_vectors_are_left_out_of_a_basis() {
        let mut stream = Stream::new(4, "basis", &[]);
        let mut vectors = Array2::from_shape_fn((70, 90), |_| stream.unit() as f32);
        for dependent in [40, 69] {
            let sum = &vectors.row(3) * 2.0 + vectors.row(35);
            vectors.row_mut(dependent).assign(&sum);
        }
        let basis = orthonormal(&vectors, 2);
        assert_eq!(basis.dim(), (68, 90));
        let gram = basis.dot(&basis.t());
        let is_one =
            |((a, b), &value): ((usize, usize), &f32)| (value - f32::from(u8::from(a == b))).abs() < 1e-5;
        assert!(gram.indexed_iter().all(is_one));
        // Nothing is lost of a vector that was there.
        let vector = vectors.row(69);
        let inside = basis.dot(&vector);
        assert!((inside.dot(&inside) / vector.dot(&vector) - 1.0).abs() < 1e-5);
    }
}
