//! Photos with their splits, and sketches with their photos.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sketchfind_core::dataset::{Modality, Split};

use super::broken;
use crate::Result;
use crate::found::{Entry, Naming, Pairing, Source};

/// Photos with the splits of `splits`; one that has none is an error, or left out with a note.
pub(super) fn photos_with(
    dir: &Path,
    images: BTreeMap<String, PathBuf>,
    splits: &BTreeMap<String, Split>,
    leave_out: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Entry>> {
    if let Some(name) = splits.keys().find(|name| !images.contains_key(*name)) {
        return Err(broken(dir, format!("the photo '{name}' of its lists is missing")));
    }
    let (mut photos, mut left_out) = (Vec::new(), Vec::new());
    for (name, path) in images {
        match splits.get(&name) {
            Some(split) => photos.push(photo(name, *split, Source::File(path))),
            None if leave_out => left_out.push(name),
            None => {
                let reason =
                    format!("the photo '{name}' is in neither split's list (--leave-out leaves such out)");
                return Err(broken(dir, reason));
            }
        }
    }
    if let Some(first) = left_out.first() {
        notes.push(format!("{} photos in neither list are left out, such as '{first}'", left_out.len()));
    }
    Ok(photos)
}

/// A photo that is an instance of its own.
pub(super) fn photo(name: String, split: Split, source: Source) -> Entry {
    Entry { instance: name.clone(), name, modality: Modality::Photo, split, source }
}

/// Adds sketches to photos by name. Where `leave_out` is set, one that has no photo is noted and left out.
pub(super) fn pair(
    dir: &Path,
    photos: Vec<Entry>,
    sketches: impl IntoIterator<Item = (String, Source)>,
    naming: Naming,
    leave_out: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Entry>> {
    let pairing = Pairing::new(&photos, naming);
    let (mut entries, mut left_out) = (Vec::new(), Vec::new());
    for (name, source) in sketches {
        match pairing.find(&name) {
            Ok((instance, split)) => {
                entries.push(Entry { name, modality: Modality::Sketch, instance, split, source });
            }
            Err(reason) if leave_out => left_out.push(reason),
            Err(reason) => return Err(broken(dir, reason)),
        }
    }
    if let Some(first) = left_out.first() {
        notes.push(format!("{} sketches are left out, such as: {first}", left_out.len()));
    }
    let mut all = photos;
    all.extend(entries);
    Ok(all)
}

/// The sources of sketches that are files.
pub(super) fn of_files(images: BTreeMap<String, PathBuf>) -> impl Iterator<Item = (String, Source)> {
    images.into_iter().map(|(name, path)| (name, Source::File(path)))
}
