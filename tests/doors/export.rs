//! A network's description, its ONNX file in ONNX Runtime, and the naive interpreter agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use sketchfind::{Embedder, EmbedderOptions};
use sketchfind_core::card::{self, Card, InputKind, OnnxFacts, Pooling, Precision, Provenance};
use sketchfind_core::fingerprint;
use sketchfind_core::image::Preprocess;
use sketchfind_core::random::Stream;
use sketchfind_models::network::builder::Builder;
use sketchfind_models::network::{Head, Network, Op, Padding};
use sketchfind_models::onnx::{self, Arithmetic, ExportOptions};
use sketchfind_models::weights::{Tensor, Weights};
use sketchfind_tests::programs::succeed;
use sketchfind_tests::{naive, reference, surroundings};

/// Writes a model's folder without a probe: 32 bits, tensors in.
pub(crate) fn write_model(folder: &Path, network: &Network, weights: &Weights, preprocess: Preprocess) {
    write_model_as(folder, network, weights, preprocess, InputKind::Float32Nchw, Arithmetic::Fp32);
}

/// Writes a model's folder without a probe.
pub(crate) fn write_model_as(
    folder: &Path,
    network: &Network,
    weights: &Weights,
    preprocess: Preprocess,
    input_kind: InputKind,
    arithmetic: Arithmetic<'_>,
) {
    let metadata = BTreeMap::from([("purpose".to_owned(), "a test".to_owned())]);
    let options = ExportOptions {
        input: "image",
        output: "embedding",
        metadata: &metadata,
        image_side: Some(preprocess.crop as usize),
        pixels: (input_kind == InputKind::Uint8Nhwc).then_some(&preprocess),
        arithmetic,
    };
    let bytes = onnx::export(network, weights, &options).unwrap();
    std::fs::write(folder.join(card::MODEL), &bytes).unwrap();
    let card = Card {
        format: card::FORMAT,
        name: network.name().into(),
        network: network.name().into(),
        preprocess,
        frame: None,
        embedding_width: network.output_width(),
        distance: network.distance(),
        onnx: OnnxFacts {
            sha256: fingerprint::of_bytes(&bytes),
            input: "image".into(),
            input_kind,
            batch: None,
            output: "embedding".into(),
            pooling: Pooling::None,
            unit_length: false,
            external_data: Vec::new(),
            opset: onnx::OPSET,
            ir_version: onnx::IR_VERSION,
            n_parameters: network.n_parameters(),
            precision: match arithmetic {
                Arithmetic::Fp32 => Precision::Fp32,
                Arithmetic::Fp16 => Precision::Fp16,
                Arithmetic::Int8(_) => Precision::Int8,
            },
        },
        sketch: None,
        provenance: Provenance {
            tool: "test".into(),
            initial_weights_sha256: String::new(),
            initial_weights_source: "random".into(),
            training: None,
        },
        probe: None,
        evaluations: Vec::new(),
        licence: None,
    };
    card.save(folder).unwrap();
}

/// Every operation, a batch norm that cannot be folded, uneven strides, and pooling that rounds up.
pub(crate) fn every_operation() -> Network {
    let mut b = Builder::new();
    let x = b.conv("conv1", b.input(), 3, 8, 3, 2, 1, 1, true);
    let x = b.batch_norm("bn1", x, 8);
    let x = b.relu6(x);
    let y = b.conv("conv2", x, 8, 8, 3, 1, 1, 8, false);
    let y = b.batch_norm("bn2", y, 8);
    let x = b.sum(x, y);
    let x = b.batch_norm("bn3", x, 8);
    let x = b.relu(x);
    let pool = Op::MaxPool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ceil_mode: true };
    let x = b.add_op(pool, vec![x]);
    let uneven = Op::Conv2d {
        name: "conv3".into(),
        in_channels: 8,
        out_channels: 6,
        kernel: [1, 3],
        stride: [2, 1],
        padding: Padding::Fixed([0, 1]),
        groups: 2,
        bias: false,
    };
    let x = b.add_op(uneven, vec![x]);
    let x = b.add_op(Op::LayerNorm { name: "ln1".into(), channels: 6, eps: 1e-6 }, vec![x]);
    let x = b.linear("wide", x, 6, 9);
    let x = b.add_op(Op::Gelu, vec![x]);
    let x = b.add_op(Op::ChannelScale { name: "layer_scale".into(), channels: 9 }, vec![x]);
    let same = |name: &str| Op::Conv2d {
        name: name.into(),
        in_channels: 9,
        out_channels: 6,
        kernel: [3, 5],
        stride: [2, 2],
        padding: Padding::Same,
        groups: 1,
        bias: true,
    };
    let (y, z) = (b.add_op(same("conv4"), vec![x]), b.add_op(same("conv5"), vec![x]));
    let x = b.concat(&[y, z]);
    let x = b.avg_pool(x, 3, 1, 1);
    let x = b.global_avg_pool(x);
    let x = b.add_op(Op::LayerNorm { name: "ln2".into(), channels: 12, eps: 1e-6 }, vec![x]);
    let x = b.linear("head", x, 12, 5);
    b.add_op(Op::L2Normalise, vec![x]);
    Network::new("every_operation", b.finish()).unwrap()
}

