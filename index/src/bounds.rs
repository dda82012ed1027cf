//! What float32 says of a distance, and how wrong it can be: between which bounds the distance lies that
//! [`Distance::between`](sketchfind_core::distance::Distance::between) gives. Rows whose lower bound is above the k-th
//! smallest upper bound cannot be among the k nearest; for all others the distance itself decides.
//!
//! In float32, with unit roundoff `u = 2^-24`, a sum of `D` products in any order, fused or not, is off by at most
//! `g * sum |a_i b_i|` with `g = n u / (1 - n u)`, `n = D` (Higham 2002, 'Accuracy and Stability of Numerical
//! Algorithms', section 3.1), and by Cauchy and Schwarz that sum is at most `|a| |b|`. A sum of squared differences, whose
//! terms are all positive, is off by `g` times itself, with `n = D + 3`. `n` is taken larger here, by more than the
//! float64 in which the model's distance and the bounds themselves are computed can be off. Products of numbers too small
//! for float32 vanish, each by at most `2^-149`: rows and queries of ordinary length are those where that is far below the
//! rest. Nothing is claimed of others: they are always looked at.

use std::collections::BinaryHeap;

use sketchfind_core::distance::Distance;

/// The widest row for which the bounds hold: wider ones are searched in float64 alone.
pub(super) const WIDEST: usize = 1 << 18;

/// Half the distance from 1 to the next number in float32.
pub(super) const UNIT_ROUNDOFF: f64 = 1.0 / (1_u64 << 24) as f64;

/// The relative error of a sum of `width` terms, generously.
pub(super) fn relative_error(width: usize) -> f64 {
    let n = (width + 16) as f64;
    n * UNIT_ROUNDOFF / (1.0 - n * UNIT_ROUNDOFF)
}

/// Whether a vector of this length is one whose products float32 neither overflows nor loses.
pub(super) fn is_ordinary(length: f64) -> bool {
    length == 0.0 || (1e-12..=1e12).contains(&length)
}

/// A vector's length: eight sums that the compiler can vectorise.
pub(super) fn length(vector: &[f32]) -> f64 {
    let (chunks, rest) = vector.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    let rest: f64 = rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}

/// The `k` smallest of some numbers.
#[derive(Debug)]
pub(super) struct Smallest {
    k: usize,
    /// The largest on top.
    heap: BinaryHeap<Bound>,
}

impl Smallest {
    /// `k` is at least 1.
    pub(super) fn new(k: usize) -> Smallest {
        Smallest { k, heap: BinaryHeap::new() }
    }

    /// Adds a number, and returns the largest of the `k` smallest; infinity where there are fewer.
    #[inline]
    pub(super) fn add(&mut self, number: f64) -> f64 {
        if self.heap.len() < self.k {
            self.heap.push(Bound(number));
        } else if let Some(mut largest) = self.heap.peek_mut()
            && number < largest.0
        {
            *largest = Bound(number);
        }
        let is_full = self.heap.len() == self.k;
        self.heap.peek().filter(|_| is_full).map_or(f64::INFINITY, |largest| largest.0)
    }
}

/// The rows that may be among the `k` nearest to a query, as far as their bounds tell. Bounds are in any unit that orders
/// as the distance does.
#[derive(Debug)]
pub(super) struct Nearest {
    /// The upper bounds.
    smallest: Smallest,
    /// The largest of them once there are `k`; until then infinity.
    limit: f64,
    found: Vec<Candidate>,
    /// The number found at which those that have dropped out are removed.
    clean_at: usize,
}

/// A row that may be near.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    row: usize,
    low: f64,
    high: f64,
}

#[derive(Debug, PartialEq)]
struct Bound(f64);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Bound) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Bound) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Nearest {
    /// `k` is at least 1.
    pub(super) fn new(k: usize) -> Nearest {
        Nearest { smallest: Smallest::new(k), limit: f64::INFINITY, found: Vec::new(), clean_at: 4 * k + 256 }
    }

    /// Whether a row with this lower bound may be among the nearest.
    #[inline]
    pub(super) fn may_hold(&self, low: f64) -> bool {
        // Not `low > limit`: what cannot be compared is looked at.
        low <= self.limit || low.is_nan()
    }

    /// The largest lower bound with which a row may be among the nearest.
    pub(super) fn limit(&self) -> f64 {
        self.limit
    }

    /// A row whose distance lies between `low` and `high`.
    #[inline]
    pub(super) fn offer(&mut self, row: usize, low: f64, high: f64) {
        if self.may_hold(low) {
            self.keep(Candidate { row, low, high });
        }
    }

    fn keep(&mut self, candidate: Candidate) {
        // Nothing follows for others from a row that may be anywhere.
        if candidate.high < f64::INFINITY {
            self.limit = self.smallest.add(candidate.high);
        }
        self.found.push(candidate);
        if self.found.len() >= self.clean_at {
            self.clean();
            self.clean_at = 2 * self.found.len() + 256;
        }
    }

    fn clean(&mut self) {
        let limit = self.limit;
        self.found.retain(|candidate| candidate.low <= limit || candidate.low.is_nan());
    }

    /// Takes in what another part of the rows gave.
    pub(super) fn join(&mut self, other: &Nearest) {
        other.found.iter().for_each(|candidate| self.offer(candidate.row, candidate.low, candidate.high));
    }

    /// The rows that may be among the nearest, in no order.
    pub(super) fn rows(mut self) -> impl Iterator<Item = usize> {
        self.clean();
        self.found.into_iter().map(|candidate| candidate.row)
    }
}

/// Bounds of distances to one query, from sums over the components.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryBounds {
    distance: Distance,
    relative: f64,
    /// What vanishes of numbers too small for float32.
    vanishing: f64,
    query_length: f64,
}

impl QueryBounds {
    pub(super) fn new(distance: Distance, query: &[f32]) -> QueryBounds {
        let vanishing = query.len() as f64 * f64::from(f32::MIN_POSITIVE);
        let relative = relative_error(query.len());
        QueryBounds { distance, relative, vanishing, query_length: length(query) }
    }

    /// The bounds from the sum of squared differences, or from the product and the row's square.
    #[inline]
    pub(super) fn of(&self, sums: [f32; 2]) -> (f64, f64) {
        match self.distance {
            Distance::Mse => {
                const LARGE: f64 = 1e37;
                let sum = f64::from(sums[0]);
                let off = 2.0 * self.relative * sum + self.vanishing;
                if sum < LARGE { (sum - off, sum + off) } else { (LARGE / 2.0, f64::INFINITY) }
            }
            Distance::Cosine => {
                let [product, square] = sums.map(f64::from);
                let row_length = square.sqrt();
                // What float32 gives as zero may have vanished.
                if !is_ordinary(self.query_length) || !is_ordinary(row_length) || square == 0.0 {
                    return (f64::NEG_INFINITY, f64::INFINITY);
                }
                if self.query_length == 0.0 {
                    return (0.0, 0.0);
                }
                // The product is off by `g |a| |b|`, the row's length by `g` of itself, and the cosine is at most 1.
                let cosine = product / (row_length * self.query_length);
                let off = 4.0 * self.relative;
                (-cosine - off, -cosine + off)
            }
        }
    }
}
