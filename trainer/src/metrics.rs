//! Metrics as CSV: one row a step, one row an epoch. Header and row come from one struct; what is unknown is empty.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sketchfind_core::atomic;

use crate::{Error, Result};

/// One row a step.
pub const STEPS: &str = "steps.csv";
/// One row an epoch.
pub const EPOCHS: &str = "epochs.csv";

/// A row of `steps.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The step since training began, from 1.
    pub step: u64,
    /// L_FG before the step's update.
    pub loss: f64,
    /// The share of its triplets within the margin.
    pub active_share: f64,
    /// L_NT, where the method has it: before the update, or after a meta method's virtual step.
    pub topology_loss: Option<f64>,
    /// The share of its triplets within the margin.
    pub topology_active_share: Option<f64>,
    /// The teacher's loss times its weight, where there is a teacher.
    pub teacher_loss: Option<f64>,
    /// The learning rate, eta_s, as the schedule has it at this step.
    pub learning_rate: f64,
    /// Seconds that the step took, waiting for its batch included.
    pub step_secs: f64,
    /// Seconds of those that it waited for its batch.
    pub wait_secs: f64,
}

/// A row of `epochs.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps since training began.
    pub steps: u64,
    /// The mean L_FG of the epoch's steps.
    pub mean_loss: f64,
    /// The mean share of its triplets within the margin.
    pub mean_active_share: f64,
    /// The mean L_NT of the epoch's steps.
    pub mean_topology_loss: Option<f64>,
    /// acc@1 on the held-out training photos, in `[0, 1]`; empty where none was measured.
    pub held_out_acc1: Option<f64>,
    /// The number of held-out sketches.
    pub n_held_out_sketches: Option<usize>,
    /// The number of held-out photos, which are their gallery.
    pub n_held_out_photos: Option<usize>,
    /// The nuclear norm of the covariance of gradients between batches, after the epoch; empty where it was not measured.
    pub gradient_covariance: Option<f64>,
    /// Seconds that the epoch's steps took.
    pub train_secs: f64,
}

/// A CSV file that grows by a row at a time.
#[derive(Debug)]
pub struct Log<R> {
    path: PathBuf,
    writer: csv::Writer<File>,
    row: std::marker::PhantomData<R>,
}

impl<R: Serialize + DeserializeOwned> Log<R> {
    /// Opens the log at `path`, keeping those rows that `keep` wants: after an interruption the rows behind the
    /// checkpoint are dropped, so that the file is as if training had never stopped. Returns the rows that stay.
    ///
    /// # Errors
    /// [`Error::Run`] where the file holds something else; [`Error::Core`] where it cannot be written.
    pub fn open(path: &Path, keep: impl Fn(&R) -> bool) -> Result<(Log<R>, Vec<R>)> {
        let mut rows: Vec<R> = Vec::new();
        if path.is_file() {
            let mut reader = csv::Reader::from_path(path).map_err(|e| Error::run(path, e))?;
            let mut broken = None;
            for row in reader.deserialize() {
                if let Some(error) = broken {
                    return Err(Error::run(
                        path,
                        format!("it holds another row than this program's: {error}"),
                    ));
                }
                match row {
                    Ok(row) => rows.push(row),
                    // A crash may have cut the last row; it is behind the checkpoint.
                    Err(error) => broken = Some(error),
                }
            }
        }
        rows.retain(keep);
        atomic::write_file(path, |out| {
            let mut writer = csv::Writer::from_writer(out);
            for row in &rows {
                writer.serialize(row).map_err(|e| Error::run(path, e))?;
            }
            writer.flush().map_err(|e| Error::run(path, e))
        })?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(sketchfind_core::Error::io("append to", path))?;
        // The header is written with the first row, unless rows are there already.
        let writer = csv::WriterBuilder::new().has_headers(rows.is_empty()).from_writer(file);
        Ok((Log { path: path.to_owned(), writer, row: std::marker::PhantomData }, rows))
    }

    /// Appends a row and hands it to the system.
    ///
    /// # Errors
    /// [`Error::Run`].
    pub fn append(&mut self, row: &R) -> Result<()> {
        self.writer.serialize(row).map_err(|e| Error::run(&self.path, e))?;
        self.writer.flush().map_err(|e| Error::run(&self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64) -> StepRow {
        StepRow {
            epoch: 1,
            step,
            loss: 0.1 + step as f64 / 3.0,
            active_share: 0.5,
            topology_loss: None,
            topology_active_share: Some(0.25),
            teacher_loss: None,
            learning_rate: 0.01,
            step_secs: 1.0,
            wait_secs: 0.0,
        }
    }

    #[test]
    fn rows_behind_a_checkpoint_are_cut_and_others_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(STEPS);
        let (mut log, kept) = Log::open(&path, |_: &StepRow| true).unwrap();
        assert!(kept.is_empty());
        (1..=4).for_each(|step| log.append(&row(step)).unwrap());
        let whole = std::fs::read_to_string(&path).unwrap();
        // A crash in the middle of a row.
        std::fs::write(&path, format!("{whole}1,5,0.")).unwrap();
        let (mut log, kept) = Log::open(&path, |row: &StepRow| row.step <= 2).unwrap();
        assert_eq!(kept, [row(1), row(2)]);
        (3..=4).for_each(|step| log.append(&row(step)).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        // What is no log of ours is not cut to nothing.
        std::fs::write(&path, whole.replace("loss", "lost")).unwrap();
        let message = Log::open(&path, |_: &StepRow| true).unwrap_err().to_string();
        assert!(message.contains(STEPS) && message.contains("loss"), "{message}");
    }
}
