//! `sketchfind-train`: trains a retriever and exports it.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use sketchfind_core::card::{InputKind, Precision};
use sketchfind_core::error::explain;
use sketchfind_core::terminal;
use sketchfind_trainer::checkpoint::{Position, Which};
use sketchfind_trainer::config::Config;
use sketchfind_trainer::device::TrainingDevice;
use sketchfind_trainer::export::{ExportOptions, export};
use sketchfind_trainer::fit::{Event, FitOptions, Outcome, fit};
use sketchfind_trainer::landscape::{LandscapeOptions, landscape};
use sketchfind_trainer::source::ImageSource;
use sketchfind_trainer::study::{self, Study, StudyEvent, StudyOptions, StudyOutcome, SummaryRow};

/// Trains sketch-to-photo retrievers and exports them as ONNX.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train on a data set's training split; no image of its test split is looked at.
    ///
    /// Metrics go to OUT/steps.csv and OUT/epochs.csv, checkpoints to OUT/checkpoints. Ctrl-C finishes the step in
    /// progress, writes a checkpoint and stops; --resume goes on as if training had never stopped.
    Fit {
        #[command(flatten)]
        source: SourceArguments,
        /// The configuration, TOML (see trainer/configs).
        #[arg(long)]
        config: PathBuf,
        /// The run's folder, new or empty.
        #[arg(long)]
        out: PathBuf,
        /// Where to train. cuda needs a CUDA build of libtorch on LD_LIBRARY_PATH (see docs/gpu.md).
        #[arg(long, value_enum, default_value_t = DeviceArgument::Cpu)]
        device: DeviceArgument,
        /// Keep the distances between training photos here, to share them between runs; by default in OUT.
        #[arg(long)]
        cache: Option<PathBuf>,
        /// Go on with an interrupted run in OUT; one that is not there yet is begun.
        #[arg(long)]
        resume: bool,
    },
    /// Train methods x seeds x data sets, evaluate each run on its test split, and compare the methods.
    ///
    /// Results go to OUT/runs.csv and OUT/summary.csv after every run. Ctrl-C writes a checkpoint; the same command
    /// goes on with what is left.
    Study {
        /// The study, TOML (see trainer/studies).
        #[arg(long)]
        config: PathBuf,
        /// The study's folder, new, empty or of the same study.
        #[arg(long)]
        out: PathBuf,
        /// Where to train. cuda needs a CUDA build of libtorch on LD_LIBRARY_PATH (see docs/gpu.md).
        #[arg(long, value_enum, default_value_t = DeviceArgument::Cpu)]
        device: DeviceArgument,
    },
    /// Compute the loss on a square of points around a run's weights, along two random directions as long as its filters.
    Landscape {
        /// The run's folder.
        run: PathBuf,
        /// The CSV that is written: x, y, loss.
        #[arg(long)]
        out: PathBuf,
        /// Which weights: the last checkpoint, the best on held-out photos, or those that training began with.
        #[arg(long, value_enum, default_value_t = CheckpointArgument::Last)]
        checkpoint: CheckpointArgument,
        #[command(flatten)]
        source: MovedArguments,
        /// Points from one side to the other; odd, so that the weights themselves are one.
        #[arg(long, default_value = "21", value_parser = odd_points)]
        points: usize,
        /// How far the points go, in lengths of the filters.
        #[arg(long, default_value_t = 1.0)]
        radius: f64,
        /// Training batches that the loss is a mean over.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
        batches: u64,
        /// The seed of the two directions.
        #[arg(long, default_value_t = 1)]
        seed: i64,
        /// Where to compute.
        #[arg(long, value_enum, default_value_t = DeviceArgument::Cpu)]
        device: DeviceArgument,
    },
    /// Write a run's network as a model: model.onnx, card.json and a probe to verify it by.
    Export {
        /// The run's folder.
        run: PathBuf,
        /// The model's folder.
        #[arg(long)]
        out: PathBuf,
        /// Which weights: the last checkpoint, the best on held-out photos, or those that training began with.
        #[arg(long, value_enum, default_value_t = CheckpointArgument::Last)]
        checkpoint: CheckpointArgument,
        #[command(flatten)]
        source: MovedArguments,
        /// A name for people.
        #[arg(long)]
        name: Option<String>,
        /// The arithmetic of the network's maps. int8 is calibrated on the run's training images.
        #[arg(long, value_enum, default_value_t = PrecisionArgument::Fp32)]
        precision: PrecisionArgument,
        /// What the graph takes: pixels, which it normalises itself, or floats that the caller has normalised.
        #[arg(long, value_enum, default_value_t = InputArgument::Uint8)]
        input: InputArgument,
        /// The terms under which the model may be used, for its card.
        #[arg(long)]
        licence: Option<String>,
    },
}

