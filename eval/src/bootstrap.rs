//! The percentile bootstrap over groups of queries, and Wilson's interval for a share.

use std::collections::BTreeMap;

use sketchfind_core::random::Stream;

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
        values.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - bootstrap.confidence) / 2.0;
        (quantile(&values, tail), quantile(&values, 1.0 - tail))
    }
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
    let z = standard_normal_quantile(0.5 + confidence / 2.0);
    let share = successes / n;
    let denominator = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / denominator;
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / denominator;
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// The quantile of the standard normal distribution, by bisection of its distribution function.
fn standard_normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if standard_normal_below(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The standard normal distribution function by its Taylor series,
/// `1/2 + phi(x) * (x + x^3/3 + x^5/(3*5) + ...)` (Marsaglia 2004, 'Evaluating the normal distribution').
fn standard_normal_below(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        // Tabulated values.
        for (share, expected) in [(0.975, 1.959_963_985), (0.995, 2.575_829_304), (0.5, 0.0)] {
            assert!((standard_normal_quantile(share) - expected).abs() < 1e-8);
        }
    }

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
