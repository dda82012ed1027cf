//! The inner loops of search in float32, vectorised for the processor that they meet: AVX-512, AVX2, NEON or none of
//! them, chosen by pulp when the program runs. What is lost to rounding is bounded in `bounds.rs`; nothing here decides
//! an order.

use std::ops::Range;
use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};
use sketchfind_core::distance::Distance;

/// What the processor can do, asked once.
pub(super) static ARCH: LazyLock<Arch> = LazyLock::new(Arch::new);

/// Vectors that are summed up side by side.
const UNROLLED: usize = 4;
/// Numbers of rows that are held in the cache while all queries meet them: 128 KiB.
const CACHED: usize = 1 << 15;

/// `N` sums over the components of a query and a row. `UNROLLED` vectors are summed up apart, so that none waits for the
/// one before; the row is read from front to back, because several rows at once are more streams than the processor
/// fetches ahead (measured: less than half the speed for rows out of memory).
#[inline(always)]
fn sums<S: Simd, const N: usize>(
    simd: S,
    query: &[f32],
    row: &[f32],
    vector_term: impl Fn(&mut [S::f32s; N], S::f32s, S::f32s),
    term: impl Fn(&mut [f32; N], f32, f32),
) -> [f32; N] {
    let (query_vectors, query_rest) = S::as_simd_f32s(query);
    let (row_vectors, row_rest) = S::as_simd_f32s(row);
    let (query_chunks, query_vectors) = query_vectors.as_chunks::<UNROLLED>();
    let (row_chunks, row_vectors) = row_vectors.as_chunks::<UNROLLED>();
    let mut sums = [[simd.splat_f32s(0.0); N]; UNROLLED];
    for (a, b) in query_chunks.iter().zip(row_chunks) {
        for u in 0..UNROLLED {
            vector_term(&mut sums[u], a[u], b[u]);
        }
    }
    for (&a, &b) in query_vectors.iter().zip(row_vectors) {
        vector_term(&mut sums[0], a, b);
    }
    let [mut sum, rest @ ..] = sums;
    for other in rest {
        for n in 0..N {
            sum[n] = simd.add_f32s(sum[n], other[n]);
        }
    }
    let mut totals = sum.map(total::<S>);
    for (&a, &b) in query_rest.iter().zip(row_rest) {
        term(&mut totals, a, b);
    }
    totals
}

/// The sum of a vector's components.
#[inline(always)]
fn total<S: Simd>(vector: S::f32s) -> f32 {
    const MOST: usize = 16;
    let mut lanes = [0.0_f32; MOST];
    for (lane, &value) in lanes.iter_mut().zip(bytemuck::cast_slice(std::slice::from_ref(&vector))) {
        *lane = value;
    }
    let mut n = MOST;
    while n > 1 {
        n /= 2;
        for lane in 0..n {
            lanes[lane] += lanes[lane + n];
        }
    }
    lanes[0]
}

/// The sum of squared differences.
#[inline(always)]
pub(super) fn squares<S: Simd>(simd: S, query: &[f32], row: &[f32]) -> f32 {
    let vector_term = |sum: &mut [S::f32s; 1], a, b| {
        let difference = simd.sub_f32s(a, b);
        sum[0] = simd.mul_add_f32s(difference, difference, sum[0]);
    };
    let term = |sum: &mut [f32; 1], a: f32, b: f32| sum[0] += (a - b) * (a - b);
    sums(simd, query, row, vector_term, term)[0]
}

/// The dot product, and that of the row with itself.
#[inline(always)]
fn products<S: Simd>(simd: S, query: &[f32], row: &[f32]) -> [f32; 2] {
    let vector_term = |sum: &mut [S::f32s; 2], a, b| {
        sum[0] = simd.mul_add_f32s(a, b, sum[0]);
        sum[1] = simd.mul_add_f32s(b, b, sum[1]);
    };
    let term = |sum: &mut [f32; 2], a: f32, b: f32| {
        sum[0] += a * b;
        sum[1] += b * b;
    };
    sums(simd, query, row, vector_term, term)
}

