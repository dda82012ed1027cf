//! The pictures of a split in memory, decoded once for all runs that are evaluated on it.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::image::Preprocess;

use crate::Result;
use crate::data::decode;
use crate::picture::Picture;

/// Photos and sketches of a split, resized.
pub(super) struct SplitPictures {
    /// How they were resized.
    pub(super) preprocess: Preprocess,
    pub(super) photos: Vec<Picture>,
    pub(super) sketches: Vec<Picture>,
}

impl SplitPictures {
    pub(super) fn decode(
        dataset: &Dataset,
        split: Split,
        preprocess: &Preprocess,
        interrupted: &AtomicBool,
    ) -> Result<SplitPictures> {
        let decode = |files: Vec<(&String, &PathBuf)>| {
            decode(dataset.manifest(), &files, preprocess, &|_, _| {}, interrupted)
        };
        Ok(SplitPictures {
            preprocess: preprocess.clone(),
            photos: decode(dataset.photos_in(split).map(|photo| (&photo.id, &photo.path)).collect())?,
            sketches: decode(dataset.sketches_in(split).map(|sketch| (&sketch.id, &sketch.path)).collect())?,
        })
    }

    /// The memory that their pixels take.
    pub(super) fn n_bytes(&self) -> u64 {
        let pictures = self.photos.iter().chain(&self.sketches);
        pictures.map(|picture| picture.image.pixels().len() as u64).sum()
    }
}
