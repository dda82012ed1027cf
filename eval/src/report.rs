//! An evaluation as files in one folder: `queries.csv`, `summary.csv`, `gallery.csv` and `report.html`, and what else was
//! measured: `neighbours.csv` and `anchors.csv`, `early.csv`, `robustness.csv`. Comparisons of reports are written as
//! `comparison.csv` and `attribution.csv`.
//!
//! In every CSV, header and row come from one struct; what is unknown is empty. `docs/report-files.md` has the columns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sketchfind_core::atomic;

use crate::attribution::Attribution;
use crate::closeness::{closeness, summarise_closeness};
use crate::early::EarlyRetrieval;
use crate::estimate::{Bootstrap, Estimate};
use crate::human::HumanAgreement;
use crate::map::EmbeddingMap;
use crate::metrics::cutoff_of;
use crate::neighbours::{Neighbourhood, Space};
use crate::paired::{Comparison, compare_all};
use crate::result::{Closeness, QueryResult};
use crate::robustness::Robustness;
use crate::summary::{ACCURACY_CUTOFFS, LabelSummary, Summary, summarise_at};
use crate::{Error, Result};

mod html;
mod neighbours;
mod rows;

pub use html::pictured;
pub use neighbours::{check_neighbours_free, write_neighbours};
use rows::{
    AttributionRow, ComparisonRow, EarlyRow, FigureRow, GalleryRow, QueryRow, RobustnessRow, SummaryRow,
};

/// One row a query, sorted by id.
pub const QUERIES: &str = "queries.csv";
/// One row a figure.
pub const SUMMARY: &str = "summary.csv";
/// One row a photo that was ranked.
pub const GALLERY: &str = "gallery.csv";
/// All for people.
pub const HTML: &str = "report.html";
/// One row a neighbourhood-ranking statistic.
pub const NEIGHBOURS: &str = "neighbours.csv";
/// One row an anchor of these statistics.
pub const ANCHORS: &str = "anchors.csv";
/// One row a step of on-the-fly retrieval.
pub const EARLY: &str = "early.csv";
/// One row a change of sketches.
pub const ROBUSTNESS: &str = "robustness.csv";
/// One row a figure of a comparison of two reports.
pub const COMPARISON: &str = "comparison.csv";
/// One row a wrong retrieval, and who is to blame.
pub const ATTRIBUTION: &str = "attribution.csv";
/// The version of the files' columns. Files of version 1, which knew one match a query, are still read.
pub const SCHEMA: u32 = 2;
const OLDEST_SCHEMA: u32 = 1;

/// Which model, data and tool a report comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    /// The program and its version.
    pub tool: String,
    /// The model's name, for people.
    pub model: String,
    /// SHA-256 of the model's network file.
    pub model_sha256: String,
    /// The data set's fingerprint.
    pub dataset_sha256: String,
    /// The split that was evaluated.
    pub split: String,
    /// The distance.
    pub distance: String,
}

/// The fixed photo network that closeness and neighbourhoods are measured in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// Its name, for people.
    pub model: String,
    /// SHA-256 of its network file.
    pub model_sha256: String,
}

/// An evaluation: per-query results, their summary, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    provenance: Provenance,
    results: Vec<QueryResult>,
    summary: Summary,
    /// Empty where it is not known.
    gallery: Vec<String>,
    reference: Option<Reference>,
}

/// A small picture for the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The bytes of a JPEG file.
    pub jpeg: Vec<u8>,
    /// Its width and height in pixels.
    pub size: [u32; 2],
}

/// What a report holds beside its results and their summary.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Figures by label.
    pub labels: Vec<LabelSummary>,
    /// Neighbourhood-ranking statistics.
    pub neighbours: Option<Neighbourhood>,
    /// Agreement with people.
    pub human: Option<HumanAgreement>,
    /// On-the-fly retrieval.
    pub early: Option<EarlyRetrieval>,
    /// Robustness to changed sketches.
    pub robustness: Vec<Robustness>,
    /// The embedding map.
    pub map: Option<EmbeddingMap>,
    /// Another model's report on the same queries, for a comparison side by side.
    pub against: Option<Report>,
    /// Pictures by the ids of sketches and photos; [`pictured`] says which ids the page shows.
    pub pictures: BTreeMap<String, Picture>,
}

