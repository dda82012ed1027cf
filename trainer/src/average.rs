//! An exponential moving average of the weights over steps: what is evaluated and exported in the place of the last
//! weights, which the last batches have pushed about.

use tch::Tensor;

use crate::Result;
use crate::network::{TorchNetwork, copied};

/// The average of a network's trained tensors.
///
/// After update t, from 1, `average += (1 - d) * (weights - average)` with `d = min(decay, (1 + t) / (10 + t))`: the
/// warm-up of TensorFlow's `ExponentialMovingAverage` with `num_updates`, so that the average does not begin with what
/// training began with.
#[derive(Debug)]
pub struct Average {
    decay: f64,
    tensors: Vec<Tensor>,
}

impl Average {
    /// An average that begins with the network's weights.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn new(decay: f64, network: &TorchNetwork) -> Result<Average> {
        Ok(Average { decay, tensors: network.trained().iter().map(copied).collect::<Result<Vec<_>>>()? })
    }

    /// Follows the network's weights after its update `n_updates`, from 1.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn follow(&mut self, network: &TorchNetwork, n_updates: u64) -> Result<()> {
        let decay = self.decay.min((1 + n_updates) as f64 / (10 + n_updates) as f64);
        tch::no_grad(|| {
            for (own, tensor) in self.tensors.iter_mut().zip(network.trained()) {
                let _ = own.f_lerp_(tensor, 1.0 - decay)?;
            }
            Ok(())
        })
    }

    /// Exchanges the average and the network's weights. Done twice, both are where they were, to the bit.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn exchange(&mut self, network: &mut TorchNetwork) -> Result<()> {
        tch::no_grad(|| {
            for (own, tensor) in self.tensors.iter_mut().zip(network.trained_mut()) {
                let kept = copied(own)?;
                own.f_copy_(tensor)?;
                tensor.f_copy_(&kept)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::small_network;
    use sketchfind_models::weights::Weights;

    #[test]
    fn follows_by_the_formula_and_is_exchanged_without_a_trace() {
        let network = small_network();
        let weights = Weights::random(&network, 1);
        let mut torch = TorchNetwork::new(&network, &weights, tch::Device::Cpu).unwrap();
        let mut average = Average::new(0.9, &torch).unwrap();
        let start = torch.trained()[0].detach().copy();
        let mut expected = start.copy();
        for t in 1..=200_u64 {
            tch::no_grad(|| {
                let _ = torch.trained_mut()[0].g_add_scalar_(0.1);
            });
            average.follow(&torch, t).unwrap();
            let decay = 0.9_f64.min((1 + t) as f64 / (10 + t) as f64);
            expected = &expected * decay + torch.trained()[0].detach() * (1.0 - decay);
        }
        let last = torch.weights().unwrap();
        average.exchange(&mut torch).unwrap();
        let difference = (torch.trained()[0].detach() - &expected).abs().max().double_value(&[]);
        assert!(difference < 1e-4, "{difference}");
        assert!((torch.trained()[0].detach() - &start).abs().max().double_value(&[]) > 1.0);
        average.exchange(&mut torch).unwrap();
        assert!(torch.weights().unwrap().iter().eq(last.iter()));
    }
}
