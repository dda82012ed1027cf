//! A study as a process: every run is there, an interrupted study goes on, results agree with their sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sketchfind_tests::programs::{fail, program, succeed};

use crate::training::{Scene, meta_config};

const STUDY: &str = r#"
seeds = [1, 2]
samples = 200
confidence = 0.95
[[dataset]]
name = "toy"
data = "data"
config = "config.toml"
set = { train.epochs = 1 }
[[method]]
name = "baseline"
set = { train.method = "baseline" }
[[method]]
name = "meta"
"#;

fn scene() -> Scene {
    let scene = Scene::new(&meta_config());
    std::fs::write(scene.path("study.toml"), STUDY).unwrap();
    scene
}

fn study(scene: &Scene, out: &str) -> Command {
    let mut command = program("sketchfind-train");
    command.arg("study").arg("--config").arg(scene.path("study.toml")).arg("--out").arg(scene.path(out));
    command
}

/// The rows of a CSV file, without the column that tells time.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().collect::<Result<_, _>>().unwrap();
    rows.into_iter().map(|row| row.into_iter().filter(|(name, _)| name != "train_secs").collect()).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap()
}

#[test]
fn a_study_that_is_interrupted_ends_as_if_it_had_not_been_and_says_what_its_runs_say() {
    let scene = scene();
    succeed(&mut study(&scene, "straight"));
    let stopped: PathBuf = scene.path("stopped");
    let mut child = study(&scene, "stopped").stderr(std::process::Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !stopped.join("runs.csv").exists() && started.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(10));
    }
    succeed(Command::new("kill").arg("-TERM").arg(child.id().to_string()));
    assert_eq!(child.wait().unwrap().code(), Some(130), "interrupted in the middle");
    succeed(&mut study(&scene, "stopped"));
    for file in ["runs.csv", "summary.csv"] {
        assert_eq!(rows(&stopped.join(file)), rows(&scene.path("straight").join(file)), "{file}");
    }

    // Two methods, two seeds, last and best, and the network before training once.
    let runs = rows(&stopped.join("runs.csv"));
    assert_eq!(runs.len(), 2 * 2 * 2 + 1);
    assert_eq!(runs.iter().filter(|row| row["checkpoint"] == "initial").count(), 1);
    for row in &runs {
        let report = format!("runs/toy/{}/seed-{}/test-{}", row["method"], row["seed"], row["checkpoint"]);
        let queries = rows(&stopped.join(report).join("queries.csv"));
        assert_eq!(queries.len() as f64, number(row, "n_queries"));
        let n_right = queries.iter().filter(|query| query["rank"] == "1").count();
        assert!((number(row, "acc1") - n_right as f64 / queries.len() as f64).abs() < 1e-12);
    }
    let summary = rows(&stopped.join("summary.csv"));
    assert_eq!(summary.len(), 2 * 2);
    for row in &summary {
        let of_method: Vec<f64> = runs
            .iter()
            .filter(|run| run["method"] == row["method"] && run["checkpoint"] == row["checkpoint"])
            .map(|run| number(run, "acc1"))
            .collect();
        assert_eq!(of_method.len(), 2);
        assert!((number(row, "acc1") - of_method.iter().sum::<f64>() / 2.0).abs() < 1e-12);
        assert_eq!(row["reference"], if row["method"] == "meta" { "baseline" } else { "" });
    }
    // Its reports are reports like any other.
    let report = |method: &str| stopped.join(format!("runs/toy/{method}/seed-1/test-last"));
    succeed(program("sketchfind").arg("compare").arg(report("baseline")).arg(report("meta")));
}

