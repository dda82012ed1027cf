//! The drawing page in headless Chromium, driven by playwright-core (`serve/web/tests`).

use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind_core::dataset::Dataset;
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_tests::http::Server;
use sketchfind_tests::programs::{program, run, succeed};
use sketchfind_tests::surroundings::{self, checkout};

use crate::load::line_drawings;
use crate::serve::{Scene, serve};
use crate::training::CONFIG;

/// A script of the checkout that drives a browser, to be run by Node.
pub(crate) fn browser_test(script: &str) -> Option<Command> {
    let (web, chromium) = surroundings::browser()?;
    let mut node = Command::new("node");
    node.args(["--test-timeout=120000", "--test-reporter=spec"]).arg(checkout().join(script));
    node.env("SKETCHFIND_WEB", web).env("SKETCHFIND_CHROMIUM", chromium);
    Some(node)
}

/// A test file of the page, to be run against a server.
pub(crate) fn page_test(file: &str, server: &Server) -> Option<Command> {
    let mut node = browser_test(&format!("serve/web/tests/{file}"))?;
    node.env("SKETCHFIND_ADDRESS", format!("http://{}", server.address));
    Some(node)
}

/// Runs a test file and returns what it has printed.
fn passes(node: &mut Command, server: &Server) -> String {
    let said = run(node);
    assert_eq!(said.code, Some(0), "{}\n{}\n{}", said.out, said.err, server.log());
    assert!(said.out.contains("fail 0") && !said.out.contains("pass 0"), "{}", said.out);
    said.out
}

#[test]
fn the_page_does_what_it_shows() {
    let scene = Scene::new();
    let server = Server::start(&mut scene.command());
    let Some(mut node) = page_test("page.mjs", &server) else { return };
    passes(node.env("SKETCHFIND_PHOTOS", scene.path("photos")), &server);
}

/// What a person does before and after the first find: examples, a photo in large, more like it, links, earlier drawings.
#[test]
fn the_page_goes_on_after_the_first_find() {
    let scene = Scene::new();
    let labels = scene.path("labels.csv");
    std::fs::write(&labels, "id,label,product\nred.png,warm,ball\nred.png,round,ball\nblue.png,cold,\n")
        .unwrap();
    let mut index = program("sketchfind");
    index.args(["index", "add", "--gallery"]).arg(scene.path("gallery"));
    succeed(index.arg("--photos").arg(scene.path("photos")).arg("--labels").arg(&labels));
    let server = Server::start(scene.command().args(["--frame", "0.8"]));
    let Some(mut node) = page_test("finds.mjs", &server) else { return };
    passes(node.env("SKETCHFIND_PHOTOS", scene.path("photos")), &server);
}

/// What is drawn in the browser is what the trainer takes.
#[test]
fn what_is_taught_on_the_page_is_trained_on() {
    let scene = Scene::new();
    let folder = scene.path("taught");
    let server = Server::start(scene.command().arg("--teach").arg(&folder));
    let Some(mut node) = page_test("teach.mjs", &server) else { return };
    passes(node.env("SKETCHFIND_TEACH", &folder), &server);
    drop(server);

    let dataset = Dataset::load(&folder).unwrap();
    let photos: Vec<&str> =
        dataset.sketches().iter().map(|sketch| dataset.photo_of(sketch).id.as_str()).collect();
    assert_eq!(photos.len(), 3, "{photos:?}");
    for of in ["photo/blue.png#", "photo/red.png#"] {
        assert!(photos.iter().any(|photo| photo.starts_with(of)), "{photos:?}");
    }
    for sketch in dataset.sketches() {
        let drawing = Image::open(&sketch.path, DecodeLimits::default()).unwrap();
        assert_eq!((drawing.width(), drawing.height()), (256, 256));
        assert!(drawing.pixels().iter().any(|&value| value < 64), "{} is blank", sketch.id);
        Image::open(&dataset.photo_of(sketch).path, DecodeLimits::default()).unwrap();
    }
    succeed(program("sketchfind").args(["data", "check"]).arg(&folder));
    let config = CONFIG
        .replace("batch = 6", "batch = 2")
        .replace("epochs = 3", "epochs = 1")
        .replace("share = 0.2", "share = 0.0");
    std::fs::write(scene.path("config.toml"), config).unwrap();
    let mut fit = program("sketchfind-train");
    fit.arg("fit").arg("--config").arg(scene.path("config.toml")).arg("--data").arg(&folder);
    succeed(fit.arg("--out").arg(scene.path("run")));
}

/// The page that is compiled into the program is named in its Rust file, one line a file.
#[test]
fn every_compiled_file_is_in_the_program() {
    let web = checkout().join("serve/web");
    let page = std::fs::read_to_string(checkout().join("serve/src/page.rs")).unwrap();
    let names = |folder: &Path, ending: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> = entries
            .filter(|path| path.extension().is_some_and(|end| end == ending))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let built = names(&web.join("built"), "js");
    assert_eq!(built, names(&web.join("src"), "ts"));
    for name in built {
        assert!(page.contains(&format!("../web/built/{name}.js")), "{name}");
    }
}

/// The photo of a drawing reaches the top while the drawing is drawn: line drawings of the demo's test split, stroke by
/// stroke, by the released model that was trained on the other emoji.
#[test]
fn the_photo_of_a_drawing_reaches_the_top() {
    let Some(model) = surroundings::released("general-mobilenet_v2") else { return };
    let Some(data) = surroundings::provisioned("data/emoji") else { return };
    let folder = tempfile::tempdir().unwrap();
    // A flying saucer, a zebra, a ship: three that the model finds. How many it finds is for an evaluation to say.
    let codes = ["1F6F8", "1F993", "1F6A2"];
    let Some(files) = line_drawings(folder.path(), &codes) else { return };
    let gallery = folder.path().join("gallery");
    let mut build = program("sketchfind");
    build.args(["index", "build", "--split", "test", "--model"]).arg(&model);
    succeed(build.arg("--photos").arg(data.join("manifest.csv")).arg("--out").arg(&gallery));
    let server = Server::start(&mut serve(&gallery));
    let Some(mut node) = page_test("drawing.mjs", &server) else { return };
    let drawing = |(file, code): (&PathBuf, &str)| {
        // Where SKETCHFIND_SHOTS names a folder, such as docs, pictures of the ship's page are put there.
        let name = (code == "1F6A2").then_some("serve");
        serde_json::json!({"svg": file, "photo": format!("photo/{code}"), "isFirst": true, "name": name})
    };
    let drawings: Vec<_> = files.iter().zip(codes).map(drawing).collect();
    let said = run(node.env("SKETCHFIND_DRAWINGS", serde_json::json!(drawings).to_string()));
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
}