/// Where training images come from.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct SourceArguments {
    /// The data set: a folder with a manifest.csv, or the manifest.
    #[arg(long)]
    data: Option<PathBuf>,
    /// A folder of photos that nobody has drawn: sketches are drawn from them while training, as the configuration's
    /// table [pseudo_sketches] says. Alone, or besides --data.
    #[arg(long)]
    photos: Option<PathBuf>,
}

/// Where a run's images are now, if they are no longer where it found them.
#[derive(clap::Args)]
#[group(multiple = true)]
struct MovedArguments {
    /// The data set, if it is no longer where the run found it.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The folder of photos, likewise.
    #[arg(long)]
    photos: Option<PathBuf>,
}

impl MovedArguments {
    /// Where the images are now; nothing where they did not move.
    fn moved(self) -> Option<ImageSource> {
        let source = ImageSource { data: self.data, photos: self.photos };
        (source != ImageSource::default()).then_some(source)
    }
}

fn odd_points(text: &str) -> std::result::Result<usize, String> {
    let odd = text.parse().ok().filter(|points| (3..=201).contains(points) && points % 2 == 1);
    odd.ok_or_else(|| "expected an odd number from 3 to 201".into())
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceArgument {
    Cpu,
    Cuda,
}

impl From<DeviceArgument> for TrainingDevice {
    fn from(argument: DeviceArgument) -> TrainingDevice {
        match argument {
            DeviceArgument::Cpu => TrainingDevice::Cpu,
            DeviceArgument::Cuda => TrainingDevice::Cuda,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArgument {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats: half the file; fast on GPUs.
    Fp16,
    /// 8-bit integers: a quarter of the file; fast on processors with VNNI.
    Int8,
}

#[derive(Clone, Copy, ValueEnum)]
enum InputArgument {
    /// uint8, n x crop x crop x 3.
    Uint8,
    /// float32, n x 3 x crop x crop.
    Float,
}

#[derive(Clone, Copy, ValueEnum)]
enum CheckpointArgument {
    Last,
    Best,
    Initial,
}

impl From<CheckpointArgument> for Option<Which> {
    fn from(argument: CheckpointArgument) -> Option<Which> {
        match argument {
            CheckpointArgument::Last => Some(Which::Last),
            CheckpointArgument::Best => Some(Which::Best),
            CheckpointArgument::Initial => None,
        }
    }
}

/// Exit codes, which scripts may rely on.
#[derive(Clone, Copy)]
enum Exit {
    Success = 0,
    Failure = 1,
    BadInput = 3,
    Interrupted = 130,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed for a reason outside the input: disk, device, libtorch
    2  wrong usage
    3  the input is not what it should be: config, data set, weights, run
  130  interrupted; --resume goes on from the last checkpoint, which was written if a step had been made";

fn main() -> ExitCode {
    sketchfind_trainer::memory::keep_freed_memory();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => return of_usage(&usage),
    };
    let exit = match run(arguments) {
        Ok(exit) => exit,
        Err(error) => {
            say(&format!("error: {}", explain(error.as_ref())));
            of_error(&error)
        }
    };
    ExitCode::from(exit as u8)
}

/// Prints what clap says of wrong usage, or the help that was asked for.
fn of_usage(usage: &clap::Error) -> ExitCode {
    // What was typed stands in it, such as a file's name that a shell has put there.
    let has_commands =
        std::env::args_os().any(|argument| terminal::has_commands(&argument.to_string_lossy()));
    if usage.use_stderr() && has_commands {
        say(usage.render().to_string().trim_end());
    } else {
        // With colours where there is a terminal; that nobody reads it is no failure.
        let _ = usage.print();
    }
    ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
}

fn run(arguments: Arguments) -> Result<Exit> {
    match arguments.command {
        Command::Fit { source, config, out, device, cache, resume } => {
            let interrupted = listen()?;
            let options = FitOptions {
                source: &ImageSource { data: source.data, photos: source.photos },
                config: Config::load(&config)?,
                out: &out,
                device: device.into(),
                resume,
                cache: cache.as_deref(),
                interrupted: &interrupted,
            };
            let progress = Mutex::new(Progress::new(interrupted.clone()));
            let outcome = fit(&options, &|event| {
                if let Ok(mut progress) = progress.lock() {
                    progress.show(&event);
                }
            })?;
            Ok(match outcome {
                Outcome::Finished(position) => {
                    say(&format!("done: {}; the run lies in '{}'", describe(&position), out.display()));
                    Exit::Success
                }
                Outcome::Interrupted(position) => {
                    say(&format!(
                        "interrupted: {}; the same command with --resume goes on from here",
                        describe(&position)
                    ));
                    Exit::Interrupted
                }
            })
        }
        Command::Study { config, out, device } => {
            let interrupted = listen()?;
            let study = Study::load(&config)?;
            let options =
                StudyOptions { study: &study, out: &out, device: device.into(), interrupted: &interrupted };
            let progress = Mutex::new(Progress::new(interrupted.clone()));
            let outcome = study::study(&options, &|event| {
                if let Ok(mut progress) = progress.lock() {
                    progress.show_study(event);
                }
            })?;
            Ok(match outcome {
                StudyOutcome::Finished(rows) => {
                    rows.iter().for_each(|row| say(&describe_method(row)));
                    say(&format!("done: results lie in '{}'", out.display()));
                    Exit::Success
                }
                StudyOutcome::Interrupted => {
                    say("interrupted: the same command goes on from here");
                    Exit::Interrupted
                }
            })
        }
        Command::Landscape { run, out, checkpoint, source, points, radius, batches, seed, device } => {
            let interrupted = listen()?;
            let progress = Mutex::new(Progress::new(interrupted.clone()));
            let source = source.moved();
            let options = LandscapeOptions {
                run: &run,
                source: source.as_ref(),
                checkpoint: checkpoint.into(),
                out: &out,
                n_points: points,
                radius,
                n_batches: batches,
                seed,
                device: device.into(),
                interrupted: &interrupted,
            };
            let shown = |n_done: usize, n_points: usize| {
                if let Ok(mut progress) = progress.lock() {
                    progress.passing(&format!("loss at {n_done} of {n_points} points"), n_done == n_points);
                }
            };
            match landscape(&options, &shown) {
                Err(sketchfind_trainer::Error::Interrupted) => {
                    say("interrupted: nothing is written");
                    return Ok(Exit::Interrupted);
                }
                rows => say(&format!("{} points lie in '{}'", rows?.len(), out.display())),
            }
            Ok(Exit::Success)
        }
        Command::Export { run, out, checkpoint, source, name, precision, input, licence } => {
            let source = source.moved();
            let card = export(&ExportOptions {
                run: &run,
                out: &out,
                checkpoint: checkpoint.into(),
                source: source.as_ref(),
                name: name.as_deref(),
                precision: match precision {
                    PrecisionArgument::Fp32 => Precision::Fp32,
                    PrecisionArgument::Fp16 => Precision::Fp16,
                    PrecisionArgument::Int8 => Precision::Int8,
                },
                input: match input {
                    InputArgument::Uint8 => InputKind::Uint8Nhwc,
                    InputArgument::Float => InputKind::Float32Nchw,
                },
                licence: licence.as_deref(),
            })?;
            say(&format!(
                "exported '{}' to '{}' (sha256 {})",
                card.name,
                out.display(),
                &card.onnx.sha256[..12]
            ));
            if let Some(probe) = &card.probe {
                say(&format!(
                    "{} embeddings are off by {:.2e} of the largest component on the probe",
                    card.onnx.precision.name(),
                    probe.deviation
                ));
            }
            Ok(Exit::Success)
        }
    }
}

/// A flag that Ctrl-C and a request to end set; a second one ends the program at once.
fn listen() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone())?;
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}

fn of_error(error: &anyhow::Error) -> Exit {
    use sketchfind_trainer::Error;
    use std::io::ErrorKind;
    // A path that leads to nothing or to the wrong kind of thing is input; a disk that fails is not.
    if let Some(io) = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()) {
        return match io.kind() {
            ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory => Exit::BadInput,
            _ => Exit::Failure,
        };
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Torch(_) | Error::Device { .. } | Error::NotFinite { .. }) | None => Exit::Failure,
        Some(_) => Exit::BadInput,
    }
}