#[test]
fn several_data_sets_are_summed_up_together() {
    let scene = scene();
    let (head, rest) = STUDY.split_once("[[dataset]]").unwrap();
    let (dataset, methods) = rest.split_once("[[method]]").unwrap();
    let two = format!(
        "{}[[dataset]]{dataset}[[dataset]]{}[[method]]{methods}",
        head.replace("seeds = [1, 2]", "seeds = [1]"),
        dataset.replace("\"toy\"", "\"other\"\nseeds = [2]").replace("epochs = 1", "epochs = 2")
    );
    std::fs::write(scene.path("study.toml"), two).unwrap();
    succeed(&mut study(&scene, "out"));
    let summary = rows(&scene.path("out/summary.csv"));
    let names: Vec<&str> = summary.iter().map(|row| row["dataset"].as_str()).collect();
    assert_eq!(
        names,
        ["toy", "toy", "toy", "toy", "other", "other", "other", "other", "all", "all", "all", "all"]
    );
    let (sets, all) = summary.split_at(8);
    for row in all {
        let of: Vec<_> = sets
            .iter()
            .filter(|set| set["method"] == row["method"] && set["checkpoint"] == row["checkpoint"])
            .collect();
        let mean = |column: &str| of.iter().map(|set| number(set, column)).sum::<f64>() / 2.0;
        assert_eq!(of.len(), 2);
        assert!((number(row, "acc1") - mean("acc1")).abs() < 1e-12);
        assert_eq!(number(row, "n_queries"), 2.0 * mean("n_queries"));
        if row["method"] == "meta" {
            assert!((number(row, "difference") - mean("difference")).abs() < 1e-12);
            assert!(number(row, "difference_low") <= number(row, "difference"));
        }
    }
}

#[test]
fn a_folder_of_something_else_and_a_study_of_other_settings_are_refused() {
    let scene = scene();
    std::fs::create_dir(scene.path("thesis")).unwrap();
    std::fs::write(scene.path("thesis/chapter.tex"), "years of work").unwrap();
    fail(&mut study(&scene, "thesis"), 3, &["not empty"]);
    std::fs::write(scene.path("study.toml"), STUDY.replace("seeds = [1, 2]", "seeds = [1]")).unwrap();
    succeed(&mut study(&scene, "out"));
    let changed =
        STUDY.replace("seeds = [1, 2]", "seeds = [1]").replace("train.epochs = 1", "train.epochs = 2");
    std::fs::write(scene.path("study.toml"), changed).unwrap();
    fail(&mut study(&scene, "out"), 3, &["epochs = 1", "epochs = 2"]);
}

/// A retriever is measured on products that it never saw: nothing is trained for them.
#[test]
fn runs_are_evaluated_on_other_data_sets() {
    let scene = Scene::new(&meta_config());
    sketchfind_tests::toy::dataset(&scene.path("other"), 7, 9, 3).unwrap();
    let others = "[[dataset]]\nname = \"unseen\"\ndata = \"other\"\nconfig = \"config.toml\"\nruns_of = \"toy\"\n\
                  [[dataset]]\nname = \"unseen-train\"\ndata = \"other\"\nconfig = \"config.toml\"\nruns_of = \"toy\"\n\
                  split = \"train\"\n[[method]]";
    let study_of = STUDY.replacen("[[method]]", others, 1).replace("seeds = [1, 2]", "seeds = [1]");
    std::fs::write(scene.path("study.toml"), study_of).unwrap();
    succeed(&mut study(&scene, "study"));
    let runs = rows(&scene.path("study/runs.csv"));
    let of = |dataset: &str| -> Vec<&BTreeMap<String, String>> {
        let is_it =
            |row: &&BTreeMap<String, String>| row["dataset"] == dataset && row["checkpoint"] == "last";
        runs.iter().filter(is_it).collect()
    };
    let (trained, unseen, unseen_train) = (of("toy"), of("unseen"), of("unseen-train"));
    assert_eq!((trained.len(), unseen.len(), unseen_train.len()), (2, 2, 2));
    for (trained, (test, train)) in trained.iter().zip(unseen.iter().zip(&unseen_train)) {
        assert_eq!(trained["weights_sha256"], test["weights_sha256"]);
        assert_eq!((test["n_gallery"].as_str(), train["n_gallery"].as_str()), ("9", "7"));
        assert_ne!(trained["dataset_sha256"], test["dataset_sha256"]);
    }
    assert!(!scene.path("study/runs/unseen").exists());
}
