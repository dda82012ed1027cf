//! From a download to a data set: `sketchfind data import`, `check` and `stats`.

use std::path::Path;
use std::process::Command;

use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::toy;

fn data(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.arg("data").args(arguments);
    command
}

/// Plain folders: a toy data set without its manifest.
fn download(folder: &Path) {
    toy::dataset(folder, 12, 8, 1).unwrap();
    std::fs::remove_file(folder.join("manifest.csv")).unwrap();
}

#[test]
fn plain_folders_become_a_data_set_that_is_checked_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (from, out) = (folder.path().join("from"), folder.path().join("out"));
    download(&from);
    fail(data(&["import", "auto"]).arg(&from).arg("--out").arg(&out), 3, &["--test-share"]);
    assert!(!out.exists());
    let import = |out: &Path| {
        let mut command = data(&["import", "auto"]);
        command.arg(&from).args(["--test-share", "0.25", "--seed", "7", "--out"]).arg(out);
        command
    };
    let said = run(&mut import(&out));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("layout plain: 15 photos"), "{}", said.err);
    assert!(said.out.is_empty());
    succeed(data(&["check"]).arg(&out));
    // The same seed, the same data set.
    let again = folder.path().join("again");
    succeed(&mut import(&again));
    let manifest = |folder: &Path| std::fs::read_to_string(folder.join("manifest.csv")).unwrap();
    assert_eq!(manifest(&out), manifest(&again));
    // One or two sketches a photo, as the toy has them.
    let csv = succeed(data(&["stats", "--format", "csv"]).arg(&out));
    let n = |split: &str, what: &str| -> usize {
        let line = csv.lines().find_map(|line| line.strip_prefix(&format!("{split},{what},")));
        line.unwrap_or_else(|| panic!("{split} {what} in\n{csv}")).parse().unwrap()
    };
    assert_eq!((n("train", "photos"), n("test", "photos")), (15, 5));
    assert_eq!(n("train", "sketches") + n("test", "sketches"), 30);
    assert_eq!(n("train", "photos with 1 sketch") + n("train", "photos with 2 sketches"), 15);
    assert_eq!(n("test", "photo png 48 x 48"), 5);
    let json = succeed(data(&["stats", "--format", "json"]).arg(&out));
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&json).unwrap().len(), csv.lines().count() - 1);
}

#[test]
fn what_cannot_be_paired_or_is_unknown_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (from, out) = (folder.path().join("from"), folder.path().join("out"));
    download(&from);
    std::fs::rename(from.join("sketch/003-1.png"), from.join("sketch/elsewhere.png")).unwrap();
    let import = |layout: &str| {
        let mut command = data(&["import", layout]);
        command.arg(&from).args(["--test-share", "0.25", "--out"]).arg(&out);
        command
    };
    fail(&mut import("plain"), 3, &["'elsewhere' has no photo"]);
    fail(&mut import("zip"), 3, &["'zip'", "plain, manifest, qmul-v1"]);
    fail(&mut import("sketchy"), 3, &["tx_"]);
    assert!(!out.exists());
    succeed(import("plain").arg("--leave-out"));
    assert!(out.join("manifest.csv").is_file());
}
