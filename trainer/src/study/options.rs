//! What a study is told, and what it tells.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::plan::Study;
use super::rows::{RunRow, SummaryRow};
use crate::device::TrainingDevice;
use crate::fit::Event;

/// What to run.
#[derive(Debug)]
pub struct StudyOptions<'a> {
    /// The checked study.
    pub study: &'a Study,
    /// Its folder, new, empty, or of the same study.
    pub out: &'a Path,
    /// The device.
    pub device: TrainingDevice,
    /// Set from elsewhere to stop after the step in progress, with a checkpoint.
    pub interrupted: &'a AtomicBool,
}

/// What a study tells while it goes on.
#[derive(Debug)]
pub enum StudyEvent<'a> {
    /// A run begins or goes on.
    Run {
        /// Its number, from 1.
        number: usize,
        /// All runs.
        n_runs: usize,
        /// Its data set.
        dataset: &'a str,
        /// Its method.
        method: &'a str,
        /// Its seed.
        seed: u64,
    },
    /// Something in that run.
    Fit(Event),
    /// A run was evaluated.
    Row(&'a RunRow),
}

/// How a study ended.
#[derive(Clone, Debug, PartialEq)]
pub enum StudyOutcome {
    /// All runs are done.
    Finished(Vec<SummaryRow>),
    /// It was interrupted; the same command goes on.
    Interrupted,
}
