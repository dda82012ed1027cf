//! The multi-task objective: `alpha * L_FG(theta) + beta * L_NT(theta)` (equation 5).

use tch::Tensor;

use super::{Objective, StepOutcome, gradient, outcome};
use crate::Result;
use crate::config::NeighbourhoodSettings;
use crate::network::TorchNetwork;

/// One gradient of the weighted sum at theta_n, from one forward pass.
///
/// # Errors
/// [`crate::Error::Torch`].
pub fn gradients(
    objective: &Objective<'_>,
    settings: &NeighbourhoodSettings,
    network: &TorchNetwork,
) -> Result<(Vec<Tensor>, StepOutcome)> {
    let embeddings = objective.embed(network)?;
    let retrieval = objective.retrieval(&embeddings)?;
    let topology = objective.topology(&embeddings, settings)?;
    let weighted = topology.loss.f_mul_scalar(settings.beta)?;
    let loss = retrieval.loss.f_mul_scalar(settings.alpha)?.f_add(&weighted)?;
    Ok((gradient(&loss, network)?, outcome(&retrieval, Some(&topology))?))
}
