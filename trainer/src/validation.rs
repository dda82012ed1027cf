//! Validation on training photos that were held out, never on the test split.

use std::collections::BTreeMap;

use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::Preprocess;
use sketchfind_eval::accuracy::accuracy_at;
use sketchfind_eval::rank_queries;
use tch::Tensor;

use crate::Result;
use crate::config::Features;
use crate::data::{Pairs, centre_crops};
use crate::network::{TorchNetwork, to_values};
use crate::picture::Picture;

/// Images that are embedded at once: enough to keep the cores busy, little memory.
const BATCH: usize = 32;

/// The share of held-out sketches whose photo is ranked first among the held-out photos, in `[0, 1]`; nothing where
/// none is held out.
///
/// # Errors
/// [`crate::Error::Torch`]; [`crate::Error::Core`] where an embedding is not finite.
pub fn held_out_acc1(
    network: &TorchNetwork,
    held_out: &Pairs,
    preprocess: &Preprocess,
) -> Result<Option<f64>> {
    if held_out.sketches.is_empty() {
        return Ok(None);
    }
    let photos: Vec<&Picture> = held_out.photos.iter().collect();
    let sketches: Vec<&Picture> = held_out.sketches.iter().map(|(sketch, _)| sketch).collect();
    let truth: BTreeMap<String, String> = held_out
        .sketches
        .iter()
        .map(|(sketch, photo)| (sketch.id.clone(), held_out.photos[*photo].id.clone()))
        .collect();
    let gallery = embed(network, &photos, preprocess)?;
    let queries = embed(network, &sketches, preprocess)?;
    Ok(Some(accuracy_at(&rank_queries(&queries, &gallery, &truth, network.network().distance())?, 1)))
}

/// Embeds pictures as evaluation does: centre crops, frozen batch norms, 32 bits.
///
/// # Errors
/// [`crate::Error::Torch`]; [`crate::Error::Core`] where an embedding is not finite.
pub fn embed(network: &TorchNetwork, pictures: &[&Picture], preprocess: &Preprocess) -> Result<Embeddings> {
    let mut values = Vec::new();
    for_each_chunk(network, pictures, preprocess, Features::Pooled, |_, features| {
        values.extend(features);
        Ok(())
    })?;
    let ids = pictures.iter().map(|picture| picture.id.clone()).collect();
    Ok(Embeddings::new(ids, network.network().output_width(), values)?)
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