impl Extras {
    /// Figures that have a row of `summary.csv` beside the summary's own.
    fn estimates(&self) -> impl Iterator<Item = &Estimate> {
        let human = self.human.iter().map(|human| &human.agreement);
        let early = self.early.iter().flat_map(|early| &early.areas);
        let robustness = self.robustness.iter().flat_map(|change| [&change.acc1, &change.drop]);
        human.chain(early).chain(robustness)
    }
}

impl Report {
    /// A report on `results`, summarised with `bootstrap`.
    ///
    /// # Errors
    /// Those of [`crate::summarise`].
    pub fn new(provenance: Provenance, results: Vec<QueryResult>, bootstrap: &Bootstrap) -> Result<Report> {
        Report::at(provenance, results, &ACCURACY_CUTOFFS, bootstrap)
    }

    /// A report on `results` with acc@k at the given k.
    ///
    /// # Errors
    /// Those of [`summarise_at`].
    pub fn at(
        provenance: Provenance,
        results: Vec<QueryResult>,
        cutoffs: &[usize],
        bootstrap: &Bootstrap,
    ) -> Result<Report> {
        let summary = summarise_at(&results, cutoffs, bootstrap)?;
        Ok(Report { provenance, results, summary, gallery: Vec::new(), reference: None })
    }

    /// Adds the ids of the photos that were ranked, so that a comparison can tell galleries apart.
    ///
    /// # Errors
    /// [`Error::NotComparable`] where they are not as many as were ranked.
    pub fn with_gallery(mut self, ids: &[String]) -> Result<Report> {
        if self.summary.n_gallery != ids.len() {
            let reason = format!("{} photos were ranked, {} are named", self.summary.n_gallery, ids.len());
            return Err(Error::NotComparable { reason });
        }
        self.gallery = ids.to_vec();
        Ok(self)
    }

    /// Adds smoothness and fidelity of each query in a reference space.
    ///
    /// # Errors
    /// Those of [`closeness`].
    pub fn with_reference(mut self, reference: Reference, space: Space<'_>) -> Result<Report> {
        let found = closeness(&self.results, space.photos, space.distance)?;
        for (result, closeness) in self.results.iter_mut().zip(found) {
            result.closeness = Some(closeness);
        }
        self.reference = Some(reference);
        Ok(self)
    }

    /// Where it comes from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// One result a query.
    pub fn results(&self) -> &[QueryResult] {
        &self.results
    }

    /// The figures.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The fixed photo network, where one was asked.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// The means of smoothness and fidelity, where a reference was asked.
    pub fn closeness(&self) -> Vec<Estimate> {
        summarise_closeness(&self.results, &self.summary.bootstrap)
    }

    /// Writes the report as a folder, atomically. An existing report there is replaced, any other folder is not.
    ///
    /// # Errors
    /// [`Error::Core`] where the folder cannot be written, [`Error::ReportFile`] where something else is there.
    pub fn write(&self, folder: &Path) -> Result<()> {
        self.write_with(folder, &Extras::default(), |_| Ok(()))
    }

    /// Writes the report with more that was measured; `more` may add files of its own to the folder.
    ///
    /// # Errors
    /// Those of [`Report::write`] and of `more`.
    pub fn write_with(
        &self,
        folder: &Path,
        extras: &Extras,
        more: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        check_free(folder)?;
        atomic::write_folder(folder, |new| {
            write_rows(&new.join(QUERIES), self.query_rows())?;
            write_rows(&new.join(SUMMARY), self.summary_rows(extras))?;
            if !self.gallery.is_empty() {
                let row = |id: &String| GalleryRow {
                    schema: SCHEMA,
                    photo_id: id.clone(),
                    split: self.provenance.split.clone(),
                    dataset_sha256: self.provenance.dataset_sha256.clone(),
                };
                write_rows(&new.join(GALLERY), self.gallery.iter().map(row))?;
            }
            if let Some(found) = &extras.neighbours {
                let reference = self.reference.clone().unwrap_or_default();
                neighbours::write_into(new, &self.provenance, &reference, found)?;
            }
            if let Some(early) = &extras.early {
                write_rows(&new.join(EARLY), self.early_rows(early))?;
            }
            if !extras.robustness.is_empty() {
                write_rows(&new.join(ROBUSTNESS), self.robustness_rows(&extras.robustness))?;
            }
            atomic::write_bytes(&new.join(HTML), html::page(self, extras).as_bytes())?;
            more(new)
        })
    }

