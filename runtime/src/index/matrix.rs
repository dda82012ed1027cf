//! The matrix that an index searches: owned, shared with embeddings, or mapped from a file.

use std::sync::{Arc, OnceLock};

use sketchfind_core::Error as CoreError;
use sketchfind_core::embeddings::Embeddings;

use super::bounds::Lengths;
use crate::Result;
use crate::gallery::MappedRows;

/// A matrix `[N, D]` of finite float32 numbers, `D > 0`. Cheap to clone: clones share the numbers.
#[derive(Clone, Debug)]
pub struct Matrix {
    width: usize,
    values: Values,
    /// Computed when they are first wanted.
    lengths: Arc<OnceLock<Lengths>>,
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
        Ok(Matrix { width, values: Values::Owned(Arc::new(values)), lengths: Arc::default() })
    }

    /// The rows of a file, which were checked when it was mapped.
    pub(crate) fn mapped(rows: Arc<MappedRows>) -> Matrix {
        Matrix { width: rows.width(), values: Values::Mapped(rows), lengths: Arc::default() }
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
        self.lengths.get_or_init(|| Lengths::of(self.values(), self.width))
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
        Matrix { width: embeddings.width(), values: Values::Embeddings(embeddings), lengths: Arc::default() }
    }
}
