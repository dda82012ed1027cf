//! Figures over all queries, each with its n and an interval.

use std::collections::BTreeMap;

use crate::accuracy::QueryResult;
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

/// Figures over all queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// acc@k, MRR, mean average precision where a query has several matches, mean and median of rank and of rank
    /// percentile, and the area under the curve of acc@k.
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

/// The cut-offs of acc@k that a summary holds where none are asked for.
pub const ACCURACY_CUTOFFS: [usize; 3] = [1, 5, 10];

/// Summarises results with the cut-offs [`ACCURACY_CUTOFFS`].
///
/// # Errors
/// Those of [`summarise_at`].
pub fn summarise(results: &[QueryResult], bootstrap: &Bootstrap) -> Result<Summary> {
    summarise_at(results, &ACCURACY_CUTOFFS, bootstrap)
}

/// Summarises results.
///
/// Accuracies with one query a photo get Wilson's interval; all else the percentile bootstrap over photos.
///
/// - `acc@k`: the share of queries whose first match is among the first k.
/// - `mrr`: the mean of 1 / rank.
/// - `map`: the mean of average precision, where some query has several matches (else it equals `mrr`).
/// - `mean_rank`, `median_rank`: from 1.
/// - `mean_rank_percentile`, `median_rank_percentile`: see [`QueryResult::rank_percentile`].
/// - `acc@k_area`: the mean of acc@k over k from 1 to the gallery's size.
///
/// # Errors
/// [`Error::Empty`] without results; [`Error::OutOfRange`] on settings of the bootstrap or a cut-off of 0.
pub fn summarise_at(results: &[QueryResult], cutoffs: &[usize], bootstrap: &Bootstrap) -> Result<Summary> {
    bootstrap.check()?;
    if cutoffs.contains(&0) {
        return Err(Error::OutOfRange { what: "k of acc@k", value: "0".into(), expected: "at least 1" });
    }
    let Some(first) = results.first() else {
        return Err(Error::Empty { what: "query" });
    };
    let groups = Groups::by_photo(results);
    let n = results.len();
    let mut estimates: Vec<Estimate> =
        cutoffs.iter().map(|&k| accuracy(results, k, &groups, bootstrap)).collect();
    let ranks: Vec<f64> = results.iter().map(|result| result.rank as f64).collect();
    let percentiles: Vec<f64> = results.iter().map(QueryResult::rank_percentile).collect();
    let mut add = |metric: &str, value: f64, (low, high): (f64, f64)| {
        let interval = IntervalMethod::PercentileBootstrap;
        let (n_resampled, resampled) = (groups.len(), groups.resampled());
        estimates.push(Estimate {
            metric: metric.to_owned(),
            value,
            low,
            high,
            n,
            n_resampled,
            resampled,
            interval,
        });
    };
    let mut means: Vec<(&str, Vec<f64>)> = vec![("mrr", ranks.iter().map(|rank| 1.0 / rank).collect())];
    if results.iter().any(|result| result.n_matches > 1) {
        means.push(("map", results.iter().map(|result| result.average_precision).collect()));
    }
    means.push(("mean_rank", ranks.clone()));
    means.push(("mean_rank_percentile", percentiles.clone()));
    means.push(("acc@k_area", results.iter().map(QueryResult::area_under_accuracy).collect()));
    for (metric, values) in means {
        let interval = groups.mean_interval(bootstrap, metric, &values);
        add(metric, values.iter().sum::<f64>() / n as f64, interval);
    }
    for (metric, values) in [("median_rank", &ranks), ("median_rank_percentile", &percentiles)] {
        let interval = groups.percentile_interval(bootstrap, metric, |indices| {
            median(indices.iter().map(|&index| values[index]).collect())
        });
        add(metric, median(values.clone()), interval);
    }
    Ok(Summary {
        estimates,
        n_queries: n,
        n_photos: groups.len(),
        n_gallery: first.n_gallery,
        bootstrap: *bootstrap,
    })
}

fn accuracy(results: &[QueryResult], k: usize, groups: &Groups, bootstrap: &Bootstrap) -> Estimate {
    let values: Vec<f64> = results.iter().map(|result| f64::from(u8::from(result.rank <= k))).collect();
    share(format!("acc@{k}"), &values, groups, groups.resampled(), bootstrap)
}

/// A share of values that are each 0 or 1, with Wilson's interval where each value is a group of its own, and where
/// all are alike, so that no resample differs: then a group counts once.
pub(crate) fn share(
    metric: String,
    values: &[f64],
    groups: &Groups,
    resampled: Resampled,
    bootstrap: &Bootstrap,
) -> Estimate {
    let n = values.len();
    let value = values.iter().sum::<f64>() / n as f64;
    let is_degenerate = value <= 0.0 || value >= 1.0;
    let ((low, high), interval) = if groups.is_clustered() && !is_degenerate {
        (groups.mean_interval(bootstrap, &metric, values), IntervalMethod::PercentileBootstrap)
    } else {
        let n_independent = groups.len() as f64;
        let interval = wilson_interval(value * n_independent, n_independent, bootstrap.confidence);
        (interval, IntervalMethod::Wilson)
    };
    Estimate { metric, value, low, high, n, n_resampled: groups.len(), resampled, interval }
}

