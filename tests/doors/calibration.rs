//! 'Nothing fits': what `calibrate` learns and measures, and what `query` makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind::Calibration;
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_tests::http::Server;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::{surroundings, toy};

use crate::refusals::small_model;
use crate::serve::{PNG, json};

const N_PHOTOS: usize = 44;

struct Scene {
    folder: tempfile::TempDir,
    data: Dataset,
}

impl Scene {
    /// Shapes and their outlines, a calibration of the released model on them, and a gallery that has every second photo.
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let data = toy::dataset(&folder.path().join("data"), 2, N_PHOTOS, 5).unwrap();
        let scene = Scene { folder, data };
        let said = succeed(scene.calibrate("calibration.json").arg("--report").arg(scene.path("report")));
        assert!(
            said.contains("66 sketches, a gallery of 44 photos; 3") && said.contains("false_answers"),
            "{said}"
        );
        std::fs::create_dir(scene.path("photos")).unwrap();
        for photo in scene.data.photos_in(Split::Test).step_by(2) {
            let name = photo.path.file_name().unwrap();
            std::fs::copy(&photo.path, scene.path("photos").join(name)).unwrap();
        }
        let mut build = program("sketchfind");
        build.args(["index", "build", "--model"]).arg(model()).arg("--photos").arg(scene.path("photos"));
        succeed(build.arg("--out").arg(scene.path("gallery")));
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn calibrate(&self, out: &str) -> Command {
        let mut calibrate = program("sketchfind");
        calibrate.args(["calibrate", "--folds", "5", "--false-answers", "0.2", "--samples", "200"]);
        calibrate.arg("--data").arg(self.path("data")).arg("--model").arg(model());
        calibrate.arg("--out").arg(self.path(out));
        calibrate
    }

    fn query(&self) -> Command {
        self.query_as("csv")
    }

    fn query_as(&self, format: &str) -> Command {
        let mut query = program("sketchfind");
        query.arg("query").arg("--gallery").arg(self.path("gallery"));
        query.args(["--format", format, "--calibration"]).arg(self.path("calibration.json"));
        query
    }
}

fn model() -> PathBuf {
    surroundings::checkout().join("models/zoo/general-mobilenet_v2")
}

fn rows(path: &Path) -> Vec<csv::StringRecord> {
    csv::Reader::from_path(path).unwrap().records().map(|row| row.unwrap()).collect()
}

/// Hits have scores, and an answer whose photo is not there is more often none.
#[test]
fn a_query_says_how_sure_it_is_and_that_nothing_fits() {
    let scene = Scene::new();
    let sketches: Vec<_> = scene.data.sketches_in(Split::Test).collect();
    let sketch = &sketches[0].path;
    let plain = succeed(
        program("sketchfind")
            .arg("query")
            .arg("--gallery")
            .arg(scene.path("gallery"))
            .arg(sketch)
            .args(["--format", "csv"]),
    );
    assert!(plain.starts_with("sketch,rank,id,distance,path,labels,product\n"));
    let answer = |query: &mut Command| -> Vec<csv::StringRecord> {
        let text = succeed(query);
        assert!(text.starts_with("sketch,rank,id,distance,score,path,labels,product\n"), "{text}");
        csv::Reader::from_reader(text.as_bytes()).records().map(|row| row.unwrap()).collect()
    };
    let found = answer(scene.query().args(["-k", "12"]).arg(sketch));
    let scores: Vec<f64> = found.iter().filter_map(|row| row[4].parse().ok()).collect();
    // The first ten have one, the others an empty cell.
    assert_eq!((found.len(), scores.len(), &found[11][4]), (12, 10, ""));
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().sum::<f64>() <= 1.0, "{scores:?}");
    // How many are asked for changes no score, nor does a threshold that is reached.
    assert_eq!(answer(scene.query().args(["-k", "1", "--min-score", "0"]).arg(sketch))[0], found[0]);
    // Scores are those of the formula in the file.
    let calibration = Calibration::load(scene.path("calibration.json")).unwrap();
    let distances: Vec<f64> = found.iter().map(|row| row[3].parse().unwrap()).collect();
    for (ours, said) in calibration.map.scores(&distances).iter().zip(&scores) {
        assert!((ours - said).abs() < 1e-12);
    }

    // That nothing fits is an answer: no row, a reason, success; as every format has it.
    for (format, expected) in
        [("csv", "sketch,rank,id,distance,score,path,labels,product\n"), ("json", "[]\n"), ("table", "score")]
    {
        let said = run(scene.query_as(format).args(["--min-score", "1"]).arg(sketch));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.err.contains("nothing fits: the score is 0."), "{said:?}");
        if format == "table" {
            assert_eq!(said.out.lines().count(), 2, "{said:?}");
        } else {
            assert_eq!(said.out, expected);
        }
    }

    served(&scene, sketch, &found);

    // The threshold that was learned keeps most of those away whose photo is not there, and few of the others.
    let share = |is_there: bool| {
        let photos: Vec<&str> = scene.data.photos_in(Split::Test).map(|photo| photo.id.as_str()).collect();
        let of: Vec<&PathBuf> = sketches
            .iter()
            .filter(|sketch| {
                let place = photos.iter().position(|id| *id == scene.data.photo_of(sketch).id).unwrap();
                (place % 2 == 0) == is_there
            })
            .map(|sketch| &sketch.path)
            .collect();
        let found = answer(scene.query().args(["-k", "1", "--min-score", "auto"]).args(&of));
        found.len() as f64 / of.len() as f64
    };
    let (there, without) = (share(true), share(false));
    assert!(there > 0.5 && without < 0.4 && there > without + 0.2, "{there} {without}");
}

