//! `sketchfind compare`.

use std::path::Path;

use anyhow::Result;
use sketchfind_eval::Bootstrap;
use sketchfind_eval::report::{self, Report};

use crate::evaluate::shown;
use crate::exit::Exit;
use crate::output;

pub(crate) fn compare(a: &Path, b: &Path, out: Option<&Path>, bootstrap: &Bootstrap) -> Result<Exit> {
    let (report_a, report_b) = (Report::read(a, bootstrap)?, Report::read(b, bootstrap)?);
    let comparison = report::compare(&report_a, &report_b, bootstrap)?;
    if let Some(out) = out {
        report::write_comparison(out, &report_a, &report_b, &comparison, bootstrap)?;
    }
    let percent = 100.0 * bootstrap.confidence;
    for (name, report) in [("A", &report_a), ("B", &report_b)] {
        if let Some(acc1) = report.summary().get("acc@1") {
            let (value, interval) = shown(acc1);
            output::lines([format!(
                "{name}  {}: acc@1 {value} ({percent:.0} % interval {interval}, n = {})",
                report.provenance().model,
                acc1.n
            )])?;
        }
    }
    let difference = &comparison.difference;
    let points = |value: f64| format!("{:+.2}", 100.0 * value);
    let test = &comparison.mcnemar;
    output::lines([
        format!(
            "B - A  {} points ({percent:.0} % interval {} to {}, paired bootstrap over {})",
            points(difference.value),
            points(difference.low),
            points(difference.high),
            if comparison.is_clustered { "photos" } else { "queries" }
        ),
        format!(
            "McNemar's exact test: only A right {}, only B right {}, p = {}",
            test.n_only_a,
            test.n_only_b,
            p_value(test.p_value)
        ),
    ])?;
    Ok(Exit::Success)
}

fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.3}") }
}
