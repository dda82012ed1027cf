//! How a query is answered, besides what is looked for and among which photos.

use crate::border::check_reserve;
use crate::retriever::skf_retriever;
use crate::status::{Outcome, bad};
use sketchfind::SearchOptions;

/// How a query is answered. All zeros are the ordinary options, and so is a null pointer to it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_search_options {
    /// The candidates that a graph is searched with, 1 to 100000: more find more of the nearest and take longer. 0 for those of
    /// the gallery. Where there is no graph, or a filter, a search is exact with any number.
    pub ef: u32,
    /// Whether graphs are left alone, and every photo is looked at.
    pub exact: bool,
    /// Whether products are found in the place of photos, each by the nearest of its photos that pass the filter, so that `k` counts
    /// products. A photo without a product is one of its own.
    pub by_product: bool,
    /// How likely, up to 1, it has to be that what was drawn is among the first ten; where it is not, nothing fits, and the answer
    /// is empty. Below 0 for what the calibration proposes, 0 for no such limit. Another value than 0 needs
    /// `skf_options.calibration`.
    pub min_score: f64,
    /// For members to come: 0.
    pub reserved: [u64; 6],
}

/// The ordinary options.
impl Default for skf_search_options {
    fn default() -> skf_search_options {
        skf_search_options { ef: 0, exact: false, by_product: false, min_score: 0.0, reserved: [0; 6] }
    }
}

impl skf_search_options {
    /// How to search, and the least score, where there is one.
    pub(crate) fn checked(&self, retriever: &skf_retriever) -> Outcome<(SearchOptions, Option<f64>)> {
        check_reserve(&self.reserved, "skf_search_options")?;
        let mut options = SearchOptions::default();
        options.ef = (self.ef > 0).then_some(self.ef as usize);
        options.exact = self.exact;
        options.by_product = self.by_product;
        options.check()?;
        if self.min_score >= 0.0 || self.min_score.is_nan() {
            return Ok((options, (self.min_score != 0.0).then_some(self.min_score)));
        }
        let calibration = retriever.retriever.calibration().ok_or_else(|| {
            bad(format!(
                "min_score is {}, which asks for that of the calibration, and there is no calibration",
                self.min_score
            ))
        })?;
        Ok((options, Some(calibration.min_score)))
    }
}
