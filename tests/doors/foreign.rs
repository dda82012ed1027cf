//! Models of other makers: an ONNX file becomes a model's folder, and every command takes it.
//!
//! All files of tests/reference/foreign compute the same (make_foreign_models.py says what), which is computed here by definition.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind::{Embedder, EmbedderOptions, Filter, Retriever, RetrieverOptions};
use sketchfind_core::card::{
    AccuracyAt, CARD, Card, Evaluation, ExternalFile, FORMAT, IMPORTED, InputKind, MODEL, OnnxFacts, Pooling,
    Precision, ProbeFacts, Provenance, SKETCH_MODEL, SKETCH_PROBE_EMBEDDINGS, SketchSide, Training,
};
use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::frame::{Frame, PhotoFrame};
use sketchfind_core::image::{DecodeLimits, Image, Interpolation, Preprocess, Preset, ResizeRule};
use sketchfind_core::random::Stream;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::{surroundings, toy};

const SIDE: usize = 16;
const WIDTH: usize = 5;

fn foreign(name: &str) -> PathBuf {
    surroundings::checkout().join("tests/reference/foreign").join(name)
}

fn sketchfind(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.args(arguments);
    command
}

/// `sketchfind model import FILE --out OUT`.
fn import(file: &Path, out: &Path, options: &[&str]) -> Command {
    let mut command = sketchfind(&["model", "import"]);
    command.arg(file).arg("--out").arg(out).args(options);
    command
}

fn images(n: u64) -> Vec<Image> {
    let image = |number: u64| {
        let mut stream = Stream::new(3, "foreign", &[number]);
        let (width, height) = (9 + 7 * number as u32, 30 - 2 * number as u32);
        let pixels = (0..3 * width * height).map(|_| stream.below(256) as u8).collect();
        Image::new(width, height, pixels).unwrap()
    };
    (0..n).map(image).collect()
}

/// What the files give for a picture, pooled: `factor` is that of the matrix.
fn naive(preprocess: &Preprocess, image: &Image, pooling: Pooling, factor: usize) -> Vec<f32> {
    let tensor = preprocess.tensor(image).unwrap();
    let token = |quarter: usize| -> Vec<f32> {
        let (top, left) = (quarter / 2 * 8, quarter % 2 * 8);
        let mean = |channel: usize| {
            let values = (0..64).map(|at| tensor[channel * 256 + (top + at / 8) * SIDE + left + at % 8]);
            values.sum::<f32>() / 64.0
        };
        let weight = |channel: usize, d: usize| (((3 * d + channel) * factor % 7) as f32 - 3.0) / 4.0;
        (0..WIDTH).map(|d| (0..3).map(|channel| mean(channel) * weight(channel, d)).sum()).collect()
    };
    let from = match pooling {
        Pooling::ClassToken => return token(0),
        Pooling::MeanOfPatches => 1,
        _ => 0,
    };
    let tokens: Vec<Vec<f32>> = (from..4).map(token).collect();
    (0..WIDTH).map(|d| tokens.iter().map(|token| token[d]).sum::<f32>() / tokens.len() as f32).collect()
}

fn assert_close(ours: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let off = ours.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < tolerance, "{what}: off by {off}");
}

