//! The first format of galleries, which is read for good and written no more: a matrix in NumPy's format, its ids and
//! the photos' paths in CSV files, and the SHA-256 of each file in the manifest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::fingerprint;

use super::manifest::{self, MANIFEST};
use super::segment::Segment;
use super::sources;
use crate::index::Matrix;
use crate::{Error, IndexSpec, Photo, Result};

/// The matrix's name in a gallery's folder; the ids stand beside it in `embeddings.csv`.
const EMBEDDINGS: &str = "embeddings.npy";
/// The name of the list of photo files.
const PHOTOS: &str = "photos.csv";
/// The files that a gallery of this format has besides its model and manifest.
pub(super) const FILES: [&str; 3] = [EMBEDDINGS, "embeddings.csv", PHOTOS];

/// `gallery.json` of the first format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) tool: String,
    pub(super) model_sha256: String,
    pub(super) distance: Distance,
    pub(super) n: usize,
    pub(super) width: usize,
    pub(super) index: IndexSpec,
    pub(super) files: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    magic: String,
    format: u32,
    sha256: String,
    gallery: Manifest,
}

/// Reads the manifest from its file's bytes.
pub(super) fn parse(folder: &Path, bytes: &[u8]) -> Result<Manifest> {
    let refused = |reason: String| Error::Gallery { path: folder.to_owned(), reason };
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|e| refused(format!("its '{MANIFEST}' of format 1 cannot be read: {e}")))?;
    let manifest = document.gallery;
    manifest::check(
        folder,
        &manifest,
        manifest.format == document.format,
        &document.sha256,
        &manifest.files,
    )?;
    manifest.index.check()?;
    for needed in FILES {
        if !manifest.files.contains_key(needed) {
            return Err(refused(format!("its {MANIFEST} does not list '{needed}'")));
        }
    }
    Ok(manifest)
}

/// Reads the photos and checks every file against its fingerprint.
pub(super) fn read(folder: &Path, manifest: &Manifest) -> Result<Segment> {
    let damaged = |reason: String| Error::Gallery { path: folder.to_owned(), reason };
    for name in FILES {
        check_file(folder, name, &manifest.files)?;
    }
    let embeddings = Embeddings::load(&folder.join(EMBEDDINGS))?;
    if (embeddings.len(), embeddings.width()) != (manifest.n, manifest.width) {
        return Err(damaged(format!(
            "its {MANIFEST} says {} embeddings of width {}; the matrix has {} of {}",
            manifest.n,
            manifest.width,
            embeddings.len(),
            embeddings.width()
        )));
    }
    let mut sources = sources::read(&folder.join(PHOTOS)).map_err(damaged)?;
    let mut photos = Vec::with_capacity(embeddings.len());
    for id in embeddings.ids() {
        let photo = Photo::new(id);
        photos.push(match sources.remove(id) {
            Some(source) => photo.with_source(source),
            None => photo,
        });
    }
    if let Some(id) = sources.keys().next() {
        return Err(damaged(format!("'{PHOTOS}' names the photo '{id}', which has no embedding")));
    }
    Ok(Segment::sorted(photos, Matrix::from(Arc::new(embeddings)), None))
}

/// Checks the file `name` against its fingerprint.
pub(super) fn check_file(folder: &Path, name: &str, files: &BTreeMap<String, String>) -> Result<()> {
    let damaged = |reason: String| Error::Gallery { path: folder.to_owned(), reason };
    let expected =
        files.get(name).ok_or_else(|| damaged(format!("its {MANIFEST} does not list '{name}'")))?;
    let sha256 = fingerprint::of_file(&folder.join(name))?;
    if sha256 == *expected {
        return Ok(());
    }
    Err(damaged(format!("'{name}' is damaged or was changed: its sha256 is {sha256}, expected {expected}")))
}
