//! Checkpoints of `sketchfind-train` as a source of weights: a folder with `state.json` and `weights.safetensors`, or a
//! run's folder, in which they lie under `checkpoints/<steps>`.

use std::path::{Path, PathBuf};

use crate::Result;

/// The weights of the checkpoint in `folder`, or of the newest one of the run in `folder`; nothing where it is neither.
pub(super) fn file_in(folder: &Path) -> Result<Option<PathBuf>> {
    if let Some(file) = weights_in(folder) {
        return Ok(Some(file));
    }
    let checkpoints = folder.join("checkpoints");
    if !folder.join("run.json").is_file() || !checkpoints.is_dir() {
        return Ok(None);
    }
    let mut newest: Option<(u64, PathBuf)> = None;
    let unreadable = sketchfind_core::Error::io("read", &checkpoints);
    let entries = std::fs::read_dir(&checkpoints).map_err(unreadable)?;
    for entry in entries {
        let path = entry.map_err(sketchfind_core::Error::io("read", &checkpoints))?.path();
        let steps = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        if let (Some(steps), Some(file)) = (steps, weights_in(&path))
            && newest.as_ref().is_none_or(|(most, _)| steps > *most)
        {
            newest = Some((steps, file));
        }
    }
    Ok(newest.map(|(_, file)| file))
}

fn weights_in(checkpoint: &Path) -> Option<PathBuf> {
    let file = checkpoint.join("weights.safetensors");
    (checkpoint.join("state.json").is_file() && file.is_file()).then_some(file)
}
