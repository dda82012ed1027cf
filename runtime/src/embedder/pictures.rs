//! Embedding pictures that come one after another: in bounded memory, on all cores.

use sketchfind_core::frame::PhotoFrame;

use super::stream::{Batch, Done, Job};
use super::{Embedder, View};
use crate::{Cancel, Error, Picture, Progress, Result};

/// Bytes of pictures that go through the network together, so that a list of large ones takes the memory of few.
const MOST_HELD: usize = 32 << 20;

/// What came of photos of which some may be broken.
#[derive(Debug)]
pub struct EmbeddedPhotos {
    /// The embeddings of those that are pictures, in their order: `[n, embedding_width]`, row-major.
    pub values: Vec<f32>,
    /// The others: their positions in the list, from 0, and what is wrong with them.
    pub broken: Vec<(usize, sketchfind_core::Error)>,
}

impl Embedder {
    /// The embeddings of `pictures`, in their order. They are asked for as they are needed, on threads of the embedder, so that
    /// of a long list few are in memory at a time. Decoding and inference overlap on all of the embedder's threads.
    ///
    /// `progress` is told, after each batch, how many pictures are done so far. `cancel` is asked before each batch.
    ///
    /// # Shapes
    /// `pictures`: `[n]` of any sizes; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// [`Error::BrokenPicture`] for the first of the list that cannot be embedded; [`Error::Cancelled`];
    /// [`Error::Inference`].
    pub fn embed_pictures(
        &mut self,
        pictures: impl Iterator<Item = Picture> + Send,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Vec<f32>> {
        self.embed_views(View::Whole, pictures, progress, cancel)
    }

    /// The embeddings of photos as a gallery that frames them by `frame` has them. One that is broken costs no other: it is told by
    /// its position, and left out. All else is as [`Embedder::embed_pictures`] does it.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Inference`].
    pub fn embed_photos(
        &mut self,
        frame: Option<PhotoFrame>,
        pictures: impl Iterator<Item = Picture> + Send,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<EmbeddedPhotos> {
        let view = frame.map_or(View::Whole, View::Framed);
        let mut broken = Vec::new();
        let values = self.embed_each(view, pictures, progress, cancel, &mut |position, error| {
            broken.push((position, error));
            Ok(())
        })?;
        Ok(EmbeddedPhotos { values, broken })
    }

    /// [`Embedder::embed_pictures`] of a part of each.
    pub(crate) fn embed_views(
        &mut self,
        view: View,
        pictures: impl Iterator<Item = Picture> + Send,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Vec<f32>> {
        self.embed_each(view, pictures, progress, cancel, &mut |position, source| {
            Err(Error::BrokenPicture { position, source })
        })
    }

    /// [`Embedder::embed_views`] of those that are pictures; `on_broken` is told which are not, and why.
    fn embed_each(
        &mut self,
        view: View,
        mut pictures: impl Iterator<Item = Picture> + Send,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
        on_broken: &mut dyn FnMut(usize, sketchfind_core::Error) -> Result<()>,
    ) -> Result<Vec<f32>> {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let (least, most) = pictures.size_hint();
        // Of a list whose length nobody knows it is supposed that threads are worth starting for it.
        let n_pictures = most.unwrap_or_else(|| least.max(1024));
        let mut values = Vec::new();
        let (mut n_done, mut is_over) = (0, false);
        let mut next = |n: usize| {
            let (mut jobs, mut n_held) = (Vec::with_capacity(n), 0);
            while jobs.len() < n && n_held < MOST_HELD && !is_over {
                match pictures.next().filter(|_| !cancel.is_cancelled()) {
                    Some(picture) => {
                        n_held += picture.n_bytes();
                        jobs.push(Job { picture, view });
                    }
                    // An iterator that has ended need not be asked again.
                    None => is_over = true,
                }
            }
            let n_jobs = jobs.len();
            (n_jobs > 0).then_some(Batch { jobs, parcel: n_jobs })
        };
        self.stream(n_pictures, &mut next, &mut |done: Done<usize>| {
            for (outcome, position) in done.outcomes.into_iter().zip(n_done..) {
                outcome.or_else(|error| on_broken(position, error))?;
            }
            n_done += done.parcel;
            values.extend_from_slice(&done.values);
            progress.tell(n_done);
            if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
        })?;
        if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(values) }
    }
}
