//! A copy of a gallery, which may be written meanwhile: what never changes is shared where the file system can, the log is
//! copied up to its last whole record.
//!
//! `gallery.json` names files that are whole, so the copy is what it names and the log that belongs to it. All of them are
//! opened before a byte is copied: a file that is held open is there, whatever a writer removes meanwhile. The log comes
//! last: while it is there, no number of a segment beside it was used a second time.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sketchfind_core::{Error as CoreError, atomic};

use super::identity::Identity;
use super::lock::Lock;
use super::manifest::{self, Manifest};
use super::segment_file::Expected;
use super::{
    Gallery, fingerprint_bytes, graph_file, log, read, read_model, refuse_other_things, segment_file,
};
use crate::{Error, Result};

/// What is done where a gallery is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// It stays, and nothing is written.
    #[default]
    Refuse,
    /// It is replaced in one step once the new one is whole.
    Replace,
}

/// What a copy of a gallery is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The number of photos in it.
    pub n_photos: usize,
    /// The number of files that it shares with the original.
    pub n_shared: usize,
    /// The number of files that are its own.
    pub n_own: usize,
}

impl Gallery {
    /// Writes a copy of this gallery to the folder `to`, whole or not at all, as it is on the disk at one moment: whoever
    /// writes it meanwhile need not stop. See [`Gallery::copy`].
    ///
    /// # Errors
    /// Those of [`Gallery::copy`].
    pub fn copy_to(&self, to: impl AsRef<Path>, on_existing: OnExisting) -> Result<Copied> {
        Gallery::copy(self.path(), to, on_existing)
    }

    /// Writes a copy of the gallery in the folder `from` to the folder `to`, whole or not at all, and checks it as opening
    /// it does. A writer may be at work: the copy is the gallery as it was acknowledged at one moment.
    ///
    /// Files that never change (segments, graphs, the model) are hard links where the file system can, so that the copy
    /// costs no space until one of the two is compacted; each may be written or removed without the other.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use sketchfind::{Gallery, GalleryOptions, OnExisting};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("gallery");
    /// # Gallery::create_empty(&path, Path::new("tests/fixtures/mean8"), &GalleryOptions::exact("docs 1.0"))?;
    /// let backup = folder.path().join("backup");
    /// let copied = Gallery::copy(&path, &backup, OnExisting::Refuse)?;
    /// assert_eq!(copied.n_photos, 0);
    /// assert!(Gallery::copy(&path, &backup, OnExisting::Refuse).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Gallery`] where `from` is no gallery or damaged, where `to` lies in it, or is there and may not be
    /// replaced; [`Error::Locked`] where somebody writes the one that would be replaced; [`Error::Core`].
    pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>, on_existing: OnExisting) -> Result<Copied> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let refused = |reason: &str| Err(Error::Gallery { path: to.to_owned(), reason: reason.to_owned() });
        manifest::load(from)?;
        if is_within(to, from)? {
            return refused("a copy of a gallery cannot lie in the gallery, or be it; choose another path");
        }
        refuse_other_things(to)?;
        let is_there = manifest::is_ours(to);
        if is_there && on_existing == OnExisting::Refuse {
            return refused("a gallery is there already, which is not replaced unless that is asked for");
        }
        let lock = if is_there { Some(Lock::take_soon(to)?) } else { None };
        let copied = atomic::write_folder(to, |new| copy_consistent(from, new))?;
        drop(lock);
        Ok(copied)
    }
}

/// Whether `path`, which need not be there, lies in the folder `folder` or is it.
fn is_within(path: &Path, folder: &Path) -> Result<bool> {
    let folder = folder.canonicalize().map_err(CoreError::io("read", folder))?;
    let whole = std::path::absolute(path).map_err(CoreError::io("read", path))?;
    let there = whole.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
    Ok(there.is_some_and(|there| there.starts_with(&folder)))
}

/// Copies the gallery in `from` into the empty folder `new`, as often as it takes.
fn copy_consistent(from: &Path, new: &Path) -> Result<Copied> {
    const N_TRIES: usize = 10;
    let mut tries = 0;
    loop {
        tries += 1;
        let folder = identity_of(from);
        let manifest = manifest::load(from)?;
        let copied = Files::open(from, &manifest).and_then(|files| {
            let copied = files.copy(from, &manifest, new)?;
            // The folder may have been replaced by another gallery's, whose files have the same names.
            (identity_of(from) == folder).then_some(copied).ok_or_else(|| Error::Gallery {
                path: from.to_owned(),
                reason: "it was replaced while it was copied; try again".to_owned(),
            })
        });
        let Err(error) = copied else {
            return copied;
        };
        // A writer removes files that its new manifest no longer names.
        let has_changed = identity_of(from) != folder || manifest::load(from)? != manifest;
        if !has_changed || tries == N_TRIES {
            return Err(error);
        }
        std::fs::remove_dir_all(new)
            .and_then(|()| std::fs::create_dir(new))
            .map_err(CoreError::io("empty", new))?;
    }
}

fn identity_of(path: &Path) -> Option<Identity> {
    Identity::of(&std::fs::metadata(path).ok()?)
}

