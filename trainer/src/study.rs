//! Studies: methods x seeds x data sets, each run trained, evaluated on the test split and kept, so that a study that
//! was interrupted goes on where it stopped. Results are one row a run and one row a method.
//!
//! The test split plays no part in training: a run is scored at its last epoch, and at the epoch that was best on
//! held-out training photos. Settings belong to held-out photos too; what a study shows of the test split is for
//! reporting.
//!
//! ```text
//! OUT/runs.csv                              one row a run and checkpoint
//! OUT/summary.csv                           one row a method, data set and checkpoint, with the paired test against
//!                                           the first method; and of several data sets together, which is named 'all'
//! OUT/runs/<data set>/<method>/seed-<n>/    the run, and its reports test-last/, test-best/, test-initial/
//! OUT/neighbourhood/                        distances between training photos, shared by the runs
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::{atomic, fingerprint};
use sketchfind_eval::accuracy::accuracy_at;
use sketchfind_eval::report::{Provenance, QUERIES, Report};
use sketchfind_eval::seeds::{
    SeedComparison, SeedPair, compare_over_sets, compare_seeds, interval_over_sets, summarise_seeds,
};
use sketchfind_eval::{Bootstrap, QueryResult, rank_queries};

use crate::checkpoint::{self, Position, Which};
use crate::config::Config;
use crate::data;
use crate::device::TrainingDevice;
use crate::fit::{Event, FitOptions, Outcome, fit, network_at};
use crate::metrics::{EPOCHS, EpochRow};
use crate::network::TorchNetwork;
use crate::picture::Picture;
use crate::run::{self, Run};
use crate::source::ImageSource;
use crate::validation::embed;
use crate::{Error, Result};

/// One row a run and checkpoint.
pub const RUNS: &str = "runs.csv";
/// One row a method, data set and checkpoint.
pub const SUMMARY: &str = "summary.csv";
/// The version of both files' columns.
pub const SCHEMA: u32 = 1;

const TOOL: &str = concat!("sketchfind-train ", env!("CARGO_PKG_VERSION"));

/// A study, as it stands in a file. Paths are relative to that file's folder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// The seeds; each method is trained with each on each data set that has none of its own.
    pub seeds: Vec<u64>,
    /// The data sets.
    pub dataset: Vec<StudyDataset>,
    /// The methods. The others are compared to the first.
    pub method: Vec<StudyMethod>,
    /// Resamples of intervals and tests.
    pub samples: usize,
    /// The share of intervals that should cover the true value, such as 0.95.
    pub confidence: f64,
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    origin: PathBuf,
}

/// A data set of a study.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyDataset {
    /// Its name in results: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Its folder or manifest.
    pub data: PathBuf,
    /// Photos without sketches to train on besides: a folder.
    pub photos: Option<PathBuf>,
    /// The data set, earlier in the study, whose runs are evaluated on this one's test split; nothing is trained then. So
    /// a retriever is measured on products that it never saw.
    pub runs_of: Option<String>,
    /// The split that is evaluated; `train` with `runs_of` only, where it was not trained on: so settings are chosen.
    pub split: Option<Split>,
    /// The configuration that its runs begin with; with `runs_of` that of the other data set.
    pub config: PathBuf,
    /// Its own seeds, in the place of the study's: fewer where runs take long.
    pub seeds: Option<Vec<u64>>,
    /// What differs from that configuration, as its tables and keys.
    #[serde(default)]
    pub set: toml::Table,
}

/// A method of a study.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyMethod {
    /// Its name in results: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// What differs from the data set's configuration, as its tables and keys.
    #[serde(default)]
    pub set: toml::Table,
}

impl Study {
    /// Reads and checks a study and every configuration that it leads to.
    ///
    /// # Errors
    /// [`Error::Config`] with what is wrong; [`Error::Core`] where a file cannot be read.
    pub fn load(path: &Path) -> Result<Study> {
        let text = std::fs::read_to_string(path).map_err(sketchfind_core::Error::io("read", path))?;
        let refuse = |reason: String| Error::Config { path: path.to_owned(), reason };
        let mut study: Study = toml::from_str(&text).map_err(|e| refuse(e.to_string().trim().to_owned()))?;
        study.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        study.origin = path.to_owned();
        study.check().map_err(refuse)?;
        study.bootstrap().check()?;
        for dataset in &study.dataset {
            for method in &study.method {
                for &seed in study.seeds_of(dataset) {
                    study.config(dataset, method, seed)?;
                }
            }
        }
        Ok(study)
    }

