//! Embedding with progress, until interrupted, for all commands that measure.

use anyhow::Result;
use sketchfind::Embedder;
use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::Image;
use sketchfind_core::work::{Cancel, Progress};

use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// A network that tells how far it is, and stops when it is interrupted.
pub(crate) struct Watched<'a, E> {
    pub(crate) network: &'a mut E,
    /// What is said of it besides: nothing, or which of several it is.
    pub(crate) note: &'static str,
}

impl<E: Embed> Embed for Watched<'_, E>
where
    anyhow::Error: From<E::Error>,
{
    type Picture = E::Picture;
    type Error = anyhow::Error;

    fn distance(&self) -> Distance {
        self.network.distance()
    }

    fn embeddings(
        &mut self,
        modality: Modality,
        pictures: &[(&str, &E::Picture)],
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Embeddings> {
        let interrupt = Interrupt::listen()?;
        let what = match modality {
            Modality::Photo => "photos",
            Modality::Sketch => "sketches",
        };
        let bar = Bar::new(pictures.len(), &format!("embedding {what}{}", self.note));
        let tell = |n_done| {
            bar.set(n_done);
            progress.tell(n_done);
        };
        let is_cancelled = || interrupt.is_set() || cancel.is_cancelled();
        let embeddings =
            self.network.embeddings(modality, pictures, Progress::new(&tell), Cancel::new(&is_cancelled))?;
        bar.finish();
        Ok(embeddings)
    }
}

/// Embeddings under their ids, of pictures that are made on the spot. `progress` is told before each batch how many it has.
pub(crate) fn embed_pictures(
    embedder: &mut Embedder,
    ids: &[String],
    make: &mut dyn FnMut(usize) -> Result<Image>,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Embeddings> {
    let mut values = Vec::with_capacity(ids.len() * embedder.card().embedding_width);
    let n_batch = embedder.options().batch;
    for start in (0..ids.len()).step_by(n_batch) {
        let end = (start + n_batch).min(ids.len());
        progress(end - start)?;
        let pictures = (start..end).map(&mut *make).collect::<Result<Vec<_>>>()?;
        values.extend(embedder.embed(&pictures)?);
    }
    Ok(Embeddings::new(ids.to_vec(), embedder.card().embedding_width, values)?)
}
