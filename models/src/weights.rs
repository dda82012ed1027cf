//! Weights: named float32 tensors, with torchvision's names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sketchfind_core::random::Stream;

use crate::network::{HEAD, Head, Network, Op};
use crate::{Error, Result};

mod checkpoint;
mod classy_vision;
mod import;
pub(crate) mod mistaken;
mod projection;
mod safetensors_file;
pub mod start;
pub mod tfjs;
pub mod torch;
mod torchvision;
mod wrapped;

pub use import::{file_of, import, import_note, import_projected, is_onnx_file, refuse_what_is_none};

/// A float32 tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The sizes of its dimensions; empty for a single number.
    pub shape: Vec<usize>,
    /// Its values; as many as the product of `shape`.
    pub values: Vec<f32>,
}

impl Tensor {
    /// A tensor whose values fill its shape.
    ///
    /// # Errors
    /// [`Error::TensorShape`] where they do not.
    pub fn new(shape: Vec<usize>, values: Vec<f32>) -> Result<Tensor> {
        let expected = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        if expected != Some(values.len()) {
            let expected = expected.map_or("a product that fits memory".into(), |n| n.to_string());
            return Err(Error::TensorShape { shape, n_values: values.len(), expected });
        }
        Ok(Tensor { shape, values })
    }
}

/// Named tensors, sorted by name, and notes on where they come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
    metadata: BTreeMap<String, String>,
}

impl Weights {
    /// Weights of `tensors`, without notes.
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Weights {
        Weights { tensors, metadata: BTreeMap::new() }
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// All tensors, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: &str, tensor: Tensor) {
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Notes on where the weights come from, by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The same weights with a note.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: &str) -> Weights {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Reads a safetensors file; float16, bfloat16 and float64 become float32.
    ///
    /// # Errors
    /// [`Error::Core`] where the file cannot be read, [`Error::WeightsFile`] where it is no such file.
    pub fn load(path: &Path) -> Result<Weights> {
        safetensors_file::load(path)
    }

    /// Writes a safetensors file, atomically. The same weights give the same bytes.
    ///
    /// # Errors
    /// [`Error::Core`] where the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        safetensors_file::save(self, path)
    }

    /// Checks that the tensors are those of `network`. Not called unexpected are `num_batches_tracked`, which nothing
    /// reads, and the tensors of the same network's classifier or head where `network` is without.
    ///
    /// # Errors
    /// [`Error::WeightsDoNotFit`] with every missing, misshapen and unexpected tensor.
    pub fn check_fit(&self, network: &Network) -> Result<()> {
        self.names_of(network).map(drop)
    }

    /// Exactly the tensors that `network` needs, of those that fit it ([`Weights::check_fit`]).
    ///
    /// # Errors
    /// Those of [`Weights::check_fit`].
    pub fn for_network(mut self, network: &Network) -> Result<Weights> {
        let needed = self.names_of(network)?;
        self.tensors.retain(|name, _| needed.contains(name));
        Ok(self)
    }

