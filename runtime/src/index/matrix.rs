//! The matrix that an index searches: owned, shared with embeddings, or mapped from a file.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

use super::bounds::Lengths;
use super::codes::Codes;
use super::principal::Principal;
use crate::Result;
use crate::gallery::MappedRows;

/// Numbers, 4 MiB, from which on rows in 8 bits are worth writing.
const CODED_FROM: usize = 1 << 20;
/// Searches for a single query before they are written.
const CODED_AFTER: usize = 8;
/// Queries, alone or together, before a first look at the rows is made: these take about as long as making it does.
const LOOKED_AFTER: usize = 1 << 10;

/// A matrix `[N, D]` of finite float32 numbers, `D > 0`. Cheap to clone: clones share the numbers.
#[derive(Clone, Debug)]
pub struct Matrix {
    width: usize,
    values: Values,
    derived: Arc<Derived>,
}

/// What is computed from the numbers when it is first wanted.
#[derive(Debug, Default)]
struct Derived {
    lengths: OnceLock<Lengths>,
    mse: Views,
    cosine: Views,
}

/// How the rows are seen by one distance.
#[derive(Debug, Default)]
struct Views {
    codes: OnceLock<Codes>,
    /// Nothing where it would say too little.
    principal: OnceLock<Option<Principal>>,
    /// Searches for a single query so far.
    n_searches: AtomicUsize,
    /// Queries so far.
    n_queries: AtomicUsize,
}

/// What is in a cell, made where it is empty. It is made outside of the cell, in which another thread of a pool might wait
/// for this one while this one waits for the pool; so two may make it, and one is kept.
fn made<T>(cell: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    if let Some(made) = cell.get() {
        return made;
    }
    let new = make();
    cell.get_or_init(|| new)
}

#[derive(Clone, Debug)]
enum Values {
    Owned(Arc<Vec<f32>>),
    Embeddings(Arc<Embeddings>),
    Mapped(Arc<MappedRows>),
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
        Ok(Matrix { width, values: Values::Owned(Arc::new(values)), derived: Arc::default() })
    }

    /// The rows of a file, which were checked when it was mapped.
    pub(crate) fn mapped(rows: Arc<MappedRows>) -> Matrix {
        Matrix { width: rows.width(), values: Values::Mapped(rows), derived: Arc::default() }
    }

    /// The number of rows, N.
    pub fn len(&self) -> usize {
        self.values().len() / self.width
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// The width of a row, D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `row`, `[D]`, or nothing beyond the last.
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        let start = row.checked_mul(self.width)?;
        self.values().get(start..start.checked_add(self.width)?)
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values().chunks_exact(self.width)
    }

    /// The lengths of the rows.
    pub(super) fn lengths(&self) -> &Lengths {
        made(&self.derived.lengths, || Lengths::of(self.values(), self.width))
    }

    /// The rows in 8 bits.
    pub(crate) fn codes(&self, distance: Distance) -> &Codes {
        made(&self.views(distance).codes, || Codes::new(self.values(), self.width, distance))
    }

    /// The rows in 8 bits for one more search for a single query, once they are worth it: a few searches take less than
    /// writing them does, and rows that fit the processor's cache are read fast enough. They are written while searches go
    /// on without them.
    pub(super) fn codes_if_worth_it(&self, distance: Distance) -> Option<&Codes> {
        let codes = self.codes_if_there(distance);
        if codes.is_none()
            && self.values().len() >= CODED_FROM
            && self.has_rows_in_32_bits()
            && self.views(distance).n_searches.fetch_add(1, Ordering::Relaxed) == CODED_AFTER
        {
            self.in_background(move |matrix| {
                matrix.codes(distance);
            });
        }
        codes
    }

    /// A first look at the rows, for `n` more queries, once it is worth it. It is made while searches go on without it.
    pub(super) fn principal_if_worth_it(&self, distance: Distance, n: usize) -> Option<&Principal> {
        let principal = self.views(distance).principal.get();
        if principal.is_none() && self.values().len() >= CODED_FROM && self.has_rows_in_32_bits() {
            let before = self.views(distance).n_queries.fetch_add(n, Ordering::Relaxed);
            if before < LOOKED_AFTER && before + n >= LOOKED_AFTER {
                self.in_background(move |matrix| {
                    matrix.principal(distance);
                });
            }
        }
        principal?.as_ref()
    }

    /// A first look at the rows.
    fn principal(&self, distance: Distance) -> Option<&Principal> {
        let new = || Principal::new(self.values(), self.width, distance);
        made(&self.views(distance).principal, new).as_ref()
    }

    /// Works on a thread of its own: the caller's pool may be at work on searches without a pause. Where there is no thread
    /// to be had, searches stay as they are.
    fn in_background(&self, work: impl FnOnce(&Matrix) + Send + 'static) {
        let matrix = self.clone();
        let work = move || work(&matrix);
        drop(std::thread::Builder::new().name("sketchfind codes".into()).spawn(work));
    }

    /// The rows in 8 bits where they are written already.
    pub(super) fn codes_if_there(&self, distance: Distance) -> Option<&Codes> {
        self.views(distance).codes.get()
    }

    /// Makes what searches are fastest with: a first look at the rows, or, where that would say too little, the rows in 8
    /// bits.
    pub(super) fn prepare(&self, distance: Distance) {
        if self.has_rows_in_32_bits() && self.principal(distance).is_none() {
            self.codes(distance);
        }
    }

    /// Whether its rows can be numbered as codes and graphs do it.
    fn has_rows_in_32_bits(&self) -> bool {
        u32::try_from(self.len()).is_ok()
    }

    fn views(&self, distance: Distance) -> &Views {
        match distance {
            Distance::Mse => &self.derived.mse,
            Distance::Cosine => &self.derived.cosine,
        }
    }

    /// All values, row-major, `[N * D]`.
    pub fn values(&self) -> &[f32] {
        match &self.values {
            Values::Owned(values) => values,
            Values::Embeddings(embeddings) => embeddings.values(),
            Values::Mapped(rows) => rows.values(),
        }
    }
}

impl From<Arc<Embeddings>> for Matrix {
    fn from(embeddings: Arc<Embeddings>) -> Matrix {
        Matrix { width: embeddings.width(), values: Values::Embeddings(embeddings), derived: Arc::default() }
    }
}
