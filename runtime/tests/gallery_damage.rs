//! Damaged galleries: whatever happens to a file, opening is an error that names it.

use std::path::{Path, PathBuf};

use sketchfind::{EmbeddingSpace, Gallery, GalleryOptions};
use sketchfind_core::fingerprint;
use sketchfind_core::random::Stream;
use sketchfind_tests::folders;

use crate::gallery::create;
use crate::{assert_says, fixture};

/// Every file of a gallery, relative to it.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    // What is in the lock's file counts for nothing.
    found.retain(|path| path != Path::new("lock"));
    found.sort();
    found
}

/// Opens the gallery with `bytes` in place of a file's own, and puts those back.
#[track_caller]
fn check_damaged(gallery: &Path, name: &Path, bytes: &[u8]) {
    let path = gallery.join(name);
    let own = std::fs::read(&path).unwrap();
    assert_ne!(own, bytes);
    std::fs::write(&path, bytes).unwrap();
    let error = Gallery::open(gallery).map(|_| ()).expect_err(&name.display().to_string());
    assert_says(error, &[name.file_name().unwrap().to_str().unwrap()]);
    std::fs::write(&path, own).unwrap();
}

#[test]
fn a_file_that_is_cut_off_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("gallery");
    create(&gallery);
    let files = files(&gallery);
    assert_eq!(files.len(), 10, "{files:?}");
    for name in &files {
        let bytes = std::fs::read(gallery.join(name)).unwrap();
        let n = bytes.len();
        for length in [0, 1, n / 4, n / 2, n - 10, n - 2] {
            check_damaged(&gallery, name, &bytes[..length]);
        }
    }
    Gallery::open(&gallery).unwrap();
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("gallery");
    create(&gallery);
    let mut stream = Stream::new(1, "damage", &[]);
    for name in files(&gallery) {
        let bytes = std::fs::read(gallery.join(&name)).unwrap();
        for _ in 0..30 {
            let mut damaged = bytes.clone();
            let position = stream.below(bytes.len());
            damaged[position] ^= 1 << stream.below(8);
            // The log's tip only says up to where its records are acknowledged, and here are none.
            if name == Path::new("log/00000001.log") && (512..524).contains(&position) {
                continue;
            }
            // White space between words of JSON may be any other.
            if name == Path::new("gallery.json")
                && [bytes[position], damaged[position]].iter().all(u8::is_ascii_whitespace)
            {
                continue;
            }
            check_damaged(&gallery, &name, &damaged);
        }
    }
    Gallery::open(&gallery).unwrap();
}

#[test]
fn a_file_that_is_gone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("gallery");
    create(&gallery);
    for name in files(&gallery) {
        let bytes = std::fs::read(gallery.join(&name)).unwrap();
        std::fs::remove_file(gallery.join(&name)).unwrap();
        assert_says(Gallery::open(&gallery).unwrap_err(), &[name.file_name().unwrap().to_str().unwrap()]);
        std::fs::write(gallery.join(&name), bytes).unwrap();
    }
}

/// Changes the manifest as somebody would who knows how its checksum is made.
fn forge(gallery: &Path, change: impl Fn(&mut serde_json::Value)) {
    let path = gallery.join("gallery.json");
    let mut document: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut document["gallery"]);
    // Through the type, which keeps the order of fields.
    let manifest: sketchfind::gallery::Manifest =
        serde_json::from_value(document["gallery"].clone()).unwrap();
    document["sha256"] = fingerprint::of_bytes(&serde_json::to_vec(&manifest).unwrap()).into();
    std::fs::write(path, document.to_string()).unwrap();
}

#[test]
fn a_manifest_that_contradicts_its_files_is_refused() {
    let check = |change: &dyn Fn(&mut serde_json::Value), parts: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let gallery = folder.path().join("gallery");
        create(&gallery);
        forge(&gallery, |_| ());
        Gallery::open(&gallery).unwrap();
        forge(&gallery, change);
        assert_says(Gallery::open(&gallery).unwrap_err(), parts);
    };
    check(&|gallery| gallery["width"] = 2.into(), &["00000001.rows", "another gallery"]);
    check(&|gallery| gallery["width"] = 0.into(), &["gallery.json", "width of embeddings is 0"]);
    check(&|gallery| gallery["width"] = (1_u64 << 40).into(), &["gallery.json", "1099511627776"]);
    check(&|gallery| gallery["distance"] = "cosine".into(), &["by cosine", "by mse"]);
    check(&|gallery| gallery["model_sha256"] = "00".into(), &["model's fingerprint", "'00'"]);
    check(&|gallery| gallery["model_sha256"] = "0".repeat(64).into(), &["another gallery"]);
    check(&|gallery| gallery["segments"] = vec![2].into(), &["00000002.rows"]);
    check(&|gallery| gallery["log"] = 2.into(), &["00000002.log"]);
    check(&|gallery| gallery["index"]["m"] = 1000.into(), &["m is 1000"]);
    check(&|gallery| gallery["files"]["../secret"] = "00".into(), &["'../secret'", "inside"]);
    check(&|gallery| gallery["files"]["/etc/passwd"] = "00".into(), &["'/etc/passwd'", "inside"]);
    let unlist = |gallery: &mut serde_json::Value| {
        gallery["files"].as_object_mut().unwrap().remove("model/model.onnx");
    };
    check(&unlist, &["does not list 'model/model.onnx'"]);
}

#[test]
fn a_gallery_of_a_format_that_had_a_model_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("gallery");
    folders::copy(&fixture("gallery-v4"), &gallery).unwrap();
    forge(&gallery, |manifest| manifest["files"] = serde_json::json!({}));
    assert_says(Gallery::open(&gallery).unwrap_err(), &["format 4", "lists no model"]);
    // Without a model no width may be one that no row has.
    let without = folder.path().join("without");
    let space = EmbeddingSpace::new(3, sketchfind::Distance::Mse);
    Gallery::create_without_model(&without, &space, &GalleryOptions::exact("test")).unwrap();
    forge(&without, |manifest| manifest["width"] = 0.into());
    assert_says(Gallery::open(&without).unwrap_err(), &["gallery.json", "width of embeddings is 0"]);
}

#[test]
fn another_model_in_a_gallery_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("gallery");
    create(&gallery);
    for name in ["card.json", "model.onnx"] {
        std::fs::copy(fixture("nan-output").join(name), gallery.join("model").join(name)).unwrap();
    }
    assert_says(Gallery::open(&gallery).unwrap_err(), &["model/card.json", "was changed"]);
    let sha256 = |name: &str| fingerprint::of_file(&gallery.join("model").join(name)).unwrap();
    forge(&gallery, |manifest| {
        for name in ["card.json", "model.onnx"] {
            manifest["files"][format!("model/{name}")] = sha256(name).into();
        }
    });
    assert_says(Gallery::open(&gallery).unwrap_err(), &["its embeddings are by"]);
}
