//! A matrix in 8 bits a component: a quarter of what search has to read.
//!
//! A row `b` is written as `b = c + s k + r`, where the centre `c` is the mean of all rows, `k` are whole numbers from -127 to
//! 127, `s` is the row's own scale and `r` is what is lost. Products of whole numbers are exact, and so is, but for a few
//! roundings in float64, the distance between what is written of a query and of a row; by the triangle inequality the
//! true distance lies within `|r_query| + |r_row|` of it, and both are known. That makes bounds of distances
//! (`bounds.rs`), and the graph (`graph.rs`) is built and searched on what is written alone.
//!
//! By cosine, rows and queries are divided by their lengths first: squared Euclidean distances of those are
//! `2 (1 - cos)`, and order as the distance does.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sketchfind_core::distance::Distance;

use crate::bounds::{Nearest, length};
use crate::kernel::{ARCH, RowList, prefetch};
use crate::large::Large;

/// The largest whole number in a row.
const LARGEST: f64 = 127.0;
/// The largest in a query, which has 16 bits.
const LARGEST_IN_QUERY: f64 = 4096.0;
/// Components whose products, [`LARGEST`] times [`LARGEST_IN_QUERY`] each, a 32-bit sum holds.
const SUMMED: usize = 1 << 12;
/// Bytes before a row's numbers: its [`Head`].
const HEAD: usize = 16;
/// Rows that are summed up by one task on the way to the mean: their order, and so the mean, is always the same.
const MEAN_BLOCK: usize = 1024;

/// Multiples of the largest square of a row beyond which a query is too far out.
const FAR: f64 = 1e6;
/// What float64 can be off by, relative to the squares that it adds and takes off; generously.
const ROUNDING: f64 = 1e-14;
/// What the model's own distance can be off by, which is a sum in float64 as well; generously.
const RELATIVE: f64 = 1e-9;

/// The rows of a matrix in 8 bits a component.
#[derive(Debug)]
pub(crate) struct Codes {
    width: usize,
    distance: Distance,
    /// The mean of the rows, `[D]`.
    centre: Vec<f32>,
    centre_length: f64,
    /// Of each row its head and its numbers, one behind the other, so that both come out of memory together.
    bytes: Large,
    /// One over the largest square of what is written of a row: distances in graphs are multiples of that.
    unit: f64,
}

/// What is known of a row beside its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Head {
    scale: f32,
    /// The length of what is lost, rounded up. Infinite where a row has no direction.
    lost: f32,
    /// The sum of the numbers' squares.
    square: u64,
}

impl Head {
    #[inline(always)]
    fn write(self, bytes: &mut [i8]) {
        let (low, high) = (self.square as u32, (self.square >> 32) as u32);
        let words = [self.scale.to_bits(), self.lost.to_bits(), low, high];
        bytes[..HEAD].copy_from_slice(bytemuck::cast_slice(&words));
    }

    #[inline(always)]
    fn read(bytes: &[i8]) -> Head {
        let [scale, lost, low, high]: [u32; HEAD / 4] =
            bytemuck::pod_read_unaligned(bytemuck::cast_slice(&bytes[..HEAD]));
        let square = u64::from(low) | u64::from(high) << 32;
        Head { scale: f32::from_bits(scale), lost: f32::from_bits(lost), square }
    }

    /// The square of what is written of the row.
    #[inline(always)]
    fn written(self) -> f64 {
        let scale = f64::from(self.scale);
        scale * scale * self.square as f64
    }
}

/// A query as [`Codes`] wants it.
#[derive(Debug)]
pub(crate) struct CodedQuery {
    numbers: Vec<i16>,
    scale: f64,
    lost: f64,
    /// The square of what is written of it.
    written: f64,
}

impl Codes {
    /// Those of the rows of a matrix `[N, width]`.
    pub(super) fn new(values: &[f32], width: usize, distance: Distance) -> Codes {
        let centre = mean(values, width, distance);
        let n_rows = values.len() / width;
        let mut bytes = Large::zeros(n_rows * (HEAD + width));
        let all: &mut [i8] = bytemuck::cast_slice_mut(bytes.as_mut_slice());
        let rows = values.par_chunks_exact(width).with_min_len(64);
        let centre_length = length(&centre);
        let encode = |(bytes, row): (&mut [i8], &[f32])| {
            let factor = factor(distance, row);
            let lengths = length(row) * factor + centre_length;
            ARCH.dispatch(Encode { row, factor, centre: &centre, lengths, bytes })
        };
        let pairs = all.par_chunks_exact_mut(HEAD + width).with_min_len(64).zip(rows);
        let largest = pairs.map(encode);
        let largest = largest.reduce(|| 0.0, f64::max);
        let unit = if largest > 0.0 { 1.0 / largest } else { 1.0 };
        Codes { width, distance, centre, centre_length, bytes, unit }
    }

