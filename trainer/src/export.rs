//! A run becomes a model's folder: `model.onnx`, `card.json`, and the probe, a few images with the embeddings that
//! torch gave, by which any machine can check that it computes the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sketchfind_core::card::{self, Card, InputKind, OnnxFacts, Pooling, Precision, Provenance, Training};
use sketchfind_core::dataset::{Modality, Split};
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::frame::{self, Frame};
use sketchfind_core::image::{DecodeLimits, Image, Preprocess};
use sketchfind_core::random::Stream;
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_core::{atomic, fingerprint};
use sketchfind_models::onnx;

use crate::augment;
use crate::checkpoint::Which;
use crate::embed::{TorchEmbedder, named};
use crate::exported::ExportedNetwork;
use crate::fit::network_at;
use crate::network::TorchNetwork;
use crate::picture::Picture;
use crate::run::Run;
use crate::source::ImageSource;
use crate::{Error, Result};

/// Photos, and as many sketches, in a probe.
const N_PROBE_PAIRS: usize = 4;
/// Photos, and as many sketches, that the ranges of 8-bit maps come from.
const N_CALIBRATION_PAIRS: usize = 64;
/// Training pairs, at even steps through the split, that are looked at for the card's frame.
const N_FRAMED_PAIRS: usize = 200;
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
    /// The images, where they are no longer where the run found them.
    pub source: Option<&'a ImageSource>,
    /// The model's name for people; made from the run if not given.
    pub name: Option<&'a str>,
    /// What the graph takes.
    pub input: InputKind,
    /// The arithmetic of its maps.
    pub precision: Precision,
    /// The terms under which the model may be used, in words.
    pub licence: Option<&'a str>,
}

/// Writes the model of a run and returns its card.
///
/// # Errors
/// [`Error::Precision`] where the precision does not suit the network; [`Error::Run`] where the run has no such checkpoint or `out` is another folder; [`Error::Data`] where the data set
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
        method: config.method.name().into(),
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
    let distance = network.distance();
    let metadata =
        metadata(&name, &preprocess, distance, &provenance).map_err(|e| Error::run(options.run, e))?;
    let pairs = training_pairs(&run, options.source)?;
    let calibration = match options.precision {
        Precision::Int8 => calibration_pictures(&pairs, &preprocess)?,
        Precision::Fp32 | Precision::Fp16 => Vec::new(),
    };
    let exported = ExportedNetwork::new(&network, &weights, options.precision, &calibration, &preprocess)?;
    let onnx_options = onnx::ExportOptions {
        input: INPUT,
        output: OUTPUT,
        metadata: &metadata,
        image_side: Some(preprocess.crop as usize),
        pixels: (options.input == InputKind::Uint8Nhwc).then_some(&preprocess),
        arithmetic: exported.arithmetic(),
    };
    let model = onnx::export_folded(exported.network(), exported.weights(), &onnx_options)?;
    let torch = TorchNetwork::new(&network, &weights, tch::Device::Cpu)?;
    let probe = probe_images(&pairs, &preprocess)?;
    let pictures = probe
        .iter()
        .map(|(id, image)| Ok(Picture { id: id.clone(), image: preprocess.resized(image)?, alpha: None }))
        .collect::<Result<Vec<_>>>()?;
    let embeddings = TorchEmbedder { network: &torch, preprocess: &preprocess }.embeddings(
        Modality::Photo,
        &named(&pictures),
        Progress::default(),
        Cancel::default(),
    )?;
    // In the order of the embeddings' ids, which are sorted.
    let mut sorted = pictures;
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    let facts = exported.probe_facts(&sorted, &preprocess, embeddings.values())?;
    let card = Card {
        format: card::FORMAT,
        name,
        network: network.name().into(),
        frame: frame_of(&pairs)?,
        embedding_width: network.output_width(),
        distance,
        onnx: OnnxFacts {
            sha256: fingerprint::of_bytes(&model),
            input: INPUT.into(),
            input_kind: options.input,
            batch: None,
            output: OUTPUT.into(),
            pooling: Pooling::None,
            unit_length: false,
            external_data: Vec::new(),
            opset: onnx::OPSET,
            ir_version: onnx::IR_VERSION,
            n_parameters: network.n_parameters(),
            precision: options.precision,
        },
        preprocess,
        sketch: None,
        provenance,
        probe: facts,
        evaluations: Vec::new(),
        licence: options.licence.map(str::to_owned),
    };
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
    distance: Distance,
    provenance: &Provenance,
) -> serde_json::Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([
        ("sketchfind.name".to_owned(), name.to_owned()),
        ("sketchfind.preprocess".to_owned(), serde_json::to_string(preprocess)?),
        ("sketchfind.distance".to_owned(), distance.name().to_owned()),
        ("sketchfind.provenance".to_owned(), serde_json::to_string(provenance)?),
    ]))
}

