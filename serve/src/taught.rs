//! What people have drawn of photos, kept as a data set that the trainer takes.
//!
//! In the folder stand `manifest.csv`, `photos`, `sketches`, and a file that is locked as long as a server keeps drawings there.
//! No file is called by what a client has sent: names are fingerprints. Images are written before the manifest that names them, so
//! that a crash at any moment leaves a manifest of what is there, and at worst an image that nothing names.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use sketchfind::Photo;
use sketchfind_core::dataset::{MANIFEST, ManifestRow, Modality, Split, read_manifest, write_manifest};
use sketchfind_core::{atomic, fingerprint};
use utoipa::ToSchema;

use crate::{Error, Result};

/// The file that is locked, and that shows whose folder it is.
const LOCK: &str = "taught.lock";

/// Drawings that are kept.
pub(crate) struct Taught {
    folder: PathBuf,
    most: usize,
    rows: Mutex<Vec<ManifestRow>>,
    /// Held until the process ends.
    _lock: File,
}

/// How a drawing came to belong to its photo.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// The photo was shown, hidden, and drawn.
    Memory,
    /// The drawing was searched with, and the photo was said to be the one.
    Answer,
}

impl Origin {
    /// Its name in the manifest, as in requests.
    fn name(self) -> &'static str {
        match self {
            Origin::Memory => "memory",
            Origin::Answer => "answer",
        }
    }
}

/// A photo with its drawing, both as files.
pub(crate) struct Pair<'a> {
    pub(crate) photo: &'a Photo,
    /// As JPEG.
    pub(crate) photo_file: &'a [u8],
    /// As PNG.
    pub(crate) drawing: &'a [u8],
    pub(crate) origin: Origin,
}

/// What came of keeping a drawing.
pub(crate) enum Outcome {
    /// It is kept now, or was already; so many are.
    Kept(usize),
    /// As many are kept as may be.
    Full,
}

impl Taught {
    /// Opens the folder, or makes it, for at most `most` drawings.
    ///
    /// # Errors
    /// [`Error::Teach`] where it holds something else, or another server has it; [`Error::Core`] where it cannot be read or made.
    pub(crate) fn open(folder: &Path, most: usize) -> Result<Taught> {
        let refused = |reason| Error::Teach { folder: folder.to_owned(), reason };
        if !atomic::is_free_for(folder, LOCK)? {
            return Err(refused("it holds something else: expected a new folder, or one of kept drawings"));
        }
        std::fs::create_dir_all(folder).map_err(sketchfind_core::Error::io("create", folder))?;
        let path = folder.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = file.map_err(sketchfind_core::Error::io("write", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refused("another server keeps drawings in it")),
            Err(TryLockError::Error(error)) => {
                return Err(sketchfind_core::Error::io("lock", &path)(error).into());
            }
        }
        let manifest = folder.join(MANIFEST);
        let rows = if manifest.exists() { read_manifest(&manifest)? } else { Vec::new() };
        Ok(Taught { folder: folder.to_owned(), most, rows: Mutex::new(rows), _lock: lock })
    }

    /// The folder, as it was named.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The number of drawings, and the most that there may be.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (n_drawings(&self.rows.lock().unwrap_or_else(PoisonError::into_inner)), self.most)
    }

    /// Keeps a drawing of a photo. When this returns, both survive a crash.
    ///
    /// # Errors
    /// Where the folder cannot be written; what was kept before is kept still.
    pub(crate) fn keep(&self, pair: &Pair<'_>) -> sketchfind_core::Result<Outcome> {
        let short = |bytes: &[u8]| fingerprint::of_bytes(bytes)[..32].to_owned();
        let (id, content) = (pair.photo.id(), short(pair.photo_file));
        // A photo whose file was replaced is another.
        let instance = format!("{}-{content}", short(id.as_bytes()));
        let sketch = short(&[instance.as_bytes(), pair.drawing].concat());
        let mut photo_row = ManifestRow {
            id: format!("photo/{id}#{}", &content[..16]),
            modality: Modality::Photo,
            instance: instance.clone(),
            split: Split::Train,
            path: Path::new("photos").join(format!("{instance}.jpg")),
            further: Vec::new(),
        };
        photo_row
            .further
            .extend(pair.photo.product().map(|product| ("product".to_owned(), product.to_owned())));
        let sketch_row = ManifestRow {
            id: format!("sketch/{sketch}"),
            modality: Modality::Sketch,
            instance,
            split: Split::Train,
            path: Path::new("sketches").join(format!("{sketch}.png")),
            further: vec![("origin".to_owned(), pair.origin.name().to_owned())],
        };

        // One after another: each writes the manifest anew.
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let n = n_drawings(&rows);
        if ids.contains(sketch_row.id.as_str()) {
            return Ok(Outcome::Kept(n));
        }
        if n >= self.most {
            return Ok(Outcome::Full);
        }
        let mut changed = Vec::new();
        if !ids.contains(photo_row.id.as_str()) {
            atomic::write_bytes(&self.folder.join(&photo_row.path), pair.photo_file)?;
            changed.push(photo_row);
        }
        atomic::write_bytes(&self.folder.join(&sketch_row.path), pair.drawing)?;
        changed.push(sketch_row);
        let changed: Vec<ManifestRow> = rows.iter().cloned().chain(changed).collect();
        write_manifest(&self.folder.join(MANIFEST), &changed)?;
        *rows = changed;
        Ok(Outcome::Kept(n + 1))
    }
}

