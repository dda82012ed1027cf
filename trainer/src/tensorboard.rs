//! TensorBoard event files: metrics as curves in a tool that people already use.
//!
//! An event file is a series of TFRecords (`tensorflow/core/lib/io/record_writer.h`): a length, its masked CRC, the data,
//! the data's masked CRC, all little-endian; the data is an `Event` message (`tensorflow/core/util/event.proto`), of
//! which only scalars are written. The crates for this format either need a protobuf compiler to build or are no longer
//! kept; prost and crc32c, which are, do the work here.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use sketchfind_core::atomic;

use crate::metrics::{EpochRow, StepRow};
use crate::{Error, Result};

/// The folder of event files in a run's folder: `tensorboard --logdir RUN`.
pub const EVENTS: &str = "tensorboard";

/// `tensorflow.Event`.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    /// Only in a file's first event.
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value`.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An event file that grows.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
}

impl EventLog {
    /// Begins a run's event file anew with the rows that it has so far: after an interruption the rows behind the
    /// checkpoint are gone from it, as from the CSV files.
    ///
    /// # Errors
    /// [`Error::Core`] where it cannot be written.
    pub fn open(run: &Path, steps: &[StepRow], epochs: &[EpochRow]) -> Result<EventLog> {
        // TensorBoard finds files by 'tfevents' in their names.
        let path = run.join(EVENTS).join("events.out.tfevents.0");
        let mut bytes = Vec::new();
        let version = Event { file_version: Some("brain.Event:2".into()), ..Event::default() };
        record(&version, &mut bytes);
        steps.iter().for_each(|row| record(&of_step(row), &mut bytes));
        epochs.iter().for_each(|row| record(&of_epoch(row), &mut bytes));
        atomic::write_bytes(&path, &bytes)?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(sketchfind_core::Error::io("append to", &path))?;
        Ok(EventLog { path, file })
    }

    /// Appends a step's metrics.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn step(&mut self, row: &StepRow) -> Result<()> {
        self.append(&of_step(row))
    }

    /// Appends an epoch's metrics.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn epoch(&mut self, row: &EpochRow) -> Result<()> {
        self.append(&of_epoch(row))
    }

    fn append(&mut self, event: &Event) -> Result<()> {
        let mut bytes = Vec::new();
        record(event, &mut bytes);
        let written = self.file.write_all(&bytes);
        written.map_err(|e| Error::Core(sketchfind_core::Error::io("append to", &self.path)(e)))
    }
}

fn of_step(row: &StepRow) -> Event {
    event(
        row.step,
        &[
            ("step/loss", Some(row.loss)),
            ("step/active_share", Some(row.active_share)),
            ("step/topology_loss", row.topology_loss),
            ("step/topology_active_share", row.topology_active_share),
            ("step/teacher_loss", row.teacher_loss),
            ("step/learning_rate", Some(row.learning_rate)),
            ("step/secs", Some(row.step_secs)),
            ("step/wait_secs", Some(row.wait_secs)),
        ],
    )
}

/// An epoch stands at its last step, so that both kinds of curves have one axis.
fn of_epoch(row: &EpochRow) -> Event {
    event(
        row.steps,
        &[
            ("epoch/mean_loss", Some(row.mean_loss)),
            ("epoch/mean_topology_loss", row.mean_topology_loss),
            ("epoch/held_out_acc1", row.held_out_acc1),
            ("epoch/gradient_covariance", row.gradient_covariance),
            ("epoch/train_secs", Some(row.train_secs)),
        ],
    )
}

fn event(step: u64, values: &[(&str, Option<f64>)]) -> Event {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let value = values
        .iter()
        .filter_map(|&(tag, value)| Some(Value { tag: tag.into(), simple_value: Some(value? as f32) }))
        .collect();
    Event {
        wall_time: since_1970.as_secs_f64(),
        step: i64::try_from(step).unwrap_or(i64::MAX),
        file_version: None,
        summary: Some(Summary { value }),
    }
}

/// Writes one TFRecord.
fn record(event: &Event, out: &mut Vec<u8>) {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked_crc(&length).to_le_bytes());
    out.extend_from_slice(&data);
    out.extend_from_slice(&masked_crc(&data).to_le_bytes());
}

/// CRC-32C, rotated right by 15 bits plus a constant, so that a CRC over data that holds CRCs is still one.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> (StepRow, EpochRow) {
        let step = StepRow {
            epoch: 1,
            step: 7,
            loss: 0.5,
            active_share: 0.25,
            topology_loss: None,
            topology_active_share: None,
            teacher_loss: None,
            learning_rate: 0.001,
            step_secs: 1.5,
            wait_secs: 0.0,
        };
        let epoch = EpochRow {
            epoch: 1,
            steps: 7,
            mean_loss: 0.75,
            mean_active_share: 0.5,
            mean_topology_loss: Some(0.125),
            held_out_acc1: Some(0.5),
            n_held_out_sketches: Some(4),
            n_held_out_photos: Some(4),
            gradient_covariance: None,
            train_secs: 3.0,
        };
        (step, epoch)
    }

    /// Reads records as the format says, checking every CRC.
    fn read(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(bytes[8..12], masked_crc(&bytes[..8]).to_le_bytes());
            let data = &bytes[12..12 + length];
            assert_eq!(bytes[12 + length..16 + length], masked_crc(data).to_le_bytes());
            events.push(Event::decode(data).unwrap());
            bytes = &bytes[16 + length..];
        }
        events
    }

    #[test]
    fn what_is_written_is_read_and_a_reopened_file_holds_what_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let (step, epoch) = rows();
        let mut log = EventLog::open(folder.path(), &[], &[]).unwrap();
        log.step(&step).unwrap();
        log.epoch(&epoch).unwrap();
        let file = folder.path().join(EVENTS).join("events.out.tfevents.0");
        let events = read(&std::fs::read(&file).unwrap());
        assert_eq!(events.len(), 3);
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let values = |event: &Event| -> Vec<(String, f32)> {
            let values = &event.summary.as_ref().unwrap().value;
            values.iter().map(|value| (value.tag.clone(), value.simple_value.unwrap())).collect()
        };
        assert_eq!(values(&events[1])[0], ("step/loss".into(), 0.5));
        assert_eq!(values(&events[1]).len(), 5, "what is unknown is not there");
        assert!(values(&events[2]).contains(&("epoch/held_out_acc1".into(), 0.5)));
        assert_eq!((events[1].step, events[2].step), (7, 7));
        drop(log);
        EventLog::open(folder.path(), &[step], &[]).unwrap();
        assert_eq!(read(&std::fs::read(&file).unwrap()).len(), 2);
    }

    /// The check value of CRC-32C (Castagnoli) for '123456789', masked by hand.
    #[test]
    fn the_masked_crc_by_hand() {
        let crc = 0xe306_9283_u32;
        assert_eq!(masked_crc(b"123456789"), crc.rotate_right(15).wrapping_add(0xa282_ead8));
    }
}
