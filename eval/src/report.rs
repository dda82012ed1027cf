//! An evaluation as files: `queries.csv`, `summary.csv` and `report.html` in one folder; `comparison.csv` for two.
//!
//! In every CSV, header and row come from one struct; what is unknown is empty; every row says which model, data
//! and settings it comes from.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sketchfind_core::atomic;

use crate::accuracy::QueryResult;
use crate::paired::Comparison;
use crate::summary::{Bootstrap, Summary, summarise};
use crate::{Error, Result};

mod html;

/// One row a query, sorted by id.
pub const QUERIES: &str = "queries.csv";
/// One row a figure.
pub const SUMMARY: &str = "summary.csv";
/// Both for people.
pub const HTML: &str = "report.html";
/// One row a comparison of two reports.
pub const COMPARISON: &str = "comparison.csv";
/// The version of the files' columns.
pub const SCHEMA: u32 = 1;

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

/// An evaluation: per-query results, their summary, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    provenance: Provenance,
    results: Vec<QueryResult>,
    summary: Summary,
}

/// A row of `queries.csv`.
#[derive(Debug, Serialize, Deserialize)]
struct QueryRow {
    schema: u32,
    query_id: String,
    truth_id: String,
    rank: usize,
    n_tied: usize,
    truth_distance: f64,
    first_id: String,
    first_distance: f64,
    /// The nearest ids as a JSON-like list would need a parser; ids are joined by `|`, which ids may hold too: for
    /// reading by people, while `first_id` is exact.
    top: String,
    n_gallery: usize,
    split: String,
    distance: String,
    model: String,
    model_sha256: String,
    dataset_sha256: String,
    tool: String,
}

/// A row of `summary.csv`.
#[derive(Debug, Serialize)]
struct SummaryRow<'a> {
    schema: u32,
    metric: &'a str,
    value: f64,
    low: f64,
    high: f64,
    n: usize,
    n_photos: usize,
    n_gallery: usize,
    interval: &'static str,
    resampled: &'static str,
    confidence: f64,
    samples: usize,
    seed: u64,
    ties: &'static str,
    split: &'a str,
    distance: &'a str,
    model: &'a str,
    model_sha256: &'a str,
    dataset_sha256: &'a str,
    tool: &'a str,
}

/// A row of `comparison.csv`.
#[derive(Debug, Serialize)]
struct ComparisonRow<'a> {
    schema: u32,
    metric: &'a str,
    value: f64,
    low: f64,
    high: f64,
    n: usize,
    resampled: &'static str,
    confidence: f64,
    samples: usize,
    seed: u64,
    n_only_a: usize,
    n_only_b: usize,
    mcnemar_p_value: f64,
    split: &'a str,
    model_a: &'a str,
    model_a_sha256: &'a str,
    model_b: &'a str,
    model_b_sha256: &'a str,
    dataset_sha256: &'a str,
    tool: &'a str,
}

