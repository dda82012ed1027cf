//! The loss of the neighbourhood topology: photos that were neighbours before training stay neighbours.

use tch::Tensor;

use super::LossValue;
use crate::Result;

/// The pairs of photos that L_NT asks about, `Z` of them, as indices into a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopologyPairs {
    /// The sketch of each, an index into the batch's triplets.
    pub anchors: Vec<i64>,
    /// p*+, an index into the batch's photos.
    pub first: Vec<i64>,
    /// p*-, likewise.
    pub second: Vec<i64>,
    /// R[i, p*+, p*-], with i the anchor's own photo.
    pub signs: Vec<f32>,
}

/// The loss of the neighbourhood topology,
/// `L_NT = mean over the pairs of max(0, R[i, p*+, p*-] * (d(s, p*+) - d(s, p*-)) + margin)` ('Photo
/// Pre-Training, But for Sketch', CVPR 2023, equations 3 and 4). Without any pair it is 0.
///
/// # Shapes
/// `anchors`: `[B, D]`, sketches for equation 4 and their photos for equation 3; `photos`: `[P, D]`.
///
/// # Errors
/// [`crate::Error::Torch`] where an index is out of range.
pub fn topology(anchors: &Tensor, photos: &Tensor, pairs: &TopologyPairs, margin: f64) -> Result<LossValue> {
    let n_photos = photos.size()[0];
    // All B x P distances at once, then the pairs out of them: K pairs share their terms.
    let differences = anchors.f_unsqueeze(1)?.f_sub(&photos.f_unsqueeze(0)?)?;
    let distances = differences.f_square()?.f_mean_dim(&[2_i64][..], false, None)?.f_reshape([-1])?;
    let pick = |photo: &[i64]| {
        let places: Vec<i64> =
            pairs.anchors.iter().zip(photo).map(|(anchor, photo)| anchor * n_photos + photo).collect();
        distances.f_index_select(0, &Tensor::f_from_slice(&places)?.f_to_device(distances.device())?)
    };
    let signs = Tensor::f_from_slice(&pairs.signs)?.f_to_device(distances.device())?;
    let signs = signs.f_to_kind(distances.kind())?;
    let hinge = pick(&pairs.first)?
        .f_sub(&pick(&pairs.second)?)?
        .f_mul(&signs)?
        .f_add_scalar(margin)?
        .f_clamp_min(0.0)?;
    // A mean over nothing is 0, and not NaN.
    let n_pairs = pairs.signs.len().max(1) as f64;
    let active = tch::no_grad(|| hinge.f_gt(0.0)?.f_sum(tch::Kind::Float)?.f_div_scalar(n_pairs))?;
    Ok(LossValue { loss: hinge.f_sum(None)?.f_div_scalar(n_pairs)?, active })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sketchfind_core::random::Stream;

    fn random_pairs(stream: &mut Stream, batch: usize, n_photos: usize, k: usize) -> TopologyPairs {
        let mut pairs = TopologyPairs::default();
        for anchor in 0..batch {
            for _ in 0..k {
                pairs.anchors.push(anchor as i64);
                pairs.first.push(stream.below(n_photos) as i64);
                pairs.second.push(stream.below(n_photos) as i64);
                pairs.signs.push(if stream.coin() { 1.0 } else { -1.0 });
            }
        }
        pairs
    }

    #[test]
    fn topology_equals_three_plain_loops() {
        let mut stream = Stream::new(1, "topology", &[]);
        let (batch, n_photos, width, k, margin) = (5, 9, 21, 10, 0.01);
        let mut draw = |n: usize| (0..n * width).map(|_| stream.unit() as f32).collect::<Vec<f32>>();
        let (anchors, photos) = (draw(batch), draw(n_photos));
        let pairs = random_pairs(&mut stream, batch, n_photos, k);
        let mut sum = 0.0;
        for s in 0..batch {
            for pair in 0..k {
                let z = s * k + pair;
                let mut difference = 0.0;
                for component in 0..width {
                    let of = |photo: i64| f64::from(photos[photo as usize * width + component]);
                    let a = f64::from(anchors[s * width + component]);
                    let (p, q) = (of(pairs.first[z]), of(pairs.second[z]));
                    difference += ((a - p).powi(2) - (a - q).powi(2)) / width as f64;
                }
                sum += (f64::from(pairs.signs[z]) * difference + margin).max(0.0);
            }
        }
        let tensor = |v: &[f32]| Tensor::from_slice(v).reshape([-1, width as i64]);
        let result = topology(&tensor(&anchors), &tensor(&photos), &pairs, margin).unwrap();
        let expected = sum / (batch * k) as f64;
        assert!((result.loss.double_value(&[]) - expected).abs() < 1e-7, "{expected}");
    }

    proptest::proptest! {
        /// R[i, k, j] = -R[i, j, k] but for ties: which of a pair is called p*+ does not matter.
        #[test]
        fn swapping_a_pair_leaves_the_topology_loss_unchanged(seed in 0..1000_u64) {
            let mut stream = Stream::new(seed, "swap", &[]);
            let mut draw = |n: usize| (0..n * 4).map(|_| stream.unit() as f32).collect::<Vec<f32>>();
            let (anchors, photos) = (draw(3), draw(6));
            let pairs = random_pairs(&mut stream, 3, 6, 4);
            let mut swapped = pairs.clone();
            std::mem::swap(&mut swapped.first, &mut swapped.second);
            swapped.signs.iter_mut().for_each(|sign| *sign = -*sign);
            let tensor = |v: &[f32]| Tensor::from_slice(v).reshape([-1, 4]);
            let loss = |pairs| {
                topology(&tensor(&anchors), &tensor(&photos), pairs, 0.01).unwrap().loss.double_value(&[])
            };
            proptest::prop_assert!((loss(&pairs) - loss(&swapped)).abs() < 1e-7);
        }
    }

    #[test]
    fn no_pairs_are_no_loss_and_a_collapsed_network_has_the_margin() {
        let same = Tensor::ones([4, 8], (tch::Kind::Float, tch::Device::Cpu));
        let none = topology(&same, &same, &TopologyPairs::default(), 0.01).unwrap();
        assert_eq!((none.loss.double_value(&[]), none.active.double_value(&[])), (0.0, 0.0));
        let pairs = random_pairs(&mut Stream::new(1, "pairs", &[]), 4, 4, 3);
        let collapsed = topology(&same, &same, &pairs, 0.01).unwrap();
        assert!((collapsed.loss.double_value(&[]) - 0.01).abs() < 1e-8);
        assert_eq!(collapsed.active.double_value(&[]), 1.0);
    }
}
