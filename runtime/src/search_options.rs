//! How a search is done, besides what is looked for and among which photos.

use sketchfind_core::Error as CoreError;
use sketchfind_index::MOST_CANDIDATES;

use crate::Result;

/// How a search is done. By default as the gallery's index says.
///
/// ```
/// use sketchfind::SearchOptions;
/// let careful = SearchOptions::default().with_ef(500);
/// assert!(careful.check().is_ok());
/// assert!(SearchOptions::default().with_ef(0).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchOptions {
    /// The candidates that a graph is searched with, 1 to 100,000, in the place of its `ef_search`: more find more of the
    /// nearest and take longer. Where there is no graph, or a filter, a search is exact with any number.
    pub ef: Option<usize>,
    /// Whether graphs are left alone, and every photo is looked at.
    pub exact: bool,
    /// Whether products are found in the place of photos: each by the nearest of its photos that pass the filter, so that the
    /// `k` of a search counts products. A photo without a product is one of its own.
    pub by_product: bool,
}

impl SearchOptions {
    /// Exact search, whatever graphs there are.
    pub fn exact() -> SearchOptions {
        SearchOptions { exact: true, ..SearchOptions::default() }
    }

    /// The same with graphs searched with `ef` candidates.
    #[must_use]
    pub fn with_ef(mut self, ef: usize) -> SearchOptions {
        self.ef = Some(ef);
        self
    }

    /// The same with products found in the place of photos.
    #[must_use]
    pub fn by_product(mut self) -> SearchOptions {
        self.by_product = true;
        self
    }

    /// Checks the values; every search does so.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) where `ef` is out of range.
    pub fn check(&self) -> Result<()> {
        match self.ef {
            Some(ef) if !(1..=MOST_CANDIDATES).contains(&ef) => {
                let (value, expected) = (ef.to_string(), format!("1 to {MOST_CANDIDATES}"));
                Err(CoreError::OutOfRange { what: "ef", value, expected }.into())
            }
            _ => Ok(()),
        }
    }
}