/// The server's scores are those of the command, `found`.
fn served(scene: &Scene, sketch: &Path, found: &[csv::StringRecord]) {
    let mut serve = program("sketchfind");
    serve.args(["serve", "--address", "127.0.0.1:0", "--gallery"]).arg(scene.path("gallery"));
    serve.arg("--calibration").arg(scene.path("calibration.json"));
    let server = Server::start(&mut serve);
    let bytes = std::fs::read(sketch).unwrap();
    let ask = |parameters: &str| server.ask("POST", &format!("/api/v1/query?{parameters}"), &[PNG], &bytes);
    let answer = json(&ask("k=12"));
    for (hit, row) in answer["hits"].as_array().unwrap().iter().zip(found) {
        assert_eq!(
            (&hit["id"], &hit["score"]),
            (&row[2].into(), &row[4].parse().map_or(serde_json::Value::Null, |score: f64| score.into()))
        );
    }
    let sum: f64 = found.iter().filter_map(|row| row[4].parse::<f64>().ok()).sum();
    assert!((answer["score"].as_f64().unwrap() - sum).abs() < 1e-12);
    let nothing = json(&ask("min_score=1"));
    assert_eq!(
        (nothing["hits"].as_array().unwrap().len(), &nothing["nothing"]["code"]),
        (0, &"no_fit".into())
    );
    assert!(nothing["nothing"]["detail"].as_str().unwrap().contains("the score is 0."));
    assert_eq!(json(&server.ask("GET", "/api/v1/gallery", &[], &[]))["has_scores"], true);
    for wrong in ["min_score=2", "min_score=NaN", "min_score=often"] {
        assert_eq!(ask(wrong).status, 400, "{wrong}");
    }
    drop(server);
    // Without a calibration there is nothing to ask for; with one of another model there is no server.
    let mut plain = program("sketchfind");
    plain.args(["serve", "--address", "127.0.0.1:0", "--gallery"]).arg(scene.path("gallery"));
    let server = Server::start(&mut plain);
    let answer = server.ask("POST", "/api/v1/query?min_score=0.5", &[PNG], &bytes);
    assert!(answer.status == 409 && answer.text().contains("without a calibration"), "{}", answer.text());
    assert!(json(&server.ask("POST", "/api/v1/query", &[PNG], &bytes))["score"].is_null());
    let text = std::fs::read_to_string(scene.path("calibration.json")).unwrap();
    let model = Calibration::load(scene.path("calibration.json")).unwrap().model_sha256;
    std::fs::write(scene.path("other.json"), text.replace(&model, &"0".repeat(64))).unwrap();
    let mut other = program("sketchfind");
    other.args(["serve", "--address", "127.0.0.1:0", "--gallery"]).arg(scene.path("gallery"));
    fail(
        other.arg("--calibration").arg(scene.path("other.json")),
        3,
        &["the model that the calibration is of"],
    );
}

