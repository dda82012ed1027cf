//! QMUL-Shoe-V1, Chair-V1 and Handbag as folders: `train` and `test`, each with `images` and `sketches` whose files are
//! called by the same numbers, and `annotation/*_annotation.json` with what people said.

use std::path::{Path, PathBuf};

use sketchfind_core::dataset::{Modality, Split};

use super::{Layout, Options, broken, children, folder, found, images, name_of, photo};
use crate::found::{Entry, Found, HumanTriplet, Source};
use crate::{Error, Result};

const SPLITS: [Split; 2] = [Split::Train, Split::Test];

pub(super) fn is_in(dir: &Path) -> bool {
    SPLITS.iter().all(|split| parts(dir, *split).is_some())
}

/// The folders of a split's photos and sketches.
fn parts(dir: &Path, split: Split) -> Option<(PathBuf, PathBuf)> {
    let of_split = folder(dir, &[split.name()])?;
    Some((folder(&of_split, &["images"])?, folder(&of_split, &["sketches"])?))
}

pub(super) fn read(dir: &Path, options: &Options) -> Result<Found> {
    let (mut entries, mut triplets) = (Vec::new(), Vec::new());
    let annotation = annotation(dir)?;
    for split in SPLITS {
        let Some((photo_dir, sketch_dir)) = parts(dir, split) else {
            return Err(broken(dir, format!("expected {}", Layout::QmulV1.describe())));
        };
        let (photos, sketches) = (images(&photo_dir)?, images(&sketch_dir)?);
        for (one, other, what) in [(&photos, &sketches, "sketch"), (&sketches, &photos, "photo")] {
            if let Some(name) = one.keys().find(|name| !other.contains_key(*name)) {
                let reason = format!("'{name}' in the {split} split has no {what} of the same name");
                return Err(broken(dir, reason));
            }
        }
        // The annotation counts files from 0 in the order of their numbers.
        let mut names: Vec<String> = photos.keys().cloned().collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        if let Some((path, annotation)) = &annotation {
            triplets.extend(human_triplets(path, annotation, split, &names)?);
        }
        for (name, path) in photos {
            entries.push(photo(name, split, Source::File(path)));
        }
        for (name, path) in sketches {
            let instance = name.clone();
            entries.push(Entry {
                name,
                modality: Modality::Sketch,
                instance,
                split,
                source: Source::File(path),
            });
        }
    }
    if let Some(pair) = entries.iter().find(|entry| {
        entry.split == Split::Test
            && entries.iter().any(|other| other.split == Split::Train && other.name == entry.name)
    }) {
        return Err(broken(dir, format!("'{}' is in both splits", pair.name)));
    }
    Ok(Found { triplets, ..found(Layout::QmulV1, entries, options) })
}

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
