//! Weights: named float32 tensors, with torchvision's names, read from the formats that researchers have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sketchfind_core::random::Stream;

use crate::network::{self, HEAD, Head, Network, Op};
use crate::{Error, Result, onnx};

mod checkpoint;
mod classy_vision;
pub(crate) mod mistaken;
mod projection;
mod safetensors_file;
pub mod start;
pub mod tfjs;
pub mod torch;
mod torchvision;
mod wrapped;

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

/// Reads weights for the network called `network_name` from any of these, recognised by content:
///
/// - a safetensors file;
/// - a PyTorch file with a state dictionary, in the zip or the legacy format;
/// - a checkpoint of `sketchfind-train`, or a run's folder, whose newest checkpoint is read;
/// - the folder of a tfjs layers model (Keras' ResNet50 only);
/// - an ONNX file whose graph is that network ([`crate::onnx::import`]).
///
/// `network_name` may be the file of a network too ([`Network::by_name_or_file`]): its weights are in a safetensors file, a
/// PyTorch file, a checkpoint, or the ONNX file that the network came from.
///
/// The result has all tensors of the network with its classifier, if there is one in the file, and those of a
/// head ([`Network::with_head`]) if they are there. A PyTorch file may hold a module of TorchScript instead of its state
/// dictionary, and Classy Vision's names of a ResNet are known. Where the network's names all have one prefix, such as the `module.` of
/// `torch.nn.DataParallel`, the `_orig_mod.` of `torch.compile`, `model.` or `backbone.`, they go on without it; a
/// classifier of other classes is left out. The note `import` says so. Auxiliary classifiers and old names in torchvision's
/// files are dealt with as torchvision does.
///
/// # Errors
/// [`Error::UnknownNetwork`]; [`Error::NetworkFile`]; [`Error::WeightsFile`] where the file is none of these or damaged;
/// [`Error::WeightsDoNotFit`]; [`Error::NotFinite`].
pub fn import(path: &Path, network_name: &str) -> Result<Weights> {
    import_projected(path, network_name, None)
}

/// Reads weights as [`import`] does, and takes the linear layer that the file calls `projection` for the projection of the
/// network's head: self-supervised networks, such as SSCD, end with one, by any name.
///
/// # Errors
/// Those of [`import`]; [`Error::WeightsFile`] where the file has no such layer, its shape does not fit, or the file is an ONNX
/// file, whose graph says what its layers are.
pub fn import_projected(path: &Path, network_name: &str, projection: Option<&str>) -> Result<Weights> {
    let classifier = Network::by_name_or_file(network_name, Head::Classifier)?;
    let file = file_of(path)?;
    let weights = if file.ends_with(tfjs::MODEL) {
        if network_name != "resnet50_v1" {
            let reason = format!(
                "a tfjs layers model is read for the network resnet50_v1 only, not for {network_name}"
            );
            return Err(Error::weights_file(path, reason));
        }
        tfjs::read_resnet50(path)?
    } else {
        refuse_what_is_none(&file)?;
        match &start_of(&file, 16)?[..] {
            start if is_onnx(&file, start) && projection.is_some() => {
                let reason = "the graph of an ONNX file says itself which layer is a projection";
                return Err(Error::weights_file(path, reason));
            }
            start if is_onnx(&file, start) => return import_onnx(&file, network_name, &classifier),
            // A safetensors file's first eight bytes are a length, which may look like anything.
            [_, _, _, _, _, _, _, _, b'{', ..] => Weights::load(&file)?,
            [0x80, 0..=5, ..] | [b'P', b'K', 3, 4, ..] => torch::read(&file)?,
            _ => Weights::load(&file)?,
        }
    };
    let embedding = Network::by_name_or_file(network_name, Head::Embedding)?;
    let (weights, projection) = match projection {
        Some(layer) => projection::taken_out(weights, layer, embedding.output_width())
            .map_err(|reason| Error::weights_file(path, reason))?,
        None => (weights, BTreeMap::new()),
    };
    let weights = classy_vision::as_torchvision(weights);
    let weights = wrapped::without_prefix(torchvision::as_described(weights, network_name), &embedding)
        .map_err(|reason| Error::weights_file(path, reason))?;
    // Once more: what torchvision calls otherwise may have stood behind the prefix.
    let weights = torchvision::as_described(weights, network_name);
    let weights = wrapped::without_other_classifier(weights, &classifier, &embedding);
    let has_classifier =
        classifier.parameters().last().is_some_and(|parameter| weights.get(&parameter.name).is_some());
    let network = if has_classifier { classifier } else { embedding };
    let of_head: Vec<(String, Tensor)> =
        HEAD.iter().filter_map(|name| Some(((*name).to_owned(), weights.get(name)?.clone()))).collect();
    let mut weights = weights.for_network(&network)?;
    weights.tensors.extend(of_head);
    weights.tensors.extend(projection);
    weights.check_finite()?;
    Ok(weights.with_metadata("network", network.name()))
}

/// What was left out of names and tensors when weights were imported, in words; nothing where all was taken as it stood.
pub fn import_note(weights: &Weights) -> Option<&str> {
    weights.metadata().get(wrapped::NOTE).map(String::as_str)
}

