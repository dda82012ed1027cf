//! One run of a study after another: trained, evaluated on a test split, and kept.

use std::path::Path;

use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::fingerprint;
use sketchfind_eval::accuracy::accuracy_at;
use sketchfind_eval::report::{Provenance, QUERIES, Report};
use sketchfind_eval::{Questions, evaluate};

use super::options::{StudyEvent, StudyOptions};
use super::pictures::SplitPictures;
use super::plan::{Study, StudyDataset, StudyMethod};
use super::rows::{Done, RunRow, SCHEMA, TOOL};
use crate::checkpoint::{self, Position, Which};
use crate::config::Config;
use crate::embed::{TorchEmbedder, named};
use crate::fit::{FitOptions, Outcome, fit, network_at};
use crate::metrics::{EPOCHS, EpochRow};
use crate::network::TorchNetwork;
use crate::run::{self, Run};
use crate::source::ImageSource;
use crate::teacher::Teacher;
use crate::{Error, Result, initial};

/// The runs on one data set: trained where they are not, evaluated where they are not.
pub(super) struct Trials<'a> {
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
    /// The split's pictures, as the last evaluation had them.
    pictures: Option<SplitPictures>,
}

impl<'a> Trials<'a> {
    pub(super) fn new(study: &'a Study, settings: &'a StudyDataset) -> Result<Trials<'a>> {
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
        let pictures = None;
        Ok(Trials { study, settings, trained, source, split, dataset, sha256, trained_sha256, pictures })
    }

    /// Trains, if it is not done, evaluates, if that is not done, and returns the results; nothing where it was
    /// interrupted.
    pub(super) fn run(
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
            let report = match self.current(&report, &weights_sha256)? {
                Some(found) => found,
                None => {
                    let model = format!("{}, {}, seed {seed}, {checkpoint}", config.network, method.name);
                    let new = self.evaluate(&folder, &config, which, options, (model, &weights_sha256))?;
                    new.write(&report)?;
                    new
                }
            };
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

    /// The report in `folder`, if there is one of these weights and images: an earlier one may be of another split, of
    /// changed images, or of weights that are gone.
    fn current(&self, folder: &Path, weights_sha256: &str) -> Result<Option<Report>> {
        if !folder.join(QUERIES).is_file() {
            return Ok(None);
        }
        let found = Report::read(folder, &self.study.bootstrap())?;
        let of = found.provenance();
        let is_current = of.model_sha256 == weights_sha256
            && of.dataset_sha256 == self.sha256
            && of.split == self.split.to_string();
        Ok(is_current.then_some(found))
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
        Ok(run.weights_sha256 == initial::initial_sha256(config)?
            && run.topology_weights_sha256 == initial::topology_sha256(config)?
            && run.teacher_weights_sha256 == Teacher::sha256(config)?)
    }

    /// Ranks the test photos for every test sketch, as [`crate::validation`] does with held-out ones. Pictures are decoded
    /// once where they fit into the memory that the run may have for them, else again for each checkpoint.
    fn evaluate(
        &mut self,
        folder: &Path,
        config: &Config,
        which: Option<Which>,
        options: &StudyOptions<'_>,
        (model, model_sha256): (String, &str),
    ) -> Result<Report> {
        let (network, weights, _) = network_at(folder, config, &Run::load(folder)?, which)?;
        let torch = TorchNetwork::new(&network, &weights, options.device.open()?)?;
        let preprocess = config.preprocess()?;
        // What is of no use goes before others take its memory.
        let kept = self.pictures.take().filter(|kept| kept.preprocess == preprocess);
        let pictures = match kept {
            Some(kept) => kept,
            None => SplitPictures::decode(&self.dataset, self.split, &preprocess, options.interrupted)?,
        };
        let questions = Questions {
            photos: named(&pictures.photos),
            sketches: named(&pictures.sketches),
            truth: Questions::of_split(&self.dataset, self.split).truth,
        };
        let mut embedder = TorchEmbedder { network: &torch, preprocess: &preprocess };
        let results = evaluate(&questions, &mut embedder)?.results;
        self.pictures =
            (pictures.n_bytes() <= config.images.memory_mib.saturating_mul(1 << 20)).then_some(pictures);
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
