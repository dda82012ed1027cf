//! The configuration of a run: TOML, checked before any work begins. Every key must be there: defaults stand in
//! the files under `configs/`, where they can be read, and not in code. Unknown keys are refused by name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sketchfind_core::image::Preprocess;
use sketchfind_models::network::{Head, HeadSpec, InputSpec, Network, ParameterKind, Pooling, Stage, file};

use crate::loss::Loss;
use crate::network_file::NetworkFile;
use crate::within::Within;
use crate::{Error, Result};

/// A configuration. [`Config::load`] reads it from a file and checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ConfigFile", into = "ConfigFile")]
pub struct Config {
    /// The network's name in `sketchfind-models`, or the path of a network's file.
    pub network: String,
    /// Its photo-pre-trained weights, in any format that [`sketchfind_models::weights::import`] reads, relative to the
    /// configuration's folder; or `random`.
    pub weights: String,
    /// The seed of everything random.
    pub seed: u64,
    /// Threads of libtorch; 0 for all cores. The last bits of results may depend on it.
    pub threads: usize,
    /// The arithmetic of the network's maps.
    pub precision: TrainingPrecision,
    /// Whether maps lie in memory with the channels of a pixel beside each other, which some processors and GPUs
    /// run faster. The same function; the last bits may differ.
    pub channels_last: bool,
    /// What stands behind the network's last map; the network's own average without the table.
    pub head: Option<HeadSpec>,
    /// Images.
    pub images: Images,
    /// How training images differ from what is in their files; without the table they are cropped and flipped only.
    pub augmentation: Option<Augmentation>,
    /// Pseudo-sketches, drawn from photos while training; none without the table.
    pub pseudo_sketches: Option<PseudoSketches>,
    /// What is trained beside retrieval.
    pub method: Method,
    /// The retrieval loss, L_FG.
    pub loss: Loss,
    /// Another network whose embeddings training keeps near to; none without the table.
    pub teacher: Option<Teacher>,
    /// Length, batches and learning rates.
    pub train: Train,
    /// The learning rates of the network's parts; the same for all without the table.
    pub rates: Option<Rates>,
    /// The average of the weights over steps, which is what is evaluated and exported; the last weights without it.
    pub average: Option<Average>,
    /// What turns gradients into updates.
    pub optimiser: Optimiser,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Validation on photos held out of the training split.
    pub validation: Validation,
    /// What is measured of gradients after an epoch; nothing without the table.
    pub gradients: Option<Gradients>,
    /// Checkpoints.
    pub checkpoint: Checkpoints,
}

/// A configuration, as it stands in a file: the method's name and its table apart, which [`Config`] has as one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    network: String,
    weights: String,
    seed: u64,
    threads: usize,
    precision: TrainingPrecision,
    channels_last: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<HeadSpec>,
    images: Images,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    augmentation: Option<Augmentation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pseudo_sketches: Option<PseudoSketches>,
    loss: Loss,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    teacher: Option<Teacher>,
    train: TrainTable,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rates: Option<Rates>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    average: Option<Average>,
    optimiser: Optimiser,
    schedule: Schedule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    neighbourhood: Option<NeighbourhoodSettings>,
    validation: Validation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gradients: Option<Gradients>,
    checkpoint: Checkpoints,
}

/// The table `[train]` with the method's name in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainTable {
    method: MethodName,
    epochs: u64,
    batch: usize,
    batch_norm: BatchNorm,
    learning_rate: f64,
    warmup_steps: u64,
    weight_decay: f64,
    clip_norm: f64,
}

impl TryFrom<ConfigFile> for Config {
    type Error = String;

    fn try_from(file: ConfigFile) -> std::result::Result<Config, String> {
        let TrainTable {
            method,
            epochs,
            batch,
            batch_norm,
            learning_rate,
            warmup_steps,
            weight_decay,
            clip_norm,
        } = file.train;
        Ok(Config {
            method: Method::new(method, file.neighbourhood)?,
            network: file.network,
            weights: file.weights,
            seed: file.seed,
            threads: file.threads,
            precision: file.precision,
            channels_last: file.channels_last,
            head: file.head,
            images: file.images,
            augmentation: file.augmentation,
            pseudo_sketches: file.pseudo_sketches,
            loss: file.loss,
            teacher: file.teacher,
            train: Train { epochs, batch, batch_norm, learning_rate, warmup_steps, weight_decay, clip_norm },
            rates: file.rates,
            average: file.average,
            optimiser: file.optimiser,
            schedule: file.schedule,
            validation: file.validation,
            gradients: file.gradients,
            checkpoint: file.checkpoint,
        })
    }
}