/// The report's figures are those of its rows.
#[test]
fn what_is_measured_is_written_and_adds_up() {
    let scene = Scene::new();
    let answers = rows(&scene.path("report/answers.csv"));
    assert_eq!(answers.len(), 66);
    let share = |is_of: &dyn Fn(&csv::StringRecord) -> bool,
                 is_wrong: &dyn Fn(&csv::StringRecord) -> bool| {
        let of: Vec<_> = answers.iter().filter(|row| is_of(row)).collect();
        (of.iter().filter(|row| is_wrong(row)).count() as f64 / of.len() as f64, of.len())
    };
    let figures = rows(&scene.path("report/calibration.csv"));
    let calibration = Calibration::load(scene.path("calibration.json")).unwrap();
    for (metric, (value, n)) in [
        ("false_answers", share(&|row| &row[3] == "false", &|row| &row[10] == "true")),
        ("false_nothings", share(&|row| &row[3] == "true", &|row| &row[10] == "false")),
        ("wrong_answers", share(&|row| &row[10] == "true", &|row| row[2] != row[5])),
    ] {
        let row = figures.iter().find(|row| &row[1] == metric).unwrap();
        let [said, low, high] = [2, 3, 4].map(|cell: usize| row[cell].parse::<f64>().unwrap());
        assert!((said - value).abs() < 1e-12 && low <= said && said <= high, "{metric}: {row:?}, {value}");
        assert_eq!(row[5], n.to_string());
        let in_file = calibration.measured.iter().find(|one| one.metric == metric).unwrap();
        assert_eq!(
            (in_file.value, in_file.low, in_file.high, in_file.n),
            (Some(said), Some(low), Some(high), n)
        );
    }
    assert_eq!(figures.len(), 6);
    // A photo that was left out is never found, and its sketches go together.
    for pair in answers.windows(2).filter(|pair| pair[0][2] == pair[1][2]) {
        assert_eq!((&pair[0][3], &pair[0][4]), (&pair[1][3], &pair[1][4]));
    }
    assert!(answers.iter().all(|row| &row[3] == "true" || (row[2] != row[5] && row[7].is_empty())));
    assert_eq!(rows(&scene.path("report/reliability.csv")).len(), 10);
    assert_eq!((calibration.learned.n_photos, calibration.learned.n_sketches), (N_PHOTOS, 66));
    // The same again, to the byte.
    let before = std::fs::read(scene.path("calibration.json")).unwrap();
    succeed(scene.calibrate("again.json").arg("--report").arg(scene.path("report")));
    assert!(before == std::fs::read(scene.path("again.json")).unwrap());
    // A gallery has its model and frames.
    let mut of_gallery = program("sketchfind");
    of_gallery.args(["calibrate", "--folds", "5", "--false-answers", "0.2", "--samples", "200"]);
    of_gallery.arg("--data").arg(scene.path("data")).arg("--gallery").arg(scene.path("gallery"));
    succeed(of_gallery.arg("--out").arg(scene.path("of-gallery.json")));
    assert_eq!(Calibration::load(scene.path("of-gallery.json")).unwrap(), calibration);
}

#[test]
fn a_calibration_that_does_not_belong_is_refused() {
    let scene = Scene::new();
    let sketch = scene.data.sketches_in(Split::Test).next().unwrap().path.clone();
    fail(scene.query().args(["--frame", "off"]).arg(&sketch), 3, &["the frame that the calibration is of"]);
    let text = std::fs::read_to_string(scene.path("calibration.json")).unwrap();
    let sha256 = Calibration::load(scene.path("calibration.json")).unwrap().model_sha256;
    for (from, to, part) in [
        (sha256.as_str(), "0".repeat(64).as_str(), "the model that the calibration is of"),
        ("\"format\": 1", "\"format\": 2", "this version of sketchfind reads 1"),
        ("\"magic\"", "\"magick\"", "it is no calibration"),
    ] {
        std::fs::write(scene.path("calibration.json"), text.replacen(from, to, 1)).unwrap();
        fail(scene.query().arg(&sketch), 3, &[part]);
    }
    std::fs::remove_file(scene.path("calibration.json")).unwrap();
    fail(scene.query().arg(&sketch), 3, &["calibration.json"]);
    for wrong in ["1.5", "-1", "NaN", "many"] {
        assert_eq!(
            run(scene.query().arg(format!("--min-score={wrong}")).arg(&sketch)).code,
            Some(2),
            "{wrong}"
        );
    }
    let mut without = program("sketchfind");
    without.args(["query", "--min-score", "0.5", "--gallery"]).arg(scene.path("gallery")).arg(&sketch);
    assert_eq!(run(&mut without).code, Some(2));

    // What cannot be learned, and where it cannot be written.
    fail(
        scene.calibrate("c.json").args(["--without", "0.02"]),
        3,
        &["photos with sketches, left out and not"],
    );
    fail(scene.calibrate("c.json").args(["--without", "2"]), 3, &["share without their photo is 2"]);
    fail(&mut scene.calibrate("c.txt"), 3, &["ends in .json"]);
    fail(scene.calibrate("c.json").arg("--report").arg(scene.path("photos")), 3, &["holds something else"]);
    small_model(&scene.path("small"), 1);
    let mut small = program("sketchfind");
    small.args(["calibrate", "--data"]).arg(scene.path("data")).arg("--model").arg(scene.path("small"));
    fail(
        small.args(["--false-answers", "0.001", "--out"]).arg(scene.path("c.json")),
        3,
        &["share of false answers"],
    );
    assert!(!scene.path("c.json").exists() && !scene.path("c.txt").exists());
}
