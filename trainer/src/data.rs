//! The training split in memory: decoded once, resized once, kept as 8-bit pixels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::image::{DecodeLimits, Image, Preprocess};
use sketchfind_core::random::Stream;

use crate::config::Config;
use crate::picture::Picture;
use crate::{Error, Result, augment, lines};

/// Photos and the sketches of them.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// Photos, sorted by id.
    pub photos: Vec<Picture>,
    /// Sketches, sorted by id, each with the index of its photo.
    pub sketches: Vec<(Picture, usize)>,
    /// Photos, by index, from which pseudo-sketches are drawn because no sketch is of them.
    pub without_sketch: Vec<usize>,
    /// Photos, by index, that are too small or too flat for lines.
    pub without_lines: BTreeSet<usize>,
}

/// The training split, divided by photo into what is trained on and what is held out.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// What is trained on.
    pub train: Pairs,
    /// What is held out for validation, with all its sketches; may be empty.
    pub held_out: Pairs,
    /// Photos that no lines can be drawn from, and why; no pseudo-sketch of them is trained on.
    pub without_lines: Vec<(String, String)>,
}

impl TrainingData {
    /// Decodes the training split of `dataset`. No image of the test split is decoded. `progress` is told how many of
    /// how many images are done.
    ///
    /// # Errors
    /// [`Error::Data`] where an image is broken (the first ones are named), there are too few photos or sketches,
    /// or the images do not fit the memory that the configuration allows; [`Error::Interrupted`].
    pub fn load(
        dataset: &Dataset,
        config: &Config,
        progress: &(dyn Fn(usize, usize) + Sync),
        interrupted: &AtomicBool,
    ) -> Result<TrainingData> {
        let refuse = |reason: String| Error::Data { path: dataset.manifest().to_owned(), reason };
        let preprocess = config.preprocess()?;
        let photos: Vec<_> = dataset.photos_in(Split::Train).collect();
        let sketches: Vec<_> = dataset.sketches_in(Split::Train).collect();
        let n_images = photos.len() + sketches.len();
        let draws_lines =
            config.pseudo_sketches.is_some() || config.augmentation.is_some_and(|a| a.lines > 0.0);
        // Photos whose lines are drawn keep their opacity besides; any of them may have one.
        let n_planes = photos.len() as u64 * if draws_lines { 4 } else { 3 } + sketches.len() as u64 * 3;
        let n_bytes = n_planes * u64::from(preprocess.resize).pow(2);
        if n_bytes > config.images.memory_mib.saturating_mul(1 << 20) {
            return Err(refuse(format!(
                "its {n_images} training images take {} MiB at {} x {} pixels, images.memory_mib allows {}",
                n_bytes >> 20,
                preprocess.resize,
                preprocess.resize,
                config.images.memory_mib
            )));
        }
        let files: Vec<_> = photos
            .iter()
            .map(|photo| (&photo.id, &photo.path))
            .chain(sketches.iter().map(|sketch| (&sketch.id, &sketch.path)))
            .collect();
        let refusals = Mutex::new(BTreeMap::new());
        let on_decoded = |index: usize, size: (u32, u32), picture: &mut Picture| {
            if !(draws_lines && index < photos.len()) {
                picture.alpha = None;
            } else if let Some(reason) = lines::refusal(size, &picture.image, picture.alpha.as_ref()) {
                refusals.lock().unwrap_or_else(PoisonError::into_inner).insert(index, reason);
            }
        };
        let mut decoded =
            decode_each(dataset.manifest(), &files, &preprocess, progress, interrupted, &on_decoded)?
                .into_iter();
        let refusals = refusals.into_inner().unwrap_or_else(PoisonError::into_inner);
        let photo_pictures: Vec<Picture> = decoded.by_ref().take(photos.len()).collect();
        let photo_ids: Vec<&str> = photos.iter().map(|photo| photo.id.as_str()).collect();
        let sketch_pictures: Vec<(Picture, usize)> = decoded
            .zip(&sketches)
            .filter_map(|(picture, sketch)| {
                let photo = photo_ids.binary_search(&dataset.photo_of(sketch).id.as_str()).ok()?;
                Some((picture, photo))
            })
            .collect();
        let held_out = held_out_photos(photos.len(), config.validation.share, config.seed);
        let mut without_sketch = Vec::new();
        if config.pseudo_sketches.is_some() {
            let mut has_sketch = vec![false; photos.len()];
            sketch_pictures.iter().for_each(|(_, photo)| has_sketch[*photo] = true);
            without_sketch = (0..photos.len())
                .filter(|photo| !has_sketch[*photo] && !refusals.contains_key(photo))
                .collect();
        }
        let flat: BTreeSet<usize> = refusals.keys().copied().collect();
        let without_lines: Vec<(String, String)> =
            refusals.into_iter().map(|(photo, reason)| (photos[photo].id.clone(), reason)).collect();
        let all =
            Pairs { photos: photo_pictures, sketches: sketch_pictures, without_sketch, without_lines: flat };
        let (train, mut held_out) = all.divide(&held_out);
        // Of held-out photos that nobody has drawn, lines that are drawn once are the queries of validation.
        for photo in std::mem::take(&mut held_out.without_sketch) {
            let of = &held_out.photos[photo];
            let mut stream = Stream::new(config.seed, "held-out lines", &[photo as u64]);
            let image = augment::drawn(of, &mut stream)?;
            let id = format!("lines of {}", of.id);
            held_out.sketches.push((Picture { id, image, alpha: None }, photo));
        }
        let (n_photos, n_sketches) = (train.photos.len(), train.sketches.len());
        let n_drawn = train.without_sketch.len();
        if n_photos < 2 || n_sketches + n_drawn == 0 {
            return Err(refuse(match (&config.pseudo_sketches, without_lines.first()) {
                (None, _) => format!(
                    "{n_photos} photos and {n_sketches} sketches are left to train on, expected at least 2 and 1; to \
                     train on photos alone, have the configuration's table [pseudo_sketches]"
                ),
                (Some(_), first) => {
                    let first = first.map(|(id, reason)| format!("; '{id}' is {reason}")).unwrap_or_default();
                    format!(
                        "{n_photos} photos are left to train on, {n_drawn} of them without a sketch and with lines to \
                         draw, expected at least 2 and 1{first}"
                    )
                }
            }));
        }
        let queried: BTreeSet<usize> = train
            .sketches
            .iter()
            .map(|(_, photo)| *photo)
            .chain(train.without_sketch.iter().copied())
            .collect();
        if !config.loss.rule().draws_negatives() && queried.len() < 2 {
            return Err(refuse(
                "all sketches that are left to train on are of one photo; the loss takes its negatives out of the batch, \
                 which needs sketches of two at least"
                    .into(),
            ));
        }
        Ok(TrainingData { train, held_out, without_lines })
    }
}

