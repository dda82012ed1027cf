//! Validation on training photos that were held out, never on the test split.

use sketchfind_core::image::Preprocess;
use sketchfind_eval::accuracy::accuracy_at;
use sketchfind_eval::{Questions, evaluate};

use crate::Result;
use crate::data::Pairs;
use crate::embed::{TorchEmbedder, named};
use crate::network::TorchNetwork;

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
    let match_of = |photo: usize| vec![held_out.photos[photo].id.clone()];
    let questions = Questions {
        photos: named(&held_out.photos),
        sketches: named(held_out.sketches.iter().map(|(sketch, _)| sketch)),
        truth: held_out
            .sketches
            .iter()
            .map(|(sketch, photo)| (sketch.id.clone(), match_of(*photo)))
            .collect(),
    };
    let answers = evaluate(&questions, &mut TorchEmbedder { network, preprocess })?;
    Ok(Some(accuracy_at(&answers.results, 1)))
}