impl From<Config> for ConfigFile {
    fn from(config: Config) -> ConfigFile {
        let Train { epochs, batch, batch_norm, learning_rate, warmup_steps, weight_decay, clip_norm } =
            config.train;
        let method = config.method.kind();
        ConfigFile {
            network: config.network,
            weights: config.weights,
            seed: config.seed,
            threads: config.threads,
            precision: config.precision,
            channels_last: config.channels_last,
            head: config.head,
            images: config.images,
            augmentation: config.augmentation,
            pseudo_sketches: config.pseudo_sketches,
            loss: config.loss,
            teacher: config.teacher,
            train: TrainTable {
                method,
                epochs,
                batch,
                batch_norm,
                learning_rate,
                warmup_steps,
                weight_decay,
                clip_norm,
            },
            rates: config.rates,
            average: config.average,
            optimiser: config.optimiser,
            schedule: config.schedule,
            neighbourhood: config.method.into_neighbourhood(),
            validation: config.validation,
            gradients: config.gradients,
            checkpoint: config.checkpoint,
        }
    }
}

/// Images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Images are resized to this many pixels, width and height.
    pub resize: u32,
    /// And cropped to this many.
    pub crop: u32,
    /// Whether crops are flipped horizontally, with probability one half.
    pub flip: bool,
    /// Whether a sketch and its photo are cropped and flipped alike or each for itself. The method's source does
    /// not say; independent is the project's choice.
    pub pairs: Pairs,
    /// The most memory that decoded images may take, in MiB.
    pub memory_mib: u64,
}

/// How a sketch and its photo are augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairs {
    /// Each for itself.
    Independent,
    /// Cropped and flipped alike.
    Alike,
}

/// The arithmetic of the network's maps. Parameters, batch norms' statistics, losses and updates are 32-bit always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingPrecision {
    /// 32-bit floats.
    Fp32,
    /// bfloat16 maps and kernels, accumulated in 32 bits: faster on processors with AVX512-BF16 or AMX and on GPUs.
    Bf16,
}

/// Length, batches and learning rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// Passes over the training sketches.
    pub epochs: u64,
    /// Sketches a step, B, each with its photo.
    pub batch: usize,
    /// Whether batch norms use and update the statistics of batches, or keep those of pre-training.
    pub batch_norm: BatchNorm,
    /// The learning rate before the schedule, eta_s.
    pub learning_rate: f64,
    /// Steps at the beginning over which the learning rate grows in equal parts; 0 for none.
    pub warmup_steps: u64,
    /// SGD and Adam add `weight_decay * parameter` to gradients; AdamW shrinks parameters by it.
    pub weight_decay: f64,
    /// A gradient whose Euclidean norm over all parameters is larger is scaled to this; 0 for never.
    pub clip_norm: f64,
}

/// What is trained beside retrieval: nothing, or the neighbourhood topology in one of three ways.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// The retrieval loss alone.
    Baseline,
    /// The retrieval loss and the neighbourhood topology, one gradient of their weighted sum (equation 5).
    Multitask(NeighbourhoodSettings),
    /// The topology as a meta-objective, first order (Algorithm 1, equation 9).
    Meta(NeighbourhoodSettings),
    /// The topology as a meta-objective with the second-order term (equation 8).
    MetaFull(NeighbourhoodSettings),
}

/// The methods' names, as files have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodName {
    /// See [`Method::Baseline`].
    Baseline,
    /// See [`Method::Multitask`].
    Multitask,
    /// See [`Method::Meta`].
    Meta,
    /// See [`Method::MetaFull`].
    #[serde(alias = "meta-full")]
    MetaFull,
}

impl Method {
    /// The method called `name` with its settings. The baseline has none and takes no notice of them, so that studies
    /// can change a method by its name alone.
    ///
    /// # Errors
    /// A text that names the missing table.
    pub fn new(
        name: MethodName,
        neighbourhood: Option<NeighbourhoodSettings>,
    ) -> std::result::Result<Method, String> {
        let with: fn(NeighbourhoodSettings) -> Method = match name {
            MethodName::Baseline => return Ok(Method::Baseline),
            MethodName::Multitask => Method::Multitask,
            MethodName::Meta => Method::Meta,
            MethodName::MetaFull => Method::MetaFull,
        };
        neighbourhood.map(with).ok_or_else(|| {
            format!("train.method is '{}', which needs the table [neighbourhood]", name.as_str())
        })
    }

    /// Which method it is.
    pub fn kind(&self) -> MethodName {
        match self {
            Method::Baseline => MethodName::Baseline,
            Method::Multitask(_) => MethodName::Multitask,
            Method::Meta(_) => MethodName::Meta,
            Method::MetaFull(_) => MethodName::MetaFull,
        }
    }

