//! Models in 16 and 8 bits, and models that take pixels.

use std::collections::BTreeMap;
use std::process::Command;

use sketchfind::{Device, Embedder, EmbedderOptions, verify};
use sketchfind_core::card::{Card, InputKind, MODEL, Precision};
use sketchfind_core::distance::Distance;
use sketchfind_core::image::{Image, Preprocess};
use sketchfind_core::random::Stream;
use sketchfind_models::equalise::{Channels, Factors};
use sketchfind_models::fold::folded;
use sketchfind_models::network::{Head, Network, Op};
use sketchfind_models::onnx::Arithmetic;
use sketchfind_models::quantise::{Histogram, Quantisation, points};
use sketchfind_models::weights::Weights;
use sketchfind_tests::programs::{program, succeed};
use sketchfind_tests::surroundings;

use crate::export::{every_operation, write_model, write_model_as};
use crate::training::{CONFIG, Scene};

fn noise(n: usize, side: u32) -> Vec<Image> {
    let mut stream = Stream::new(3, "noise", &[]);
    let mut pixels = || (0..side * side * 3).map(|_| stream.below(256) as u8).collect();
    (0..n).map(|_| Image::new(side, side, pixels()).unwrap()).collect()
}

/// Scales for every map without looking at one: values within 4 of 0.
fn guessed(network: &Network, weights: &Weights) -> Quantisation {
    let (network, _) = folded(network, weights).unwrap();
    let histogram = |index| {
        let mut histogram = Histogram::new(-4.0, 4.0);
        histogram.add(vec![1.0; histogram.n_bins()]);
        (index, histogram)
    };
    let histograms: BTreeMap<usize, Histogram> = points(&network).into_iter().map(histogram).collect();
    Quantisation::new(&network, (-2.2, 2.7), &histograms).unwrap()
}

/// The graph normalises as the caller would have: the same numbers go into the first convolution.
#[test]
fn pixels_and_tensors_give_the_same_embeddings() {
    for (name, side) in [("every_operation", 21), ("mobilenet_v2", 64), ("inception_v3", 96)] {
        let network = match name {
            "every_operation" => every_operation(),
            name => Network::by_name(name, Head::Embedding).unwrap(),
        };
        let weights = Weights::random(&network, 1);
        let preprocess = Preprocess::imagenet(side + 5, side).unwrap();
        let images = noise(3, side + 9);
        let embeddings = [InputKind::Float32Nchw, InputKind::Uint8Nhwc].map(|input| {
            let folder = tempfile::tempdir().unwrap();
            write_model_as(folder.path(), &network, &weights, preprocess.clone(), input, Arithmetic::Fp32);
            Embedder::open(folder.path(), EmbedderOptions::cpu()).unwrap().embed(&images).unwrap()
        });
        let largest = embeddings[0].iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (a, b) in embeddings[0].iter().zip(&embeddings[1]) {
            assert!((a - b).abs() <= 1e-6 * largest, "{name}: {a} and {b}");
        }
    }
}

/// Whatever is said to be seen of the maps, equalised weights compute what the weights do: in networks with sums, with
/// concatenations, and with batch norms that cannot be folded.
#[test]
fn equalised_networks_give_the_same_embeddings() {
    for name in ["resnet18", "googlenet", "densenet121"] {
        let network = Network::by_name(name, Head::Embedding).unwrap();
        let (network, weights) = folded(&network, &Weights::random(&network, 1)).unwrap();
        let mut stream = Stream::new(4, "magnitudes", &[]);
        let channels_of = |index: usize| match &network.nodes()[index].op {
            Op::Conv2d { out_channels, .. } => Some(*out_channels),
            _ => None,
        };
        let mut seen = BTreeMap::new();
        for (index, channels) in (0..network.nodes().len()).filter_map(|i| Some((i, channels_of(i)?))) {
            let magnitude: Vec<f32> = (0..channels).map(|_| 0.1 + 9.0 * stream.unit() as f32).collect();
            let (low, mean) = (vec![0.0; channels], vec![0.0; channels]);
            seen.insert(index, Channels { low, high: magnitude.clone(), magnitude, mean });
        }
        let factors = Factors::new(&network, &weights, &seen).unwrap();
        let equalised = factors.applied(&network, &weights).unwrap();
        let n_changed = weights.iter().filter(|(name, tensor)| equalised.get(name) != Some(*tensor)).count();
        assert!(n_changed > 10, "{name}: {n_changed}");
        let preprocess = Preprocess::imagenet(64, 64).unwrap();
        let embeddings = [&weights, &equalised].map(|weights| {
            let folder = tempfile::tempdir().unwrap();
            write_model(folder.path(), &network, weights, preprocess.clone());
            let images = noise(2, 64);
            Embedder::open(folder.path(), EmbedderOptions::cpu()).unwrap().embed(&images).unwrap()
        });
        let largest = embeddings[0].iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (a, b) in embeddings[0].iter().zip(&embeddings[1]) {
            assert!((a - b).abs() <= 1e-5 * largest, "{name}: {a} and {b}");
        }
    }
}

