//! Data sets: photos, and the sketches that were drawn from them.
//!
//! A data set is a folder with a `manifest.csv`, whose columns are `id,modality,instance,split,path`:
//!
//! | column | meaning |
//! | --- | --- |
//! | `id` | unique name of the image |
//! | `modality` | `photo` or `sketch` |
//! | `instance` | the object; a sketch depicts the photo of the same instance |
//! | `split` | `train` or `test` |
//! | `path` | the image file, relative to the manifest's folder |
//! | `product` | may be missing: what several photos may show, for a gallery and for evaluation by product |
//! | any other | a label of the image, `column=value`; of a column called `label` the value alone; none where it is empty |
//!
//! The laws that a [`Dataset`] has passed: ids are unique; an instance has exactly one photo and any number of
//! sketches, all in the photo's split (so the splits are disjoint by photo); every file is there. Nothing is paired
//! by guesswork; instances and paths are the same in every form of Unicode. Photos and sketches are sorted by id.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::image::{DecodeLimits, Image};
use crate::photo_files::{Exclude, PhotoFiles, id_of};
use crate::unicode::nfc;
use crate::work::{Cancel, Progress};
use crate::{Error, Result};

mod files;
mod manifest;

use files::Files;
pub use manifest::{ManifestRow, read_manifest, write_manifest};

/// The name of the manifest in a data set's folder.
pub const MANIFEST: &str = "manifest.csv";

/// Whether an image is a photo or a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// A photo: what a gallery holds.
    Photo,
    /// A sketch: what a query is.
    Sketch,
}

impl Modality {
    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Modality::Photo => "photo",
            Modality::Sketch => "sketch",
        }
    }
}

/// The part of a data set that an instance belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training; a part of it is held out for validation by the trainer.
    Train,
    /// For evaluation only.
    Test,
}

impl Split {
    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Split> {
        match text {
            "train" => Ok(Split::Train),
            "test" => Ok(Split::Test),
            other => Err(Error::OutOfRange {
                what: "split",
                value: format!("'{other}'"),
                expected: "'train' or 'test'".into(),
            }),
        }
    }
}

/// A photo of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    /// Unique name.
    pub id: String,
    /// The object.
    pub instance: String,
    /// The part of the data set.
    pub split: Split,
    /// The file, as it can be opened from here.
    pub path: PathBuf,
    /// What the manifest's further columns say of it ([`ManifestRow::labels`]).
    pub labels: Vec<String>,
    /// The product that it shows, where the manifest says so ([`ManifestRow::product`]).
    pub product: Option<String>,
}

/// A sketch of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    /// Unique name.
    pub id: String,
    /// The file, as it can be opened from here.
    pub path: PathBuf,
    /// Its photo, as an index into [`Dataset::photos`].
    pub photo: usize,
}

/// A data set that was looked through, whatever is wrong with it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The photos and sketches that keep the laws by themselves.
    pub sound: Dataset,
    /// Every law that is broken, and by which entry or line; where there is none, all that the manifest has is sound.
    pub faults: Vec<String>,
}

/// Photos and the sketches drawn from them; see the module for the laws it has passed.
#[derive(Clone, Debug)]
pub struct Dataset {
    manifest: PathBuf,
    photos: Vec<Photo>,
    sketches: Vec<Sketch>,
}

impl Dataset {
    /// Reads a data set: `path` is its folder or its manifest. Image files are looked for, not decoded.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no manifest; [`Error::Malformed`] with the line that cannot be read;
    /// [`Error::Dataset`] with the entry that breaks a law.
    pub fn load(path: &Path) -> Result<Dataset> {
        let manifest = manifest_of(path);
        let rows = read_manifest(&manifest)?;
        Dataset::from_rows(&manifest, rows)
    }

    /// As [`Dataset::load`], but goes on at a fault, and returns them all.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no manifest; [`Error::Malformed`] where its first line is not a manifest's.
    pub fn check(path: &Path) -> Result<Checked> {
        let manifest = manifest_of(path);
        let (rows, faults) = manifest::read_rows(&manifest)?;
        let mut checked = checked(&manifest, rows);
        checked.faults.splice(0..0, faults);
        Ok(checked)
    }

