//! Training, from a data set and a configuration to a run's folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sketchfind_core::dataset::Dataset;
use sketchfind_models::network::{Head, Network};

use crate::average::Average;
use crate::batches::Sampler;
use crate::checkpoint::{self, Best, Position, Which};
use crate::config::{self, Config};
use crate::contact_sheet;
use crate::data::TrainingData;
use crate::device::TrainingDevice;
use crate::metrics::{EPOCHS, EpochRow, Log, STEPS, StepRow};
use crate::neighbourhood::{PhotoDistances, Source};
use crate::network::TorchNetwork;
use crate::optimiser::{Optimiser, norm};
use crate::run::{self, Run};
use crate::schedule;
use crate::source::ImageSource;
use crate::step::step;
use crate::teacher::Teacher;
use crate::tensorboard::EventLog;
use crate::validation::held_out_acc1;
use crate::{Error, Result, gradients, initial};

/// The folder in a run's folder that keeps the distances between its training photos.
const CACHE: &str = "neighbourhood";

/// What to train.
#[derive(Debug)]
pub struct FitOptions<'a> {
    /// Where images come from.
    pub source: &'a ImageSource,
    /// The checked configuration.
    pub config: Config,
    /// The run's folder.
    pub out: &'a Path,
    /// The device.
    pub device: TrainingDevice,
    /// Whether to go on where an interrupted run in `out` stopped. A run that is not there yet is begun.
    pub resume: bool,
    /// Where distances between training photos are kept; in the run's folder if not given. Runs may share it.
    pub cache: Option<&'a Path>,
    /// Set from elsewhere to stop after the step in progress, with a checkpoint.
    pub interrupted: &'a AtomicBool,
}

/// What training tells while it goes on.
#[derive(Clone, Debug)]
pub enum Event {
    /// Images are being decoded.
    Decoded {
        /// Images that are done.
        n_done: usize,
        /// All images.
        n_images: usize,
    },
    /// Photos that no lines can be drawn from, with the reason of each; no pseudo-sketch of them is trained on.
    WithoutLines(Vec<(String, String)>),
    /// A picture of what the network is taught.
    ContactSheet(PathBuf),
    /// Training photos are being embedded, for the distances between them.
    Neighbourhood {
        /// Photos that are done.
        n_done: usize,
        /// All photos.
        n_photos: usize,
    },
    /// The distances between training photos are known.
    Topology {
        /// The photos.
        n_photos: usize,
        /// See [`PhotoDistances::mean_distance`].
        mean_distance: f64,
    },
    /// Training begins or goes on.
    Started {
        /// Where it stands.
        position: Position,
        /// Photos and sketches that are trained on.
        n_photos: usize,
        /// See `n_photos`.
        n_sketches: usize,
        /// Photos without a sketch whose lines are trained on.
        n_photos_without_sketch: usize,
        /// Photos that are held out.
        n_held_out_photos: usize,
        /// Steps in all.
        n_steps: u64,
    },
    /// A step is done.
    Step {
        /// Its metrics.
        row: StepRow,
        /// Steps in all.
        n_steps: u64,
        /// Images that it passed through the network.
        n_images: usize,
    },
    /// An epoch is done.
    Epoch(EpochRow),
    /// A checkpoint was written.
    Checkpoint(PathBuf),
}

/// How training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished(Position),
    /// It was interrupted, and can be resumed.
    Interrupted(Position),
}

/// Trains.
///
/// # Errors
/// [`Error::Run`] where `out` holds another run or one that is not to be resumed; [`Error::Data`];
/// [`Error::NotFinite`]; [`Error::Device`]; errors of files.
pub fn fit(options: &FitOptions<'_>, observer: &(dyn Fn(Event) + Sync)) -> Result<Outcome> {
    match train(options, observer) {
        // Before the first step: what was there before is there still.
        Err(Error::Interrupted) => {
            let position = checkpoint::position(options.out, Which::Last)?;
            Ok(Outcome::Interrupted(position.map_or(Position::START, |(position, _)| position)))
        }
        other => other,
    }
}

