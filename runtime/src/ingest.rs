//! Bringing files into a gallery: what is in already is known by its content, what is broken is named, and work that is
//! interrupted goes on where it was.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sketchfind_core::fingerprint;

use crate::{BrokenImage, Error, OnBroken, Photo, Result, Retriever, Snapshot};

/// A photo that is to be in a gallery, and the file to read it from.
#[derive(Clone, Debug)]
pub struct PhotoFile {
    /// Id, labels and the path that the gallery shall know. Its content is set here.
    pub photo: Photo,
    /// The file.
    pub path: PathBuf,
}

/// What came of bringing files into a gallery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Photos that were not there.
    pub n_added: usize,
    /// Photos that were there with another content, labels or path.
    pub n_replaced: usize,
    /// Photos that were there as they are.
    pub n_unchanged: usize,
    /// Of those added and replaced, how many needed no embedding because the same content was there.
    pub n_known: usize,
    /// Files that were left out, in the order of the list.
    pub broken: Vec<BrokenImage>,
}

/// Files between two changes of the gallery: what an interruption costs at most, and few enough that each is one record
/// of the log.
const CHUNK: usize = 256;

impl Retriever {
    /// Brings `files` into the gallery: those that are not in it, and those whose content, labels or path have changed.
    /// A content that the gallery has under any id is not embedded again. Every few hundred files the gallery keeps what
    /// was done, so that after an interruption or a crash the same call goes on where it was.
    ///
    /// `progress` is told how many files are done so far; `cancelled` is asked between batches.
    ///
    /// # Errors
    /// [`Error::RepeatedId`] before any file is opened; [`Error::BrokenImage`] for the first broken file with
    /// [`OnBroken::Refuse`], once all before it are in; [`Error::Cancelled`]; the errors of
    /// [`Gallery::replace`](crate::Gallery::replace) and [`Embedder::embed_files`](crate::Embedder::embed_files).
    pub fn ingest(
        &self,
        files: &[PhotoFile],
        on_broken: OnBroken,
        progress: &mut dyn FnMut(usize),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Ingested> {
        check_ids(files)?;
        files.iter().try_for_each(|file| file.photo.check())?;
        let mut id_of_content: HashMap<[u8; 32], String> = HashMap::new();
        for (photo, _) in self.snapshot().photos() {
            if let Some(content) = photo.content() {
                id_of_content.insert(*content, photo.id().to_owned());
            }
        }
        let mut done = Ingested::default();
        let mut n_done = 0;
        for chunk in files.chunks(CHUNK) {
            if cancelled() {
                return Err(Error::Cancelled);
            }
            let contents: Vec<_> = chunk.par_iter().map(|file| content_of(&file.path)).collect();
            let snapshot = self.snapshot();
            let (mut photos, mut values, mut to_embed) = (Vec::new(), Vec::new(), Vec::new());
            let mut fresh: HashMap<String, Photo> = HashMap::new();
            for (file, content) in chunk.iter().zip(contents) {
                // A file that cannot be read is told by the decoder, as every other broken one.
                let photo = match content {
                    Some(content) => file.photo.clone().with_content(content),
                    None => file.photo.clone(),
                };
                if photo.content().is_some() && snapshot.photo(photo.id()) == Some(&photo) {
                    done.n_unchanged += 1;
                } else if let Some(row) = known(&snapshot, &id_of_content, &photo) {
                    values.extend_from_slice(row);
                    done.n_known += 1;
                    photos.push(photo);
                } else {
                    to_embed.push((photo.id().to_owned(), file.path.clone()));
                    fresh.insert(photo.id().to_owned(), photo);
                }
            }
            let n_before = n_done + chunk.len() - to_embed.len();
            progress(n_before);
            let mut first_broken = None;
            if !to_embed.is_empty() {
                let embedded = self.with_embedder(|embedder| {
                    let mut tell = |n| progress(n_before + n);
                    embedder.embed_files(&to_embed, OnBroken::Skip, &mut tell, cancelled)
                })?;
                for (id, row) in embedded.embeddings.ids().iter().zip(embedded.embeddings.rows()) {
                    let Some(photo) = fresh.remove(id) else { continue };
                    if let Some(content) = photo.content() {
                        id_of_content.insert(*content, id.clone());
                    }
                    values.extend_from_slice(row);
                    photos.push(photo);
                }
                first_broken = embedded.broken.first().cloned();
                done.broken.extend(embedded.broken);
            }
            let n_replaced = photos.iter().filter(|photo| snapshot.photo(photo.id()).is_some()).count();
            done.n_replaced += n_replaced;
            done.n_added += photos.len() - n_replaced;
            self.gallery().replace(photos, values)?;
            if let (Some(broken), OnBroken::Refuse) = (first_broken, on_broken) {
                let BrokenImage { id, path, reason } = broken;
                return Err(Error::BrokenImage { id, path, reason });
            }
            n_done += chunk.len();
            progress(n_done);
        }
        Ok(done)
    }
}

/// The SHA-256 of a file, if it can be read.
fn content_of(path: &Path) -> Option<[u8; 32]> {
    fingerprint::bytes_of_file(path).ok()
}

/// The embedding that the gallery has for a photo's content.
fn known<'s>(
    snapshot: &'s Snapshot,
    id_of_content: &HashMap<[u8; 32], String>,
    photo: &Photo,
) -> Option<&'s [f32]> {
    let content = photo.content()?;
    let id = id_of_content.get(content)?;
    // The photo of that id may have been replaced since.
    let is_same = snapshot.photo(id).is_some_and(|there| there.content() == Some(content));
    if is_same { snapshot.embedding(id) } else { None }
}

fn check_ids(files: &[PhotoFile]) -> Result<()> {
    let mut first_of: HashMap<&str, &Path> = HashMap::with_capacity(files.len());
    for file in files {
        if let Some(first) = first_of.insert(file.photo.id(), &file.path) {
            let (id, first, second) = (file.photo.id().to_owned(), first.to_owned(), file.path.clone());
            return Err(Error::RepeatedId { id, first, second });
        }
    }
    Ok(())
}
