//! The percentile bootstrap over groups of queries, and Wilson's interval for a share.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sketchfind_core::random::Stream;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::estimate::{Bootstrap, Estimate, IntervalMethod, Resampled};
use crate::result::QueryResult;

/// Things in groups that are drawn together: the queries of one photo are not independent of each other.
pub(crate) struct Groups {
    members: Vec<Vec<usize>>,
    n_members: usize,
}

impl Groups {
    /// One group a key, in order of the keys.
    pub(crate) fn by_key<'a>(keys: impl Iterator<Item = &'a str>) -> Groups {
        let mut by_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut n_members = 0;
        for key in keys {
            by_key.entry(key).or_default().push(n_members);
            n_members += 1;
        }
        Groups { members: by_key.into_values().collect(), n_members }
    }

    /// One group a photo, in order of the photos' ids.
    pub(crate) fn by_photo(results: &[QueryResult]) -> Groups {
        Groups::by_key(results.iter().map(|result| result.truth_id.as_str()))
    }

    /// As many groups of one.
    pub(crate) fn singles(n: usize) -> Groups {
        Groups { members: (0..n).map(|member| vec![member]).collect(), n_members: n }
    }

    /// The members of each group.
    pub(crate) fn members(&self) -> &[Vec<usize>] {
        &self.members
    }

    /// The number of groups.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether a group has several members.
    pub(crate) fn is_clustered(&self) -> bool {
        self.len() < self.n_members
    }

    /// The percentile interval (Efron and Tibshirani 1993, section 13.3) of `statistic`, which is given the indices
    /// of the members in one resample. The same on any number of threads.
    fn percentile_interval(
        &self,
        bootstrap: &Bootstrap,
        name: &str,
        statistic: impl Fn(&[usize]) -> f64 + Sync,
    ) -> (f64, f64) {
        let mut values: Vec<f64> = (0..bootstrap.samples)
            .into_par_iter()
            .map_init(
                || Vec::with_capacity(self.n_members),
                |drawn, sample| {
                    let mut stream = Stream::new(bootstrap.seed, name, &[sample as u64]);
                    drawn.clear();
                    for _ in 0..self.len() {
                        drawn.extend_from_slice(&self.members[stream.below(self.len())]);
                    }
                    statistic(drawn)
                },
            )
            .collect();
        values.retain(|value| !value.is_nan());
        if values.is_empty() {
            return (f64::NAN, f64::NAN);
        }
        central_interval(&mut values, bootstrap.confidence)
    }

    /// What is resampled where the groups are photos.
    pub(crate) fn resampled(&self) -> Resampled {
        if self.is_clustered() { Resampled::Photos } else { Resampled::Queries }
    }

    /// For each resample of groups what `finish` makes of the sums of their totals.
    ///
    /// # Shapes
    /// `totals`: `[n_groups, n_columns]`, row-major; `finish` is given `[n_columns]`; returns `[samples]`.
    pub(crate) fn resampled_totals<T: Send>(
        &self,
        bootstrap: &Bootstrap,
        name: &str,
        totals: &[f64],
        finish: impl Fn(&[f64]) -> T + Sync,
    ) -> Vec<T> {
        let n_columns = totals.len() / self.len().max(1);
        (0..bootstrap.samples)
            .into_par_iter()
            .map_init(
                || vec![0.0; n_columns],
                |sums, sample| {
                    let mut stream = Stream::new(bootstrap.seed, name, &[sample as u64]);
                    sums.fill(0.0);
                    for _ in 0..self.len() {
                        let group = stream.below(self.len());
                        let drawn = &totals[group * n_columns..(group + 1) * n_columns];
                        sums.iter_mut().zip(drawn).for_each(|(sum, total)| *sum += total);
                    }
                    finish(sums)
                },
            )
            .collect()
    }

    /// The percentile intervals of the means of several columns of values, all from the same resamples. A value that
    /// is nothing has no part in its column's mean.
    ///
    /// # Shapes
    /// `columns`: `[n_columns][n_members]`; returns `[n_columns]`.
    fn mean_intervals(
        &self,
        bootstrap: &Bootstrap,
        name: &str,
        columns: &[Vec<Option<f64>>],
    ) -> Vec<(f64, f64)> {
        // A group counts by its sum and number alone.
        let n_columns = columns.len();
        let mut totals = vec![0.0; self.len() * 2 * n_columns];
        for (group, totals) in self.members.iter().zip(totals.chunks_exact_mut((2 * n_columns).max(1))) {
            for (column, total) in columns.iter().zip(totals.chunks_exact_mut(2)) {
                let values = group.iter().filter_map(|&member| column[member]);
                (total[0], total[1]) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
            }
        }
        let resampled = self.resampled_totals(bootstrap, name, &totals, |sums| {
            sums.chunks_exact(2).map(|total| total[0] / total[1]).collect::<Vec<f64>>()
        });
        (0..columns.len())
            .map(|column| {
                // A resample that drew no value has no mean.
                let mut values: Vec<f64> =
                    resampled.iter().map(|means| means[column]).filter(|mean| !mean.is_nan()).collect();
                if values.is_empty() {
                    return (f64::NAN, f64::NAN);
                }
                central_interval(&mut values, bootstrap.confidence)
            })
            .collect()
    }

    /// The means of several columns of values as figures, all from the same resamples, which draw photos. A value that is
    /// nothing has no part in its column's mean; a column without any has no mean.
    ///
    /// # Shapes
    /// `columns`: `[n_columns]` names and `[n_members]` values; returns `[n_columns]`.
    pub(crate) fn mean_estimates(
        &self,
        bootstrap: &Bootstrap,
        name: &str,
        columns: Vec<(String, Vec<Option<f64>>)>,
    ) -> Vec<Estimate> {
        let (metrics, columns): (Vec<String>, Vec<Vec<Option<f64>>>) = columns.into_iter().unzip();
        let intervals = self.mean_intervals(bootstrap, name, &columns);
        let means = columns.iter().map(|column| {
            let known = column.iter().flatten();
            (known.clone().sum::<f64>() / known.clone().count() as f64, known.count())
        });
        metrics
            .into_iter()
            .zip(means)
            .zip(intervals)
            .map(|((metric, (value, n)), interval)| self.estimate(metric, (value, n), interval))
            .collect()
    }

    /// The mean of one column of values, drawn by its own name.
    pub(crate) fn mean_estimate(&self, bootstrap: &Bootstrap, metric: &str, values: &[f64]) -> Estimate {
        let column = values.iter().copied().map(Some).collect();
        self.mean_estimates(bootstrap, metric, vec![(metric.to_owned(), column)]).swap_remove(0)
    }

    /// The median of values, drawn by its own name.
    pub(crate) fn median_estimate(&self, bootstrap: &Bootstrap, metric: &str, values: &[f64]) -> Estimate {
        let interval = self.percentile_interval(bootstrap, metric, |indices| {
            median(indices.iter().map(|&index| values[index]).collect())
        });
        self.estimate(metric.to_owned(), (median(values.to_vec()), values.len()), interval)
    }

    /// Any statistic of the members, which is given the indices of those that were drawn; with all of them it is the value.
    /// A resample that has no such statistic has no part in the interval.
    pub(crate) fn statistic_estimate(
        &self,
        bootstrap: &Bootstrap,
        metric: &str,
        statistic: impl Fn(&[usize]) -> f64 + Sync,
    ) -> Estimate {
        let interval = self.percentile_interval(bootstrap, metric, &statistic);
        let all: Vec<usize> = (0..self.n_members).collect();
        self.estimate(metric.to_owned(), (statistic(&all), all.len()), interval)
    }

    fn estimate(&self, metric: String, (value, n): (f64, usize), (low, high): (f64, f64)) -> Estimate {
        let (n_resampled, resampled) = (self.len(), self.resampled());
        let interval = IntervalMethod::PercentileBootstrap;
        Estimate { metric, value, low, high, n, n_resampled, resampled, interval }
    }

    /// A share of values that are each 0 or 1, with Wilson's interval where each value is a group of its own, and where
    /// all are alike, so that no resample differs: then a group counts once. The groups are of what `resampled` says.
    pub(crate) fn share(
        &self,
        bootstrap: &Bootstrap,
        metric: String,
        values: &[f64],
        resampled: Resampled,
    ) -> Estimate {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        if self.is_clustered() && mean > 0.0 && mean < 1.0 {
            return Estimate { resampled, ..self.mean_estimate(bootstrap, &metric, values) };
        }
        let n_independent = self.len() as f64;
        let interval = wilson_interval(mean * n_independent, n_independent, bootstrap.confidence);
        let interval_method = IntervalMethod::Wilson;
        Estimate {
            resampled,
            interval: interval_method,
            ..self.estimate(metric, (mean, values.len()), interval)
        }
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

/// The median; of an even number of values the mean of the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        1 => values[half],
        _ => 0.5 * (values[half - 1] + values[half]),
    }
}

/// Wilson's score interval (1927) for a share `successes / n`.
fn wilson_interval(successes: f64, n: f64, confidence: f64) -> (f64, f64) {
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
