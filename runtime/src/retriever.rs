//! The retriever: a gallery, its model and its index in one; a sketch in, matches out.

use std::path::{Path, PathBuf};

use sketchfind_core::image::Rgb8Image;

use crate::{Embedder, EmbedderOptions, Gallery, Index, Result};

/// A photo that matches a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The photo's id.
    pub id: String,
    /// Its distance to the query by the model's distance; smaller is more alike.
    pub distance: f64,
    /// Its place, from 1.
    pub rank: usize,
    /// The photo's file as it was when the gallery was made, where the gallery knows it.
    pub path: Option<PathBuf>,
}

/// Finds the photos of a gallery that match a sketch. The crate's first page has an example.
pub struct Retriever {
    gallery: Gallery,
    index: Box<dyn Index>,
    embedder: Embedder,
}

impl std::fmt::Debug for Retriever {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retriever")
            .field("gallery", &self.gallery)
            .field("index", &self.index.kind())
            .field("embedder", &self.embedder)
            .finish()
    }
}

impl Retriever {
    /// Opens the gallery at `path`, builds its index and opens the model inside it.
    ///
    /// # Errors
    /// Those of [`Gallery::open`], [`Gallery::build_index`] and [`Embedder::open`].
    pub fn open(path: &Path, options: EmbedderOptions) -> Result<Retriever> {
        let gallery = Gallery::open(path)?;
        let embedder = Embedder::open(&gallery.model_dir(), options)?;
        let index = gallery.build_index()?;
        Ok(Retriever { gallery, index, embedder })
    }

    /// The gallery.
    pub fn gallery(&self) -> &Gallery {
        &self.gallery
    }

    /// The gallery's index.
    pub fn index(&self) -> &dyn Index {
        self.index.as_ref()
    }

    /// The gallery's model.
    pub fn embedder(&mut self) -> &mut Embedder {
        &mut self.embedder
    }

    /// The `k` photos that match `sketch` best, or all where there are fewer; best first.
    ///
    /// # Errors
    /// Those of [`Embedder::embed`].
    pub fn query(&mut self, sketch: &Rgb8Image, k: usize) -> Result<Vec<Match>> {
        let embedding = self.embedder.embed(std::slice::from_ref(sketch))?;
        self.query_embedding(&embedding, k)
    }

    /// The `k` photos nearest to an embedding of the gallery's model.
    ///
    /// # Shapes
    /// `embedding`: `[embedding_width]`.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) where the embedding has another width or is not finite.
    pub fn query_embedding(&self, embedding: &[f32], k: usize) -> Result<Vec<Match>> {
        let ids = self.gallery.embeddings().ids();
        let ranking = self.index.search(embedding, k)?;
        let matches = ranking.hits().iter().zip(1..).filter_map(|(hit, rank)| {
            let id = ids.get(hit.row)?.clone();
            let path = self.gallery.source(&id).map(Path::to_owned);
            Some(Match { id, distance: hit.distance, rank, path })
        });
        Ok(matches.collect())
    }
}
