//! An evaluation as files in one folder: `queries.csv`, `summary.csv`, `gallery.csv` and `report.html`, and what else was
//! measured: `neighbours.csv` and `anchors.csv`, `early.csv`, `robustness.csv`. Comparisons of reports are written as
//! `comparison.csv` and `attribution.csv`.
//!
//! In every CSV, header and row come from one struct; what is unknown is empty. `docs/report-files.md` has the columns.

mod calibration;
mod comparison;
mod contents;
mod csv_files;
mod html;
mod neighbours;
mod read;
mod rows;
#[cfg(test)]
mod tests;
mod write;

pub use calibration::{ANSWERS, CALIBRATION, RELIABILITY, check_calibration_free, write_calibration};
pub use comparison::{check_comparable, compare, write_attribution, write_comparison};
pub use contents::{Extras, Picture, Provenance, Reference, Report};
pub use csv_files::{
    ANCHORS, ATTRIBUTION, COMPARISON, EARLY, GALLERY, NEIGHBOURS, QUERIES, ROBUSTNESS, SCHEMA, SUMMARY,
};
pub use html::pictured;
pub use neighbours::{check_neighbours_free, write_neighbours};
pub use write::{HTML, check_free};