    fn seeds_of<'a>(&'a self, dataset: &'a StudyDataset) -> &'a [u64] {
        dataset.seeds.as_ref().unwrap_or(&self.seeds)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let is_plain = |name: &str| {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
        };
        let mut lists = vec![
            ("dataset", self.dataset.iter().map(|d| d.name.clone()).collect::<Vec<_>>()),
            ("method", self.method.iter().map(|m| m.name.clone()).collect()),
        ];
        if let Some(dataset) = self.dataset.iter().find(|set| set.split.is_some() && set.runs_of.is_none()) {
            return Err(format!("dataset '{}' has a split, which goes with runs_of only", dataset.name));
        }
        for (place, dataset) in self.dataset.iter().enumerate() {
            let Some(other) = &dataset.runs_of else { continue };
            let earlier = self.dataset[..place].iter().find(|earlier| earlier.name == *other);
            let is_trained = earlier.is_some_and(|earlier| earlier.runs_of.is_none());
            if !is_trained || !dataset.set.is_empty() || dataset.photos.is_some() {
                return Err(format!(
                    "dataset '{}' has runs_of = '{other}', which takes the name of an earlier data set with runs of its \
                     own, and neither 'set' nor 'photos'",
                    dataset.name
                ));
            }
            if earlier.is_some_and(|earlier| earlier.data == dataset.data) {
                return Err(format!(
                    "dataset '{}' is the one that the runs of '{other}' are trained on",
                    dataset.name
                ));
            }
            if earlier.is_some_and(|earlier| self.seeds_of(earlier) != self.seeds_of(dataset)) {
                return Err(format!("dataset '{}' has other seeds than '{other}'", dataset.name));
            }
        }
        let of_sets = self.dataset.iter().filter_map(|dataset| dataset.seeds.as_ref());
        for seeds in of_sets.chain([&self.seeds]) {
            lists.push(("seeds", seeds.iter().map(u64::to_string).collect()));
        }
        for (what, names) in lists {
            if names.is_empty() {
                return Err(format!("{what} is empty, expected at least one"));
            }
            if what == "dataset" && names.iter().any(|name| name == ALL) {
                return Err(format!(
                    "dataset '{ALL}', which is the name of all of them together in {SUMMARY}"
                ));
            }
            if let Some(name) = names.iter().find(|name| !is_plain(name)) {
                return Err(format!("{what} '{name}', expected lower-case letters, digits, '-', '_', '.'"));
            }
            let mut sorted = names.clone();
            sorted.sort();
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("{what} '{}' stands there twice", pair[0]));
            }
        }
        Ok(())
    }

    fn dataset_called(&self, name: &str) -> Option<&StudyDataset> {
        self.dataset.iter().find(|dataset| dataset.name == name)
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap { samples: self.samples, seed: 1, confidence: self.confidence }
    }

    /// The configuration of one run.
    ///
    /// # Errors
    /// As [`Config::load`], naming the study, the data set and the method.
    pub fn config(&self, dataset: &StudyDataset, method: &StudyMethod, seed: u64) -> Result<Config> {
        let base = self.folder.join(&dataset.config);
        let origin = PathBuf::from(format!(
            "{}, data set '{}', method '{}'",
            self.origin.display(),
            dataset.name,
            method.name
        ));
        let refuse = |reason: String| Error::Config { path: origin.clone(), reason };
        let text = std::fs::read_to_string(&base).map_err(sketchfind_core::Error::io("read", &base))?;
        let mut table: toml::Table =
            toml::from_str(&text).map_err(|e| refuse(format!("'{}': {e}", base.display())))?;
        for set in [&dataset.set, &method.set] {
            if set.contains_key("seed") {
                return Err(refuse("set.seed: the seeds of a study are its 'seeds'".into()));
            }
        }
        merge(&mut table, &dataset.set);
        merge(&mut table, &method.set);
        let seed = i64::try_from(seed).map_err(|e| refuse(format!("seed {seed}: {e}")))?;
        table.insert("seed".into(), toml::Value::Integer(seed));
        Config::parse_in(&table.to_string(), &origin, base.parent().unwrap_or(Path::new("")))
    }
}

