//! The configuration of a run: TOML, checked before any work begins. Every key must be there: defaults stand in
//! the files under `configs/`, where they can be read, and not in code. Unknown keys are refused by name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sketchfind_core::image::Preprocess;
use sketchfind_models::network::{Head, InputSpec, Network};

use crate::{Error, Result};

/// A configuration, as it stands in a file. [`Config::load`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network's name in `sketchfind-models`.
    pub network: String,
    /// Its photo-pre-trained weights, in any format that [`sketchfind_models::weights::import`] reads, relative to the
    /// configuration's folder; or `random`.
    pub weights: String,
    /// The seed of everything random.
    pub seed: u64,
    /// Threads of libtorch; 0 for all cores. The last bits of results may depend on it.
    pub threads: usize,
    /// The arithmetic of the network's maps.
    pub precision: Precision,
    /// Whether maps lie in memory with the channels of a pixel beside each other, which some processors and GPUs
    /// run faster. The same function; the last bits may differ.
    pub channels_last: bool,
    /// A linear layer behind the network's feature; none without the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<Projection>,
    /// Images and their augmentation.
    pub images: Images,
    /// The objective.
    pub train: Train,
    /// What turns gradients into updates.
    pub optimiser: Optimiser,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// The neighbourhood topology, which every method but the baseline trains.
    pub neighbourhood: Option<Neighbourhood>,
    /// Validation on photos held out of the training split.
    pub validation: Validation,
    /// Checkpoints.
    pub checkpoint: Checkpoints,
}

/// A linear layer from the network's feature to a narrower one, for small indexes. It begins at random.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// The width of an embedding.
    pub width: usize,
    /// Whether embeddings are divided by their length. The model is then compared by cosine, and losses are on `1 - cos`:
    /// half the squared difference of unit vectors, from 0 to 2.
    pub normalise: bool,
}

/// Images and their augmentation.
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
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// bfloat16 maps and kernels, accumulated in 32 bits: faster on processors with AVX512-BF16 or AMX and on GPUs.
    Bf16,
}

/// The objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The step's kind.
    pub method: Method,
    /// Passes over the training sketches.
    pub epochs: u64,
    /// Triplets a step, B.
    pub batch: usize,
    /// The margin of the triplet loss, Delta_sp. The paper's 0.1 is a third of the mean distance between chair photos in
    /// its ResNet50's space at 256 x 256 pixels; see [`crate::neighbourhood::Neighbourhood::mean_distance`] for others'.
    pub margin: f64,
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

/// The kinds of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The triplet loss alone.
    Baseline,
    /// The triplet loss and the neighbourhood topology, one gradient of their weighted sum (equation 5).
    Multitask,
    /// The topology as a meta-objective, first order (Algorithm 1, equation 9).
    Meta,
    /// The topology as a meta-objective with the second-order term (equation 8).
    #[serde(alias = "meta-full")]
    MetaFull,
}

impl Method {
    /// The name in configurations and cards.
    pub fn name(self) -> &'static str {
        match self {
            Method::Baseline => "baseline",
            Method::Multitask => "multitask",
            Method::Meta => "meta",
            Method::MetaFull => "meta_full",
        }
    }

    /// Whether the neighbourhood topology is a part of it.
    pub fn has_topology(self) -> bool {
        self != Method::Baseline
    }
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

/// The neighbourhood topology: how photos lie to each other in a photo-pre-trained space, R, and how L_NT asks for
/// it ('Photo Pre-Training, But for Sketch', CVPR 2023, section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbourhood {
    /// The margin of L_NT, Delta_NT, in the unit of [`Train::margin`].
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

/// Checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    /// Epochs between checkpoints. The last epoch and an interruption have theirs anyway.
    pub every_epochs: u64,
}

