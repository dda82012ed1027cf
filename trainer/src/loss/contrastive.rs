//! The contrastive loss: a sketch's own photo told apart from all photos of the batch at once, and the reverse.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Embedded, LossValue, RetrievalLoss, all_distances, of_one_photo};
use crate::Result;
use crate::within::Within;

/// The settings of the contrastive loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrastive {
    /// Distances are divided by it; above 0.
    pub temperature: f64,
    /// Whether images of the query's own modality are among the negatives.
    pub same_modality: bool,
}

impl RetrievalLoss for Contrastive {
    fn check(&self, within: &Within) -> std::result::Result<(), String> {
        within("loss.temperature", self.temperature, "above 0", self.temperature > 0.0)
    }

    fn of(&self, Embedded { sketches, positives, photos, .. }: &Embedded<'_>) -> Result<LossValue> {
        contrastive(sketches, positives, photos, self.temperature, self.same_modality)
    }
}

/// InfoNCE (van den Oord, Li, Vinyals, 'Representation Learning with Contrastive Predictive Coding', 2018, equation 4) in
/// both directions, as CLIP has it (Radford et al. 2021, figure 3), on distances in place of products: on unit vectors
/// the two are the same.
///
/// ```text
/// L = 1/2 mean_i -log( exp(-d(s_i, p_i) / t) / sum_j exp(-d(s_i, p_j) / t) )
///   + 1/2 mean_i -log( exp(-d(p_i, s_i) / t) / sum_j exp(-d(p_i, s_j) / t) )
/// ```
///
/// An entry j other than i that is of the same photo as i is left out of the sums. With `same_modality` the first sum runs over the
/// other sketches too, `exp(-d(s_i, s_j) / t)`, and the second over the other photos, those of the same photo left out.
///
/// # Shapes
/// `sketches`, `positives`: `[B, D]`; `photos`: which photo each is of, `[B]`; `temperature` is `t`.
///
/// # Errors
/// [`crate::Error::Torch`] where the shapes differ.
pub fn contrastive(
    sketches: &Tensor,
    positives: &Tensor,
    photos: &[i64],
    temperature: f64,
    same_modality: bool,
) -> Result<LossValue> {
    let (n, device) = (photos.len() as i64, sketches.device());
    let is_one = of_one_photo(photos, device)?;
    let itself = Tensor::f_eye(n, (tch::Kind::Bool, device))?;
    let is_twin = is_one.f_logical_and(&itself.f_logical_not()?)?;
    let logits = |a: &Tensor, b: &Tensor, left_out: &Tensor| -> Result<Tensor> {
        let logits = all_distances(a, b)?.f_div_scalar(-temperature)?;
        Ok(logits.f_masked_fill(left_out, f64::NEG_INFINITY)?)
    };
    let across = logits(sketches, positives, &is_twin)?;
    let back = across.f_transpose(0, 1)?;
    let (of_sketches, of_photos) = if same_modality {
        let with = |across: &Tensor, own: &Tensor| -> Result<Tensor> {
            Ok(Tensor::f_cat(&[across, &logits(own, own, &is_one)?], 1)?)
        };
        (with(&across, sketches)?, with(&back, positives)?)
    } else {
        (across.shallow_clone(), back)
    };
    let targets = Tensor::f_arange(n, (tch::Kind::Int64, device))?;
    let mean = |logits: &Tensor| -> Result<Tensor> {
        let log_shares = logits.f_log_softmax(1, None::<tch::Kind>)?;
        Ok(log_shares.f_gather(1, &targets.f_unsqueeze(1)?, false)?.f_mean(None::<tch::Kind>)?.f_neg()?)
    };
    let loss = mean(&of_sketches)?.f_add(&mean(&of_photos)?)?.f_mul_scalar(0.5)?;
    let active = tch::no_grad(|| -> Result<Tensor> {
        let is_first = across.f_argmax(1, false)?.f_eq_tensor(&targets)?;
        Ok(is_first.f_logical_not()?.f_mean(tch::Kind::Float)?)
    })?;
    Ok(LossValue { loss, active })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).reshape([-1, 1])
    }

    #[test]
    fn by_hand() {
        // d(s, p): 0 and 4 for the first sketch, 1 and 1 for the second; t = 1.
        let (s, p) = (column(&[0.0, 1.0]), column(&[0.0, 2.0]));
        let value = contrastive(&s, &p, &[0, 1], 1.0, false).unwrap();
        let log_sum = |values: &[f64]| values.iter().map(|value| (-value).exp()).sum::<f64>().ln();
        let expected = 0.5 * ((log_sum(&[0.0, 4.0]) + log_sum(&[1.0, 1.0]) + 1.0) / 2.0)
            + 0.5 * ((log_sum(&[0.0, 1.0]) + log_sum(&[4.0, 1.0]) + 1.0) / 2.0);
        assert!((value.loss.double_value(&[]) - expected).abs() < 1e-6);
        // The sketches lie 1 apart, the photos 4.
        let value = contrastive(&s, &p, &[0, 1], 1.0, true).unwrap();
        let expected = 0.5 * ((log_sum(&[0.0, 4.0, 1.0]) + log_sum(&[1.0, 1.0, 1.0]) + 1.0) / 2.0)
            + 0.5 * ((log_sum(&[0.0, 1.0, 4.0]) + log_sum(&[4.0, 1.0, 4.0]) + 1.0) / 2.0);
        assert!((value.loss.double_value(&[]) - expected).abs() < 1e-6);
    }

    #[test]
    fn two_sketches_of_one_photo_are_not_told_apart() {
        let (s, p) = (column(&[0.0, 0.1, 3.0]), column(&[0.0, 0.0, 3.0]));
        let twins = contrastive(&s, &p, &[5, 5, 9], 0.1, true).unwrap();
        assert!(twins.loss.double_value(&[]) < 0.1, "{:?}", twins.loss);
        let strangers = contrastive(&s, &p, &[5, 6, 9], 0.1, true).unwrap();
        assert!(strangers.loss.double_value(&[]) > 0.3);
        // All of one photo: nothing to tell apart, and nothing that is not a number.
        for same_modality in [false, true] {
            let alone = contrastive(&s, &p, &[5, 5, 5], 0.1, same_modality).unwrap();
            assert_eq!(alone.loss.double_value(&[]), 0.0);
        }
    }

    #[test]
    fn the_active_share_is_of_sketches_whose_photo_is_not_first() {
        let (s, p) = (column(&[0.0, 1.0, 2.0, 3.0]), column(&[0.0, 1.9, 1.1, 3.0]));
        let value = contrastive(&s, &p, &[0, 1, 2, 3], 1.0, false).unwrap();
        assert_eq!(value.active.double_value(&[]), 0.5);
    }
}