    /// The name in configurations and cards.
    pub fn name(&self) -> &'static str {
        self.kind().as_str()
    }

    /// The settings of the neighbourhood topology, where it is a part of the method.
    pub fn neighbourhood(&self) -> Option<&NeighbourhoodSettings> {
        match self {
            Method::Baseline => None,
            Method::Multitask(settings) | Method::Meta(settings) | Method::MetaFull(settings) => {
                Some(settings)
            }
        }
    }

    pub(crate) fn neighbourhood_mut(&mut self) -> Option<&mut NeighbourhoodSettings> {
        match self {
            Method::Baseline => None,
            Method::Multitask(settings) | Method::Meta(settings) | Method::MetaFull(settings) => {
                Some(settings)
            }
        }
    }

    fn into_neighbourhood(self) -> Option<NeighbourhoodSettings> {
        match self {
            Method::Baseline => None,
            Method::Multitask(settings) | Method::Meta(settings) | Method::MetaFull(settings) => {
                Some(settings)
            }
        }
    }
}

impl MethodName {
    fn as_str(self) -> &'static str {
        match self {
            MethodName::Baseline => "baseline",
            MethodName::Multitask => "multitask",
            MethodName::Meta => "meta",
            MethodName::MetaFull => "meta_full",
        }
    }
}

/// The learning rates of the network's parts, as factors on [`Train::learning_rate`]. A factor of 0 leaves a part as it
/// is, and nothing is computed for its gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// One for each stage ([`sketchfind_models::network::Stage`]), from the input on.
    pub stages: Vec<f64>,
    /// Of what stands behind the last map.
    pub head: f64,
}

impl Rates {
    /// The factor of a parameter of a stage. What stands before the first stride belongs to the first stage.
    pub fn factor(&self, stage: Option<&Stage>) -> f64 {
        match stage {
            Some(Stage::Map(stage)) => self.stages.get(stage.saturating_sub(1)).copied().unwrap_or(1.0),
            Some(Stage::Head) | None => self.head,
        }
    }
}

/// An exponential moving average of the weights: after update t, from 1, `average += (1 - d) * (weights - average)` with
/// `d = min(decay, (1 + t) / (10 + t))`, so that the beginning is forgotten soon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// The share of the average that an update leaves, from 0 to below 1.
    pub decay: f64,
}

/// How training images differ from what is in their files; what each does is in [`crate::augment`]. With it, images are
/// seen as evaluation sees them, from the centre, and moved from there. All are amounts of 0 and more; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// The most that images are turned, in degrees, to either side.
    pub rotation: f64,
    /// The most that images grow or shrink, as a share of their size.
    pub scale: f64,
    /// The most that the width changes against the height, as a share.
    pub aspect: f64,
    /// The most that images move, down and across, as a share of their size.
    pub shift: f64,
    /// How far lines are bent: the standard deviation of the displacement, as a share of the size. Sketches only.
    pub elastic: f64,
    /// The share of sketches whose lines become a pixel thicker on either side.
    pub thicker: f64,
    /// The share of sketches of which a part is left out.
    pub erase: f64,
    /// The share of photos that lose their colour.
    pub grey: f64,
    /// The share of photos whose colours are changed.
    pub colour: f64,
    /// The share of photos of which only lines are shown.
    pub lines: f64,
}

/// A teacher: a network that stays as it is, and whose embeddings of the same crops the trained network's keep near to,
/// so that a small network learns from a large one. Its loss times `weight` is added to L_FG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// The network's name.
    pub network: String,
    /// Its weights, like the trained network's.
    pub weights: String,
    /// What stands behind its last map; its own average if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadSpec>,
    /// What is kept near.
    pub distillation: Distillation,
    /// The weight of its loss, above 0.
    pub weight: f64,
}

/// What of a teacher's embeddings is kept near; formulas in [`crate::loss::distillation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distillation {
    /// Each embedding's direction; both networks' embeddings are as wide.
    Embeddings,
    /// The distances between the images of a batch; widths may differ.
    Relations,
}

/// Pseudo-sketches, drawn from photos by [`crate::lines`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PseudoSketches {
    /// The share of sketches in whose place one is drawn from the photo. A photo that has no sketch always has one drawn.
    pub share: f64,
}

/// What turns gradients into updates; formulas in [`crate::optimiser`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimiser {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// The momentum, from 0 to below 1.
        momentum: f64,
    },
    /// Adam (Kingma and Ba 2015).
    Adam {
        /// The decay rates of the two moments.
        betas: [f64; 2],
        /// Added to the second moment's root.
        eps: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW {
        /// The decay rates of the two moments.
        betas: [f64; 2],
        /// Added to the second moment's root.
        eps: f64,
    },
}

/// How the learning rate changes, by a factor from 0 to 1; formulas in [`crate::schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Schedule {
    /// One learning rate throughout.
    Constant {},
    /// Multiplied by `factor` after every `every_epochs` epochs.
    Step {
        /// Epochs between.
        every_epochs: u64,
        /// The factor, above 0 and at most 1.
        factor: f64,
    },
    /// Half a cosine from 1 to `end` over all steps.
    Cosine {
        /// The factor at the end, from 0 to 1.
        end: f64,
    },
}

