//! The embedder as whoever measures a network sees it.

use std::path::{Path, PathBuf};

use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::Embeddings;

use super::{Embedder, OnBroken};
use crate::{Cancel, Error, Progress, Result};

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
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Embeddings> {
        let files: Vec<(String, PathBuf)> =
            pictures.iter().map(|&(id, path)| (id.to_owned(), path.to_owned())).collect();
        Ok(self.embed_files(&files, OnBroken::Refuse, progress, cancel)?.embeddings)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::EmbedderOptions;

    #[test]
    fn files_are_embedded_under_their_ids_until_it_is_cancelled() {
        let options = EmbedderOptions::cpu().with_batch(1);
        let mut embedder = Embedder::open("tests/fixtures/mean8", options).unwrap();
        let path = |name: &str| Path::new("tests/fixtures/photos").join(name);
        let (red, blue, none) = (path("red.png"), path("blue.png"), path("none.png"));
        let mut embed = |files: &[(&str, &Path)], n_wanted: usize| {
            let n_done = AtomicUsize::new(0);
            let tell = |n| n_done.store(n, Ordering::Relaxed);
            let is_enough = || n_done.load(Ordering::Relaxed) >= n_wanted;
            embedder.embeddings(Modality::Photo, files, Progress::new(&tell), Cancel::new(&is_enough))
        };
        let both = embed(&[("r", &red), ("b", &blue)], 2).unwrap();
        assert_eq!((both.ids()[0].as_str(), both.values()), ("b", &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0][..]));
        assert!(matches!(embed(&[("r", &red), ("b", &blue)], 1), Err(Error::Cancelled)));
        let broken = embed(&[("r", &red), ("n", &none)], 2);
        assert!(matches!(broken, Err(Error::BrokenImage { id, .. }) if id == "n"));
    }
}
