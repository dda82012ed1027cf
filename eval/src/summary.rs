//! Figures over all queries, each with its n and an interval.

use crate::accuracy::{QueryResult, accuracy_at};
use crate::bootstrap::{Groups, wilson_interval};
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

impl Bootstrap {
    /// 10,000 resamples, seed 1, 95 %.
    pub const ORDINARY: Bootstrap = Bootstrap { samples: 10_000, seed: 1, confidence: 0.95 };

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

/// A figure with its n and its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Its name: `acc@1`, `mrr`, `median_rank`, ...
    pub metric: String,
    /// Its value. Accuracies and MRR in `[0, 1]`, ranks from 1.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// The number of queries.
    pub n: usize,
    /// How the interval was made.
    pub interval: IntervalMethod,
}

/// Figures over all queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// acc@1, acc@5, acc@10, MRR, mean rank, median rank.
    pub estimates: Vec<Estimate>,
    /// The number of queries.
    pub n_queries: usize,
    /// The number of distinct photos that they depict.
    pub n_photos: usize,
    /// The number of photos that were ranked.
    pub n_gallery: usize,
    /// What intervals were made with.
    pub bootstrap: Bootstrap,
}

impl Summary {
    /// The estimate called `metric`.
    pub fn get(&self, metric: &str) -> Option<&Estimate> {
        self.estimates.iter().find(|estimate| estimate.metric == metric)
    }

    /// Whether some photo has several queries, which are then resampled together.
    pub fn is_clustered(&self) -> bool {
        self.n_photos < self.n_queries
    }
}

/// The cut-offs of acc@k that a summary holds.
pub const ACCURACY_CUTOFFS: [usize; 3] = [1, 5, 10];

/// Summarises results.
///
/// Accuracies with one query a photo get Wilson's interval; all else the percentile bootstrap over photos.
///
/// # Errors
/// [`Error::Empty`] without results; [`Error::OutOfRange`] on settings of the bootstrap.
pub fn summarise(results: &[QueryResult], bootstrap: &Bootstrap) -> Result<Summary> {
    bootstrap.check()?;
    let Some(first) = results.first() else {
        return Err(Error::Empty { what: "query" });
    };
    let groups = Groups::by_photo(results);
    let n = results.len();
    let mut estimates: Vec<Estimate> =
        ACCURACY_CUTOFFS.iter().map(|&k| accuracy(results, k, &groups, bootstrap)).collect();
    let mut add = |metric: &str, statistic: &dyn Fn(&[usize]) -> f64| {
        let all: Vec<usize> = (0..n).collect();
        let (low, high) = groups.percentile_interval(bootstrap, metric, statistic);
        let (metric, value) = (metric.to_owned(), statistic(&all));
        let interval = IntervalMethod::PercentileBootstrap;
        estimates.push(Estimate { metric, value, low, high, n, interval });
    };
    let mean = |indices: &[usize], of: &dyn Fn(usize) -> f64| {
        indices.iter().map(|&index| of(results[index].rank)).sum::<f64>() / indices.len() as f64
    };
    add("mrr", &|indices| mean(indices, &|rank| 1.0 / rank as f64));
    add("mean_rank", &|indices| mean(indices, &|rank| rank as f64));
    add("median_rank", &|indices| median(indices.iter().map(|&index| results[index].rank as f64).collect()));
    Ok(Summary {
        estimates,
        n_queries: n,
        n_photos: groups.len(),
        n_gallery: first.n_gallery,
        bootstrap: *bootstrap,
    })
}

fn accuracy(results: &[QueryResult], k: usize, groups: &Groups, bootstrap: &Bootstrap) -> Estimate {
    let (metric, n) = (format!("acc@{k}"), results.len());
    let value = accuracy_at(results, k);
    let is_degenerate = value <= 0.0 || value >= 1.0;
    let ((low, high), interval) = if groups.is_clustered() && !is_degenerate {
        let statistic = |indices: &[usize]| {
            indices.iter().filter(|&&index| results[index].rank <= k).count() as f64 / indices.len() as f64
        };
        (groups.percentile_interval(bootstrap, &metric, statistic), IntervalMethod::PercentileBootstrap)
    } else {
        // With one query a photo the groups are the queries; where no query differs, a group counts once.
        let n_independent = groups.len() as f64;
        let interval = wilson_interval(value * n_independent, n_independent, bootstrap.confidence);
        (interval, IntervalMethod::Wilson)
    };
    Estimate { metric, value, low, high, n, interval }
}

