//! What was found in a download, and how it becomes a data set's folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use sketchfind_core::dataset::{Dataset, MANIFEST, ManifestRow, Modality, Split, write_manifest};
use sketchfind_core::image::Image;
use sketchfind_core::unicode::{Meant, Names};
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_core::{atomic, dataset};

use crate::counts::Counts;
use crate::{Error, Layout, Result};
use sketchfind_core::strokes::{Raster, Strokes};

/// What people said about photos, in a data set's folder.
pub const HUMAN_TRIPLETS: &str = "human_triplets.csv";

/// Where an image comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, which is copied as it is.
    File(PathBuf),
    /// Pixels out of an array, written as PNG.
    Pixels(Image),
    /// A vector sketch, drawn and written as PNG.
    Strokes(Strokes),
}

/// A photo or sketch that was found.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name among those of its modality; `/` may part it.
    pub name: String,
    /// Photo or sketch.
    pub modality: Modality,
    /// The object; that of a sketch is the name of its photo.
    pub instance: String,
    /// Its split.
    pub split: Split,
    /// Where it comes from.
    pub source: Source,
}

/// What people said: which of two photos looks more like a sketch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HumanTriplet {
    /// The split.
    pub split: Split,
    /// The sketch's instance.
    pub sketch: String,
    /// The instance of the photo that looks more like it.
    pub nearer: String,
    /// The instance of the other photo.
    pub farther: String,
}

/// What was found in a download.
#[derive(Debug)]
pub struct Found {
    /// The layout.
    pub layout: Layout,
    /// Photos and sketches.
    pub entries: Vec<Entry>,
    /// What further columns of a manifest say of an image, by its id in the data set: their names and values.
    pub further: BTreeMap<String, Vec<(String, String)>>,
    /// What people said, where the download has it.
    pub triplets: Vec<HumanTriplet>,
    /// What a user should know: what was left out, and why.
    pub notes: Vec<String>,
    /// How vector sketches are drawn.
    pub raster: Raster,
}

