//! Benchmarks: ours against a peer, in one run, on one machine. What counts is the ratio.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::checkout::{self, provisioned};
use crate::weights::{Known, Profile};
use crate::{emoji, fetch, provision, say, weights};

const CONFIG: &str = "trainer/configs/chair-v1-mobilenet.toml";
/// Ours and the peer's runs take turns this many times, so that a slow minute of the machine meets both.
const N_ROUNDS: usize = 2;
/// Steps at the beginning of a run that are not counted: caches and allocators warm up.
const N_WARM: usize = 4;
/// Training pairs of the data set that are used: 20 steps of 16.
const N_PAIRS: usize = 320;

/// Times training steps against `benches/train.py`.
pub(crate) fn train() -> Result<()> {
    fetch::check_machine()?;
    provision::libtorch()?;
    provision::onnxruntime()?;
    checkout::run(checkout::cargo().args([
        "build",
        "--release",
        "--package",
        "sketchfind-trainer",
        "--package",
        "sketchfind-cli",
    ]))?;
    let weights = weights::provide(Known::MobilenetV2, Profile::Release)?;
    let data = emoji::provide()?;
    let python = provision::bench_python()?;
    let folder = provisioned("bench");
    fs::create_dir_all(&folder)?;

    let mut table = vec![
        "| step | memory | ours, median | PyTorch, median | PyTorch / ours | ours, waiting for data |"
            .to_owned(),
    ];
    table.push("| --- | --- | --- | --- | --- | --- |".into());
    let mut baseline_secs = None;
    for (method, channels_last) in [
        ("baseline", false),
        ("multitask", false),
        ("meta", false),
        ("baseline", true),
        ("multitask", true),
        ("meta", true),
        // The full gradient passes through the network four times.
        ("meta_full", true),
        // What recipes have: two images a sketch, generalised-mean pooling, a projection, AdamW, an average of the weights.
        ("contrastive", true),
        ("contrastive_meta", true),
    ] {
        let case = Case { method, channels_last };
        let (mut ours, mut waits, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=N_ROUNDS {
            let memory = case.memory();
            say::line(&format!("== {method}, {memory}, round {round} of {N_ROUNDS}"));
            let (secs, wait) = case.ours(&folder, &data, &weights)?;
            ours.extend(secs);
            waits.push(wait);
            theirs.extend(case.theirs(&python, &data, &weights)?);
        }
        let (ours, theirs) = (median(&mut ours)?, median(&mut theirs)?);
        if !channels_last && method == "baseline" {
            baseline_secs = Some(ours);
        }
        let wait = waits.iter().sum::<f64>() / waits.len() as f64;
        table.push(format!(
            "| {method} | {} | {:.3} s | {:.3} s | {:.2} | {:.2} % |",
            case.memory(),
            ours,
            theirs,
            theirs / ours,
            100.0 * wait
        ));
        if let Some(baseline) = baseline_secs.filter(|_| !channels_last && method == "meta") {
            say::line(&format!("a meta step costs {:.2} baseline steps", ours / baseline));
        }
    }
    say::result(&table.join("\n"));
    Ok(())
}

/// What is timed.
struct Case {
    method: &'static str,
    channels_last: bool,
}

impl Case {
    fn is_contrastive(&self) -> bool {
        self.method.starts_with("contrastive")
    }

    /// The method's name in a configuration.
    fn topology(&self) -> &'static str {
        match self.method {
            "contrastive" => "baseline",
            "contrastive_meta" => "meta",
            method => method,
        }
    }

    fn memory(&self) -> &'static str {
        if self.channels_last { "channels last" } else { "channels first" }
    }

    /// Seconds of our steps, and the share of them that waited for a batch.
    fn ours(&self, folder: &Path, data: &Path, weights: &Path) -> Result<(Vec<f64>, f64)> {
        let text = fs::read_to_string(checkout::root().join(CONFIG))?;
        let mut config: toml::Table = toml::from_str(&text)?;
        let mut set = |table: &str, key: &str, value: toml::Value| -> Result<()> {
            let entry = if table.is_empty() {
                Some(&mut config)
            } else {
                config.get_mut(table).and_then(toml::Value::as_table_mut)
            };
            entry.with_context(|| format!("{CONFIG} has no [{table}]"))?.insert(key.into(), value);
            Ok(())
        };
        let weights = weights.to_string_lossy().into_owned();
        let n_train = train_pairs(data)?;
        set("", "weights", weights.clone().into())?;
        set("", "channels_last", self.channels_last.into())?;
        set("train", "method", self.topology().into())?;
        if self.is_contrastive() {
            for (table, text) in [
                ("loss", "kind = 'contrastive'\ntemperature = 0.07\nsame_modality = false"),
                ("optimiser", "kind = 'adamw'\nbetas = [0.9, 0.999]\neps = 1e-8"),
                ("average", "decay = 0.99"),
                (
                    "head",
                    "pooling = { kind = 'gem', p = 3.0, learn = false, cells = 1 }\nnormalise = true\n\
                     projection = { width = 512, bias = true, start = 'orthogonal' }",
                ),
            ] {
                set("", table, toml::Value::Table(toml::from_str(text)?))?;
            }
        }
        set("train", "epochs", 1.into())?;
        set("validation", "share", (1.0 - N_PAIRS as f64 / n_train as f64).into())?;
        let neighbourhood = format!(
            "margin = 0.01\npairs = 10\nalpha = 1.0\nbeta = 1.0\neta_s = 0.001\neta_t = 0.001\nanchor = 'sketch'\n\
             sampling = 'random'\nfeatures = 'pooled'\nnetwork = 'mobilenet_v2'\nweights = '{weights}'\n"
        );
        set("", "neighbourhood", toml::Value::Table(toml::from_str(&neighbourhood)?))?;
        let (path, run) = (folder.join("train.toml"), folder.join("run"));
        fs::write(&path, toml::to_string(&config)?)?;
        if run.exists() {
            fs::remove_dir_all(&run)?;
        }
        let mut fit = checkout::command(checkout::target("release").join("sketchfind-train"));
        fit.arg("fit").arg("--data").arg(data).arg("--config").arg(&path).arg("--out").arg(&run);
        checkout::run(&mut fit)?;
        let mut reader = csv::Reader::from_path(run.join("steps.csv"))?;
        let headers = reader.headers()?.clone();
        let column =
            |name: &str| headers.iter().position(|header| header == name).context("steps.csv lacks a column");
        let (step, wait) = (column("step_secs")?, column("wait_secs")?);
        let (mut secs, mut waited) = (Vec::new(), 0.0);
        for row in reader.records().skip(N_WARM) {
            let row = row?;
            secs.push(row[step].parse()?);
            waited += row[wait].parse::<f64>()?;
        }
        let share = waited / secs.iter().sum::<f64>();
        Ok((secs, share))
    }

    /// Seconds of the peer's steps.
    fn theirs(&self, python: &Path, data: &Path, weights: &Path) -> Result<Vec<f64>> {
        let mut peer = checkout::command(python);
        peer.arg("benches/train.py").arg("--data").arg(data).arg("--weights").arg(weights);
        peer.args([
            "--method",
            self.topology(),
            "--resize",
            "150",
            "--crop",
            "128",
            "--learning-rate",
            "0.001",
        ]);
        peer.args(["--pairs", &N_PAIRS.to_string(), "--steps", &(N_PAIRS / 16).to_string()]);
        if self.channels_last {
            peer.arg("--channels-last");
        }
        if self.is_contrastive() {
            peer.arg("--contrastive");
        }
        let secs: Vec<f64> = serde_json::from_str(&checkout::output(&mut peer)?)?;
        Ok(secs.into_iter().skip(N_WARM).collect())
    }
}

/// The training sketches of a data set.
fn train_pairs(data: &Path) -> Result<usize> {
    let mut reader = csv::Reader::from_path(data.join("manifest.csv"))?;
    let mut n_pairs = 0;
    for row in reader.records() {
        let row = row?;
        n_pairs += usize::from(row.get(1) == Some("sketch") && row.get(3) == Some("train"));
    }
    Ok(n_pairs)
}

fn median(values: &mut [f64]) -> Result<f64> {
    if values.is_empty() {
        bail!("no step was timed");
    }
    values.sort_by(f64::total_cmp);
    Ok(values[values.len() / 2])
}