fn describe(position: &Position) -> String {
    format!("{} epochs, {} steps", position.epochs_done, position.steps_done)
}

fn describe_method(row: &SummaryRow) -> String {
    let percent = |value: f64| format!("{:.2} %", 100.0 * value);
    let comparison =
        match (row.difference, row.difference_low, row.difference_high, row.p_value, &row.reference) {
            (Some(difference), Some(low), Some(high), Some(p), Some(reference)) => format!(
                "; to {reference} {:+.2} points ({:+.2} to {:+.2}), p = {p:.4}",
                100.0 * difference,
                100.0 * low,
                100.0 * high
            ),
            _ => String::new(),
        };
    format!(
        "{}, {}, {}: acc@1 {} ({} to {}, n = {} sketches x {} seeds){comparison}",
        row.dataset,
        row.method,
        row.checkpoint,
        percent(row.acc1),
        percent(row.acc1_low),
        percent(row.acc1_high),
        row.n_queries,
        row.n_seeds
    )
}

/// Shows progress on standard error: one line that is rewritten on a terminal, a line now and then elsewhere.
struct Progress {
    interrupted: Arc<AtomicBool>,
    is_terminal: bool,
    last_shown: Option<Instant>,
    started: Instant,
    first_step: Option<u64>,
}

impl Progress {
    fn new(interrupted: Arc<AtomicBool>) -> Progress {
        let is_terminal = std::io::stderr().is_terminal();
        Progress { interrupted, is_terminal, last_shown: None, started: Instant::now(), first_step: None }
    }

