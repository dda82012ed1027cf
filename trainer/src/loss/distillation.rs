//! Distillation: embeddings that keep near to another network's of the same images.

use tch::Tensor;

use super::all_distances;
use crate::Result;

/// The mean over images of `1 - cos(e, t)`, with `e` an embedding and `t` the teacher's: half the squared difference of
/// unit vectors (Romero et al., 'FitNets', 2015, equation 3, on embeddings of unit length).
///
/// # Shapes
/// `embeddings`, `teacher`: `[N, D]`.
///
/// # Errors
/// [`crate::Error::Torch`] where the shapes differ.
pub fn of_embeddings(embeddings: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let product = unit(embeddings)?.f_mul(&unit(teacher)?)?.f_sum_dim_intlist(&[1_i64][..], false, None)?;
    Ok(product.f_neg()?.f_add_scalar(1.0)?.f_mean(None::<tch::Kind>)?)
}

/// The distance-wise relational loss of Park, Kim, Lu, Cho, 'Relational Knowledge Distillation' (CVPR 2019, equations 5
/// to 7): with Euclidean distances between all images of the batch, each over the mean of its own network's, the mean of
/// Huber's loss with threshold 1 between the student's and the teacher's. Widths may differ.
///
/// # Shapes
/// `embeddings`: `[N, D]`, `teacher`: `[N, D']`.
///
/// # Errors
/// [`crate::Error::Torch`] where there are not as many of both.
pub fn of_relations(embeddings: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let n = embeddings.size()[0];
    let others = Tensor::f_eye(n, (tch::Kind::Bool, embeddings.device()))?.f_logical_not()?;
    let relations = |of: &Tensor| -> Result<Tensor> {
        // The root has no gradient at zero, where two images are one.
        let distances = all_distances(of, of)?.f_masked_select(&others)?.f_clamp_min(1e-12)?.f_sqrt()?;
        let mean = distances.f_mean(None::<tch::Kind>)?.f_clamp_min(1e-12)?;
        Ok(distances.f_div(&mean)?)
    };
    let difference = relations(embeddings)?.f_sub(&relations(teacher)?)?.f_abs()?;
    let small = difference.f_clamp_max(1.0)?;
    // Huber: x^2 / 2 up to 1 and x - 1/2 beyond, as min(x, 1) * (x - min(x, 1) / 2).
    let huber = small.f_mul(&difference.f_sub(&small.f_mul_scalar(0.5)?)?)?;
    Ok(huber.f_mean(None::<tch::Kind>)?)
}

fn unit(vectors: &Tensor) -> Result<Tensor> {
    let lengths = vectors.f_norm_scalaropt_dim(2.0, [1_i64], true)?.f_clamp_min(1e-12)?;
    Ok(vectors.f_div(&lengths)?)
}