    /// Reads a report's `queries.csv` and `gallery.csv` and summarises it anew, with acc@k at the k of its `summary.csv`.
    ///
    /// # Errors
    /// [`Error::ReportFile`] where it is no such file or rows contradict each other; those of [`crate::summarise`].
    pub fn read(folder: &Path, bootstrap: &Bootstrap) -> Result<Report> {
        let path = folder.join(QUERIES);
        let mut provenance: Option<(Provenance, Reference)> = None;
        let mut results = Vec::new();
        for row in read_rows::<QueryRow>(&path)? {
            if row.n_matches == 0 {
                return Err(Error::report_file(&path, format!("'{}' has no match", row.query_id)));
            }
            if row.rank == 0 || row.rank > row.n_gallery {
                let reason = format!("'{}' has the rank {} of {}", row.query_id, row.rank, row.n_gallery);
                return Err(Error::report_file(&path, reason));
            }
            let of_row = (
                Provenance {
                    tool: row.tool,
                    model: row.model,
                    model_sha256: row.model_sha256,
                    dataset_sha256: row.dataset_sha256,
                    split: row.split,
                    distance: row.distance,
                },
                Reference { model: row.reference, model_sha256: row.reference_sha256 },
            );
            if provenance.get_or_insert_with(|| of_row.clone()) != &of_row {
                let reason = format!("'{}' is of another model, data set or split", row.query_id);
                return Err(Error::report_file(&path, reason));
            }
            let mut top = split_ids(&row.top);
            if let Some(first) = top.first_mut() {
                *first = row.first_id;
            }
            results.push(QueryResult {
                query_id: row.query_id,
                truth_id: row.truth_id,
                n_matches: row.n_matches,
                rank: row.rank,
                n_tied: row.n_tied,
                average_precision: row.average_precision.unwrap_or(1.0 / row.rank as f64),
                truth_distance: row.truth_distance,
                first_distance: row.first_distance,
                top,
                n_gallery: row.n_gallery,
                closeness: row
                    .smoothness
                    .zip(row.fidelity)
                    .map(|(smoothness, fidelity)| Closeness { smoothness, fidelity }),
            });
        }
        let (provenance, reference) =
            provenance.ok_or_else(|| Error::report_file(&path, "it holds no query"))?;
        let mut report = Report::at(provenance, results, &read_cutoffs(&folder.join(SUMMARY))?, bootstrap)?;
        report.reference = (reference != Reference::default()).then_some(reference);
        let path = folder.join(GALLERY);
        if path.is_file() {
            let ids: Vec<String> =
                read_rows::<GalleryRow>(&path)?.into_iter().map(|row| row.photo_id).collect();
            report = report.with_gallery(&ids).map_err(|e| Error::report_file(&path, e))?;
        }
        Ok(report)
    }

    fn query_rows(&self) -> impl Iterator<Item = QueryRow> {
        let (provenance, reference) = (&self.provenance, self.reference.clone().unwrap_or_default());
        self.results.iter().map(move |result| QueryRow {
            schema: SCHEMA,
            query_id: result.query_id.clone(),
            truth_id: result.truth_id.clone(),
            n_matches: result.n_matches,
            rank: result.rank,
            n_tied: result.n_tied,
            average_precision: Some(result.average_precision),
            truth_distance: result.truth_distance,
            first_id: result.top.first().cloned().unwrap_or_default(),
            first_distance: result.first_distance,
            top: join_ids(&result.top),
            smoothness: result.closeness.map(|closeness| closeness.smoothness),
            fidelity: result.closeness.map(|closeness| closeness.fidelity),
            n_gallery: result.n_gallery,
            split: provenance.split.clone(),
            distance: provenance.distance.clone(),
            model: provenance.model.clone(),
            model_sha256: provenance.model_sha256.clone(),
            reference: reference.model.clone(),
            reference_sha256: reference.model_sha256.clone(),
            dataset_sha256: provenance.dataset_sha256.clone(),
            tool: provenance.tool.clone(),
        })
    }

