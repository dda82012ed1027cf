//! Released models: they verify, are small, answer, and are as accurate as their cards say.

use std::path::PathBuf;

use sketchfind_core::card::{Card, MODEL};
use sketchfind_core::dataset::Dataset;
use sketchfind_tests::programs::{program, succeed};
use sketchfind_tests::surroundings;

fn models() -> Vec<PathBuf> {
    let zoo = surroundings::checkout().join("models/zoo");
    let folders = std::fs::read_dir(zoo).unwrap().map(|entry| entry.unwrap().path());
    let models: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    assert!(!models.is_empty());
    models
}

#[test]
fn released_models_verify_are_small_and_answer() {
    for model in models() {
        let card = Card::load_with_model(&model).unwrap();
        assert!(card.licence.is_some() && !card.evaluations.is_empty() && model.join("CARD.md").is_file());
        assert!(std::fs::metadata(model.join(MODEL)).unwrap().len() <= 8 << 20);
        let said = succeed(program("sketchfind").arg("verify").arg(&model));
        assert!(said.starts_with("verified: 8 probe images"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        let (photos, gallery) = (folder.path().join("photos"), folder.path().join("gallery"));
        std::fs::create_dir(&photos).unwrap();
        for number in 1..=4 {
            let name = format!("photo-{number}.png");
            std::fs::copy(model.join("probe").join(&name), photos.join(&name)).unwrap();
        }
        let mut build = program("sketchfind");
        build.args(["index", "build", "--model"]).arg(&model).arg("--photos").arg(&photos);
        succeed(build.arg("--out").arg(&gallery));
        // A photo is nearest to itself.
        let mut query = program("sketchfind");
        query.arg("query").arg("--gallery").arg(&gallery).arg(photos.join("photo-3.png"));
        let answer = succeed(query.args(["-k", "1", "--format", "csv"]));
        assert!(answer.lines().nth(1).unwrap().contains("photo-3"), "{answer}");
    }
}

#[test]
fn a_released_model_is_as_accurate_as_its_card_says() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    for model in models() {
        for evaluation in Card::load(&model).unwrap().evaluations {
            let Some(data) = surroundings::provisioned(&format!("data/{}", evaluation.dataset)) else {
                continue;
            };
            assert_eq!(Dataset::load(&data).unwrap().fingerprint().unwrap(), evaluation.dataset_sha256);
            let folder = tempfile::tempdir().unwrap();
            let report = folder.path().join("report");
            let mut eval = program("sketchfind");
            eval.arg("eval").arg("--model").arg(&model).arg("--data").arg(&data);
            succeed(eval.args(["--split", &evaluation.split]).arg("--out").arg(&report));
            let mut reader = csv::Reader::from_path(report.join("summary.csv")).unwrap();
            let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
            for at in &evaluation.accuracy {
                let row = rows.iter().find(|row| row[1] == format!("acc@{}", at.k)).unwrap();
                let measured: f64 = row[2].parse().unwrap();
                // Another machine's last bits may move a query or two.
                let n = evaluation.n_queries as f64;
                assert!((measured - at.value).abs() <= 2.0 / n + 1e-9, "acc@{}: {measured}", at.k);
                assert_eq!(row[5].parse::<usize>().unwrap(), evaluation.n_queries);
            }
        }
    }
}
