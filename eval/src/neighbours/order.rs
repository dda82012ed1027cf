//! Two orders of the same photos, compared pair by pair in O(N log N).
//!
//! Sort by the reference's distances, replace each studied distance by its place, and count the pairs that stand the wrong
//! way round by merging (Knight, 'A Computer Method for Calculating Kendall's Tau with Ungrouped Data', 1966). Ties are
//! counted from runs of equal values.

use std::ops::Range;

/// How two orders agree on all pairs of N - 1 photos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairCounts {
    /// Pairs.
    pub n: u64,
    /// Ordered the same by both.
    pub n_concordant: u64,
    /// Ordered the other way round.
    pub n_discordant: u64,
    /// Equally far in the reference only.
    pub n_tied_reference: u64,
    /// Equally far in the studied space only.
    pub n_tied_studied: u64,
    /// Equally far in both.
    pub n_tied_both: u64,
}

impl PairCounts {
    /// Of the pairs that the reference orders, the share that the studied space orders the same; nothing where it orders
    /// none.
    pub fn agreement(&self) -> Option<f64> {
        let n_ordered = self.n - self.n_tied_reference - self.n_tied_both;
        (n_ordered > 0).then(|| self.n_concordant as f64 / n_ordered as f64)
    }

    /// Kendall's tau-b, `(C - D) / sqrt((n - n_x) (n - n_y))` with n_x and n_y the pairs that each order ties. 0 where the
    /// studied space ties all; nothing where the reference does.
    pub fn tau_b(&self) -> Option<f64> {
        let n_ordered = (self.n - self.n_tied_reference - self.n_tied_both) as f64;
        let n_ordered_studied = (self.n - self.n_tied_studied - self.n_tied_both) as f64;
        if n_ordered <= 0.0 {
            return None;
        }
        if n_ordered_studied <= 0.0 {
            return Some(0.0);
        }
        let difference = self.n_concordant as f64 - self.n_discordant as f64;
        Some(difference / (n_ordered.sqrt() * n_ordered_studied.sqrt()))
    }

    /// The sum with another anchor's.
    pub fn plus(self, other: PairCounts) -> PairCounts {
        PairCounts {
            n: self.n + other.n,
            n_concordant: self.n_concordant + other.n_concordant,
            n_discordant: self.n_discordant + other.n_discordant,
            n_tied_reference: self.n_tied_reference + other.n_tied_reference,
            n_tied_studied: self.n_tied_studied + other.n_tied_studied,
            n_tied_both: self.n_tied_both + other.n_tied_both,
        }
    }
}

/// Compares rows of distances to one reference row after another. Holds its buffers, so that an anchor allocates nothing.
#[derive(Debug)]
pub struct Comparer {
    reference: Order,
    studied: Order,
    /// Places in the studied order, in the order of the reference.
    places: Vec<u32>,
    spare: Vec<u32>,
    anchor: usize,
    pairs: PairCounts,
}

impl Comparer {
    /// A comparer for rows of `n_photos`.
    pub fn new(n_photos: usize) -> Comparer {
        Comparer {
            reference: Order::with_capacity(n_photos),
            studied: Order::with_capacity(n_photos),
            places: Vec::with_capacity(n_photos),
            spare: Vec::with_capacity(n_photos),
            anchor: 0,
            pairs: PairCounts::default(),
        }
    }

    /// Sets the reference's distances from photo `anchor`, `[N]`, finite; the anchor itself is left out.
    pub fn set_reference(&mut self, distances: &[f64], anchor: usize) {
        self.anchor = anchor;
        self.reference.sort(distances, anchor);
    }

    /// Compares the studied distances from the anchor, or from a sketch of it, `[N]`, finite.
    pub fn compare(&mut self, distances: &[f64]) {
        self.studied.sort(distances, self.anchor);
        let n = self.reference.sorted.len() as u64;
        let n_pairs = pairs_of(n);
        let n_tied_x: u64 = self.reference.runs().map(|run| pairs_of(run.len() as u64)).sum();
        let n_tied_y: u64 = self.studied.runs().map(|run| pairs_of(run.len() as u64)).sum();
        let mut n_tied_both = 0;
        self.places.clear();
        let of_studied = &self.studied.dense;
        self.places.extend(self.reference.sorted.iter().map(|&(_, photo)| of_studied[photo as usize]));
        if n_tied_x > 0 {
            for run in self.reference.runs() {
                // Within a run of the reference nothing is the wrong way round.
                let places = &mut self.places[run];
                places.sort_unstable();
                n_tied_both +=
                    runs_of(places, |a, b| a == b).map(|run| pairs_of(run.len() as u64)).sum::<u64>();
            }
        }
        let n_discordant = count_inversions(&mut self.places, &mut self.spare);
        self.pairs = PairCounts {
            n: n_pairs,
            n_concordant: n_pairs + n_tied_both - n_tied_x - n_tied_y - n_discordant,
            n_discordant,
            n_tied_reference: n_tied_x - n_tied_both,
            n_tied_studied: n_tied_y - n_tied_both,
            n_tied_both,
        };
    }

