//! What each precision of an exported model weighs, how fast it is and how well it retrieves, against 32 bits and against
//! Python's onnxruntime in the same run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::checkout::{self, provisioned};
use crate::weights::{Known, Profile};
use crate::{emoji, fetch, provision, say, stage, weights};

/// The first is what others are compared with.
const PRECISIONS: [&str; 3] = ["fp32", "fp16", "int8"];
/// Ours and the peer take turns this many times.
const N_ROUNDS: usize = 3;
/// Images of a batch, in both.
const BATCH: f64 = 8.0;

/// A network whose precisions are measured.
struct Subject {
    network: &'static str,
    /// Its initial weights, where they are not those that its configuration names.
    weights: Option<Known>,
    /// What it is trained by.
    config: &'static str,
    /// Whether the network before training is what counts: training a ResNet50 takes hours.
    is_untrained: bool,
}

const SUBJECTS: [Subject; 2] = [
    Subject {
        network: "mobilenet_v2",
        weights: None,
        config: "trainer/configs/recipes/pairs.toml",
        is_untrained: false,
    },
    Subject {
        network: "resnet50_v1",
        weights: Some(Known::Resnet50),
        config: "trainer/configs/paper/chair-v1-baseline.toml",
        is_untrained: true,
    },
];

/// Prints a table for each network; `data` is a data set's folder, by default the emoji's.
pub(crate) fn run(data: Option<&Path>) -> Result<()> {
    fetch::check_machine()?;
    provision::libtorch()?;
    provision::onnxruntime()?;
    let programs = ["--package", "sketchfind-trainer", "--package", "sketchfind-cli"];
    checkout::run(checkout::cargo().args(["build", "--release"]).args(programs))?;
    let example = ["--release", "--package", "sketchfind", "--example", "precision"];
    checkout::run(checkout::cargo().arg("build").args(example))?;
    let python = provision::onnxruntime_python()?;
    let data = match data {
        Some(data) => data.to_owned(),
        None => emoji::provide()?,
    };
    let subjects = SUBJECTS.iter().map(|subject| subject.models(&data)).collect::<Result<Vec<_>>>()?;
    // Accuracy first: what is timed has been used.
    let mut rows = Vec::new();
    for (subject, models) in SUBJECTS.iter().zip(&subjects) {
        rows.push(subject.accuracies(models, &data)?);
    }
    let mut table = vec![
        "| network | precision | bytes | images / s | to fp32 | to Python's onnxruntime | acc@1 | to fp32, points |"
            .to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- | --- |".into(),
    ];
    for ((subject, models), accuracies) in SUBJECTS.iter().zip(&subjects).zip(rows) {
        let (ours, theirs) = times(models, &python)?;
        for (number, (precision, accuracy)) in PRECISIONS.into_iter().zip(accuracies).enumerate() {
            let bytes = fs::metadata(models[number].join("model.onnx"))?.len();
            table.push(format!(
                "| {} | {precision} | {bytes} | {:.1} | {:.2} | {:.2} | {accuracy} |",
                subject.network,
                BATCH / ours[number],
                ours[0] / ours[number],
                theirs[number] / ours[number],
            ));
        }
    }
    say::result(&table.join("\n"));
    Ok(())
}