    fn from_rows(manifest: &Path, rows: Vec<ManifestRow>) -> Result<Dataset> {
        let Checked { sound, faults } = checked(manifest, rows);
        let Some(first) = faults.first() else {
            return Ok(sound);
        };
        let more = match faults.len() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more faults)"),
        };
        Err(Error::Dataset { path: manifest.to_owned(), reason: format!("{first}{more}") })
    }

    /// The photos in a folder and the folders below it ([`image_files`]), without any sketch, all in the training split.
    /// Ids and instances are `photo/` and the id in the folder; the manifest is the folder.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be read; [`Error::Dataset`] where there is no photo, or one cannot be read.
    pub fn of_photos(folder: &Path) -> Result<Dataset> {
        let files = image_files(folder)?;
        if files.is_empty() {
            let reason =
                "it holds no image: no file in it or below is a JPEG, PNG, WebP, GIF, BMP or TIFF".into();
            return Err(Error::Dataset { path: folder.to_owned(), reason });
        }
        let rows = files.into_iter().map(|path| {
            let id = format!("photo/{}", id_of(&path));
            let (modality, split) = (Modality::Photo, Split::Train);
            ManifestRow { instance: id.clone(), id, modality, split, path, further: Vec::new() }
        });
        let mut dataset = Dataset::from_rows(&folder.join(MANIFEST), rows.collect())?;
        dataset.manifest = folder.to_owned();
        Ok(dataset)
    }

    /// This data set with the images of another besides. The manifest stays this one's.
    ///
    /// # Errors
    /// [`Error::Dataset`] where an id is in both.
    pub fn with(mut self, other: Dataset) -> Result<Dataset> {
        let sketches: Vec<(Sketch, String)> = self
            .sketches
            .iter()
            .map(|sketch| (sketch.clone(), self.photos[sketch.photo].id.clone()))
            .chain(other.sketches.iter().map(|sketch| (sketch.clone(), other.photo_of(sketch).id.clone())))
            .collect();
        self.photos.extend(other.photos);
        self.photos.sort_by(|a, b| a.id.cmp(&b.id));
        let ids =
            self.photos.iter().map(|photo| &photo.id).chain(sketches.iter().map(|(sketch, _)| &sketch.id));
        let mut seen = std::collections::BTreeSet::new();
        if let Some(id) = ids.into_iter().find(|id| !seen.insert(*id)) {
            let reason = format!("the id '{id}' is in '{}' too", other.manifest.display());
            return Err(Error::Dataset { path: self.manifest, reason });
        }
        let photos = &self.photos;
        let place = |id: &str| photos.binary_search_by(|photo| photo.id.as_str().cmp(id)).unwrap_or_default();
        self.sketches =
            sketches.iter().map(|(sketch, id)| Sketch { photo: place(id), ..sketch.clone() }).collect();
        self.sketches.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(self)
    }

    /// The manifest's path.
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// All photos, sorted by id.
    pub fn photos(&self) -> &[Photo] {
        &self.photos
    }

    /// All sketches, sorted by id.
    pub fn sketches(&self) -> &[Sketch] {
        &self.sketches
    }

    /// The photo that a sketch depicts.
    pub fn photo_of(&self, sketch: &Sketch) -> &Photo {
        &self.photos[sketch.photo]
    }

    /// The photos of one split, sorted by id.
    pub fn photos_in(&self, split: Split) -> impl Iterator<Item = &Photo> {
        self.photos.iter().filter(move |photo| photo.split == split)
    }

    /// The sketches of one split, sorted by id.
    pub fn sketches_in(&self, split: Split) -> impl Iterator<Item = &Sketch> {
        self.sketches.iter().filter(move |sketch| self.photos[sketch.photo].split == split)
    }

    /// Decodes every image, on all cores, and returns those that are broken, photos first, each sorted by id.
    /// `progress` is told how many images are done; `cancel` is asked before each and ends the check early.
    pub fn check_images(
        &self,
        limits: DecodeLimits,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Vec<BrokenFile> {
        let photos = self.photos.iter().map(|photo| (&photo.id, &photo.path));
        let files: Vec<(&String, &PathBuf)> =
            photos.chain(self.sketches.iter().map(|sketch| (&sketch.id, &sketch.path))).collect();
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, n_done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let broken = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..n_threads {
                scope.spawn(|| {
                    while let Some(&(id, path)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if cancel.is_cancelled() {
                            return;
                        }
                        if let Err(error) = Image::open(path, limits) {
                            let file =
                                BrokenFile { id: id.clone(), path: path.clone(), reason: error.to_string() };
                            broken.lock().unwrap_or_else(PoisonError::into_inner).push(file);
                        }
                        progress.tell(1 + n_done.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
        let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
        broken.sort_by(|a, b| a.id.cmp(&b.id));
        broken
    }

    /// What the data set holds, in numbers.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        let of_split = |split| {
            let mut per_photo = vec![0_usize; self.photos.len()];
            self.sketches.iter().for_each(|sketch| per_photo[sketch.photo] += 1);
            let counts: Vec<usize> = (0..self.photos.len())
                .filter(|&photo| self.photos[photo].split == split)
                .map(|photo| per_photo[photo])
                .collect();
            SplitStats {
                split,
                n_photos: counts.len(),
                n_sketches: counts.iter().sum(),
                n_photos_without_sketch: counts.iter().filter(|&&count| count == 0).count(),
                max_sketches_per_photo: counts.iter().copied().max().unwrap_or(0),
            }
        };
        let mut by_content: BTreeMap<String, Vec<&Photo>> = BTreeMap::new();
        for photo in &self.photos {
            by_content.entry(crate::fingerprint::of_file(&photo.path)?).or_default().push(photo);
        }
        let same_photos = by_content
            .into_values()
            .filter(|photos| photos.len() > 1)
            .map(|photos| SamePhotos {
                ids: photos.iter().map(|photo| photo.id.clone()).collect(),
                is_across_splits: photos.iter().any(|photo| photo.split != photos[0].split),
            })
            .collect();
        Ok(Stats { splits: [of_split(Split::Train), of_split(Split::Test)], same_photos })
    }

    /// A fingerprint of the manifest and of every image file's bytes, in order of id: the same data, the same
    /// text, wherever the folder lies.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut text = String::new();
        for photo in &self.photos {
            let sha256 = crate::fingerprint::of_file(&photo.path)?;
            text.push_str(&format!("photo\t{}\t{}\t{}\t{sha256}\n", photo.id, photo.instance, photo.split));
        }
        for sketch in &self.sketches {
            let sha256 = crate::fingerprint::of_file(&sketch.path)?;
            text.push_str(&format!("sketch\t{}\t{}\t{sha256}\n", sketch.id, self.photo_of(sketch).id));
        }
        Ok(crate::fingerprint::of_bytes(text.as_bytes()))
    }
}

/// An image of a data set that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenFile {
    /// Its id.
    pub id: String,
    /// Its file.
    pub path: PathBuf,
    /// What the decoder said.
    pub reason: String,
}

/// What a data set holds, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The training split, then the test split.
    pub splits: [SplitStats; 2],
    /// Photos whose files are the same to the byte. Within a split they make acc@1 ambiguous, across splits they
    /// leak test photos into training.
    pub same_photos: Vec<SamePhotos>,
}

