//! Reports side by side: whether they may be compared, and the files `comparison.csv` and `attribution.csv`.

use std::collections::BTreeSet;
use std::path::Path;

use super::contents::Report;
use super::csv_files::{ATTRIBUTION, COMPARISON, SCHEMA, write_rows};
use super::rows::{AttributionRow, ComparisonRow};
use crate::attribution::Attribution;
use crate::estimate::Bootstrap;
use crate::paired::{Comparison, check_same_questions, compare_all, difference_of_ids};
use crate::result::QueryResult;
use crate::{Error, Result};

/// Compares each report with each later one, by acc@1, on which McNemar's test is, and acc@k at every k of one of them.
///
/// # Errors
/// [`Error::NotComparable`] where they are of different splits, queries, galleries or data, naming what differs.
pub fn compare(reports: &[Report], bootstrap: &Bootstrap) -> Result<Vec<Comparison>> {
    if let Some((first, others)) = reports.split_first() {
        others.iter().try_for_each(|other| check_comparable(first, other))?;
    }
    let results: Vec<&[QueryResult]> = reports.iter().map(|report| report.results.as_slice()).collect();
    let of_reports = reports.iter().flat_map(|report| &report.summary.cutoffs).copied();
    let cutoffs: BTreeSet<usize> = of_reports.chain([1]).collect();
    compare_all(&results, &cutoffs.into_iter().collect::<Vec<_>>(), bootstrap)
}

/// Checks that two reports are of the same split, queries, gallery and data. What can be named is looked at first.
///
/// # Errors
/// [`Error::NotComparable`] with what differs.
pub fn check_comparable(a: &Report, b: &Report) -> Result<()> {
    let refuse = |reason: String| Err(Error::NotComparable { reason });
    let (of_a, of_b) = (&a.provenance, &b.provenance);
    if of_a.split != of_b.split {
        return refuse(format!("their splits differ: '{}' and '{}'", of_a.split, of_b.split));
    }
    check_same_questions(&a.results, &b.results)?;
    if !a.gallery.is_empty() && !b.gallery.is_empty() && a.gallery != b.gallery {
        return refuse(format!("gallery photos {}", difference_of_ids(&a.gallery, &b.gallery)));
    }
    if of_a.dataset_sha256 != of_b.dataset_sha256 {
        return refuse(format!(
            "their data sets differ in what images show, though ids are the same: '{}' and '{}'",
            of_a.dataset_sha256, of_b.dataset_sha256
        ));
    }
    Ok(())
}

/// Writes comparisons of reports to `folder`/`comparison.csv`.
///
/// # Errors
/// [`Error::Core`] where it cannot be written.
pub fn write_comparison(
    folder: &Path,
    reports: &[Report],
    comparisons: &[Comparison],
    bootstrap: &Bootstrap,
) -> Result<()> {
    let rows = comparisons.iter().flat_map(|comparison| {
        let (a, b) = (&reports[comparison.a].provenance, &reports[comparison.b].provenance);
        comparison.differences.iter().map(move |difference| {
            let mcnemar = (difference.metric == "acc@1").then_some(comparison.mcnemar);
            ComparisonRow {
                schema: SCHEMA,
                metric: &difference.estimate.metric,
                value: difference.estimate.value,
                low: difference.estimate.low,
                high: difference.estimate.high,
                n: difference.estimate.n,
                resampled: difference.estimate.resampled.name(),
                n_resampled: difference.estimate.n_resampled,
                confidence: bootstrap.confidence,
                samples: bootstrap.samples,
                seed: bootstrap.seed,
                permutation_p_value: difference.p_value,
                permutation_p_holm: difference.p_holm,
                n_only_a: mcnemar.map(|test| test.n_only_a),
                n_only_b: mcnemar.map(|test| test.n_only_b),
                mcnemar_p_value: mcnemar.map(|test| test.p_value),
                mcnemar_p_holm: mcnemar.map(|test| test.p_holm),
                n_comparisons: comparisons.len(),
                split: &a.split,
                model_a: &a.model,
                model_a_sha256: &a.model_sha256,
                model_b: &b.model,
                model_b_sha256: &b.model_sha256,
                dataset_sha256: &a.dataset_sha256,
                tool: &b.tool,
            }
        })
    });
    write_rows(&folder.join(COMPARISON), rows)
}

/// Writes who is to blame for wrong retrievals to `folder`/`attribution.csv`.
///
/// # Errors
/// [`Error::Core`] where it cannot be written.
pub fn write_attribution(
    folder: &Path,
    baseline: &Report,
    model: &Report,
    attributions: &[Attribution],
) -> Result<()> {
    let rows = attributions.iter().map(|one| AttributionRow {
        schema: SCHEMA,
        baseline: &baseline.provenance.model,
        model: &model.provenance.model,
        query_id: &one.query_id,
        rank: one.rank,
        baseline_rank: one.baseline_rank,
        smoothness: one.closeness.smoothness,
        fidelity: one.closeness.fidelity,
        baseline_smoothness: one.baseline_smoothness,
        is_mixed: one.is_mixed,
        blame: one.blame.name(),
        baseline_sha256: &baseline.provenance.model_sha256,
        model_sha256: &model.provenance.model_sha256,
        dataset_sha256: &model.provenance.dataset_sha256,
    });
    write_rows(&folder.join(ATTRIBUTION), rows)
}
