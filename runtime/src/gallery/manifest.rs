//! `gallery.json`: what a gallery is, and which files hold it. Replacing this one file is what makes a change of files
//! take effect.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sketchfind_core::distance::Distance;
use sketchfind_core::frame::PhotoFrame;
use sketchfind_core::{Error as CoreError, atomic, fingerprint};

use super::space::EmbeddingSpace;
use crate::home;
use crate::{Costs, Error, IndexSpec, Recall, Result};

/// The name of this file in a gallery's folder.
pub const MANIFEST: &str = "gallery.json";
/// The word that says that a folder is a gallery of ours.
pub const MAGIC: &str = "sketchfind-gallery";
/// The version of the format that this code writes, and the newest that it reads.
pub const FORMAT: u32 = 6;
/// The oldest that it reads. The third differs from the second in what it may say of the index, the fourth in what it may
/// say of photos, the fifth in that there need be no model, the sixth in that photos may have products.
const OLDEST: u32 = 2;
/// The first whose galleries need no model.
const FIRST_WITHOUT_MODEL: u32 = 5;
/// The first whose photos may have products.
pub(super) const FIRST_WITH_PRODUCTS: u32 = 6;

/// What a gallery is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The program and version that made the gallery.
    pub tool: String,
    /// The fingerprint of the model that made the embeddings ([`Card::fingerprint`](sketchfind_core::card::Card::fingerprint));
    /// nothing where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// The distance by which they are compared: that of the model, where the gallery has one.
    pub distance: Distance,
    /// The width of an embedding, D.
    pub width: usize,
    /// The index to search it with.
    pub index: IndexSpec,
    /// SHA-256 of every file of the model, by its path in the gallery with `/` between folders; empty where the gallery has no
    /// model.
    pub files: BTreeMap<String, String>,
    /// The numbers of the segments' files, oldest first.
    pub segments: Vec<u64>,
    /// The number of the log's file.
    pub log: u64,
    /// The sequence of the log's first record.
    pub sequence: u64,
    /// How photos are framed before they are embedded; nothing where they are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo_frame: Option<PhotoFrame>,
    /// What embedding and exact search cost where the gallery was built, from which the index `auto` chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
    /// How many of the nearest the graph found when it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<Recall>,
}

/// The file: the magic word, a checksum of the manifest, the manifest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    magic: String,
    /// Repeated here, so that a file of a newer format is called newer and not malformed.
    format: u32,
    /// SHA-256 of `gallery` as serde_json writes it without spaces.
    sha256: String,
    gallery: Manifest,
}

impl Manifest {
    /// Whether the gallery has the model that makes its embeddings.
    pub fn has_model(&self) -> bool {
        !self.files.is_empty()
    }

    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST);
        let document = Document {
            magic: MAGIC.to_owned(),
            format: self.format,
            sha256: checksum(self, &path)?,
            gallery: self.clone(),
        };
        let mut text = serde_json::to_string_pretty(&document)
            .map_err(|e| CoreError::malformed(&path, e.to_string()))?;
        text.push('\n');
        Ok(atomic::write_bytes(&path, text.as_bytes())?)
    }
}

/// Reads the manifest of the gallery in `folder`.
pub(super) fn load(folder: &Path) -> Result<Manifest> {
    refuse_address(folder)?;
    let path = folder.join(MANIFEST);
    let refused = |reason: String| Error::Gallery { path: folder.to_owned(), reason };
    if folder.is_dir() && !path.exists() {
        return Err(refused(format!("it is no gallery: there is no '{MANIFEST}' in it")));
    }
    let bytes = std::fs::read(&path).map_err(CoreError::io("read", &path))?;
    let header: Header = serde_json::from_slice(&bytes)
        .map_err(|e| refused(format!("its '{MANIFEST}' cannot be read: {e}")))?;
    if header.magic != MAGIC {
        return Err(refused(format!("its '{MANIFEST}' says '{}', expected '{MAGIC}'", header.magic)));
    }
    if !(OLDEST..=FORMAT).contains(&header.format) {
        return Err(refused(format!(
            "its '{MANIFEST}' is of format {}; this version of sketchfind reads {OLDEST} to {FORMAT}. \
             Update sketchfind, or make the gallery again with this version",
            header.format
        )));
    }
    let document: Document = serde_json::from_slice(&bytes)
        .map_err(|e| refused(format!("its '{MANIFEST}' of format {} cannot be read: {e}", header.format)))?;
    let manifest = document.gallery;
    let sha256 = checksum(&manifest, &path)?;
    if sha256 != document.sha256 || manifest.format != document.format {
        return Err(refused(format!(
            "its '{MANIFEST}' is damaged or was changed: its sha256 is {sha256}, expected {}",
            document.sha256
        )));
    }
    // The names come from a file, and must not lead out of the gallery.
    let leads_out = |name: &&String| !Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
    if let Some(name) = manifest.files.keys().find(leads_out) {
        return Err(refused(format!("its '{MANIFEST}' lists '{name}', which is not a file inside it")));
    }
    // Where there is a model its card says the same, and nobody else does where there is none.
    EmbeddingSpace::new(manifest.width, manifest.distance)
        .check()
        .map_err(|error| refused(format!("its '{MANIFEST}' describes no gallery: {error}")))?;
    if manifest.format < FIRST_WITHOUT_MODEL && !manifest.has_model() {
        return Err(refused(format!("its '{MANIFEST}' of format {} lists no model", manifest.format)));
    }
    manifest.index.check()?;
    Ok(manifest)
}

/// Refuses the address of a database, which is no folder.
pub(super) fn refuse_address(place: &Path) -> Result<()> {
    if home::is_address(place) {
        return Err(Error::OnlyFolder { place: home::shown(place).into(), what: "this" });
    }
    Ok(())
}

fn checksum(manifest: &Manifest, path: &Path) -> Result<String> {
    let text = serde_json::to_string(manifest).map_err(|e| CoreError::malformed(path, e.to_string()))?;
    Ok(fingerprint::of_bytes(text.as_bytes()))
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Header {
    magic: String,
    format: u32,
}

/// Whether the folder says that it is a gallery, of whatever version.
pub(super) fn is_ours(folder: &Path) -> bool {
    let header = std::fs::read(folder.join(MANIFEST)).ok();
    let header = header.and_then(|bytes| serde_json::from_slice::<Header>(&bytes).ok());
    header.is_some_and(|header| header.magic == MAGIC)
}
