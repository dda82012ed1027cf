//! Checkpoints: weights, optimiser and position, in a folder that is written atomically. The random state is the
//! position: every draw is a function of the seed, the epoch and the step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sketchfind_core::{atomic, fingerprint};
use sketchfind_models::weights::Weights;
use tch::Tensor;

use crate::average::Average;
use crate::network::{TorchNetwork, to_weight};
use crate::optimiser::Optimiser;
use crate::{Error, Result};

/// The version of the checkpoint's format.
pub const FORMAT: u32 = 3;

const STATE: &str = "state.json";
const WEIGHTS: &str = "weights.safetensors";
const OPTIMISER: &str = "optimiser.safetensors";
/// The folder of checkpoints in a run's folder.
const CHECKPOINTS: &str = "checkpoints";
/// The best checkpoint in a run's folder.
const BEST: &str = "best";
/// The last two: if the newest turned out to be damaged, there is another.
const N_KEPT: usize = 2;

/// Where training stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epochs that are done.
    pub epochs_done: u64,
    /// Steps of the epoch after those that are done.
    pub steps_into_epoch: u64,
    /// Steps since training began.
    pub steps_done: u64,
    /// The best score on the held-out photos so far, and after how many epochs.
    pub best: Option<Best>,
}

/// The best score on the held-out photos.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// acc@1 in `[0, 1]`.
    pub acc1: f64,
    /// Epochs done when it was measured.
    pub epochs_done: u64,
}

impl Position {
    /// Before the first step.
    pub const START: Position = Position { epochs_done: 0, steps_into_epoch: 0, steps_done: 0, best: None };
}

/// What `state.json` holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: u32,
    position: Position,
    weights_sha256: String,
    optimiser_sha256: String,
    n_updates: u64,
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Checkpoint {
    /// Where training stood.
    pub position: Position,
    /// The weights.
    pub weights: Weights,
    optimiser: Weights,
    n_updates: u64,
}

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest.
    Last,
    /// The one that scored best on the held-out photos.
    Best,
}

/// Writes a checkpoint of a run and removes all but the last two. Returns its folder.
///
/// # Errors
/// [`Error::Core`] where it cannot be written.
pub fn save(
    run: &Path,
    position: &Position,
    network: &mut TorchNetwork,
    optimiser: &Optimiser,
    average: Option<&mut Average>,
) -> Result<PathBuf> {
    let folder = run.join(CHECKPOINTS).join(format!("{:010}", position.steps_done));
    write(&folder, position, network, optimiser, average)?;
    let all = list(run)?;
    for old in all.iter().rev().skip(N_KEPT) {
        std::fs::remove_dir_all(old).map_err(sketchfind_core::Error::io("remove", old))?;
    }
    Ok(folder)
}

/// Writes the best checkpoint of a run in place of the one before.
///
/// # Errors
/// [`Error::Core`] where it cannot be written.
pub fn save_best(
    run: &Path,
    position: &Position,
    network: &mut TorchNetwork,
    optimiser: &Optimiser,
    average: Option<&mut Average>,
) -> Result<()> {
    write(&run.join(BEST), position, network, optimiser, average)
}

fn write(
    folder: &Path,
    position: &Position,
    network: &mut TorchNetwork,
    optimiser: &Optimiser,
    average: Option<&mut Average>,
) -> Result<()> {
    let mut state = BTreeMap::new();
    for (name, tensor) in optimiser.state() {
        state.insert(name, to_weight(tensor)?);
    }
    let weights = match average {
        None => network.weights()?,
        // What is evaluated is the average; training goes on from the last weights, which stand beside the optimiser.
        Some(average) => {
            for (index, tensor) in network.trained().iter().enumerate() {
                state.insert(last(index), to_weight(tensor)?);
            }
            average.exchange(network)?;
            let weights = network.weights();
            average.exchange(network)?;
            weights?
        }
    };
    atomic::write_folder(folder, |new| {
        weights.save(&new.join(WEIGHTS))?;
        Weights::new(state).save(&new.join(OPTIMISER))?;
        let state = State {
            format: FORMAT,
            position: *position,
            weights_sha256: fingerprint::of_file(&new.join(WEIGHTS))?,
            optimiser_sha256: fingerprint::of_file(&new.join(OPTIMISER))?,
            n_updates: optimiser.n_updates(),
        };
        let text = serde_json::to_string_pretty(&state).map_err(|e| Error::run(folder, e))?;
        Ok(atomic::write_bytes(&new.join(STATE), text.as_bytes())?)
    })
}

