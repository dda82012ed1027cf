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

/// What the triplet loss gives.
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
}
