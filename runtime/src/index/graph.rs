//! A graph as search wants it: lists of numbers, one behind the other, and the vectors where they lie in the matrix.
//!
//! hnsw_rs builds the graph; it keeps each point, each list and each neighbour apart in memory, counted and locked, which
//! costs a search as much again as its distances. Here the points are numbered from the highest layer down, so that a layer
//! holds the first few of them and point 0 is where every search begins.
//!
//! hnsw_rs also drops the farthest neighbour of a list that is full, where Malkov and Yashunin choose those that lead in
//! different directions (algorithm 4). [`Graph::choose`] makes that choice once the graph is there, among the neighbours of
//! a point and the points whose neighbour it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::kernel;

/// The points that are vertices of a graph: vectors, and how far they are from each other.
pub(super) struct Space<'a> {
    /// The matrix, row-major.
    pub(super) values: &'a [f32],
    /// Its width.
    pub(super) width: usize,
    /// The row of each point.
    pub(super) rows: &'a [u32],
    /// By cosine, one over the length of each point; by mean squared difference nothing.
    pub(super) inverse_lengths: Option<&'a [f32]>,
}

impl<'a> Space<'a> {
    #[inline(always)]
    fn vector(&self, point: u32) -> &'a [f32] {
        &self.values[self.rows[point as usize] as usize * self.width..][..self.width]
    }

    /// What orders as the distance does, between a vector, which is divided by `1 / inverse_length`, and a point.
    #[inline(always)]
    fn distance<S: Simd>(&self, simd: S, vector: &[f32], inverse_length: f32, point: u32) -> f32 {
        let other = self.vector(point);
        match self.inverse_lengths {
            None => kernel::squares(simd, vector, other),
            Some(inverse) => {
                1.0 - kernel::product(simd, vector, other) * inverse_length * inverse[point as usize]
            }
        }
    }

    #[inline(always)]
    fn between<S: Simd>(&self, simd: S, a: u32, b: u32) -> f32 {
        let inverse_length = self.inverse_lengths.map_or(1.0, |inverse| inverse[a as usize]);
        self.distance(simd, self.vector(a), inverse_length, b)
    }
}

/// A point and its distance from something.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Near {
    distance: f32,
    point: u32,
}

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Near) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Near) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.point.cmp(&other.point))
    }
}

/// The neighbours of the points of one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Where each point's neighbours begin, and where the last one's end.
    pub(crate) starts: Vec<u64>,
    pub(crate) neighbours: Vec<u32>,
}

impl Layer {
    /// The layer of these lists.
    pub(super) fn new(lists: &[Vec<u32>]) -> Layer {
        let mut layer = Layer { starts: Vec::with_capacity(lists.len() + 1), neighbours: Vec::new() };
        layer.starts.push(0);
        for list in lists {
            layer.neighbours.extend(list);
            layer.starts.push(layer.neighbours.len() as u64);
        }
        layer
    }

    pub(super) fn n_points(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    #[inline(always)]
    fn of(&self, point: u32) -> &[u32] {
        let point = point as usize;
        &self.neighbours[self.starts[point] as usize..self.starts[point + 1] as usize]
    }
}

/// Layers of neighbours, the lowest first; a layer's points are the first of those below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) layers: Vec<Layer>,
}

impl Graph {
    pub(super) fn n_points(&self) -> usize {
        self.layers.first().map_or(0, Layer::n_points)
    }

    /// Chooses the neighbours in every layer anew: at most `m` of each point, and `2 m` in the lowest.
    pub(super) fn choose(&mut self, space: &Space<'_>, m: usize) {
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let most = if number == 0 { 2 * m } else { m };
            let mut candidates: Vec<Vec<u32>> =
                (0..layer.n_points()).map(|point| layer.of(point as u32).to_vec()).collect();
            for point in 0..layer.n_points() {
                for &neighbour in layer.of(point as u32) {
                    candidates[neighbour as usize].push(point as u32);
                }
            }
            let lists: Vec<Vec<u32>> = candidates
                .into_par_iter()
                .enumerate()
                .map(|(point, candidates)| {
                    kernel::ARCH.dispatch(Choose { space, point: point as u32, candidates, most })
                })
                .collect();
            *layer = Layer::new(&lists);
        }
    }

    /// The `ef` points that lie nearest to a vector, as far as the graph leads there; nearest first.
    pub(super) fn search(
        &self,
        space: &Space<'_>,
        vector: &[f32],
        inverse_length: f32,
        ef: usize,
        scratch: &mut Scratch,
    ) -> Vec<u32> {
        if self.n_points() == 0 || ef == 0 {
            return Vec::new();
        }
        kernel::ARCH.dispatch(Search { graph: self, space, vector, inverse_length, ef, scratch })
    }
}