/// Figures over the queries of one label.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSummary {
    /// What is labelled: `category`, `style`, ...
    pub column: String,
    /// The label.
    pub label: String,
    /// The figures.
    pub summary: Summary,
}

/// Summarises the queries of each label by themselves, in order of the labels. The gallery stays whole.
///
/// # Errors
/// [`Error::NoLabel`] where a query has none: nothing is left out; those of [`summarise_at`].
pub fn summarise_by(
    results: &[QueryResult],
    column: &str,
    labels: &BTreeMap<String, String>,
    cutoffs: &[usize],
    bootstrap: &Bootstrap,
) -> Result<Vec<LabelSummary>> {
    let mut by_label: BTreeMap<&str, Vec<QueryResult>> = BTreeMap::new();
    for result in results {
        let label = labels
            .get(&result.query_id)
            .ok_or_else(|| Error::NoLabel { query: result.query_id.clone(), column: column.to_owned() })?;
        by_label.entry(label).or_default().push(result.clone());
    }
    by_label
        .into_iter()
        .map(|(label, results)| {
            let summary = summarise_at(&results, cutoffs, bootstrap)?;
            Ok(LabelSummary { column: column.to_owned(), label: label.to_owned(), summary })
        })
        .collect()
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
            n_matches: 1,
            average_precision: 1.0 / rank as f64,
            closeness: None,
        };
        ranks.iter().enumerate().map(result).collect()
    }

    #[test]
    fn figures_by_hand() {
        let summary = summarise(&with_ranks(&[1, 2, 4, 20], 1), &Bootstrap::default()).unwrap();
        let value = |metric| summary.get(metric).unwrap().value;
        assert_eq!([value("acc@1"), value("acc@5"), value("acc@10")], [0.25, 0.75, 0.75]);
        assert_eq!(value("mrr"), (1.0 + 0.5 + 0.25 + 0.05) / 4.0);
        assert_eq!([value("mean_rank"), value("median_rank")], [6.75, 3.0]);
        // Of a gallery of 1,000: the mean of (1000 - rank) / 999 and of (1001 - rank) / 1000.
        assert!((value("mean_rank_percentile") - 993.25 / 999.0).abs() < 1e-12);
        assert!((value("median_rank_percentile") - 997.0 / 999.0).abs() < 1e-12);
        assert!((value("acc@k_area") - 994.25 / 1000.0).abs() < 1e-12);
        assert!(summary.get("map").is_none());
        for estimate in &summary.estimates {
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{estimate:?}");
            assert_eq!(estimate.n, 4);
        }
    }

    #[test]
    fn several_matches_have_a_mean_average_precision() {
        let mut results = with_ranks(&[1, 2], 1);
        (results[0].n_matches, results[0].average_precision) = (2, 0.75);
        let summary = summarise_at(&results, &[3], &Bootstrap::default()).unwrap();
        assert_eq!(summary.get("map").unwrap().value, 0.625);
        assert_eq!((summary.get("acc@3").unwrap().value, summary.get("acc@1")), (1.0, None));
        assert!(summarise_at(&results, &[0], &Bootstrap::default()).is_err());
    }

    #[test]
    fn labels_part_the_queries_and_none_is_left_out() {
        let results = with_ranks(&[1, 2, 1], 1);
        let labels: BTreeMap<String, String> = [("q00000", "boot"), ("q00001", "boot"), ("q00002", "sandal")]
            .map(|(query, label)| (query.to_owned(), label.to_owned()))
            .into();
        let by = |labels| summarise_by(&results, "category", labels, &[1], &Bootstrap::default());
        let parts = by(&labels).unwrap();
        let found: Vec<_> = parts
            .iter()
            .map(|part| {
                (part.label.as_str(), part.summary.n_queries, part.summary.get("acc@1").unwrap().value)
            })
            .collect();
        assert_eq!(found, [("boot", 2, 0.5), ("sandal", 1, 1.0)]);
        let fewer = labels.clone().into_iter().take(2).collect();
        let message = by(&fewer).unwrap_err().to_string();
        assert!(message.contains("'q00002'") && message.contains("'category'"), "{message}");
    }

    #[test]
    fn no_success_is_not_certain_failure() {
        let summary = summarise(&with_ranks(&[5; 50], 1), &Bootstrap::default()).unwrap();
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
            let summary = summarise(&with_ranks(&ranks, n_sketches), &Bootstrap::default()).unwrap();
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
        let bootstrap = Bootstrap { samples: 400, ..Bootstrap::default() };
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
        assert!(summarise(&[], &Bootstrap::default()).is_err());
        assert!(summarise(&results, &Bootstrap { samples: 0, ..Bootstrap::default() }).is_err());
        assert!(summarise(&results, &Bootstrap { confidence: 1.0, ..Bootstrap::default() }).is_err());
    }
}
