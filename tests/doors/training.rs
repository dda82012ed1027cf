//! Training as a process: repeatable bit for bit, interrupted anywhere, resumed as if it had never stopped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sketchfind_models::weights::Weights;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::toy;

/// A small run: ResNet18 with random weights on tiny images, so that a step takes a tenth of a second.
pub(crate) const CONFIG: &str = r#"
network = "resnet18"
weights = "random"
seed = 5
threads = 1
precision = "fp32"
channels_last = false
[images]
resize = 40
crop = 32
flip = true
pairs = "independent"
memory_mib = 64
[loss]
kind = "triplet"
margin = 0.1
negatives = "random"
[train]
method = "baseline"
epochs = 3
batch = 6
batch_norm = "training"
learning_rate = 0.01
warmup_steps = 0
weight_decay = 0.0001
clip_norm = 0.0
[optimiser]
kind = "sgd"
momentum = 0.9
[schedule]
kind = "constant"
[validation]
share = 0.2
every_epochs = 1
[checkpoint]
every_epochs = 1
"#;

/// The same with what else has a state or depends on the step.
pub(crate) fn meta_config() -> String {
    let config = CONFIG
        .replace("method = \"baseline\"", "method = \"meta\"")
        .replace("kind = \"sgd\"\nmomentum = 0.9", "kind = \"adamw\"\nbetas = [0.9, 0.999]\neps = 1e-8")
        .replace("kind = \"constant\"", "kind = \"cosine\"\nend = 0.1")
        .replace("learning_rate = 0.01\nwarmup_steps = 0", "learning_rate = 0.001\nwarmup_steps = 4")
        .replace("clip_norm = 0.0", "clip_norm = 1.0");
    format!(
        "{config}[neighbourhood]\nmargin = 0.01\npairs = 10\nalpha = 1.0\nbeta = 1.0\neta_s = 0.001\neta_t = 0.001\n\
         anchor = \"sketch\"\nsampling = \"random\"\nfeatures = \"pooled\"\nnetwork = \"resnet18\"\nweights = \"random\"\n"
    )
}

pub(crate) struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new(config: &str) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        toy::dataset(&folder.path().join("data"), 30, 12, 1).unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Scene { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn fit(&self, out: &str) -> Command {
        let mut command = program("sketchfind-train");
        command.arg("fit").arg("--data").arg(self.path("data"));
        command.arg("--config").arg(self.path("config.toml")).arg("--out").arg(self.path(out));
        command
    }
}

pub(crate) fn last_weights(run: &Path) -> Vec<u8> {
    let mut checkpoints: Vec<PathBuf> =
        std::fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    checkpoints.sort();
    assert!(checkpoints.len() <= 2, "only the last two are kept");
    std::fs::read(checkpoints.last().unwrap().join("weights.safetensors")).unwrap()
}

/// The columns of a metrics file that do not tell time.
fn timeless(path: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let kept: Vec<usize> = reader
        .headers()
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(_, name)| !name.ends_with("_secs"))
        .map(|(column, _)| column)
        .collect();
    reader.records().map(|row| kept.iter().map(|&c| row.as_ref().unwrap()[c].to_owned()).collect()).collect()
}

#[test]
fn the_same_seed_gives_the_same_weights_and_resuming_equals_never_having_stopped() {
    resuming_equals_never_having_stopped(CONFIG);
}

#[test]
fn so_it_is_with_the_meta_objective_adam_and_a_schedule() {
    let config = meta_config();
    for changed in ["\"adamw\"", "\"cosine\"", "warmup_steps = 4", "clip_norm = 1.0", "\"meta\""] {
        assert!(config.contains(changed), "{changed}");
    }
    let scene = resuming_equals_never_having_stopped(&config);
    // The distances between photos were computed once and kept, and their mean is said.
    let mut kept = std::fs::read_dir(scene.path("stopped/neighbourhood")).unwrap();
    let distances = Weights::load(&kept.next().unwrap().unwrap().path()).unwrap();
    assert!(kept.next().is_none());
    let distances = &distances.get("distances").unwrap().values;
    let mean = distances.iter().copied().map(f64::from).sum::<f64>() / distances.len() as f64;
    let said = run(scene.fit("stopped").arg("--resume")).err;
    let expected = format!("distances between 24 training photos: {mean:.4} in the mean");
    assert!(said.contains(&expected), "{expected}: {said}");
    let steps = timeless(&scene.path("straight/steps.csv"));
    // All but the teacher's loss, for there is none.
    let n_empty = |row: &Vec<String>| row.iter().filter(|value| value.is_empty()).count();
    assert!(steps.iter().all(|row| n_empty(row) == 1), "{:?}", steps[0]);
}

