//! The projection at a network's end, by the name that a file has for it.

use std::collections::BTreeMap;

use super::{Tensor, Weights};
use crate::network::PROJECTION;

/// The weights without the linear layer `layer`, and its tensors as a projection's; `width` is that of what it projects.
///
/// # Errors
/// Where there is no such layer, with those that there are; where its shape is another.
pub(super) fn taken_out(
    mut weights: Weights,
    layer: &str,
    width: usize,
) -> Result<(Weights, BTreeMap<String, Tensor>), String> {
    let Some(matrix) = weights.tensors.remove(&format!("{layer}.weight")) else {
        let layers = weights.tensors.iter().filter(|(_, tensor)| tensor.shape.len() == 2);
        let names: Vec<&str> = layers.filter_map(|(name, _)| name.strip_suffix(".weight")).collect();
        let others = match names[..] {
            [] => "it has no linear layer at all".to_owned(),
            _ => format!(
                "its linear layers are {}",
                names.iter().take(8).copied().collect::<Vec<_>>().join(", ")
            ),
        };
        return Err(format!("it has no layer '{layer}'; {others}"));
    };
    let mut taken = BTreeMap::new();
    let outputs = match matrix.shape[..] {
        [outputs, inputs] if inputs == width => outputs,
        _ => {
            return Err(format!(
                "'{layer}.weight' has the shape {:?}, expected [any, {width}] of a projection of the network's {width} numbers",
                matrix.shape
            ));
        }
    };
    if let Some(bias) = weights.tensors.remove(&format!("{layer}.bias")) {
        if bias.shape != [outputs] {
            return Err(format!("'{layer}.bias' has the shape {:?}, expected [{outputs}]", bias.shape));
        }
        taken.insert(PROJECTION[1].to_owned(), bias);
    }
    taken.insert(PROJECTION[0].to_owned(), matrix);
    Ok((weights, taken))
}

#[cfg(test)]
mod tests {
    use super::super::import_projected;
    use super::*;
    use crate::network::{Head, Network};

    #[test]
    fn the_last_layer_of_a_file_becomes_the_projection() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sscd.torchvision.safetensors");
        let network = Network::by_name("resnet18", Head::Embedding).unwrap();
        let save = |matrix: &[usize], bias: &[usize]| {
            let mut weights = Weights::default();
            for (name, tensor) in Weights::random(&network, 1).iter() {
                weights.insert(&format!("backbone.{name}"), tensor.clone());
            }
            for (kind, shape) in [("weight", matrix), ("bias", bias)] {
                let tensor = Tensor::new(shape.to_vec(), vec![0.5; shape.iter().product()]).unwrap();
                weights.insert(&format!("backbone.fc.{kind}"), tensor);
            }
            weights.save(&file).unwrap();
        };
        save(&[16, 512], &[16]);
        let found = import_projected(&file, "resnet18", Some("backbone.fc")).unwrap();
        assert_eq!(found.get("projection.weight").unwrap().shape, [16, 512]);
        assert_eq!(found.get("projection.bias").unwrap().shape, [16]);
        assert!(found.get("fc.weight").is_none());
        // Not asked for, it is a classifier of other classes, and is left out.
        assert!(super::super::import(&file, "resnet18").unwrap().get("projection.weight").is_none());
        let refused = |layer| import_projected(&file, "resnet18", Some(layer)).unwrap_err().to_string();
        assert!(
            refused("fc").contains("no layer 'fc'; its linear layers are backbone.fc"),
            "{}",
            refused("fc")
        );
        assert!(refused("backbone.conv1").contains("[64, 3, 7, 7], expected [any, 512]"));
        save(&[16, 512], &[15]);
        assert!(refused("backbone.fc").contains("[15], expected [16]"));
    }
}