/// The settings of the neighbourhood topology: how photos lie to each other in a photo-pre-trained space, R, and how L_NT asks for
/// it ('Photo Pre-Training, But for Sketch', CVPR 2023, section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeighbourhoodSettings {
    /// The margin of L_NT, Delta_NT, in the unit of distances.
    pub margin: f64,
    /// Pairs of photos that are drawn for each sketch of a batch, K.
    pub pairs: usize,
    /// The weight of L_FG in the multi-task objective.
    pub alpha: f64,
    /// The weight of L_NT in the multi-task objective.
    pub beta: f64,
    /// The meta methods' virtual step on L_FG. The source uses the learning rate itself.
    pub eta_s: f64,
    /// The meta methods' step on L_NT; it enters the update as eta_t / eta_s.
    pub eta_t: f64,
    /// Where the triplets of L_NT are seen from.
    pub anchor: Anchor,
    /// How the pairs are drawn.
    pub sampling: Sampling,
    /// What R is computed from.
    pub features: Features,
    /// The network that R comes from; it may be another than the one that is trained.
    pub network: String,
    /// Its photo-pre-trained weights, like the trained network's.
    pub weights: String,
}

/// Where the triplets of L_NT are seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The sketch of the photo (equation 4): the method.
    Sketch,
    /// The photo itself (equation 3): for the comparison, it separates the two domains.
    Photo,
}

/// How the pairs (p*+, p*-) of L_NT are drawn from the photos of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Both at random: the method.
    Random,
    /// p*+ is the sketch's photo's nearest neighbour in the batch: for the comparison.
    Nearest,
}

/// Features of a photo-pre-trained network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// The last convolution's map, averaged over height and width.
    Pooled,
    /// The map itself.
    Flattened,
}

/// What batch norms do in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchNorm {
    /// They keep the statistics of pre-training; their weights and biases are trained.
    Frozen,
    /// They use each batch's statistics and update the running ones.
    Training,
}

/// Validation on photos held out of the training split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// The share of the training photos that is held out, with all their sketches; 0 for none.
    pub share: f64,
    /// Epochs between validations.
    pub every_epochs: u64,
}

/// What is measured of gradients after each epoch that is validated: the nuclear norm of their covariance between batches
/// ([`crate::gradients::gradient_covariance`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gradients {
    /// The batches, at least 2.
    pub batches: u64,
}

/// Checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    /// Epochs between checkpoints. The last epoch and an interruption have theirs anyway.
    pub every_epochs: u64,
}

impl Config {
    /// Reads and checks a configuration. Paths of weights and of networks become absolute.
    ///
    /// # Errors
    /// [`Error::Config`] with the key that is unknown, missing or outside its range; [`Error::Core`] where a file cannot
    /// be read.
    pub fn load(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path).map_err(sketchfind_core::Error::io("read", path))?;
        Config::parse_in(&text, path, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads and checks the text of a configuration; `origin` names it in errors. Paths stay as they are.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn parse(text: &str, origin: &Path) -> Result<Config> {
        let config = Config::deserialised(text, origin)?;
        config.checked(origin)
    }

    /// As [`Config::load`], from a text whose paths are relative to `folder`.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub(crate) fn parse_in(text: &str, origin: &Path, folder: &Path) -> Result<Config> {
        let mut config = Config::deserialised(text, origin)?;
        // A network's file is needed for the check.
        for network in config.networks_mut() {
            if file::is_file(network) {
                *network = absolute(folder, network)?;
            }
        }
        let mut config = config.checked(origin)?;
        for weights in config.weights_mut() {
            if weights != RANDOM {
                *weights = absolute(folder, weights)?;
            }
        }
        Ok(config)
    }

    /// The configuration of a run, whose networks' files were at these places.
    ///
    /// # Errors
    /// [`Error::Config`], also where a network's file is not what it was.
    pub(crate) fn parse_with_networks(text: &str, origin: &Path, files: &[NetworkFile]) -> Result<Config> {
        let mut config = Config::deserialised(text, origin)?;
        let named = config.networks_mut().filter(|network| file::is_file(network));
        for (network, NetworkFile { path, sha256 }) in named.zip(files) {
            let found = sketchfind_core::fingerprint::of_file(path)?;
            if found != *sha256 {
                let reason =
                    format!("'{}' has changed: its sha256 is {found}, expected {sha256}", path.display());
                return Err(Error::Config { path: origin.to_owned(), reason });
            }
            *network = path.to_string_lossy().into_owned();
        }
        config.checked(origin)
    }

