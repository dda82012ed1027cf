//! The matrix that an index searches: rows that lie somewhere, and what is computed of them once.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

use crate::Result;
use crate::codes::Codes;

/// Numbers, 4 MiB, from which on rows in 8 bits are worth writing.
const CODED_FROM: usize = 1 << 20;
/// Searches before they are written.
const CODED_AFTER: usize = 8;

/// Rows of finite numbers, wherever they lie. They never change.
pub trait Rows: Send + Sync {
    /// The width of a row, D, above 0.
    fn width(&self) -> usize;

    /// All values, row-major, `[N * D]`.
    fn values(&self) -> &[f32];
}

impl Rows for Embeddings {
    fn width(&self) -> usize {
        Embeddings::width(self)
    }

    fn values(&self) -> &[f32] {
        Embeddings::values(self)
    }
}

/// Rows that a matrix owns.
struct Owned {
    width: usize,
    values: Vec<f32>,
}

impl Rows for Owned {
    fn width(&self) -> usize {
        self.width
    }

    fn values(&self) -> &[f32] {
        &self.values
    }
}

/// A matrix `[N, D]` of finite float32 numbers, `D > 0`. Cheap to clone: clones share the numbers.
#[derive(Clone)]
pub struct Matrix {
    rows: Arc<dyn Rows>,
    by_mse: Arc<InEightBits>,
    by_cosine: Arc<InEightBits>,
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matrix").field("n_rows", &self.len()).field("width", &self.width()).finish()
    }
}

/// The rows in 8 bits for one distance, once they are written.
#[derive(Debug, Default)]
struct InEightBits {
    codes: OnceLock<Codes>,
    /// Searches so far.
    n_searches: AtomicUsize,
}

impl Matrix {
    /// A matrix of rows that stand one after another in `values`.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) where the width is 0 or does not divide the values, or a value is not
    /// finite.
    pub fn new(width: usize, values: Vec<f32>) -> Result<Matrix> {
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(CoreError::Mismatch {
                what: "values of a matrix",
                expected: format!("whole rows of a width above 0 (here {width})"),
                got: values.len().to_string(),
            }
            .into());
        }
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            let (row, value) = (position / width, f64::from(values[position]));
            return Err(CoreError::NotFinite { what: "an embedding", row, value }.into());
        }
        Ok(Matrix::of(Arc::new(Owned { width, values })))
    }

    /// A matrix of rows that were checked before: finite, and of a width above 0.
    pub fn of(rows: Arc<dyn Rows>) -> Matrix {
        Matrix { rows, by_mse: Arc::default(), by_cosine: Arc::default() }
    }

    /// The number of rows, N.
    pub fn len(&self) -> usize {
        self.values().len() / self.width()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// The width of a row, D.
    pub fn width(&self) -> usize {
        self.rows.width()
    }

    /// Row `row`, `[D]`, or nothing beyond the last.
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        let start = row.checked_mul(self.width())?;
        self.values().get(start..start.checked_add(self.width())?)
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values().chunks_exact(self.width())
    }

    /// All values, row-major, `[N * D]`.
    pub fn values(&self) -> &[f32] {
        self.rows.values()
    }

    /// The rows in 8 bits. They are written outside of the cell, in which another thread of a pool might wait for this one
    /// while this one waits for the pool; so two may write them, and one is kept.
    pub(crate) fn codes(&self, distance: Distance) -> &Codes {
        let cell = &self.in_eight_bits(distance).codes;
        if let Some(codes) = cell.get() {
            return codes;
        }
        let codes = Codes::new(self.values(), self.width(), distance);
        cell.get_or_init(|| codes)
    }

    /// The rows in 8 bits for one more search, once they are worth it: a few searches take less than writing them does, and
    /// rows that fit the processor's cache are read fast enough. They are written while searches go on without them.
    pub(crate) fn codes_if_worth_it(&self, distance: Distance) -> Option<&Codes> {
        let codes = self.codes_if_there(distance);
        if codes.is_none()
            && self.values().len() >= CODED_FROM
            && self.has_rows_in_32_bits()
            && self.in_eight_bits(distance).n_searches.fetch_add(1, Ordering::Relaxed) == CODED_AFTER
        {
            let matrix = self.clone();
            let work = move || {
                matrix.codes(distance);
            };
            // A thread of its own: the caller's pool may be at work on searches without a pause. Where there is no thread to
            // be had, searches stay as they are.
            drop(std::thread::Builder::new().name("sketchfind codes".into()).spawn(work));
        }
        codes
    }

    /// The rows in 8 bits where they are written already.
    pub(crate) fn codes_if_there(&self, distance: Distance) -> Option<&Codes> {
        self.in_eight_bits(distance).codes.get()
    }

    /// Writes the rows in 8 bits, with which searches are fastest.
    pub(crate) fn prepare(&self, distance: Distance) {
        if self.has_rows_in_32_bits() {
            self.codes(distance);
        }
    }

    /// Whether its rows can be numbered as codes and graphs do it.
    fn has_rows_in_32_bits(&self) -> bool {
        u32::try_from(self.len()).is_ok()
    }

    fn in_eight_bits(&self, distance: Distance) -> &InEightBits {
        match distance {
            Distance::Mse => &self.by_mse,
            Distance::Cosine => &self.by_cosine,
        }
    }
}

impl From<Arc<Embeddings>> for Matrix {
    fn from(embeddings: Arc<Embeddings>) -> Matrix {
        Matrix::of(embeddings)
    }
}
