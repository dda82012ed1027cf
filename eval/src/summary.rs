//! Figures over all queries, each with its n and an interval.

use std::collections::BTreeMap;

use crate::bootstrap::Groups;
use crate::estimate::{Bootstrap, Estimate};
use crate::metrics::{METRICS, Over};
use crate::result::QueryResult;
use crate::{Error, Result};

/// Figures over all queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The figures over queries, in the order of [`METRICS`].
    pub estimates: Vec<Estimate>,
    /// The k of acc@k among them.
    pub cutoffs: Vec<usize>,
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

/// Summarises results by every metric of [`METRICS`] that is over queries, but for those in a reference network.
/// Accuracies with one query a photo get Wilson's interval; all else the percentile bootstrap over photos.
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
    let values = |of: fn(&QueryResult) -> f64| results.iter().map(of).collect::<Vec<f64>>();
    let mut estimates = Vec::new();
    for metric in &METRICS {
        match metric.over {
            Over::ShareAt(of) => estimates.extend(cutoffs.iter().map(|&k| {
                let values: Vec<f64> =
                    results.iter().map(|result| f64::from(u8::from(of(result, k)))).collect();
                groups.share(bootstrap, format!("acc@{k}"), &values, groups.resampled())
            })),
            Over::MeanOfSeveral(_) if results.iter().all(|result| result.n_matches < 2) => {}
            Over::Mean(of) | Over::MeanOfSeveral(of) => {
                estimates.push(groups.mean_estimate(bootstrap, metric.name, &values(of)));
            }
            Over::Median(of) => {
                estimates.push(groups.median_estimate(bootstrap, metric.name, &values(of)));
            }
            Over::MeanInReference(_) | Over::Other => {}
        }
    }
    Ok(Summary {
        estimates,
        cutoffs: cutoffs.to_vec(),
        n_queries: results.len(),
        n_photos: groups.len(),
        n_gallery: first.n_gallery,
        bootstrap: *bootstrap,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;
    use sketchfind_core::random::Stream;

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