    fn deserialised(text: &str, path: &Path) -> Result<Config> {
        toml::from_str(text)
            .map_err(|e| Error::Config { path: path.to_owned(), reason: e.to_string().trim().to_owned() })
    }

    fn checked(self, path: &Path) -> Result<Config> {
        match self.check() {
            Ok(()) => Ok(self),
            Err(reason) => Err(Error::Config { path: path.to_owned(), reason }),
        }
    }

    /// The names or files of all networks.
    pub(crate) fn networks_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let of_topology = self.method.neighbourhood_mut().map(|settings| &mut settings.network);
        let of_teacher = self.teacher.as_mut().map(|teacher| &mut teacher.network);
        [Some(&mut self.network), of_topology, of_teacher].into_iter().flatten()
    }

    /// The weights of all networks.
    pub(crate) fn weights_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let of_topology = self.method.neighbourhood_mut().map(|settings| &mut settings.weights);
        let of_teacher = self.teacher.as_mut().map(|teacher| &mut teacher.weights);
        [Some(&mut self.weights), of_topology, of_teacher].into_iter().flatten()
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.preprocess().map_err(|e| e.to_string())?;
        let within =
            |key: &str, value: f64, expected: &str, is_within: bool| -> std::result::Result<(), String> {
                if is_within && value.is_finite() {
                    Ok(())
                } else {
                    Err(format!("{key} is {value}, expected {expected}"))
                }
            };
        let network = self.with_head(("", &self.network), self.head.as_ref(), &within)?;
        let train = &self.train;
        within("train.epochs", train.epochs as f64, "1 to 1000000", (1..=1_000_000).contains(&train.epochs))?;
        within("train.batch", train.batch as f64, "1 to 65536", (1..=65_536).contains(&train.batch))?;
        self.check_loss(&within)?;
        self.check_images(&within)?;
        self.check_optimisation(&within)?;
        self.check_neighbourhood(&within)?;
        self.check_rates(&network, &within)?;
        self.check_teacher(&network, &within)?;
        if let Some(gradients) = &self.gradients {
            within("gradients.batches", gradients.batches as f64, "at least 2", gradients.batches >= 2)?;
        }
        let share = self.validation.share;
        within("validation.share", share, "from 0 to 0.9", (0.0..=0.9).contains(&share))?;
        for (key, every) in [
            ("validation.every_epochs", self.validation.every_epochs),
            ("checkpoint.every_epochs", self.checkpoint.every_epochs),
        ] {
            within(key, every as f64, "at least 1", every >= 1)?;
        }
        within(
            "images.memory_mib",
            self.images.memory_mib as f64,
            "at least 1",
            self.images.memory_mib >= 1,
        )?;
        within("threads", self.threads as f64, "0 to 1024", self.threads <= 1024)
    }

    fn check_optimisation(&self, within: &Within) -> std::result::Result<(), String> {
        let unit = |value: f64| (0.0..1.0).contains(&value);
        let train = &self.train;
        let (rate, decay, clip) = (train.learning_rate, train.weight_decay, train.clip_norm);
        within("train.learning_rate", rate, "above 0", rate > 0.0)?;
        within("train.weight_decay", decay, "0 or above", decay >= 0.0)?;
        within("train.clip_norm", clip, "0 or above", clip >= 0.0)?;
        match self.optimiser {
            Optimiser::Sgd { momentum } => {
                within("optimiser.momentum", momentum, "from 0 to below 1", unit(momentum))?;
            }
            Optimiser::Adam { betas, eps } | Optimiser::AdamW { betas, eps } => {
                for beta in betas {
                    within("optimiser.betas", beta, "from 0 to below 1", unit(beta))?;
                }
                within("optimiser.eps", eps, "above 0", eps > 0.0)?;
            }
        }
        match self.schedule {
            Schedule::Constant {} => Ok(()),
            Schedule::Step { every_epochs, factor } => {
                within("schedule.every_epochs", every_epochs as f64, "at least 1", every_epochs >= 1)?;
                within("schedule.factor", factor, "above 0 and at most 1", factor > 0.0 && factor <= 1.0)
            }
            Schedule::Cosine { end } => {
                within("schedule.end", end, "from 0 to 1", (0.0..=1.0).contains(&end))
            }
        }
    }

    /// A network with its head, which must be one that images of this size can pass.
    fn with_head(
        &self,
        (table, network): (&str, &str),
        head: Option<&HeadSpec>,
        within: &Within,
    ) -> std::result::Result<Network, String> {
        let of_table = |reason: String| if table.is_empty() { reason } else { format!("{table}.{reason}") };
        let network = Network::by_name_or_file(network, Head::Embedding)
            .map_err(|e| of_table(format!("network: {e}")))?;
        let Some(head) = head else { return Ok(network) };
        let key = |key: &str| of_table(format!("head.{key}"));
        if let Pooling::Gem { p, cells, .. } = head.pooling {
            within(&key("pooling.p"), p, "above 0 to 100", p > 0.0 && p <= 100.0)?;
            within(&key("pooling.cells"), cells as f64, "1 to 16", (1..=16).contains(&cells))?;
        }
        if let Some(projection) = &head.projection {
            let width = projection.width;
            within(&key("projection.width"), width as f64, "1 to 65536", (1..=65_536).contains(&width))?;
        }
        let headed = network.with_head(head).map_err(|e| of_table(format!("head: {e}")))?;
        let crop = self.images.crop as usize;
        match headed.cell_size(crop) {
            Ok(_) => Ok(headed),
            Err([height, width]) => Err(format!(
                "{}: the last map has {height} x {width} places for images of {crop} pixels, which the cells do not divide",
                key("pooling.cells")
            )),
        }
    }

    fn check_loss(&self, within: &Within) -> std::result::Result<(), String> {
        self.loss.rule().check(within)?;
        let is_enough = self.loss.rule().draws_negatives() || self.train.batch >= 2;
        let expected = "at least 2, so that a sketch sees other photos";
        within("train.batch", self.train.batch as f64, expected, is_enough)
    }

    fn check_images(&self, within: &Within) -> std::result::Result<(), String> {
        let unit = |key: &str, value: f64| within(key, value, "from 0 to 1", (0.0..=1.0).contains(&value));
        if let Some(pseudo) = &self.pseudo_sketches {
            unit("pseudo_sketches.share", pseudo.share)?;
        }
        let Some(a) = &self.augmentation else { return Ok(()) };
        within("augmentation.rotation", a.rotation, "from 0 to 180", (0.0..=180.0).contains(&a.rotation))?;
        for (key, value) in
            [("scale", a.scale), ("aspect", a.aspect), ("shift", a.shift), ("elastic", a.elastic)]
        {
            let key = format!("augmentation.{key}");
            within(&key, value, "from 0 to 0.5", (0.0..=0.5).contains(&value))?;
        }
        for (key, value) in [
            ("thicker", a.thicker),
            ("erase", a.erase),
            ("grey", a.grey),
            ("colour", a.colour),
            ("lines", a.lines),
        ] {
            unit(&format!("augmentation.{key}"), value)?;
        }
        Ok(())
    }

    fn check_neighbourhood(&self, within: &Within) -> std::result::Result<(), String> {
        let Some(n) = self.method.neighbourhood() else { return Ok(()) };
        Network::by_name_or_file(&n.network, Head::Embedding)
            .map_err(|e| format!("neighbourhood.network: {e}"))?;
        within("neighbourhood.margin", n.margin, "0 or above", n.margin >= 0.0)?;
        within("neighbourhood.pairs", n.pairs as f64, "1 to 65536", (1..=65_536).contains(&n.pairs))?;
        for (key, value) in [("alpha", n.alpha), ("beta", n.beta), ("eta_t", n.eta_t)] {
            within(&format!("neighbourhood.{key}"), value, "0 or above", value >= 0.0)?;
        }
        within("neighbourhood.eta_s", n.eta_s, "above 0", n.eta_s > 0.0)?;
        let batch = self.train.batch;
        within("train.batch", batch as f64, "at least 2, so that a sketch sees other photos", batch >= 2)
    }

    fn check_teacher(&self, network: &Network, within: &Within) -> std::result::Result<(), String> {
        let Some(teacher) = &self.teacher else { return Ok(()) };
        within("teacher.weight", teacher.weight, "above 0", teacher.weight > 0.0)?;
        let own = self.with_head(("teacher", &teacher.network), teacher.head.as_ref(), within)?;
        let (of_teacher, of_student) = (own.output_width(), network.output_width());
        if teacher.distillation == Distillation::Embeddings && of_teacher != of_student {
            return Err(format!(
                "teacher.distillation is 'embeddings', for which both are as wide, but the teacher has {of_teacher} numbers and the \
                 network {of_student}; 'relations' takes any widths"
            ));
        }
        Ok(())
    }

    fn check_rates(&self, network: &Network, within: &Within) -> std::result::Result<(), String> {
        if let Some(average) = &self.average {
            let decay = average.decay;
            within("average.decay", decay, "from 0 to below 1", (0.0..1.0).contains(&decay))?;
        }
        let Some(rates) = &self.rates else { return Ok(()) };
        let (got, expected) = (rates.stages.len(), network.n_stages());
        if got != expected {
            return Err(format!(
                "rates.stages has {got} factors, expected {expected}, one for each stage of {}",
                network.name()
            ));
        }
        for &factor in rates.stages.iter().chain([&rates.head]) {
            within("rates", factor, "0 or above", factor >= 0.0)?;
        }
        let stages = network.stages();
        let is_any = network.parameters().iter().any(|parameter| {
            parameter.kind == ParameterKind::Trained && rates.factor(stages.get(&parameter.name)) > 0.0
        });
        within("rates", 0.0, "a factor above 0 for some parameter, so that something is trained", is_any)
    }

    /// The way from an image to the network's input.
    ///
    /// # Errors
    /// Those of [`Config::preprocess_for`].
    pub fn preprocess(&self) -> Result<Preprocess> {
        self.preprocess_for(&self.network)
    }

    /// The way from an image to the input of the network called `network`, normalised as it expects.
    ///
    /// # Errors
    /// [`Error::Models`] for an unknown name; [`Error::Core`] where [`Preprocess::check`] refuses the sizes.
    pub fn preprocess_for(&self, network: &str) -> Result<Preprocess> {
        let InputSpec { mean, std, .. } = Network::input_of_name_or_file(network)?;
        Ok(Preprocess { mean, std, ..Preprocess::imagenet(self.images.resize, self.images.crop)? })
    }

    /// The file of the initial weights, or nothing for random ones.
    pub fn weights_path(&self) -> Option<PathBuf> {
        (self.weights != RANDOM).then(|| PathBuf::from(&self.weights))
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] where it cannot be written as such.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|e| Error::Config { path: PathBuf::from("(in memory)"), reason: e.to_string() })
    }
}