/// What one split holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitStats {
    /// The split.
    pub split: Split,
    /// Photos.
    pub n_photos: usize,
    /// Sketches.
    pub n_sketches: usize,
    /// Photos that no sketch depicts: they are ranked, and drawn as negatives, all the same.
    pub n_photos_without_sketch: usize,
    /// The most sketches that one photo has.
    pub max_sketches_per_photo: usize,
}

/// Photos of the same content under several ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamePhotos {
    /// Their ids, sorted.
    pub ids: Vec<String>,
    /// Whether they are in both splits.
    pub is_across_splits: bool,
}

/// The manifest that a path means: itself, or the one in a folder.
fn manifest_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() }
}

/// Applies the laws to rows.
fn checked(manifest: &Path, mut rows: Vec<ManifestRow>) -> Checked {
    let mut faults = Vec::new();
    let mut files = Files::of(manifest);
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    let repeated = rows.chunk_by(|a, b| a.id == b.id).filter(|same| same.len() > 1 && !same[0].id.is_empty());
    faults.extend(repeated.map(|same| {
        let times = if same.len() == 2 { "twice".to_owned() } else { format!("{} times", same.len()) };
        format!("the id '{}' stands there {times}", same[0].id)
    }));
    rows.dedup_by(|later, first| later.id == first.id && !first.id.is_empty());
    rows.retain(|row| {
        let is_named = !row.id.is_empty() && !row.instance.is_empty();
        if !is_named {
            faults.push(format!("an id or instance is empty, at path '{}'", row.path.display()));
        }
        is_named
    });
    let mut photos: Vec<Photo> = Vec::new();
    // The photo of each instance, and whether it is among the sound ones.
    let mut photo_of_instance: HashMap<String, (ManifestRow, Option<usize>)> = HashMap::new();
    for row in rows.iter().filter(|row| row.modality == Modality::Photo) {
        if let Some((other, _)) = photo_of_instance.get(nfc(&row.instance).as_ref()) {
            faults.push(format!(
                "the instance '{}' has two photos, '{}' and '{}'; expected one",
                row.instance, other.id, row.id
            ));
            continue;
        }
        let place = match files.existing(row) {
            Ok(path) => {
                let (id, instance, labels) = (row.id.clone(), row.instance.clone(), row.labels());
                let product = row.product().map(str::to_owned);
                photos.push(Photo { id, instance, split: row.split, path, labels, product });
                Some(photos.len() - 1)
            }
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        photo_of_instance.insert(nfc(&row.instance).into_owned(), (row.clone(), place));
    }
    let mut sketches = Vec::new();
    for row in rows.iter().filter(|row| row.modality == Modality::Sketch) {
        let path = files.existing(row).map_err(|fault| faults.push(fault)).ok();
        let Some((photo, place)) = photo_of_instance.get(nfc(&row.instance).as_ref()) else {
            faults.push(format!(
                "the sketch '{}' has no photo: none is of its instance '{}'",
                row.id, row.instance
            ));
            continue;
        };
        if photo.split != row.split {
            faults.push(format!(
                "the sketch '{}' is in the {} split, its photo '{}' in the {} split",
                row.id, row.split, photo.id, photo.split
            ));
        } else if let (Some(path), Some(photo)) = (path, *place) {
            sketches.push(Sketch { id: row.id.clone(), path, photo });
        }
    }
    if photo_of_instance.is_empty() {
        faults.push("it has no photo".into());
    }
    Checked { sound: Dataset { manifest: manifest.to_owned(), photos, sketches }, faults }
}

/// The photos below `folder` as paths relative to it, sorted; [`PhotoFiles`] says what is one.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be read; [`Error::Dataset`] where something in it cannot be.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let found = PhotoFiles::below(folder, &Exclude::nothing())?.complete(folder)?;
    Ok(found.photos.into_iter().map(|photo| photo.path).collect())
}