/// Algorithm 4 of Malkov and Yashunin 2018, with what it prunes kept where there is room.
struct Choose<'a> {
    space: &'a Space<'a>,
    point: u32,
    candidates: Vec<u32>,
    most: usize,
}

impl WithSimd for Choose<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> Vec<u32> {
        let Choose { space, point, .. } = self;
        self.candidates.sort_unstable();
        self.candidates.dedup();
        let others = self.candidates.iter().filter(|&&other| other != point);
        let mut near: Vec<Near> =
            others.map(|&other| Near { distance: space.between(simd, point, other), point: other }).collect();
        near.sort_unstable();
        let (mut chosen, mut pruned) = (Vec::with_capacity(self.most), Vec::new());
        for candidate in near {
            if chosen.len() == self.most {
                break;
            }
            let mut leads_elsewhere = true;
            for &other in &chosen {
                if space.between(simd, candidate.point, other) < candidate.distance {
                    leads_elsewhere = false;
                    break;
                }
            }
            if leads_elsewhere { chosen.push(candidate.point) } else { pruned.push(candidate.point) }
        }
        let room = self.most - chosen.len();
        chosen.extend(pruned.into_iter().take(room));
        chosen
    }
}

/// What a search needs, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The number of the search that saw each point last.
    seen: Vec<u32>,
    number: u32,
    candidates: BinaryHeap<Reverse<Near>>,
    nearest: BinaryHeap<Near>,
    fresh: Vec<u32>,
}

impl Scratch {
    fn begin(&mut self, n_points: usize) {
        self.candidates.clear();
        self.nearest.clear();
        self.seen.resize(n_points, 0);
        self.number = self.number.wrapping_add(1);
        if self.number == 0 {
            self.seen.fill(0);
            self.number = 1;
        }
    }
}

struct Search<'a> {
    graph: &'a Graph,
    space: &'a Space<'a>,
    vector: &'a [f32],
    inverse_length: f32,
    ef: usize,
    scratch: &'a mut Scratch,
}

impl WithSimd for Search<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<u32> {
        let Search { graph, space, vector, inverse_length, ef, scratch } = self;
        let near = |point: u32| Near { distance: space.distance(simd, vector, inverse_length, point), point };
        let (Some((lowest, upper)), mut best) = (graph.layers.split_first(), near(0)) else {
            return Vec::new();
        };
        for layer in upper.iter().rev() {
            loop {
                let from = best.point;
                for &point in layer.of(from) {
                    best = best.min(near(point));
                }
                if best.point == from {
                    break;
                }
            }
        }
        scratch.begin(graph.n_points());
        let Scratch { seen, number, candidates, nearest, fresh } = scratch;
        seen[best.point as usize] = *number;
        candidates.push(Reverse(best));
        nearest.push(best);
        while let Some(Reverse(candidate)) = candidates.pop() {
            let farthest = nearest.peek().map_or(f32::INFINITY, |farthest| farthest.distance);
            if candidate.distance > farthest && nearest.len() >= ef {
                break;
            }
            fresh.clear();
            for &point in lowest.of(candidate.point) {
                let seen = &mut seen[point as usize];
                if *seen != *number {
                    *seen = *number;
                    fresh.push(point);
                }
            }
            for (place, &point) in fresh.iter().enumerate() {
                if let Some(&next) = fresh.get(place + 1) {
                    touch(space.vector(next));
                }
                let near = near(point);
                let has_room = nearest.len() < ef;
                if has_room || nearest.peek().is_none_or(|farthest| near < *farthest) {
                    candidates.push(Reverse(near));
                    nearest.push(near);
                    if !has_room {
                        nearest.pop();
                    }
                }
            }
        }
        let mut found = std::mem::take(nearest).into_sorted_vec();
        let points = found.iter().map(|near| near.point).collect();
        found.clear();
        *nearest = found.into();
        points
    }
}

/// Reads the beginning of a vector that is wanted next, so that the processor fetches it while it is at this one.
#[inline(always)]
fn touch(vector: &[f32]) {
    const LINE: usize = 16;
    for line in 0..4 {
        if let Some(&value) = vector.get(line * LINE) {
            black_box(value);
        }
    }
}