pub(crate) fn resuming_equals_never_having_stopped(config: &str) -> Scene {
    let scene = Scene::new(config);
    succeed(&mut scene.fit("straight"));
    succeed(&mut scene.fit("again"));
    let straight = last_weights(&scene.path("straight"));
    assert!(straight == last_weights(&scene.path("again")), "two runs of one seed differ");

    // Stopped in the middle of an epoch, again and again, each time as soon as some steps are done.
    let stopped = scene.path("stopped");
    let mut n_interrupted = 0;
    for wanted_rows in [2, 8, 13] {
        let mut child =
            scene.fit("stopped").arg("--resume").stderr(std::process::Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        let n_rows = || {
            let text = std::fs::read_to_string(stopped.join("steps.csv")).unwrap_or_default();
            text.lines().count().saturating_sub(1)
        };
        while n_rows() < wanted_rows && started.elapsed() < Duration::from_secs(60) {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        succeed(Command::new("kill").arg("-TERM").arg(child.id().to_string()).env_remove("LIBTORCH"));
        n_interrupted += usize::from(child.wait().unwrap().code() == Some(130));
    }
    assert!(n_interrupted >= 2, "interrupted {n_interrupted} times");
    succeed(scene.fit("stopped").arg("--resume"));
    assert!(straight == last_weights(&stopped), "a resumed run differs from a straight one");
    for metrics in ["steps.csv", "epochs.csv"] {
        assert_eq!(
            timeless(&stopped.join(metrics)),
            timeless(&scene.path("straight").join(metrics)),
            "{metrics}"
        );
    }
    // 24 photos are trained on (a fifth of 30 is held out), 36 sketches: 6 steps of 6 in each of 3 epochs.
    assert_eq!(timeless(&stopped.join("epochs.csv")).len(), 3);

    // Nothing is left to do, and nothing is done.
    succeed(scene.fit("stopped").arg("--resume"));
    assert!(straight == last_weights(&stopped));
    scene
}

#[test]
fn a_killed_run_loses_at_most_what_is_behind_its_checkpoint() {
    let scene = Scene::new(CONFIG);
    succeed(&mut scene.fit("straight"));
    let killed = scene.path("killed");
    let mut child = scene.fit("killed").stderr(std::process::Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !killed.join("best").exists() && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    succeed(scene.fit("killed").arg("--resume"));
    assert!(last_weights(&scene.path("straight")) == last_weights(&killed));
}

#[test]
fn another_run_is_not_resumed_and_none_is_overwritten() {
    let scene = Scene::new(&CONFIG.replace("epochs = 3", "epochs = 1"));
    succeed(&mut scene.fit("run"));
    fail(&mut scene.fit("run"), 3, &["--resume"]);
    let config = CONFIG.replace("epochs = 3", "epochs = 1").replace("margin = 0.1", "margin = 0.2");
    std::fs::write(scene.path("config.toml"), config).unwrap();
    fail(scene.fit("run").arg("--resume"), 3, &["margin = 0.1", "margin = 0.2"]);
    std::fs::write(scene.path("config.toml"), CONFIG.replace("epochs = 3", "epochs = 1")).unwrap();
    toy::dataset(&scene.path("data"), 30, 12, 2).unwrap();
    fail(scene.fit("run").arg("--resume"), 3, &["data set"]);
    std::fs::create_dir(scene.path("thesis")).unwrap();
    std::fs::write(scene.path("thesis/chapter.tex"), "years of work").unwrap();
    fail(&mut scene.fit("thesis"), 3, &["not empty"]);
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let scene = Scene::new(&CONFIG.replace("epochs = 3", "epochs = 1"));
    succeed(&mut scene.fit("run"));
    let checkpoint =
        std::fs::read_dir(scene.path("run/checkpoints")).unwrap().next().unwrap().unwrap().path();
    let weights = checkpoint.join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    fail(scene.fit("run").arg("--resume"), 3, &["weights.safetensors", "damaged"]);
}

#[test]
fn divergence_stops_the_run_and_names_the_step() {
    let scene = Scene::new(&CONFIG.replace("learning_rate = 0.01", "learning_rate = 1e30"));
    fail(&mut scene.fit("run"), 1, &["the loss of step", "epoch 1"]);
}

#[test]
fn cuda_is_refused_where_there_is_none() {
    let scene = Scene::new(CONFIG);
    let said = run(scene.fit("run").args(["--device", "cuda"]));
    if said.code != Some(0) {
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains("libtorch_cuda.so"), "{}", said.err);
    }
}