#[test]
fn every_way_that_a_file_may_be_gives_what_it_computes() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = images(7);
    for (number, (name, options, pooling, tolerance)) in [
        ("names", &["--preprocess", "clip"][..], Pooling::None, 1e-5),
        ("nhwc", &["--preprocess", "siglip"], Pooling::None, 1e-5),
        ("uint8_nhwc", &[], Pooling::None, 1e-5),
        ("uint8_nchw", &["--preprocess", "clip"], Pooling::None, 1e-5),
        ("half_input", &["--preprocess", "clip"], Pooling::None, 2e-3),
        ("half_output", &["--preprocess", "clip"], Pooling::None, 2e-3),
        ("batch1", &["--preprocess", "clip"], Pooling::None, 1e-5),
        ("batch4", &["--preprocess", "clip"], Pooling::None, 1e-5),
        ("open", &["--preprocess", "clip", "--side", "16"], Pooling::None, 1e-5),
        ("tokens", &["--preprocess", "clip", "--pooling", "class_token"], Pooling::ClassToken, 1e-5),
        ("tokens", &["--preprocess", "clip", "--pooling", "mean_of_tokens"], Pooling::MeanOfTokens, 1e-5),
        ("tokens", &["--preprocess", "clip", "--pooling", "mean_of_patches"], Pooling::MeanOfPatches, 1e-5),
        ("map", &["--preprocess", "imagenet"], Pooling::MeanOfMap, 1e-5),
        ("map_nhwc", &["--preprocess", "imagenet"], Pooling::MeanOfMapNhwc, 1e-5),
        ("external", &["--preprocess", "clip"], Pooling::None, 1e-5),
        ("two_outputs", &["--preprocess", "clip", "--output", "embedding"], Pooling::None, 1e-5),
        ("two_outputs", &["--output", "tokens", "--pooling", "class_token"], Pooling::ClassToken, 1e-5),
    ]
    .into_iter()
    .enumerate()
    {
        let out = folder.path().join(number.to_string());
        succeed(&mut import(&foreign(&format!("{name}.onnx")), &out, options));
        let card = Card::load_with_model(&out).unwrap();
        assert_eq!(card.onnx.pooling, pooling, "{name}");
        assert_eq!(
            std::fs::read(out.join(MODEL)).unwrap(),
            std::fs::read(foreign(&format!("{name}.onnx"))).unwrap()
        );
        let preset = options
            .iter()
            .position(|option| *option == "--preprocess")
            .map_or("imagenet", |at| options[at + 1]);
        let mut preprocess = Preset::by_name(preset).unwrap().preprocess(16).unwrap();
        assert_eq!(card.preprocess, preprocess, "{name}");
        if card.onnx.input_kind.is_pixels() {
            (preprocess.mean, preprocess.std) = ([0.0; 3], [1.0; 3]);
        }
        let embeddings = Embedder::open(&out, EmbedderOptions::cpu()).unwrap().embed(&pictures).unwrap();
        let expected = pictures.iter().flat_map(|picture| naive(&preprocess, picture, pooling, 1));
        assert_close(&embeddings, &expected.collect::<Vec<_>>(), tolerance, name);
        let said = succeed(sketchfind(&["verify"]).arg(&out));
        assert!(said.contains("verified: 8 probe images"), "{said}");
    }
}

#[test]
fn what_is_no_model_of_pictures_is_one_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let whole = std::fs::read(foreign("names.onnx")).unwrap();
    let alone = made("alone.onnx", &std::fs::read(foreign("external.onnx")).unwrap());
    for (file, options, parts) in [
        (foreign("two_outputs.onnx"), &[][..], &["2 outputs", "--output", "'tokens' float32 [n, 4, 5]"][..]),
        (foreign("tokens.onnx"), &[], &["--pooling", "class_token, mean_of_tokens, mean_of_patches"]),
        (
            foreign("names.onnx"),
            &["--output", "none"],
            &["no output 'none'", "'image_embeds' float32 [n, 5]"],
        ),
        (foreign("names.onnx"), &["--side", "32"], &["of a side of 16 pixels"]),
        (foreign("names.onnx"), &["--layout", "nhwc"], &["three channels"]),
        (foreign("int_input.onnx"), &[], &["int64 [n, 3, 16, 16], expected float32, float16 or uint8"]),
        (foreign("open_width.onnx"), &[], &["open width", "'embedding' float32 [n, width]"]),
        (foreign("hostile.onnx"), &[], &["tensor 'w'", "'../w.bin'", "below the folder"]),
        (foreign("of_batch.onnx"), &[], &["where the picture is alone"]),
        (foreign("names.onnx"), &["--preprocess", "clop"], &["imagenet, clip, siglip", "clop"]),
        (alone.clone(), &[], &["'weights/w.bin', which is not beside it"]),
        (made("cut.onnx", &whole[..whole.len() - 40]), &[], &["cut.onnx", "not an ONNX file"]),
        (made("empty.onnx", b""), &[], &["empty.onnx", "it is empty"]),
        (made("page.onnx", b"<!DOCTYPE html><html>"), &[], &["page.onnx", "HTML page"]),
        (folder.path().join("nowhere.onnx"), &[], &["nowhere.onnx"]),
    ] {
        let out = folder.path().join("out");
        fail(&mut import(&file, &out, options), 3, parts);
        assert!(!out.exists(), "{}", file.display());
    }
    // Nothing of somebody else's is overwritten; a model is replaced.
    let out = folder.path().join("taken");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("mine.txt"), "mine").unwrap();
    fail(&mut import(&foreign("names.onnx"), &out, &[]), 3, &["will not be overwritten"]);
    std::fs::remove_file(out.join("mine.txt")).unwrap();
    succeed(&mut import(&foreign("names.onnx"), &out, &["--name", "first"]));
    succeed(&mut import(&foreign("nhwc.onnx"), &out, &["--distance", "mse"]));
    assert_eq!(Card::load(&out).unwrap().name, "nhwc");
    // What was taken for granted is said.
    let said = run(&mut import(&foreign("map.onnx"), &folder.path().join("map"), &[])).err;
    assert!(said.contains("--preprocess imagenet") && said.contains("--pooling mean_of_map"), "{said}");
}

