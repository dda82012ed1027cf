//! The percentile bootstrap over groups of queries, and Wilson's interval for a share.

use std::collections::BTreeMap;

use sketchfind_core::random::Stream;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::accuracy::QueryResult;
use crate::summary::Bootstrap;

/// Queries in groups that are drawn together: the queries of one photo are not independent of each other.
pub(crate) struct Groups {
    members: Vec<Vec<usize>>,
    n_queries: usize,
}

impl Groups {
    /// One group a photo, in order of the photos' ids.
    pub(crate) fn by_photo(results: &[QueryResult]) -> Groups {
        let mut by_photo: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, result) in results.iter().enumerate() {
            by_photo.entry(&result.truth_id).or_default().push(index);
        }
        Groups { members: by_photo.into_values().collect(), n_queries: results.len() }
    }

    /// The queries of each photo.
    pub(crate) fn members(&self) -> &[Vec<usize>] {
        &self.members
    }

    /// The number of photos.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether a photo has several queries.
    pub(crate) fn is_clustered(&self) -> bool {
        self.len() < self.n_queries
    }

    /// The percentile interval (Efron and Tibshirani 1993, section 13.3) of `statistic`, which is given the indices
    /// of the queries in one resample.
    pub(crate) fn percentile_interval(
        &self,
        bootstrap: &Bootstrap,
        name: &str,
        mut statistic: impl FnMut(&[usize]) -> f64,
    ) -> (f64, f64) {
        let mut drawn = Vec::with_capacity(self.n_queries);
        let mut values: Vec<f64> = (0..bootstrap.samples)
            .map(|sample| {
                let mut stream = Stream::new(bootstrap.seed, name, &[sample as u64]);
                drawn.clear();
                for _ in 0..self.len() {
                    drawn.extend_from_slice(&self.members[stream.below(self.len())]);
                }
                statistic(&drawn)
            })
            .collect();
        central_interval(&mut values, bootstrap.confidence)
    }
}

/// The quantiles between which the share `confidence` of `values` lies, as much left out below as above.
pub(crate) fn central_interval(values: &mut [f64], confidence: f64) -> (f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    (quantile(values, tail), quantile(values, 1.0 - tail))
}

/// The quantile of sorted values, interpolated linearly between order statistics (NumPy's default; Hyndman and Fan
/// 1996, type 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// Wilson's score interval (1927) for a share `successes / n`.
pub(crate) fn wilson_interval(successes: f64, n: f64, confidence: f64) -> (f64, f64) {
    let z = Normal::standard().inverse_cdf(0.5 + confidence / 2.0);
    let share = successes / n;
    let denominator = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / denominator;
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / denominator;
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_equals_statsmodels() {
        // tests/reference/reference.py
        for (successes, n, low, high) in
            include_str!("../tests/reference/wilson.csv").lines().skip(1).map(|line| {
                let v: Vec<f64> = line.split(',').map(|field| field.parse().unwrap()).collect();
                (v[0], v[1], v[2], v[3])
            })
        {
            let (our_low, our_high) = wilson_interval(successes, n, 0.95);
            assert!((our_low - low).abs() < 1e-9 && (our_high - high).abs() < 1e-9, "{successes}/{n}");
        }
    }

    #[test]
    fn quantiles_equal_numpys() {
        // numpy.quantile([1, 2, 4, 8], [0.1, 0.5, 0.9]) is [1.3, 3.0, 6.8].
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.1, 1.3), (0.5, 3.0), (0.9, 6.8)] {
            assert!((quantile(&sorted, share) - expected).abs() < 1e-12);
        }
    }
}
