//! The general model that comes with this program: beside it, or inside of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use etcetera::{BaseStrategy, choose_base_strategy};
use sketchfind_core::card::{CARD, Card};
use sketchfind_core::{Error, atomic, fingerprint};

use crate::progress::say;

include!(concat!(env!("OUT_DIR"), "/general_model.rs"));

/// The model that is named, or else the general one, which is said.
pub(crate) fn named_or_general(model: Option<&Path>) -> Result<PathBuf> {
    match model {
        Some(model) => Ok(model.to_owned()),
        None => {
            let model = model_of_program()?;
            say(&format!(
                "model: '{}', the general one that comes with this program",
                Card::load(&model)?.name
            ));
            Ok(model)
        }
    }
}

/// The general model's folder.
fn model_of_program() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    // As a folder with the program, `bin`, `lib` and `share`, has it.
    let beside = program.parent().map(|bin| bin.join("../share/sketchfind/model"));
    if let Some(beside) = beside.filter(|beside| beside.join(CARD).is_file()) {
        return Ok(beside);
    }
    let Some((_, card)) = FILES.iter().find(|(name, _)| *name == CARD) else {
        bail!("this program was built without the general model; --model names one");
    };
    // ONNX Runtime reads a model from a file, and a gallery takes its files along.
    let folder = cache()?.join("models").join(&fingerprint::of_bytes(card)[..32]);
    if Card::load_with_model(&folder).is_err() {
        write(&folder)?;
    }
    Ok(folder)
}

/// Writes the model that is inside of this program, whole or not at all.
fn write(folder: &Path) -> Result<()> {
    atomic::write_folder(folder, |new| -> sketchfind_core::Result<()> {
        for (name, bytes) in FILES {
            let path = new.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
            }
            std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The folder for what can be made anew.
pub(crate) fn cache() -> Result<PathBuf> {
    let folders =
        choose_base_strategy().context("there is no folder for caches: set HOME, or XDG_CACHE_HOME")?;
    Ok(folders.cache_dir().join("sketchfind"))
}