fn train(options: &FitOptions<'_>, observer: &(dyn Fn(Event) + Sync)) -> Result<Outcome> {
    let (config, out) = (&options.config, options.out);
    if config.threads > 0 {
        tch::set_num_threads(i32::try_from(config.threads).unwrap_or(i32::MAX));
    }
    let device = options.device.open()?;
    refuse_to_overwrite(out, options.resume)?;

    let dataset = options.source.load()?;
    let network = run::network_of(config)?;
    let initial = initial::initial_weights(config, &network)?;
    let tell = |n_done, n_images| observer(Event::Decoded { n_done, n_images });
    let data = TrainingData::load(&dataset, config, &tell, options.interrupted)?;
    if !data.without_lines.is_empty() {
        observer(Event::WithoutLines(data.without_lines.clone()));
    }
    let topology = TopologySource::load(config)?;
    let of_teacher = match &config.teacher {
        Some(settings) => Some((settings, Teacher::weights(settings, config.seed)?)),
        None => None,
    };
    let teacher_sha256 = of_teacher.as_ref().map(|(_, (_, weights))| weights.sha256.clone());
    begin_or_check(options, &dataset, &data, &initial, topology.as_ref(), teacher_sha256)?;
    let neighbourhood = match &topology {
        Some(topology) => Some(topology.neighbourhood(options, &data, device, observer)?),
        None => None,
    };
    drop(topology);
    let teacher = match &of_teacher {
        Some((settings, weights)) => Some(Teacher::new(settings, weights, config, device)?),
        None => None,
    };
    drop(of_teacher);

    let checkpoint = if options.resume { checkpoint::load(out, Which::Last)? } else { None };
    let weights = checkpoint.as_ref().map_or(&initial.weights, |checkpoint| &checkpoint.weights);
    let mut position = checkpoint.as_ref().map_or(Position::START, |checkpoint| checkpoint.position);
    let train = &config.train;
    let mut torch = TorchNetwork::new(&network, weights, device)?
        .with_arithmetic(config.precision, config.channels_last)?;
    let mut factors = None;
    if let Some(rates) = &config.rates {
        let (with_rates, of_trained) = torch.with_rates(rates)?;
        (torch, factors) = (with_rates, Some(of_trained));
    }
    let mut optimiser = Optimiser::new(config.optimiser, train, torch.trained())?;
    if let Some(factors) = factors {
        optimiser = optimiser.with_rates(factors);
    }
    let mut average = match config.average {
        Some(settings) => Some(Average::new(settings.decay, &torch)?),
        None => None,
    };
    if let Some(checkpoint) = &checkpoint {
        checkpoint.restore(&mut torch, &mut optimiser, average.as_mut())?;
    }
    drop((initial, checkpoint));

    let (mut step_log, kept) = Log::open(&out.join(STEPS), |row: &StepRow| row.step <= position.steps_done)?;
    let (mut epoch_log, kept_epochs) =
        Log::open(&out.join(EPOCHS), |row: &EpochRow| row.epoch <= position.epochs_done)?;
    let mut events = EventLog::open(out, &kept, &kept_epochs)?;
    let mut epoch_rows: Vec<StepRow> =
        kept.into_iter().filter(|row| row.epoch > position.epochs_done).collect();
    let preprocess = config.preprocess()?;
    let TrainingData { train: pairs, held_out, .. } = data;
    let (n_photos, n_sketches) = (pairs.photos.len(), pairs.sketches.len());
    let n_photos_without_sketch = pairs.without_sketch.len();
    let mut sampler = Sampler::new(Arc::new(pairs), config)?;
    if let Some(neighbourhood) = neighbourhood {
        let mean_distance = neighbourhood.mean_distance();
        observer(Event::Topology { n_photos, mean_distance });
        sampler = sampler.with_topology(Arc::new(neighbourhood), config);
    }
    if config.pseudo_sketches.is_some() || config.augmentation.is_some() {
        observer(Event::ContactSheet(contact_sheet::write(out, &sampler, &preprocess)?));
    }
    let steps_per_epoch = sampler.steps_per_epoch();
    let n_steps = train.epochs * steps_per_epoch;
    let n_held_out_photos = held_out.photos.len();
    observer(Event::Started {
        position,
        n_photos,
        n_sketches,
        n_photos_without_sketch,
        n_held_out_photos,
        n_steps,
    });

    for epoch in position.epochs_done..train.epochs {
        let batches = sampler.epoch(epoch, position.steps_into_epoch);
        let mut step_started = Instant::now();
        for batch in &batches {
            let batch = batch?;
            let wait_secs = step_started.elapsed().as_secs_f64();
            let number = (epoch + 1, position.steps_done + 1);
            let factor = schedule::factor(&config.schedule, train, position.steps_done, steps_per_epoch);
            let outcome = step(config, &mut torch, &mut optimiser, &batch, teacher.as_ref(), factor, number)?;
            if let Some(average) = &mut average {
                average.follow(&torch, optimiser.n_updates())?;
            }
            position.steps_done += 1;
            position.steps_into_epoch += 1;
            let row = StepRow {
                epoch: epoch + 1,
                step: position.steps_done,
                loss: outcome.loss,
                active_share: outcome.active,
                topology_loss: outcome.topology_loss,
                topology_active_share: outcome.topology_active,
                teacher_loss: outcome.teacher_loss,
                learning_rate: factor * train.learning_rate,
                step_secs: step_started.elapsed().as_secs_f64(),
                wait_secs,
            };
            step_started = Instant::now();
            step_log.append(&row)?;
            events.step(&row)?;
            observer(Event::Step { row: row.clone(), n_steps, n_images: batch.n_images() });
            epoch_rows.push(row);
            if options.interrupted.load(Ordering::Relaxed) {
                check_finite(&torch, number)?;
                let path = checkpoint::save(out, &position, &mut torch, &optimiser, average.as_mut())?;
                observer(Event::Checkpoint(path));
                return Ok(Outcome::Interrupted(position));
            }
        }
        if position.steps_into_epoch != steps_per_epoch {
            return Err(Error::run(out, "the threads that make batches stopped in the middle of an epoch"));
        }
        position.epochs_done = epoch + 1;
        position.steps_into_epoch = 0;
        check_finite(&torch, (position.epochs_done, position.steps_done))?;

        let is_last = position.epochs_done == train.epochs;
        let is_validated = is_last || position.epochs_done.is_multiple_of(config.validation.every_epochs);
        let acc1 = if is_validated {
            of_average(&mut average, &mut torch, |torch| held_out_acc1(torch, &held_out, &preprocess))?
        } else {
            None
        };
        if let Some(acc1) = acc1
            && position.best.is_none_or(|best| acc1 > best.acc1)
        {
            position.best = Some(Best { acc1, epochs_done: position.epochs_done });
            checkpoint::save_best(out, &position, &mut torch, &optimiser, average.as_mut())?;
        }
        let gradient_covariance = match config.gradients.filter(|_| is_validated) {
            Some(gradients) => {
                let of = (position.epochs_done, gradients.batches);
                gradients::gradient_covariance(config, &mut torch, &sampler, of)?
            }
            None => None,
        };
        let row = EpochRow {
            epoch: position.epochs_done,
            steps: position.steps_done,
            mean_loss: mean(&epoch_rows, |row| row.loss),
            mean_active_share: mean(&epoch_rows, |row| row.active_share),
            mean_topology_loss: config
                .method
                .neighbourhood()
                .is_some()
                .then(|| mean(&epoch_rows, |row| row.topology_loss.unwrap_or_default())),
            held_out_acc1: acc1,
            n_held_out_sketches: acc1.map(|_| held_out.sketches.len()),
            n_held_out_photos: acc1.map(|_| held_out.photos.len()),
            gradient_covariance,
            train_secs: epoch_rows.iter().map(|row| row.step_secs).sum(),
        };
        epoch_log.append(&row)?;
        events.epoch(&row)?;
        observer(Event::Epoch(row));
        epoch_rows.clear();
        if is_last || position.epochs_done.is_multiple_of(config.checkpoint.every_epochs) {
            let path = checkpoint::save(out, &position, &mut torch, &optimiser, average.as_mut())?;
            observer(Event::Checkpoint(path));
        }
    }
    Ok(Outcome::Finished(position))
}

