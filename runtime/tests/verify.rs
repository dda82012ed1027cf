//! Re-embedding a model's probe.

use std::path::Path;

use sketchfind::{Device, TOLERANCE, verify};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_tests::folders;

use crate::{assert_says, fixture};

#[test]
fn models_give_the_embeddings_of_their_probe() {
    for (model, n_images) in [("mean8", 3), ("conv16", 4)] {
        let verification = verify(fixture(model), Device::Cpu).unwrap();
        assert_eq!(verification.n_images, n_images);
        assert!(verification.passed && verification.relative < 1e-6, "{verification:?}");
        assert!(verification.largest_component > 0.4);
        assert_eq!(verification.tolerance, TOLERANCE);
        let relative = verification.largest_difference / verification.largest_component;
        assert_eq!(verification.relative, relative);
    }
}

/// Adds `share` of the largest component to one component of the probe.
fn shift_probe(model: &Path, share: f32) {
    let npy = model.join("probe.npy");
    let probe = Embeddings::load(&npy).unwrap();
    let mut values = probe.values().to_vec();
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    // The smallest, so that the largest stays what it is.
    let smallest = (0..values.len()).min_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs())).unwrap();
    values[smallest] += share * largest;
    Embeddings::new(probe.ids().to_vec(), probe.width(), values).unwrap().save(&npy).unwrap();
}

#[test]
fn the_tolerance_is_one_in_ten_thousand_of_the_largest_component() {
    for (share, passes) in [(0.9e-4, true), (1.1e-4, false), (-1.1e-4, false), (-0.9e-4, true)] {
        let folder = tempfile::tempdir().unwrap();
        folders::copy(&fixture("conv16"), folder.path()).unwrap();
        shift_probe(folder.path(), share);
        let verification = verify(folder.path(), Device::Cpu).unwrap();
        assert_eq!(verification.passed, passes, "{share}: {verification:?}");
    }
}

/// A model of lower precision says in its card what passes.
#[test]
fn the_cards_tolerance_goes_before() {
    for (share, passes) in [(0.9e-3, true), (1.1e-3, false)] {
        let folder = tempfile::tempdir().unwrap();
        folders::copy(&fixture("pixels8"), folder.path()).unwrap();
        shift_probe(folder.path(), share);
        let verification = verify(folder.path(), Device::Cpu).unwrap();
        assert_eq!(verification.passed, passes, "{share}: {verification:?}");
        assert_eq!((verification.deviation_at_export, verification.tolerance), (Some(5e-4), 1e-3));
    }
}

#[test]
fn a_probe_that_is_missing_or_does_not_fit_is_named() {
    let check = |change: &dyn Fn(&Path), parts: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        folders::copy(&fixture("conv16"), folder.path()).unwrap();
        change(folder.path());
        assert_says(verify(folder.path(), Device::Cpu).unwrap_err(), parts);
    };
    let remove = |name: &'static str| move |model: &Path| std::fs::remove_file(model.join(name)).unwrap();
    check(&remove("probe.npy"), &["probe.npy"]);
    check(&remove("probe.csv"), &["probe.csv"]);
    check(&remove("probe/noise-2.png"), &["no image 'noise-2.png'", "probe.npy"]);
    check(&|model| std::fs::remove_dir_all(model.join("probe")).unwrap(), &["cannot read", "probe'"]);
    let add = |model: &Path| {
        std::fs::copy(model.join("probe/noise-1.png"), model.join("probe/other.png")).unwrap();
    };
    check(&add, &["'other.png' has no embedding"]);
    check(&|model| std::fs::write(model.join("probe/noise-0.png"), b"").unwrap(), &["noise-0.png", "empty"]);
    let narrow = |model: &Path| {
        let ids = (0..4).map(|i| format!("noise-{i}")).collect();
        Embeddings::new(ids, 2, vec![1.0; 8]).unwrap().save(&model.join("probe.npy")).unwrap();
    };
    check(&narrow, &["probe.npy", "2 wide", "says 16"]);
    let zero = |model: &Path| {
        let ids = (0..4).map(|i| format!("noise-{i}")).collect();
        Embeddings::new(ids, 16, vec![0.0; 64]).unwrap().save(&model.join("probe.npy")).unwrap();
    };
    check(&zero, &["probe.npy", "prove nothing"]);
}