/// A path that is relative to `folder`, made absolute.
fn absolute(folder: &Path, path: &str) -> Result<String> {
    let path = folder.join(path);
    let found = std::path::absolute(&path).and_then(|path| path.canonicalize());
    let found = found.map_err(sketchfind_core::Error::io("read", &path))?;
    Ok(found.to_string_lossy().into_owned())
}

/// The value of `weights` that asks for random ones.
pub const RANDOM: &str = "random";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PLAIN: &str = include_str!("../configs/chair-v1-mobilenet.toml");

    fn parse(text: &str) -> std::result::Result<Config, String> {
        Config::parse(text, Path::new("x.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn every_committed_config_is_valid_and_round_trips() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        let mut n_configs = 0;
        let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let below = ["paper", "recipes"].map(|name| folder.join(name));
        let paths: Vec<PathBuf> =
            entries(&folder).chain(below.iter().flat_map(|folder| entries(folder))).collect();
        for path in paths.into_iter().filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(&path).unwrap();
            let config = Config::parse(&text, &path).unwrap();
            assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
            assert!(text.starts_with("# "), "{} is not headed by its command", path.display());
            n_configs += 1;
        }
        assert!(n_configs >= 3 + 5 * 3 + 2);
    }

    /// The keys of a configuration as `table.key`, down to tables within tables.
    fn keys(config: &Config) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for (table, value) in toml::Table::try_from(config).unwrap() {
            match value {
                toml::Value::Table(values) => {
                    for (key, value) in values {
                        let within = value.as_table().into_iter().flat_map(toml::Table::keys);
                        keys.extend(within.map(|within| format!("{table}.{within}")));
                        keys.insert(format!("{table}.{key}"));
                    }
                }
                _ => drop(keys.insert(table)),
            }
        }
        keys
    }

    #[test]
    fn the_page_of_configurations_has_every_key_and_no_other() {
        // Between them these have every table, and every kind of loss, head, optimiser and schedule.
        let recipe = parse(include_str!("../configs/recipes/pairs.toml")).unwrap();
        let topology = parse(include_str!("../configs/paper/chair-v1-meta.toml")).unwrap();
        let teacher = Teacher {
            network: "mobilenet_v2".into(),
            weights: RANDOM.into(),
            head: recipe.head.clone(),
            distillation: Distillation::Embeddings,
            weight: 1.0,
        };
        let rest = Config {
            teacher: Some(teacher),
            gradients: Some(Gradients { batches: 2 }),
            schedule: Schedule::Step { every_epochs: 1, factor: 0.5 },
            ..recipe.clone()
        };
        let known: BTreeSet<String> = [recipe, topology, rest].iter().flat_map(keys).collect();
        assert!(known.len() > 70, "{known:?}");

        let page = include_str!("../../docs/configuration.md");
        let (page, _) = page.split_once("\n## Studies").unwrap();
        let (mut listed, mut named) = (BTreeSet::new(), BTreeSet::new());
        for section in page.split("\n## ").skip(1) {
            let table = section.strip_prefix("`[").and_then(|rest| rest.split(']').next());
            for row in section.lines().filter(|line| line.starts_with("| `")) {
                let column =
                    |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
                let (first, rest) = row[2..].split_once(" | ").unwrap();
                let keys = column(first).into_iter().map(|key| match table {
                    Some(table) => format!("{table}.{key}"),
                    None => key,
                });
                for key in keys {
                    let table = key.split_once('.').map(|(table, _)| table.to_owned());
                    let words = column(rest).join(" ");
                    let words = words.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned);
                    named.extend(
                        words.map(|word| {
                            table.iter().map(|table| format!("{table}.{word}")).collect::<String>()
                        }),
                    );
                    listed.insert(key);
                }
            }
        }
        let lacking: Vec<&String> = known.difference(&listed).filter(|key| !named.contains(*key)).collect();
        // What stands within a teacher's head stands in the table of the head.
        let lacking: Vec<_> = lacking
            .into_iter()
            .filter(|key| {
                key.strip_prefix("teacher.").is_none_or(|key| !known.contains(&format!("head.{key}")))
            })
            .collect();
        assert!(lacking.is_empty(), "docs/configuration.md says nothing of {lacking:?}");
        let unknown: Vec<&String> = listed.difference(&known).collect();
        assert!(unknown.is_empty(), "docs/configuration.md has {unknown:?}, which no configuration has");
    }

    /// A method that trains the topology cannot be had without its settings, in a file or by hand.
    #[test]
    fn a_method_has_its_settings_or_is_none() {
        let with_topology = include_str!("../configs/paper/chair-v1-meta.toml");
        let config = parse(with_topology).unwrap();
        let settings = config.method.neighbourhood().unwrap().clone();
        for name in [MethodName::Multitask, MethodName::Meta, MethodName::MetaFull] {
            assert!(Method::new(name, None).unwrap_err().contains("[neighbourhood]"));
            let method = Method::new(name, Some(settings.clone())).unwrap();
            assert_eq!((method.kind(), method.neighbourhood()), (name, Some(&settings)));
        }
        // The baseline has none, even where a file has the table for studies to switch by name.
        let baseline = parse(&with_topology.replace("\"meta\"", "\"baseline\"")).unwrap();
        assert_eq!(baseline.method, Method::Baseline);
        assert!(!baseline.to_toml().unwrap().contains("[neighbourhood]"));
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (from, to, part) in [
            ("epochs = ", "epoch = ", "epoch"),
            ("margin = 0.1", "margin = -1.0", "loss.margin is -1, expected above 0"),
            ("margin = 0.1", "margin = nan", "loss.margin"),
            ("crop = 128", "crop = 151", "preprocess.crop"),
            ("\"mobilenet_v2\"", "\"mobilenet\"", "resnet50_v1"),
            ("momentum = 0.9", "momentum = 1.0", "optimiser.momentum"),
            ("momentum = 0.9", "betas = [0.9, 0.999]", "momentum"),
            ("\"sgd\"", "\"lion\"", "lion"),
            ("\"constant\"", "\"constant\"\nend = 0.1", "end"),
            ("\"baseline\"", "\"meta\"", "[neighbourhood]"),
            ("\"frozen\"", "\"melted\"", "melted"),
            ("seed = 1", "", "seed"),
            ("negatives = \"random\"", "negatives = \"easy\"", "easy"),
            ("negatives = \"random\"", "", "negatives"),
            ("negatives = \"random\"", "negatives = \"random\"\ntemperature = 0.1", "temperature"),
            ("\"triplet\"", "\"contrastive\"", "margin"),
            ("[train]", "[average]\ndecay = 1.0\n[train]", "average.decay is 1, expected from 0 to below 1"),
            (
                "[train]",
                "[rates]\nstages = [1.0]\nhead = 1.0\n[train]",
                "rates.stages has 1 factors, expected 5",
            ),
            ("[train]", "[rates]\nstages = [0.0, 0.0, 0.0, 0.0, 0.0]\nhead = 0.0\n[train]", "is trained"),
            (
                "[train]",
                "[rates]\nstages = [0.0, 0.0, 0.0, 0.0, 0.0]\nhead = 1.0\n[train]",
                "something is trained",
            ),
            (
                "[train]",
                "[head]\nnormalise = true\npooling = { kind = \"gem\", p = 3.0, learn = false, cells = 3 }\n[train]",
                "4 x 4 places for images of 128 pixels",
            ),
            ("[train]", "[pseudo_sketches]\nshare = 1.5\n[train]", "pseudo_sketches.share is 1.5"),
            ("[train]", "[head]\nnormalise = true\n[train]", "pooling"),
            (
                "[train]",
                "[head]\nnormalise = true\npooling = { kind = \"gem\", p = 0.0, learn = false, cells = 1 }\n[train]",
                "head.pooling.p is 0",
            ),
        ] {
            let text = PLAIN.replacen(from, to, 1);
            assert_ne!(text, PLAIN, "{from}");
            let message = parse(&text).unwrap_err();
            assert!(message.contains("x.toml") && message.contains(part), "{message}");
        }
    }
}
