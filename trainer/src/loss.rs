//! The losses, on embeddings of a batch, one file each. Distances are mean squared differences of features:
//! `d(a, b) = (1/D) * sum_k (a_k - b_k)^2` ('Photo Pre-Training, But for Sketch', CVPR 2023, section 3). A network whose
//! embeddings are normalised is compared by `1 - cos`, which its embeddings times `sqrt(D / 2)` have as `d`.
//!
//! Loss and gradients equal plain PyTorch's (`tests/reference/make_losses.py`).

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::Result;
use crate::within::Within;

mod contrastive;
pub mod distillation;
mod topology;
mod triplet;

pub use contrastive::{Contrastive, contrastive};
pub use topology::{TopologyPairs, topology};
pub use triplet::{Negatives, Triplet, triplet, triplet_in_batch};

/// The retrieval loss, L_FG, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Loss {
    /// A sketch nearer to its own photo than to another, by a margin.
    Triplet(Triplet),
    /// A sketch's own photo told apart from all photos of the batch, and a photo's own sketch from all sketches
    /// (InfoNCE, both directions).
    Contrastive(Contrastive),
}

impl Loss {
    /// What this loss does.
    pub(crate) fn rule(&self) -> &dyn RetrievalLoss {
        match self {
            Loss::Triplet(loss) => loss,
            Loss::Contrastive(loss) => loss,
        }
    }
}

/// What a retrieval loss does with a batch.
pub(crate) trait RetrievalLoss {
    /// Checks the settings.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    fn check(&self, within: &Within) -> std::result::Result<(), String>;

    /// Whether each sketch is trained against a photo that is drawn from all training photos, a third image a step.
    fn draws_negatives(&self) -> bool {
        false
    }

    /// The loss of a batch.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] where shapes differ.
    fn of(&self, batch: &Embedded<'_>) -> Result<LossValue>;
}

/// The embeddings of a batch of B sketches.
pub(crate) struct Embedded<'a> {
    /// `[B, D]`.
    pub(crate) sketches: Tensor,
    /// Of the sketches' own photos, `[B, D]`.
    pub(crate) positives: Tensor,
    /// Of the photos that were drawn besides, `[B, D]`, or `[0, D]` where the loss draws none.
    pub(crate) negatives: Tensor,
    /// Which photo each positive is, `[B]`.
    pub(crate) photos: &'a [i64],
}

/// What a loss gives.
#[derive(Debug)]
pub struct LossValue {
    /// The loss, a single number that gradients flow through.
    pub loss: Tensor,
    /// The share of triplets within the margin, whose gradient is not zero; of a contrastive loss the share of sketches
    /// whose own photo is not the nearest of the batch.
    pub active: Tensor,
}

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

/// `d` of every row of `a` to every row of `b`, as `(|a|^2 + |b|^2 - 2 a b) / D`: memory of the result, and not of all
/// differences.
///
/// # Shapes
/// `a`: `[A, D]`, `b`: `[B, D]`; returns `[A, B]`.
///
/// # Errors
/// [`crate::Error::Torch`] where the widths differ.
pub fn all_distances(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let square = |x: &Tensor| x.f_square()?.f_sum_dim_intlist(&[1_i64][..], true, None);
    let squares = square(a)?.f_add(&square(b)?.f_transpose(0, 1)?)?;
    let products = a.f_matmul(&b.f_transpose(0, 1)?)?.f_mul_scalar(2.0)?;
    Ok(squares.f_sub(&products)?.f_div_scalar(a.size()[1] as f64)?)
}

