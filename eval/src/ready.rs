//! Embeddings that are there already, of whatever pipeline, in the place of a network that runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::{Embeddings, ids_path};
use sketchfind_core::fingerprint;
use sketchfind_core::unicode::{Meant, Names};
use sketchfind_core::work::{Cancel, Progress};

use crate::paired::first_few;
use crate::{Error, Result};

/// The embeddings of a split's sketches and photos as two files, each [as core has it](Embeddings::save), with the distance that
/// they are compared by. It takes the place of a network in [`evaluate`](crate::evaluate()).
#[derive(Clone, Debug)]
pub struct Ready {
    sketches: Part,
    photos: Part,
    distance: Distance,
    sha256: String,
}

/// One file.
#[derive(Clone, Debug)]
struct Part {
    path: PathBuf,
    embeddings: Embeddings,
}

impl Part {
    fn load(path: &Path) -> Result<Part> {
        Ok(Part { path: path.to_owned(), embeddings: Embeddings::load(path)? })
    }

    /// The rows of exactly these ids, under these ids. A name is the same in every form of Unicode.
    fn of(&self, ids: &[&str], what: &str) -> Result<Embeddings> {
        let names = Names::new(self.embeddings.ids().iter().map(String::as_str));
        let (mut taken, mut missing, mut values) = (BTreeSet::new(), Vec::new(), Vec::new());
        for &id in ids {
            match names.meant_by(id) {
                Meant::One(known) if taken.insert(known) => {
                    let row = self.embeddings.find(known).and_then(|row| self.embeddings.row(row));
                    values.extend_from_slice(row.unwrap_or_default());
                }
                _ => missing.push(id),
            }
        }
        let refuse = |reason: String| Err(sketchfind_core::Error::malformed(&self.path, reason).into());
        if !missing.is_empty() {
            let (n, some) = (missing.len(), first_few(&missing));
            return refuse(format!("it has no embedding of {n} of the {} {what} ({some})", ids.len()));
        }
        let own = self.embeddings.ids().iter().map(String::as_str);
        let further: Vec<&str> = own.filter(|id| !taken.contains(id)).collect();
        if !further.is_empty() {
            let (n, some) = (further.len(), first_few(&further));
            let reason = format!("{n} of its {} ids are none of the {what} ({some})", self.embeddings.len());
            return refuse(format!("{reason}; expected exactly the {} {what}", ids.len()));
        }
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        Ok(Embeddings::new(ids, self.embeddings.width(), values)?)
    }
}

impl Ready {
    /// Reads both files.
    ///
    /// # Errors
    /// Those of [`Embeddings::load`]; [`sketchfind_core::Error::Malformed`] where the two are not equally wide.
    pub fn load(sketches: &Path, photos: &Path, distance: Distance) -> Result<Ready> {
        let (sketches, photos) = (Part::load(sketches)?, Part::load(photos)?);
        let (of_sketches, of_photos) = (sketches.embeddings.width(), photos.embeddings.width());
        if of_sketches != of_photos {
            let of = sketches.path.display();
            let reason = format!("its embeddings are {of_photos} wide, those of '{of}' {of_sketches}");
            return Err(sketchfind_core::Error::malformed(&photos.path, reason).into());
        }
        let mut text = String::new();
        for (modality, path) in [("sketch", &sketches.path), ("photo", &photos.path)] {
            let (values, ids) = (fingerprint::of_file(path)?, fingerprint::of_file(&ids_path(path))?);
            text.push_str(&format!("{modality}\t{values}\t{ids}\n"));
        }
        let sha256 = fingerprint::of_bytes(text.as_bytes());
        Ok(Ready { sketches, photos, distance, sha256 })
    }

    /// The fingerprint of the two matrices and of their ids: the SHA-256 of a line for sketches and one for photos, of the
    /// SHA-256 of the `.npy` file and that of the `.csv` beside it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl Embed for Ready {
    type Picture = Path;
    type Error = Error;

    fn distance(&self) -> Distance {
        self.distance
    }

    /// # Errors
    /// [`sketchfind_core::Error::Malformed`] with the file that has no embedding of a picture, or one of something else:
    /// neither is left out.
    fn embeddings(
        &mut self,
        modality: Modality,
        pictures: &[(&str, &Path)],
        progress: Progress<'_>,
        _cancel: Cancel<'_>,
    ) -> Result<Embeddings> {
        let ids: Vec<&str> = pictures.iter().map(|&(id, _)| id).collect();
        let found = match modality {
            Modality::Photo => self.photos.of(&ids, "photos"),
            Modality::Sketch => self.sketches.of(&ids, "sketches"),
        }?;
        progress.tell(found.len());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(folder: &Path, name: &str, ids: &[&str], width: usize) -> PathBuf {
        let path = folder.join(name);
        let values = (0..ids.len() * width).map(|value| value as f32).collect();
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        Embeddings::new(ids, width, values).unwrap().save(&path).unwrap();
        path
    }

    fn asked(ready: &mut Ready, ids: &[&str]) -> Result<Embeddings> {
        let pictures: Vec<(&str, &Path)> = ids.iter().map(|&id| (id, Path::new("nowhere"))).collect();
        ready.embeddings(Modality::Sketch, &pictures, Progress::default(), Cancel::default())
    }

    #[test]
    fn rows_are_found_by_their_ids_in_every_form_of_unicode() {
        let folder = tempfile::tempdir().unwrap();
        let sketches = saved(folder.path(), "s.npy", &["b", "caf\u{e9}"], 2);
        let photos = saved(folder.path(), "p.npy", &["p"], 2);
        let mut ready = Ready::load(&sketches, &photos, Distance::Mse).unwrap();
        let found = asked(&mut ready, &["cafe\u{301}", "b"]).unwrap();
        assert_eq!(found.ids(), ["b", "cafe\u{301}"]);
        assert_eq!(found.values(), [0.0, 1.0, 2.0, 3.0]);
        // The fingerprint is of the ids too.
        let renamed = saved(folder.path(), "t.npy", &["b", "c"], 2);
        assert_ne!(ready.sha256(), Ready::load(&renamed, &photos, Distance::Mse).unwrap().sha256());
    }

    #[test]
    fn what_is_missing_too_much_or_of_another_width_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let sketches = saved(folder.path(), "s.npy", &["a", "b"], 2);
        let photos = saved(folder.path(), "p.npy", &["p"], 2);
        let mut ready = Ready::load(&sketches, &photos, Distance::Cosine).unwrap();
        let message = asked(&mut ready, &["a", "b", "c", "d"]).unwrap_err().to_string();
        assert!(message.contains("s.npy") && message.contains("2 of the 4 sketches (c, d)"), "{message}");
        let message = asked(&mut ready, &["b"]).unwrap_err().to_string();
        assert!(message.contains("1 of its 2 ids are none of the sketches (a)"), "{message}");
        // Two sketches that differ in their form alone are not both the one that is there.
        let accented = saved(folder.path(), "t.npy", &["caf\u{e9}"], 2);
        let mut ready = Ready::load(&accented, &photos, Distance::Mse).unwrap();
        assert!(asked(&mut ready, &["cafe\u{301}", "caf\u{e9}"]).is_err());
        let wide = saved(folder.path(), "w.npy", &["p"], 3);
        let message = Ready::load(&sketches, &wide, Distance::Mse).unwrap_err().to_string();
        assert!(
            message.contains("w.npy") && message.contains("3 wide") && message.contains("s.npy"),
            "{message}"
        );
    }
}
