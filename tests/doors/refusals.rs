//! Bad input: one clear error that names the file and what was expected, the documented exit code, nothing lost.

use std::path::Path;
use std::process::Command;

use sketchfind_core::image::Preprocess;
use sketchfind_models::network::Network;
use sketchfind_models::network::builder::Builder;
use sketchfind_models::weights::Weights;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::toy;

use crate::export::write_model;

fn sketchfind(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.args(arguments);
    command
}

/// A model small enough to be made in a moment.
pub(crate) fn small_model(folder: &Path, seed: u64) {
    std::fs::create_dir_all(folder).unwrap();
    let mut b = Builder::new();
    let x = b.conv("conv", b.input(), 3, 4, 3, 2, 1, 1, true);
    b.global_avg_pool(x);
    let network = Network::new("small", b.finish()).unwrap();
    write_model(folder, &network, &Weights::random(&network, seed), Preprocess::imagenet(20, 16).unwrap());
}

#[test]
fn data_check_names_what_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    toy::dataset(&data, 4, 2, 1).unwrap();
    succeed(sketchfind(&["data", "check"]).arg(&data));
    std::fs::write(data.join("photo/001.png"), "no image").unwrap();
    std::fs::write(data.join("sketch/002-1.png"), "").unwrap();
    fail(sketchfind(&["data", "check"]).arg(&data), 4, &["photo/001", "sketch/002-1", "2 images are broken"]);
    std::fs::remove_file(data.join("photo/001.png")).unwrap();
    // One fault does not hide another, nor a broken image.
    std::fs::remove_file(data.join("photo/003.png")).unwrap();
    let parts = [
        "file of 'photo/001' is missing",
        "file of 'photo/003' is missing",
        "broken: sketch/002-1",
        "2 faults in",
    ];
    fail(sketchfind(&["data", "check"]).arg(&data), 3, &parts);
    fail(sketchfind(&["data", "check"]).arg(folder.path().join("nowhere")), 3, &["nowhere"]);
}

#[test]
fn broken_images_are_refused_or_left_out_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model, gallery) =
        (folder.path().join("data"), folder.path().join("model"), folder.path().join("gallery"));
    toy::dataset(&data, 4, 2, 1).unwrap();
    small_model(&model, 1);
    std::fs::write(data.join("photo/001.png"), "no image").unwrap();
    let build = || {
        let mut build = sketchfind(&["index", "build", "--model"]);
        build.arg(&model).arg("--photos").arg(data.join("photo")).arg("--out").arg(&gallery);
        build
    };
    fail(&mut build(), 3, &["001.png"]);
    assert!(!gallery.exists(), "nothing half-made is left");
    let said = run(build().arg("--skip-broken"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("left out") && said.err.contains("gallery of 5 photos"), "{}", said.err);
    // A failed build leaves the gallery that is there as it is.
    fail(&mut build(), 3, &["001.png"]);
    let info = succeed(sketchfind(&["info"]).arg(&gallery));
    assert!(info.contains("5 photos"), "{info}");
    let query = || {
        let mut query = sketchfind(&["query", "--gallery"]);
        query.arg(&gallery);
        query
    };
    fail(query().arg(data.join("photo/001.png")), 3, &["001.png"]);
    fail(query().arg(data.join("nowhere.png")), 3, &["nowhere.png"]);
    // Evaluation never leaves anything out.
    let mut eval = sketchfind(&["eval", "--split", "train", "--model"]);
    eval.arg(&model).arg("--data").arg(&data).arg("--out").arg(folder.path().join("report"));
    fail(&mut eval, 3, &["001.png"]);
    assert!(!folder.path().join("report").exists());
}

