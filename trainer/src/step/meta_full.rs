//! The topology as a meta-objective with its second-order term: equation 8.
//!
//! With `theta_tmp = theta_n - eta_s * grad L_FG(theta_n)`, the chain rule gives the gradient of L_NT(theta_tmp) with
//! respect to theta_n as `(I - eta_s * H) g_bar`, H being L_FG's Hessian at theta_n (symmetric). So
//!
//! ```text
//! theta_n+1 = theta_n - eta_s * g_hat - eta_t * (g_bar - eta_s * H g_bar)
//! ```
//!
//! that is, the second-order term is added, `+ eta_t * eta_s * H g_bar`. The source prints equation 8 with a minus there
//! and equation 7 with a plus; the derivation decides, and a test against autograd's second order agrees with it.
//!
//! H g_bar is the central difference `(grad L_FG(theta_n + eps * g_bar) - grad L_FG(theta_n - eps * g_bar)) / (2 eps)`,
//! as in the source. Ours: `eps = 0.01 / |g_bar|`, the choice of DARTS (Liu, Simonyan, Yang 2019, section 2.3) for the
//! same difference.

use tch::Tensor;

use super::meta::FirstOrder;
use super::{Objective, StepOutcome, gradient};
use crate::Result;
use crate::config::NeighbourhoodSettings;
use crate::network::TorchNetwork;
use crate::optimiser::norm;

/// The length of the step to either side, in parameter space.
const DIFFERENCE_STEP: f64 = 0.01;

/// `g_hat + (eta_t / eta_s) * (g_bar - eta_s * H g_bar)`; the network is at theta_n again, to the bit.
///
/// # Errors
/// [`crate::Error::Torch`].
pub fn gradients(
    objective: &Objective<'_>,
    settings: &NeighbourhoodSettings,
    network: &mut TorchNetwork,
) -> Result<(Vec<Tensor>, StepOutcome)> {
    with_difference_step(objective, settings, network, DIFFERENCE_STEP)
}

pub(super) fn with_difference_step(
    objective: &Objective<'_>,
    settings: &NeighbourhoodSettings,
    network: &mut TorchNetwork,
    difference_step: f64,
) -> Result<(Vec<Tensor>, StepOutcome)> {
    let first = FirstOrder::compute(objective, settings, network)?;
    let length = norm(&first.g_bar)?;
    let mut second_order = None;
    // Where g_bar is zero (no triplet of L_NT is active) so is H g_bar.
    if length > 0.0 && length.is_finite() {
        let eps = difference_step / length;
        let mut gradient_at = |by: f64| -> Result<Vec<Tensor>> {
            first.place.move_to(network, &first.g_bar, by)?;
            gradient(&objective.retrieval(&objective.embed_nearby(network)?)?.loss, network)
        };
        second_order = Some((gradient_at(eps)?, gradient_at(-eps)?, 2.0 * eps));
    }
    first.place.go_back(network)?;
    let ratio = settings.eta_t / settings.eta_s;
    let eta_s = objective.rate_factor * settings.eta_s;
    let combined = (0..first.g_hat.len())
        .map(|index| {
            let mut through = first.g_bar[index].shallow_clone();
            if let Some((ahead, behind, distance)) = &second_order {
                let difference = ahead[index].f_sub(&behind[index])?;
                through = through.f_sub(&difference.f_mul_scalar(eta_s / distance)?)?;
            }
            first.g_hat[index].f_add(&through.f_mul_scalar(ratio)?)
        })
        .collect::<std::result::Result<Vec<_>, tch::TchError>>()?;
    Ok((combined, first.outcome()?))
}
