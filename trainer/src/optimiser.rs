//! Optimisers as PyTorch defines them (`torch.optim`), with their state in the open so that checkpoints can hold it.
//!
//! With `p` a parameter, `g` its gradient, `lr` the learning rate, `wd` the weight decay and `t` the update from 1:
//!
//! - SGD: `g += wd * p`; `v = momentum * v + g`, beginning with `v = 0`; `p -= lr * v`.
//! - Adam (Kingma and Ba 2015, algorithm 1): `g += wd * p`; `m = b1 * m + (1 - b1) * g`;
//!   `v = b2 * v + (1 - b2) * g^2`; `p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)`.
//! - AdamW (Loshchilov and Hutter 2019, algorithm 2): `p -= lr * wd * p` in place of `g += wd * p`.

use tch::Tensor;

use crate::config::{Optimiser as Kind, Train};
use crate::{Error, Result};

/// An optimiser and its state.
#[derive(Debug)]
pub struct Optimiser {
    kind: Kind,
    weight_decay: f64,
    clip_norm: f64,
    n_updates: u64,
    /// For each parameter a factor on the learning rate.
    rates: Vec<f64>,
    /// For each parameter one tensor for each of [`slots`].
    state: Vec<Vec<Tensor>>,
}

/// The names of the tensors that an optimiser keeps for each parameter.
fn slots(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Sgd { .. } => &["velocity"],
        Kind::Adam { .. } | Kind::AdamW { .. } => &["first_moment", "second_moment"],
    }
}