#[test]
fn a_file_of_how_pictures_are_prepared_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("prepared.json"), folder.path().join("model"));
    let preprocess = Preprocess {
        divisor: 127.5,
        mean: [1.0; 3],
        std: [1.0; 3],
        ..Preset::by_name("siglip").unwrap().preprocess(16).unwrap()
    };
    std::fs::write(&file, serde_json::to_string(&preprocess).unwrap()).unwrap();
    let options = ["--preprocess", file.to_str().unwrap()];
    succeed(&mut import(&foreign("names.onnx"), &out, &options));
    let pictures = images(2);
    let embeddings = Embedder::open(&out, EmbedderOptions::cpu()).unwrap().embed(&pictures).unwrap();
    let expected = pictures.iter().flat_map(|picture| naive(&preprocess, picture, Pooling::None, 1));
    assert_close(&embeddings, &expected.collect::<Vec<_>>(), 1e-5, "divisor");
    // The same file prepared otherwise is another model.
    let other = folder.path().join("other");
    succeed(&mut import(&foreign("names.onnx"), &other, &["--preprocess", "clip"]));
    assert_ne!(Card::load(&out).unwrap().fingerprint(), Card::load(&other).unwrap().fingerprint());
    for (text, part) in [("{\"resize\": 16}", "'preprocess'"), ("no JSON", "no JSON")] {
        std::fs::write(&file, text).unwrap();
        fail(
            &mut import(&foreign("names.onnx"), &folder.path().join("none"), &options),
            3,
            &["prepared.json", part],
        );
    }
    let small = serde_json::to_string(&Preset::by_name("clip").unwrap().preprocess(8).unwrap()).unwrap();
    std::fs::write(&file, small).unwrap();
    let mut refused = import(&foreign("names.onnx"), &folder.path().join("none"), &options);
    fail(&mut refused, 3, &["of a side of 16 pixels"]);
}

/// Import, prove, index, query: also with weights beside the file and with batches that are never full.
#[test]
fn the_whole_way_finds_the_photo_itself() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    toy::dataset(&data, 3, 3, 1).unwrap();
    let photos = data.join("photo");
    for name in ["external", "batch4"] {
        let (model, gallery) = (folder.path().join(name), folder.path().join(format!("{name}.gallery")));
        succeed(&mut import(&foreign(&format!("{name}.onnx")), &model, &["--preprocess", "clip"]));
        let mut build = sketchfind(&["index", "build", "--model"]);
        succeed(build.arg(&model).arg("--photos").arg(&photos).arg("--out").arg(&gallery));
        let mut measured = sketchfind(&["eval", "--model"]);
        succeed(
            measured
                .arg(&model)
                .arg("--data")
                .arg(&data)
                .arg("--out")
                .arg(folder.path().join(format!("{name}.report"))),
        );
        // The gallery has all that it needs.
        std::fs::remove_dir_all(&model).unwrap();
        for number in 0..6 {
            let id = format!("{number:03}.png");
            let mut query = sketchfind(&["query", "--format", "csv", "-k", "1", "--gallery"]);
            let answer = succeed(query.arg(&gallery).arg(photos.join(&id)));
            assert!(answer.lines().nth(1).unwrap().contains(&id), "{name}: {answer}");
        }
        succeed(sketchfind(&["verify"]).arg(gallery.join("model")));
    }
    let weights = folder.path().join("external.gallery/model/weights/w.bin");
    let mut bytes = std::fs::read(&weights).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let mut query = sketchfind(&["query", "--gallery"]);
    query.arg(folder.path().join("external.gallery")).arg(photos.join("000.png"));
    fail(&mut query, 3, &["w.bin"]);
}

