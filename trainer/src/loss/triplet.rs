//! The triplet loss: a sketch nearer to its own photo than to another, by a margin.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Embedded, LossValue, RetrievalLoss, all_distances, distances, of_one_photo};
use crate::Result;
use crate::within::Within;

/// The settings of the triplet loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triplet {
    /// The margin, Delta_sp, in the unit of distances. The paper's 0.1 is a third of the mean distance between chair
    /// photos in its ResNet50's space at 256 x 256 pixels; see
    /// [`crate::neighbourhood::PhotoDistances::mean_distance`] for others'. Where embeddings are normalised, distances
    /// are `1 - cos`.
    pub margin: f64,
    /// Which other photo.
    pub negatives: Negatives,
}

/// The other photo of a triplet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Negatives {
    /// Drawn at random from the other training photos: the paper's.
    Random,
    /// The nearest other photo of the batch.
    Hardest,
    /// The nearest photo of the batch that lies farther than the sketch's own; the farthest where none does.
    SemiHard,
}

impl RetrievalLoss for Triplet {
    fn check(&self, within: &Within) -> std::result::Result<(), String> {
        within("loss.margin", self.margin, "above 0", self.margin > 0.0)
    }

    fn draws_negatives(&self) -> bool {
        self.negatives == Negatives::Random
    }

    fn of(&self, Embedded { sketches, positives, negatives, photos }: &Embedded<'_>) -> Result<LossValue> {
        if self.draws_negatives() {
            return triplet(sketches, positives, negatives, self.margin);
        }
        triplet_in_batch(sketches, positives, photos, self.margin, self.negatives == Negatives::SemiHard)
    }
}

/// The fine-grained retrieval loss,
/// `L_FG = mean over the batch of max(0, d(s, p+) - d(s, p-) + margin)` ('Photo Pre-Training, But for Sketch', CVPR 2023, equation 1).
///
/// # Shapes
/// `sketches`, `positives`, `negatives`: `[B, D]`.
///
/// # Errors
/// [`crate::Error::Torch`] where the shapes differ.
pub fn triplet(sketches: &Tensor, positives: &Tensor, negatives: &Tensor, margin: f64) -> Result<LossValue> {
    let difference = distances(sketches, positives)?.f_sub(&distances(sketches, negatives)?)?;
    let hinge = difference.f_add_scalar(margin)?.f_clamp_min(0.0)?;
    of_hinge(&hinge)
}

/// The same with the negative out of the batch: for each sketch the nearest photo that is not its own (hardest), or the
/// nearest that lies farther than its own, and the farthest where none does (semi-hard; Schroff, Kalenichenko, Philbin,
/// 'FaceNet', CVPR 2015, section 3.2). Which one it is has no gradient. A sketch whose batch has no other photo counts
/// as 0.
///
/// # Shapes
/// `sketches`, `positives`: `[B, D]`; `photos`: which photo each is of, `[B]`.
///
/// # Errors
/// [`crate::Error::Torch`] where the shapes differ.
pub fn triplet_in_batch(
    sketches: &Tensor,
    positives: &Tensor,
    photos: &[i64],
    margin: f64,
    is_semi_hard: bool,
) -> Result<LossValue> {
    let all = all_distances(sketches, positives)?;
    let own = all.f_diagonal(0, 0, 1)?;
    let (chosen, has_other) = tch::no_grad(|| -> Result<(Tensor, Tensor)> {
        let all = all.f_detach()?;
        let is_own = of_one_photo(photos, all.device())?;
        let nearest = all.f_masked_fill(&is_own, f64::INFINITY)?;
        let has_other = is_own.f_logical_not()?.f_any_dim(1, false)?;
        if !is_semi_hard {
            return Ok((nearest.f_argmin(1, true)?, has_other));
        }
        let is_nearer = all.f_le_tensor(&own.f_detach()?.f_unsqueeze(1)?)?;
        let farther = nearest.f_masked_fill(&is_nearer, f64::INFINITY)?;
        let farthest = all.f_masked_fill(&is_own, f64::NEG_INFINITY)?.f_argmax(1, true)?;
        let is_any = farther.f_isfinite()?.f_any_dim(1, true)?;
        Ok((farther.f_argmin(1, true)?.f_where_self(&is_any, &farthest)?, has_other))
    })?;
    let negative = all.f_gather(1, &chosen, false)?.f_squeeze_dim(1)?;
    let hinge = own.f_sub(&negative)?.f_add_scalar(margin)?.f_clamp_min(0.0)?;
    of_hinge(&hinge.f_mul(&has_other.f_to_kind(hinge.kind())?)?)
}

