//! Real ImageNet weights name what is on a photograph: the proof that packages are converted rightly.

use sketchfind::{Embedder, EmbedderOptions};
use sketchfind_core::image::{DecodeLimits, Image, Preprocess};
use sketchfind_models::network::{Head, Network};
use sketchfind_models::weights::Weights;
use sketchfind_tests::surroundings;

use crate::export::write_model;

/// ImageNet-1k's classes: 281 tabby, 282 tiger cat, 285 Egyptian cat; 504 coffee mug, 967 espresso.
const PHOTOGRAPHS: [(&str, &[usize]); 2] =
    [("photographs/chelsea.png", &[281, 282, 285]), ("photographs/coffee.png", &[504, 967])];

fn check(network_name: &str) {
    let Some(path) = surroundings::provisioned(&format!("weights/{network_name}.safetensors")) else {
        return;
    };
    let network = Network::by_name(network_name, Head::Classifier).unwrap();
    let weights = Weights::load(&path).unwrap().for_network(&network).unwrap();
    assert!(Weights::load(&path).unwrap().metadata()["source"].contains("package"));
    let folder = tempfile::tempdir().unwrap();
    let expected = Network::input_of(network_name).unwrap();
    let preprocess = Preprocess {
        mean: expected.mean,
        std: expected.std,
        ..Preprocess::imagenet(expected.side + 32, expected.side).unwrap()
    };
    write_model(folder.path(), &network, &weights, preprocess);
    let mut embedder = Embedder::open(folder.path(), EmbedderOptions::cpu()).unwrap();
    for (file, classes) in PHOTOGRAPHS {
        let Some(path) = surroundings::provisioned(file) else { return };
        let image = Image::open(&path, DecodeLimits::default()).unwrap();
        let scores = embedder.embed(&[image]).unwrap();
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
        assert!(classes.contains(&best), "{network_name} takes {file} for class {best}");
    }
}

#[test]
fn mobilenet_v2_knows_a_cat_and_a_cup() {
    check("mobilenet_v2");
}

#[test]
fn resnet50_v1_knows_a_cat_and_a_cup() {
    check("resnet50_v1");
}

#[test]
fn efficientnet_lite0_knows_a_cat_and_a_cup() {
    check("efficientnet_lite0");
}

#[test]
fn efficientnet_lite1_knows_a_cat_and_a_cup() {
    check("efficientnet_lite1");
}

#[test]
fn efficientnet_lite2_knows_a_cat_and_a_cup() {
    check("efficientnet_lite2");
}
