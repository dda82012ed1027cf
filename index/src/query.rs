//! Queries: checked here, at the door, and nowhere behind it.

use sketchfind_core::Error;

use crate::Result;

/// A query as wide as the matrix that it is asked of, of finite numbers: hnsw_rs panics on others.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a>(&'a [f32]);

impl<'a> Query<'a> {
    /// The query `values`, `[width]`.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) where it has another width or is not finite.
    pub fn new(values: &'a [f32], width: usize) -> Result<Query<'a>> {
        if values.len() != width {
            let (expected, got) = (width.to_string(), values.len().to_string());
            return Err(Error::Mismatch { what: "width of the query's embedding", expected, got }.into());
        }
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(Query(values)),
            Some(position) => {
                let what = "a component of the query's embedding";
                let value = format!("{} (component {position})", values[position]);
                Err(Error::OutOfRange { what, value, expected: "a finite number".into() }.into())
            }
        }
    }

    /// The queries of `[Q, width]`, row-major.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) where the values are not whole queries, or one is not finite.
    pub fn each(values: &'a [f32], width: usize) -> Result<Vec<Query<'a>>> {
        if !values.len().is_multiple_of(width) {
            let (what, got) = ("values of the queries' embeddings", values.len().to_string());
            let expected = format!("whole rows of width {width}");
            return Err(Error::Mismatch { what, expected, got }.into());
        }
        values.chunks_exact(width).map(|query| Query::new(query, width)).collect()
    }

    /// Its numbers, `[D]`.
    pub fn values(self) -> &'a [f32] {
        self.0
    }
}
