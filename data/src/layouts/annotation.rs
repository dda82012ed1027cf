//! What people said of QMUL's V1 sets, in `annotation/*_annotation.json`.

use std::path::{Path, PathBuf};

use sketchfind_core::dataset::Split;

use super::broken;
use super::files::{children, folder, name_of};
use crate::found::HumanTriplet;
use crate::{Error, Result};

/// The annotation's file and content, if there is one.
pub(super) fn annotation(dir: &Path) -> Result<Option<(PathBuf, serde_json::Value)>> {
    let Some(folder) = folder(dir, &["annotation"]) else {
        return Ok(None);
    };
    let mut files: Vec<PathBuf> = children(&folder)?;
    files.retain(|path| name_of(path).to_ascii_lowercase().ends_with("_annotation.json"));
    match &files[..] {
        [] => Ok(None),
        [path] => {
            let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            let json = serde_json::from_str(&text).map_err(|e| Error::malformed(path, e.to_string()))?;
            Ok(Some((path.clone(), json)))
        }
        _ => Err(broken(&folder, format!("it holds {} annotations, expected one", files.len()))),
    }
}

/// What people said in one split: for each sketch pairs of photos, the one that looks more like it first, all counted
/// from 0 within the split.
pub(super) fn human_triplets(
    path: &Path,
    annotation: &serde_json::Value,
    split: Split,
    names: &[String],
) -> Result<Vec<HumanTriplet>> {
    let malformed = |what: String| Error::malformed(path, format!("{split}.triplets: {what}"));
    let Some(of_sketches) = annotation.get(split.name()).and_then(|part| part.get("triplets")) else {
        return Ok(Vec::new());
    };
    let pairs: Vec<Vec<[usize; 2]>> =
        serde_json::from_value(of_sketches.clone()).map_err(|e| malformed(e.to_string()))?;
    if pairs.len() != names.len() {
        return Err(malformed(format!("it is of {} sketches, expected {}", pairs.len(), names.len())));
    }
    let mut triplets = Vec::new();
    for (sketch, pairs) in pairs.iter().enumerate() {
        for pair in pairs {
            let name = |index: usize| {
                names.get(index).cloned().ok_or_else(|| {
                    malformed(format!("sketch {sketch} names photo {index}, there are {}", names.len()))
                })
            };
            triplets.push(HumanTriplet {
                split,
                sketch: name(sketch)?,
                nearer: name(pair[0])?,
                farther: name(pair[1])?,
            });
        }
    }
    Ok(triplets)
}
