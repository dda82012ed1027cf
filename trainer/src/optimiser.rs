//! Stochastic gradient descent with momentum, with its state in the open so that checkpoints can hold it.

use tch::Tensor;

use crate::Result;

/// SGD as PyTorch defines it (`torch.optim.SGD`): `g = grad + weight_decay * p`; `v = momentum * v + g`, beginning
/// with `v = 0`; `p = p - learning_rate * v`.
#[derive(Debug)]
pub struct Sgd {
    /// The learning rate.
    pub learning_rate: f64,
    /// The momentum, in `[0, 1)`.
    pub momentum: f64,
    /// The weight decay, 0 or above.
    pub weight_decay: f64,
    velocities: Vec<Tensor>,
}

impl Sgd {
    /// An optimiser of `parameters`, at rest.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn new(parameters: &[Tensor], learning_rate: f64, momentum: f64, weight_decay: f64) -> Result<Sgd> {
        let velocities = tch::no_grad(|| {
            parameters.iter().map(Tensor::f_zeros_like).collect::<std::result::Result<_, _>>()
        })?;
        Ok(Sgd { learning_rate, momentum, weight_decay, velocities })
    }

    /// Updates `parameters` in place.
    ///
    /// # Shapes
    /// `gradients`: one for each of the parameters that the optimiser was made for, in their order and shapes.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] where shapes differ.
    pub fn update(&mut self, parameters: &mut [Tensor], gradients: &[Tensor]) -> Result<()> {
        tch::no_grad(|| {
            for ((parameter, gradient), velocity) in
                parameters.iter_mut().zip(gradients).zip(&mut self.velocities)
            {
                let _ = velocity.f_mul_scalar_(self.momentum)?.f_add_(gradient)?;
                if self.weight_decay > 0.0 {
                    let _ = velocity.f_add_(&parameter.f_mul_scalar(self.weight_decay)?)?;
                }
                let _ = parameter.f_sub_(&velocity.f_mul_scalar(self.learning_rate)?)?;
            }
            Ok(())
        })
    }

    /// The velocities, in the order of the parameters.
    pub fn velocities(&self) -> &[Tensor] {
        &self.velocities
    }

    /// Takes up the velocities of a checkpoint.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] where shapes differ.
    pub fn restore(&mut self, velocities: &[Tensor]) -> Result<()> {
        tch::no_grad(|| {
            for (own, stored) in self.velocities.iter_mut().zip(velocities) {
                own.f_copy_(stored)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::{self, OptimizerConfig};

    /// libtorch's own optimiser as the oracle, over ten steps of a quadratic.
    #[test]
    fn equals_libtorchs_own() {
        for (momentum, weight_decay) in [(0.0, 0.0), (0.9, 0.0), (0.9, 0.1)] {
            let start = Tensor::from_slice(&[1.0_f32, -2.0, 3.0, 0.5]);
            let target = Tensor::from_slice(&[0.3_f32, 0.1, -1.0, 2.0]);
            let store = nn::VarStore::new(tch::Device::Cpu);
            let theirs = store.root().var_copy("p", &start);
            let mut oracle = nn::Sgd { momentum, dampening: 0.0, wd: weight_decay, nesterov: false }
                .build(&store, 0.05)
                .unwrap();
            let mut ours = vec![start.copy().set_requires_grad(true)];
            let mut sgd = Sgd::new(&ours, 0.05, momentum, weight_decay).unwrap();
            for _ in 0..10 {
                let loss = (&theirs - &target).square().sum(tch::Kind::Float);
                oracle.backward_step(&loss);
                let loss = (&ours[0] - &target).square().sum(tch::Kind::Float);
                let gradients = Tensor::run_backward(&[loss], &[&ours[0]], false, false);
                sgd.update(&mut ours, &gradients).unwrap();
            }
            let difference = (&theirs - &ours[0]).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{difference} with momentum {momentum}, decay {weight_decay}");
        }
    }
}
