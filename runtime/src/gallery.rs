//! The gallery: a matrix of embeddings with its model, in one folder that a product ships or keeps.
//!
//! ```text
//! gallery.json     magic, format, fingerprints of the model and every other file, distance, index
//! embeddings.npy   the matrix [N, D], float32 (NumPy)
//! embeddings.csv   the id of each row
//! photos.csv       id,path of each photo's file, where known
//! model/           card.json, model.onnx and the probe: all that a query needs
//! ```
//!
//! The matrix is the truth; an approximate index is built from it in memory. A gallery is written whole or
//! not at all, and every file's SHA-256 is checked before it is read, so a damaged gallery is an error that
//! names the file.

mod manifest;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sketchfind_core::card::{CARD, Card, MODEL, PROBE_EMBEDDINGS, PROBE_IMAGES};
use sketchfind_core::embeddings::{Embeddings, ids_path};
use sketchfind_core::{Error as CoreError, atomic, fingerprint};

pub use manifest::{FORMAT, MAGIC, MANIFEST, Manifest};

use crate::{Error, Index, IndexKind, IndexSpec, Result};

/// The matrix's name in a gallery's folder; the ids stand beside it in `embeddings.csv`.
pub const EMBEDDINGS: &str = "embeddings.npy";
/// The name of the list of photo files in a gallery's folder.
pub const PHOTOS: &str = "photos.csv";
/// The model's folder in a gallery's folder.
pub const MODEL_DIR: &str = "model";

/// How a gallery is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GalleryOptions {
    /// The index to search it with.
    pub index: IndexSpec,
    /// The program and version that makes it, such as `sketchfind 0.1.0`.
    pub tool: String,
}

impl GalleryOptions {
    /// Exact search; made by `tool`.
    pub fn exact(tool: &str) -> GalleryOptions {
        GalleryOptions { index: IndexSpec::ordinary(IndexKind::Exact), tool: tool.to_owned() }
    }

    /// Approximate search with ordinary parameters; made by `tool`.
    pub fn hnsw(tool: &str) -> GalleryOptions {
        GalleryOptions { index: IndexSpec::ordinary(IndexKind::Hnsw), tool: tool.to_owned() }
    }
}

/// A gallery that was opened: embeddings, the card of their model, and where the photos are.
#[derive(Clone, Debug)]
pub struct Gallery {
    path: PathBuf,
    manifest: Manifest,
    card: Card,
    embeddings: Arc<Embeddings>,
    sources: BTreeMap<String, PathBuf>,
}

impl Gallery {
    /// Writes a gallery of `embeddings` by the model in `model_dir` to the folder `path`, whole or not at
    /// all. A gallery that is there is replaced; another folder or file is not. `sources` names the files of
    /// photos by their ids, as they shall be found by whoever opens the gallery.
    ///
    /// # Errors
    /// [`Error::Gallery`] where `path` is something else, the embeddings do not fit the model, or a source
    /// has no embedding or a path that is not UTF-8; [`Error::Core`] where the model cannot be read or a file
    /// not be written.
    pub fn create(
        path: &Path,
        model_dir: &Path,
        embeddings: &Embeddings,
        sources: Option<&BTreeMap<String, PathBuf>>,
        options: &GalleryOptions,
    ) -> Result<()> {
        let refused = |reason: String| Error::Gallery { path: path.to_owned(), reason };
        refuse_other_things(path)?;
        options.index.check()?;
        let card = Card::load_with_model(model_dir)?;
        if embeddings.width() != card.embedding_width {
            return Err(refused(format!(
                "its embeddings are {} wide, those of the model in '{}' {}",
                embeddings.width(),
                model_dir.display(),
                card.embedding_width
            )));
        }
        let empty = BTreeMap::new();
        let sources = sources.unwrap_or(&empty);
        if let Some(id) = sources.keys().find(|id| embeddings.find(id).is_none()) {
            return Err(refused(format!("the photo '{id}' has a file but no embedding")));
        }
        atomic::write_folder(path, |new| {
            let npy = new.join(EMBEDDINGS);
            embeddings.save(&npy)?;
            sources::write(&new.join(PHOTOS), sources).map_err(refused)?;
            copy_model(model_dir, &new.join(MODEL_DIR))?;
            let mut files = BTreeMap::new();
            fingerprint_files(new, Path::new(""), &mut files)?;
            Manifest {
                format: FORMAT,
                tool: options.tool.clone(),
                model_sha256: card.onnx.sha256.clone(),
                distance: card.distance,
                n: embeddings.len(),
                width: embeddings.width(),
                index: options.index,
                files,
            }
            .save(new)
        })
    }

