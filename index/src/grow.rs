//! The lowest layer of a graph, which holds every point, built as Malkov and Yashunin 2018 do it: each point looks for its
//! neighbours among those that are there already (algorithms 1 and 2), and chooses those that lead in different
//! directions, as every neighbour does whose list is full (algorithm 4).
//!
//! hnsw_rs keeps the nearest instead, and counts and locks each neighbour apart: with it alone, building took twice as long
//! (`docs/benchmarks.md`). It builds the layers above, a sixteenth of the points.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::Result;
use crate::graph::{Choose, Layer, Lists, Scratch, Search, Space};
use crate::kernel::ARCH;

/// The most points that are inserted one after another.
pub const MOST_IN_ORDER: usize = 10_000;

/// Locks of lists, each of many.
const N_LOCKS: usize = 1 << 12;

/// A layer that grows. Lists are changed under a lock and read without one: a reader may see a list half changed, whose
/// numbers are points all the same.
struct Growing<'a> {
    space: &'a Space<'a>,
    m: usize,
    ef: usize,
    /// Of each point how many neighbours it has, and room for `2 m`.
    lists: Vec<AtomicU32>,
    locks: Vec<Mutex<()>>,
}

/// The lowest layer of all points of `space`, inserted as `order` says; `m` neighbours are looked for among `ef` candidates.
/// Calls `one_done` for each, and stops at its error.
pub(super) fn lowest_layer(
    space: &Space<'_>,
    upper: &[Layer],
    order: &[u32],
    m: usize,
    ef: usize,
    one_done: &(impl Fn() -> Result<()> + Sync),
) -> Result<Layer> {
    let mut lists = Vec::new();
    lists.resize_with(order.len() * (2 * m + 1), AtomicU32::default);
    let mut locks = Vec::new();
    locks.resize_with(N_LOCKS, Mutex::default);
    let growing = Growing { space, m, ef, lists, locks };
    // The points of the layer above come first, and searches for their neighbours begin at the first of all. Those for all
    // others come down through the layers above.
    let (above, below) = order.split_at(upper.first().map_or(0, Layer::n_points));
    growing.insert_all(above, &[], MOST_IN_ORDER, one_done)?;
    growing.insert_all(below, upper, MOST_IN_ORDER.saturating_sub(above.len()), one_done)?;
    Ok(Layer::new(&(0..order.len() as u32).map(|point| growing.read(point)).collect::<Vec<_>>()))
}

impl Lists for Growing<'_> {
    #[inline(always)]
    fn for_each(&self, point: u32, mut work: impl FnMut(u32)) {
        let list = self.list(point);
        let n = list[0].load(Ordering::Acquire) as usize;
        list[1..=n].iter().for_each(|neighbour| work(neighbour.load(Ordering::Relaxed)));
    }
}

impl Growing<'_> {
    #[inline(always)]
    fn list(&self, point: u32) -> &[AtomicU32] {
        let stride = 2 * self.m + 1;
        &self.lists[point as usize * stride..][..stride]
    }

    fn read(&self, point: u32) -> Vec<u32> {
        let mut list = Vec::with_capacity(2 * self.m + 1);
        self.for_each(point, |neighbour| list.push(neighbour));
        list
    }

    /// Under the point's lock, or before there are others.
    fn write(&self, point: u32, neighbours: &[u32]) {
        let list = self.list(point);
        let neighbours = &neighbours[..neighbours.len().min(2 * self.m)];
        for (place, &neighbour) in list[1..].iter().zip(neighbours) {
            place.store(neighbour, Ordering::Relaxed);
        }
        // After what it counts, for readers that see it at once.
        list[0].store(neighbours.len() as u32, Ordering::Release);
    }

    /// Changes a point's list to what `change` makes of it.
    fn change(&self, point: u32, change: impl FnOnce(Vec<u32>) -> Vec<u32>) -> Vec<u32> {
        let lock = &self.locks[point as usize % N_LOCKS];
        let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let neighbours = change(self.read(point));
        self.write(point, &neighbours);
        neighbours
    }

    /// Inserts points, the first `n_in_order` one after another and the rest on all cores.
    fn insert_all(
        &self,
        points: &[u32],
        upper: &[Layer],
        n_in_order: usize,
        one_done: &(impl Fn() -> Result<()> + Sync),
    ) -> Result<()> {
        let insert = |scratch: &mut Scratch, &point: &u32| {
            self.insert(point, upper, scratch);
            one_done()
        };
        let (first, rest) = points.split_at(n_in_order.min(points.len()));
        let mut scratch = Scratch::default();
        first.iter().try_for_each(|point| insert(&mut scratch, point))?;
        rest.par_iter().map_init(Scratch::default, insert).collect()
    }

    fn insert(&self, point: u32, upper: &[Layer], scratch: &mut Scratch) {
        let &Growing { space, m, ef, .. } = self;
        let query = space.query_of(point);
        let found = ARCH.dispatch(Search { lists: self, upper, space, query: &query, ef, scratch });
        let choose = |point: u32, candidates: Vec<u32>, most: usize| {
            ARCH.dispatch(Choose { space, point, candidates, most, fills: false })
        };
        let chosen = self.change(point, |mut candidates| {
            // The first of all has been found, and linked to, before it was inserted.
            candidates.extend(found);
            choose(point, candidates, m)
        });
        for neighbour in chosen {
            self.change(neighbour, |mut neighbours| {
                if neighbours.contains(&point) {
                    return neighbours;
                }
                neighbours.push(point);
                if neighbours.len() > 2 * m { choose(neighbour, neighbours, 2 * m) } else { neighbours }
            });
        }
    }
}