#[test]
fn onnx_checker_accepts_every_precision_and_input() {
    let Some(python) = surroundings::python() else { return };
    let script = surroundings::checkout().join("tests/reference/check_onnx.py");
    for name in ["every_operation", "mobilenet_v2", "densenet121", "convnext_tiny", "googlenet"] {
        let network = match name {
            "every_operation" => every_operation(),
            name => Network::by_name(name, Head::Embedding).unwrap(),
        };
        let weights = Weights::random(&network, 1);
        let quantisation = guessed(&network, &weights);
        for arithmetic in [Arithmetic::Fp32, Arithmetic::Fp16, Arithmetic::Int8(&quantisation)] {
            for input in [InputKind::Float32Nchw, InputKind::Uint8Nhwc] {
                let folder = tempfile::tempdir().unwrap();
                let preprocess = Preprocess::imagenet(64, 64).unwrap();
                write_model_as(folder.path(), &network, &weights, preprocess, input, arithmetic);
                let said = succeed(Command::new(&python).arg(&script).arg(folder.path().join(MODEL)));
                let expected = format!("n x {}; opset 17, IR 8; purpose=a test", network.output_width());
                assert_eq!(said.trim(), expected, "{name}");
            }
        }
    }
}

/// Trained on the spot with a projection, exported in each precision: what ONNX Runtime computes is off from 32 bits by
/// what the export said, so the emulation is that arithmetic; 8 bits make a quarter of the file.
#[test]
fn every_precision_verifies_and_is_off_by_what_the_export_said() {
    let config = CONFIG.replace("[images]", "[head]\npooling = { kind = \"gem\", p = 2.5, learn = true, cells = 1 }\nprojection = { width = 24, bias = true, start = \"orthogonal\" }\nnormalise = true\n[images]");
    let scene = Scene::new(&config);
    succeed(&mut scene.fit("run"));
    let mut n_bytes = BTreeMap::new();
    for (precision, input) in
        [("fp32", "uint8"), ("fp32", "float"), ("fp16", "uint8"), ("fp16", "float"), ("int8", "uint8")]
    {
        let model = scene.path(&format!("{precision}-{input}"));
        let mut export = program("sketchfind-train");
        export.arg("export").arg(scene.path("run")).args(["--precision", precision, "--input", input]);
        succeed(export.args(["--licence", "for tests"]).arg("--out").arg(&model));
        let card = Card::load_with_model(&model).unwrap();
        assert_eq!(card.onnx.precision.name(), precision);
        assert_eq!((card.embedding_width, card.distance), (24, Distance::Cosine));
        assert_eq!(card.licence.as_deref(), Some("for tests"));
        n_bytes.insert(precision, std::fs::metadata(model.join(MODEL)).unwrap().len());
        let verification = verify(&model, Device::Cpu).unwrap();
        assert!(verification.passed, "{precision}, {input}: {verification:?}");
        match (card.onnx.precision, verification.deviation_at_export) {
            (Precision::Fp32, deviation) => assert_eq!(deviation, None),
            // Processors without 16-bit arithmetic round weights only.
            (Precision::Fp16, Some(deviation)) => assert!(deviation < 5e-3, "{deviation}"),
            (Precision::Int8, Some(deviation)) => {
                let ratio = verification.relative / deviation;
                assert!((0.8..1.25).contains(&ratio), "{verification:?}");
            }
            (_, None) => panic!("{precision}: no deviation in the card"),
        }
        let said = succeed(program("sketchfind").arg("verify").arg(&model));
        assert!(said.starts_with("verified: 8 probe images on cpu"), "{said}");
        let info = succeed(program("sketchfind").arg("info").arg(&model));
        assert!(info.contains(precision) && info.contains("for tests") && info.contains("cosine"), "{info}");
        let report = scene.path(&format!("report-{precision}-{input}"));
        let mut eval = program("sketchfind");
        eval.arg("eval").arg("--model").arg(&model).arg("--data").arg(scene.path("data"));
        succeed(eval.arg("--out").arg(report));
    }
    assert!(
        n_bytes["int8"] * 3 < n_bytes["fp32"] && n_bytes["fp16"] * 19 < n_bytes["fp32"] * 10,
        "{n_bytes:?}"
    );
}