    #[inline(always)]
    fn row(&self, row: u32) -> (Head, &[i8]) {
        let bytes: &[i8] = bytemuck::cast_slice(self.bytes_of(row));
        (Head::read(bytes), &bytes[HEAD..])
    }

    /// All that is written of a row: rows with equal bytes cannot be told apart.
    #[inline(always)]
    pub(super) fn bytes_of(&self, row: u32) -> &[u8] {
        let stride = HEAD + self.width;
        &self.bytes.as_slice()[row as usize * stride..][..stride]
    }

    /// The length of what is lost of a row: distances below it mean nothing.
    pub(super) fn lost(&self, row: u32) -> f64 {
        f64::from(self.row(row).0.lost)
    }

    /// Whether nothing is known of a row: it has to be looked at itself.
    pub(super) fn is_unknown(&self, row: u32) -> bool {
        self.row(row).0.lost.is_infinite()
    }

    /// A query, or nothing where it has no direction or is so far out that graphs' float32 cannot tell rows apart.
    pub(super) fn query(&self, query: &[f32]) -> Option<CodedQuery> {
        let factor = factor(self.distance, query);
        let lengths = length(query) * factor + self.centre_length;
        (factor > 0.0)
            .then(|| ARCH.dispatch(EncodeQuery { query, factor, centre: &self.centre, lengths }))
            .filter(|query| query.written * self.unit < FAR)
    }

    /// A row as a query.
    pub(super) fn query_of_row(&self, row: u32) -> CodedQuery {
        let (head, numbers) = self.row(row);
        CodedQuery {
            numbers: numbers.iter().map(|&number| i16::from(number)).collect(),
            scale: f64::from(head.scale),
            lost: f64::from(head.lost),
            written: head.written(),
        }
    }

    /// What orders as the distance between a query and a row does, in graphs.
    #[inline(always)]
    pub(super) fn against_query<S: Simd>(&self, simd: S, query: &CodedQuery, row: u32) -> f32 {
        let (head, numbers) = self.row(row);
        let product = product(simd, &query.numbers, numbers) as f64;
        ((head.written() - 2.0 * query.scale * f64::from(head.scale) * product) * self.unit) as f32
    }

    /// The squared distance between what is written of two rows, in graphs.
    #[inline(always)]
    pub(super) fn between<S: Simd>(&self, simd: S, a: u32, b: u32) -> f32 {
        let ((a, a_numbers), (b, b_numbers)) = (self.row(a), self.row(b));
        let product = product(simd, a_numbers, b_numbers) as f64;
        let square = a.written() + b.written() - 2.0 * f64::from(a.scale) * f64::from(b.scale) * product;
        (square * self.unit).max(0.0) as f32
    }

    /// A row or a query less the centre, as multiples of the unit's length.
    pub(super) fn centred(&self, vector: &[f32], out: &mut [f32]) {
        let (factor, unit) = (factor(self.distance, vector), self.unit.sqrt());
        with_centred(vector, factor, &self.centre, |centred, _| {
            for (out, &value) in out.iter_mut().zip(centred) {
                // Adding zero turns -0 into 0, so that equal vectors have equal bits.
                *out = (value * unit) as f32 + 0.0;
            }
        });
    }

