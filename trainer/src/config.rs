//! The configuration of a run: TOML, checked before any work begins. Every key must be there: defaults stand in
//! the files under `configs/`, where they can be read, and not in code. Unknown keys are refused by name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sketchfind_core::image::Preprocess;
use sketchfind_models::network::{Head, Network};

use crate::{Error, Result};

/// A configuration, as it stands in a file. [`Config::load`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network's name in `sketchfind-models`.
    pub network: String,
    /// Its photo-pre-trained weights: a safetensors file, relative to the configuration's folder; or `random`.
    pub weights: String,
    /// The seed of everything random.
    pub seed: u64,
    /// Threads of libtorch; 0 for all cores. The last bits of results may depend on it.
    pub threads: usize,
    /// Images and their augmentation.
    pub images: Images,
    /// The optimisation.
    pub train: Train,
    /// Validation on photos held out of the training split.
    pub validation: Validation,
    /// Checkpoints.
    pub checkpoint: Checkpoints,
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

/// The optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The step's kind.
    pub method: Method,
    /// Passes over the training sketches.
    pub epochs: u64,
    /// Triplets a step, B.
    pub batch: usize,
    /// The margin of the triplet loss, Delta_sp.
    pub margin: f64,
    /// Whether batch norms use and update the statistics of batches, or keep those of pre-training.
    pub batch_norm: BatchNorm,
    /// The learning rate, eta_s.
    pub learning_rate: f64,
    /// The momentum of SGD.
    pub momentum: f64,
    /// Added to gradients as `weight_decay * parameter`.
    pub weight_decay: f64,
}

/// The kinds of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The triplet loss alone.
    Baseline,
}

impl Method {
    /// The name in configurations and cards.
    pub fn name(self) -> &'static str {
        match self {
            Method::Baseline => "baseline",
        }
    }
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
        if config.weights != RANDOM {
            let folder = path.parent().unwrap_or(Path::new(""));
            let weights = folder.join(&config.weights);
            let absolute = std::path::absolute(&weights)
                .and_then(|weights| weights.canonicalize())
                .map_err(sketchfind_core::Error::io("read", &weights))?;
            config.weights = absolute.to_string_lossy().into_owned();
        }
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

    fn check(&self) -> std::result::Result<(), String> {
        Network::by_name(&self.network, Head::Embedding).map_err(|e| e.to_string())?;
        self.preprocess().map_err(|e| e.to_string())?;
        let within = |key: &str, value: f64, expected: &str, is_within: bool| {
            if is_within && value.is_finite() {
                Ok(())
            } else {
                Err(format!("{key} is {value}, expected {expected}"))
            }
        };
        let train = &self.train;
        within("train.epochs", train.epochs as f64, "1 to 1000000", (1..=1_000_000).contains(&train.epochs))?;
        within("train.batch", train.batch as f64, "1 to 65536", (1..=65_536).contains(&train.batch))?;
        within("train.margin", train.margin, "above 0", train.margin > 0.0)?;
        within("train.learning_rate", train.learning_rate, "above 0", train.learning_rate > 0.0)?;
        let momentum = train.momentum;
        within("train.momentum", momentum, "from 0 to below 1", (0.0..1.0).contains(&momentum))?;
        within("train.weight_decay", train.weight_decay, "0 or above", train.weight_decay >= 0.0)?;
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

    /// The way from an image to the network's input.
    ///
    /// # Errors
    /// Those of [`Preprocess::check`].
    pub fn preprocess(&self) -> sketchfind_core::Result<Preprocess> {
        Preprocess::imagenet(self.images.resize, self.images.crop)
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
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let config = Config::parse(&text, &path).unwrap();
            assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
            assert!(text.starts_with("# "), "{} is not headed by its command", path.display());
            n_configs += 1;
        }
        assert!(n_configs >= 3);
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (from, to, part) in [
            ("epochs = ", "epoch = ", "epoch"),
            ("margin = 0.1", "margin = -1.0", "train.margin is -1, expected above 0"),
            ("margin = 0.1", "margin = nan", "train.margin"),
            ("crop = 128", "crop = 151", "preprocess.crop"),
            ("\"mobilenet_v2\"", "\"mobilenet\"", "resnet50_v1"),
            ("momentum = 0.9", "momentum = 1.0", "train.momentum"),
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
