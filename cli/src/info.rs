//! `sketchfind info`.

use std::path::Path;

use anyhow::Result;
use sketchfind::LARGEST_EXACT;
use sketchfind::home::{self, Home, is_address};
use sketchfind::{Access, Costs, Gallery, IndexSpec, Recall, gallery, native};
use sketchfind_core::card::{CARD, Card, OnnxFacts, Pooling};
use sketchfind_core::image::{Interpolation, Preprocess, ResizeRule};
use sketchfind_models::network::Network;
use sketchfind_models::weights::Weights;

use crate::exit::Exit;
use crate::output;

pub(crate) fn info(path: Option<&Path>) -> Result<Exit> {
    let lines = match path {
        None => program(),
        Some(path) if is_address(path) || path.join(gallery::MANIFEST).is_file() => {
            of_gallery(home::open(path, Access::Read)?.as_ref())?
        }
        Some(path) if path.join(CARD).is_file() => of_card(&Card::load_with_model(path)?),
        Some(path) if path.is_file() => of_weights(&Weights::load(path)?),
        Some(path) => {
            let reason =
                format!("neither a model's folder ({CARD}), a gallery ({}) nor a file", gallery::MANIFEST);
            return Err(sketchfind_core::Error::malformed(path, reason).into());
        }
    };
    output::lines(lines)?;
    Ok(Exit::Success)
}

fn program() -> Vec<String> {
    let onnx_runtime = match native::init(None) {
        Ok(found) => format!("{} ('{}')", found.version, found.path.display()),
        Err(error) => format!("not usable: {error}"),
    };
    vec![
        format!("sketchfind     {}", env!("CARGO_PKG_VERSION")),
        format!("ONNX Runtime   {onnx_runtime}"),
        format!("networks       {}", Network::names().join(", ")),
    ]
}

fn of_card(card: &Card) -> Vec<String> {
    let preprocess = &card.preprocess;
    let mut lines = vec![
        format!("model          {}", card.name),
        format!("network        {} ({} parameters)", card.network, card.onnx.n_parameters),
        format!("sha256         {}", card.fingerprint()),
        format!("embedding      {} numbers, compared by {}", card.embedding_width, card.distance),
        format!("images         {}", images(preprocess)),
        format!("onnx           {}", onnx(&card.onnx)),
    ];
    if let Some(sketch) = &card.sketch {
        lines.push(format!("sketches       {}", images(&sketch.preprocess)));
        lines.push(format!("sketch.onnx    {}", onnx(&sketch.onnx)));
    }
    lines.extend([format!("weights from   {}", card.provenance.initial_weights_source)]);
    lines.push(match &card.provenance.training {
        None => "training       none".into(),
        Some(training) => format!(
            "training       {}, {} epochs ({} steps) on {} sketches of {} photos, seed {}",
            training.method,
            training.epochs,
            training.steps,
            training.n_sketches,
            training.n_photos,
            training.seed
        ),
    });
    lines.push(format!("exported by    {}", card.provenance.tool));
    if let Some(probe) = &card.probe {
        lines.push(format!(
            "probe          off by {:.2e} at export, {:.1e} is allowed",
            probe.deviation, probe.tolerance
        ));
    }
    for evaluation in &card.evaluations {
        for at in &evaluation.accuracy {
            lines.push(format!(
                "acc@{:<11}{:.2} % ({:.2} to {:.2}) on {}, {}: {} sketches, {} photos",
                at.k,
                100.0 * at.value,
                100.0 * at.low,
                100.0 * at.high,
                evaluation.dataset,
                evaluation.split,
                evaluation.n_queries,
                evaluation.n_gallery
            ));
        }
    }
    lines.extend(card.licence.iter().map(|licence| format!("licence        {licence}")));
    lines
}

/// How images become a network's input.
fn images(preprocess: &Preprocess) -> String {
    let how = match preprocess.resize_rule {
        ResizeRule::Squash => "",
        ResizeRule::ShorterSide => " by the shorter side",
    };
    let kind = match preprocess.interpolation {
        Interpolation::BilinearAntialias => "",
        Interpolation::BicubicAntialias => ", bicubic",
    };
    format!("resized to {0} x {0}{how}{kind}, centre {1} x {1}", preprocess.resize, preprocess.crop)
}

fn onnx(facts: &OnnxFacts) -> String {
    let mut parts = vec![facts.precision.name().to_owned(), format!("input {}", facts.input_kind.name())];
    parts.extend(facts.batch.map(|batch| format!("batches of {batch}")));
    if facts.pooling != Pooling::None {
        parts.push(format!("pooled as {}", facts.pooling.name()));
    }
    if facts.unit_length {
        parts.push("to unit length".into());
    }
    parts.push(format!("opset {}", facts.opset));
    parts.push(format!("IR version {}", facts.ir_version));
    parts.join(", ")
}

fn of_gallery(gallery: &dyn Home) -> Result<Vec<String>> {
    let n_photos = gallery.look().len()?;
    let kind = match gallery.folder() {
        Some(folder) => format!("format {}", folder.manifest().format),
        None => format!("in '{}'", gallery.place().display()),
    };
    let mut lines = vec![
        format!("gallery        {n_photos} photos, {kind}"),
        format!("index          {}", index(gallery)?),
    ];
    lines.extend(gallery.recall().map(|found| format!("graph          {}", recall(found))));
    match gallery.card() {
        Some(card) => lines.extend(of_card(card)),
        None => {
            let space = gallery.space();
            lines.push("model          none; photos and queries are embeddings that are given".to_owned());
            lines.extend(
                space
                    .model_sha256
                    .map(|sha256| format!("sha256         {sha256}, of the model that made them")),
            );
            lines.push(format!("embedding      {} numbers, compared by {}", space.width, space.distance));
        }
    }
    Ok(lines)
}

/// Which index a gallery has, and why.
pub(crate) fn index(gallery: &dyn Home) -> Result<String> {
    let asked = gallery.index();
    if asked != IndexSpec::Auto {
        return Ok(asked.name().to_owned());
    }
    let look = gallery.look();
    let (n, width) = (look.len()?, look.width());
    let costs = gallery.folder().and_then(Gallery::costs);
    let largest = costs.map_or(LARGEST_EXACT, Costs::largest_exact) / width.max(1) as u64;
    let kind = asked.kind(costs, (n as u64).saturating_mul(width as u64));
    let why = match costs {
        None => "a limit that was not measured".to_owned(),
        Some(costs) => format!(
            "where exact search took as long as an embedding, {:.1} ms, on the machine that built it",
            costs.embedding_us as f64 / 1000.0
        ),
    };
    Ok(format!("auto: {kind} at {n} photos, exact up to {largest}, {why}"))
}

/// How much a graph finds.
pub(crate) fn recall(recall: Recall) -> String {
    format!(
        "recall@{} {:.2} % against exact search ({} of {} for {} of its {} photos; sketches lie farther off)",
        recall.k,
        100.0 * recall.value(),
        recall.n_found,
        recall.n_nearest,
        recall.n_queries,
        recall.n_photos
    )
}

fn of_weights(weights: &Weights) -> Vec<String> {
    let n_values: usize = weights.iter().map(|(_, tensor)| tensor.values.len()).sum();
    let mut lines = vec![format!("weights        {} tensors, {n_values} values", weights.len())];
    lines.extend(weights.metadata().iter().map(|(key, value)| format!("{key:<14} {value}")));
    lines
}