impl Optimiser {
    /// An optimiser of `parameters`, at rest.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn new(kind: Kind, train: &Train, parameters: &[Tensor]) -> Result<Optimiser> {
        let zeros = |parameter: &Tensor| {
            slots(kind).iter().map(|_| parameter.f_zeros_like()).collect::<std::result::Result<_, _>>()
        };
        let state =
            tch::no_grad(|| parameters.iter().map(zeros).collect::<std::result::Result<Vec<_>, _>>())?;
        Ok(Optimiser {
            kind,
            weight_decay: train.weight_decay,
            clip_norm: train.clip_norm,
            n_updates: 0,
            rates: vec![1.0; parameters.len()],
            state,
        })
    }

    /// Has each parameter, in their order, trained with the learning rate times a factor of its own.
    pub fn with_rates(mut self, rates: Vec<f64>) -> Optimiser {
        self.rates = rates;
        self
    }

    /// Updates `parameters` in place.
    ///
    /// # Shapes
    /// `gradients`: one for each of the parameters that the optimiser was made for, in their order and shapes;
    /// `gradient_norm`: their [`norm`].
    ///
    /// # Errors
    /// [`crate::Error::Torch`] where shapes differ.
    pub fn update(
        &mut self,
        parameters: &mut [Tensor],
        gradients: &[Tensor],
        gradient_norm: f64,
        learning_rate: f64,
    ) -> Result<()> {
        tch::no_grad(|| {
            self.n_updates += 1;
            let scale = if self.clip_norm > 0.0 { clip_scale(gradient_norm, self.clip_norm) } else { 1.0 };
            let parameters = parameters.iter_mut().zip(gradients).zip(&self.rates);
            for (((parameter, gradient), rate), state) in parameters.zip(&mut self.state) {
                let learning_rate = learning_rate * rate;
                let scaled = if scale < 1.0 { Some(gradient.f_mul_scalar(scale)?) } else { None };
                let mut gradient = scaled.unwrap_or_else(|| gradient.shallow_clone());
                if self.weight_decay > 0.0 {
                    if let Kind::AdamW { .. } = self.kind {
                        let _ = parameter.f_mul_scalar_(1.0 - learning_rate * self.weight_decay)?;
                    } else {
                        gradient = gradient.f_add(&parameter.f_mul_scalar(self.weight_decay)?)?;
                    }
                }
                match (self.kind, &mut state[..]) {
                    (Kind::Sgd { momentum }, [velocity]) => {
                        let _ = velocity.f_mul_scalar_(momentum)?.f_add_(&gradient)?;
                        let _ = parameter.f_sub_(&velocity.f_mul_scalar(learning_rate)?)?;
                    }
                    (Kind::Adam { betas, eps } | Kind::AdamW { betas, eps }, [first, second]) => {
                        let _ =
                            first.f_mul_scalar_(betas[0])?.f_add_(&gradient.f_mul_scalar(1.0 - betas[0])?)?;
                        let square = gradient.f_square()?.f_mul_scalar(1.0 - betas[1])?;
                        let _ = second.f_mul_scalar_(betas[1])?.f_add_(&square)?;
                        let unbiased = |beta: f64| 1.0 - beta.powi(self.n_updates.min(1 << 30) as i32);
                        let root = second.f_div_scalar(unbiased(betas[1]))?.f_sqrt()?.f_add_scalar(eps)?;
                        let rate = learning_rate / unbiased(betas[0]);
                        let _ = parameter.f_sub_(&first.f_mul_scalar(rate)?.f_div(&root)?)?;
                    }
                    // new() made as many tensors as slots() names.
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// Updates that were made.
    pub fn n_updates(&self) -> u64 {
        self.n_updates
    }

    /// The state's tensors with their names, `<parameter's index>.<slot>`, in the order of the parameters.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let slots = slots(self.kind);
        self.state.iter().enumerate().flat_map(move |(index, tensors)| {
            slots.iter().zip(tensors).map(move |(slot, tensor)| (format!("{index:05}.{slot}"), tensor))
        })
    }

    /// Takes up a state, as [`Optimiser::state`] and [`Optimiser::n_updates`] gave it; `get` finds a tensor by name.
    ///
    /// # Errors
    /// [`Error::Optimiser`] with the name of a tensor that is missing; [`Error::Torch`] where a shape differs.
    pub fn restore(
        &mut self,
        n_updates: u64,
        mut get: impl FnMut(&str) -> Result<Option<Tensor>>,
    ) -> Result<()> {
        self.n_updates = n_updates;
        let slots = slots(self.kind);
        tch::no_grad(|| {
            for (index, tensors) in self.state.iter_mut().enumerate() {
                for (slot, own) in slots.iter().zip(tensors) {
                    let name = format!("{index:05}.{slot}");
                    let stored = get(&name)?.ok_or(Error::Optimiser { name })?;
                    own.f_copy_(&stored)?;
                }
            }
            Ok(())
        })
    }
}

/// What gradients are multiplied with so that their Euclidean norm over all parameters is at most `clip_norm`, as
/// `torch.nn.utils.clip_grad_norm_` has it: `min(1, clip_norm / (norm + 1e-6))`.
fn clip_scale(norm: f64, clip_norm: f64) -> f64 {
    (clip_norm / (norm + 1e-6)).min(1.0)
}

/// The Euclidean norm over all of `tensors`, summed in 64 bits.
///
/// # Errors
/// [`crate::Error::Torch`].
pub fn norm(tensors: &[Tensor]) -> Result<f64> {
    if tensors.is_empty() {
        return Ok(0.0);
    }
    // Read once: on a GPU each read waits for all that is under way.
    let norms = tensors.iter().map(Tensor::f_norm).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Tensor::f_stack(&norms, 0)?.f_to_kind(tch::Kind::Double)?.f_norm()?.f_double_value(&[])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;
    use tch::nn::{self, OptimizerConfig};

    fn train(weight_decay: f64, clip_norm: f64) -> Train {
        let config =
            Config::parse(include_str!("../configs/chair-v1-mobilenet.toml"), Path::new("x.toml")).unwrap();
        Train { weight_decay, clip_norm, ..config.train }
    }

    const BETAS: [f64; 2] = [0.9, 0.999];

    /// libtorch's own optimisers as the oracle, over ten steps of a quadratic.
    #[test]
    fn equals_libtorchs_own() {
        let sgd = |momentum, wd| {
            move |vs: &nn::VarStore| {
                nn::Sgd { momentum, dampening: 0.0, wd, nesterov: false }.build(vs, 0.05).unwrap()
            }
        };
        let adam =
            |wd| move |vs: &nn::VarStore| nn::Adam { wd, ..Default::default() }.build(vs, 0.05).unwrap();
        let adamw =
            |wd| move |vs: &nn::VarStore| nn::AdamW { wd, ..Default::default() }.build(vs, 0.05).unwrap();
        type Build = Box<dyn Fn(&nn::VarStore) -> nn::Optimizer>;
        let adam_kind = Kind::Adam { betas: BETAS, eps: 1e-8 };
        let cases: Vec<(Kind, f64, Build)> = vec![
            (Kind::Sgd { momentum: 0.0 }, 0.0, Box::new(sgd(0.0, 0.0))),
            (Kind::Sgd { momentum: 0.9 }, 0.0, Box::new(sgd(0.9, 0.0))),
            (Kind::Sgd { momentum: 0.9 }, 0.1, Box::new(sgd(0.9, 0.1))),
            (adam_kind, 0.0, Box::new(adam(0.0))),
            (adam_kind, 0.1, Box::new(adam(0.1))),
            (Kind::AdamW { betas: BETAS, eps: 1e-8 }, 0.1, Box::new(adamw(0.1))),
        ];
        for (kind, weight_decay, build) in cases {
            let start = Tensor::from_slice(&[1.0_f32, -2.0, 3.0, 0.5]);
            let target = Tensor::from_slice(&[0.3_f32, 0.1, -1.0, 2.0]);
            let store = nn::VarStore::new(tch::Device::Cpu);
            let theirs = store.root().var_copy("p", &start);
            let mut oracle = build(&store);
            let mut ours = vec![start.copy().set_requires_grad(true)];
            let mut optimiser = Optimiser::new(kind, &train(weight_decay, 0.0), &ours).unwrap();
            for _ in 0..10 {
                let loss = (&theirs - &target).square().sum(tch::Kind::Float);
                oracle.backward_step(&loss);
                let loss = (&ours[0] - &target).square().sum(tch::Kind::Float);
                let gradients = Tensor::run_backward(&[loss], &[&ours[0]], false, false);
                optimiser.update(&mut ours, &gradients, norm(&gradients).unwrap(), 0.05).unwrap();
            }
            let difference = (&theirs - &ours[0]).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{difference} with {kind:?}, decay {weight_decay}");
        }
    }

    #[test]
    fn clipping_scales_the_whole_gradient_to_the_norm_and_leaves_a_small_one() {
        for (clip_norm, expected) in [(1.0, [-0.6, -0.8]), (0.0, [-3.0, -4.0]), (6.0, [-3.0, -4.0])] {
            let zero = || Tensor::from_slice(&[0.0_f64]).set_requires_grad(true);
            let mut parameters = vec![zero(), zero()];
            let gradients = [Tensor::from_slice(&[3.0_f64]), Tensor::from_slice(&[4.0_f64])];
            let kind = Kind::Sgd { momentum: 0.0 };
            let mut optimiser = Optimiser::new(kind, &train(0.0, clip_norm), &parameters).unwrap();
            optimiser.update(&mut parameters, &gradients, norm(&gradients).unwrap(), 1.0).unwrap();
            for (parameter, expected) in parameters.iter().zip(expected) {
                assert!((parameter.double_value(&[0]) - expected).abs() < 1e-6, "{clip_norm}");
            }
        }
    }

    #[test]
    fn a_state_without_a_tensor_is_refused_by_name() {
        let parameters = vec![Tensor::from_slice(&[0.0_f32])];
        let kind = Kind::Adam { betas: BETAS, eps: 1e-8 };
        let mut optimiser = Optimiser::new(kind, &train(0.0, 0.0), &parameters).unwrap();
        let error = optimiser
            .restore(1, |name| Ok(name.ends_with("first_moment").then(|| Tensor::from_slice(&[1.0_f32]))));
        assert!(error.unwrap_err().to_string().contains("00000.second_moment"));
    }
}
