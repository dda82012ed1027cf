//! A run's folder: what was trained, on what, from which weights.
//!
//! ```text
//! RUN/run.json                     what this module holds
//! RUN/config.toml                  the checked configuration
//! RUN/steps.csv, RUN/epochs.csv    metrics
//! RUN/tensorboard/                 the same for TensorBoard
//! RUN/contact-sheet.png            what the network is taught, with augmentation or pseudo-sketches
//! RUN/neighbourhood/               distances between training photos, for the methods that need them
//! RUN/checkpoints/<steps>/         the last two checkpoints
//! RUN/best/                        the one that scored best on the held-out photos
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sketchfind_core::dataset::Dataset;
use sketchfind_core::{atomic, fingerprint};
use sketchfind_models::network::{Head, Network, file};

use crate::config::Config;
use crate::network_file::NetworkFile;
use crate::source::ImageSource;
use crate::{Error, Result};

/// The file of a [`Run`].
pub const RUN: &str = "run.json";
/// The configuration, for people.
pub const CONFIG: &str = "config.toml";
/// The version of the run folder's format.
pub const FORMAT: u32 = 3;

/// What a run trains, on what, from which weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The version of the folder's format.
    pub format: u32,
    /// The program and version that began it.
    pub tool: String,
    /// Where images come from.
    pub source: ImageSource,
    /// The data set's fingerprint.
    pub dataset_sha256: String,
    /// Training photos and sketches, without those held out.
    pub n_photos: usize,
    /// See `n_photos`.
    pub n_sketches: usize,
    /// Photos that are trained on by pseudo-sketches alone.
    pub n_photos_without_sketch: usize,
    /// The initial weights' file; nothing for random ones.
    pub weights_path: Option<PathBuf>,
    /// Their SHA-256 (of the file, or of random values).
    pub weights_sha256: String,
    /// Where they come from, in words.
    pub weights_source: String,
    /// The SHA-256 of the weights that R comes from; nothing for a method without it.
    pub topology_weights_sha256: Option<String>,
    /// Networks that are files, in the order in which the configuration has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_files: Vec<NetworkFile>,
    /// SHA-256 of the teacher's weights, if there is a teacher.
    pub teacher_weights_sha256: Option<String>,
    /// The configuration as TOML; paths of weights are reduced to the file's name.
    pub config: String,
}

/// The files of the networks that a configuration names.
///
/// # Errors
/// [`Error::Core`] where one cannot be read.
pub(crate) fn network_files(config: &Config) -> Result<Vec<NetworkFile>> {
    let mut config = config.clone();
    let files = config.networks_mut().filter(|network| file::is_file(network));
    files
        .map(|path| {
            let path = PathBuf::from(&*path);
            Ok(NetworkFile { sha256: fingerprint::of_file(&path)?, path })
        })
        .collect()
}

impl Run {
    /// Reads the run in `folder`.
    ///
    /// # Errors
    /// [`Error::Core`] where there is none; [`Error::Run`] where it is of another format.
    pub fn load(folder: &Path) -> Result<Run> {
        let path = folder.join(RUN);
        let text = std::fs::read_to_string(&path).map_err(sketchfind_core::Error::io("read", &path))?;
        let run: Run = serde_json::from_str(&text)
            .map_err(|e| Error::run(&path, format!("not a run of sketchfind-train: {e}")))?;
        if run.format != FORMAT {
            let reason = format!("its format is {}, this version reads {FORMAT}", run.format);
            return Err(Error::run(&path, reason));
        }
        Ok(run)
    }

    /// Writes the run into `folder`.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(RUN);
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::run(&path, e))?;
        // First, because the folder is a run's by this file.
        atomic::write_bytes(&path, format!("{text}\n").as_bytes())?;
        Ok(atomic::write_bytes(&folder.join(CONFIG), self.config.as_bytes())?)
    }

    /// The checked configuration.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn checked_config(&self, folder: &Path) -> Result<Config> {
        let mut config = Config::parse_with_networks(&self.config, &folder.join(RUN), &self.network_files)?;
        if let Some(path) = &self.weights_path {
            config.weights = path.to_string_lossy().into_owned();
        }
        Ok(config)
    }

    /// The images that the run was trained on, at their place or where `source` says that they are now.
    ///
    /// # Errors
    /// [`Error::Data`] where they are not those that it was trained on; errors of files.
    pub fn dataset(&self, source: Option<&ImageSource>) -> Result<Dataset> {
        let dataset = source.unwrap_or(&self.source).load()?;
        let sha256 = dataset.fingerprint()?;
        if sha256 == self.dataset_sha256 {
            return Ok(dataset);
        }
        let reason =
            format!("it is not the run's: its fingerprint is {sha256}, expected {}", self.dataset_sha256);
        Err(Error::Data { path: dataset.manifest().to_owned(), reason })
    }

    /// Checks that `other`, which the user asks for now, is the run that was begun here.
    ///
    /// # Errors
    /// [`Error::Run`] with everything that differs.
    pub fn check_same(&self, other: &Run, folder: &Path) -> Result<()> {
        let mut differences = Vec::new();
        let sha256 = |of: &Option<String>| of.clone().unwrap_or_else(|| "none".into());
        let topology = |run: &Run| sha256(&run.topology_weights_sha256);
        let teacher = |run: &Run| sha256(&run.teacher_weights_sha256);
        for (what, ours, theirs) in [
            ("data set", &self.dataset_sha256, &other.dataset_sha256),
            ("initial weights", &self.weights_sha256, &other.weights_sha256),
            ("weights of the neighbourhood", &topology(self), &topology(other)),
            ("weights of the teacher", &teacher(self), &teacher(other)),
        ] {
            if ours != theirs {
                differences.push(format!("{what}: it has {ours}, now {theirs}"));
            }
        }
        let files = |run: &Run| {
            run.network_files.iter().map(|file| file.sha256.clone()).collect::<Vec<_>>().join(", ")
        };
        if files(self) != files(other) {
            differences.push(format!("network: its file has {}, now {}", files(self), files(other)));
        }
        let (ours, theirs): (Vec<&str>, Vec<&str>) =
            (self.config.lines().collect(), other.config.lines().collect());
        for line in 0..ours.len().max(theirs.len()) {
            let of =
                |lines: &[&str]| lines.get(line).map_or("nothing".to_owned(), |line| format!("'{line}'"));
            if of(&ours) != of(&theirs) {
                differences.push(format!("config: it has {}, now {}", of(&ours), of(&theirs)));
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        let reason = format!("it cannot be resumed, it is another run: {}", differences.join("; "));
        Err(Error::run(folder, reason))
    }
}

/// The network that a configuration trains.
///
/// # Errors
/// [`Error::Models`] where no network has its name.
pub fn network_of(config: &Config) -> Result<Network> {
    let network = Network::by_name_or_file(&config.network, Head::Embedding)?;
    Ok(match &config.head {
        Some(head) => network.with_head(head)?,
        None => network,
    })
}

/// The configuration as a run keeps it: without the folders of this machine.
pub(crate) fn portable(config: &Config) -> Result<String> {
    let mut config = config.clone();
    let shorten = |weights: &mut String| {
        if let Some(name) = file_name(Path::new(&*weights)) {
            *weights = name;
        }
    };
    config.weights_mut().for_each(shorten);
    config.networks_mut().filter(|network| file::is_file(network)).for_each(shorten);
    config.to_toml()
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}
