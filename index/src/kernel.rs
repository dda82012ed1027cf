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
    /// What [`QueryBounds`](crate::bounds::QueryBounds) wants.
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
