//! A network in libtorch as whoever measures it sees it: decoded pictures in, embeddings out.

use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::Preprocess;
use sketchfind_core::work::{Cancel, Progress};
use tch::Tensor;

use crate::config::Features;
use crate::data::centre_crops;
use crate::network::{TorchNetwork, to_values};
use crate::picture::Picture;
use crate::{Error, Result};

/// Images that are embedded at once: enough to keep the cores busy, little memory.
const BATCH: usize = 32;

/// A network that embeds pictures as evaluation does: centre crops, frozen batch norms, 32 bits.
#[derive(Debug)]
pub struct TorchEmbedder<'a> {
    /// The network.
    pub network: &'a TorchNetwork,
    /// How its pictures were resized, and are cropped.
    pub preprocess: &'a Preprocess,
}

/// Photos and sketches are embedded alike.
impl Embed for TorchEmbedder<'_> {
    type Picture = Picture;
    type Error = Error;

    fn distance(&self) -> Distance {
        self.network.network().distance()
    }

    fn embeddings(
        &mut self,
        _modality: Modality,
        pictures: &[(&str, &Picture)],
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Embeddings> {
        let (ids, pictures): (Vec<String>, Vec<&Picture>) =
            pictures.iter().map(|&(id, picture)| (id.to_owned(), picture)).unzip();
        let (mut values, mut n_done) = (Vec::new(), 0);
        for_each_chunk(self.network, &pictures, self.preprocess, Features::Pooled, |n, features| {
            values.extend(features);
            n_done += n;
            progress.tell(n_done);
            if n_done < ids.len() && cancel.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
        })?;
        Ok(Embeddings::new(ids, self.network.network().output_width(), values)?)
    }
}

/// Pictures under their own ids.
pub(crate) fn named<'p>(pictures: impl IntoIterator<Item = &'p Picture>) -> Vec<(&'p str, &'p Picture)> {
    pictures.into_iter().map(|picture| (picture.id.as_str(), picture)).collect()
}

/// Computes pictures' features as evaluation does, some at a time, and hands them on row by row, until `take` fails.
pub(crate) fn for_each_chunk(
    network: &TorchNetwork,
    pictures: &[&Picture],
    preprocess: &Preprocess,
    features: Features,
    mut take: impl FnMut(usize, Vec<f32>) -> Result<()>,
) -> Result<()> {
    let side = i64::from(preprocess.crop);
    for chunk in pictures.chunks(BATCH) {
        let crops = centre_crops(chunk.iter().copied(), preprocess)?;
        let images = Tensor::f_from_slice(&crops)?
            .f_reshape([chunk.len() as i64, 3, side, side])?
            .f_to_device(network.device())?;
        take(chunk.len(), to_values(&network.features(&images, features)?)?)?;
    }
    Ok(())
}
