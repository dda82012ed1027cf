//! The index `auto`: exact as long as exact search costs no more than what comes before every search, embedding the sketch.

use serde::{Deserialize, Serialize};

use crate::IndexKind;

/// Numbers of a matrix, rows times width, up to which `auto` is exact where nothing was measured: 52,000 photos of 1,280
/// numbers, which one core looks through in about the time that a small network takes for a sketch.
pub const LARGEST_EXACT: u64 = 1 << 26;

/// What embedding and exact search cost on the machine that built a gallery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Microseconds to embed one image.
    pub embedding_us: u64,
    /// Numbers of a matrix, rows times width, that exact search for one query looks at in a microsecond.
    pub exact_numbers_per_us: u64,
}

impl Costs {
    /// Numbers of a matrix for which exact search takes as long as embedding one image.
    pub fn largest_exact(self) -> u64 {
        self.embedding_us.saturating_mul(self.exact_numbers_per_us)
    }
}

/// What `auto` chooses for a matrix of `n_numbers`, rows times width.
///
/// ```
/// use sketchfind_index::{Costs, IndexKind, choose};
/// // 10 ms for an embedding and 4 numbers a nanosecond: exact up to 40 million numbers.
/// let costs = Costs { embedding_us: 10_000, exact_numbers_per_us: 4_000 };
/// assert_eq!(choose(Some(costs), 40_000_000), IndexKind::Exact);
/// assert_eq!(choose(Some(costs), 40_000_001), IndexKind::Hnsw);
/// ```
pub fn choose(costs: Option<Costs>, n_numbers: u64) -> IndexKind {
    let largest = costs.map_or(LARGEST_EXACT, Costs::largest_exact);
    if n_numbers <= largest { IndexKind::Exact } else { IndexKind::Hnsw }
}

/// How many of the nearest a graph finds, on a sample of a gallery's own photos: each is asked for, and not counted
/// itself. Sketches lie farther off than photos do, and less of what is near them may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// How many of the nearest were asked for.
    pub k: u64,
    /// Photos in the sample.
    pub n_queries: u64,
    /// Photos in the gallery.
    pub n_photos: u64,
    /// The nearest of all queries together, by exact search.
    pub n_nearest: u64,
    /// How many of them the graph found.
    pub n_found: u64,
}

impl Recall {
    /// The share that is found; 1 where there is nothing to find.
    pub fn value(self) -> f64 {
        if self.n_nearest == 0 { 1.0 } else { self.n_found as f64 / self.n_nearest as f64 }
    }
}