/// Puts the entries of `changes` into `table`: a table's into the table of the same name. A table that names another
/// `kind` takes the place of the old one whole, whose other keys belong to the old kind.
fn merge(table: &mut toml::Table, changes: &toml::Table) {
    for (key, change) in changes {
        match (table.get_mut(key), change) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => {
                let is_other_kind = new.get("kind").is_some_and(|kind| old.get("kind") != Some(kind));
                if is_other_kind {
                    *old = new.clone();
                } else {
                    merge(old, new);
                }
            }
            _ => {
                table.insert(key.clone(), change.clone());
            }
        }
    }
}

/// What to run.
#[derive(Debug)]
pub struct StudyOptions<'a> {
    /// The checked study.
    pub study: &'a Study,
    /// Its folder, new, empty, or of the same study.
    pub out: &'a Path,
    /// The device.
    pub device: TrainingDevice,
    /// Set from elsewhere to stop after the step in progress, with a checkpoint.
    pub interrupted: &'a AtomicBool,
}

/// What a study tells while it goes on.
#[derive(Debug)]
pub enum StudyEvent<'a> {
    /// A run begins or goes on.
    Run {
        /// Its number, from 1.
        number: usize,
        /// All runs.
        n_runs: usize,
        /// Its data set.
        dataset: &'a str,
        /// Its method.
        method: &'a str,
        /// Its seed.
        seed: u64,
    },
    /// Something in that run.
    Fit(Event),
    /// A run was evaluated.
    Row(&'a RunRow),
}

/// How a study ended.
#[derive(Clone, Debug, PartialEq)]
pub enum StudyOutcome {
    /// All runs are done.
    Finished(Vec<SummaryRow>),
    /// It was interrupted; the same command goes on.
    Interrupted,
}

/// A row of `runs.csv`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// The version of the columns.
    pub schema: u32,
    /// The data set.
    pub dataset: String,
    /// The method.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// `initial`, `last` or `best` (on held-out training photos).
    pub checkpoint: String,
    /// Epochs that were done.
    pub epochs: u64,
    /// acc@1 on the test split, in `[0, 1]`.
    pub acc1: f64,
    /// The ends of its interval over queries.
    pub acc1_low: f64,
    /// See `acc1_low`.
    pub acc1_high: f64,
    /// acc@5 on the test split.
    pub acc5: f64,
    /// acc@10 on the test split.
    pub acc10: f64,
    /// Mean reciprocal rank on the test split.
    pub mrr: f64,
    /// Test sketches.
    pub n_queries: usize,
    /// Test photos.
    pub n_gallery: usize,
    /// acc@1 on the held-out training photos after as many epochs, if it was measured.
    pub held_out_acc1: Option<f64>,
    /// Seconds of training steps.
    pub train_secs: f64,
    /// The checkpoint's weights.
    pub weights_sha256: String,
    /// The data set.
    pub dataset_sha256: String,
    /// The run's configuration.
    pub config_sha256: String,
    /// The program and its version.
    pub tool: String,
}

/// A row of `summary.csv`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryRow {
    /// The version of the columns.
    pub schema: u32,
    /// The data set, or `all`: the mean over data sets, of which each counts the same.
    pub dataset: String,
    /// The method.
    pub method: String,
    /// `last` or `best` (on held-out training photos).
    pub checkpoint: String,
    /// Runs that are done; of several data sets the fewest.
    pub n_seeds: usize,
    /// Test sketches of each; of all data sets together.
    pub n_queries: usize,
    /// Test photos; of all data sets together.
    pub n_gallery: usize,
    /// Mean acc@1 over seeds, in `[0, 1]`.
    pub acc1: f64,
    /// Its sample standard deviation over seeds.
    pub acc1_deviation: Option<f64>,
    /// Student's interval of the mean over seeds.
    pub acc1_low_seeds: Option<f64>,
    /// See `acc1_low_seeds`.
    pub acc1_high_seeds: Option<f64>,
    /// The bootstrap interval over seeds and queries.
    pub acc1_low: f64,
    /// See `acc1_low`.
    pub acc1_high: f64,
    /// Mean acc@5.
    pub acc5: f64,
    /// Mean acc@10.
    pub acc10: f64,
    /// Mean acc@1 on held-out training photos.
    pub held_out_acc1: Option<f64>,
    /// The method that it is compared to, if it is another and has the same seeds.
    pub reference: Option<String>,
    /// acc@1 less the reference's.
    pub difference: Option<f64>,
    /// Its paired bootstrap interval over seeds and queries.
    pub difference_low: Option<f64>,
    /// See `difference_low`.
    pub difference_high: Option<f64>,
    /// The two-sided p-value of the paired permutation test over photos.
    pub p_value: Option<f64>,
    /// The intervals' confidence.
    pub confidence: f64,
    /// Resamples.
    pub samples: usize,
    /// The program and its version.
    pub tool: String,
}

