//! The embedder as whoever measures a network sees it.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::Embeddings;

use super::{Embedder, OnBroken};
use crate::{Error, Result};

/// Files, of which a broken one is an error: [`Embedder::embed_files`]. Photos and sketches are embedded alike.
impl Embed for Embedder {
    type Picture = Path;
    type Error = Error;

    fn distance(&self) -> Distance {
        self.card.distance
    }

    fn embeddings(
        &mut self,
        _modality: Modality,
        pictures: &[(&str, &Path)],
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Embeddings> {
        let files: Vec<(String, PathBuf)> =
            pictures.iter().map(|&(id, path)| (id.to_owned(), path.to_owned())).collect();
        let is_wanted = Cell::new(true);
        let mut progress = |n_done| is_wanted.set(go_on(n_done));
        let embedded = self.embed_files(&files, OnBroken::Refuse, &mut progress, &|| !is_wanted.get())?;
        Ok(embedded.embeddings)
    }
}
