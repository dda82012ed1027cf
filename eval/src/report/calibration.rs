//! What was measured of a calibration as files: `calibration.csv`, `reliability.csv` and `answers.csv`.

use std::path::Path;

use serde::Serialize;
use sketchfind_core::atomic;

use super::contents::Provenance;
use super::csv_files::{SCHEMA, known, write_rows};
use crate::calibrate::{CalibrationOptions, Learnt};
use crate::estimate::Bootstrap;
use crate::{Error, Result};

/// One row a figure.
pub const CALIBRATION: &str = "calibration.csv";
/// One row a part of the sketches, by what was predicted of them.
pub const RELIABILITY: &str = "reliability.csv";
/// One row a sketch.
pub const ANSWERS: &str = "answers.csv";

/// A row of `calibration.csv`.
#[derive(Serialize)]
struct FigureRow<'a> {
    schema: u32,
    metric: &'a str,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    n: usize,
    interval: &'static str,
    resampled: &'static str,
    n_resampled: usize,
    confidence: f64,
    samples: usize,
    seed: u64,
    n_photos: usize,
    n_sketches: usize,
    n_without: usize,
    without: f64,
    false_answers: f64,
    n_folds: usize,
    parts_seed: u64,
    min_score: f64,
    split: &'a str,
    distance: &'a str,
    model: &'a str,
    model_sha256: &'a str,
    dataset_sha256: &'a str,
    tool: &'a str,
}

/// A row of `reliability.csv`.
#[derive(Serialize)]
struct ReliabilityRow<'a> {
    schema: u32,
    kind: &'static str,
    predicted: f64,
    observed: f64,
    low: f64,
    high: f64,
    n: usize,
    interval: &'static str,
    resampled: &'static str,
    n_resampled: usize,
    confidence: f64,
    split: &'a str,
    model_sha256: &'a str,
    dataset_sha256: &'a str,
}

/// A row of `answers.csv`.
#[derive(Serialize)]
struct AnswerRow<'a> {
    schema: u32,
    query_id: &'a str,
    truth_id: &'a str,
    is_there: bool,
    fold: usize,
    first_id: &'a str,
    first_distance: f64,
    place: Option<usize>,
    score: f64,
    answer_score: f64,
    is_answered: bool,
    split: &'a str,
    model_sha256: &'a str,
    dataset_sha256: &'a str,
}

/// Whether what was measured of a calibration may be written to `folder`: nothing is there, or an empty folder, or another.
///
/// # Errors
/// [`Error::ReportFile`] where something else is there; [`Error::Core`] where it cannot be looked at.
pub fn check_calibration_free(folder: &Path) -> Result<()> {
    if atomic::is_free_for(folder, CALIBRATION)? {
        Ok(())
    } else {
        Err(Error::report_file(folder, "is there and holds something else; it is left as it is"))
    }
}

/// Writes what was measured of a calibration into `folder`, whole or not at all.
///
/// # Errors
/// Those of [`check_calibration_free`]; [`Error::Core`] and [`Error::ReportFile`] where it cannot be written.
pub fn write_calibration(
    folder: &Path,
    of: &Provenance,
    learnt: &Learnt,
    options: &CalibrationOptions,
    bootstrap: &Bootstrap,
) -> Result<()> {
    check_calibration_free(folder)?;
    let figures = learnt.estimates.iter().map(|one| FigureRow {
        schema: SCHEMA,
        metric: &one.metric,
        value: known(one.value),
        low: known(one.low),
        high: known(one.high),
        n: one.n,
        interval: one.interval.name(),
        resampled: one.resampled.name(),
        n_resampled: one.n_resampled,
        confidence: bootstrap.confidence,
        samples: bootstrap.samples,
        seed: bootstrap.seed,
        n_photos: learnt.n_photos,
        n_sketches: learnt.judged.len(),
        n_without: learnt.n_without,
        without: options.without,
        false_answers: options.false_answers,
        n_folds: options.n_folds,
        parts_seed: options.seed,
        min_score: learnt.min_score,
        split: &of.split,
        distance: &of.distance,
        model: &of.model,
        model_sha256: &of.model_sha256,
        dataset_sha256: &of.dataset_sha256,
        tool: &of.tool,
    });
    let reliability = learnt.reliability.iter().map(|bin| ReliabilityRow {
        schema: SCHEMA,
        kind: bin.kind,
        predicted: bin.predicted,
        observed: bin.observed.value,
        low: bin.observed.low,
        high: bin.observed.high,
        n: bin.observed.n,
        interval: bin.observed.interval.name(),
        resampled: bin.observed.resampled.name(),
        n_resampled: bin.observed.n_resampled,
        confidence: bootstrap.confidence,
        split: &of.split,
        model_sha256: &of.model_sha256,
        dataset_sha256: &of.dataset_sha256,
    });
    let answers = learnt.judged.iter().map(|one| AnswerRow {
        schema: SCHEMA,
        query_id: &one.query_id,
        truth_id: &one.truth_id,
        is_there: one.is_there,
        fold: one.fold,
        first_id: &one.first_id,
        first_distance: one.first_distance,
        place: one.place,
        score: one.score,
        answer_score: one.answer_score,
        is_answered: one.is_answered,
        split: &of.split,
        model_sha256: &of.model_sha256,
        dataset_sha256: &of.dataset_sha256,
    });
    atomic::write_folder(folder, |new| {
        write_rows(&new.join(CALIBRATION), figures)?;
        write_rows(&new.join(RELIABILITY), reliability)?;
        write_rows(&new.join(ANSWERS), answers)
    })
}