/// Refuses a file that is something else than weights by what it is, such as an HTML page.
///
/// # Errors
/// [`Error::WeightsFile`] with what it is; [`Error::Core`] where it cannot be read.
pub fn refuse_what_is_none(file: &Path) -> Result<()> {
    match mistaken::for_weights(&start_of(file, 4096)?) {
        Some(what) => Err(Error::weights_file(file, format!("no weights: {what}"))),
        None => Ok(()),
    }
}

/// Whether `file` is an ONNX file, by its name or its first bytes.
///
/// # Errors
/// [`Error::Core`] where it cannot be read.
pub fn is_onnx_file(file: &Path) -> Result<bool> {
    Ok(is_onnx(file, &start_of(file, 16)?))
}

/// The first field of an ONNX file is the format's version, a small number.
fn is_onnx(file: &Path, start: &[u8]) -> bool {
    let is_called_so = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    let is_safetensors = start.get(8) == Some(&b'{');
    is_called_so || (matches!(start, [0x08, 1..=32, ..]) && !is_safetensors)
}

/// The first bytes of a file, at most so many.
fn start_of(file: &Path, n_bytes: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut start = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(n_bytes).read_to_end(&mut start))
        .map_err(sketchfind_core::Error::io("read", file))?;
    Ok(start)
}

fn import_onnx(file: &Path, network_name: &str, described: &Network) -> Result<Weights> {
    let name = (!network::file::is_file(network_name)).then_some(network_name);
    let imported = onnx::import::read(file, name)?;
    if name.is_none() && imported.network.nodes() != described.nodes() {
        let reason = format!("its graph is not that of the network '{network_name}'");
        return Err(Error::weights_file(file, reason));
    }
    let usual = Network::input_of_name_or_file(network_name)?;
    if imported.normalises && !imported.input.is_normalised_like(&usual) {
        let (mean, std) = (imported.input.mean, imported.input.std);
        let reason = format!(
            "its graph normalises images with mean {mean:?} and std {std:?}, the network '{network_name}' with {:?} and \
             {:?}: its weights expect other numbers than training would give them",
            usual.mean, usual.std
        );
        return Err(Error::weights_file(file, reason));
    }
    Ok(imported.weights.with_metadata("network", described.name()))
}

/// The file that decides what [`import`] reads from `path`: itself, or the file in a folder.
///
/// # Errors
/// [`Error::WeightsFile`] where a folder is no checkpoint, run or tfjs layers model; [`Error::Core`].
pub fn file_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let model = path.join(tfjs::MODEL);
    match checkpoint::file_in(path)? {
        Some(file) => Ok(file),
        None if model.is_file() => Ok(model),
        None => Err(Error::weights_file(
            path,
            "a folder that is neither a checkpoint or run of sketchfind-train nor a tfjs layers model",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{HeadSpec, Pooling, Projection, ProjectionStart};

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

    /// A file, a checkpoint, a run, and folders that are none.
    #[test]
    fn weights_are_found_where_people_have_them() {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::by_name("resnet18", Head::Embedding).unwrap();
        let run = folder.path().join("run");
        for (steps, seed) in [("0000000009", 1), ("0000000010", 2)] {
            let checkpoint = run.join("checkpoints").join(steps);
            std::fs::create_dir_all(&checkpoint).unwrap();
            std::fs::write(checkpoint.join("state.json"), "{}").unwrap();
            Weights::random(&network, seed).save(&checkpoint.join("weights.safetensors")).unwrap();
        }
        let conv1 = |path: &Path| import(path, "resnet18").unwrap().get("conv1.weight").unwrap().clone();
        let expected = |seed| Weights::random(&network, seed).get("conv1.weight").unwrap().clone();
        assert_eq!(conv1(&run.join("checkpoints/0000000009")), expected(1));
        let message = import(&run, "resnet18").unwrap_err().to_string();
        assert!(message.contains("neither a checkpoint or run"), "{message}");
        std::fs::write(run.join("run.json"), "{}").unwrap();
        assert_eq!(conv1(&run), expected(2));
        // Through DataParallel, and with a projection.
        let mut prefixed = Weights::default();
        let projection = Projection { width: 8, bias: true, start: ProjectionStart::Random };
        let head = HeadSpec { pooling: Pooling::Average {}, projection: Some(projection), normalise: false };
        let projected = network.with_head(&head).unwrap();
        for (name, tensor) in Weights::random(&projected, 3).iter() {
            prefixed.insert(&format!("module.{name}"), tensor.clone());
        }
        let file = folder.path().join("prefixed.safetensors");
        prefixed.save(&file).unwrap();
        let found = import(&file, "resnet18").unwrap();
        assert_eq!(found.get("conv1.weight"), prefixed.get("module.conv1.weight"));
        assert_eq!(found.get("projection.weight").unwrap().shape, [8, 512]);
        found.check_fit(&projected).unwrap();
        assert!(found.for_network(&network).unwrap().get("projection.weight").is_none());
    }

    #[test]
    fn a_tensor_fills_its_shape() {
        assert!(Tensor::new(vec![2, 3], vec![0.0; 6]).is_ok());
        assert!(Tensor::new(vec![2, 3], vec![0.0; 5]).is_err());
        assert!(Tensor::new(vec![usize::MAX, 2], vec![]).is_err());
        let weights =
            Weights::new(BTreeMap::from([("x".into(), Tensor::new(vec![1], vec![f32::NAN]).unwrap())]));
        assert!(weights.check_finite().unwrap_err().to_string().contains("'x'"));
    }
}
