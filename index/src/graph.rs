//! A graph as search wants it: lists of numbers, one behind the other, and the rows where they lie.
//!
//! hnsw_rs keeps each point, each list and each neighbour apart in memory, counted and locked, which costs a search as much
//! again as its distances. Here the points are numbered from the highest layer down, so that a layer holds the first few of
//! them and point 0 is where every search begins.
//!
//! hnsw_rs also drops the farthest neighbour of a list that is full, where Malkov and Yashunin choose those that lead in
//! different directions (algorithm 4). [`Graph::choose`] makes that choice for the layers that it has built, among the
//! neighbours of a point and the points whose neighbour it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::kernel;
use crate::points::{PointQuery, PointRows};

/// Points of the second layer that a search goes down from. Malkov and Yashunin go down from one, which may be in a wrong
/// cluster; few points have a second layer, which the processor keeps at hand.
const ABREAST: usize = 32;

/// Rows that are fetched ahead of the one that is looked at.
const AHEAD: usize = 4;

/// The points that are vertices of a graph, and how far they are from each other.
pub(super) struct Space<'a> {
    /// The rows.
    pub(super) point_rows: PointRows<'a>,
    /// The row of each point.
    pub(super) rows: &'a [u32],
}

impl Space<'_> {
    #[inline(always)]
    fn distance<S: Simd>(&self, simd: S, query: &PointQuery, point: u32) -> f32 {
        self.point_rows.against_query(simd, query, self.rows[point as usize])
    }

    pub(super) fn query_of(&self, point: u32) -> PointQuery {
        self.point_rows.query_of_row(self.rows[point as usize])
    }

    #[inline(always)]
    fn prefetch(&self, point: u32) {
        self.point_rows.prefetch(self.rows[point as usize]);
    }

    #[inline(always)]
    fn between<S: Simd>(&self, simd: S, a: u32, b: u32) -> f32 {
        self.point_rows.between(simd, self.rows[a as usize], self.rows[b as usize])
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
pub struct Layer {
    /// Where each point's neighbours begin, and where the last one's end.
    pub starts: Vec<u64>,
    /// The neighbours of all points, as numbers of points.
    pub neighbours: Vec<u32>,
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
    pub(super) fn of(&self, point: u32) -> &[u32] {
        let point = point as usize;
        &self.neighbours[self.starts[point] as usize..self.starts[point + 1] as usize]
    }
}

/// Layers of neighbours, the lowest first; a layer's points are the first of those below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// The layers.
    pub layers: Vec<Layer>,
}

impl Graph {
    pub(super) fn n_points(&self) -> usize {
        self.layers.first().map_or(0, Layer::n_points)
    }

    /// Chooses the neighbours in every layer anew, at most `most` of each point.
    pub(super) fn choose(&mut self, space: &Space<'_>, most: usize) {
        for layer in &mut self.layers {
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
                    kernel::ARCH.dispatch(Choose {
                        space,
                        point: point as u32,
                        candidates,
                        most,
                        fills: true,
                    })
                })
                .collect();
            *layer = Layer::new(&lists);
        }
    }

    /// The `ef` points that lie nearest to a query, as far as the graph leads there; nearest first.
    pub(super) fn search(
        &self,
        space: &Space<'_>,
        query: &PointQuery,
        ef: usize,
        scratch: &mut Scratch,
    ) -> Vec<u32> {
        match self.layers.split_first() {
            Some((lists, upper)) if lists.n_points() > 0 && ef > 0 => {
                kernel::ARCH.dispatch(Search { lists, upper, space, query, ef, scratch })
            }
            _ => Vec::new(),
        }
    }
}

/// Algorithm 4 of Malkov and Yashunin 2018: those of the candidates, at most `most`, that are nearer to the point than to any
/// that was chosen before.
pub(super) struct Choose<'a> {
    pub(super) space: &'a Space<'a>,
    pub(super) point: u32,
    pub(super) candidates: Vec<u32>,
    pub(super) most: usize,
    /// Whether others are taken where there is room.
    pub(super) fills: bool,
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
        let room = if self.fills { self.most - chosen.len() } else { 0 };
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
        if self.seen.len() < n_points {
            self.seen.resize(n_points, 0);
        }
        self.number = self.number.wrapping_add(1);
        if self.number == 0 {
            self.seen.fill(0);
            self.number = 1;
        }
    }
}

/// Lists of neighbours that a search can follow.
pub(super) trait Lists {
    /// Calls `work` with each neighbour of a point.
    fn for_each(&self, point: u32, work: impl FnMut(u32));
}

impl Lists for Layer {
    #[inline(always)]
    fn for_each(&self, point: u32, work: impl FnMut(u32)) {
        self.of(point).iter().copied().for_each(work);
    }
}

/// Algorithm 5 of Malkov and Yashunin 2018: from point 0 down to the lowest layer, and there to the nearest `ef` points,
/// nearest first.
pub(super) struct Search<'a, L> {
    /// The lowest layer.
    pub(super) lists: &'a L,
    /// Those above, the lowest first.
    pub(super) upper: &'a [Layer],
    pub(super) space: &'a Space<'a>,
    pub(super) query: &'a PointQuery,
    pub(super) ef: usize,
    pub(super) scratch: &'a mut Scratch,
}

impl<L: Lists> WithSimd for Search<'_, L> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<u32> {
        let Search { lists, upper, space, query, ef, scratch } = self;
        let near = |point: u32| Near { distance: space.distance(simd, query, point), point };
        let mut best = near(0);
        for layer in upper.iter().skip(1).rev() {
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
        scratch.nearest.clear();
        scratch.nearest.push(best);
        if let Some(layer) = upper.first() {
            beam(simd, layer, space, query, ABREAST, scratch);
        }
        beam(simd, lists, space, query, ef, scratch);
        let mut found = std::mem::take(&mut scratch.nearest).into_sorted_vec();
        let points = found.iter().map(|near| near.point).collect();
        found.clear();
        scratch.nearest = found.into();
        points
    }
}

/// Algorithm 2 of Malkov and Yashunin 2018: from the points that are the nearest so far to the nearest `ef` of a layer.
#[inline(always)]
fn beam<S: Simd>(
    simd: S,
    lists: &impl Lists,
    space: &Space<'_>,
    query: &PointQuery,
    ef: usize,
    scratch: &mut Scratch,
) {
    scratch.begin(space.rows.len());
    let Scratch { seen, number, candidates, nearest, fresh } = scratch;
    for &start in nearest.iter() {
        seen[start.point as usize] = *number;
        candidates.push(Reverse(start));
    }
    while nearest.len() > ef {
        nearest.pop();
    }
    while let Some(Reverse(candidate)) = candidates.pop() {
        let farthest = nearest.peek().map_or(f32::INFINITY, |farthest| farthest.distance);
        if candidate.distance > farthest && nearest.len() >= ef {
            break;
        }
        fresh.clear();
        lists.for_each(candidate.point, |point| {
            let seen = &mut seen[point as usize];
            if *seen != *number {
                *seen = *number;
                fresh.push(point);
            }
        });
        fresh.iter().take(AHEAD).for_each(|&point| space.prefetch(point));
        for (place, &point) in fresh.iter().enumerate() {
            if let Some(&next) = fresh.get(place + AHEAD) {
                space.prefetch(next);
            }
            let near = Near { distance: space.distance(simd, query, point), point };
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
}