/// Asks the processor to fetch what will be read soon.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    const LINE: usize = 64;
    for line in bytes.chunks(LINE) {
        #[cfg(target_arch = "x86_64")]
        // The address is one of a slice, and the instruction reads nothing that a program could see.
        #[allow(unsafe_code)]
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        std::hint::black_box(line.first());
    }
}

/// Rows of a matrix, in an order.
#[derive(Clone, Copy)]
pub(super) struct RowList<'a> {
    /// The matrix, row-major.
    pub(super) values: &'a [f32],
    /// Its width.
    pub(super) width: usize,
    /// The rows, where they are not all.
    pub(super) ids: Option<&'a [u32]>,
}

impl<'a> RowList<'a> {
    pub(super) fn len(&self) -> usize {
        self.ids.map_or(self.values.len() / self.width, <[u32]>::len)
    }

    /// The number in the matrix of the row at `place`.
    #[inline(always)]
    pub(super) fn row(&self, place: usize) -> usize {
        self.ids.map_or(place, |ids| ids[place] as usize)
    }

    #[inline(always)]
    fn values(&self, place: usize) -> &'a [f32] {
        &self.values[self.row(place) * self.width..][..self.width]
    }

    /// The row that is worth fetching before the one at `place` is looked at, out of places up to `end`: one that comes soon,
    /// where rows do not lie in the order in which they are read, which the processor fetches ahead itself.
    #[inline(always)]
    pub(super) fn soon(&self, place: usize, end: usize) -> Option<usize> {
        const AHEAD: usize = 2;
        self.ids.filter(|_| place + AHEAD < end).map(|ids| ids[place + AHEAD] as usize)
    }
}

/// Rows of numbers that become float32 without a loss.
pub(super) trait Numbers {
    type Number: Copy + Into<f32>;
    /// Numbers in a row.
    fn width(&self) -> usize;
    /// The number in the matrix of the row at `place`.
    fn row(&self, place: usize) -> usize;
    /// The row at `place`.
    fn numbers(&self, place: usize) -> &[Self::Number];
}

impl Numbers for RowList<'_> {
    type Number = f32;

    fn width(&self) -> usize {
        self.width
    }

    #[inline(always)]
    fn row(&self, place: usize) -> usize {
        RowList::row(self, place)
    }

    #[inline(always)]
    fn numbers(&self, place: usize) -> &[f32] {
        self.values(place)
    }
}

/// Calls `found(row, sums)` for each of the rows at `places` with what `kind` sums up between it and `query`.
pub(super) fn one_by_one(
    rows: RowList<'_>,
    places: Range<usize>,
    query: &[f32],
    kind: Sums,
    found: &mut impl FnMut(usize, [f32; 2]),
) {
    ARCH.dispatch(OneByOne { rows, places, query, kind, found });
}

/// What is summed up over the components.
#[derive(Clone, Copy)]
pub(super) enum Sums {
    /// The squared differences; the second number is 0.
    Squares,
    /// The products, and the squares of the row.
    Products,
}

impl Sums {
    /// What [`QueryBounds`](super::bounds::QueryBounds) wants.
    pub(super) fn of(distance: Distance) -> Sums {
        match distance {
            Distance::Mse => Sums::Squares,
            Distance::Cosine => Sums::Products,
        }
    }
}

struct OneByOne<'a, F> {
    rows: RowList<'a>,
    places: Range<usize>,
    query: &'a [f32],
    kind: Sums,
    found: &'a mut F,
}

impl<F: FnMut(usize, [f32; 2])> WithSimd for OneByOne<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let end = self.places.end;
        for place in self.places {
            if let Some(row) = self.rows.soon(place, end) {
                prefetch(bytemuck::cast_slice(&self.rows.values[row * self.rows.width..][..self.rows.width]));
            }
            let row = self.rows.values(place);
            let sums = match self.kind {
                Sums::Squares => [squares(simd, self.query, row), 0.0],
                Sums::Products => products(simd, self.query, row),
            };
            (self.found)(self.rows.row(place), sums);
        }
    }
}