impl Subject {
    /// The folders of its models, in the order of the precisions. A run of the same configuration and data is kept, and
    /// the models that the same program made of it.
    fn models(&self, data: &Path) -> Result<Vec<PathBuf>> {
        let folder = provisioned(&format!("bench/precision/{}", self.network));
        let (path, run) = (folder.join("train.toml"), folder.join("run"));
        let trainer = checkout::target("release").join("sketchfind-train");
        let config = self.config()?;
        let run_key = stage::key(&["run 1", &config, &checkout::sha256_of_file(&data.join("manifest.csv"))?]);
        unless(&folder.join("run.key"), &run_key, || {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)?;
            fs::write(&path, config)?;
            let mut fit = checkout::command(&trainer);
            fit.arg("fit").arg("--data").arg(data).arg("--config").arg(&path).arg("--out").arg(&run);
            checkout::run(&mut fit)
        })?;
        let models = PRECISIONS.map(|precision| folder.join(precision));
        let key = stage::key(&["models 1", &run_key, &checkout::sha256_of_file(&trainer)?]);
        unless(&folder.join("models.key"), &key, || {
            for (precision, model) in PRECISIONS.into_iter().zip(&models) {
                let mut export = checkout::command(&trainer);
                export.arg("export").arg(&run).arg("--data").arg(data).arg("--out").arg(model);
                export.args(["--precision", precision]);
                if self.is_untrained {
                    export.args(["--checkpoint", "initial"]);
                }
                checkout::run(&mut export)?;
            }
            Ok(())
        })?;
        Ok(models.to_vec())
    }

    /// The configuration with its weights' place; one whose training does not count trains on as little as may be.
    fn config(&self) -> Result<String> {
        let path = checkout::root().join(self.config);
        let mut config: toml::Table = toml::from_str(&fs::read_to_string(&path)?)?;
        let weights = match self.weights {
            Some(weights) => weights::provide(weights, Profile::Release)?,
            None => {
                let named = config.get("weights").and_then(toml::Value::as_str);
                let named = named.with_context(|| format!("{} names no weights", self.config))?;
                fs::canonicalize(path.with_file_name(named)).with_context(|| format!("no file {named}"))?
            }
        };
        config.insert("weights".into(), weights.to_string_lossy().into_owned().into());
        if self.is_untrained {
            config.remove("neighbourhood");
            config.insert("network".into(), self.network.into());
            for (table, key, value) in [
                ("train", "epochs", toml::Value::from(1)),
                ("train", "batch", 1.into()),
                ("train", "warmup_steps", 0.into()),
                ("validation", "share", 0.9.into()),
                ("checkpoint", "every_epochs", 1.into()),
            ] {
                let table = config.get_mut(table).and_then(toml::Value::as_table_mut);
                table.with_context(|| format!("{} lacks a table", self.config))?.insert(key.into(), value);
            }
        }
        Ok(toml::to_string(&config)?)
    }

    /// acc@1 of each model with its interval, and its difference to the first with the paired one, as two columns.
    fn accuracies(&self, models: &[PathBuf], data: &Path) -> Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let reports: Vec<PathBuf> =
            PRECISIONS.iter().map(|precision| folder.path().join(precision)).collect();
        let mut columns = Vec::new();
        for (model, report) in models.iter().zip(&reports) {
            let mut eval = sketchfind();
            eval.arg("eval").arg("--model").arg(model).arg("--data").arg(data).arg("--out").arg(report);
            checkout::run(&mut eval)?;
            let [value, low, high, n] = row(&report.join("summary.csv"), "acc@1")?;
            let percent = |value: f64| 100.0 * value;
            let mut text =
                format!("{:.2} % ({:.2} to {:.2}, n = {n})", percent(value), percent(low), percent(high));
            if report == &reports[0] {
                text += " |";
            } else {
                let comparison = report.join("comparison");
                let mut compare = sketchfind();
                compare.arg("compare").arg(&reports[0]).arg(report).arg("--out").arg(&comparison);
                checkout::run(&mut compare)?;
                let [value, low, high, _] = row(&comparison.join("comparison.csv"), "acc@1_difference")?;
                text += &format!(" | {:+.2} ({:+.2} to {:+.2})", percent(value), percent(low), percent(high));
            }
            columns.push(text);
        }
        Ok(columns)
    }
}

/// Makes what `stamp` does not hold the key of.
fn unless(stamp: &Path, key: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(stamp).is_ok_and(|found| found == key) {
        return Ok(());
    }
    make()?;
    Ok(fs::write(stamp, key)?)
}

fn sketchfind() -> Command {
    checkout::command(checkout::target("release").join("sketchfind"))
}

/// Value, both ends of its interval and n of a metric.
fn row(path: &Path, metric: &str) -> Result<[f64; 4]> {
    let mut reader = csv::Reader::from_path(path)?;
    for row in reader.deserialize() {
        let row: BTreeMap<String, String> = row?;
        if row.get("metric").is_some_and(|found| found == metric) {
            let number = |column: &str| {
                let text = row.get(column).with_context(|| format!("'{}' lacks {column}", path.display()))?;
                text.parse::<f64>().with_context(|| format!("'{}': {column} is '{text}'", path.display()))
            };
            return Ok([number("value")?, number("low")?, number("high")?, number("n")?]);
        }
    }
    bail!("'{}' has no row {metric}", path.display())
}

/// The median seconds of a batch of each model, ours and the peer's, from rounds in turns.
fn times(models: &[PathBuf], python: &Path) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
    for round in 1..=N_ROUNDS {
        say::line(&format!("== round {round} of {N_ROUNDS}"));
        let mut mine = checkout::command(checkout::target("release").join("examples/precision"));
        collect(&checkout::output(mine.args(models))?, &mut ours)?;
        let mut peer = checkout::command(python);
        collect(&checkout::output(peer.arg("benches/precision.py").args(models))?, &mut theirs)?;
    }
    Ok((medians(models, ours)?, medians(models, theirs)?))
}

/// Adds the lines `model,seconds` to what each model has.
fn collect(lines: &str, seconds: &mut BTreeMap<String, Vec<f64>>) -> Result<()> {
    for line in lines.lines() {
        let (model, secs) = line.rsplit_once(',').with_context(|| format!("it said '{line}'"))?;
        seconds.entry(model.to_owned()).or_default().push(secs.parse()?);
    }
    Ok(())
}

fn medians(models: &[PathBuf], mut seconds: BTreeMap<String, Vec<f64>>) -> Result<Vec<f64>> {
    let of_model = |model: &PathBuf| {
        let times = seconds.get_mut(&*model.to_string_lossy()).context("a model was not timed")?;
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    };
    models.iter().map(of_model).collect()
}