    /// Opens the gallery in the folder `path` and checks it: every file against its fingerprint, the matrix
    /// and its model against each other.
    ///
    /// # Errors
    /// [`Error::Gallery`] with the file that is missing, damaged, or of a newer version; [`Error::Core`].
    pub fn open(path: &Path) -> Result<Gallery> {
        let manifest = Manifest::load(path)?;
        let damaged = |reason: String| Error::Gallery { path: path.to_owned(), reason };
        for needed in [EMBEDDINGS, "embeddings.csv", PHOTOS, "model/card.json", "model/model.onnx"] {
            if !manifest.files.contains_key(needed) {
                return Err(damaged(format!("its {MANIFEST} does not list '{needed}'")));
            }
        }
        for (name, expected) in &manifest.files {
            let sha256 = fingerprint::of_file(&path.join(name))?;
            if sha256 != *expected {
                return Err(damaged(format!(
                    "'{name}' is damaged or was changed: its sha256 is {sha256}, expected {expected}"
                )));
            }
        }
        let card = Card::load_with_model(&path.join(MODEL_DIR))?;
        if card.onnx.sha256 != manifest.model_sha256 {
            return Err(damaged(format!(
                "its model's fingerprint is {}, its embeddings are by {}",
                card.onnx.sha256, manifest.model_sha256
            )));
        }
        let embeddings = Embeddings::load(&path.join(EMBEDDINGS))?;
        let facts = (manifest.n, manifest.width, manifest.width, manifest.distance);
        let found = (embeddings.len(), embeddings.width(), card.embedding_width, card.distance);
        if facts != found {
            return Err(damaged(format!(
                "its {MANIFEST} says {} embeddings of width {} by {}; the matrix has {} of {}, the model's card says \
                 {} by {}",
                manifest.n, manifest.width, manifest.distance, found.0, found.1, found.2, found.3
            )));
        }
        let sources = sources::read(&path.join(PHOTOS)).map_err(damaged)?;
        if let Some(id) = sources.keys().find(|id| embeddings.find(id).is_none()) {
            return Err(damaged(format!("'{PHOTOS}' names the photo '{id}', which has no embedding")));
        }
        Ok(Gallery { path: path.to_owned(), manifest, card, embeddings: Arc::new(embeddings), sources })
    }

    /// The gallery's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `gallery.json` says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder of the model inside the gallery.
    pub fn model_dir(&self) -> PathBuf {
        self.path.join(MODEL_DIR)
    }

    /// The card of the model inside the gallery.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The embeddings of the photos, `[N, D]`.
    pub fn embeddings(&self) -> &Arc<Embeddings> {
        &self.embeddings
    }

    /// The file of a photo as it was when the gallery was made, where the gallery knows it.
    pub fn source(&self, id: &str) -> Option<&Path> {
        self.sources.get(id).map(PathBuf::as_path)
    }

    /// Builds the index that the gallery asks for, in memory: nothing to do for exact search, minutes for a
    /// graph of a hundred thousand photos.
    ///
    /// # Errors
    /// Those of [`IndexSpec::build`].
    pub fn build_index(&self) -> Result<Box<dyn Index>> {
        self.manifest.index.build(Arc::clone(&self.embeddings), self.card.distance)
    }
}

/// Refuses a path that holds anything but a gallery or an empty folder: it would be replaced.
fn refuse_other_things(path: &Path) -> Result<()> {
    let exists = path.symlink_metadata().is_ok();
    let is_empty_folder = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !exists || is_empty_folder() || manifest::is_ours(path) {
        return Ok(());
    }
    let reason = "something else is there, which will not be overwritten; remove it or choose another path";
    Err(Error::Gallery { path: path.to_owned(), reason: reason.into() })
}

/// Copies what a model's folder is known to hold: the card, the network and, where there is one, the probe.
fn copy_model(from: &Path, to: &Path) -> Result<()> {
    let probe_ids = ids_path(Path::new(PROBE_EMBEDDINGS));
    for name in [Path::new(CARD), Path::new(MODEL), Path::new(PROBE_EMBEDDINGS), &probe_ids] {
        if name == Path::new(CARD) || name == Path::new(MODEL) || from.join(name).exists() {
            copy_file(&from.join(name), &to.join(name))?;
        }
    }
    let images = from.join(PROBE_IMAGES);
    if images.is_dir() {
        for entry in std::fs::read_dir(&images).map_err(CoreError::io("read", &images))? {
            let image = entry.map_err(CoreError::io("read", &images))?.path();
            if let (Some(name), true) = (image.file_name(), image.extension().is_some_and(|end| end == "png"))
            {
                copy_file(&image, &to.join(PROBE_IMAGES).join(name))?;
            }
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(CoreError::io("create", folder))?;
    }
    // Bytes only: a model that may only be read must not make a gallery that cannot be replaced.
    let mut source = std::fs::File::open(from).map_err(CoreError::io("read", from))?;
    let mut target = std::fs::File::create(to).map_err(CoreError::io("write", to))?;
    std::io::copy(&mut source, &mut target).map_err(CoreError::io("copy", from))?;
    Ok(())
}

/// The SHA-256 of every file below `root/relative`, under its path relative to `root` with `/` between
/// folders.
fn fingerprint_files(root: &Path, relative: &Path, files: &mut BTreeMap<String, String>) -> Result<()> {
    let here = root.join(relative);
    for entry in std::fs::read_dir(&here).map_err(CoreError::io("read", &here))? {
        let name = entry.map_err(CoreError::io("read", &here))?.file_name();
        let relative = relative.join(name);
        let path = root.join(&relative);
        if path.is_dir() {
            fingerprint_files(root, &relative, files)?;
            continue;
        }
        let parts: Option<Vec<&str>> = relative.iter().map(|part| part.to_str()).collect();
        let name = parts.ok_or_else(|| CoreError::malformed(&path, "its name is not UTF-8"))?.join("/");
        files.insert(name, fingerprint::of_file(&path)?);
    }
    Ok(())
}
