//! Exports a network with its photo-pre-trained weights, before any training on sketches, without libtorch.
//!
//! ```sh
//! cargo xtask weights mobilenet_v2
//! cargo run --release -p sketchfind-models --example export -- \
//!     mobilenet_v2 .provision/weights/mobilenet_v2.safetensors 256 224 models/photos-only
//! ```
//!
//! The arguments: the network, its weights, the sides of the resized image and of the crop, the model's folder. The model
//! has no probe, so that `sketchfind verify` cannot check it; `sketchfind-train export` writes one that can be.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use sketchfind_core::card::{self, Card, InputKind, OnnxFacts, Pooling, Precision, Provenance};
use sketchfind_core::image::Preprocess;
use sketchfind_core::{atomic, fingerprint};
use sketchfind_models::network::{Head, Network};
use sketchfind_models::onnx::{self, Arithmetic, ExportOptions};
use sketchfind_models::weights::Weights;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, weights_path, resize, crop, out] = arguments.as_slice() else {
        return Err("expected NETWORK WEIGHTS.safetensors RESIZE CROP MODEL_DIR".into());
    };
    let (weights_path, out) = (Path::new(weights_path), Path::new(out));
    if !atomic::is_free_for(out, card::CARD)? {
        return Err(
            format!("'{}' is there and is no model's folder; it is left as it is", out.display()).into()
        );
    }
    let network = Network::by_name(name, Head::Embedding)?;
    let weights = Weights::load(weights_path)?.for_network(&network)?;
    let (mean, std) = Network::input_of(name).map(|input| (input.mean, input.std))?;
    let preprocess = Preprocess { mean, std, ..Preprocess::imagenet(resize.parse()?, crop.parse()?)? };
    let model = onnx::export(
        &network,
        &weights,
        &ExportOptions {
            input: "image",
            output: "embedding",
            metadata: &BTreeMap::new(),
            image_side: Some(preprocess.crop as usize),
            pixels: Some(&preprocess),
            arithmetic: Arithmetic::Fp32,
        },
    )?;
    let card = Card {
        format: card::FORMAT,
        name: format!("{name}, photo-pre-trained only"),
        network: name.clone(),
        frame: None,
        embedding_width: network.output_width(),
        distance: network.distance(),
        onnx: OnnxFacts {
            sha256: fingerprint::of_bytes(&model),
            input: "image".into(),
            input_kind: InputKind::Uint8Nhwc,
            batch: None,
            output: "embedding".into(),
            pooling: Pooling::None,
            unit_length: false,
            external_data: Vec::new(),
            opset: onnx::OPSET,
            ir_version: onnx::IR_VERSION,
            n_parameters: network.n_parameters(),
            precision: Precision::Fp32,
        },
        preprocess,
        sketch: None,
        provenance: Provenance {
            tool: concat!("sketchfind-models ", env!("CARGO_PKG_VERSION"), ", example export").into(),
            initial_weights_sha256: fingerprint::of_file(weights_path)?,
            initial_weights_source: weights.metadata().get("source").cloned().unwrap_or_default(),
            training: None,
        },
        probe: None,
        evaluations: Vec::new(),
        licence: None,
    };
    atomic::write_folder(out, |new| {
        atomic::write_bytes(&new.join(card::MODEL), &model)?;
        card.save(new)
    })?;
    Ok(())
}
