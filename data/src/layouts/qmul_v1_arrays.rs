//! QMUL-Shoe-V1, Chair-V1 and Handbag as MATLAB arrays: `<set>_sketch_db_<split>.mat` with `data` of `[n, h, w]`, photos
//! as `<set>_image_db_<split>.mat` of `[n, h, w, 3]` or their edge maps as `<set>_edge_db_<split>.mat` of `[n, h, w]`; the
//! i-th sketch is of the i-th photo. Instances are numbered over the training split, then the test split.

use std::path::Path;

use sketchfind_core::dataset::{Modality, Split};
use sketchfind_core::image::Image;

use super::annotation::{annotation, human_triplets};
use super::files::{self, children, name_of};
use super::pairs::photo;
use super::{Layout, Options, broken, found};
use crate::Result;
use crate::found::{Entry, Found, Source};
use crate::mat::ByteArray;

const SKETCHES: &str = "_sketch_db_train.mat";

impl Layout {
    /// [`Layout::QMUL_V1`] as MATLAB arrays: `*_sketch_db_train.mat`, `*_image_db_train.mat`, ...
    pub const QMUL_V1_ARRAYS: Layout = Layout {
        name: "qmul-v1-arrays",
        holds: "files '*_sketch_db_train.mat' and '*_image_db_train.mat' or '*_edge_db_train.mat'",
        version: Some("V1"),
        is_in,
        read,
    };
}

fn is_in(dir: &Path) -> Result<bool> {
    Ok(!sets(dir)?.is_empty())
}

/// The names of sets whose sketches are there.
fn sets(dir: &Path) -> Result<Vec<String>> {
    let files = children(dir)?;
    Ok(files
        .iter()
        .filter_map(|path| {
            let name = name_of(path);
            let is_one = name.to_ascii_lowercase().ends_with(SKETCHES);
            is_one.then(|| name.chars().take(name.chars().count() - SKETCHES.len()).collect())
        })
        .collect())
}

fn read(dir: &Path, options: &Options) -> Result<Found> {
    let set = match &sets(dir)?[..] {
        [set] => set.clone(),
        [] => return Err(Layout::QMUL_V1_ARRAYS.missing(dir)),
        sets => {
            let reason = format!("it holds several sets, {}; expected one in a folder", sets.join(", "));
            return Err(broken(dir, reason));
        }
    };
    let file = |kind: &str, split: Split| {
        let name = format!("{set}_{kind}_db_{split}.mat");
        files::file(dir, &name).unwrap_or_else(|| dir.join(name))
    };
    let has_photos = file("image", Split::Train).is_file();
    let kind = if has_photos && !options.edges { "image" } else { "edge" };
    let mut notes = Vec::new();
    if kind == "edge" {
        notes.push("its photos are edge maps, not colour photos".into());
    }
    let annotation = annotation(dir)?;
    let (mut entries, mut triplets, mut n_before) = (Vec::new(), Vec::new(), 0);
    for split in [Split::Train, Split::Test] {
        let (photos, sketches) = (pictures(&file(kind, split))?, pictures(&file("sketch", split))?);
        if photos.len() != sketches.len() {
            let (n_photos, n_sketches) = (photos.len(), sketches.len());
            let reason =
                format!("the {split} split has {n_photos} photos and {n_sketches} sketches, expected pairs");
            return Err(broken(dir, reason));
        }
        let names: Vec<String> =
            (1..=photos.len()).map(|number| format!("{:03}", n_before + number)).collect();
        n_before += names.len();
        if let Some((path, annotation)) = &annotation {
            triplets.extend(human_triplets(path, annotation, split, &names)?);
        }
        for ((name, picture), sketch) in names.into_iter().zip(photos).zip(sketches) {
            entries.push(photo(name.clone(), split, Source::Pixels(picture)));
            entries.push(Entry {
                instance: name.clone(),
                name,
                modality: Modality::Sketch,
                split,
                source: Source::Pixels(sketch),
            });
        }
    }
    Ok(Found { triplets, notes, ..found(Layout::QMUL_V1_ARRAYS, entries, options) })
}

/// The images of an array `[n, h, w]` of grey or `[n, h, w, 3]` of colour.
fn pictures(path: &Path) -> Result<Vec<Image>> {
    let array = ByteArray::read(path, "data")?;
    let (n, height, width, channels) = match array.shape[..] {
        [n, height, width] => (n, height, width, 1),
        [n, height, width, 3] => (n, height, width, 3),
        _ => {
            let reason =
                format!("the array 'data' has sizes {:?}, expected [n, h, w] or [n, h, w, 3]", array.shape);
            return Err(crate::Error::malformed(path, reason));
        }
    };
    (0..n)
        .map(|image| {
            let mut pixels = Vec::with_capacity(height * width * 3);
            for y in 0..height {
                for x in 0..width {
                    for channel in 0..3 {
                        // The first index runs fastest.
                        let channel = if channels == 3 { channel } else { 0 };
                        pixels.push(array.values[image + n * (y + height * (x + width * channel))]);
                    }
                }
            }
            Image::new(width as u32, height as u32, pixels)
        })
        .collect()
}
