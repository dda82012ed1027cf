//! The baseline: fine-grained retrieval alone (equation 1).

use tch::Tensor;

use super::{Objective, StepOutcome, gradient, outcome};
use crate::Result;
use crate::network::TorchNetwork;

/// The gradient of L_FG at theta_n.
///
/// # Errors
/// [`crate::Error::Torch`].
pub fn gradients(objective: &Objective<'_>, network: &TorchNetwork) -> Result<(Vec<Tensor>, StepOutcome)> {
    let retrieval = objective.retrieval(&objective.embed(network)?)?;
    Ok((gradient(&retrieval.loss, network)?, outcome(&retrieval, None)?))
}