/// Queries that are multiplied together, component by component side by side: up to three vectors of the processor's.
struct Group {
    /// The first of its queries.
    first: usize,
    /// Vectors in a component, 1 to 3.
    n_vectors: usize,
    /// `[width, n_vectors * lanes]`; zeros where there is no query.
    values: Vec<f32>,
}

/// Queries as the multiplication wants them.
pub(super) struct Packed {
    groups: Vec<Group>,
    n: usize,
}

impl Packed {
    /// Packs queries of the same width.
    pub(super) fn new(queries: &[&[f32]], width: usize) -> Packed {
        let lanes = ARCH.dispatch(Lanes);
        let groups = queries.chunks(3 * lanes).enumerate().map(|(number, queries)| {
            let n_vectors = queries.len().div_ceil(lanes);
            let n_columns = n_vectors * lanes;
            let mut values = vec![0.0; width * n_columns];
            for (column, query) in queries.iter().enumerate() {
                for (k, &value) in query.iter().enumerate() {
                    values[k * n_columns + column] = value;
                }
            }
            Group { first: number * 3 * lanes, n_vectors, values }
        });
        Packed { groups: groups.collect(), n: queries.len() }
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Which products of a row and the queries are of interest: those with
/// `row_offset - 2 * product - row_slack * query_slack <= limit`.
pub(super) trait Interest {
    /// Is called now and then, before some rows are multiplied with all queries.
    fn begin(&mut self) {}
    /// `row_offset`, the factor of the product, and `row_slack` of the row; nothing where all are of interest. Where a
    /// `query_slack` may be infinite, `row_slack` is above 0: a bound that is not a number would be of no interest.
    fn row(&self, row: usize) -> Option<[f32; 3]>;
    /// `query_slack` and `limit` of each query.
    fn limits(&self) -> &Limits;
    /// Takes the product of a row with a query.
    fn take(&mut self, row: usize, query: usize, product: f32);
}

/// `query_slack` and `limit` of each query, with more behind the last than any processor's three vectors, of which nothing
/// is of interest.
pub(super) struct Limits {
    slacks: Vec<f32>,
    limits: Vec<f32>,
}

impl Limits {
    /// Those of `n` queries, with no slack, of which everything is of interest.
    pub(super) fn new(n: usize) -> Limits {
        const PADDING: usize = 64;
        let mut limits = vec![f32::INFINITY; n];
        limits.resize(n + PADDING, f32::NEG_INFINITY);
        Limits { slacks: vec![0.0; n + PADDING], limits }
    }

    pub(super) fn set(&mut self, query: usize, slack: f32, limit: f32) {
        self.slacks[query] = slack;
        self.limits[query] = limit;
    }

    pub(super) fn set_limit(&mut self, query: usize, limit: f32) {
        self.limits[query] = limit;
    }
}

/// Multiplies the rows at `places` with all queries, and gives `interest` the products that it wants.
pub(super) fn multiply(
    rows: impl Numbers,
    places: Range<usize>,
    queries: &Packed,
    interest: &mut impl Interest,
) {
    ARCH.dispatch(Multiply { rows, places, queries, interest });
}

struct Multiply<'a, N, I> {
    rows: N,
    places: Range<usize>,
    queries: &'a Packed,
    interest: &'a mut I,
}

impl<N: Numbers, I: Interest> Multiply<'_, N, I> {
    /// `R` rows, component by component side by side, with the queries of one group. `facts` are what [`Interest::row`] says
    /// of those that are rows.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        rows: &[[f32; R]],
        first: usize,
        facts: &[Option<[f32; 3]>],
        group: &Group,
    ) {
        let (components, _) = S::as_simd_f32s(&group.values).0.as_chunks::<V>();
        let mut products = [[simd.splat_f32s(0.0); V]; R];
        for (values, component) in rows.iter().zip(components) {
            for r in 0..R {
                let value = simd.splat_f32s(values[r]);
                for v in 0..V {
                    products[r][v] = simd.mul_add_f32s(value, component[v], products[r][v]);
                }
            }
        }
        let end = (group.first + V * S::F32_LANES).min(self.queries.n);
        for (r, (products, facts)) in products.iter().zip(facts).enumerate() {
            let row = self.rows.row(first + r);
            // By how much a product misses the limit: those above 0 are of no interest.
            let mut misses = [simd.splat_f32s(0.0); V];
            if let Some([offset, factor, slack]) = *facts {
                let Limits { slacks, limits } = self.interest.limits();
                let slacks = S::as_simd_f32s(&slacks[group.first..]).0;
                let limits = S::as_simd_f32s(&limits[group.first..]).0;
                let (offset, factor, slack) =
                    (simd.splat_f32s(offset), simd.splat_f32s(factor), simd.splat_f32s(slack));
                let mut least = simd.splat_f32s(f32::INFINITY);
                let queries = products.iter().zip(slacks).zip(limits);
                for (miss, ((&product, &query_slack), &limit)) in misses.iter_mut().zip(queries) {
                    let value = simd.mul_add_f32s(factor, product, offset);
                    let bound = simd.sub_f32s(value, simd.mul_f32s(slack, query_slack));
                    *miss = simd.sub_f32s(bound, limit);
                    least = simd.min_f32s(least, *miss);
                }
                let least: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&least));
                if least.iter().all(|&least| least > 0.0) {
                    continue;
                }
            }
            let products: &[f32] = bytemuck::cast_slice(products.as_slice());
            let misses: &[f32] = bytemuck::cast_slice(misses.as_slice());
            for ((&product, &miss), query) in products.iter().zip(misses).zip(group.first..end) {
                if miss > 0.0 {
                    continue;
                }
                self.interest.take(row, query, product);
            }
        }
    }

    /// `R` rows at a time: as many as the processor's registers hold the sums of. The rows are copied so that they lie as
    /// they are read; all queries meet them before the next are.
    #[inline(always)]
    fn all<S: Simd, const R: usize>(&mut self, simd: S) {
        let width = self.rows.width();
        let n_cached = (CACHED / width).max(1).next_multiple_of(R);
        let mut cached = vec![[0.0_f32; R]; n_cached / R * width];
        let mut facts = Vec::with_capacity(n_cached);
        let Range { mut start, end } = self.places.clone();
        while start < end {
            let stop = (start + n_cached).min(end);
            self.interest.begin();
            for (tile, first) in cached.chunks_exact_mut(width).zip((start..stop).step_by(R)) {
                for r in 0..R.min(stop - first) {
                    for (values, &value) in tile.iter_mut().zip(self.rows.numbers(first + r)) {
                        values[r] = value.into();
                    }
                }
            }
            facts.clear();
            facts.extend((start..stop).map(|place| self.interest.row(self.rows.row(place))));
            for group in &self.queries.groups {
                let tiles = cached.chunks_exact(width).zip((start..stop).step_by(R));
                for ((tile, first), facts) in tiles.zip(facts.chunks(R)) {
                    match group.n_vectors {
                        1 => self.tile::<S, R, 1>(simd, tile, first, facts, group),
                        2 => self.tile::<S, R, 2>(simd, tile, first, facts, group),
                        _ => self.tile::<S, R, 3>(simd, tile, first, facts, group),
                    }
                }
            }
            start = stop;
        }
    }
}

impl<N: Numbers, I: Interest> WithSimd for Multiply<'_, N, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // AVX-512 and NEON have 32 registers, the others 16.
        if S::F32_LANES == 16 || cfg!(target_arch = "aarch64") {
            self.all::<S, 8>(simd);
        } else {
            self.all::<S, 4>(simd);
        }
    }
}
