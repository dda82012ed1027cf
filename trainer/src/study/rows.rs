//! The files of a study: a row a run and checkpoint, a row a method.

use std::path::Path;

use serde::Serialize;
use sketchfind_core::atomic;
use sketchfind_eval::QueryResult;

use crate::{Error, Result};

/// One row a run and checkpoint.
pub const RUNS: &str = "runs.csv";
/// One row a method, data set and checkpoint.
pub const SUMMARY: &str = "summary.csv";
/// The version of both files' columns.
pub const SCHEMA: u32 = 1;

pub(super) const TOOL: &str = concat!("sketchfind-train ", env!("CARGO_PKG_VERSION"));
/// The name of all data sets together.
pub(super) const ALL: &str = "all";

/// A row of `runs.csv`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// The version of the columns.
    pub schema: u32,
    /// The data set.
    pub dataset: String,
    /// The method.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// `initial`, `last` or `best` (on held-out training photos).
    pub checkpoint: String,
    /// Epochs that were done.
    pub epochs: u64,
    /// acc@1 on the test split, in `[0, 1]`.
    pub acc1: f64,
    /// The ends of its interval over queries.
    pub acc1_low: f64,
    /// See `acc1_low`.
    pub acc1_high: f64,
    /// acc@5 on the test split.
    pub acc5: f64,
    /// acc@10 on the test split.
    pub acc10: f64,
    /// Mean reciprocal rank on the test split.
    pub mrr: f64,
    /// Test sketches.
    pub n_queries: usize,
    /// Test photos.
    pub n_gallery: usize,
    /// acc@1 on the held-out training photos after as many epochs, if it was measured.
    pub held_out_acc1: Option<f64>,
    /// Seconds of training steps.
    pub train_secs: f64,
    /// The checkpoint's weights.
    pub weights_sha256: String,
    /// The data set.
    pub dataset_sha256: String,
    /// The run's configuration.
    pub config_sha256: String,
    /// The program and its version.
    pub tool: String,
}

/// A row of `summary.csv`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryRow {
    /// The version of the columns.
    pub schema: u32,
    /// The data set, or `all`: the mean over data sets, of which each counts the same.
    pub dataset: String,
    /// The method.
    pub method: String,
    /// `last` or `best` (on held-out training photos).
    pub checkpoint: String,
    /// Runs that are done; of several data sets the fewest.
    pub n_seeds: usize,
    /// Test sketches of each; of all data sets together.
    pub n_queries: usize,
    /// Test photos; of all data sets together.
    pub n_gallery: usize,
    /// Mean acc@1 over seeds, in `[0, 1]`.
    pub acc1: f64,
    /// Its sample standard deviation over seeds.
    pub acc1_deviation: Option<f64>,
    /// Student's interval of the mean over seeds.
    pub acc1_low_seeds: Option<f64>,
    /// See `acc1_low_seeds`.
    pub acc1_high_seeds: Option<f64>,
    /// The bootstrap interval over seeds and queries.
    pub acc1_low: f64,
    /// See `acc1_low`.
    pub acc1_high: f64,
    /// Mean acc@5.
    pub acc5: f64,
    /// Mean acc@10.
    pub acc10: f64,
    /// Mean acc@1 on held-out training photos.
    pub held_out_acc1: Option<f64>,
    /// The method that it is compared to, if it is another and has the same seeds.
    pub reference: Option<String>,
    /// acc@1 less the reference's.
    pub difference: Option<f64>,
    /// Its paired bootstrap interval over seeds and queries.
    pub difference_low: Option<f64>,
    /// See `difference_low`.
    pub difference_high: Option<f64>,
    /// The two-sided p-value of the paired permutation test over photos.
    pub p_value: Option<f64>,
    /// The intervals' confidence.
    pub confidence: f64,
    /// Resamples.
    pub samples: usize,
    /// The program and its version.
    pub tool: String,
}

/// A run's results on the test split at one checkpoint.
pub(super) struct Done {
    pub(super) row: RunRow,
    pub(super) results: Vec<QueryResult>,
}

/// Writes rows as a CSV file, at once whole.
pub(super) fn write_rows<'r, R: Serialize + 'r>(
    path: &Path,
    rows: impl Iterator<Item = &'r R>,
) -> Result<()> {
    atomic::write_file(path, |out| {
        let mut writer = csv::Writer::from_writer(out);
        for row in rows {
            writer.serialize(row).map_err(|e| Error::run(path, e))?;
        }
        writer.flush().map_err(|e| Error::run(path, e))
    })
}