impl Found {
    /// The number of photos and sketches.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.rows())
    }

    fn rows(&self) -> Vec<ManifestRow> {
        self.entries
            .iter()
            .map(|entry| {
                let folder = match entry.modality {
                    Modality::Photo => "photo",
                    Modality::Sketch => "sketch",
                };
                let ending = match &entry.source {
                    Source::File(path) => {
                        path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
                    }
                    Source::Pixels(_) | Source::Strokes(_) => "png".into(),
                };
                let id = format!("{folder}/{}", entry.name);
                ManifestRow {
                    path: PathBuf::from(format!("{id}.{ending}")),
                    further: self.further.get(&id).cloned().unwrap_or_default(),
                    id,
                    modality: entry.modality,
                    instance: entry.instance.clone(),
                    split: entry.split,
                }
            })
            .collect()
    }

    /// Writes a data set's folder: whole or not at all. A data set that is there is replaced, unless the folder holds
    /// other files too, or files that are being read. `progress` is told how many images are done; `cancel` is
    /// asked before each, and then nothing is written and nothing returned.
    ///
    /// # Errors
    /// [`Error::Dataset`] where `out` holds something else, a name would lead out of it, or what was found breaks a law
    /// of data sets; [`Error::Io`].
    pub fn write(&self, out: &Path, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<Option<Dataset>> {
        if !atomic::is_free_for(out, MANIFEST)? {
            let reason = "the folder is not empty and holds no data set; it is left as it is".into();
            return Err(Error::Dataset { path: out.to_owned(), reason });
        }
        self.refuse_loss(out)?;
        let rows = self.rows();
        check_names(out, &rows)?;
        let n_done = AtomicUsize::new(0);
        let written = atomic::write_folder(out, |new| -> std::result::Result<(), Stop> {
            for (row, entry) in rows.iter().zip(&self.entries) {
                if cancel.is_cancelled() {
                    return Err(Stop::Cancelled);
                }
                let path = new.join(&row.path);
                let folder = path.parent().unwrap_or(new);
                std::fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
                match &entry.source {
                    Source::File(from) => {
                        std::fs::copy(from, &path).map_err(Error::io("copy", from))?;
                    }
                    Source::Pixels(image) => write_png(&path, image)?,
                    Source::Strokes(strokes) => write_png(&path, &strokes.draw(&self.raster, 1.0)?)?,
                }
                progress.tell(1 + n_done.fetch_add(1, Ordering::Relaxed));
            }
            write_manifest(&new.join(MANIFEST), &rows)?;
            if !self.triplets.is_empty() {
                self.write_triplets(&new.join(HUMAN_TRIPLETS))?;
            }
            // The laws are checked before the folder takes its place.
            dataset::Dataset::load(new)?;
            Ok(())
        });
        match written {
            Ok(()) => Ok(Some(Dataset::load(out)?)),
            Err(Stop::Cancelled) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Refuses to replace a folder with anything in it that the new one would not hold: files that are no part of a
    /// data set, or the very files that are being read.
    fn refuse_loss(&self, out: &Path) -> Result<()> {
        let refuse = |reason: String| Err(Error::Dataset { path: out.to_owned(), reason });
        let Ok(whole) = out.canonicalize() else {
            return Ok(()); // nothing is there
        };
        for entry in std::fs::read_dir(out).map_err(Error::io("read the folder", out))? {
            let name = entry.map_err(Error::io("read the folder", out))?.file_name();
            if !OURS.iter().any(|ours| name == *ours) {
                let name = name.to_string_lossy();
                return refuse(format!(
                    "it also holds '{name}', which is no part of a data set and would be lost; move it or choose \
                     another folder"
                ));
            }
        }
        for entry in &self.entries {
            if let Source::File(from) = &entry.source
                && from.canonicalize().is_ok_and(|from| from.starts_with(&whole))
            {
                return refuse(format!(
                    "'{}' is read from it, so it cannot be replaced; choose another folder",
                    from.display()
                ));
            }
        }
        Ok(())
    }

    fn write_triplets(&self, path: &Path) -> Result<()> {
        atomic::write_file(path, |out| {
            let mut writer = csv::Writer::from_writer(out);
            for triplet in &self.triplets {
                writer.serialize(triplet).map_err(|e| Error::malformed(path, e.to_string()))?;
            }
            writer.flush().map_err(Error::io("write", path))
        })
    }
}

/// All that a data set's folder holds, at its top.
const OURS: [&str; 4] = [MANIFEST, HUMAN_TRIPLETS, "photo", "sketch"];

/// Refuses names that would lead out of the folder, such as `../x`: names come from downloads.
fn check_names(out: &Path, rows: &[ManifestRow]) -> Result<()> {
    let is_inside =
        |row: &&ManifestRow| row.path.components().all(|part| matches!(part, Component::Normal(_)));
    match rows.iter().find(|row| !is_inside(row)) {
        None => Ok(()),
        Some(row) => Err(Error::Dataset {
            path: out.to_owned(),
            reason: format!("the name '{}' would lead out of the folder; expected one without '..'", row.id),
        }),
    }
}

/// Why a folder was not written.
enum Stop {
    Cancelled,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

fn write_png(path: &Path, image: &Image) -> Result<()> {
    std::fs::write(path, image.to_png()?).map_err(Error::io("write", path))
}

/// How sketches are called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Naming {
    /// As their photo, or as their photo followed by `-` or `_` and a number.
    Numbered,
    /// As their photo followed by `_` and a label without `_`: mostly a number, but of three of Chair-V2's sketches the
    /// name of the one who drew it.
    Labelled,
}

/// Pairs sketches with photos by name, in every form of Unicode. A name that fits two photos, or none, is an error.
pub(crate) struct Pairing<'a> {
    photos: BTreeMap<&'a str, Split>,
    names: Names<'a>,
    naming: Naming,
}

impl<'a> Pairing<'a> {
    pub(crate) fn new(photos: &'a [Entry], naming: Naming) -> Pairing<'a> {
        let names = Names::new(photos.iter().map(|photo| photo.name.as_str()));
        let photos = photos.iter().map(|photo| (photo.name.as_str(), photo.split)).collect();
        Pairing { photos, names, naming }
    }

    /// The photo of the sketch called `name` and its split, or why there is none.
    pub(crate) fn find(&self, name: &str) -> std::result::Result<(String, Split), String> {
        let stems = match self.naming {
            Naming::Numbered => [Some(name), numbered(name)],
            Naming::Labelled => [None, labelled(name)],
        };
        let candidates: Vec<(&str, Split)> = stems
            .into_iter()
            .flatten()
            .filter_map(|stem| match self.names.meant_by(stem) {
                Meant::One(photo) => Some((photo, *self.photos.get(photo)?)),
                Meant::None | Meant::Several(..) => None,
            })
            .collect();
        match candidates[..] {
            [(photo, split)] => Ok((photo.to_owned(), split)),
            [] => {
                let looked_for: Vec<String> =
                    stems.into_iter().flatten().map(|stem| format!("'{stem}'")).collect();
                Err(match looked_for.is_empty() {
                    false => format!(
                        "the sketch '{name}' has no photo: there is none called {}",
                        looked_for.join(" or ")
                    ),
                    true => format!("the sketch '{name}' is not called '<photo>_<n>'"),
                })
            }
            _ => Err(format!(
                "the sketch '{name}' fits two photos, '{}' and '{}'; rename one",
                candidates[0].0, candidates[1].0
            )),
        }
    }
}

/// `shoe` of a name like `shoe_3` or `shoe-3`.
fn numbered(name: &str) -> Option<&str> {
    let at = name.rfind(['_', '-'])?;
    let (stem, number) = (&name[..at], &name[at + 1..]);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !stem.is_empty()).then_some(stem)
}

/// `shoe_red` of a name like `shoe_red_3` or `shoe_red_A1YX`.
pub(crate) fn labelled(name: &str) -> Option<&str> {
    let (stem, label) = name.rsplit_once('_')?;
    (!stem.is_empty() && !label.is_empty()).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(name: &str) -> Entry {
        Entry {
            name: name.into(),
            modality: Modality::Photo,
            instance: name.into(),
            split: Split::Train,
            source: Source::File(PathBuf::from("x.png")),
        }
    }

    #[test]
    fn sketches_are_paired_by_name_and_never_by_guesswork() {
        let photos = [photo("shoe"), photo("boot_1"), photo("boot"), photo("heel-2"), photo("cafe\u{301}")];
        let pairing = Pairing::new(&photos, Naming::Numbered);
        for (sketch, expected) in [
            ("shoe", "shoe"),
            ("shoe_12", "shoe"),
            ("shoe-3", "shoe"),
            ("heel-2_1", "heel-2"),
            ("caf\u{e9}_1", "cafe\u{301}"),
        ] {
            assert_eq!(pairing.find(sketch).unwrap().0, expected);
        }
        for (sketch, part) in [
            ("shoes", "none called 'shoes'"),
            ("shoe_x", "none called 'shoe_x'"),
            ("heel_2", "none called 'heel_2' or 'heel'"),
            ("boot_1", "fits two photos, 'boot_1' and 'boot'"),
        ] {
            let message = pairing.find(sketch).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
    #[test]
    fn a_label_need_not_be_a_number() {
        let photos = [photo("shoe"), photo("shoe_1")];
        let pairing = Pairing::new(&photos, Naming::Labelled);
        for (sketch, expected) in [("shoe_1", "shoe"), ("shoe_A1YX741", "shoe"), ("shoe_1_2", "shoe_1")] {
            assert_eq!(pairing.find(sketch).unwrap().0, expected);
        }
        for (sketch, part) in [("shoe", "not called '<photo>_<n>'"), ("boot_1", "none called 'boot'")] {
            let message = pairing.find(sketch).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