    /// How the pairs of the two rows are ordered.
    pub fn pairs(&self) -> PairCounts {
        self.pairs
    }

    /// Spearman's rho: the correlation of ranks, averaged over ties. 0 where the studied row is constant; nothing where
    /// the reference's is.
    pub fn rho(&self) -> Option<f64> {
        let mean = (self.reference.sorted.len() + 1) as f64 / 2.0;
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for &(_, photo) in &self.reference.sorted {
            let x = self.reference.ranks[photo as usize] - mean;
            let y = self.studied.ranks[photo as usize] - mean;
            xx += x * x;
            yy += y * y;
            xy += x * y;
        }
        match (xx > 0.0, yy > 0.0) {
            (false, _) => None,
            (true, false) => Some(0.0),
            (true, true) => Some(xy / (xx * yy).sqrt()),
        }
    }

    /// The mean difference of a photo's two ranks, averaged over ties.
    pub fn displacement(&self) -> f64 {
        let differences = self.reference.sorted.iter().map(|&(_, photo)| {
            (self.reference.ranks[photo as usize] - self.studied.ranks[photo as usize]).abs()
        });
        differences.sum::<f64>() / self.reference.sorted.len() as f64
    }

    /// The share of the reference's first `k` (ties by row) that are among the studied first `k`; one that ties with
    /// photos beyond `k` is not. Of fewer than `k` photos, all count.
    pub fn overlap(&self, k: usize) -> f64 {
        let k = k.min(self.reference.sorted.len());
        let kept = self.reference.sorted[..k]
            .iter()
            .filter(|&&(_, photo)| self.studied.worst[photo as usize] as usize <= k)
            .count();
        kept as f64 / k as f64
    }

    /// The photos in the reference's order, nearest first, ties by row.
    pub fn reference_order(&self) -> impl Iterator<Item = usize> {
        self.reference.sorted.iter().map(|&(_, photo)| photo as usize)
    }

    /// The photos in the studied order, nearest first, ties by row.
    pub fn studied_order(&self) -> impl Iterator<Item = usize> {
        self.studied.sorted.iter().map(|&(_, photo)| photo as usize)
    }
}

/// Photos sorted by distance from one anchor.
#[derive(Debug)]
struct Order {
    /// Distance (as bits, which for numbers from 0 order as the numbers do) and photo, without the anchor.
    sorted: Vec<(u64, u32)>,
    /// The number of a photo's run of equal distances, `[N]`.
    dense: Vec<u32>,
    /// A photo's rank from 1, averaged over ties, `[N]`.
    ranks: Vec<f64>,
    /// A photo's rank from 1, the last of its ties, `[N]`.
    worst: Vec<u32>,
}

impl Order {
    fn with_capacity(n_photos: usize) -> Order {
        Order {
            sorted: Vec::with_capacity(n_photos),
            dense: vec![0; n_photos],
            ranks: vec![0.0; n_photos],
            worst: vec![0; n_photos],
        }
    }

    fn sort(&mut self, distances: &[f64], anchor: usize) {
        self.sorted.clear();
        // `+ 0.0` makes a negative zero a zero.
        let keys =
            distances.iter().enumerate().map(|(photo, distance)| ((distance + 0.0).to_bits(), photo as u32));
        self.sorted.extend(keys.filter(|&(_, photo)| photo as usize != anchor));
        self.sorted.sort_unstable();
        let mut run_start = 0;
        let mut n_runs = 0;
        for end in 1..=self.sorted.len() {
            if end == self.sorted.len() || self.sorted[end].0 != self.sorted[run_start].0 {
                let rank = (run_start + 1 + end) as f64 / 2.0;
                for &(_, photo) in &self.sorted[run_start..end] {
                    self.dense[photo as usize] = n_runs;
                    self.ranks[photo as usize] = rank;
                    self.worst[photo as usize] = end as u32;
                }
                n_runs += 1;
                run_start = end;
            }
        }
    }

