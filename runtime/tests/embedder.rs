//! A model that runs: values, batches, and what is refused.

use std::path::Path;

use sketchfind::{Embedder, EmbedderOptions, Error};
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;
use sketchfind_tests::folders;

use crate::{assert_says, fixture};

fn noise(n: usize, width: u32, height: u32) -> Vec<Image> {
    let mut stream = Stream::new(3, "noise", &[]);
    let n_bytes = (width * height * 3) as usize;
    (0..n)
        .map(|_| Image::new(width, height, (0..n_bytes).map(|_| stream.below(256) as u8).collect()).unwrap())
        .collect()
}

fn open(model: &Path, batch: usize) -> sketchfind::Result<Embedder> {
    Embedder::open(model, EmbedderOptions::cpu().with_batch(batch).with_threads(1))
}

#[test]
fn an_embedding_is_the_mean_of_each_channel() {
    let mut embedder = open(&fixture("mean8"), 2).unwrap();
    assert_eq!(embedder.card().embedding_width, 3);
    let images = noise(5, 8, 8);
    let embeddings = embedder.embed(&images).unwrap();
    assert_eq!(embeddings.len(), 5 * 3);
    for (image, row) in images.iter().zip(embeddings.chunks(3)) {
        for (channel, mean) in row.iter().enumerate() {
            let sum: f64 =
                image.pixels().iter().skip(channel).step_by(3).map(|&value| f64::from(value)).sum();
            assert!((f64::from(*mean) - sum / 64.0 / 255.0).abs() < 1e-6);
        }
    }
    assert!(embedder.embed(&[]).unwrap().is_empty());
}

#[test]
fn what_ran_where_is_noted_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let options = EmbedderOptions::cpu().with_profile(folder.path().join("ran"));
    let mut embedder = Embedder::open(fixture("conv16"), options).unwrap();
    embedder.embed(&noise(1, 8, 8)).unwrap();
    let file = embedder.end_profile().unwrap();
    assert_eq!(file.parent(), Some(folder.path()));
    let events: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let of_nodes: Vec<_> = events
        .iter()
        .filter(|event| {
            event["cat"] == "Node"
                && event["name"].as_str().is_some_and(|name| name.ends_with("_kernel_time"))
        })
        .collect();
    assert!(of_nodes.iter().any(|event| event["args"]["op_name"].as_str().unwrap().contains("Conv")));
    assert!(of_nodes.iter().all(|event| event["args"]["provider"] == "CPUExecutionProvider"));
    // Once, and not unasked.
    assert_says(embedder.end_profile().unwrap_err(), &["EmbedderOptions::profile", "ended before"]);
    assert_says(
        open(&fixture("mean8"), 1).unwrap().end_profile().unwrap_err(),
        &["EmbedderOptions::profile"],
    );
}

#[test]
fn the_batch_does_not_show_in_an_embedding() {
    let images = noise(19, 31, 17);
    let alone = open(&fixture("conv16"), 1).unwrap().embed(&images).unwrap();
    let together = open(&fixture("conv16"), 8).unwrap().embed(&images).unwrap();
    assert_eq!(alone.len(), 19 * 16);
    let largest = alone.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.1);
    for (a, b) in alone.iter().zip(&together) {
        assert!((a - b).abs() <= 1e-5 * largest, "{a} alone, {b} together");
    }
    // Nor do its neighbours.
    let mut reversed = images.clone();
    reversed.reverse();
    let reversed = open(&fixture("conv16"), 8).unwrap().embed(&reversed).unwrap();
    for (a, b) in alone.chunks(16).zip(reversed.chunks(16).rev()) {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
    }
}

#[test]
fn tensors_and_images_give_the_same() {
    let mut embedder = open(&fixture("conv16"), 3).unwrap();
    let images = noise(7, 20, 20);
    let tensors: Vec<f32> =
        images.iter().flat_map(|image| embedder.card().preprocess.tensor(image).unwrap()).collect();
    assert_eq!(embedder.embed_tensors(7, tensors.clone()).unwrap(), embedder.embed(&images).unwrap());
    assert_says(embedder.embed_tensors(8, tensors).unwrap_err(), &["8 x 768", "5376"]);
    assert!(embedder.embed_tensors(usize::MAX, vec![0.0]).is_err());
}

