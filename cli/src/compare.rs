//! `sketchfind compare`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind_eval::Bootstrap;
use sketchfind_eval::attribution::{Blame, attribute};
use sketchfind_eval::metrics::unit_of;
use sketchfind_eval::paired::Comparison;
use sketchfind_eval::report::{self, Report};

use crate::exit::Exit;
use crate::figures::shown;
use crate::output;

pub(crate) fn compare(folders: &[PathBuf], out: Option<&Path>, bootstrap: &Bootstrap) -> Result<Exit> {
    let reports: Vec<Report> =
        folders.iter().map(|folder| Report::read(folder, bootstrap)).collect::<Result<_, _>>()?;
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
