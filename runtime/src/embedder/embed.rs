//! The embedder as whoever measures a network sees it.

use std::path::{Path, PathBuf};

use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::Embeddings;

use super::{Embedder, OnBroken};
use crate::{Cancel, Error, Progress, Result};

/// Files, of which a broken one is an error: [`Embedder::embed_files`] of [`Embedder::of`].
impl Embed for Embedder {
    type Picture = Path;
    type Error = Error;

    fn distance(&self) -> Distance {
        self.card.distance
    }

    fn embeddings(
        &mut self,
        modality: Modality,
        pictures: &[(&str, &Path)],
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Embeddings> {
        let files: Vec<(String, PathBuf)> =
            pictures.iter().map(|&(id, path)| (id.to_owned(), path.to_owned())).collect();
        Ok(self.of(modality).embed_files(&files, OnBroken::Refuse, progress, cancel)?.embeddings)
    }
}
