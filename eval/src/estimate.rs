//! A figure with its n and its interval, and how intervals are made.

use crate::{Error, Result};

/// How intervals are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// The number of resamples.
    pub samples: usize,
    /// The seed.
    pub seed: u64,
    /// The share of intervals that should cover the true value, such as 0.95.
    pub confidence: f64,
}

/// 10,000 resamples, seed 1, 95 %.
impl Default for Bootstrap {
    fn default() -> Self {
        Bootstrap { samples: 10_000, seed: 1, confidence: 0.95 }
    }
}

impl Bootstrap {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] without resamples or with a confidence outside 0 to 1.
    pub fn check(&self) -> Result<()> {
        if self.samples == 0 {
            let value = self.samples.to_string();
            return Err(Error::OutOfRange { what: "bootstrap samples", value, expected: "at least 1" });
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            let value = self.confidence.to_string();
            return Err(Error::OutOfRange { what: "confidence", value, expected: "above 0 and below 1" });
        }
        Ok(())
    }
}

/// How an interval was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalMethod {
    /// Wilson's score interval for a share of independent queries, or, for a share of 0 or 1 where no resample
    /// differs, for as many queries as there are photos.
    Wilson,
    /// The percentile bootstrap over photos, each drawn with all its queries (with one query a photo that is the
    /// bootstrap over queries).
    PercentileBootstrap,
}

impl IntervalMethod {
    /// The name in CSV files.
    pub fn name(self) -> &'static str {
        match self {
            IntervalMethod::Wilson => "wilson",
            IntervalMethod::PercentileBootstrap => "percentile_bootstrap",
        }
    }
}

/// What an interval's resamples are drawn of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resampled {
    /// Queries, each of another photo.
    Queries,
    /// Photos, each with all that belongs to it: its queries, their versions, its anchors.
    Photos,
    /// Sketches, each with all that was said of it.
    Sketches,
}

impl Resampled {
    /// The name in CSV files.
    pub fn name(self) -> &'static str {
        match self {
            Resampled::Queries => "queries",
            Resampled::Photos => "photos",
            Resampled::Sketches => "sketches",
        }
    }
}

/// A figure with its n and its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Its name: `acc@1`, `mrr`, `median_rank`, ...
    pub metric: String,
    /// Its value. Accuracies, shares and MRR in `[0, 1]`, ranks from 1.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// The number of values that it is over: queries, anchors, triplets.
    pub n: usize,
    /// The number of things that were resampled.
    pub n_resampled: usize,
    /// What they are.
    pub resampled: Resampled,
    /// How the interval was made.
    pub interval: IntervalMethod,
}