/// Where a checkpoint of a run stands, and its weights' SHA-256; nothing where there is none.
///
/// # Errors
/// [`Error::Core`], [`Error::Run`].
pub fn position(run: &Path, which: Which) -> Result<Option<(Position, String)>> {
    let Some(folder) = folder_of(run, which)? else {
        return Ok(None);
    };
    let state = State::load(&folder)?;
    Ok(Some((state.position, state.weights_sha256)))
}

fn folder_of(run: &Path, which: Which) -> Result<Option<PathBuf>> {
    Ok(match which {
        Which::Last => list(run)?.pop(),
        Which::Best => Some(run.join(BEST)).filter(|folder| folder.is_dir()),
    })
}

impl State {
    fn load(folder: &Path) -> Result<State> {
        let path = folder.join(STATE);
        let text = std::fs::read_to_string(&path).map_err(sketchfind_core::Error::io("read", &path))?;
        let state: State =
            serde_json::from_str(&text).map_err(|e| Error::run(&path, format!("not a checkpoint: {e}")))?;
        if state.format == FORMAT {
            return Ok(state);
        }
        let reason = format!("its format is {}, this version reads {FORMAT}", state.format);
        Err(Error::run(&path, reason))
    }
}

/// Reads a checkpoint of a run; nothing where there is none yet. A damaged newest checkpoint is an error that names
/// it, and not passed over: going back is the user's choice.
///
/// # Errors
/// [`Error::Core`], [`Error::Models`], [`Error::Run`].
pub fn load(run: &Path, which: Which) -> Result<Option<Checkpoint>> {
    let Some(folder) = folder_of(run, which)? else {
        return Ok(None);
    };
    let state = State::load(&folder)?;
    for (file, expected) in [(WEIGHTS, &state.weights_sha256), (OPTIMISER, &state.optimiser_sha256)] {
        let path = folder.join(file);
        let sha256 = fingerprint::of_file(&path)?;
        if sha256 != *expected {
            let reason = format!(
                "damaged: its sha256 is {sha256}, expected {expected}; remove '{}' to go on from the checkpoint \
                 before it",
                folder.display()
            );
            return Err(Error::run(&path, reason));
        }
    }
    Ok(Some(Checkpoint {
        position: state.position,
        weights: Weights::load(&folder.join(WEIGHTS))?,
        optimiser: Weights::load(&folder.join(OPTIMISER))?,
        n_updates: state.n_updates,
    }))
}

impl Checkpoint {
    /// Puts the optimiser's state back, and where there is an average, which the network was made with, the last weights.
    ///
    /// # Errors
    /// [`Error::Optimiser`] where the state does not fit; [`Error::Torch`].
    pub fn restore(
        &self,
        network: &mut TorchNetwork,
        optimiser: &mut Optimiser,
        average: Option<&mut Average>,
    ) -> Result<()> {
        let get = |name: &str| {
            let Some(tensor) = self.optimiser.get(name) else {
                return Ok(None);
            };
            let shape: Vec<i64> = tensor.shape.iter().map(|&size| size as i64).collect();
            Ok(Some(Tensor::f_from_slice(&tensor.values)?.f_reshape(shape)?))
        };
        optimiser.restore(self.n_updates, get)?;
        if average.is_none() {
            return Ok(());
        }
        for (index, own) in network.trained_mut().iter_mut().enumerate() {
            let name = last(index);
            let stored = get(&name)?.ok_or(Error::Optimiser { name })?;
            tch::no_grad(|| own.f_copy_(&stored))?;
        }
        Ok(())
    }
}

/// The name of a trained tensor's last value, by its place.
fn last(index: usize) -> String {
    format!("{index:05}.last")
}

/// The folders of a run's checkpoints, oldest first.
fn list(run: &Path) -> Result<Vec<PathBuf>> {
    let folder = run.join(CHECKPOINTS);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(sketchfind_core::Error::io("read", &folder))? {
        let path = entry.map_err(sketchfind_core::Error::io("read", &folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