/// The files of a gallery that a writer may remove, held open.
struct Files {
    /// By their places in the gallery's folder.
    segments: Vec<(PathBuf, File)>,
    /// A cache: one that is not there, or goes, is built anew.
    graphs: Vec<PathBuf>,
    log: File,
}

impl Files {
    fn open(from: &Path, manifest: &Manifest) -> Result<Files> {
        let inside = Path::new("");
        let open = |place: &Path| {
            let path = from.join(place);
            File::open(&path).map_err(CoreError::io("read", &path))
        };
        let mut segments = Vec::with_capacity(manifest.segments.len());
        for &number in &manifest.segments {
            let place = segment_file::path_of(inside, number);
            let file = open(&place)?;
            segments.push((place, file));
        }
        let graphs = manifest.segments.iter().map(|&number| graph_file::path_of(inside, number));
        let graphs = graphs.filter(|place| from.join(place).is_file()).collect();
        Ok(Files { segments, graphs, log: open(&log::path_of(inside, manifest.log))? })
    }

    fn copy(mut self, from: &Path, manifest: &Manifest, new: &Path) -> Result<Copied> {
        let (mut n_shared, mut n_own) = (0, 0);
        let mut count = |is_shared: bool| if is_shared { n_shared += 1 } else { n_own += 1 };
        for (place, file) in &mut self.segments {
            count(share(file, &from.join(&*place), &new.join(&*place))?);
        }
        for place in self.graphs {
            // One that a writer has just removed is of a segment that it has removed too.
            if let Ok(mut graph) = File::open(from.join(&place)) {
                count(share(&mut graph, &from.join(&place), &new.join(&place))?);
            }
        }
        for name in manifest.files.keys() {
            let path = from.join(name);
            let mut file = File::open(&path).map_err(CoreError::io("read", &path))?;
            count(share(&mut file, &path, &new.join(name))?);
        }
        let log_path = log::path_of(from, manifest.log);
        let mut bytes = Vec::new();
        self.log.read_to_end(&mut bytes).map_err(CoreError::io("read", &log_path))?;
        let model = fingerprint_bytes(from, manifest.model_sha256.as_deref())?;
        let expected = Expected { model: &model, width: manifest.width };
        log::whole_records(&mut bytes, manifest.log, manifest.sequence, expected).map_err(|reason| {
            let name = format!("{}/{:08}.log", log::FOLDER, manifest.log);
            let reason = format!("'{name}' is damaged or was changed: {reason}");
            Error::Gallery { path: from.to_owned(), reason }
        })?;
        atomic::write_bytes(&log::path_of(new, manifest.log), &bytes)?;
        manifest.save(new)?;
        count(false);
        count(false);
        // What is wrong with the copy is wrong with what was copied.
        let of_original = |error| match error {
            Error::Gallery { reason, .. } => Error::Gallery { path: from.to_owned(), reason },
            other => other,
        };
        let state = read(new, manifest, None, None).map_err(of_original)?;
        read_model(new, manifest).map_err(of_original)?;
        Ok(Copied { n_photos: state.snapshot.len(), n_shared, n_own })
    }
}

/// Makes `to` the file `file`, which was opened at `from`: a hard link of it where that is possible, else a copy. Whether it
/// is a link.
fn share(file: &mut File, from: &Path, to: &Path) -> Result<bool> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(CoreError::io("create", folder))?;
    }
    if std::fs::hard_link(from, to).is_ok() {
        let own = Identity::of(&file.metadata().map_err(CoreError::io("read", from))?);
        if own.is_some() && own == identity_of(to) {
            return Ok(true);
        }
        // Another file has come there.
        std::fs::remove_file(to).map_err(CoreError::io("replace", to))?;
    }
    let mut target = File::create(to).map_err(CoreError::io("write", to))?;
    std::io::copy(file, &mut target).map_err(CoreError::io("copy", from))?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_or_removed_since_it_was_opened_is_copied_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/to"));
        std::fs::write(&from, "old").unwrap();
        let mut file = File::open(&from).unwrap();
        assert_eq!(share(&mut file, &from, &to).unwrap(), cfg!(unix));
        std::fs::remove_file(&to).unwrap();
        // As `atomic` replaces it.
        std::fs::write(folder.path().join("new"), "new").unwrap();
        std::fs::rename(folder.path().join("new"), &from).unwrap();
        assert!(!share(&mut file, &from, &to).unwrap());
        assert_eq!(std::fs::read(&to).unwrap(), b"old");
        std::fs::remove_file(&to).unwrap();
        let mut file = File::open(&from).unwrap();
        std::fs::remove_file(&from).unwrap();
        assert!(!share(&mut file, &from, &to).unwrap(), "what is gone cannot be linked");
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
    }

    #[test]
    fn what_lies_in_a_folder_is_known_before_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let gallery = folder.path().join("gallery");
        std::fs::create_dir(&gallery).unwrap();
        for (place, is_in) in [
            ("gallery", true),
            ("gallery/model", true),
            ("gallery/a/b", true),
            ("gallery/../gallery/a", true),
            ("gallery.copy", false),
            ("gallery/../copy", false),
            ("", false),
        ] {
            assert_eq!(is_within(&folder.path().join(place), &gallery).unwrap(), is_in, "{place}");
        }
    }
}