#[test]
fn damaged_models_and_galleries_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    small_model(&model, 1);
    fail(sketchfind(&["verify"]).arg(&model), 3, &["probe"]);
    fail(sketchfind(&["verify"]).arg(folder.path().join("nowhere")), 3, &["card.json"]);
    let card = std::fs::read_to_string(model.join("card.json")).unwrap();
    let with_card = |text: &str, parts: &[&str]| {
        std::fs::write(model.join("card.json"), text).unwrap();
        fail(sketchfind(&["info"]).arg(&model), 3, parts);
    };
    with_card(&card.replace("\"format\": 4", "\"format\": 5"), &["card.json", "format is 5"]);
    with_card(&card.replace("\"network\"", "\"netwrok\""), &["card.json", "netwrok"]);
    with_card(&card.replace("\"crop\": 16", "\"crop\": 99"), &["preprocess.crop is 99"]);
    with_card("{", &["card.json"]);
    std::fs::write(model.join("card.json"), &card).unwrap();
    succeed(sketchfind(&["info"]).arg(&model));
    std::fs::write(model.join("model.onnx"), "no network").unwrap();
    fail(sketchfind(&["info"]).arg(&model), 3, &["model.onnx", "sha256"]);
}

#[test]
fn weights_that_do_not_fit_are_listed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    let network = Network::by_name("resnet18", sketchfind_models::network::Head::Embedding).unwrap();
    Weights::random(&network, 1).save(&file).unwrap();
    let import = |network: &str, from: &Path| {
        let mut import =
            sketchfind(&["weights", "import", "--network", network, "--source", "a test", "--out"]);
        import.arg(folder.path().join("out.safetensors")).arg(from);
        import
    };
    succeed(&mut import("resnet18", &file));
    fail(&mut import("resnet34", &file), 3, &["resnet34", "missing", "layer1.2.conv1.weight"]);
    fail(&mut import("resnet19", &file), 3, &["resnet19", "mobilenet_v2"]);
    // A message of a few lines, and all of it in a file.
    let said = run(&mut import("resnet34", &file));
    assert!(said.err.lines().count() <= 10 && said.err.len() < 1500, "{}", said.err);
    let list = folder.path().join("out.safetensors.differences.txt");
    assert!(said.err.contains("out.safetensors.differences.txt"), "{}", said.err);
    let list = std::fs::read_to_string(list).unwrap();
    assert!(list.lines().count() > 50 && list.contains("missing: layer3.5.bn2.running_var\n"), "{list}");
    std::fs::write(&file, b"\x80\x02cos\nsystem\n.").unwrap();
    fail(&mut import("resnet18", &file), 3, &["os.system", "refused"]);
    for (bytes, part) in [
        (&b"<!DOCTYPE html><html><body>Sign in"[..], "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"", "empty"),
        (b"PK\x03\x04 half of an archive", "cut off"),
    ] {
        for name in ["x.pth", "x.safetensors"] {
            let file = folder.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            fail(&mut import("resnet18", &file), 3, &[name, part]);
        }
    }
    let page = folder.path().join("page.pth");
    std::fs::write(&page, "<html>").unwrap();
    fail(&mut import("auto", &page), 3, &["HTML page"]);
}

#[test]
fn what_is_left_out_of_weights_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::by_name("resnet18", sketchfind_models::network::Head::Embedding).unwrap();
    let mut wrapped = Weights::default();
    for (name, tensor) in Weights::random(&network, 1).iter() {
        wrapped.insert(&format!("_orig_mod.model.{name}"), tensor.clone());
    }
    let (file, out) = (folder.path().join("w.safetensors"), folder.path().join("out.safetensors"));
    wrapped.save(&file).unwrap();
    let mut import =
        sketchfind(&["weights", "import", "--network", "resnet18", "--source", "a test", "--out"]);
    let said = run(import.arg(&out).arg(&file));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("note: the prefix '_orig_mod.model.' of 100 names"), "{}", said.err);
    Weights::load(&out).unwrap().for_network(&network).unwrap();
}

#[test]
fn usage_is_explained() {
    for program_name in ["sketchfind", "sketchfind-train"] {
        let help = succeed(program(program_name).arg("--help"));
        assert!(help.contains("Usage:") && help.contains("Exit codes:"), "{help}");
        assert_eq!(run(program(program_name).arg("--nonsense")).code, Some(2));
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(succeed(&mut sketchfind(&["completions", shell])).contains("sketchfind"));
    }
    let info = succeed(&mut sketchfind(&["info"]));
    assert!(info.contains("ONNX Runtime   1."), "{info}");
    let mut without = sketchfind(&["info"]);
    let info = succeed(without.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so"));
    assert!(info.contains("not usable") && info.contains("/nowhere/libonnxruntime.so"), "{info}");
}
