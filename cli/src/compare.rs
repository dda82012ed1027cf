//! `sketchfind compare`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind_core::fingerprint;
use sketchfind_eval::Bootstrap;
use sketchfind_eval::attribution::{Blame, attribute};
use sketchfind_eval::metrics::unit_of;
use sketchfind_eval::paired::Comparison;
use sketchfind_eval::report::{self, Provenance, Report};
use sketchfind_eval::summary::ACCURACY_CUTOFFS;
use sketchfind_eval::trec;

use crate::exit::Exit;
use crate::figures::shown;
use crate::output;
use crate::progress::say;

/// What is compared.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The reports' folders, a baseline's first.
    #[arg(required_unless_present = "run", num_args = 2..)]
    reports: Vec<PathBuf>,
    /// In place of reports, run files (query Q0 photo rank score tag), a baseline's first.
    #[arg(long, value_name = "RUN", num_args = 2.., requires = "qrels", conflicts_with = "reports")]
    run: Vec<PathBuf>,
    /// The matches of the runs' queries (query 0 photo relevance), each query's own photo first: queries of one photo are
    /// resampled together.
    #[arg(long, value_name = "FILE", requires = "run")]
    qrels: Option<PathBuf>,
    /// The k of acc@k of runs; 1,5,10 if none is given. Reports have their own.
    #[arg(short, value_delimiter = ',', value_name = "K,...", requires = "run")]
    k: Option<Vec<usize>>,
    /// Also write comparison.csv into this folder, and attribution.csv where reports have a reference.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// The runs as reports: they have no split and no distance, and the qrels are their data.
fn reports_of_runs(options: &Options, qrels: &Path, bootstrap: &Bootstrap) -> Result<Vec<Report>> {
    let truth = trec::read_qrels(qrels)?;
    let runs = options.run.iter().map(|path| trec::read_run(path)).collect::<Result<Vec<_>, _>>()?;
    let dataset_sha256 = fingerprint::of_file(qrels)?;
    let cutoffs = options.k.as_deref().unwrap_or(&ACCURACY_CUTOFFS);
    let mut reports = Vec::new();
    for ((run, path), judged) in runs.iter().zip(&options.run).zip(trec::judge(&runs, &truth)?) {
        if judged.n_unranked > 0 {
            let (n, all) = (judged.n_unranked, judged.results.len());
            let path = path.display();
            say(&format!("'{path}' holds no match of {n} of {all} queries, which count as not found"));
        }
        let provenance = Provenance {
            tool: concat!("sketchfind ", env!("CARGO_PKG_VERSION")).into(),
            model: run.tag().to_owned(),
            model_sha256: run.sha256().to_owned(),
            dataset_sha256: dataset_sha256.clone(),
            split: String::new(),
            distance: String::new(),
        };
        let report = Report::at(provenance, judged.results, cutoffs, bootstrap)?;
        reports.push(match judged.gallery {
            Some(gallery) => report.with_gallery(&gallery)?,
            None => report,
        });
    }
    Ok(reports)
}

pub(crate) fn compare(options: &Options, bootstrap: &Bootstrap) -> Result<Exit> {
    let out = options.out.as_deref();
    let reports: Vec<Report> = match &options.qrels {
        Some(qrels) => reports_of_runs(options, qrels, bootstrap)?,
        None => {
            let read = |folder: &PathBuf| Report::read(folder, bootstrap);
            options.reports.iter().map(read).collect::<Result<_, _>>()?
        }
    };
    let comparisons = report::compare(&reports, bootstrap)?;
    if let Some(out) = out {
        report::write_comparison(out, &reports, &comparisons, bootstrap)?;
    }
    let percent = 100.0 * bootstrap.confidence;
    for (number, report) in reports.iter().enumerate() {
        if let Some(acc1) = report.summary().get("acc@1") {
            let (value, interval) = shown(acc1);
            output::lines([format!(
                "{}  {}: acc@1 {value} ({percent:.0} % interval {interval}, n = {})",
                letter(number),
                report.provenance().model,
                acc1.n
            )])?;
        }
    }
    for comparison in &comparisons {
        render(comparison, comparisons.len(), bootstrap)?;
        let (baseline, model) = (&reports[comparison.a], &reports[comparison.b]);
        // Blame needs one reference for both.
        if baseline.reference().is_some() && baseline.reference() == model.reference() {
            let attributions = attribute(baseline.results(), model.results())?;
            let n_sketch = attributions.iter().filter(|one| one.blame == Blame::PoorSketch).count();
            output::lines([format!(
                "{} wrong retrievals of {}: poor sketch {n_sketch}, weak model {}",
                attributions.len(),
                letter(comparison.b),
                attributions.len() - n_sketch
            )])?;
            if let Some(out) = out.filter(|_| comparisons.len() == 1) {
                report::write_attribution(out, baseline, model, &attributions)?;
            }
        }
    }
    Ok(Exit::Success)
}

fn render(comparison: &Comparison, n_pairs: usize, bootstrap: &Bootstrap) -> Result<()> {
    let (a, b) = (letter(comparison.a), letter(comparison.b));
    let mut lines = vec![format!(
        "{b} - {a}, {:.0} % intervals by the paired bootstrap over {}; p by permutation{}",
        100.0 * bootstrap.confidence,
        if comparison.is_clustered { "photos" } else { "queries" },
        if n_pairs > 1 { format!(", and Holm's for {n_pairs} comparisons") } else { String::new() }
    )];
    let corrected = |p_holm: f64| {
        if n_pairs > 1 { format!(" (Holm {})", p_value(p_holm)) } else { String::new() }
    };
    let mut rows = Vec::new();
    for difference in &comparison.differences {
        let number = |value: f64| unit_of(&difference.metric).shown_difference(value);
        rows.push(vec![
            format!("  {}", difference.metric),
            number(difference.estimate.value),
            format!("{} to {}", number(difference.estimate.low), number(difference.estimate.high)),
            format!("p = {}{}", p_value(difference.p_value), corrected(difference.p_holm)),
        ]);
    }
    lines.extend(output::table(&rows, &[1, 2]));
    let test = &comparison.mcnemar;
    lines.push(format!(
        "  McNemar's exact test: only {a} right {}, only {b} right {}, p = {}{}",
        test.n_only_a,
        test.n_only_b,
        p_value(test.p_value),
        corrected(test.p_holm)
    ));
    if comparison.is_clustered {
        lines.push(
            "  (McNemar's takes sketches as independent; photos have several: read the permutation test)"
                .into(),
        );
    }
    output::lines(lines)
}

/// A, B, ..., Z, A1, ...
fn letter(number: usize) -> String {
    let letter = char::from(b'A' + (number % 26) as u8);
    if number < 26 { letter.to_string() } else { format!("{letter}{}", number / 26) }
}

fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.3}") }
}