/// A run's results on the test split at one checkpoint.
struct Done {
    row: RunRow,
    results: Vec<QueryResult>,
}

/// Runs a study, or what is left of it.
///
/// # Errors
/// Those of [`fit`]; [`Error::Run`] where `out` holds something else or runs of other settings.
pub fn study(options: &StudyOptions<'_>, observer: &(dyn Fn(StudyEvent<'_>) + Sync)) -> Result<StudyOutcome> {
    let (study, out) = (options.study, options.out);
    if !atomic::is_free_for(out, RUNS)? && !out.join("runs").is_dir() {
        return Err(Error::run(out, "the folder is not empty and holds no study"));
    }
    let n_runs = study.dataset.iter().map(|set| study.seeds_of(set).len() * study.method.len()).sum();
    let mut all: Vec<Done> = Vec::new();
    let mut number = 0;
    for dataset in &study.dataset {
        let mut source = TestSource::new(study, dataset)?;
        // Seeds outside of methods: what is done at any time can be compared.
        let seeds = study.seeds_of(dataset);
        for &seed in seeds {
            for method in &study.method {
                number += 1;
                let (dataset, method_name) = (&dataset.name, &method.name);
                observer(StudyEvent::Run { number, n_runs, dataset, method: method_name, seed });
                let is_first = method == &study.method[0] && seed == seeds[0];
                let done = match source.run(options, method, seed, is_first, observer) {
                    Ok(Some(done)) => done,
                    Ok(None) | Err(Error::Interrupted) => return Ok(StudyOutcome::Interrupted),
                    Err(error) => return Err(error),
                };
                for done in &done {
                    observer(StudyEvent::Row(&done.row));
                }
                all.extend(done);
                write_rows(&out.join(RUNS), all.iter().map(|done| &done.row))?;
                write_rows(&out.join(SUMMARY), summarise(study, &all)?.iter())?;
            }
        }
    }
    Ok(StudyOutcome::Finished(summarise(study, &all)?))
}

/// A data set's test split, decoded when it is first needed.
struct TestSource<'a> {
    study: &'a Study,
    settings: &'a StudyDataset,
    /// The data set whose runs these are: the same, or another's.
    trained: &'a StudyDataset,
    /// What they are trained on.
    source: ImageSource,
    split: Split,
    dataset: Dataset,
    sha256: String,
    trained_sha256: String,
}