impl Report {
    /// A report on `results`, summarised with `bootstrap`.
    ///
    /// # Errors
    /// Those of [`summarise`].
    pub fn new(provenance: Provenance, results: Vec<QueryResult>, bootstrap: &Bootstrap) -> Result<Report> {
        let summary = summarise(&results, bootstrap)?;
        Ok(Report { provenance, results, summary })
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

    /// Writes the report as a folder, atomically. An existing report there is replaced, any other folder is not.
    ///
    /// # Errors
    /// [`Error::Core`] where the folder cannot be written, [`Error::ReportFile`] where something else is there.
    pub fn write(&self, folder: &Path) -> Result<()> {
        if !atomic::is_free_for(folder, QUERIES)? {
            return Err(Error::report_file(folder, "is there and is no report; it is left as it is"));
        }
        atomic::write_folder(folder, |new| {
            write_rows(&new.join(QUERIES), self.query_rows())?;
            write_rows(&new.join(SUMMARY), self.summary_rows())?;
            atomic::write_bytes(&new.join(HTML), html::page(self).as_bytes())?;
            Ok(())
        })
    }

    /// Reads a report's `queries.csv` and summarises it anew.
    ///
    /// # Errors
    /// [`Error::ReportFile`] where it is no such file or rows contradict each other; those of [`summarise`].
    pub fn read(folder: &Path, bootstrap: &Bootstrap) -> Result<Report> {
        let path = folder.join(QUERIES);
        let mut reader = csv::Reader::from_path(&path).map_err(|e| Error::report_file(&path, e))?;
        let mut provenance: Option<Provenance> = None;
        let mut results = Vec::new();
        for row in reader.deserialize() {
            let row: QueryRow = row.map_err(|e| Error::report_file(&path, e))?;
            if row.schema != SCHEMA {
                let reason = format!("its schema is {}, expected {SCHEMA}", row.schema);
                return Err(Error::report_file(&path, reason));
            }
            if row.rank == 0 || row.rank > row.n_gallery {
                let reason = format!("'{}' has the rank {} of {}", row.query_id, row.rank, row.n_gallery);
                return Err(Error::report_file(&path, reason));
            }
            let of_row = Provenance {
                tool: row.tool,
                model: row.model,
                model_sha256: row.model_sha256,
                dataset_sha256: row.dataset_sha256,
                split: row.split,
                distance: row.distance,
            };
            if provenance.get_or_insert_with(|| of_row.clone()) != &of_row {
                let reason = format!("'{}' is of another model, data set or split", row.query_id);
                return Err(Error::report_file(&path, reason));
            }
            let mut top: Vec<String> = row.top.split('|').map(str::to_owned).collect();
            if let Some(first) = top.first_mut() {
                *first = row.first_id;
            }
            results.push(QueryResult {
                query_id: row.query_id,
                truth_id: row.truth_id,
                rank: row.rank,
                n_tied: row.n_tied,
                truth_distance: row.truth_distance,
                first_distance: row.first_distance,
                top,
                n_gallery: row.n_gallery,
            });
        }
        let provenance = provenance.ok_or_else(|| Error::report_file(&path, "it holds no query"))?;
        Report::new(provenance, results, bootstrap)
    }

    fn query_rows(&self) -> impl Iterator<Item = QueryRow> {
        let provenance = &self.provenance;
        self.results.iter().map(|result| QueryRow {
            schema: SCHEMA,
            query_id: result.query_id.clone(),
            truth_id: result.truth_id.clone(),
            rank: result.rank,
            n_tied: result.n_tied,
            truth_distance: result.truth_distance,
            first_id: result.top.first().cloned().unwrap_or_default(),
            first_distance: result.first_distance,
            top: result.top.join("|"),
            n_gallery: result.n_gallery,
            split: provenance.split.clone(),
            distance: provenance.distance.clone(),
            model: provenance.model.clone(),
            model_sha256: provenance.model_sha256.clone(),
            dataset_sha256: provenance.dataset_sha256.clone(),
            tool: provenance.tool.clone(),
        })
    }

    fn summary_rows(&self) -> impl Iterator<Item = SummaryRow<'_>> {
        let (provenance, summary) = (&self.provenance, &self.summary);
        summary.estimates.iter().map(move |estimate| SummaryRow {
            schema: SCHEMA,
            metric: &estimate.metric,
            value: estimate.value,
            low: estimate.low,
            high: estimate.high,
            n: estimate.n,
            n_photos: summary.n_photos,
            n_gallery: summary.n_gallery,
            interval: estimate.interval.name(),
            resampled: resampled(summary.is_clustered()),
            confidence: summary.bootstrap.confidence,
            samples: summary.bootstrap.samples,
            seed: summary.bootstrap.seed,
            ties: "count against the model",
            split: &provenance.split,
            distance: &provenance.distance,
            model: &provenance.model,
            model_sha256: &provenance.model_sha256,
            dataset_sha256: &provenance.dataset_sha256,
            tool: &provenance.tool,
        })
    }
}

