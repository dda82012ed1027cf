//! ONNX files as others write them become networks that compute what ONNX Runtime computes for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sketchfind_core::image::Preprocess;
use sketchfind_core::random::Stream;
use sketchfind_models::fold::folded;
use sketchfind_models::network::file::Described;
use sketchfind_models::network::{Head, HeadSpec, Network, Pooling, Projection, ProjectionStart};
use sketchfind_models::onnx::import::{self, Imported};
use sketchfind_models::onnx::{self, Arithmetic, ExportOptions};
use sketchfind_models::weights::Weights;
use sketchfind_tests::{naive, reference, surroundings};

use crate::export::every_operation;

fn folder() -> PathBuf {
    surroundings::checkout().join("tests/reference/onnx")
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// What the network gives for the reference image, as pixels or as floats.
fn ours(imported: &Imported, side: usize, kind: &str) -> Vec<f64> {
    let image: Vec<f32> = if kind == "pixels" {
        let (mean, std) = (imported.input.mean, imported.input.std);
        let area = side * side;
        let planes = reference::pixels(side).into_iter().enumerate();
        planes.map(|(at, byte)| (f32::from(byte) / 255.0 - mean[at / area]) / std[at / area]).collect()
    } else {
        reference::image(side)
    };
    naive::forward(&imported.network, &imported.weights, &image, side)
}

#[test]
fn every_file_gives_what_onnx_runtime_gives() {
    let outputs = Weights::load(&folder().join("outputs.safetensors")).unwrap();
    assert!(outputs.len() >= 15);
    for (name, output) in outputs.iter() {
        let [file, side, kind] = name.split('/').collect::<Vec<_>>()[..] else { panic!("{name}") };
        let imported = import::read(&folder().join(format!("{file}.onnx")), None).unwrap();
        assert_eq!(imported.known, None, "{name}");
        let theirs: Vec<f64> = output.values.iter().map(|&value| f64::from(value)).collect();
        let ours = ours(&imported, side.parse().unwrap(), kind);
        let found = cosine(&ours, &theirs);
        let length = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let longer = length(&ours) / length(&theirs);
        if file.starts_with("int8") {
            assert!(found >= 0.98, "{name}: cosine {found}");
            assert!((0.8..1.25).contains(&longer), "{name}: {longer} times as long");
        } else {
            assert!(found >= 0.999_999, "{name}: cosine {found}");
            assert!((longer - 1.0).abs() < 1e-4, "{name}: {longer} times as long");
        }
        // And as a file of its own.
        let described = Described { network: imported.network, input: imported.input };
        let read = Described::parse(&described.to_json().unwrap()).unwrap();
        assert_eq!(read, described, "{name}");
    }
}

/// What a graph does to pixels is told, and only then.
#[test]
fn a_graph_that_takes_pixels_tells_its_normalisation() {
    let imported = import::read(&folder().join("pixels_18.onnx"), None).unwrap();
    assert!(imported.normalises);
    for (found, expected) in
        [(imported.input.mean, Preprocess::IMAGENET_MEAN), (imported.input.std, Preprocess::IMAGENET_STD)]
    {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }
    assert!(!import::read(&folder().join("residual_11.onnx"), None).unwrap().normalises);
}

fn exported(
    network: &Network,
    weights: &Weights,
    pixels: bool,
    arithmetic: Arithmetic<'_>,
    side: Option<usize>,
) -> Vec<u8> {
    let metadata = BTreeMap::new();
    let preprocess = Preprocess::imagenet(64, 64).unwrap();
    let options = ExportOptions {
        input: "image",
        output: "embedding",
        metadata: &metadata,
        image_side: side,
        pixels: pixels.then_some(&preprocess),
        arithmetic,
    };
    onnx::export(network, weights, &options).unwrap()
}

/// Our own files come back as the networks that they are of, with weights that fold to the same numbers.
#[test]
fn our_networks_come_back_from_our_files() {
    for name in Network::names() {
        for head in [Head::Embedding, Head::Classifier] {
            let network = Network::by_name(name, head).unwrap();
            // The larger ones take seconds each.
            let most = match (head, surroundings::is_slow_asked_for()) {
                (Head::Embedding, true) => 30_000_000,
                (Head::Classifier, true) => 10_000_000,
                (_, false) => 5_000_000,
            };
            if network.n_parameters() > most {
                continue;
            }
            let weights = Weights::random(&network, 5);
            let side = (head == Head::Classifier).then_some(Network::input_of(name).unwrap().side as usize);
            let bytes = exported(&network, &weights, head == Head::Classifier, Arithmetic::Fp32, side);
            let imported =
                import::parse(&bytes, "file", None).unwrap_or_else(|e| panic!("{name}, {head:?}: {e}"));
            let known = imported.known.unwrap_or_else(|| panic!("{name}, {head:?}: not known"));
            // With batch norms folded, VGG with them is VGG without.
            let expected = if name == "vgg16_bn" { "vgg16" } else { name };
            assert_eq!((known.name.as_str(), known.head), (expected, head));
            // The one that is asked for.
            let again = import::parse(&bytes, "file", Some(name)).unwrap();
            let (_, ours) = folded(&network, &weights).unwrap();
            let (_, theirs) = folded(&network, &again.weights).unwrap();
            assert!(ours == theirs, "{name}, {head:?}: other weights");
            assert!(name == "vgg16_bn" || imported.weights == again.weights, "{name}, {head:?}");
            assert!(import::parse(&bytes, "file", Some("resnet34")).is_err() || name == "resnet34");
        }
    }
}

/// Pooling, a projection and unit length behind an embedding.
#[test]
fn a_head_comes_back() {
    for (pooling, normalise) in [
        (Pooling::Average {}, true),
        (Pooling::Gem { p: 3.0, learn: false, cells: 1 }, true),
        (Pooling::Gem { p: 2.25, learn: true, cells: 1 }, false),
    ] {
        let network = Network::by_name("mobilenet_v2", Head::Embedding).unwrap();
        let projection = Projection { width: 24, bias: true, start: ProjectionStart::Random };
        let headed =
            network.with_head(&HeadSpec { pooling, projection: Some(projection), normalise }).unwrap();
        let weights = Weights::random(&headed, 5);
        for arithmetic in [Arithmetic::Fp32, Arithmetic::Fp16] {
            let bytes = exported(&headed, &weights, false, arithmetic, None);
            let imported = import::parse(&bytes, "file", None).unwrap();
            let known = imported.known.unwrap();
            assert_eq!(
                (known.name.as_str(), known.is_projected, known.is_normalised),
                ("mobilenet_v2", true, normalise)
            );
            let expected = match pooling {
                Pooling::Average {} => None,
                Pooling::Gem { p, .. } => Some(p as f32),
            };
            assert_eq!(known.gem, expected);
            imported.weights.check_fit(&headed).unwrap();
            assert_eq!(imported.weights.get("projection.weight"), weights.get("projection.weight"));
        }
    }
}

/// Every operation, in 32 and 16 bits, with and without normalisation in the graph.
#[test]
fn every_operation_comes_back() {
    let network = every_operation();
    let weights = Weights::random(&network, 7);
    let side = 16;
    let image = reference::image(side);
    let expected = naive::forward(&network, &weights, &image, side);
    for (pixels, arithmetic) in [
        (false, Arithmetic::Fp32),
        (true, Arithmetic::Fp32),
        (false, Arithmetic::Fp16),
        (true, Arithmetic::Fp16),
    ] {
        for fixed in [None, Some(side)] {
            let bytes = exported(&network, &weights, pixels, arithmetic, fixed);
            let imported = import::parse(&bytes, "file", None).unwrap();
            assert_eq!(imported.normalises, pixels);
            let found = naive::forward(&imported.network, &imported.weights, &image, side);
            let found = cosine(&expected, &found);
            let least = if matches!(arithmetic, Arithmetic::Fp16) { 0.999_99 } else { 0.999_999_9 };
            assert!(found > least, "{found}");
        }
    }
}

/// A released model in 8 bits, read back.
#[test]
fn the_released_model_comes_back() {
    let path = surroundings::checkout().join("models/zoo/general-mobilenet_v2/model.onnx");
    let imported = import::read(&path, None).unwrap();
    let known = imported.known.unwrap();
    assert_eq!(known.name, "mobilenet_v2");
    assert!(imported.normalises);
    imported.weights.check_fit(&Network::by_name("mobilenet_v2", Head::Embedding).unwrap()).unwrap();
}

/// Nothing that a damaged file says makes a reader panic, search without end or ask for memory.
#[test]
fn damaged_files_are_refused() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let whole = std::fs::read(&path).unwrap();
        let read = |bytes: &[u8]| {
            let started = Instant::now();
            let result = import::parse(bytes, "damaged", None);
            assert!(started.elapsed() < Duration::from_secs(5), "{}", path.display());
            result
        };
        assert!(read(&whole).is_ok());
        for end in (0..whole.len()).step_by(97) {
            let message = read(&whole[..end]).unwrap_err();
            assert!(!message.is_empty() && message.len() < 2000, "{}, {end}: {message}", path.display());
        }
        let mut stream = Stream::new(3, &path.display().to_string(), &[]);
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..=stream.below(3) {
                let place = stream.below(bytes.len());
                match stream.below(3) {
                    0 => bytes[place] ^= 1 << stream.below(8),
                    1 => bytes[place] = stream.bits() as u8,
                    _ => drop(bytes.remove(place)),
                }
            }
            if let Ok(imported) = read(&bytes) {
                imported.weights.check_fit(&imported.network).unwrap();
            }
        }
    }
}

/// The message for a file, written to `name` under a temporary folder.
fn refusal(bytes: &[u8]) -> String {
    import::parse(bytes, "file", None).unwrap_err()
}

#[test]
fn a_file_that_is_none_is_refused() {
    for (bytes, part) in [
        (&b""[..], "has no graph"),
        (b"PK\x03\x04", "not an ONNX file"),
        (b"{\"a\": 1}", "not an ONNX file"),
        (b"\x08\x08\x3a\x00", "operator set"),
    ] {
        let message = refusal(bytes);
        assert!(message.contains(part), "{message}");
    }
    let message = import::read(Path::new("no/such.onnx"), None).unwrap_err().to_string();
    assert!(message.contains("such.onnx"), "{message}");
    let message = import::read(&folder().join("half_15.onnx"), Some("resnet5")).unwrap_err().to_string();
    assert!(message.contains("'resnet5'"), "{message}");
    let message = import::read(&folder().join("half_15.onnx"), Some("resnet18")).unwrap_err().to_string();
    assert!(
        message.contains("half_15.onnx") && message.contains("not that of the network 'resnet18'"),
        "{message}"
    );
}