/// Looks at the network as it is evaluated: with the average of its weights, where there is one.
fn of_average<T>(
    average: &mut Option<Average>,
    torch: &mut TorchNetwork,
    look: impl FnOnce(&TorchNetwork) -> Result<T>,
) -> Result<T> {
    let Some(average) = average else { return look(torch) };
    average.exchange(torch)?;
    let seen = look(torch);
    average.exchange(torch)?;
    seen
}

/// Refuses weights that are not numbers, before they are validated or kept: the last update's loss was still one.
fn check_finite(torch: &TorchNetwork, (epoch, step): (u64, u64)) -> Result<()> {
    let value = norm(torch.trained())?;
    if value.is_finite() {
        Ok(())
    } else {
        Err(Error::NotFinite { what: "the weights' norm after the update", step, epoch, value })
    }
}

fn refuse_to_overwrite(out: &Path, resume: bool) -> Result<()> {
    if out.join(run::RUN).exists() {
        return if resume {
            Ok(())
        } else {
            Err(Error::run(out, "there is a run already; give --resume to go on with it, or another --out"))
        };
    }
    if sketchfind_core::atomic::is_free_for(out, run::RUN)? {
        Ok(())
    } else {
        Err(Error::run(out, "the folder is not empty and holds no run"))
    }
}