    /// The runs of equal distances, as ranges of `sorted`.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        runs_of(&self.sorted, |a, b| a.0 == b.0)
    }
}

fn pairs_of(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// Ranges of neighbours that are the same.
fn runs_of<T>(items: &[T], same: impl Fn(&T, &T) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = items.get(start)?;
        let len = items[start..].iter().take_while(|item| same(first, item)).count();
        let run = start..start + len;
        start += len;
        Some(run)
    })
}

/// Runs that are sorted by insertion before merging begins.
const SHORT: usize = 16;

/// Sorts `items` and returns the number of pairs that stood the wrong way round; equal ones do not.
fn count_inversions(items: &mut Vec<u32>, spare: &mut Vec<u32>) -> u64 {
    let mut n_inversions = 0;
    for run in items.chunks_mut(SHORT) {
        for end in 1..run.len() {
            let item = run[end];
            let mut place = end;
            while place > 0 && run[place - 1] > item {
                run[place] = run[place - 1];
                place -= 1;
            }
            run[place] = item;
            n_inversions += (end - place) as u64;
        }
    }
    spare.clear();
    spare.resize(items.len(), 0);
    let mut width = SHORT;
    while width < items.len() {
        for start in (0..items.len()).step_by(2 * width) {
            let middle = (start + width).min(items.len());
            let end = (start + 2 * width).min(items.len());
            n_inversions += merge(&items[start..middle], &items[middle..end], &mut spare[start..end]);
        }
        std::mem::swap(items, spare);
        width *= 2;
    }
    n_inversions
}

/// Merges two sorted runs and returns the number of pairs whose left is above its right.
fn merge(left: &[u32], right: &[u32], out: &mut [u32]) -> u64 {
    let (mut l, mut r, mut n_inversions) = (0, 0, 0);
    for slot in out.iter_mut() {
        // Branchless: which side comes next is unpredictable.
        let take_right = r < right.len() && (l == left.len() || left[l] > right[r]);
        if take_right {
            *slot = right[r];
            r += 1;
            n_inversions += (left.len() - l) as u64;
        } else {
            *slot = left[l];
            l += 1;
        }
    }
    n_inversions
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn inversions_equal_a_naive_count(items in proptest::collection::vec(0..40_u32, 0..200)) {
            let naive = (0..items.len())
                .map(|a| (a + 1..items.len()).filter(|&b| items[a] > items[b]).count() as u64)
                .sum::<u64>();
            let (mut sorted, mut spare) = (items.clone(), Vec::new());
            prop_assert_eq!(count_inversions(&mut sorted, &mut spare), naive);
            let mut expected = items;
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }
    }

    /// From photo 0: the reference has 1 < 2 < 3, the studied space 1 < 3 < 2.
    #[test]
    fn an_anchor_by_hand() {
        let mut comparer = Comparer::new(4);
        comparer.set_reference(&[0.0, 1.0, 2.0, 3.0], 0);
        comparer.compare(&[0.0, 1.0, 9.0, 4.0]);
        let pairs = comparer.pairs();
        assert_eq!((pairs.n, pairs.n_concordant, pairs.n_discordant), (3, 2, 1));
        assert_eq!(pairs.agreement(), Some(2.0 / 3.0));
        assert!((pairs.tau_b().unwrap() - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!((comparer.rho(), comparer.displacement()), (Some(0.5), 2.0 / 3.0));
        assert_eq!([1, 2, 3, 9].map(|k| comparer.overlap(k)), [1.0, 0.5, 1.0, 1.0]);
        assert_eq!(comparer.studied_order().collect::<Vec<_>>(), [1, 3, 2]);
    }

    #[test]
    fn a_collapsed_row_scores_nothing_and_a_collapsed_reference_has_no_score() {
        let mut comparer = Comparer::new(5);
        comparer.set_reference(&[0.0, 1.0, 2.0, 3.0, 4.0], 0);
        comparer.compare(&[7.0; 5]);
        let pairs = comparer.pairs();
        assert_eq!((pairs.n_tied_studied, pairs.agreement(), pairs.tau_b()), (6, Some(0.0), Some(0.0)));
        assert_eq!((comparer.rho(), comparer.overlap(2)), (Some(0.0), 0.0));
        comparer.set_reference(&[7.0; 5], 0);
        comparer.compare(&[0.0, 1.0, 2.0, 3.0, 4.0]);
        let pairs = comparer.pairs();
        assert_eq!((pairs.n_tied_reference, pairs.agreement(), pairs.tau_b()), (6, None, None));
        assert_eq!(comparer.rho(), None);
    }
}
