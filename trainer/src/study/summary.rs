//! What is done of a study as one row a method and data set.

use sketchfind_eval::QueryResult;
use sketchfind_eval::seeds::{
    SeedComparison, SeedPair, compare_over_sets, compare_seeds, interval_over_sets, summarise_seeds,
};

use super::plan::{Study, StudyDataset};
use super::rows::{ALL, Done, RunRow, SCHEMA, SummaryRow, TOOL};
use crate::Result;

/// What is done of one method on one data set.
struct Cell<'a> {
    runs: Vec<&'a Done>,
    results: Vec<Vec<QueryResult>>,
    /// The results of the first method and of this one, of the seeds that both have.
    pairs: (Vec<Vec<QueryResult>>, Vec<Vec<QueryResult>>),
}

impl<'a> Cell<'a> {
    fn new(all: &'a [Done], dataset: &str, checkpoint: &str, method: &str, reference: &str) -> Cell<'a> {
        let of = |method: &str| -> Vec<&'a Done> {
            let is_of =
                |row: &RunRow| (row.dataset.as_str(), row.checkpoint.as_str()) == (dataset, checkpoint);
            all.iter().filter(|Done { row, .. }| is_of(row) && row.method == method).collect()
        };
        let (runs, others) = (of(method), of(reference));
        let pair = |run: &&Done| {
            let other = others.iter().find(|other| other.row.seed == run.row.seed)?;
            Some((other.results.clone(), run.results.clone()))
        };
        let pairs = runs.iter().filter_map(pair).unzip();
        Cell { results: runs.iter().map(|done| done.results.clone()).collect(), runs, pairs }
    }

    fn mean(&self, value: impl Fn(&RunRow) -> f64) -> f64 {
        self.runs.iter().map(|done| value(&done.row)).sum::<f64>() / self.runs.len() as f64
    }

    fn held_out_acc1(&self) -> Option<f64> {
        mean_of_all(self.runs.iter().map(|done| done.row.held_out_acc1))
    }
}

/// The mean, where every value is there.
fn mean_of_all(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values = values.collect::<Option<Vec<f64>>>()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

/// Summarises what is done, each data set by itself and then, where each has runs, all of them together. A method is
/// compared to the first one over the seeds that both have.
pub(super) fn summarise(study: &Study, all: &[Done]) -> Result<Vec<SummaryRow>> {
    let bootstrap = study.bootstrap();
    let reference = &study.method[0].name;
    let mut rows = Vec::new();
    let mut together = Vec::new();
    for checkpoint in ["last", "best"] {
        for method in &study.method {
            let cell =
                |dataset: &StudyDataset| Cell::new(all, &dataset.name, checkpoint, &method.name, reference);
            let cells: Vec<Cell<'_>> = study.dataset.iter().map(cell).collect();
            let is_other = &method.name != reference;
            // What does not depend on the data set, and the comparison.
            let blank = |comparison: Option<SeedComparison>| SummaryRow {
                schema: SCHEMA,
                dataset: String::new(),
                method: method.name.clone(),
                checkpoint: checkpoint.into(),
                n_seeds: 0,
                n_queries: 0,
                n_gallery: 0,
                acc1: f64::NAN,
                acc1_deviation: None,
                acc1_low_seeds: None,
                acc1_high_seeds: None,
                acc1_low: f64::NAN,
                acc1_high: f64::NAN,
                acc5: f64::NAN,
                acc10: f64::NAN,
                held_out_acc1: None,
                reference: comparison.map(|_| reference.clone()),
                difference: comparison.map(|c| c.difference),
                difference_low: comparison.map(|c| c.over_seeds_and_queries.0),
                difference_high: comparison.map(|c| c.over_seeds_and_queries.1),
                p_value: comparison.map(|c| c.p_value),
                confidence: bootstrap.confidence,
                samples: bootstrap.samples,
                tool: TOOL.into(),
            };
            for (dataset, cell) in study.dataset.iter().zip(&cells) {
                let Some(first) = cell.runs.first() else {
                    continue;
                };
                let summary = summarise_seeds(&cell.results, &bootstrap)?;
                let (a, b) = &cell.pairs;
                let comparison = match is_other && !a.is_empty() {
                    true => Some(compare_seeds(a, b, &bootstrap)?),
                    false => None,
                };
                rows.push(SummaryRow {
                    dataset: dataset.name.clone(),
                    n_seeds: summary.n_seeds,
                    n_queries: summary.n_queries,
                    n_gallery: first.row.n_gallery,
                    acc1: summary.mean,
                    acc1_deviation: summary.deviation,
                    acc1_low_seeds: summary.over_seeds.map(|(low, _)| low),
                    acc1_high_seeds: summary.over_seeds.map(|(_, high)| high),
                    acc1_low: summary.over_seeds_and_queries.0,
                    acc1_high: summary.over_seeds_and_queries.1,
                    acc5: cell.mean(|row| row.acc5),
                    acc10: cell.mean(|row| row.acc10),
                    held_out_acc1: cell.held_out_acc1(),
                    ..blank(comparison)
                });
            }
            if cells.len() < 2 || cells.iter().any(|cell| cell.runs.is_empty()) {
                continue;
            }
            let mean = |value: fn(&RunRow) -> f64| {
                cells.iter().map(|cell| cell.mean(value)).sum::<f64>() / cells.len() as f64
            };
            let sets: Vec<&[Vec<QueryResult>]> = cells.iter().map(|cell| cell.results.as_slice()).collect();
            let (acc1_low, acc1_high) = interval_over_sets(&sets, &bootstrap)?;
            let pairs: Vec<SeedPair<'_>> =
                cells.iter().map(|Cell { pairs: (a, b), .. }| SeedPair { a, b }).collect();
            let comparison = match is_other && pairs.iter().all(|pair| !pair.a.is_empty()) {
                true => Some(compare_over_sets(&pairs, &bootstrap)?),
                false => None,
            };
            together.push(SummaryRow {
                dataset: ALL.into(),
                n_seeds: cells.iter().map(|cell| cell.runs.len()).min().unwrap_or(0),
                n_queries: cells.iter().map(|cell| cell.runs[0].row.n_queries).sum(),
                n_gallery: cells.iter().map(|cell| cell.runs[0].row.n_gallery).sum(),
                acc1: mean(|row| row.acc1),
                acc1_low,
                acc1_high,
                acc5: mean(|row| row.acc5),
                acc10: mean(|row| row.acc10),
                held_out_acc1: mean_of_all(cells.iter().map(Cell::held_out_acc1)),
                ..blank(comparison)
            });
        }
    }
    // As they stand in the study, and all together at the end.
    rows.sort_by_key(|row| study.dataset.iter().position(|dataset| dataset.name == row.dataset));
    rows.extend(together);
    Ok(rows)
}