/// The median; of an even number of values the mean of the middle two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        1 => values[half],
        _ => 0.5 * (values[half - 1] + values[half]),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sketchfind_core::random::Stream;

    /// Results with the given ranks; `n_sketches` queries a photo.
    pub(crate) fn with_ranks(ranks: &[usize], n_sketches: usize) -> Vec<QueryResult> {
        let result = |(index, &rank): (usize, &usize)| QueryResult {
            query_id: format!("q{index:05}"),
            truth_id: format!("g{:05}", index / n_sketches),
            rank,
            n_tied: 0,
            truth_distance: 1.0,
            first_distance: 0.5,
            top: vec!["g00000".into()],
            n_gallery: 1000,
        };
        ranks.iter().enumerate().map(result).collect()
    }

    #[test]
    fn figures_by_hand() {
        let summary = summarise(&with_ranks(&[1, 2, 4, 20], 1), &Bootstrap::ORDINARY).unwrap();
        let value = |metric| summary.get(metric).unwrap().value;
        assert_eq!([value("acc@1"), value("acc@5"), value("acc@10")], [0.25, 0.75, 0.75]);
        assert_eq!(value("mrr"), (1.0 + 0.5 + 0.25 + 0.05) / 4.0);
        assert_eq!([value("mean_rank"), value("median_rank")], [6.75, 3.0]);
        for estimate in &summary.estimates {
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{estimate:?}");
            assert_eq!(estimate.n, 4);
        }
    }

    #[test]
    fn no_success_is_not_certain_failure() {
        let summary = summarise(&with_ranks(&[5; 50], 1), &Bootstrap::ORDINARY).unwrap();
        let estimate = summary.get("acc@1").unwrap();
        assert_eq!((estimate.value, estimate.low), (0.0, 0.0));
        // Wilson's upper end for 0 of 50 is z^2 / (n + z^2) = 3.8415 / 53.8415.
        assert!((estimate.high - 0.071_35).abs() < 1e-4, "{estimate:?}");
    }

    #[test]
    fn queries_of_one_photo_widen_the_interval() {
        // Three sketches of each photo, always right or wrong together: as sure as a third of the queries.
        let ranks: Vec<usize> = (0..300).map(|index| if index / 3 % 2 == 0 { 1 } else { 2 }).collect();
        let width = |n_sketches| {
            let summary = summarise(&with_ranks(&ranks, n_sketches), &Bootstrap::ORDINARY).unwrap();
            let estimate = summary.get("acc@1").unwrap().clone();
            estimate.high - estimate.low
        };
        let ratio = width(3) / width(1);
        assert!((1.6..1.9).contains(&ratio), "{ratio} is not near the square root of 3");
    }

    #[test]
    fn intervals_cover_as_often_as_they_say() {
        // 300 trials of 60 photos with 3 sketches each, photo-wise success chances of 0.2 or 0.6 (mean 0.4).
        // A 95 % interval covers in 285 of 300 on average; 99.9 % of the time in at least 270 (binomial).
        let bootstrap = Bootstrap { samples: 400, ..Bootstrap::ORDINARY };
        let n_covered = (0..300)
            .filter(|&trial| {
                let mut stream = Stream::new(9, "coverage", &[trial]);
                let mut ranks = Vec::new();
                for _ in 0..60 {
                    let chance = if stream.coin() { 0.2 } else { 0.6 };
                    ranks.extend((0..3).map(|_| if stream.unit() < chance { 1 } else { 2 }));
                }
                let summary = summarise(&with_ranks(&ranks, 3), &bootstrap).unwrap();
                let estimate = summary.get("acc@1").unwrap().clone();
                (estimate.low..=estimate.high).contains(&0.4)
            })
            .count();
        assert!(n_covered >= 270, "{n_covered} of 300");
    }

    #[test]
    fn settings_are_checked() {
        let results = with_ranks(&[1], 1);
        assert!(summarise(&[], &Bootstrap::ORDINARY).is_err());
        assert!(summarise(&results, &Bootstrap { samples: 0, ..Bootstrap::ORDINARY }).is_err());
        assert!(summarise(&results, &Bootstrap { confidence: 1.0, ..Bootstrap::ORDINARY }).is_err());
    }
}
