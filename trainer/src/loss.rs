//! The losses, on embeddings of a batch. Distances are mean squared differences of raw features:
//! `d(a, b) = (1/D) * sum_k (a_k - b_k)^2` ('Photo Pre-Training, But for Sketch', CVPR 2023, section 3).

use tch::Tensor;

use crate::Result;

/// `d` row by row.
///
/// # Shapes
/// `a`, `b`: `[B, D]`; returns `[B]`.
///
/// # Errors
/// [`crate::Error::Torch`] where the shapes differ.
pub fn distances(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(a.f_sub(b)?.f_square()?.f_mean_dim(&[1_i64][..], false, None)?)
}

/// What a loss over triplets gives.
#[derive(Debug)]
pub struct TripletLoss {
    /// The loss, a single number that gradients flow through.
    pub loss: Tensor,
    /// The share of triplets within the margin, whose gradient is not zero.
    pub active: Tensor,
}

/// The fine-grained retrieval loss,
/// `L_FG = mean over the batch of max(0, d(s, p+) - d(s, p-) + margin)` (the same source, equation 1).
///
/// # Shapes
/// `sketches`, `positives`, `negatives`: `[B, D]`.
///
/// # Errors
/// [`crate::Error::Torch`] where the shapes differ.
pub fn triplet(
    sketches: &Tensor,
    positives: &Tensor,
    negatives: &Tensor,
    margin: f64,
) -> Result<TripletLoss> {
    let difference = distances(sketches, positives)?.f_sub(&distances(sketches, negatives)?)?;
    let hinge = difference.f_add_scalar(margin)?.f_clamp_min(0.0)?;
    let active = tch::no_grad(|| hinge.f_gt(0.0)?.f_mean(tch::Kind::Float))?;
    Ok(TripletLoss { loss: hinge.f_mean(None)?, active })
}

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
/// `L_NT = mean over the pairs of max(0, R[i, p*+, p*-] * (d(s, p*+) - d(s, p*-)) + margin)` (the same source,
/// equations 3 and 4). Without any pair it is 0.
///
/// # Shapes
/// `anchors`: `[B, D]`, sketches for equation 4 and their photos for equation 3; `photos`: `[P, D]`.
///
/// # Errors
/// [`crate::Error::Torch`] where an index is out of range.
pub fn topology(
    anchors: &Tensor,
    photos: &Tensor,
    pairs: &TopologyPairs,
    margin: f64,
) -> Result<TripletLoss> {
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
    Ok(TripletLoss { loss: hinge.f_sum(None)?.f_div_scalar(n_pairs)?, active })
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