/// Compares two reports, A and B.
///
/// # Errors
/// [`Error::NotComparable`] where they are of different data or splits, or their queries differ.
pub fn compare(a: &Report, b: &Report, bootstrap: &Bootstrap) -> Result<Comparison> {
    let (pa, pb) = (&a.provenance, &b.provenance);
    for (what, of_a, of_b) in
        [("data sets", &pa.dataset_sha256, &pb.dataset_sha256), ("splits", &pa.split, &pb.split)]
    {
        if of_a != of_b {
            let reason = format!("their {what} differ: '{of_a}' and '{of_b}'");
            return Err(Error::NotComparable { reason });
        }
    }
    crate::paired::compare(&a.results, &b.results, bootstrap)
}

/// Writes the comparison of two reports to `folder`/`comparison.csv`.
///
/// # Errors
/// [`Error::Core`] where it cannot be written.
pub fn write_comparison(
    folder: &Path,
    a: &Report,
    b: &Report,
    comparison: &Comparison,
    bootstrap: &Bootstrap,
) -> Result<()> {
    let difference = &comparison.difference;
    let row = ComparisonRow {
        schema: SCHEMA,
        metric: &difference.metric,
        value: difference.value,
        low: difference.low,
        high: difference.high,
        n: difference.n,
        resampled: resampled(comparison.is_clustered),
        confidence: bootstrap.confidence,
        samples: bootstrap.samples,
        seed: bootstrap.seed,
        n_only_a: comparison.mcnemar.n_only_a,
        n_only_b: comparison.mcnemar.n_only_b,
        mcnemar_p_value: comparison.mcnemar.p_value,
        split: &a.provenance.split,
        model_a: &a.provenance.model,
        model_a_sha256: &a.provenance.model_sha256,
        model_b: &b.provenance.model,
        model_b_sha256: &b.provenance.model_sha256,
        dataset_sha256: &a.provenance.dataset_sha256,
        tool: &b.provenance.tool,
    };
    write_rows(&folder.join(COMPARISON), [row])
}

fn resampled(is_clustered: bool) -> &'static str {
    if is_clustered { "photos" } else { "queries" }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::with_ranks;

    pub(super) fn report(ranks: &[usize]) -> Report {
        let provenance = Provenance {
            tool: "sketchfind 0.1.0".into(),
            model: "a <model> & \"more\"".into(),
            model_sha256: "aa".into(),
            dataset_sha256: "bb".into(),
            split: "test".into(),
            distance: "mse".into(),
        };
        Report::new(provenance, with_ranks(ranks, 1), &Bootstrap::ORDINARY).unwrap()
    }

    #[test]
    fn files_come_back_as_they_were() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("report");
        let original = report(&[1, 3, 2, 500]);
        original.write(&folder).unwrap();
        original.write(&folder).unwrap();
        assert_eq!(Report::read(&folder, &Bootstrap::ORDINARY).unwrap(), original);
        let summary = std::fs::read_to_string(folder.join(SUMMARY)).unwrap();
        assert!(summary.starts_with(
            "schema,metric,value,low,high,n,n_photos,n_gallery,interval,resampled,confidence,samples,seed,ties,"
        ));
        assert_eq!(summary.lines().count(), 7);
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
            whole.replace(",g00000,1,", ",g00000,0,"),
            whole.replacen("1,q00000", "9,q00000", 1),
            whole.replacen(",bb,", ",cc,", 1),
        ] {
            std::fs::write(&path, damaged).unwrap();
            let message = Report::read(&folder, &Bootstrap::ORDINARY).unwrap_err().to_string();
            assert!(message.contains(QUERIES), "{message}");
        }
    }

    #[test]
    fn comparisons_need_the_same_data() {
        let (a, mut b) = (report(&[1, 2]), report(&[1, 1]));
        let folder = tempfile::tempdir().unwrap();
        let comparison = compare(&a, &b, &Bootstrap::ORDINARY).unwrap();
        write_comparison(folder.path(), &a, &b, &comparison, &Bootstrap::ORDINARY).unwrap();
        let text = std::fs::read_to_string(folder.path().join(COMPARISON)).unwrap();
        assert!(text.contains("acc@1_difference,0.5,"), "{text}");
        b.provenance.split = "train".into();
        assert!(compare(&a, &b, &Bootstrap::ORDINARY).unwrap_err().to_string().contains("splits differ"));
    }
}
