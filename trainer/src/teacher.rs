//! A teacher: another network whose embeddings of the same crops training keeps near to.

use sketchfind_core::image::Preprocess;
use sketchfind_models::network::{Head, Network};
use tch::Tensor;

use crate::Result;
use crate::config::{self, Config, Distillation, Features, RANDOM};
use crate::initial::{self, InitialWeights};
use crate::loss::distillation;
use crate::network::TorchNetwork;

/// A teacher's network on a device, and how it is listened to.
#[derive(Debug)]
pub struct Teacher {
    network: TorchNetwork,
    distillation: Distillation,
    weight: f64,
    /// What turns the student's normalised pixels into the teacher's: a factor and a summand for each channel.
    pixels: Option<(Tensor, Tensor)>,
}

impl Teacher {
    /// Reads the weights of the teacher that a configuration names.
    ///
    /// # Errors
    /// [`crate::Error::Models`] where they do not fit; errors of files.
    pub fn weights(settings: &config::Teacher, seed: u64) -> Result<(Network, InitialWeights)> {
        let network = Network::by_name_or_file(&settings.network, Head::Embedding)?;
        let network = match &settings.head {
            Some(head) => network.with_head(head)?,
            None => network,
        };
        let weights = {
            let of = (settings.network.as_str(), settings.weights.as_str());
            initial::pretrained(of, seed, &network, settings.head.as_ref())?
        };
        Ok((network, weights))
    }

    /// The SHA-256 of the teacher's weights, if there is a teacher.
    ///
    /// # Errors
    /// As [`initial::initial_weights`].
    pub(crate) fn sha256(config: &Config) -> Result<Option<String>> {
        let Some(settings) = &config.teacher else { return Ok(None) };
        if settings.weights != RANDOM {
            return initial::sha256_of(&settings.weights).map(Some);
        }
        Ok(Some(Teacher::weights(settings, config.seed)?.1.sha256))
    }

    /// The teacher of a configuration, on a device.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn new(
        settings: &config::Teacher,
        (network, weights): &(Network, InitialWeights),
        config: &Config,
        device: tch::Device,
    ) -> Result<Teacher> {
        let (own, of_teacher) = (config.preprocess()?, config.preprocess_for(&settings.network)?);
        Ok(Teacher {
            network: TorchNetwork::new(network, &weights.weights, device)?,
            distillation: settings.distillation,
            weight: settings.weight,
            pixels: if (own.mean, own.std) == (of_teacher.mean, of_teacher.std) {
                None
            } else {
                Some(renormalisation(&own, &of_teacher, device)?)
            },
        })
    }

    /// The teacher's embeddings of a batch.
    ///
    /// # Shapes
    /// `images`: `[n, 3, h, w]`, normalised as the student's are; returns `[n, D']`.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let renormalised = match &self.pixels {
            Some((factor, summand)) => Some(images.f_mul(factor)?.f_add(summand)?),
            None => None,
        };
        self.network.features(renormalised.as_ref().unwrap_or(images), Features::Pooled)
    }

    /// The weight times how far a batch's embeddings are from the teacher's.
    ///
    /// # Shapes
    /// `embeddings`: `[n, D]`; `own`: `[n, D']`, by [`Teacher::embed`].
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn loss(&self, embeddings: &Tensor, own: &Tensor) -> Result<Tensor> {
        let loss = match self.distillation {
            Distillation::Embeddings => distillation::of_embeddings(embeddings, own)?,
            Distillation::Relations => distillation::of_relations(embeddings, own)?,
        };
        Ok(loss.f_mul_scalar(self.weight)?)
    }
}

/// `(x * std + mean - mean') / std'`, as a factor and a summand `[3, 1, 1]`.
fn renormalisation(from: &Preprocess, to: &Preprocess, device: tch::Device) -> Result<(Tensor, Tensor)> {
    let of = |value: &dyn Fn(usize) -> f32| -> Result<Tensor> {
        let values: Vec<f32> = (0..3).map(value).collect();
        Ok(Tensor::f_from_slice(&values)?.f_reshape([3, 1, 1])?.f_to_device(device)?)
    };
    let factor = of(&|channel| from.std[channel] / to.std[channel])?;
    let summand = of(&|channel| (from.mean[channel] - to.mean[channel]) / to.std[channel])?;
    Ok((factor, summand))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same pixels, normalised for either.
    #[test]
    fn the_teacher_sees_the_same_pixels() {
        let imagenet = Preprocess::imagenet(8, 8).unwrap();
        let symmetric = Preprocess { mean: [0.5; 3], std: [0.5; 3], ..imagenet.clone() };
        let (factor, summand) = renormalisation(&imagenet, &symmetric, tch::Device::Cpu).unwrap();
        let pixels = Tensor::rand([2, 3, 8, 8], (tch::Kind::Float, tch::Device::Cpu));
        let normalised = |preprocess: &Preprocess| {
            let of = |values: [f32; 3]| Tensor::from_slice(&values).reshape([3, 1, 1]);
            (&pixels - of(preprocess.mean)) / of(preprocess.std)
        };
        let difference = normalised(&imagenet) * factor + summand - normalised(&symmetric);
        assert!(difference.abs().max().double_value(&[]) < 1e-6);
    }
}