impl<'a> TestSource<'a> {
    fn new(study: &'a Study, settings: &'a StudyDataset) -> Result<TestSource<'a>> {
        let dataset = Dataset::load(&study.folder.join(&settings.data))?;
        // Known before hours of training, not after them.
        let split = settings.split.unwrap_or(Split::Test);
        if dataset.sketches_in(split).next().is_none() {
            let reason = format!("it has no {split} sketches, which a study reports on");
            return Err(Error::Data { path: dataset.manifest().to_owned(), reason });
        }
        let trained = match settings.runs_of.as_ref().and_then(|name| study.dataset_called(name)) {
            Some(trained) => trained,
            None => settings,
        };
        let source = ImageSource {
            data: Some(study.folder.join(&trained.data)),
            photos: trained.photos.as_ref().map(|photos| study.folder.join(photos)),
        };
        let sha256 = dataset.fingerprint()?;
        let trained_sha256 = source.load()?.fingerprint()?;
        Ok(TestSource { study, settings, trained, source, split, dataset, sha256, trained_sha256 })
    }

    /// Trains, if it is not done, evaluates, if that is not done, and returns the results; nothing where it was
    /// interrupted.
    fn run(
        &mut self,
        options: &StudyOptions<'_>,
        method: &StudyMethod,
        seed: u64,
        with_initial: bool,
        observer: &(dyn Fn(StudyEvent<'_>) + Sync),
    ) -> Result<Option<Vec<Done>>> {
        let config = self.study.config(self.trained, method, seed)?;
        let name = format!("runs/{}/{}/seed-{seed}", self.trained.name, method.name);
        let folder = options.out.join(name);
        let report = |checkpoint: &str| match &self.settings.runs_of {
            None => folder.join(format!("test-{checkpoint}")),
            Some(_) => folder.join(format!("test-{checkpoint}-{}", self.settings.name)),
        };
        let is_there = |checkpoint: &str| report(checkpoint).join(QUERIES).is_file();
        let is_done = is_there("last")
            && (!with_initial || is_there("initial"))
            && (checkpoint::position(&folder, Which::Best)?.is_none() || is_there("best"))
            && self.is_same_run(&folder, &config)?;
        // Runs of another data set were trained or taken up earlier in this study.
        if !is_done && self.settings.runs_of.is_none() {
            std::fs::create_dir_all(&folder)
                .map_err(sketchfind_core::Error::io("make the folder", &folder))?;
            let fit_options = FitOptions {
                source: &self.source,
                config: config.clone(),
                out: &folder,
                device: options.device,
                resume: true,
                cache: Some(&options.out.join("neighbourhood")),
                interrupted: options.interrupted,
            };
            match fit(&fit_options, &|event| observer(StudyEvent::Fit(event)))? {
                Outcome::Finished(_) => {}
                Outcome::Interrupted(_) => return Ok(None),
            }
        }
        let mut checkpoints: Vec<(&str, Option<Which>)> = vec![("last", Some(Which::Last))];
        // There is one where photos with sketches were held out, which a small share of few photos need not give.
        if checkpoint::position(&folder, Which::Best)?.is_some() {
            checkpoints.push(("best", Some(Which::Best)));
        }
        if with_initial {
            checkpoints.insert(0, ("initial", None));
        }
        let mut done = Vec::new();
        for (checkpoint, which) in checkpoints {
            let (position, weights_sha256) = state_of(&folder, which)?;
            let report = report(checkpoint);
            // An earlier report may be of another split, of changed images, or of weights that are gone.
            let is_current = report.join(QUERIES).is_file() && {
                let found = Report::read(&report, &self.study.bootstrap())?;
                let of = found.provenance();
                (of.model_sha256 == weights_sha256)
                    && of.dataset_sha256 == self.sha256
                    && of.split == self.split.to_string()
            };
            if !is_current {
                let model = format!("{}, {}, seed {seed}, {checkpoint}", config.network, method.name);
                self.evaluate(&folder, &config, which, options, (model, &weights_sha256))?.write(&report)?;
            }
            let report = Report::read(&report, &self.study.bootstrap())?;
            let row = RunRow {
                schema: SCHEMA,
                dataset: self.settings.name.clone(),
                method: method.name.clone(),
                seed,
                checkpoint: checkpoint.into(),
                ..self.row_of(&folder, &position, weights_sha256, &report)?
            };
            done.push(Done { row, results: report.results().to_vec() });
        }
        Ok(Some(done))
    }

    /// Whether the run in `folder` is of `config` and this data set.
    fn is_same_run(&self, folder: &Path, config: &Config) -> Result<bool> {
        if !folder.join(run::RUN).is_file() {
            return Ok(false);
        }
        let run = Run::load(folder)?;
        if run.config != run::portable(config)? || run.dataset_sha256 != self.trained_sha256 {
            return Ok(false);
        }
        // A configuration names weights by their file, whose content may have changed since.
        let initial = crate::initial::initial_weights(config, &run::network_of(config)?)?;
        Ok(run.weights_sha256 == initial.sha256
            && run.topology_weights_sha256 == crate::initial::topology_sha256(config)?
            && run.teacher_weights_sha256 == crate::teacher::Teacher::sha256(config)?)
    }

    /// Ranks the test photos for every test sketch, as [`crate::validation`] does with held-out ones.
    fn evaluate(
        &self,
        folder: &Path,
        config: &Config,
        which: Option<Which>,
        options: &StudyOptions<'_>,
        (model, model_sha256): (String, &str),
    ) -> Result<Report> {
        let (network, weights, _) = network_at(folder, config, &Run::load(folder)?, which)?;
        let torch = TorchNetwork::new(&network, &weights, options.device.open()?)?;
        let preprocess = config.preprocess()?;
        let decode = |files: Vec<(&String, &PathBuf)>| {
            data::decode(self.dataset.manifest(), &files, &preprocess, &|_, _| {}, options.interrupted)
        };
        let photos =
            decode(self.dataset.photos_in(self.split).map(|photo| (&photo.id, &photo.path)).collect())?;
        let sketches =
            decode(self.dataset.sketches_in(self.split).map(|sketch| (&sketch.id, &sketch.path)).collect())?;
        let truth: BTreeMap<String, String> = self
            .dataset
            .sketches_in(self.split)
            .map(|sketch| (sketch.id.clone(), self.dataset.photo_of(sketch).id.clone()))
            .collect();
        let all = |pictures: &[Picture]| embed(&torch, &pictures.iter().collect::<Vec<_>>(), &preprocess);
        let results = rank_queries(&all(&sketches)?, &all(&photos)?, &truth, network.distance())?;
        let provenance = Provenance {
            tool: TOOL.into(),
            model,
            model_sha256: model_sha256.into(),
            dataset_sha256: self.sha256.clone(),
            split: self.split.to_string(),
            distance: network.distance().to_string(),
        };
        Ok(Report::new(provenance, results, &self.study.bootstrap())?)
    }

    /// What the files of a run say; which run it is stays empty.
    fn row_of(
        &self,
        folder: &Path,
        position: &Position,
        weights_sha256: String,
        report: &Report,
    ) -> Result<RunRow> {
        let epochs = read_epochs(&folder.join(EPOCHS))?;
        let done = epochs.iter().filter(|row| row.epoch <= position.epochs_done);
        let (results, summary) = (report.results(), report.summary());
        let acc1 = summary.get("acc@1");
        Ok(RunRow {
            schema: SCHEMA,
            dataset: String::new(),
            method: String::new(),
            seed: 0,
            checkpoint: String::new(),
            epochs: position.epochs_done,
            acc1: accuracy_at(results, 1),
            acc1_low: acc1.map_or(f64::NAN, |estimate| estimate.low),
            acc1_high: acc1.map_or(f64::NAN, |estimate| estimate.high),
            acc5: accuracy_at(results, 5),
            acc10: accuracy_at(results, 10),
            mrr: summary.get("mrr").map_or(f64::NAN, |estimate| estimate.value),
            n_queries: results.len(),
            n_gallery: summary.n_gallery,
            held_out_acc1: done.clone().next_back().and_then(|row| row.held_out_acc1),
            train_secs: done.fold(0.0, |sum, row| sum + row.train_secs),
            weights_sha256,
            dataset_sha256: self.sha256.clone(),
            config_sha256: fingerprint::of_bytes(Run::load(folder)?.config.as_bytes()),
            tool: TOOL.into(),
        })
    }
}

/// Where a checkpoint stands and the fingerprint of its weights.
fn state_of(folder: &Path, which: Option<Which>) -> Result<(Position, String)> {
    match which {
        None => Ok((Position::START, Run::load(folder)?.weights_sha256)),
        Some(which) => checkpoint::position(folder, which)?
            .ok_or_else(|| Error::run(folder, "it has no such checkpoint: no photos were held out")),
    }
}

fn read_epochs(path: &Path) -> Result<Vec<EpochRow>> {
    let mut reader = csv::Reader::from_path(path).map_err(|e| Error::run(path, e))?;
    reader.deserialize().collect::<std::result::Result<_, _>>().map_err(|e| Error::run(path, e))
}

fn write_rows<'r, R: Serialize + 'r>(path: &Path, rows: impl Iterator<Item = &'r R>) -> Result<()> {
    atomic::write_file(path, |out| {
        let mut writer = csv::Writer::from_writer(out);
        for row in rows {
            writer.serialize(row).map_err(|e| Error::run(path, e))?;
        }
        writer.flush().map_err(|e| Error::run(path, e))
    })
}

/// The name of all data sets together.
const ALL: &str = "all";

/// What is done of one method on one data set.
struct Cell<'a> {
    runs: Vec<&'a Done>,
    results: Vec<Vec<QueryResult>>,
    /// The results of the first method and of this one, of the seeds that both have.
    pairs: (Vec<Vec<QueryResult>>, Vec<Vec<QueryResult>>),
}