/// Decodes and resizes images, given with their ids, on all cores. `manifest` names them in an error.
///
/// # Errors
/// [`Error::Data`] where an image is broken; the first ones are named. [`Error::Interrupted`].
pub(crate) fn decode(
    manifest: &Path,
    files: &[(&String, &PathBuf)],
    preprocess: &Preprocess,
    progress: &(dyn Fn(usize, usize) + Sync),
    interrupted: &AtomicBool,
) -> Result<Vec<Picture>> {
    decode_each(manifest, files, preprocess, progress, interrupted, &|_, _, picture| picture.alpha = None)
}

/// What is shown each picture: its index, the size that its file has, and itself.
type OnDecoded<'a> = dyn Fn(usize, (u32, u32), &mut Picture) + Sync + 'a;

/// As [`decode`], with opacity, and shows each picture to `on_decoded`, with its index and the size that its file has.
fn decode_each(
    manifest: &Path,
    files: &[(&String, &PathBuf)],
    preprocess: &Preprocess,
    progress: &(dyn Fn(usize, usize) + Sync),
    interrupted: &AtomicBool,
    on_decoded: &OnDecoded<'_>,
) -> Result<Vec<Picture>> {
    let n_done = AtomicUsize::new(0);
    let one = |index: usize, id: &String, path: &Path| -> sketchfind_core::Result<Picture> {
        let (image, alpha) = Image::open_with_alpha(path, DecodeLimits::default())?;
        let alpha = alpha.map(|alpha| alpha.resized(preprocess)).transpose()?;
        let mut picture = Picture { id: id.clone(), image: preprocess.resized(&image)?, alpha };
        on_decoded(index, (image.width(), image.height()), &mut picture);
        Ok(picture)
    };
    let decoded: Option<Vec<sketchfind_core::Result<Picture>>> = files
        .par_iter()
        .enumerate()
        .map(|(index, (id, path))| {
            if interrupted.load(Ordering::Relaxed) {
                return None;
            }
            let picture = one(index, id, path);
            progress(1 + n_done.fetch_add(1, Ordering::Relaxed), files.len());
            Some(picture)
        })
        .collect();
    let decoded = decoded.ok_or(Error::Interrupted)?;
    let broken: Vec<String> =
        decoded.iter().filter_map(|picture| picture.as_ref().err().map(ToString::to_string)).collect();
    if !broken.is_empty() {
        let shown = broken.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("; ");
        let more = if broken.len() > 5 { "; ..." } else { "" };
        let reason = format!("{} of its images are broken: {shown}{more}", broken.len());
        return Err(Error::Data { path: manifest.to_owned(), reason });
    }
    Ok(decoded.into_iter().flatten().collect())
}