    fn show(&mut self, event: &Event) {
        match event {
            Event::Decoded { n_done, n_images } => {
                self.passing(&format!("decoding images: {n_done} of {n_images}"), n_done == n_images);
            }
            Event::WithoutLines(photos) => {
                let shown: Vec<String> =
                    photos.iter().take(5).map(|(id, reason)| format!("'{id}' is {reason}")).collect();
                let more = if photos.len() > 5 { "; ..." } else { "" };
                say(&format!(
                    "no lines can be drawn from {} photos, of which no pseudo-sketch is trained on: {}{more}",
                    photos.len(),
                    shown.join("; ")
                ));
            }
            Event::ContactSheet(path) => say(&format!("what is taught: {}", path.display())),
            Event::Neighbourhood { n_done, n_photos } => {
                let line = format!("distances between training photos: {n_done} of {n_photos}");
                self.passing(&line, n_done == n_photos);
            }
            Event::Topology { n_photos, mean_distance } => {
                say(&format!("distances between {n_photos} training photos: {mean_distance:.4} in the mean"));
            }
            Event::Started {
                position,
                n_photos,
                n_sketches,
                n_photos_without_sketch,
                n_held_out_photos,
                n_steps,
            } => {
                self.started = Instant::now();
                let drawn = match n_photos_without_sketch {
                    0 => String::new(),
                    n => format!(" and the lines of {n} photos without one"),
                };
                say(&format!(
                    "training on {n_sketches} sketches{drawn}, {n_photos} photos ({n_held_out_photos} held out), \
                     {n_steps} steps; {} done before",
                    describe(position)
                ));
            }
            Event::Step { row, n_steps, n_images } => {
                let first = *self.first_step.get_or_insert(row.step);
                let secs_per_step = self.started.elapsed().as_secs_f64() / (row.step - first + 1) as f64;
                let left = Duration::from_secs_f64(secs_per_step * n_steps.saturating_sub(row.step) as f64);
                let topology =
                    row.topology_loss.map(|loss| format!(" topology {loss:.5}")).unwrap_or_default();
                let line = format!(
                    "epoch {} step {}/{n_steps} loss {:.5}{topology} active {:.0} % {:.1} images/s, {} left",
                    row.epoch,
                    row.step,
                    row.loss,
                    100.0 * row.active_share,
                    *n_images as f64 / secs_per_step,
                    minutes(left),
                );
                self.passing(&line, row.step == *n_steps);
                if self.interrupted.load(Ordering::Relaxed) {
                    say("interrupted: writing a checkpoint");
                }
            }
            Event::Epoch(row) => {
                self.clear();
                let validated = match (row.held_out_acc1, row.n_held_out_sketches) {
                    (Some(acc1), Some(n)) => format!(", held-out acc@1 {:.2} % (n = {n})", 100.0 * acc1),
                    _ => String::new(),
                };
                say(&format!(
                    "epoch {} done: mean loss {:.5}, active {:.0} %{validated}, {:.0} s",
                    row.epoch,
                    row.mean_loss,
                    100.0 * row.mean_active_share,
                    row.train_secs
                ));
            }
            Event::Checkpoint(path) => {
                self.clear();
                say(&format!("checkpoint: {}", path.display()));
            }
        }
    }