/// A training photo and, where one is there, its sketch.
type Pair = (PathBuf, Option<PathBuf>);

/// The run's training photos, each with its first sketch; photos without one only where the run drew lines of them.
///
/// # Errors
/// [`Error::Data`] where the images are not those that the run was trained on; errors of files.
fn training_pairs(run: &Run, source: Option<&ImageSource>) -> Result<Vec<Pair>> {
    let dataset = run.dataset(source)?;
    let mut sketches: BTreeMap<&str, &Path> = BTreeMap::new();
    for sketch in dataset.sketches() {
        sketches.entry(&dataset.photo_of(sketch).id).or_insert(&sketch.path);
    }
    let pairs = dataset.photos_in(Split::Train).filter_map(|photo| {
        let sketch = sketches.get(photo.id.as_str()).map(|path| path.to_path_buf());
        (sketch.is_some() || run.n_photos_without_sketch > 0).then(|| (photo.path.clone(), sketch))
    });
    Ok(pairs.collect())
}

/// A pair's images: the photo, and the sketch or lines that are drawn from the photo in its place.
fn images_of((photo, sketch): &Pair, number: usize, preprocess: &Preprocess) -> Result<[Image; 2]> {
    let (image, alpha) = Image::open_with_alpha(photo, DecodeLimits::default())?;
    let sketch = match sketch {
        Some(path) => Image::open(path, DecodeLimits::default())?,
        None => {
            // At the size at which lines are drawn in training: filters are so many pixels wide.
            let alpha = alpha.map(|alpha| alpha.resized(preprocess)).transpose()?;
            let picture = Picture { id: String::new(), image: preprocess.resized(&image)?, alpha };
            augment::drawn(&picture, &mut Stream::new(0, "exported lines", &[number as u64]))?
        }
    };
    Ok([image, sketch])
}

/// How training images lay on their pages; nothing where there was no sketch or none with anything on it. Where lines were
/// drawn of photos, the sketch is where the product is.
fn frame_of(pairs: &[Pair]) -> Result<Option<Frame>> {
    let n = pairs.len().min(N_FRAMED_PAIRS);
    let looked_at: Vec<(Option<f32>, Option<f32>)> = (0..n)
        .into_par_iter()
        .map(|number| {
            let (photo, sketch) = &pairs[number * pairs.len() / n];
            let of_photo = frame::share_of_photo(&Image::open(photo, DecodeLimits::default())?)?;
            let of_sketch = match sketch {
                Some(path) => frame::share_of_sketch(&frame::open_sketch(path, DecodeLimits::default())?)?,
                None => of_photo,
            };
            Ok((of_sketch, of_photo))
        })
        .collect::<Result<_>>()?;
    let (sketches, photos): (Vec<_>, Vec<_>) = looked_at.into_iter().unzip();
    let frame = Frame::of_shares(sketches.into_iter().flatten().collect(), photos);
    // Drawings that fill next to nothing of their pages are no frame that others could be brought into.
    Ok(frame.filter(|frame| frame.check().is_ok()))
}

/// Training images, resized, over which 8-bit arithmetic is calibrated: pairs at even steps through the split.
fn calibration_pictures(pairs: &[Pair], preprocess: &Preprocess) -> Result<Vec<Picture>> {
    let n = pairs.len().min(N_CALIBRATION_PAIRS);
    let mut pictures = Vec::with_capacity(2 * n);
    for number in 0..n {
        let place = number * pairs.len() / n;
        for image in images_of(&pairs[place], place, preprocess)? {
            let id = format!("{}-{}", place, pictures.len());
            pictures.push(Picture { id, image: preprocess.resized(&image)?, alpha: None });
        }
    }
    Ok(pictures)
}

/// The probe's images, `photo-1`, `sketch-1`, ...: the first training photos and their sketches.
fn probe_images(pairs: &[Pair], preprocess: &Preprocess) -> Result<Vec<(String, Image)>> {
    let mut images = Vec::new();
    for (number, pair) in pairs.iter().take(N_PROBE_PAIRS).enumerate() {
        for (kind, image) in ["photo", "sketch"].into_iter().zip(images_of(pair, number, preprocess)?) {
            let is_large = image.width().max(image.height()) > MAX_PROBE_SIDE;
            let image = if is_large { preprocess.resized(&image)? } else { image };
            images.push((format!("{kind}-{}", number + 1), image));
        }
    }
    Ok(images)
}
