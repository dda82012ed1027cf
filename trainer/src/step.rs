//! One step: a batch becomes an update of the network.

use tch::Tensor;

use crate::batches::Batch;
use crate::config::{Config, Method};
use crate::loss;
use crate::network::TorchNetwork;
use crate::optimiser::Sgd;
use crate::{Error, Result};

/// What a step tells of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// The loss before the update.
    pub loss: f64,
    /// The share of triplets within the margin.
    pub active: f64,
}

/// Takes one step. `step` and `epoch`, both from 1, are for an error.
///
/// # Errors
/// [`Error::NotFinite`] where the loss is not a number, before anything is updated; [`Error::Torch`].
pub fn step(
    config: &Config,
    network: &mut TorchNetwork,
    optimiser: &mut Sgd,
    batch: &Batch,
    (epoch, step): (u64, u64),
) -> Result<StepOutcome> {
    let (gradients, outcome) = match config.train.method {
        Method::Baseline => baseline(config, network, batch)?,
    };
    if !outcome.loss.is_finite() {
        return Err(Error::NotFinite { step, epoch, loss: outcome.loss });
    }
    optimiser.update(network.trained_mut(), &gradients)?;
    Ok(outcome)
}

/// The gradient of L_FG alone. Sketches, photos and negatives pass through the one encoder as one batch; in
/// training mode they therefore share one set of batch statistics.
fn baseline(config: &Config, network: &TorchNetwork, batch: &Batch) -> Result<(Vec<Tensor>, StepOutcome)> {
    let embeddings = network.forward(&images(config, network, batch)?, config.train.batch_norm)?;
    let n = batch.n_triplets as i64;
    let part = |index: i64| embeddings.f_narrow(0, index * n, n);
    let result = loss::triplet(&part(0)?, &part(1)?, &part(2)?, config.train.margin)?;
    let gradients = Tensor::f_run_backward(&[&result.loss], network.trained(), false, false)?;
    let outcome =
        StepOutcome { loss: result.loss.f_double_value(&[])?, active: result.active.f_double_value(&[])? };
    Ok((gradients, outcome))
}

fn images(config: &Config, network: &TorchNetwork, batch: &Batch) -> Result<Tensor> {
    let (n, side) = (3 * batch.n_triplets as i64, i64::from(config.images.crop));
    Ok(Tensor::f_from_slice(&batch.values)?.f_reshape([n, 3, side, side])?.f_to_device(network.device())?)
}