    /// The names of the network's parameters, each of which is there.
    fn names_of(&self, network: &Network) -> Result<BTreeSet<String>> {
        let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for parameter in network.parameters() {
            match self.tensors.get(&parameter.name) {
                None => missing.push(parameter.name.clone()),
                Some(tensor) if tensor.shape != parameter.shape => misshapen.push(format!(
                    "{}: expected {:?}, got {:?}",
                    parameter.name, parameter.shape, tensor.shape
                )),
                Some(_) => {}
            }
            needed.insert(parameter.name);
        }
        let mut known: BTreeSet<String> = HEAD.map(str::to_owned).into();
        if let Ok(classifier) = Network::by_name(network.name(), Head::Classifier) {
            known.extend(classifier.parameters().into_iter().map(|parameter| parameter.name));
        }
        let is_known = |name: &String| {
            needed.contains(name) || known.contains(name) || name.ends_with(".num_batches_tracked")
        };
        let unexpected: Vec<String> = self.tensors.keys().filter(|name| !is_known(name)).cloned().collect();
        if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
            return Ok(needed);
        }
        let network = network.name().to_owned();
        Err(Error::WeightsDoNotFit { network, missing, misshapen, unexpected })
    }

    /// The same tensors without `prefix` in their names, if every name has it; otherwise as they are.
    #[must_use]
    pub fn without_prefix(self, prefix: &str) -> Weights {
        if self.tensors.is_empty() || !self.tensors.keys().all(|name| name.starts_with(prefix)) {
            return self;
        }
        let tensors = self
            .tensors
            .into_iter()
            .map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor))
            .collect();
        Weights { tensors, metadata: self.metadata }
    }

    /// Checks that every value is finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first tensor that holds one that is not.
    pub fn check_finite(&self) -> Result<()> {
        for (name, tensor) in &self.tensors {
            if let Some(&value) = tensor.values.iter().find(|value| !value.is_finite()) {
                return Err(Error::NotFinite { tensor: name.clone(), value });
            }
        }
        Ok(())
    }

    /// Random weights for a network: normal with variance `2 / fan_in` for convolutions and linear layers (He et
    /// al., 'Delving Deep into Rectifiers', 2015), zero biases; batch norms near the identity but not on it, so
    /// that a test sees each of their four tensors.
    pub fn random(network: &Network, seed: u64) -> Weights {
        let mut tensors = BTreeMap::new();
        for node in network.nodes() {
            let is_norm = matches!(node.op, Op::BatchNorm2d { .. });
            for parameter in node.op.parameters() {
                let mut stream = Stream::new(seed, &parameter.name, &[]);
                let n_values: usize = parameter.shape.iter().product();
                let fan_in: usize = parameter.shape.iter().skip(1).product();
                if let Op::Gem { p, .. } = node.op {
                    tensors.insert(parameter.name, Tensor { shape: parameter.shape, values: vec![p as f32] });
                    continue;
                }
                let values = (0..n_values)
                    .map(|_| match (is_norm, parameter.name.rsplit('.').next()) {
                        (true, Some("weight" | "running_var")) => 0.8 + 0.4 * stream.unit(),
                        (true, _) => 0.2 * (stream.unit() - 0.5),
                        (false, Some("bias")) => 0.0,
                        (false, _) => stream.normal() * (2.0 / fan_in.max(1) as f64).sqrt(),
                    })
                    .map(|value| value as f32)
                    .collect();
                tensors.insert(parameter.name, Tensor { shape: parameter.shape, values });
            }
        }
        Weights::new(tensors).with_metadata("source", &format!("random, seed {seed}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_differences_are_listed_at_once() {
        let network = Network::by_name("resnet18", Head::Embedding).unwrap();
        let mut weights = Weights::random(&network, 1);
        weights.insert("extra.weight", Tensor::new(vec![1], vec![0.0]).unwrap());
        weights.insert("bn1.num_batches_tracked", Tensor::new(vec![], vec![7.0]).unwrap());
        weights.insert("fc.weight", Tensor::new(vec![1], vec![0.0]).unwrap());
        weights.insert("conv1.weight", Tensor::new(vec![2], vec![0.0; 2]).unwrap());
        weights.tensors.remove("bn1.bias");
        weights.tensors.remove("layer1.0.conv1.weight");
        let message = weights.check_fit(&network).unwrap_err().to_string();
        assert!(message.lines().count() <= 10 && message.len() < 1000, "{message}");
        for part in [
            "missing (2): bn1.bias, layer1.0.conv1.weight",
            "misshapen (1): conv1.weight: expected [64, 3, 7, 7], got [2]",
            "unexpected (1): extra.weight",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_classifier_is_dropped_for_an_embedding() {
        let classifier = Network::by_name("resnet18", Head::Classifier).unwrap();
        let embedding = Network::by_name("resnet18", Head::Embedding).unwrap();
        let weights = Weights::random(&classifier, 1).for_network(&embedding).unwrap();
        assert!(weights.get("fc.weight").is_none());
        assert_eq!(weights.len(), embedding.parameters().len());
    }
}
