//! The CSV files of a report: their names, the version of their columns, and how rows go in and out.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sketchfind_core::atomic;

use crate::{Error, Result};

/// One row a query, sorted by id.
pub const QUERIES: &str = "queries.csv";
/// One row a figure.
pub const SUMMARY: &str = "summary.csv";
/// One row a photo that was ranked.
pub const GALLERY: &str = "gallery.csv";
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

/// A figure that no anchor has a value for is unknown.
pub(super) fn known(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

pub(super) fn write_rows<R: Serialize>(path: &Path, rows: impl IntoIterator<Item = R>) -> Result<()> {
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
pub(super) fn read_rows<R: for<'de> Deserialize<'de>>(path: &Path) -> Result<Vec<R>> {
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

/// Joins ids by `|`, escaped where they hold one.
pub(super) fn join_ids(ids: &[String]) -> String {
    let escaped: Vec<String> = ids.iter().map(|id| id.replace('\\', "\\\\").replace('|', "\\|")).collect();
    escaped.join("|")
}

pub(super) fn split_ids(joined: &str) -> Vec<String> {
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