/// Photos and sketches have networks of their own: one matrix for these, another for those.
#[test]
fn sketches_go_through_a_network_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model, gallery) =
        (folder.path().join("data"), folder.path().join("model"), folder.path().join("gallery"));
    toy::dataset(&data, 3, 3, 1).unwrap();
    let sketches = foreign("sketches.onnx");
    let options = [
        "--preprocess",
        "clip",
        "--sketch-preprocess",
        "siglip",
        "--sketch-model",
        sketches.to_str().unwrap(),
    ];
    succeed(&mut import(&foreign("external.onnx"), &model, &options));
    let said = succeed(sketchfind(&["info"]).arg(&model));
    assert!(said.contains("sketch.onnx"), "{said}");
    succeed(sketchfind(&["verify"]).arg(&model));

    let [of_photos, of_sketches] =
        ["clip", "siglip"].map(|name| Preset::by_name(name).unwrap().preprocess(16).unwrap());
    let picture = |id: &str| Image::open(data.join(format!("{id}.png")), DecodeLimits::default()).unwrap();
    for (modality, preprocess, factor) in [("photos", &of_photos, 1), ("sketches", &of_sketches, 2)] {
        let out = folder.path().join(format!("{modality}.npy"));
        let mut embed = sketchfind(&["embed", "--modality", modality, "--model"]);
        succeed(embed.arg(&model).arg("--data").arg(&data).arg("--out").arg(&out));
        let embeddings = Embeddings::load(&out).unwrap();
        assert!(embeddings.len() >= 3);
        for (id, row) in embeddings.ids().iter().zip(embeddings.rows()) {
            assert_close(row, &naive(preprocess, &picture(id), Pooling::None, factor), 1e-5, id);
        }
    }
    let mut build = sketchfind(&["index", "build", "--model"]);
    succeed(build.arg(&model).arg("--photos").arg(data.join("photo")).arg("--out").arg(&gallery));
    std::fs::remove_dir_all(&model).unwrap();
    let retriever = Retriever::open(&gallery, RetrieverOptions::cpu()).unwrap();
    let sketch = picture("sketch/004-1");
    let expected = naive(&of_sketches, &sketch, Pooling::None, 2);
    assert_close(&retriever.embed_sketches(std::slice::from_ref(&sketch)).unwrap(), &expected, 1e-5, "query");
    let photo = picture("photo/004");
    let expected_photo = naive(&of_photos, &photo, Pooling::None, 1);
    assert_close(
        &retriever.embed_photos(std::slice::from_ref(&photo)).unwrap(),
        &expected_photo,
        1e-5,
        "photo",
    );
    let found = retriever.query(&sketch, 6).unwrap();
    let same = retriever.query_embedding(&expected, 6, &Filter::everything()).unwrap();
    let ids = |found: &[sketchfind::Match]| found.iter().map(|found| found.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(&same));
    // The program asks as the library does.
    let mut query = sketchfind(&["query", "--format", "csv", "-k", "1", "--gallery"]);
    let answer = succeed(query.arg(&gallery).arg(data.join("sketch/004-1.png")));
    assert!(answer.contains(&found[0].id), "{answer}");

    // Each side is proved: another network, and other embeddings.
    let inside = gallery.join("model");
    let mut embedder = Embedder::open(&inside, EmbedderOptions::cpu()).unwrap();
    let probe = inside.join(SKETCH_PROBE_EMBEDDINGS);
    let stored = Embeddings::load(&probe).unwrap();
    let changed = stored.values().iter().map(|value| value + 1.0).collect();
    Embeddings::new(stored.ids().to_vec(), WIDTH, changed).unwrap().save(&probe).unwrap();
    let said = run(sketchfind(&["verify"]).arg(&inside));
    assert_eq!(said.code, Some(4), "{said:?}");
    assert_eq!(embedder.of(Modality::Sketch).card().onnx.input, "drawing");
    std::fs::copy(inside.join(MODEL), inside.join(SKETCH_MODEL)).unwrap();
    fail(sketchfind(&["verify"]).arg(&inside), 3, &["sketch.onnx"]);
    assert!(inside.join(CARD).is_file());
}

