//! What `--photos` names: a folder of images, or a data set's photos.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind::BrokenImage;
use sketchfind_core::Error;
use sketchfind_core::dataset::{Dataset, MANIFEST, Split};
use sketchfind_core::photo_files::{Exclude, PhotoFiles};

use crate::progress::warn;

/// Photos by their ids.
pub(crate) struct Photos {
    /// Ids and files.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// The labels that a manifest's further columns give its photos, by id.
    pub(crate) labels: BTreeMap<String, Vec<String>>,
    /// The products that a manifest gives them.
    pub(crate) products: BTreeMap<String, String>,
    /// What looks like photos and cannot be read.
    pub(crate) left_out: Vec<BrokenImage>,
    /// The ids of folders among these: below them there may be photos that nobody has seen.
    pub(crate) unseen: Vec<String>,
}

/// What a look at a folder has seen, whether it can be read or not.
pub(crate) struct There<'a> {
    ids: BTreeSet<&'a str>,
    /// Folders that nobody could look into.
    unseen: Vec<&'a str>,
}

impl<'a> There<'a> {
    /// What has these ids, with folders of these ids that nobody could look into.
    pub(crate) fn new(
        ids: impl Iterator<Item = &'a str>,
        unseen: impl Iterator<Item = &'a str>,
    ) -> There<'a> {
        There { ids: ids.collect(), unseen: unseen.collect() }
    }

    /// Whether `id` is not there any more. What may lie where nobody could look is not gone.
    pub(crate) fn lacks(&self, id: &str) -> bool {
        let is_below = |folder: &&str| id.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
        !self.ids.contains(id) && !self.unseen.iter().any(is_below)
    }
}

/// Lines about one matter, before the rest is a number.
const MOST_LINES: usize = 20;

/// Says the first lines of a list that may be long.
pub(crate) fn say_first(lines: impl ExactSizeIterator<Item = String>) {
    let n = lines.len();
    lines.take(MOST_LINES).for_each(|line| warn(&line));
    if n > MOST_LINES {
        warn(&format!("and {} more", n - MOST_LINES));
    }
}

/// The photos below a folder, or a manifest's photos. A folder is read as a folder even where a manifest lies in it: a data
/// set is asked for by its manifest. `exclude` is for folders.
pub(crate) fn look(photos: &Path, split: Option<Split>, exclude: &[String]) -> Result<Photos> {
    if !photos.is_dir() {
        if !exclude.is_empty() {
            return Err(Error::malformed(photos, "--exclude needs a folder, this is none").into());
        }
        let dataset = Dataset::load(photos)?;
        let wanted = dataset.photos().iter().filter(|photo| split.is_none_or(|split| photo.split == split));
        let (mut files, mut labels, mut products) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for photo in wanted {
            files.push((photo.id.clone(), photo.path.clone()));
            labels.insert(photo.id.clone(), photo.labels.clone());
            products.extend(photo.product.clone().map(|product| (photo.id.clone(), product)));
        }
        return Ok(Photos { files, labels, products, left_out: Vec::new(), unseen: Vec::new() });
    }
    if split.is_some() {
        let reason = "--split needs a data set's manifest, this is a folder of images";
        return Err(Error::malformed(photos, reason).into());
    }
    let found = PhotoFiles::below(photos, &Exclude::new(exclude)?)?;
    say_first(found.passed_over.iter().map(|what| format!("passed over: {what}")));
    if photos.join(MANIFEST).is_file() {
        warn(&format!(
            "warning: '{}' is a data set, of which every image is taken, sketches too; for its photos alone, name its \
             manifest.csv",
            photos.display()
        ));
    }
    let unseen =
        found.left_out.iter().filter(|left_out| left_out.is_folder).map(|left_out| left_out.id.clone());
    Ok(Photos {
        labels: BTreeMap::new(),
        products: BTreeMap::new(),
        unseen: unseen.collect(),
        files: found.photos.into_iter().map(|photo| (photo.id, photos.join(photo.path))).collect(),
        left_out: found
            .left_out
            .into_iter()
            .map(|file| BrokenImage { id: file.id, path: photos.join(file.path), reason: file.reason })
            .collect(),
    })
}

/// The photos, if there is one at least and all can be read.
pub(crate) fn photos_of(photos: &Path, split: Option<Split>) -> Result<Vec<(String, PathBuf)>> {
    let found = look(photos, split, &[])?;
    refuse_none(photos, found.files.len() + found.left_out.len())?;
    refuse_left_out(photos, &found.left_out)?;
    Ok(found.files)
}

/// Refuses a folder without photos.
pub(crate) fn refuse_none(photos: &Path, n_found: usize) -> Result<()> {
    if n_found == 0 {
        let reason = "no image (JPEG, PNG, WebP, GIF, BMP, TIFF) lies below it";
        return Err(Error::malformed(photos, reason).into());
    }
    Ok(())
}

/// Refuses what cannot be read, by name.
pub(crate) fn refuse_left_out(photos: &Path, left_out: &[BrokenImage]) -> Result<()> {
    let Some(first) = left_out.first() else {
        return Ok(());
    };
    say_first(
        left_out.iter().map(|broken| format!("cannot be read: {}: {}", broken.path.display(), broken.reason)),
    );
    let reason = match left_out.len() {
        1 => format!("'{}' in it cannot be read: {}", first.id, first.reason),
        n => format!(
            "{n} files and folders in it cannot be read; the first is '{}': {}",
            first.id, first.reason
        ),
    };
    Err(Error::malformed(photos, reason).into())
}
