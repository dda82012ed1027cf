//! The whole way, on a data set that is drawn on the spot: train, export, verify, index, query, embed, evaluate,
//! compare. And once on a real one.

use std::path::Path;
use std::process::Command;

use sketchfind_core::embeddings::Embeddings;
use sketchfind_tests::programs::{program, run, succeed};
use sketchfind_tests::surroundings;

use crate::training::{CONFIG, Scene};

fn sketchfind(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.args(arguments);
    command
}

fn export(scene: &Scene, checkpoint: &str, out: &str) {
    let mut export = program("sketchfind-train");
    export.arg("export").arg(scene.path("run")).args(["--checkpoint", checkpoint]);
    succeed(export.arg("--out").arg(scene.path(out)));
}

#[test]
fn from_a_data_set_to_a_comparison_of_reports() {
    let scene = Scene::new(CONFIG);
    let data = scene.path("data");
    let checked = succeed(sketchfind(&["data", "check"]).arg(&data));
    assert!(checked.contains("train") && checked.contains("30") && checked.contains("45"), "{checked}");
    succeed(&mut scene.fit("run"));
    for (checkpoint, model) in [("initial", "before"), ("last", "after"), ("best", "best")] {
        export(&scene, checkpoint, model);
        let said = succeed(sketchfind(&["verify"]).arg(scene.path(model)));
        assert!(said.starts_with("verified: 8 probe images on cpu"), "{said}");
    }
    // Exported again from the same run: the same bytes.
    let first = std::fs::read(scene.path("after/model.onnx")).unwrap();
    export(&scene, "last", "after");
    assert!(first == std::fs::read(scene.path("after/model.onnx")).unwrap());
    let info = succeed(sketchfind(&["info"]).arg(scene.path("after")));
    assert!(info.contains("resnet18") && info.contains("3 epochs (18 steps)"), "{info}");

    // Gallery and query: exact and HNSW give the same, in every format.
    let manifest = data.join("manifest.csv");
    let mut answers = Vec::new();
    for kind in ["exact", "hnsw"] {
        let gallery = scene.path(kind);
        let mut build = sketchfind(&["index", "build", "--split", "test", "--index", kind, "--model"]);
        build.arg(scene.path("after")).arg("--photos").arg(&manifest).arg("--out").arg(&gallery);
        succeed(&mut build);
        let mut query = sketchfind(&["query", "-k", "3", "--format", "json", "--gallery"]);
        let sketch = data.join("sketch/030-1.png");
        let answer = succeed(query.arg(&gallery).arg(&sketch));
        let rows: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 3);
        assert!(rows[0]["id"].as_str().unwrap().starts_with("photo/0"));
        assert!(Path::new(rows[0]["path"].as_str().unwrap()).is_file());
        answers.push(answer);
        let csv = succeed(sketchfind(&["query", "--format", "csv", "--gallery"]).arg(&gallery).arg(&sketch));
        assert!(
            csv.starts_with("sketch,rank,id,distance,path,labels,product\n") && csv.lines().count() == 11,
            "{csv}"
        );
        let table = succeed(sketchfind(&["query", "--gallery"]).arg(&gallery).arg(&sketch));
        assert_eq!(table.lines().count(), 12, "{table}");
    }
    assert_eq!(answers[0], answers[1]);

    // Embeddings, the report, and NumPy's opinion of it.
    let npy = scene.path("embeddings/test.npy");
    let mut embed = sketchfind(&["embed", "--split", "test", "--model"]);
    succeed(embed.arg(scene.path("after")).arg("--data").arg(&data).arg("--out").arg(&npy));
    assert_eq!(Embeddings::load(&npy).unwrap().len(), 12 + 18);
    for model in ["before", "after"] {
        let mut eval = sketchfind(&["eval", "--model"]);
        eval.arg(scene.path(model)).arg("--data").arg(&data);
        let said = succeed(eval.arg("--out").arg(scene.path(&format!("report-{model}"))));
        assert!(said.contains("18 sketches of 12 photos, gallery of 12") && said.contains("acc@1"), "{said}");
    }
    for file in ["queries.csv", "summary.csv", "report.html"] {
        assert!(scene.path("report-after").join(file).is_file());
    }
    let said =
        succeed(sketchfind(&["compare"]).arg(scene.path("report-before")).arg(scene.path("report-after")));
    assert!(said.contains("McNemar") && said.contains("over photos"), "{said}");
    if let Some(python) = surroundings::python() {
        let script = surroundings::checkout().join("tests/reference/acc_at_1.py");
        let queries = scene.path("report-after/queries.csv");
        let said = succeed(Command::new(python).arg(script).arg(&npy).arg(&manifest).arg(queries));
        assert!(said.contains("of 18 right, as reported to the query"), "{said}");
    }

    // A probe of other images is not verified: the check can fail.
    let probe = scene.path("after/probe");
    std::fs::copy(probe.join("sketch-1.png"), probe.join("photo-1.png")).unwrap();
    let said = run(sketchfind(&["verify"]).arg(scene.path("after")));
    assert_eq!(said.code, Some(4), "{}{}", said.out, said.err);
    assert!(said.out.starts_with("NOT verified"), "{}", said.out);
}

#[test]
fn what_a_product_ships_does_not_link_libtorch() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let libraries = |name: &str| succeed(Command::new("ldd").arg(program(name).get_program()));
    let product = libraries("sketchfind");
    assert!(!product.contains("torch") && !product.contains("onnxruntime"), "{product}");
    // The check can fail: the trainer does link it.
    assert!(libraries("sketchfind-train").contains("libtorch"));
}

/// A real set and real weights: one epoch on two cores must clearly help.
#[test]
fn one_epoch_on_real_chairs_helps() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let Some(data) = surroundings::shared_data("qmul-chair-v1") else { return };
    if surroundings::provisioned("weights/mobilenet_v2.safetensors").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let configs = surroundings::checkout().join("trainer/configs");
    let config = std::fs::read_to_string(configs.join("chair-v1-mobilenet.toml")).unwrap();
    let weights = surroundings::checkout().join(".provision/weights/mobilenet_v2.safetensors");
    let config = config
        .replace("../../.provision/weights/mobilenet_v2.safetensors", &weights.to_string_lossy())
        .lines()
        .map(|line| if line.starts_with("epochs = ") { "epochs = 1" } else { line })
        .collect::<Vec<_>>()
        .join("\n");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let run = folder.path().join("run");
    let mut fit = program("sketchfind-train");
    succeed(fit.arg("fit").arg("--data").arg(&data).arg("--config").arg(&file).arg("--out").arg(&run));
    let acc1 = |checkpoint: &str| -> f64 {
        let (model, report) = (folder.path().join(checkpoint), folder.path().join(format!("r-{checkpoint}")));
        let mut export = program("sketchfind-train");
        export.arg("export").arg(&run).args(["--checkpoint", checkpoint]).arg("--out").arg(&model);
        succeed(&mut export);
        let mut eval = sketchfind(&["eval", "--model"]);
        succeed(eval.arg(&model).arg("--data").arg(&data).arg("--out").arg(&report));
        let mut reader = csv::Reader::from_path(report.join("summary.csv")).unwrap();
        let row = reader.records().map(|row| row.unwrap()).find(|row| &row[1] == "acc@1").unwrap();
        assert_eq!(&row[5], "97");
        row[2].parse().unwrap()
    };
    let (before, after) = (acc1("initial"), acc1("last"));
    assert!((0.15..0.30).contains(&before), "{before} before training");
    assert!(after > before + 0.05, "{after} after one epoch, {before} before");
}
