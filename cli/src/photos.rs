//! What `--photos` names: a folder of images, or a data set's photos.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind_core::Error;
use sketchfind_core::dataset::{Dataset, MANIFEST, Modality, Split, image_files, read_manifest};

use crate::progress::say;

/// The labels that a manifest's further columns give its photos, by id; none of a folder.
pub(crate) fn labels_of(photos: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    if photos.is_dir() {
        return Ok(BTreeMap::new());
    }
    let rows = read_manifest(photos)?.into_iter().filter(|row| row.modality == Modality::Photo);
    Ok(rows.map(|row| (row.id.clone(), row.labels())).collect())
}

/// Ids and files: all images below a folder, under their relative paths, or a manifest's photos. A folder is read as a
/// folder even where a manifest lies in it: a data set is asked for by its manifest.
pub(crate) fn photos_of(photos: &Path, split: Option<Split>) -> Result<Vec<(String, PathBuf)>> {
    if !photos.is_dir() {
        let dataset = Dataset::load(photos)?;
        let wanted = dataset.photos().iter().filter(|photo| split.is_none_or(|split| photo.split == split));
        return Ok(wanted.map(|photo| (photo.id.clone(), photo.path.clone())).collect());
    }
    if split.is_some() {
        let reason = "--split needs a data set's manifest, this is a folder of images";
        return Err(Error::malformed(photos, reason).into());
    }
    let files = image_files(photos)?;
    if files.is_empty() {
        let reason = "no image file (jpg, jpeg, png, webp, gif, bmp) lies below it";
        return Err(Error::malformed(photos, reason).into());
    }
    if photos.join(MANIFEST).is_file() {
        say(&format!(
            "warning: '{}' is a data set, of which every image is taken, sketches too; for its photos alone, name its \
             manifest.csv",
            photos.display()
        ));
    }
    let id = |file: &Path| file.to_string_lossy().replace('\\', "/");
    Ok(files.iter().map(|file| (id(file), photos.join(file))).collect())
}
