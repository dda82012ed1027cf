//! `sketchfind eval`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_eval::report::{Provenance, Report};
use sketchfind_eval::{Bootstrap, Estimate, rank_queries};
use sketchfind_runtime::{Embedder, OnBroken};

use crate::embed::{embed_files, files_of_split};
use crate::exit::Exit;
use crate::progress::say;
use crate::{Compute, Which, output};

pub(crate) fn evaluate(
    model: &Path,
    data: &Path,
    split: Split,
    out: &Path,
    bootstrap: &Bootstrap,
    compute: Compute,
) -> Result<Exit> {
    let dataset = Dataset::load(data)?;
    let mut embedder = Embedder::open(model, compute.options())?;
    // A broken image stops an evaluation: leaving it out would change what is measured.
    let mut embed = |which, what| -> Result<Embeddings> {
        let files = files_of_split(&dataset, split, which);
        Ok(embed_files(&mut embedder, &files, OnBroken::Refuse, what)?.embeddings)
    };
    let gallery = embed(Which::Photos, "embedding photos")?;
    let queries = embed(Which::Sketches, "embedding sketches")?;
    let truth: BTreeMap<String, String> = dataset
        .sketches_in(split)
        .map(|sketch| (sketch.id.clone(), dataset.photo_of(sketch).id.clone()))
        .collect();
    let card = embedder.card();
    let results = rank_queries(&queries, &gallery, &truth, card.distance)?;
    let provenance = Provenance {
        tool: concat!("sketchfind ", env!("CARGO_PKG_VERSION")).into(),
        model: card.name.clone(),
        model_sha256: card.onnx.sha256.clone(),
        dataset_sha256: dataset.fingerprint()?,
        split: split.to_string(),
        distance: card.distance.to_string(),
    };
    let report = Report::new(provenance, results, bootstrap)?;
    report.write(out)?;
    render(&report)?;
    say(&format!("report written to '{}'", out.join(sketchfind_eval::report::HTML).display()));
    Ok(Exit::Success)
}

fn render(report: &Report) -> Result<()> {
    let summary = report.summary();
    let percent = 100.0 * summary.bootstrap.confidence;
    output::lines([format!(
        "{} on {}: {} sketches of {} photos, gallery of {}",
        report.provenance().model,
        report.provenance().split,
        summary.n_queries,
        summary.n_photos,
        summary.n_gallery
    )])?;
    let mut rows =
        vec![vec!["metric".into(), "value".into(), format!("{percent:.0} % interval"), "n".into()]];
    rows.extend(summary.estimates.iter().map(|estimate| {
        let (value, interval) = shown(estimate);
        vec![estimate.metric.clone(), value, interval, estimate.n.to_string()]
    }));
    output::lines(output::table(&rows, &[1, 2, 3]))
}

/// A figure and its interval; shares as per cent.
pub(crate) fn shown(estimate: &Estimate) -> (String, String) {
    let number = |value: f64| {
        if estimate.metric.starts_with("acc@") {
            format!("{:.2} %", 100.0 * value)
        } else {
            format!("{value:.3}")
        }
    };
    (number(estimate.value), format!("{} to {}", number(estimate.low), number(estimate.high)))
}