/// A convolution, the generalised mean over cells, a linear layer without a bias.
fn pooled_by_cells(cells: usize, is_learnt: bool) -> (Network, Weights) {
    let mut b = Builder::new();
    let x = b.conv("conv", b.input(), 3, 6, 3, 2, 1, 1, true);
    let x = b.relu(x);
    let x = b.add_op(Op::Gem { p: 2.5, name: is_learnt.then(|| "gem.p".into()), cells }, vec![x]);
    let in_features = 6 * cells * cells;
    b.add_op(Op::Linear { name: "head".into(), in_features, out_features: 5, bias: false }, vec![x]);
    let network = Network::new("pooled", b.finish()).unwrap();
    let mut weights = Weights::random(&network, 1);
    if is_learnt {
        weights.insert("gem.p", Tensor::new(vec![1], vec![3.25]).unwrap());
    }
    (network, weights)
}

#[test]
fn generalised_means_over_cells_equal_their_definition() {
    for (cells, is_learnt) in [(1, false), (1, true), (2, false), (4, true)] {
        let (network, weights) = pooled_by_cells(cells, is_learnt);
        let worst = disagreement(&network, &weights, 24);
        assert!(worst < 1e-5, "{cells} cells: {worst}");
    }
    // 12 x 12 places are not five parts of one size.
    let (network, weights) = pooled_by_cells(5, false);
    let options = ExportOptions {
        input: "image",
        output: "embedding",
        metadata: &BTreeMap::new(),
        image_side: Some(24),
        pixels: None,
        arithmetic: Arithmetic::Fp32,
    };
    let message = onnx::export(&network, &weights, &options).unwrap_err().to_string();
    assert!(message.contains("12 x 12") && message.contains("5 x 5"), "{message}");
}

/// The largest difference between ONNX Runtime and the naive interpreter, over the largest component.
fn disagreement(network: &Network, weights: &Weights, side: u32) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), network, weights, Preprocess::imagenet(side, side).unwrap());
    let mut embedder = Embedder::open(folder.path(), EmbedderOptions::cpu()).unwrap();
    let mut stream = Stream::new(1, "images", &[]);
    let len = 3 * (side * side) as usize;
    let images: Vec<f32> = (0..2 * len).map(|_| (4.0 * stream.unit() - 2.0) as f32).collect();
    let ours = embedder.embed_tensors(2, images.clone()).unwrap();
    let naive: Vec<f64> =
        images.chunks(len).flat_map(|image| naive::forward(network, weights, image, side as usize)).collect();
    assert_eq!(ours.len(), naive.len());
    let largest = naive.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let difference = ours.iter().zip(&naive).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(largest > 0.0);
    difference / largest
}

#[test]
fn onnx_runtime_computes_what_the_description_says() {
    let network = every_operation();
    for side in [15, 16, 21] {
        let found = disagreement(&network, &Weights::random(&network, 7), side);
        assert!(found < 1e-5, "{found} at {side} pixels");
    }
}

/// A map of one size only, flattened.
#[test]
fn a_flattened_map_is_what_the_description_says() {
    let mut b = Builder::new();
    let x = b.max_pool(b.input(), 2, 2, 0);
    let x = b.add_op(Op::Flatten { size: [4, 4] }, vec![x]);
    b.linear("head", x, 48, 3);
    let network = Network::new("flattened", b.finish()).unwrap();
    let found = disagreement(&network, &Weights::random(&network, 7), 8);
    assert!(found < 1e-6, "{found}");
}

/// ONNX Runtime against the outputs of another's implementation, for every network.
#[test]
fn every_network_gives_what_the_reference_gave() {
    let outputs = reference::outputs();
    for name in Network::names() {
        assert!(outputs.iter().any(|output| output.network == name), "{name} has no reference");
    }
    for output in outputs {
        let head = if output.head == "scores" { Head::Classifier } else { Head::Embedding };
        let network = Network::by_name(&output.network, head).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let side = output.side as u32;
        let preprocess = Preprocess::imagenet(side, side).unwrap();
        write_model(folder.path(), &network, &reference::weights(&network), preprocess);
        let mut embedder = Embedder::open(folder.path(), EmbedderOptions::cpu()).unwrap();
        let ours = embedder.embed_tensors(1, reference::image(output.side)).unwrap();
        let found = reference::disagreement(&ours, &output.values);
        assert!(found < 5e-5, "{}, {}: {found}", output.network, output.head);
    }
}

#[test]
fn onnx_checker_accepts_what_is_written() {
    let Some(python) = surroundings::python() else { return };
    let script = surroundings::checkout().join("tests/reference/check_onnx.py");
    for name in ["every_operation", "mobilenet_v2", "resnet50", "resnet50_v1"] {
        let network = match name {
            "every_operation" => every_operation(),
            name => Network::by_name(name, Head::Embedding).unwrap(),
        };
        let folder = tempfile::tempdir().unwrap();
        let preprocess = Preprocess::imagenet(64, 64).unwrap();
        write_model(folder.path(), &network, &Weights::random(&network, 1), preprocess);
        let said = succeed(Command::new(&python).arg(&script).arg(folder.path().join(card::MODEL)));
        let expected = format!("n x {}; opset 17, IR 8; purpose=a test", network.output_width());
        assert_eq!(said.trim(), expected, "{name}");
    }
}