    fn summary_rows(&self, extras: &Extras) -> Vec<SummaryRow<'_>> {
        let row = |estimate: &Estimate, summary: &Summary, label_column: &str, label: &str| SummaryRow {
            schema: SCHEMA,
            metric: estimate.metric.clone(),
            value: estimate.value,
            low: estimate.low,
            high: estimate.high,
            n: estimate.n,
            n_photos: summary.n_photos,
            n_gallery: summary.n_gallery,
            interval: estimate.interval.name(),
            resampled: estimate.resampled.name(),
            n_resampled: estimate.n_resampled,
            confidence: summary.bootstrap.confidence,
            samples: summary.bootstrap.samples,
            seed: summary.bootstrap.seed,
            ties: "count against the model",
            label_column: label_column.to_owned(),
            label: label.to_owned(),
            split: &self.provenance.split,
            distance: &self.provenance.distance,
            model: &self.provenance.model,
            model_sha256: &self.provenance.model_sha256,
            reference: self.reference.as_ref().map_or("", |reference| &reference.model),
            reference_sha256: self.reference.as_ref().map_or("", |reference| &reference.model_sha256),
            dataset_sha256: &self.provenance.dataset_sha256,
            tool: &self.provenance.tool,
        };
        let closeness = self.closeness();
        let over_all = self.summary.estimates.iter().chain(&closeness).chain(extras.estimates());
        let mut rows: Vec<SummaryRow<'_>> =
            over_all.map(|estimate| row(estimate, &self.summary, "", "")).collect();
        for part in &extras.labels {
            let estimates = part.summary.estimates.iter();
            rows.extend(estimates.map(|estimate| row(estimate, &part.summary, &part.column, &part.label)));
        }
        rows
    }

    fn robustness_rows<'a>(&'a self, changes: &'a [Robustness]) -> impl Iterator<Item = RobustnessRow<'a>> {
        let bootstrap = &self.summary.bootstrap;
        changes.iter().map(move |one| RobustnessRow {
            schema: SCHEMA,
            change: &one.change,
            n_versions: one.n_versions,
            acc_1: one.acc1.value,
            acc_1_low: one.acc1.low,
            acc_1_high: one.acc1.high,
            drop: one.drop.value,
            drop_low: one.drop.low,
            drop_high: one.drop.high,
            n: one.drop.n,
            resampled: one.drop.resampled.name(),
            n_resampled: one.drop.n_resampled,
            confidence: bootstrap.confidence,
            samples: bootstrap.samples,
            seed: bootstrap.seed,
            model_sha256: &self.provenance.model_sha256,
            dataset_sha256: &self.provenance.dataset_sha256,
            split: &self.provenance.split,
        })
    }

    fn early_rows<'a>(&'a self, early: &'a EarlyRetrieval) -> impl Iterator<Item = EarlyRow<'a>> {
        let n = early.areas.first().map_or(0, |area| area.n);
        early.steps.iter().map(move |step| EarlyRow {
            schema: SCHEMA,
            share: step.share,
            acc_1: step.acc1,
            acc_5: step.acc5,
            acc_10: step.acc10,
            rank_percentile: step.rank_percentile,
            reciprocal_rank: step.reciprocal_rank,
            n,
            model_sha256: &self.provenance.model_sha256,
            dataset_sha256: &self.provenance.dataset_sha256,
            split: &self.provenance.split,
        })
    }
}

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