fn n_drawings(rows: &[ManifestRow]) -> usize {
    rows.iter().filter(|row| row.modality == Modality::Sketch).count()
}

#[cfg(test)]
mod tests {
    use sketchfind_core::dataset::Dataset;

    use super::*;

    fn keep(taught: &Taught, id: &str, photo: &[u8], drawing: &[u8]) -> sketchfind_core::Result<Outcome> {
        let photo_of = Photo::new(id).with_product("a, \"quoted\"\nproduct");
        taught.keep(&Pair { photo: &photo_of, photo_file: photo, drawing, origin: Origin::Memory })
    }

    fn n_kept(outcome: sketchfind_core::Result<Outcome>) -> Option<usize> {
        match outcome.unwrap() {
            Outcome::Kept(n) => Some(n),
            Outcome::Full => None,
        }
    }

    fn refusal(folder: &Path) -> String {
        let Err(error) = Taught::open(folder, 9) else { panic!("'{}' was taken", folder.display()) };
        error.to_string()
    }

    #[test]
    fn what_is_kept_is_a_data_set_and_nothing_lies_elsewhere() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("taught");
        let taught = Taught::open(&folder, 6).unwrap();
        let ids = ["../../etc/passwd", "a/b\\c", "", "x\r\ny,\"z\"", "photo/1"];
        for (n, id) in (1..).zip(ids) {
            assert_eq!(n_kept(keep(&taught, id, b"photo", id.as_bytes())), Some(n));
        }
        // The same again is kept already; the same drawing of a photo that was replaced is another.
        assert_eq!(n_kept(keep(&taught, "photo/1", b"photo", b"photo/1")), Some(5));
        assert_eq!(n_kept(keep(&taught, "photo/1", b"another", b"photo/1")), Some(6));
        assert_eq!(n_kept(keep(&taught, "photo/1", b"photo", b"one too many")), None);
        let dataset = Dataset::load(&folder).unwrap();
        assert_eq!((dataset.photos().len(), dataset.sketches().len()), (6, 6));
        for sketch in dataset.sketches() {
            let photo = dataset.photo_of(sketch);
            assert!(photo.path.starts_with(&folder) && sketch.path.starts_with(&folder));
            assert_eq!(photo.product.as_deref(), Some("a, \"quoted\"\nproduct"));
        }
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_has_one_server_and_is_opened_again() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("taught");
        let taught = Taught::open(&folder, 9).unwrap();
        keep(&taught, "a", b"photo", b"one").unwrap();
        assert!(refusal(&folder).contains("another server"));
        drop(taught);
        let again = Taught::open(&folder, 9).unwrap();
        assert_eq!(again.counts(), (1, 9));
        assert_eq!(n_kept(keep(&again, "a", b"photo", b"two")), Some(2));
        // Somebody's own folder is left alone.
        std::fs::write(outer.path().join("thesis.tex"), "years of work").unwrap();
        assert!(refusal(outer.path()).contains("something else"));
        assert!(refusal(&outer.path().join("thesis.tex")).contains("thesis.tex"));
    }

    /// A crash before the manifest is written leaves an image that nothing names, and no more.
    #[test]
    fn what_could_not_be_kept_changes_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("taught");
        let taught = Taught::open(&folder, 9).unwrap();
        keep(&taught, "a", b"photo", b"one").unwrap();
        let before = std::fs::read(folder.join(MANIFEST)).unwrap();
        // A folder cannot be replaced by a file.
        std::fs::rename(folder.join(MANIFEST), folder.join("aside")).unwrap();
        std::fs::create_dir(folder.join(MANIFEST)).unwrap();
        assert!(keep(&taught, "a", b"photo", b"two").is_err());
        assert_eq!(taught.counts().0, 1);
        std::fs::remove_dir(folder.join(MANIFEST)).unwrap();
        std::fs::rename(folder.join("aside"), folder.join(MANIFEST)).unwrap();
        assert_eq!(std::fs::read(folder.join(MANIFEST)).unwrap(), before);
        drop(taught);
        let again = Taught::open(&folder, 9).unwrap();
        assert_eq!(n_kept(keep(&again, "a", b"photo", b"two")), Some(2));
        assert_eq!(Dataset::load(&folder).unwrap().sketches().len(), 2);
    }
}
