//! A run becomes a model's folder: `model.onnx`, `card.json`, and the probe, a few images with the embeddings that
//! torch gave, by which any machine can check that it computes the same.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind_core::card::{self, Card, OnnxFacts, Provenance, Training};
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::distance::Distance;
use sketchfind_core::image::{DecodeLimits, Preprocess, Rgb8Image};
use sketchfind_core::{atomic, fingerprint};
use sketchfind_models::onnx;

use crate::checkpoint::Which;
use crate::data::Picture;
use crate::fit::network_at;
use crate::network::TorchNetwork;
use crate::run::Run;
use crate::validation::embed;
use crate::{Error, Result};

/// Photos, and as many sketches, in a probe.
const N_PROBE_PAIRS: usize = 4;
/// A larger probe image is stored as resized, in pixels of its longer side.
const MAX_PROBE_SIDE: u32 = 1024;
const INPUT: &str = "image";
const OUTPUT: &str = "embedding";

/// What to export.
#[derive(Debug)]
pub struct ExportOptions<'a> {
    /// The run's folder.
    pub run: &'a Path,
    /// The model's folder; an existing model there is replaced.
    pub out: &'a Path,
    /// The checkpoint, or nothing for the network before training.
    pub checkpoint: Option<Which>,
    /// The data set, where it is no longer where the run found it.
    pub data: Option<&'a Path>,
    /// The model's name for people; made from the run if not given.
    pub name: Option<&'a str>,
}

/// Writes the model of a run and returns its card.
///
/// # Errors
/// [`Error::Run`] where the run has no such checkpoint or `out` is another folder; [`Error::Data`] where the data set
/// is not the run's; errors of files.
pub fn export(options: &ExportOptions<'_>) -> Result<Card> {
    let out = options.out;
    if !atomic::is_free_for(out, card::CARD)? {
        return Err(Error::run(out, "is there and is no model's folder; it is left as it is"));
    }
    let run = Run::load(options.run)?;
    let config = run.checked_config(options.run)?;
    let (network, weights, position) = network_at(options.run, &config, &run, options.checkpoint)?;
    let preprocess = config.preprocess()?;
    let training = options.checkpoint.map(|_| Training {
        method: config.train.method.name().into(),
        dataset_sha256: run.dataset_sha256.clone(),
        n_photos: run.n_photos,
        n_sketches: run.n_sketches,
        seed: config.seed,
        epochs: position.epochs_done,
        steps: position.steps_done,
        config: run.config.clone(),
    });
    let name = match (options.name, &training) {
        (Some(name), _) => name.to_owned(),
        (None, None) => format!("{}, photo-pre-trained only", network.name()),
        (None, Some(training)) => {
            format!("{}, {}, {} epochs", network.name(), training.method, training.epochs)
        }
    };
    let provenance = Provenance {
        tool: concat!("sketchfind-train ", env!("CARGO_PKG_VERSION")).into(),
        initial_weights_sha256: run.weights_sha256.clone(),
        initial_weights_source: run.weights_source.clone(),
        training,
    };
    let metadata = metadata(&name, &preprocess, &provenance).map_err(|e| Error::run(options.run, e))?;
    let onnx_options = onnx::ExportOptions {
        input: INPUT,
        output: OUTPUT,
        metadata: &metadata,
        image_side: Some(preprocess.crop as usize),
    };
    let model = onnx::export(&network, &weights, &onnx_options)?;
    let card = Card {
        format: card::FORMAT,
        name,
        network: network.name().into(),
        embedding_width: network.output_width(),
        distance: Distance::Mse,
        onnx: OnnxFacts {
            sha256: fingerprint::of_bytes(&model),
            input: INPUT.into(),
            output: OUTPUT.into(),
            opset: onnx::OPSET,
            ir_version: onnx::IR_VERSION,
            n_parameters: network.n_parameters(),
        },
        preprocess,
        provenance,
    };
    let torch = TorchNetwork::new(&network, &weights, tch::Device::Cpu)?;
    let probe = probe_images(&run, options.data, &card.preprocess)?;
    let pictures = probe
        .iter()
        .map(|(id, image)| Ok(Picture { id: id.clone(), image: card.preprocess.resized(image)? }))
        .collect::<Result<Vec<_>>>()?;
    let embeddings = embed(&torch, &pictures.iter().collect::<Vec<_>>(), &card.preprocess)?;
    atomic::write_folder(out, |new| {
        atomic::write_bytes(&new.join(card::MODEL), &model)?;
        for (id, image) in &probe {
            atomic::write_bytes(&new.join(card::PROBE_IMAGES).join(format!("{id}.png")), &image.to_png()?)?;
        }
        embeddings.save(&new.join(card::PROBE_EMBEDDINGS))?;
        card.save(new)
    })?;
    Ok(card)
}

/// Notes inside of the ONNX file, so that it explains itself when the card is lost.
fn metadata(
    name: &str,
    preprocess: &Preprocess,
    provenance: &Provenance,
) -> serde_json::Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([
        ("sketchfind.name".to_owned(), name.to_owned()),
        ("sketchfind.preprocess".to_owned(), serde_json::to_string(preprocess)?),
        ("sketchfind.distance".to_owned(), Distance::Mse.name().to_owned()),
        ("sketchfind.provenance".to_owned(), serde_json::to_string(provenance)?),
    ]))
}

/// The first photos of the training split and a sketch of each, decoded.
fn probe_images(run: &Run, data: Option<&Path>, preprocess: &Preprocess) -> Result<Vec<(String, Rgb8Image)>> {
    let dataset = Dataset::load(data.unwrap_or(&run.manifest))?;
    let sha256 = dataset.fingerprint()?;
    if sha256 != run.dataset_sha256 {
        let reason =
            format!("it is not the run's: its fingerprint is {sha256}, expected {}", run.dataset_sha256);
        return Err(Error::Data { path: dataset.manifest().to_owned(), reason });
    }
    let mut images = Vec::new();
    let pairs = dataset.photos_in(Split::Train).filter_map(|photo| {
        let sketch = dataset.sketches().iter().find(|sketch| dataset.photo_of(sketch).id == photo.id)?;
        Some((photo, sketch))
    });
    for (number, (photo, sketch)) in pairs.take(N_PROBE_PAIRS).enumerate() {
        for (kind, path) in [("photo", &photo.path), ("sketch", &sketch.path)] {
            let image = Rgb8Image::open(path, DecodeLimits::ORDINARY)?;
            let is_large = image.width().max(image.height()) > MAX_PROBE_SIDE;
            let image = if is_large { preprocess.resized(&image)? } else { image };
            images.push((format!("{kind}-{}", number + 1), image));
        }
    }
    Ok(images)
}