    /// Offers `nearest` the rows at `places` that are wanted and may be among them.
    pub(super) fn offer(
        &self,
        list: RowList<'_>,
        places: Range<usize>,
        query: &CodedQuery,
        is_wanted: &(dyn Fn(usize) -> bool + Sync),
        nearest: &mut Nearest,
    ) {
        // What the model's own distance can be off by beside what is relative to it: a cosine is, whatever the angle.
        let off = match self.distance {
            Distance::Mse => 0.0,
            Distance::Cosine => RELATIVE,
        };
        let reach = |nearest: &Nearest| (nearest.limit() + off).sqrt() * (1.0 + 2.0 * RELATIVE);
        self.scan(list, places, query, reach(nearest), &mut |place, written| {
            let row = list.row(place);
            if is_wanted(row) {
                let near = written.near();
                let far = (written.square + written.rounding).max(0.0).sqrt() + written.lost;
                let low = near * near * (1.0 - RELATIVE) - off;
                nearest.offer(row, low, far * far * (1.0 + RELATIVE) + off);
            }
            reach(nearest)
        });
    }

    /// Calls `found` for the rows at `places` that may lie within `reach` of a query, which becomes what it returns.
    fn scan(
        &self,
        list: RowList<'_>,
        places: Range<usize>,
        query: &CodedQuery,
        reach: f64,
        found: &mut impl FnMut(usize, Written) -> f64,
    ) {
        ARCH.dispatch(Scan { codes: self, list, places, query, reach, found });
    }
}

/// What is written of a query and a row says this of their distance.
#[derive(Clone, Copy, Debug)]
struct Written {
    /// The square of the distance of what is written,
    square: f64,
    /// which is off by no more than this.
    rounding: f64,
    /// The lengths of what is lost of both.
    lost: f64,
}

impl Written {
    /// How far apart query and row are at least.
    #[inline(always)]
    fn near(self) -> f64 {
        ((self.square - self.rounding).max(0.0).sqrt() - self.lost).max(0.0)
    }
}

/// What a vector is multiplied with before anything else; 0 where it has no direction.
fn factor(distance: Distance, vector: &[f32]) -> f64 {
    match distance {
        Distance::Mse => 1.0,
        Distance::Cosine => {
            let length = length(vector);
            if length > 0.0 { 1.0 / length } else { 0.0 }
        }
    }
}

/// The mean of the rows of a matrix `[N, width]`, each times its factor.
fn mean(values: &[f32], width: usize, distance: Distance) -> Vec<f32> {
    let sum = |rows: &[f32]| {
        let mut sums = vec![0.0_f64; width];
        for row in rows.chunks_exact(width) {
            let factor = factor(distance, row);
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += factor * f64::from(value));
        }
        sums
    };
    let blocks: Vec<Vec<f64>> = values.par_chunks(MEAN_BLOCK * width).map(sum).collect();
    let n_rows = (values.len() / width).max(1) as f64;
    (0..width).map(|k| (blocks.iter().map(|sums| sums[k]).sum::<f64>() / n_rows) as f32).collect()
}

thread_local! {
    /// A vector less the centre, kept from one to the next.
    static CENTRED: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// A vector times its factor less the centre.
#[inline(always)]
fn less_centre(vector: &[f32], factor: f64, centre: &[f32]) -> impl Iterator<Item = f64> {
    vector.iter().zip(centre).map(move |(&value, &centre)| f64::from(value) * factor - f64::from(centre))
}

/// Calls `work` with a vector less the centre, and its largest component.
#[inline(always)]
fn with_centred<T>(vector: &[f32], factor: f64, centre: &[f32], work: impl FnOnce(&[f64], f64) -> T) -> T {
    CENTRED.with_borrow_mut(|centred| {
        centred.clear();
        centred.extend(less_centre(vector, factor, centre));
        // Side by side, because a maximum of one after another waits for the one before.
        let (chunks, rest) = centred.as_chunks::<8>();
        let mut largest = [0.0_f64; 8];
        for chunk in chunks {
            for (largest, value) in largest.iter_mut().zip(chunk) {
                *largest = largest.max(value.abs());
            }
        }
        let largest = largest.iter().chain(rest).fold(0.0_f64, |largest, value| largest.max(value.abs()));
        work(centred, largest)
    })
}

/// The length of what is lost, from its square: with what the roundings of its computation may be, which are relative to
/// what was subtracted from each other.
#[inline(always)]
fn lost(square: f64, lengths: f64) -> f64 {
    square.sqrt() * (1.0 + RELATIVE) + ROUNDING * lengths
}

struct Encode<'a> {
    row: &'a [f32],
    factor: f64,
    centre: &'a [f32],
    /// The lengths of the row, times the factor, and of the centre together.
    lengths: f64,
    bytes: &'a mut [i8],
}

