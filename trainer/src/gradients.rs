//! How much gradients differ between the batches of an epoch, as the source of the method reports it ('Photo Pre-Training,
//! But for Sketch', CVPR 2023).

use tch::Tensor;

use crate::batches::Sampler;
use crate::config::{BatchNorm, Config, Train};
use crate::network::TorchNetwork;
use crate::optimiser::norm;
use crate::{Result, step};

/// The nuclear norm of the covariance of L_FG's gradients between batches, at the network's weights. A covariance has no
/// negative eigenvalue, so the norm is its trace: `sum_b |g_b - mean g|^2 / (n - 1)`. Nothing where an epoch has one step.
///
/// # Errors
/// [`crate::Error::Torch`].
pub fn gradient_covariance(
    config: &Config,
    network: &mut TorchNetwork,
    sampler: &Sampler,
    (epoch, n_batches): (u64, u64),
) -> Result<Option<f64>> {
    let config =
        Config { train: Train { batch_norm: BatchNorm::Frozen, ..config.train.clone() }, ..config.clone() };
    let n = n_batches.min(sampler.steps_per_epoch());
    if n < 2 {
        return Ok(None);
    }
    let mut mean: Option<Vec<Tensor>> = None;
    let mut squares = 0.0;
    for index in 0..n {
        let batch = sampler.batch(epoch, index)?;
        let gradients = step::retrieval_gradient(&config, network, &batch)?;
        squares += norm(&gradients)?.powi(2);
        mean = Some(match mean {
            None => gradients,
            Some(sum) => sum
                .iter()
                .zip(&gradients)
                .map(|(sum, gradient)| sum.f_add(gradient))
                .collect::<std::result::Result<_, _>>()?,
        });
    }
    let of_mean = mean.map_or(Ok(0.0), |sum| norm(&sum))? / n as f64;
    Ok(Some((squares - n as f64 * of_mean * of_mean).max(0.0) / (n - 1) as f64))
}