fn of_hinge(hinge: &Tensor) -> Result<LossValue> {
    let active = tch::no_grad(|| hinge.f_gt(0.0)?.f_mean(tch::Kind::Float))?;
    Ok(LossValue { loss: hinge.f_mean(None)?, active })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sketchfind_core::random::Stream;

    #[test]
    fn by_hand() {
        // d(s, p+) = ((1-2)^2 + 0) / 2 = 0.5 and 0; d(s, p-) = ((1-1)^2 + 2^2) / 2 = 2 and 0.02.
        let s = Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 0.0]).reshape([2, 2]);
        let p = Tensor::from_slice(&[2.0_f32, 0.0, 0.0, 0.0]).reshape([2, 2]);
        let n = Tensor::from_slice(&[1.0_f32, 2.0, 0.2, 0.0]).reshape([2, 2]);
        let result = triplet(&s, &p, &n, 0.1).unwrap();
        // max(0, 0.5 - 2 + 0.1) = 0 and 0 - 0.02 + 0.1 = 0.08: mean 0.04, one of two active.
        assert!((result.loss.double_value(&[]) - 0.04).abs() < 1e-7);
        assert_eq!(result.active.double_value(&[]), 0.5);
    }

    #[test]
    fn equals_plain_loops() {
        let mut stream = Stream::new(1, "loss", &[]);
        let (batch, width, margin) = (7, 33, 0.1);
        let mut draw = || (0..batch * width).map(|_| stream.unit() as f32).collect::<Vec<f32>>();
        let (s, p, n) = (draw(), draw(), draw());
        let mut expected = 0.0;
        for i in 0..batch {
            let d = |a: &[f32], b: &[f32]| {
                let row = i * width..(i + 1) * width;
                let squares = a[row.clone()].iter().zip(&b[row]).map(|(x, y)| f64::from(x - y).powi(2));
                squares.sum::<f64>() / width as f64
            };
            expected += (d(&s, &p) - d(&s, &n) + margin).max(0.0) / batch as f64;
        }
        let tensor = |v: &[f32]| Tensor::from_slice(v).reshape([batch as i64, width as i64]);
        let loss = triplet(&tensor(&s), &tensor(&p), &tensor(&n), margin).unwrap().loss;
        assert!((loss.double_value(&[]) - expected).abs() < 1e-6);
    }

    #[test]
    fn a_collapsed_network_has_the_margin_as_its_loss() {
        let same = Tensor::ones([4, 8], (tch::Kind::Float, tch::Device::Cpu));
        let loss = triplet(&same, &same, &same, 0.1).unwrap().loss;
        assert!((loss.double_value(&[]) - 0.1).abs() < 1e-8);
    }

    /// On a line: the sketch at 0, its photo at 1, others at 0.5, 2 and 5.
    #[test]
    fn negatives_of_the_batch_are_the_ones_that_the_names_say() {
        let column = |values: &[f32]| Tensor::from_slice(values).reshape([-1, 1]);
        // Only the first sketch is looked at: the others lie far from all that is not their own.
        let sketches = column(&[0.0, 0.5, 2.0, 5.0]);
        let positives = column(&[1.0, 0.5, 2.0, 5.0]);
        let first = |photos: &[i64], is_semi_hard| {
            let value = triplet_in_batch(&sketches, &positives, photos, 10.0, is_semi_hard).unwrap();
            // The mean is of four; the others' own distances are 0, their nearest others known.
            4.0 * value.loss.double_value(&[])
        };
        let others = |nearest: [f64; 3]| nearest.iter().map(|d| 10.0 - d).sum::<f64>();
        // Hardest: 1 - 0.25 + 10; of the others: 0.25, 1 and 9.
        assert!((first(&[0, 1, 2, 3], false) - (10.75 + others([0.25, 1.0, 9.0]))).abs() < 1e-5);
        // Semi-hard: the first that is farther than 1 is 4.
        assert!((first(&[0, 1, 2, 3], true) - (1.0 - 4.0 + 10.0 + others([0.25, 1.0, 9.0]))).abs() < 1e-5);
        // The second is another view of the first photo: it is no negative, of either.
        let expected = 1.0 - 4.0 + 10.0 + (10.0 - 2.25) + others([1.0, 9.0, 10.0]);
        assert!((first(&[0, 0, 2, 3], false) - expected).abs() < 1e-5);
        // One photo alone has nothing to be told from.
        assert_eq!(first(&[7, 7, 7, 7], false), 0.0);
        assert_eq!(first(&[7, 7, 7, 7], true), 0.0);
    }
}