/// Where sketch i and photo j, or sketch j, are of one photo.
///
/// # Shapes
/// `photos`: which photo each is of, `[B]`; returns bool `[B, B]`.
fn of_one_photo(photos: &[i64], device: tch::Device) -> Result<Tensor> {
    let photos = Tensor::f_from_slice(photos)?.f_to_device(device)?;
    Ok(photos.f_unsqueeze(1)?.f_eq_tensor(&photos.f_unsqueeze(0)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sketchfind_models::weights::Weights;
    use std::path::Path;

    #[test]
    fn all_distances_equal_those_row_by_row() {
        tch::manual_seed(1);
        let options = (tch::Kind::Float, tch::Device::Cpu);
        let (a, b) = (Tensor::randn([5, 37], options), Tensor::randn([7, 37], options));
        let all = all_distances(&a, &b).unwrap();
        assert_eq!(all.size(), [5, 7]);
        for (i, j) in [(0, 0), (4, 6), (2, 5)] {
            let one = distances(&a.narrow(0, i, 1), &b.narrow(0, j, 1)).unwrap().double_value(&[0]);
            assert!((all.double_value(&[i, j]) - one).abs() < 1e-6);
        }
    }

    /// What tests/reference/make_losses.py wrote.
    fn reference() -> Weights {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/losses.safetensors");
        Weights::load(&path).unwrap()
    }

    fn tensor(reference: &Weights, name: &str) -> Tensor {
        let tensor = reference.get(name).unwrap();
        let shape: Vec<i64> = tensor.shape.iter().map(|&size| size as i64).collect();
        Tensor::from_slice(&tensor.values).reshape(shape)
    }

    /// Every loss on the embeddings that tests/reference/make_losses.py has, with its gradients.
    #[test]
    fn losses_and_gradients_equal_pytorchs() {
        let reference = reference();
        let get = |name: &str| tensor(&reference, name);
        let photos: Vec<i64> =
            reference.get("photos").unwrap().values.iter().map(|&photo| photo as i64).collect();
        type Case<'a> = (&'a str, Box<dyn Fn(&Tensor, &Tensor) -> LossValue>);
        let photos_of = || photos.clone();
        let cases: Vec<Case<'_>> = vec![
            ("hardest", {
                let photos = photos_of();
                Box::new(move |s, p| triplet_in_batch(s, p, &photos, 0.3, false).unwrap())
            }),
            ("semi_hard", {
                let photos = photos_of();
                Box::new(move |s, p| triplet_in_batch(s, p, &photos, 0.3, true).unwrap())
            }),
            ("contrastive", {
                let photos = photos_of();
                Box::new(move |s, p| contrastive(s, p, &photos, 0.1, false).unwrap())
            }),
            ("contrastive_same_modality", {
                let photos = photos_of();
                Box::new(move |s, p| contrastive(s, p, &photos, 0.1, true).unwrap())
            }),
        ];
        for (name, of) in cases {
            let (s, p) = (get("sketches").set_requires_grad(true), get("positives").set_requires_grad(true));
            let value = of(&s, &p);
            let expected = get(&format!("{name}.loss")).double_value(&[]);
            let got = value.loss.double_value(&[]);
            assert!((got - expected).abs() < 1e-5 * expected.abs().max(1.0), "{name}: {got} {expected}");
            let gradients = Tensor::run_backward(&[value.loss], &[s, p], false, false);
            for (gradient, of) in gradients.iter().zip(["sketches", "positives"]) {
                let expected = get(&format!("{name}.grad.{of}"));
                let left = ((gradient - &expected).norm() / expected.norm()).double_value(&[]);
                assert!(left < 1e-5, "{name}, gradient of {of}: off by {left}");
            }
            let active = value.active.double_value(&[]);
            assert!(
                (active - get(&format!("{name}.active")).double_value(&[])).abs() < 1e-6,
                "{name}: {active}"
            );
        }
    }

    #[test]
    fn distillation_equals_pytorchs() {
        let reference = reference();
        let get = |name: &str| tensor(&reference, name);
        type Of = fn(&Tensor, &Tensor) -> Result<Tensor>;
        let cases: [(&str, Of); 2] =
            [("embeddings", distillation::of_embeddings), ("relations", distillation::of_relations)];
        for (name, of) in cases {
            let embeddings = get("embeddings").set_requires_grad(true);
            let loss = of(&embeddings, &get(&format!("teacher.{name}"))).unwrap();
            let expected = get(&format!("distil_{name}.loss")).double_value(&[]);
            assert!((loss.double_value(&[]) - expected).abs() < 1e-5, "{name}: {loss:?} {expected}");
            let gradients = Tensor::run_backward(&[loss], &[embeddings], false, false);
            let expected = get(&format!("distil_{name}.grad"));
            let left = ((&gradients[0] - &expected).norm() / expected.norm()).double_value(&[]);
            assert!(left < 1e-5, "{name}: gradient off by {left}");
        }
    }
}