/// The network and weights that R comes from.
struct TopologySource<'a> {
    settings: &'a config::NeighbourhoodSettings,
    network: Network,
    initial: initial::InitialWeights,
}

impl<'a> TopologySource<'a> {
    /// Reads the weights that the configuration names, if its method uses R.
    fn load(config: &'a Config) -> Result<Option<TopologySource<'a>>> {
        let Some(settings) = config.method.neighbourhood() else {
            return Ok(None);
        };
        let network = Network::by_name_or_file(&settings.network, Head::Embedding)?;
        let initial = initial::topology_weights(config, settings, &network)?;
        Ok(Some(TopologySource { settings, network, initial }))
    }

    fn neighbourhood(
        &self,
        options: &FitOptions<'_>,
        data: &TrainingData,
        device: tch::Device,
        observer: &(dyn Fn(Event) + Sync),
    ) -> Result<PhotoDistances> {
        let torch = TorchNetwork::new(&self.network, &self.initial.weights, device)?;
        let preprocess = options.config.preprocess_for(&self.settings.network)?;
        let source = Source::new(self.settings, &torch, &self.initial, &preprocess);
        let own = options.out.join(CACHE);
        let cache = options.cache.unwrap_or(&own);
        PhotoDistances::compute_or_load(&source, &data.train.photos, cache, &|n_done, n_photos| {
            observer(Event::Neighbourhood { n_done, n_photos });
            if options.interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
        })
    }
}

/// Writes the run's facts, or checks them against those of the run that is resumed.
fn begin_or_check(
    options: &FitOptions<'_>,
    dataset: &Dataset,
    data: &TrainingData,
    initial: &initial::InitialWeights,
    topology: Option<&TopologySource<'_>>,
    teacher_weights_sha256: Option<String>,
) -> Result<()> {
    let run = Run {
        format: run::FORMAT,
        tool: concat!("sketchfind-train ", env!("CARGO_PKG_VERSION")).into(),
        source: options.source.absolute()?,
        dataset_sha256: dataset.fingerprint()?,
        n_photos: data.train.photos.len(),
        n_sketches: data.train.sketches.len(),
        n_photos_without_sketch: data.train.without_sketch.len(),
        weights_path: options.config.weights_path(),
        weights_sha256: initial.sha256.clone(),
        weights_source: initial.source.clone(),
        topology_weights_sha256: topology.map(|topology| topology.initial.sha256.clone()),
        teacher_weights_sha256,
        network_files: run::network_files(&options.config)?,
        config: run::portable(&options.config)?,
    };
    if options.out.join(run::RUN).exists() {
        Run::load(options.out)?.check_same(&run, options.out)
    } else {
        run.save(options.out)
    }
}

fn mean(rows: &[StepRow], of: impl Fn(&StepRow) -> f64) -> f64 {
    rows.iter().map(of).sum::<f64>() / rows.len().max(1) as f64
}

/// The network of a run at one of its checkpoints or before training, with the position.
///
/// # Errors
/// [`Error::Run`] where there is no such checkpoint; errors of files.
pub(crate) fn network_at(
    folder: &Path,
    config: &Config,
    run: &Run,
    which: Option<Which>,
) -> Result<(Network, sketchfind_models::weights::Weights, Position)> {
    let network = run::network_of(config)?;
    match which {
        None => {
            let initial = initial::initial_weights(config, &network)?;
            if initial.sha256 != run.weights_sha256 {
                let reason = format!(
                    "the initial weights have changed since: their sha256 is {}, expected {}",
                    initial.sha256, run.weights_sha256
                );
                return Err(Error::run(folder, reason));
            }
            Ok((network, initial.weights, Position::START))
        }
        Some(which) => {
            let checkpoint = checkpoint::load(folder, which)?.ok_or_else(|| {
                Error::run(
                    folder,
                    match which {
                        Which::Last => "it has no checkpoint yet",
                        Which::Best => {
                            "it has no best checkpoint: no photos were held out, or no epoch is done"
                        }
                    },
                )
            })?;
            Ok((network, checkpoint.weights, checkpoint.position))
        }
    }
}