/// Whether a report may be written to `folder`: nothing is there, or an empty folder, or another report.
///
/// # Errors
/// [`Error::ReportFile`] where something else is there; [`Error::Core`] where it cannot be looked at.
pub fn check_free(folder: &Path) -> Result<()> {
    if atomic::is_free_for(folder, QUERIES)? {
        Ok(())
    } else {
        Err(Error::report_file(folder, "is there and is no report; it is left as it is"))
    }
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
    crate::paired::check_same_questions(&a.results, &b.results)?;
    if !a.gallery.is_empty() && !b.gallery.is_empty() && a.gallery != b.gallery {
        return refuse(format!(
            "gallery photos {}",
            crate::paired::difference_of_ids(&a.gallery, &b.gallery)
        ));
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

/// A figure that no anchor has a value for is unknown.
fn known(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

fn write_rows<R: Serialize>(path: &Path, rows: impl IntoIterator<Item = R>) -> Result<()> {
    atomic::write_file(path, |out| {
        let mut writer = csv::Writer::from_writer(out);
        for row in rows {
            writer.serialize(row).map_err(|e| Error::report_file(path, e))?;
        }
        writer.flush().map_err(|e| Error::report_file(path, e))
    })
}

/// Reads rows whose first column is the schema. It is looked at before the others, so that another version is called
/// that and not malformed.
fn read_rows<R: for<'de> Deserialize<'de>>(path: &Path) -> Result<Vec<R>> {
    let broken = |e: &dyn std::fmt::Display| Error::report_file(path, e);
    let mut reader = csv::Reader::from_path(path).map_err(|e| broken(&e))?;
    let headers = reader.headers().map_err(|e| broken(&e))?.clone();
    if headers.get(0) != Some("schema") {
        return Err(broken(&"its first column is not 'schema'"));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| broken(&e))?;
        let schema = record.get(0).unwrap_or_default();
        if !schema.parse::<u32>().is_ok_and(|schema| (OLDEST_SCHEMA..=SCHEMA).contains(&schema)) {
            let expected = format!("expected {OLDEST_SCHEMA} to {SCHEMA}");
            return Err(broken(&format!("its schema is '{schema}', {expected}")));
        }
        rows.push(record.deserialize(Some(&headers)).map_err(|e| broken(&e))?);
    }
    Ok(rows)
}

/// The k of acc@k over all queries; the usual ones where the file is gone.
fn read_cutoffs(path: &Path) -> Result<Vec<usize>> {
    if !path.is_file() {
        return Ok(ACCURACY_CUTOFFS.to_vec());
    }
    let rows = read_rows::<FigureRow>(path)?.into_iter();
    Ok(rows.filter(|row| row.label_column.is_empty()).filter_map(|row| cutoff_of(&row.metric)).collect())
}

/// Joins ids by `|`, escaped where they hold one.
fn join_ids(ids: &[String]) -> String {
    let escaped: Vec<String> = ids.iter().map(|id| id.replace('\\', "\\\\").replace('|', "\\|")).collect();
    escaped.join("|")
}

fn split_ids(joined: &str) -> Vec<String> {
    let mut ids = vec![String::new()];
    let mut characters = joined.chars();
    while let Some(character) = characters.next() {
        let (is_end, character) = match character {
            '|' => (true, '|'),
            '\\' => (false, characters.next().unwrap_or('\\')),
            other => (false, other),
        };
        if is_end {
            ids.push(String::new());
        } else if let Some(id) = ids.last_mut() {
            id.push(character);
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;

    pub(super) fn report(ranks: &[usize]) -> Report {
        let provenance = Provenance {
            tool: "sketchfind 0.1.0".into(),
            model: "a <model> & \"more\"".into(),
            model_sha256: "aa".into(),
            dataset_sha256: "bb".into(),
            split: "test".into(),
            distance: "mse".into(),
        };
        Report::new(provenance, with_ranks(ranks, 1), &Bootstrap::default()).unwrap()
    }

    #[test]
    fn files_come_back_as_they_were() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("report");
        let original = report(&[1, 3, 2, 500]);
        original.write(&folder).unwrap();
        original.write(&folder).unwrap();
        assert_eq!(Report::read(&folder, &Bootstrap::default()).unwrap(), original);
        let summary = std::fs::read_to_string(folder.join(SUMMARY)).unwrap();
        assert!(summary.starts_with(
            "schema,metric,value,low,high,n,n_photos,n_gallery,interval,resampled,n_resampled,confidence,samples,seed,\
             ties,label_column,"
        ));
        assert_eq!(summary.lines().count(), 10);
        assert!(summary.contains("acc@1,0.25,"));
    }

    #[test]
    fn another_folder_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
        assert!(report(&[1]).write(folder.path()).is_err());
        assert!(folder.path().join("thesis.tex").is_file());
    }

    #[test]
    fn damaged_files_are_named() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("report");
        report(&[1, 2]).write(&folder).unwrap();
        let path = folder.join(QUERIES);
        let whole = std::fs::read_to_string(&path).unwrap();
        for damaged in [
            String::new(),
            whole.lines().next().unwrap().to_owned(),
            whole.replace(",g00000,1,1,", ",g00000,0,1,"),
            whole.replace(",g00000,1,1,", ",g00000,1,0,"),
            whole.replacen("2,q00000", "9,q00000", 1),
            whole.replacen(",bb,", ",cc,", 1),
        ] {
            std::fs::write(&path, damaged).unwrap();
            let message = Report::read(&folder, &Bootstrap::default()).unwrap_err().to_string();
            assert!(message.contains(QUERIES), "{message}");
        }
    }

    #[test]
    fn files_of_the_first_schema_are_read_and_newer_ones_are_not() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("report");
        let original = report(&[1, 3]);
        original.write(&folder).unwrap();
        let path = folder.join(QUERIES);
        let header = "schema,query_id,truth_id,rank,n_tied,truth_distance,first_id,first_distance,top,n_gallery,split,\
                      distance,model,model_sha256,dataset_sha256,tool\n";
        let row = |query: &str, photo: &str, rank: usize| {
            format!(
                "1,{query},{photo},{rank},0,1.0,g00000,0.5,g00000,1000,test,mse,\"a <model> & \"\"more\"\"\",aa,bb,\
                 sketchfind 0.1.0\n"
            )
        };
        let old = format!("{header}{}{}", row("q00000", "g00000", 1), row("q00001", "g00001", 3));
        std::fs::write(&path, &old).unwrap();
        assert_eq!(Report::read(&folder, &Bootstrap::default()).unwrap(), original);
        std::fs::write(&path, old.replace("\n1,", "\n3,")).unwrap();
        let message = Report::read(&folder, &Bootstrap::default()).unwrap_err().to_string();
        assert!(message.contains("schema is '3', expected 1 to 2"), "{message}");
    }

    #[test]
    fn ids_that_hold_bars_come_back() {
        let ids: Vec<String> = ["a|b", "c\\", "|", "d"].map(str::to_owned).into();
        assert_eq!(split_ids(&join_ids(&ids)), ids);
    }

    #[test]
    fn all_that_was_measured_has_its_file() {
        use sketchfind_core::distance::Distance;
        use sketchfind_core::embeddings::Embeddings;
        let n = 12;
        let mut original = report(&vec![1; n]);
        let ids: Vec<String> = (0..n).map(|i| format!("g{i:05}")).collect();
        for result in &mut original.results {
            (result.n_gallery, result.top) = (n, ids[..10].to_vec());
        }
        original = Report::new(original.provenance, original.results, &Bootstrap::default()).unwrap();
        let space = Embeddings::new(ids.clone(), 1, (0..n).map(|i| (1 << i) as f32).collect()).unwrap();
        let space = Space { photos: &space, distance: Distance::Mse };
        let reference = Reference { model: "resnet50".into(), model_sha256: "cc".into() };
        let original = original.with_gallery(&ids).unwrap().with_reference(reference, space).unwrap();
        assert!(original.clone().with_gallery(&ids[1..]).is_err());
        let bootstrap = Bootstrap { samples: 50, ..Bootstrap::default() };
        let steps = [original.results.clone()];
        let extras = Extras {
            neighbours: Some(
                crate::neighbours::neighbourhood(space, space, None, &bootstrap, &|_| (), &|| false).unwrap(),
            ),
            early: Some(crate::early::early_retrieval(&steps, &bootstrap).unwrap()),
            robustness: crate::robustness::robustness(
                &original.results,
                &[crate::robustness::Changed { change: "rotation".into(), versions: steps.into() }],
                &bootstrap,
            )
            .unwrap(),
            ..Extras::default()
        };
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("report");
        original.write_with(&folder, &extras, |_| Ok(())).unwrap();
        assert_eq!(Report::read(&folder, &Bootstrap::default()).unwrap(), original);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(read(NEIGHBOURS).contains("triplet_agreement,photo,1.0,1.0,1.0,12,0,12,660,660,0,"));
        assert_eq!(read(ANCHORS).lines().count(), 1 + n);
        assert!(read(EARLY).contains("2,1.0,1.0,1.0,1.0,1.0,1.0,12,aa,bb,test"));
        assert!(read(ROBUSTNESS).contains("2,rotation,1,1.0,"));
        assert!(
            read(SUMMARY).contains("smoothness@10,") && read(SUMMARY).contains("acc@1_drop_rotation,0.0,")
        );
        assert_eq!(read(GALLERY).lines().count(), 1 + n);
    }

    #[test]
    fn reports_keep_their_k_and_are_compared_at_all_of_them() {
        let parent = tempfile::tempdir().unwrap();
        let read = |name: &str, cutoffs: &[usize]| {
            let one = report(&[1, 2, 30]);
            let one = Report::at(one.provenance, one.results, cutoffs, &Bootstrap::default()).unwrap();
            one.write(&parent.path().join(name)).unwrap();
            Report::read(&parent.path().join(name), &Bootstrap::default()).unwrap()
        };
        let reports = [read("a", &[20, 3]), read("b", &[50])];
        assert_eq!(reports[0].summary.cutoffs, [20, 3]);
        let comparisons = compare(&reports, &Bootstrap::default()).unwrap();
        let metrics: Vec<&str> = comparisons[0].differences.iter().map(|one| one.metric.as_str()).collect();
        assert_eq!(metrics, ["acc@1", "acc@3", "acc@20", "acc@50", "mrr"]);
        // Where the figures are gone, the results are still read.
        std::fs::remove_file(parent.path().join("a").join(SUMMARY)).unwrap();
        let one = Report::read(&parent.path().join("a"), &Bootstrap::default()).unwrap();
        assert_eq!(one.summary.cutoffs, ACCURACY_CUTOFFS);
    }

    #[test]
    fn comparisons_need_the_same_data() {
        let (a, b) = (report(&[1, 2]), report(&[1, 1]));
        let folder = tempfile::tempdir().unwrap();
        let reports = [a, b];
        let comparisons = compare(&reports, &Bootstrap::default()).unwrap();
        write_comparison(folder.path(), &reports, &comparisons, &Bootstrap::default()).unwrap();
        let text = std::fs::read_to_string(folder.path().join(COMPARISON)).unwrap();
        assert!(text.contains("acc@1_difference,0.5,") && text.lines().count() == 5, "{text}");
        let [a, b] = reports;
        let refusal = |change: &dyn Fn(&mut Report), part: &str| {
            let mut other = b.clone();
            change(&mut other);
            let message = compare(&[a.clone(), other], &Bootstrap::default()).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        refusal(&|report| report.provenance.split = "train".into(), "splits differ");
        refusal(&|report| report.provenance.dataset_sha256 = "cc".into(), "data sets differ");
        refusal(&|report| report.results[0].query_id = "x".into(), "only in the second: 1 (x)");
        let with_gallery = |report: &Report, last: &str| Report {
            gallery: vec!["g00000".into(), last.into()],
            ..report.clone()
        };
        let pair = [with_gallery(&a, "g1"), with_gallery(&b, "g2")];
        let message = compare(&pair, &Bootstrap::default()).unwrap_err().to_string();
        assert!(
            message.contains("gallery photos only in the first: 1 (g1); only in the second: 1 (g2)"),
            "{message}"
        );
    }
}
