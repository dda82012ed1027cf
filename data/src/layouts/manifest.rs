//! A data set that has a manifest already: checked, and its files gathered in one folder.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind_core::dataset::{Dataset, MANIFEST, Modality, Split, read_manifest};

use super::files::file;
use super::pairs::photo;
use super::{Layout, Options, found};
use crate::found::{Entry, Found, HUMAN_TRIPLETS, HumanTriplet, Source};
use crate::{Error, Result};

impl Layout {
    /// A `manifest.csv`.
    pub const MANIFEST: Layout =
        Layout { name: "manifest", holds: "a file 'manifest.csv'", version: None, is_in, read };
}

/// Whether a folder has a manifest, in which case it is no other layout that is named by its folders.
pub(super) fn is_in(dir: &Path) -> Result<bool> {
    Ok(file(dir, MANIFEST).is_some())
}

fn read(dir: &Path, _: &Options) -> Result<Found> {
    let manifest = match file(dir, MANIFEST) {
        Some(manifest) => manifest,
        None if dir.is_dir() => dir.join(MANIFEST),
        None => dir.to_owned(),
    };
    let dataset = Dataset::load(&manifest)?;
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
    // What further columns say comes along, under the ids that the entries get.
    let further = read_manifest(&manifest)?.into_iter().filter(|row| !row.further.is_empty()).map(|row| {
        let folder = match row.modality {
            Modality::Photo => "photo/",
            Modality::Sketch => "sketch/",
        };
        (format!("{folder}{}", name(&row.id, folder)), row.further)
    });
    let further = further.collect();
    let triplets = dataset.manifest().with_file_name(HUMAN_TRIPLETS);
    let triplets = if triplets.is_file() { human_triplets(&triplets, &dataset)? } else { Vec::new() };
    Ok(Found { triplets, further, ..found(Layout::MANIFEST, entries, &Options::default()) })
}

/// What people said, which lies beside the manifest.
fn human_triplets(path: &Path, dataset: &Dataset) -> Result<Vec<HumanTriplet>> {
    let split_of: BTreeMap<&str, Split> =
        dataset.photos().iter().map(|photo| (photo.instance.as_str(), photo.split)).collect();
    let mut reader = csv::Reader::from_path(path).map_err(|e| Error::malformed(path, e.to_string()))?;
    let mut triplets: Vec<HumanTriplet> = Vec::new();
    for (triplet, line) in reader.deserialize().zip(2..) {
        let triplet: HumanTriplet = triplet.map_err(|e| Error::malformed(path, e.to_string()))?;
        for instance in [&triplet.sketch, &triplet.nearer, &triplet.farther] {
            if split_of.get(instance.as_str()) != Some(&triplet.split) {
                let reason = format!("line {line}: the {} split has no instance '{instance}'", triplet.split);
                return Err(Error::malformed(path, reason));
            }
        }
        triplets.push(triplet);
    }
    Ok(triplets)
}
