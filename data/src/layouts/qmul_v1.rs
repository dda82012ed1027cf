//! QMUL-Shoe-V1, Chair-V1 and Handbag as folders: `train` and `test`, each with `images` and `sketches` whose files are
//! called by the same numbers, and `annotation/*_annotation.json` with what people said.

use std::path::{Path, PathBuf};

use sketchfind_core::dataset::{Modality, Split};

use super::annotation::{annotation, human_triplets};
use super::files::{folder, images};
use super::pairs::photo;
use super::{Layout, Options, broken, found};
use crate::Result;
use crate::found::{Entry, Found, Source};

const SPLITS: [Split; 2] = [Split::Train, Split::Test];

impl Layout {
    /// QMUL-Shoe-V1, Chair-V1, Handbag as folders: `train` and `test`, each with `images` and `sketches`.
    pub const QMUL_V1: Layout = Layout {
        name: "qmul-v1",
        holds: "folders 'train' and 'test', each with 'images' and 'sketches'",
        version: Some("V1"),
        is_in,
        read,
    };
}

fn is_in(dir: &Path) -> Result<bool> {
    Ok(SPLITS.iter().all(|split| parts(dir, *split).is_some()))
}

/// The folders of a split's photos and sketches.
fn parts(dir: &Path, split: Split) -> Option<(PathBuf, PathBuf)> {
    let of_split = folder(dir, &[split.name()])?;
    Some((folder(&of_split, &["images"])?, folder(&of_split, &["sketches"])?))
}

fn read(dir: &Path, options: &Options) -> Result<Found> {
    let (mut entries, mut triplets) = (Vec::new(), Vec::new());
    let annotation = annotation(dir)?;
    for split in SPLITS {
        let Some((photo_dir, sketch_dir)) = parts(dir, split) else {
            return Err(Layout::QMUL_V1.missing(dir));
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
    Ok(Found { triplets, ..found(Layout::QMUL_V1, entries, options) })
}
