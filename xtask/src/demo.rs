//! The whole main job on a data set that anybody can fetch: train, export, verify, index, query, evaluate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::checkout::{self, provisioned};
use crate::weights::{Known, Profile};
use crate::{emoji, fetch, provision, say, stage, weights};

const CONFIG: &str = "trainer/configs/demo.toml";

/// Runs the demo; finished stages whose inputs are the same are kept, unless `fresh`.
pub(crate) fn run(fresh: bool) -> Result<()> {
    let started = Instant::now();
    let demo = provisioned("demo");
    if fresh && demo.exists() {
        fs::remove_dir_all(&demo).with_context(|| format!("cannot remove '{}'", demo.display()))?;
    }
    say::line("== 1 of 8: native libraries");
    fetch::check_machine()?;
    provision::libtorch()?;
    provision::onnxruntime()?;

    say::line("== 2 of 8: building (a first build takes minutes)");
    let programs = ["build", "--release", "--package", "sketchfind-cli", "--package", "sketchfind-trainer"];
    checkout::run(checkout::cargo().args(programs))?;
    let programs = Programs::new()?;

    say::line("== 3 of 8: weights and data set");
    let weights = weights::provide(Known::MobilenetV2, Profile::Release)?;
    let data = emoji::provide()?;
    let config = fs::read_to_string(checkout::root().join(CONFIG))?;
    let data_key = fs::read_to_string(data.join(".key"))?;
    let train_key =
        stage::key(&[&programs.trainer_sha256, &config, &data_key, &checkout::sha256_of_file(&weights)?]);
    let key = stage::key(&[&train_key, &programs.sketchfind_sha256]);

    say::line("== 4 of 8: training");
    train(&programs, &data, &demo, &train_key)?;
    let run = demo.join("run");

    say::line("== 5 of 8: exporting, verifying");
    let [before, after] = ["model-before", "model"].map(|name| demo.join(name));
    for (model, checkpoint) in [(&before, "initial"), (&after, "last")] {
        once(model, &key, || {
            let mut export = programs.trainer();
            export.arg("export").arg(&run).args(["--checkpoint", checkpoint, "--out"]).arg(model);
            checkout::run(&mut export)?;
            checkout::run(programs.sketchfind().arg("verify").arg(model))
        })?;
    }

    say::line("== 6 of 8: indexing the test photos");
    let gallery = demo.join("gallery");
    once(&gallery, &key, || {
        let mut index = programs.sketchfind();
        index.args(["index", "build", "--split", "test", "--model"]).arg(&after);
        checkout::run(index.arg("--photos").arg(data.join("manifest.csv")).arg("--out").arg(&gallery))
    })?;

    say::line("== 7 of 8: asking with one drawing");
    let sketch = first_test_sketch(&data)?;
    let query = |k: &str| {
        let mut query = programs.sketchfind();
        query.arg("query").arg("--gallery").arg(shown(&gallery)).arg(shown(&sketch)).args(["-k", k]);
        query
    };
    checkout::run(&mut query("5"))?;

    say::line("== 8 of 8: evaluating before and after training");
    let [report_before, report] = ["report-before", "report"].map(|name| demo.join(name));
    for (model, report) in [(&before, &report_before), (&after, &report)] {
        once(report, &key, || {
            let mut eval = programs.sketchfind();
            eval.arg("eval").arg("--model").arg(model).arg("--data").arg(&data);
            checkout::run(eval.args(["--split", "test", "--out"]).arg(report))
        })?;
    }
    let mut compare = programs.sketchfind();
    compare.arg("compare").arg(&report_before).arg(&report).arg("--out").arg(demo.join("comparison"));
    let comparison = checkout::output(&mut compare)?;
    let train_secs = fs::read_to_string(demo.join("train.secs")).unwrap_or_default();
    say::result(&format!(
        "\nacc@1 on the test split, before (A) and after (B) training:\n{comparison}\n\
         report          {}\n\
         training took   {}\n\
         this run took   {}\n\
         try next        {}\n\
         draw to search  {}",
        shown(&report.join("report.html")).display(),
        train_secs.trim().parse().map_or_else(|_| "unknown".into(), say::duration),
        say::duration(started.elapsed().as_secs_f64()),
        words(&query("10")),
        // OpenMoji's lines are 2 of 72 wide.
        words(programs.sketchfind().args(["serve", "--line-width", "7", "--gallery"]).arg(shown(&gallery))),
    ));
    Ok(())
}

/// Trains unless a run of this key is done; one of this key that was interrupted is resumed.
fn train(programs: &Programs, data: &Path, demo: &Path, key: &str) -> Result<()> {
    let (run, begun, done) = (demo.join("run"), demo.join("train.begun"), demo.join("train.done"));
    let holds_key = |path: &Path| fs::read_to_string(path).is_ok_and(|found| found == key);
    if holds_key(&done) && run.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(demo)?;
    if !holds_key(&begun) && run.exists() {
        fs::remove_dir_all(&run).with_context(|| format!("cannot remove '{}'", run.display()))?;
    }
    fs::write(&begun, key)?;
    let started = Instant::now();
    let mut fit = programs.trainer();
    fit.arg("fit").arg("--data").arg(data).args(["--config", CONFIG, "--resume", "--out"]).arg(&run);
    checkout::run(&mut fit)?;
    fs::write(demo.join("train.secs"), format!("{:.1}\n", started.elapsed().as_secs_f64()))?;
    Ok(fs::write(&done, key)?)
}

/// Makes a folder unless it was made with this key. The program that makes it writes it whole or not at all.
fn once(folder: &Path, key: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder.with_extension("key");
    if folder.is_dir() && fs::read_to_string(&stamp).is_ok_and(|found| found == key) {
        return Ok(());
    }
    make()?;
    Ok(fs::write(&stamp, key)?)
}

/// The programs that were built, and their fingerprints: another build makes everything anew.
struct Programs {
    folder: PathBuf,
    trainer_sha256: String,
    sketchfind_sha256: String,
}

impl Programs {
    fn new() -> Result<Programs> {
        let folder = checkout::target("release");
        Ok(Programs {
            trainer_sha256: checkout::sha256_of_file(&folder.join("sketchfind-train"))?,
            sketchfind_sha256: checkout::sha256_of_file(&folder.join("sketchfind"))?,
            folder,
        })
    }

    fn trainer(&self) -> Command {
        checkout::command(self.folder.join("sketchfind-train"))
    }

    fn sketchfind(&self) -> Command {
        checkout::command(self.folder.join("sketchfind"))
    }
}

fn first_test_sketch(data: &Path) -> Result<PathBuf> {
    let manifest = data.join("manifest.csv");
    let mut reader = csv::Reader::from_path(&manifest)?;
    for row in reader.records() {
        let row = row?;
        if row.get(1) == Some("sketch") && row.get(3) == Some("test") {
            return Ok(data.join(row.get(4).unwrap_or_default()));
        }
    }
    anyhow::bail!("'{}' has no sketch for testing", manifest.display())
}

/// A path as one types it in the checkout.
fn shown(path: &Path) -> PathBuf {
    path.strip_prefix(checkout::root()).unwrap_or(path).to_owned()
}

fn words(command: &Command) -> String {
    let program = shown(Path::new(command.get_program()));
    let mut words = vec![program.display().to_string()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
