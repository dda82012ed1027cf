//! Reading a report back.

use std::path::Path;

use super::contents::{Provenance, Reference, Report};
use super::csv_files::{GALLERY, QUERIES, SUMMARY, read_rows, split_ids};
use super::rows::{FigureRow, GalleryRow, QueryRow};
use crate::estimate::Bootstrap;
use crate::metrics::cutoff_of;
use crate::result::{Closeness, QueryResult};
use crate::summary::ACCURACY_CUTOFFS;
use crate::{Error, Result};

impl Report {
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
}

/// The k of acc@k over all queries; the usual ones where the file is gone.
fn read_cutoffs(path: &Path) -> Result<Vec<usize>> {
    if !path.is_file() {
        return Ok(ACCURACY_CUTOFFS.to_vec());
    }
    let rows = read_rows::<FigureRow>(path)?.into_iter();
    Ok(rows.filter(|row| row.label_column.is_empty()).filter_map(|row| cutoff_of(&row.metric)).collect())
}