/// A card in which every field says something. A field that is added has to be added here, and so to the documentation.
fn full_card() -> Card {
    let facts = |sha256: &str| OnnxFacts {
        sha256: sha256.repeat(64),
        input: "pixels".into(),
        input_kind: InputKind::Uint8Nchw,
        batch: Some(4),
        output: "tokens".into(),
        pooling: Pooling::ClassToken,
        unit_length: true,
        external_data: vec![ExternalFile { path: "w.bin".into(), sha256: "2".repeat(64) }],
        opset: 17,
        ir_version: 8,
        n_parameters: 3,
        precision: Precision::Fp16,
    };
    let preprocess = Preprocess {
        resize: 20,
        resize_rule: ResizeRule::ShorterSide,
        crop: 16,
        interpolation: Interpolation::BicubicAntialias,
        divisor: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    Card {
        format: FORMAT,
        name: "all".into(),
        network: IMPORTED.into(),
        preprocess: preprocess.clone(),
        frame: Some(Frame { sketch: 0.5, photo: Some(PhotoFrame { typical: 0.5, least: 0.25 }) }),
        embedding_width: 5,
        distance: Distance::Mse,
        onnx: facts("0"),
        sketch: Some(SketchSide { preprocess, onnx: facts("1") }),
        provenance: Provenance {
            tool: "test".into(),
            initial_weights_sha256: String::new(),
            initial_weights_source: String::new(),
            training: Some(Training {
                method: "baseline".into(),
                dataset_sha256: String::new(),
                n_photos: 1,
                n_sketches: 1,
                seed: 1,
                epochs: 1,
                steps: 1,
                config: String::new(),
            }),
        },
        probe: Some(ProbeFacts { deviation: 0.0, tolerance: 0.01 }),
        evaluations: vec![Evaluation {
            dataset: "toy".into(),
            dataset_sha256: String::new(),
            split: "test".into(),
            n_queries: 1,
            n_gallery: 1,
            accuracy: vec![AccuracyAt { k: 1, value: 1.0, low: 0.0, high: 1.0 }],
        }],
        licence: Some("none".into()),
    }
}

fn keys(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            keys(value, into);
        }),
        serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn the_documentation_of_cards_has_every_field_and_value() {
    let text = std::fs::read_to_string(surroundings::checkout().join("docs/card.md")).unwrap();
    // In the tables, not in the example.
    let documented: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    let is_documented = |name: &str| documented.iter().any(|word| word.rsplit('.').next() == Some(name));
    let mut names = BTreeSet::new();
    keys(&serde_json::to_value(full_card()).unwrap(), &mut names);
    assert!(names.len() > 50, "{names:?}");
    names.extend(Pooling::ALL.iter().map(|pooling| pooling.name().to_owned()));
    names.extend(Preset::ALL.iter().map(|preset| preset.name.to_owned()));
    let kinds = ["float32_nchw", "float32_nhwc", "float16_nchw", "float16_nhwc", "uint8_nchw", "uint8_nhwc"];
    names.extend(kinds.map(|kind| {
        let read: InputKind = serde_json::from_value(kind.into()).unwrap();
        read.name().to_owned()
    }));
    let missing: Vec<&String> = names.iter().filter(|name| !is_documented(name)).collect();
    assert!(missing.is_empty(), "docs/card.md says nothing of {missing:?}");
    assert!(text.contains(&format!("today {FORMAT}")));

    let example = text.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let card = Card::parse(example, Path::new("the example")).unwrap();
    assert_eq!((card.format, card.onnx.pooling), (FORMAT, Pooling::ClassToken));
    let clip = Preset::by_name("clip").unwrap().preprocess(224).unwrap();
    assert_eq!(card.preprocess, clip);
}
