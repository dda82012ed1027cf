//! The topology as a meta-objective, first order: Algorithm 1 and equation 9.
//!
//! ```text
//! g_hat     = grad of L_FG at theta_n
//! theta_tmp = theta_n - eta_s * g_hat
//! g_bar     = grad of L_NT at theta_tmp                      with respect to theta_tmp
//! theta_n+1 = theta_n - eta_s * g_hat - eta_t * g_bar
//! ```
//!
//! The optimiser receives `g_hat + (eta_t / eta_s) * g_bar` at theta_n (ours: the source does not say how momentum
//! enters). Plain SGD with the learning rate eta_s then makes Algorithm 1's update. A gradient is clipped, if at all,
//! in the optimiser; the virtual step is as written. A schedule scales both eta alike.

use tch::Tensor;

use super::{Objective, Place, Retrieval, StepOutcome, gradient, outcome};
use crate::Result;
use crate::config::NeighbourhoodSettings;
use crate::loss::LossValue;
use crate::network::TorchNetwork;

/// What both meta methods compute.
pub(super) struct FirstOrder {
    /// The gradient of L_FG at theta_n.
    pub(super) g_hat: Vec<Tensor>,
    /// The gradient of L_NT at theta_tmp.
    pub(super) g_bar: Vec<Tensor>,
    /// theta_n.
    pub(super) place: Place,
    /// L_FG at theta_n.
    retrieval: Retrieval,
    /// L_NT at theta_tmp.
    topology: LossValue,
}

impl FirstOrder {
    /// Computes both gradients; the network is at theta_tmp afterwards.
    pub(super) fn compute(
        objective: &Objective<'_>,
        settings: &NeighbourhoodSettings,
        network: &mut TorchNetwork,
    ) -> Result<FirstOrder> {
        // Algorithm 1: g_hat.
        let retrieval = objective.retrieval(&objective.embed(network)?)?;
        let g_hat = gradient(&retrieval.loss, network)?;
        // theta_tmp, on the same decoded images.
        let place = Place::remember(network)?;
        place.move_to(network, &g_hat, -objective.rate_factor * settings.eta_s)?;
        // g_bar.
        let topology = objective.topology(&objective.embed_nearby(network)?, settings)?;
        let g_bar = gradient(&topology.loss, network)?;
        Ok(FirstOrder { g_hat, g_bar, place, retrieval, topology })
    }

    pub(super) fn outcome(&self) -> Result<StepOutcome> {
        outcome(&self.retrieval, Some(&self.topology))
    }
}

/// `g_hat + (eta_t / eta_s) * g_bar`; the network is at theta_n again, to the bit.
///
/// # Errors
/// [`crate::Error::Torch`].
pub fn gradients(
    objective: &Objective<'_>,
    settings: &NeighbourhoodSettings,
    network: &mut TorchNetwork,
) -> Result<(Vec<Tensor>, StepOutcome)> {
    let first = FirstOrder::compute(objective, settings, network)?;
    first.place.go_back(network)?;
    let ratio = settings.eta_t / settings.eta_s;
    let combined = first
        .g_hat
        .iter()
        .zip(&first.g_bar)
        .map(|(g_hat, g_bar)| g_hat.f_add(&g_bar.f_mul_scalar(ratio)?))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok((combined, first.outcome()?))
}