impl Config {
    /// Reads and checks a configuration. The path of the weights becomes absolute.
    ///
    /// # Errors
    /// [`Error::Config`] with the key that is unknown, missing or outside its range; [`Error::Core`] where the
    /// file cannot be read.
    pub fn load(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path).map_err(sketchfind_core::Error::io("read", path))?;
        let mut config = Config::parse(&text, path)?;
        config.make_absolute(path.parent().unwrap_or(Path::new("")))?;
        Ok(config)
    }

    /// Reads and checks the text of a configuration; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn parse(text: &str, origin: &Path) -> Result<Config> {
        let refuse = |reason: String| Error::Config { path: origin.to_owned(), reason };
        let config: Config = toml::from_str(text).map_err(|e| refuse(e.to_string().trim().to_owned()))?;
        config.check().map_err(refuse)?;
        Ok(config)
    }

    /// Makes the paths of weights, which are relative to `folder`, absolute.
    pub(crate) fn make_absolute(&mut self, folder: &Path) -> Result<()> {
        let absolute = |weights: &mut String| -> Result<()> {
            if weights != RANDOM {
                let path = folder.join(&*weights);
                let found = std::path::absolute(&path).and_then(|path| path.canonicalize());
                let found = found.map_err(sketchfind_core::Error::io("read", &path))?;
                *weights = found.to_string_lossy().into_owned();
            }
            Ok(())
        };
        absolute(&mut self.weights)?;
        match &mut self.neighbourhood {
            // What the method does not use need not be there.
            Some(neighbourhood) if self.train.method.has_topology() => absolute(&mut neighbourhood.weights),
            _ => Ok(()),
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        Network::by_name(&self.network, Head::Embedding).map_err(|e| e.to_string())?;
        self.preprocess().map_err(|e| e.to_string())?;
        let within =
            |key: &str, value: f64, expected: &str, is_within: bool| -> std::result::Result<(), String> {
                if is_within && value.is_finite() {
                    Ok(())
                } else {
                    Err(format!("{key} is {value}, expected {expected}"))
                }
            };
        if let Some(projection) = &self.projection {
            let width = projection.width;
            within("projection.width", width as f64, "1 to 65536", (1..=65_536).contains(&width))?;
        }
        let train = &self.train;
        within("train.epochs", train.epochs as f64, "1 to 1000000", (1..=1_000_000).contains(&train.epochs))?;
        within("train.batch", train.batch as f64, "1 to 65536", (1..=65_536).contains(&train.batch))?;
        within("train.margin", train.margin, "above 0", train.margin > 0.0)?;
        self.check_optimisation(&within)?;
        self.check_neighbourhood(&within)?;
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

    fn check_neighbourhood(&self, within: &Within) -> std::result::Result<(), String> {
        let Some(n) = &self.neighbourhood else {
            return if self.train.method.has_topology() {
                Err(format!(
                    "train.method is '{}', which needs the table [neighbourhood]",
                    self.train.method.name()
                ))
            } else {
                Ok(())
            };
        };
        Network::by_name(&n.network, Head::Embedding).map_err(|e| format!("neighbourhood.network: {e}"))?;
        within("neighbourhood.margin", n.margin, "0 or above", n.margin >= 0.0)?;
        within("neighbourhood.pairs", n.pairs as f64, "1 to 65536", (1..=65_536).contains(&n.pairs))?;
        for (key, value) in [("alpha", n.alpha), ("beta", n.beta), ("eta_t", n.eta_t)] {
            within(&format!("neighbourhood.{key}"), value, "0 or above", value >= 0.0)?;
        }
        within("neighbourhood.eta_s", n.eta_s, "above 0", n.eta_s > 0.0)?;
        let batch = self.train.batch;
        let is_enough = !self.train.method.has_topology() || batch >= 2;
        within("train.batch", batch as f64, "at least 2, so that a sketch sees other photos", is_enough)
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
        let InputSpec { mean, std, .. } = Network::input_of(network)?;
        Ok(Preprocess { mean, std, ..Preprocess::imagenet(self.images.resize, self.images.crop)? })
    }

    /// The file of the initial weights, or nothing for random ones.
    pub fn weights_path(&self) -> Option<PathBuf> {
        (self.weights != RANDOM).then(|| PathBuf::from(&self.weights))
    }

    /// The neighbourhood topology, where the method uses one.
    pub fn topology(&self) -> Option<&Neighbourhood> {
        self.neighbourhood.as_ref().filter(|_| self.train.method.has_topology())
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

/// Refuses a value that is not finite or not within its range: key, value, what is expected, whether it is.
type Within = dyn Fn(&str, f64, &str, bool) -> std::result::Result<(), String>;

/// The value of `weights` that asks for random ones.
pub const RANDOM: &str = "random";

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = include_str!("../configs/demo.toml");

    fn parse(text: &str) -> std::result::Result<Config, String> {
        Config::parse(text, Path::new("x.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn every_committed_config_is_valid_and_round_trips() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        let mut n_configs = 0;
        let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let paths: Vec<PathBuf> = entries(&folder).chain(entries(&folder.join("paper"))).collect();
        for path in paths.into_iter().filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(&path).unwrap();
            let config = Config::parse(&text, &path).unwrap();
            assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
            assert!(text.starts_with("# "), "{} is not headed by its command", path.display());
            n_configs += 1;
        }
        assert!(n_configs >= 3 + 5 * 3);
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (from, to, part) in [
            ("epochs = ", "epoch = ", "epoch"),
            ("margin = 0.1", "margin = -1.0", "train.margin is -1, expected above 0"),
            ("margin = 0.1", "margin = nan", "train.margin"),
            ("crop = 128", "crop = 151", "preprocess.crop"),
            ("\"mobilenet_v2\"", "\"mobilenet\"", "resnet50_v1"),
            ("momentum = 0.9", "momentum = 1.0", "optimiser.momentum"),
            ("momentum = 0.9", "betas = [0.9, 0.999]", "momentum"),
            ("\"sgd\"", "\"lion\"", "lion"),
            ("\"constant\"", "\"constant\"\nend = 0.1", "end"),
            ("\"baseline\"", "\"meta\"", "[neighbourhood]"),
            ("\"frozen\"", "\"melted\"", "melted"),
            ("seed = 1", "", "seed"),
        ] {
            let text = DEMO.replacen(from, to, 1);
            assert_ne!(text, DEMO, "{from}");
            let message = parse(&text).unwrap_err();
            assert!(message.contains("x.toml") && message.contains(part), "{message}");
        }
    }
}