    fn show_study(&mut self, event: StudyEvent<'_>) {
        match event {
            StudyEvent::Run { number, n_runs, dataset, method, seed } => {
                (self.last_shown, self.first_step) = (None, None);
                say(&format!("run {number} of {n_runs}: {dataset}, {method}, seed {seed}"));
            }
            // A study makes many; epochs and results tell enough.
            StudyEvent::Fit(Event::Checkpoint(_)) => {}
            StudyEvent::Fit(event) => self.show(&event),
            StudyEvent::Row(row) => {
                self.clear();
                say(&format!(
                    "test split, {} ({} epochs): acc@1 {:.2} % (n = {})",
                    row.checkpoint,
                    row.epochs,
                    100.0 * row.acc1,
                    row.n_queries
                ));
            }
        }
    }

    /// Shows a line that the next one replaces.
    fn passing(&mut self, line: &str, is_last: bool) {
        let pause = Duration::from_secs_f64(if self.is_terminal { 0.2 } else { 10.0 });
        if !is_last && self.last_shown.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last_shown = Some(Instant::now());
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K{}", terminal::one_line(line));
            if is_last {
                say("");
            }
        } else {
            say(line);
        }
    }

    fn clear(&self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

fn minutes(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min {:02} s", secs / 60, secs % 60),
        _ => format!("{} h {:02} min", secs / 3600, secs / 60 % 60),
    }
}

/// Writes a line to standard error without what a terminal takes for commands; one that is closed is no reason to stop
/// training.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", terminal::lines(line));
}