impl WithSimd for Encode<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let Encode { row, factor, centre, lengths, bytes } = self;
        if factor == 0.0 {
            Head { scale: 0.0, lost: f32::INFINITY, square: 0 }.write(bytes);
            return 0.0;
        }
        with_centred(row, factor, centre, |centred, largest| {
            let scale = (largest / LARGEST) as f32;
            let (step, per_step) = (f64::from(scale), if scale > 0.0 { 1.0 / f64::from(scale) } else { 0.0 });
            let mut squares = [0.0_f64; 8];
            let mut square = 0_u64;
            let one = |number: &mut i8, lost: &mut f64, value: f64| {
                *number = (value * per_step).round_ties_even().clamp(-LARGEST, LARGEST) as i8;
                let rest = value - step * f64::from(*number);
                *lost += rest * rest;
            };
            let (chunks, rest) = centred.as_chunks::<8>();
            let (number_chunks, number_rest) = bytes[HEAD..].as_chunks_mut::<8>();
            for (numbers, chunk) in number_chunks.iter_mut().zip(chunks) {
                for lane in 0..8 {
                    one(&mut numbers[lane], &mut squares[lane], chunk[lane]);
                }
            }
            for (number, &value) in number_rest.iter_mut().zip(rest) {
                one(number, &mut squares[0], value);
            }
            for numbers in bytes[HEAD..].chunks(SUMMED) {
                square += u64::from(numbers.iter().map(|&k| u32::from(k.unsigned_abs()).pow(2)).sum::<u32>());
            }
            let lost = lost(squares.iter().sum(), lengths);
            let head = Head { scale, lost: (lost as f32).next_up(), square };
            head.write(bytes);
            head.written()
        })
    }
}

struct EncodeQuery<'a> {
    query: &'a [f32],
    factor: f64,
    centre: &'a [f32],
    lengths: f64,
}

impl WithSimd for EncodeQuery<'_> {
    type Output = CodedQuery;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> CodedQuery {
        let EncodeQuery { query, factor, centre, lengths } = self;
        with_centred(query, factor, centre, |centred, largest| {
            let scale = largest / LARGEST_IN_QUERY;
            let per_step = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            let (mut square, mut square_lost) = (0.0, 0.0);
            let numbers = centred.iter().map(|&value| {
                let number = (value * per_step).round_ties_even().clamp(-LARGEST_IN_QUERY, LARGEST_IN_QUERY);
                let rest = value - scale * number;
                square += number * number;
                square_lost += rest * rest;
                number as i16
            });
            let numbers = numbers.collect();
            CodedQuery { numbers, scale, lost: lost(square_lost, lengths), written: scale * scale * square }
        })
    }
}

/// The product of whole numbers, exactly.
#[inline(always)]
fn product<S: Simd, A: Copy + Into<i32>>(_: S, a: &[A], b: &[i8]) -> i64 {
    let sum = |a: &[A], b: &[i8]| a.iter().zip(b).map(|(&a, &b)| a.into() * i32::from(b)).sum::<i32>();
    if a.len() <= SUMMED {
        return i64::from(sum(a, b));
    }
    a.chunks(SUMMED).zip(b.chunks(SUMMED)).map(|(a, b)| i64::from(sum(a, b))).sum()
}

struct Scan<'a, F> {
    codes: &'a Codes,
    list: RowList<'a>,
    places: Range<usize>,
    query: &'a CodedQuery,
    reach: f64,
    found: &'a mut F,
}

impl<F: FnMut(usize, Written) -> f64> WithSimd for Scan<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut reach = self.reach;
        let end = self.places.end;
        for place in self.places {
            if let Some(row) = self.list.soon(place, end) {
                prefetch(self.codes.bytes_of(row as u32));
            }
            let (head, numbers) = self.codes.row(self.list.row(place) as u32);
            let product = product(simd, &self.query.numbers, numbers) as f64;
            let (scale, written) = (f64::from(head.scale), head.written());
            let square = self.query.written + written - 2.0 * self.query.scale * scale * product;
            let rounding = ROUNDING * (self.query.written + written);
            let lost = self.query.lost + f64::from(head.lost);
            if square - rounding > (reach + lost) * (reach + lost) {
                continue;
            }
            reach = (self.found)(place, Written { square, rounding, lost });
        }
    }
}
