//! Writing a report.

use std::path::Path;

use sketchfind_core::atomic;

use super::contents::{Extras, Report};
use super::csv_files::{EARLY, GALLERY, QUERIES, ROBUSTNESS, SCHEMA, SUMMARY, join_ids, write_rows};
use super::rows::{EarlyRow, GalleryRow, QueryRow, RobustnessRow, SummaryRow};
use super::{html, neighbours};
use crate::early::EarlyRetrieval;
use crate::estimate::Estimate;
use crate::robustness::Robustness;
use crate::summary::Summary;
use crate::{Error, Result};

/// All for people.
pub const HTML: &str = "report.html";

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

impl Report {
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
