//! Embedding with progress, until interrupted, for all commands that measure.

use anyhow::Result;
use sketchfind::{Embedder, Error};
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

/// Embeddings under their ids, of pictures that are made on the spot. `progress` is told after each batch how many are done;
/// `cancel` is asked before each.
pub(crate) fn embed_pictures(
    embedder: &mut Embedder,
    ids: &[String],
    make: &mut dyn FnMut(usize) -> Result<Image>,
    progress: Progress<'_>,
    cancel: Cancel<'_>,
) -> Result<Embeddings> {
    let mut values = Vec::with_capacity(ids.len() * embedder.card().embedding_width);
    let n_batch = embedder.options().batch;
    for start in (0..ids.len()).step_by(n_batch) {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled.into());
        }
        let end = (start + n_batch).min(ids.len());
        let pictures = (start..end).map(&mut *make).collect::<Result<Vec<_>>>()?;
        values.extend(embedder.embed(&pictures)?);
        progress.tell(end);
    }
    Ok(Embeddings::new(ids.to_vec(), embedder.card().embedding_width, values)?)
}

/// One list of pictures after another, with one bar for all of them, until interrupted.
pub(crate) struct Lists {
    bar: Bar,
    interrupt: Interrupt,
    n_done: usize,
}

impl Lists {
    /// Lists of `n` pictures together.
    pub(crate) fn begin(n: usize, what: &str) -> Result<Lists> {
        Ok(Lists { bar: Bar::new(n, what), interrupt: Interrupt::listen()?, n_done: 0 })
    }

    /// The embeddings of the next list, see [`embed_pictures`].
    pub(crate) fn embed(
        &mut self,
        embedder: &mut Embedder,
        ids: &[String],
        make: &mut dyn FnMut(usize) -> Result<Image>,
    ) -> Result<Embeddings> {
        let tell = |n_done| self.bar.set(self.n_done + n_done);
        let is_cancelled = || self.interrupt.is_set();
        let (progress, cancel) = (Progress::new(&tell), Cancel::new(&is_cancelled));
        let embeddings = embed_pictures(embedder, ids, make, progress, cancel)?;
        self.n_done += ids.len();
        Ok(embeddings)
    }

    pub(crate) fn finish(self) {
        self.bar.finish();
    }
}
