//! Classy Vision's names of a ResNet's tensors, as Meta's self-supervised networks are published with them (its
//! `classy_vision/models/resnext.py`), become torchvision's: the same layers in the same order.

use super::Weights;

/// The first convolution, by which such files are told.
const FIRST: &str = "initial_block._module.0.weight";

/// The weights with torchvision's names where they have Classy Vision's; otherwise as they are.
pub(super) fn as_torchvision(weights: Weights) -> Weights {
    if !weights.tensors.keys().any(|name| name.ends_with(FIRST)) {
        return weights;
    }
    // A block of three convolutions ends with the batch norm `bn`, and so does one of two.
    let is_bottleneck = weights.tensors.keys().any(|name| name.contains(".convolutional_block.6."));
    let last_norm = if is_bottleneck { "bn3" } else { "bn2" };
    let tensors = weights.tensors.into_iter().map(|(name, tensor)| match renamed(&name, last_norm) {
        Some(name) => (name, tensor),
        None => (name, tensor),
    });
    Weights { tensors: tensors.collect(), metadata: weights.metadata }
}

fn renamed(name: &str, last_norm: &str) -> Option<String> {
    // Wrapped or not, a layer is the same.
    let parts: Vec<&str> = name.split('.').filter(|part| *part != "_module").collect();
    let start = parts.iter().position(|part| ["initial_block", "blocks"].contains(part))?;
    let (before, within) = parts.split_at(start);
    let renamed = match within {
        ["initial_block", "0", kind] => format!("conv1.{kind}"),
        ["initial_block", "1", kind] => format!("bn1.{kind}"),
        ["blocks", stage, block, layer @ ..] => {
            let stage = stage.parse::<usize>().ok()? + 1;
            // `block2-5` of stage 2, or its number alone.
            let block: usize = block.rsplit('-').next()?.parse().ok()?;
            let layer = match layer {
                ["convolutional_block", "0", kind] => format!("conv1.{kind}"),
                ["convolutional_block", "1", kind] => format!("bn1.{kind}"),
                ["convolutional_block", "3", kind] => format!("conv2.{kind}"),
                ["convolutional_block", "4", kind] => format!("bn2.{kind}"),
                ["convolutional_block", "6", kind] => format!("conv3.{kind}"),
                ["bn", kind] => format!("{last_norm}.{kind}"),
                ["downsample", number, kind] => format!("downsample.{number}.{kind}"),
                _ => return None,
            };
            format!("layer{stage}.{block}.{layer}")
        }
        _ => return None,
    };
    Some(before.iter().chain([&renamed.as_str()]).copied().collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Head, Network};
    use crate::weights::{Tensor, import_projected};

    /// Torchvision's name as Classy Vision would have it; its blocks wrapped or not.
    fn original(name: &str, last_norm: &str, is_wrapped: bool) -> String {
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            ["conv1", kind] => format!("backbone.initial_block._module.0.{kind}"),
            ["bn1", kind] => format!("backbone.initial_block._module.1.{kind}"),
            [layer, block, ref rest @ ..] => {
                let stage: usize = layer.strip_prefix("layer").unwrap().parse::<usize>().unwrap() - 1;
                let rest = match rest {
                    [norm, kind] if *norm == last_norm => format!("bn.{kind}"),
                    ["downsample", number, kind] => format!("downsample.{number}.{kind}"),
                    [layer, kind] => {
                        let place =
                            ["conv1", "bn1", "", "conv2", "bn2", "", "conv3"].iter().position(|l| l == layer);
                        format!("convolutional_block.{}.{kind}", place.unwrap())
                    }
                    _ => unreachable!("{name}"),
                };
                let block = match is_wrapped {
                    true => format!("{block}._module"),
                    false => format!("block{stage}-{block}"),
                };
                format!("backbone.blocks.{stage}.{block}.{rest}")
            }
            _ => unreachable!("{name}"),
        }
    }

    #[test]
    fn a_network_of_classy_vision_is_the_same_network() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sscd.classy.safetensors");
        for (name, last_norm) in [("resnet50", "bn3"), ("resnet18", "bn2")] {
            let network = Network::by_name(name, Head::Embedding).unwrap();
            let weights = Weights::random(&network, 5);
            for is_wrapped in [false, true] {
                let mut classy = Weights::default();
                for (name, tensor) in weights.iter() {
                    classy.insert(&original(name, last_norm, is_wrapped), tensor.clone());
                }
                let width = network.output_width();
                let matrix = Tensor::new(vec![6, width], vec![0.25; 6 * width]).unwrap();
                classy.insert("embeddings.1.weight", matrix.clone());
                classy.insert("embeddings.1.bias", Tensor::new(vec![6], vec![0.5; 6]).unwrap());
                classy.save(&file).unwrap();
                let found = import_projected(&file, name, Some("embeddings.1")).unwrap();
                for (name, tensor) in weights.iter() {
                    assert_eq!(found.get(name), Some(tensor), "{name}");
                }
                assert_eq!(found.get("projection.weight"), Some(&matrix));
                assert_eq!(found.len(), weights.len() + 2);
            }
        }
    }
}
