//! Weights read from the formats that researchers have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Tensor, Weights};
use super::{checkpoint, classy_vision, mistaken, projection, tfjs, torch, torchvision, wrapped};
use crate::network::{self, HEAD, Head, Network};
use crate::{Error, Result, onnx};

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