impl<'a> Cell<'a> {
    fn new(all: &'a [Done], dataset: &str, checkpoint: &str, method: &str, reference: &str) -> Cell<'a> {
        let of = |method: &str| -> Vec<&'a Done> {
            let is_of =
                |row: &RunRow| (row.dataset.as_str(), row.checkpoint.as_str()) == (dataset, checkpoint);
            all.iter().filter(|Done { row, .. }| is_of(row) && row.method == method).collect()
        };
        let (runs, others) = (of(method), of(reference));
        let pair = |run: &&Done| {
            let other = others.iter().find(|other| other.row.seed == run.row.seed)?;
            Some((other.results.clone(), run.results.clone()))
        };
        let pairs = runs.iter().filter_map(pair).unzip();
        Cell { results: runs.iter().map(|done| done.results.clone()).collect(), runs, pairs }
    }

    fn mean(&self, value: impl Fn(&RunRow) -> f64) -> f64 {
        self.runs.iter().map(|done| value(&done.row)).sum::<f64>() / self.runs.len() as f64
    }

    fn held_out_acc1(&self) -> Option<f64> {
        mean_of_all(self.runs.iter().map(|done| done.row.held_out_acc1))
    }
}

/// The mean, where every value is there.
fn mean_of_all(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values = values.collect::<Option<Vec<f64>>>()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

/// Summarises what is done, each data set by itself and then, where each has runs, all of them together. A method is
/// compared to the first one over the seeds that both have.
fn summarise(study: &Study, all: &[Done]) -> Result<Vec<SummaryRow>> {
    let bootstrap = study.bootstrap();
    let reference = &study.method[0].name;
    let mut rows = Vec::new();
    let mut together = Vec::new();
    for checkpoint in ["last", "best"] {
        for method in &study.method {
            let cell =
                |dataset: &StudyDataset| Cell::new(all, &dataset.name, checkpoint, &method.name, reference);
            let cells: Vec<Cell<'_>> = study.dataset.iter().map(cell).collect();
            let is_other = &method.name != reference;
            // What does not depend on the data set, and the comparison.
            let blank = |comparison: Option<SeedComparison>| SummaryRow {
                schema: SCHEMA,
                dataset: String::new(),
                method: method.name.clone(),
                checkpoint: checkpoint.into(),
                n_seeds: 0,
                n_queries: 0,
                n_gallery: 0,
                acc1: f64::NAN,
                acc1_deviation: None,
                acc1_low_seeds: None,
                acc1_high_seeds: None,
                acc1_low: f64::NAN,
                acc1_high: f64::NAN,
                acc5: f64::NAN,
                acc10: f64::NAN,
                held_out_acc1: None,
                reference: comparison.map(|_| reference.clone()),
                difference: comparison.map(|c| c.difference),
                difference_low: comparison.map(|c| c.over_seeds_and_queries.0),
                difference_high: comparison.map(|c| c.over_seeds_and_queries.1),
                p_value: comparison.map(|c| c.p_value),
                confidence: bootstrap.confidence,
                samples: bootstrap.samples,
                tool: TOOL.into(),
            };
            for (dataset, cell) in study.dataset.iter().zip(&cells) {
                let Some(first) = cell.runs.first() else {
                    continue;
                };
                let summary = summarise_seeds(&cell.results, &bootstrap)?;
                let (a, b) = &cell.pairs;
                let comparison = match is_other && !a.is_empty() {
                    true => Some(compare_seeds(a, b, &bootstrap)?),
                    false => None,
                };
                rows.push(SummaryRow {
                    dataset: dataset.name.clone(),
                    n_seeds: summary.n_seeds,
                    n_queries: summary.n_queries,
                    n_gallery: first.row.n_gallery,
                    acc1: summary.mean,
                    acc1_deviation: summary.deviation,
                    acc1_low_seeds: summary.over_seeds.map(|(low, _)| low),
                    acc1_high_seeds: summary.over_seeds.map(|(_, high)| high),
                    acc1_low: summary.over_seeds_and_queries.0,
                    acc1_high: summary.over_seeds_and_queries.1,
                    acc5: cell.mean(|row| row.acc5),
                    acc10: cell.mean(|row| row.acc10),
                    held_out_acc1: cell.held_out_acc1(),
                    ..blank(comparison)
                });
            }
            if cells.len() < 2 || cells.iter().any(|cell| cell.runs.is_empty()) {
                continue;
            }
            let mean = |value: fn(&RunRow) -> f64| {
                cells.iter().map(|cell| cell.mean(value)).sum::<f64>() / cells.len() as f64
            };
            let sets: Vec<&[Vec<QueryResult>]> = cells.iter().map(|cell| cell.results.as_slice()).collect();
            let (acc1_low, acc1_high) = interval_over_sets(&sets, &bootstrap)?;
            let pairs: Vec<SeedPair<'_>> =
                cells.iter().map(|Cell { pairs: (a, b), .. }| SeedPair { a, b }).collect();
            let comparison = match is_other && pairs.iter().all(|pair| !pair.a.is_empty()) {
                true => Some(compare_over_sets(&pairs, &bootstrap)?),
                false => None,
            };
            together.push(SummaryRow {
                dataset: ALL.into(),
                n_seeds: cells.iter().map(|cell| cell.runs.len()).min().unwrap_or(0),
                n_queries: cells.iter().map(|cell| cell.runs[0].row.n_queries).sum(),
                n_gallery: cells.iter().map(|cell| cell.runs[0].row.n_gallery).sum(),
                acc1: mean(|row| row.acc1),
                acc1_low,
                acc1_high,
                acc5: mean(|row| row.acc5),
                acc10: mean(|row| row.acc10),
                held_out_acc1: mean_of_all(cells.iter().map(Cell::held_out_acc1)),
                ..blank(comparison)
            });
        }
    }
    // As they stand in the study, and all together at the end.
    rows.sort_by_key(|row| study.dataset.iter().position(|dataset| dataset.name == row.dataset));
    rows.extend(together);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_go_into_tables_and_another_kind_takes_a_tables_place() {
        let mut table: toml::Table = toml::from_str(
            "seed = 1\n[train]\nbatch = 16\nmethod = 'baseline'\n[optimiser]\nkind = 'sgd'\nmomentum = 0.9\n",
        )
        .unwrap();
        let changes: toml::Table =
            toml::from_str("train.method = 'meta'\noptimiser = { kind = 'adam', eps = 1e-8 }\n").unwrap();
        merge(&mut table, &changes);
        let expected: toml::Table = toml::from_str(
            "seed = 1\n[train]\nbatch = 16\nmethod = 'meta'\n[optimiser]\nkind = 'adam'\neps = 1e-8\n",
        )
        .unwrap();
        assert_eq!(table, expected);
    }

    #[test]
    fn a_study_is_refused_by_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study.toml");
        let config = include_str!("../configs/chair-v1-mobilenet.toml")
            .replace("../../.provision/weights/mobilenet_v2.safetensors", "random");
        std::fs::write(folder.path().join("base.toml"), config).unwrap();
        let good = "seeds = [1, 2]\nsamples = 100\nconfidence = 0.95\n\
                    [[dataset]]\nname = 'a'\ndata = 'a'\nconfig = 'base.toml'\n\
                    [[method]]\nname = 'baseline'\n\
                    [[method]]\nname = 'slow'\nset = { train = { learning_rate = 0.0001 } }\n";
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Study::load(&path).map_err(|e| e.to_string())
        };
        let study = load(good).unwrap();
        let config = study.config(&study.dataset[0], &study.method[1], 2).unwrap();
        assert_eq!((config.seed, config.train.learning_rate, config.train.batch), (2, 0.0001, 16));
        for (from, to, part) in [
            ("seeds = [1, 2]", "seeds = []", "seeds is empty"),
            ("seeds = [1, 2]", "seeds = [1, 1]", "'1' stands there twice"),
            ("data = 'a'", "data = 'a'\nseeds = [3, 3]", "'3' stands there twice"),
            ("data = 'a'", "data = 'a'\nseeds = []", "seeds is empty"),
            ("'slow'", "'baseline'", "'baseline' stands there twice"),
            ("name = 'a'", "name = 'all'", "dataset 'all'"),
            ("'slow'", "'../slow'", "'../slow', expected"),
            ("learning_rate = 0.0001", "rate = 0.0001", "rate"),
            ("learning_rate = 0.0001", "method = 'meta'", "method 'slow'': train.method is 'meta'"),
            ("0.95", "1.5", "confidence"),
            ("'base.toml'", "'other.toml'", "other.toml"),
            ("data = 'a'", "data = 'a'\nsplit = 'train'", "which goes with runs_of only"),
            ("data = 'a'", "data = 'a'\nruns_of = 'b'", "an earlier data set"),
            (
                "[[method]]",
                "[[dataset]]\nname = 'b'\ndata = 'a'\nconfig = 'base.toml'\nruns_of = 'a'\n[[method]]",
                "is the one that the runs of 'a' are trained on",
            ),
            (
                "[[method]]",
                "[[dataset]]\nname = 'b'\ndata = 'b'\nconfig = 'base.toml'\nruns_of = 'a'\nseeds = [7]\n[[method]]",
                "other seeds than 'a'",
            ),
            (
                "[[method]]",
                "[[dataset]]\nname = 'b'\ndata = 'b'\nconfig = 'base.toml'\nruns_of = 'a'\nphotos = 'c'\n[[method]]",
                "neither 'set' nor 'photos'",
            ),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good);
            let message = load(&text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