impl Pairs {
    /// The photos that are not held out and those that are, each with their sketches. Pictures move: there is memory
    /// for each only once.
    fn divide(self, is_held_out: &[bool]) -> (Pairs, Pairs) {
        let (mut train, mut held_out) = (Pairs::default(), Pairs::default());
        let mut new_index = Vec::with_capacity(self.photos.len());
        for (photo, &is_held_out) in self.photos.into_iter().zip(is_held_out) {
            let part = if is_held_out { &mut held_out } else { &mut train };
            new_index.push(part.photos.len());
            part.photos.push(photo);
        }
        for (sketch, photo) in self.sketches {
            let part = if is_held_out[photo] { &mut held_out } else { &mut train };
            part.sketches.push((sketch, new_index[photo]));
        }
        for photo in self.without_lines {
            let part = if is_held_out[photo] { &mut held_out } else { &mut train };
            part.without_lines.insert(new_index[photo]);
        }
        for photo in self.without_sketch {
            let part = if is_held_out[photo] { &mut held_out } else { &mut train };
            part.without_sketch.push(new_index[photo]);
        }
        (train, held_out)
    }
}

/// Which of `n_photos` photos are held out: a share, rounded, drawn with the seed.
fn held_out_photos(n_photos: usize, share: f64, seed: u64) -> Vec<bool> {
    let n_held_out = (n_photos as f64 * share).round() as usize;
    let mut order: Vec<usize> = (0..n_photos).collect();
    Stream::new(seed, "held out", &[]).shuffle(&mut order);
    let mut is_held_out = vec![false; n_photos];
    order.iter().take(n_held_out).for_each(|&photo| is_held_out[photo] = true);
    is_held_out
}

/// Writes the centre crops of `pictures` as one tensor's values, as evaluation sees them.
///
/// # Shapes
/// Returns `[n, 3, crop, crop]`.
///
/// # Errors
/// [`Error::Core`] where a picture was resized otherwise.
pub fn centre_crops<'p>(
    pictures: impl ExactSizeIterator<Item = &'p Picture>,
    preprocess: &Preprocess,
) -> Result<Vec<f32>> {
    let mut values = vec![0.0; pictures.len() * preprocess.tensor_len()];
    for (picture, out) in pictures.zip(values.chunks_exact_mut(preprocess.tensor_len())) {
        preprocess.write_tensor(&picture.image, preprocess.centre_crop(), out)?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_held_out_share_is_seeded_and_right() {
        let held_out = held_out_photos(200, 0.1, 1);
        assert_eq!(held_out.iter().filter(|&&held_out| held_out).count(), 20);
        assert_eq!(held_out, held_out_photos(200, 0.1, 1));
        assert_ne!(held_out, held_out_photos(200, 0.1, 2));
        assert!(held_out_photos(200, 0.0, 1).iter().all(|&held_out| !held_out));
    }
}