/// A graph that takes pixels gives what one gives that takes what was normalised here.
#[test]
fn pixels_go_in_as_they_are() {
    let images = noise(5, 9, 31);
    let mut of_pixels = open(&fixture("pixels8"), 2).unwrap();
    let expected = open(&fixture("mean8"), 2).unwrap().embed(&images).unwrap();
    let ours = of_pixels.embed(&images).unwrap();
    assert!(ours.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?} {expected:?}");
    let error = of_pixels.embed_tensors(1, vec![0.0; 192]).unwrap_err();
    assert_says(error, &["pictures (uint8_nhwc)", "preprocessed tensors"]);

    // Either card with the other's graph.
    for (model, from, to, part) in [
        ("pixels8", "uint8_nhwc", "float32_nchw", "float32 [n, 3, 8, 8]"),
        ("mean8", "\"opset\"", "\"input_kind\": \"uint8_nhwc\", \"opset\"", "uint8 [n, 8, 8, 3]"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        folders::copy(&fixture(model), folder.path()).unwrap();
        let card = std::fs::read_to_string(folder.path().join("card.json")).unwrap();
        std::fs::write(folder.path().join("card.json"), card.replace(from, to)).unwrap();
        assert_says(open(folder.path(), 1).map(|_| ()).unwrap_err(), &["its input", part]);
    }
}

#[test]
fn an_output_that_is_not_finite_names_its_row() {
    let mut embedder = open(&fixture("nan-output"), 2).unwrap();
    let bright = Image::new(1, 1, vec![255; 3]).unwrap();
    let dark = Image::new(1, 1, vec![0; 3]).unwrap();
    assert_eq!(embedder.embed(std::slice::from_ref(&bright)).unwrap(), [0.5_f32.ln(); 3]);
    let error = embedder.embed(&[bright.clone(), bright.clone(), bright, dark]).unwrap_err();
    assert_says(error, &["the network's output", "NaN", "row 3"]);
}

#[test]
fn a_graph_that_is_not_its_cards_is_refused() {
    let check = |model: &Path, parts: &[&str]| {
        let error = open(model, 1).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Graph { .. }), "{error}");
        assert_says(error, parts);
    };
    check(
        &fixture("uint8-input"),
        &["uint8-input/model.onnx", "its input", "float32 [n, 3, 8, 8]", "[?, 3, 8, 8]"],
    );
    check(&fixture("fixed-batch"), &["its input is", "[1, 3, 8, 8]", "[n, 3, 8, 8]"]);
    check(&fixture("two-inputs"), &["list of inputs", "'offset'"]);

    let changes = [
        ("\"image\"", "\"picture\"", &["its input is image", "picture"][..]),
        ("\"embedding\"", "\"features\"", &["list of outputs", "features", "['embedding']"]),
        ("\"embedding_width\": 3", "\"embedding_width\": 4", &["its output", "[n, 4]", "[?, 3]"]),
        ("\"crop\": 8", "\"crop\": 7", &["its input", "[n, 3, 7, 7]", "[?, 3, 8, 8]"]),
    ];
    for (from, to, parts) in changes {
        let folder = tempfile::tempdir().unwrap();
        folders::copy(&fixture("mean8"), folder.path()).unwrap();
        let card = std::fs::read_to_string(folder.path().join("card.json")).unwrap();
        assert!(card.contains(from));
        std::fs::write(folder.path().join("card.json"), card.replace(from, to)).unwrap();
        check(folder.path(), parts);
    }
}

#[test]
fn a_model_that_is_missing_changed_or_no_model_is_named() {
    let error = open(Path::new("/nowhere"), 1).map(|_| ()).unwrap_err();
    assert_says(error, &["/nowhere/card.json"]);

    let folder = tempfile::tempdir().unwrap();
    folders::copy(&fixture("mean8"), folder.path()).unwrap();
    let model = folder.path().join("model.onnx");
    let garbage = b"this is no protobuf";
    std::fs::write(&model, garbage).unwrap();
    assert_says(open(folder.path(), 1).map(|_| ()).unwrap_err(), &["model.onnx", "sha256"]);

    // Garbage with a card that vouches for it.
    let card = folder.path().join("card.json");
    let mut text: serde_json::Value = serde_json::from_slice(&std::fs::read(&card).unwrap()).unwrap();
    text["onnx"]["sha256"] = sketchfind_core::fingerprint::of_bytes(garbage).into();
    std::fs::write(&card, text.to_string()).unwrap();
    let error = open(folder.path(), 1).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Inference { action: "load", .. }), "{error}");
    assert_says(error, &["model.onnx"]);
}

#[test]
fn options_out_of_range_are_refused() {
    let options = [
        (EmbedderOptions::cpu().with_batch(0), "batch is 0"),
        (EmbedderOptions::cpu().with_threads(0), "n_threads is 0"),
    ];
    for (options, part) in options {
        assert_says(Embedder::open(fixture("mean8"), options).map(|_| ()).unwrap_err(), &[part]);
    }
}
