//! A data set that has a manifest already: checked, and its files gathered in one folder.

use std::path::Path;

use sketchfind_core::dataset::{Dataset, MANIFEST, Modality};

use super::{Layout, Options, found, photo};
use crate::Result;
use crate::found::{Entry, Found, Source};

pub(super) fn read(dir: &Path) -> Result<Found> {
    let dataset = Dataset::load(&if dir.is_dir() { dir.join(MANIFEST) } else { dir.to_owned() })?;
    // Ids may begin with the folder that they get here.
    let name = |id: &str, folder: &str| id.strip_prefix(folder).unwrap_or(id).to_owned();
    let mut entries: Vec<Entry> = dataset
        .photos()
        .iter()
        .map(|p| Entry {
            instance: p.instance.clone(),
            ..photo(name(&p.id, "photo/"), p.split, Source::File(p.path.clone()))
        })
        .collect();
    entries.extend(dataset.sketches().iter().map(|sketch| {
        let photo = dataset.photo_of(sketch);
        Entry {
            name: name(&sketch.id, "sketch/"),
            modality: Modality::Sketch,
            instance: photo.instance.clone(),
            split: photo.split,
            source: Source::File(sketch.path.clone()),
        }
    }));
    Ok(found(Layout::Manifest, entries, &Options::default()))
}
