//! What torchvision's published files hold beyond, or call otherwise than, its networks at inference.

use super::Weights;

/// The weights as the network called `network` names them: DenseNet's files call `norm.1` what the network calls `norm1`,
/// and GoogLeNet's and Inception v3's hold auxiliary classifiers, which serve training from nothing only.
pub(super) fn as_described(weights: Weights, network: &str) -> Weights {
    let auxiliary: &[&str] = match network {
        "googlenet" => &["aux1.", "aux2."],
        "inception_v3" => &["AuxLogits."],
        _ => &[],
    };
    let is_densenet = network.starts_with("densenet");
    let mut described = Weights { metadata: weights.metadata, ..Weights::default() };
    for (name, tensor) in weights.tensors {
        if auxiliary.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let name = if is_densenet { densenet_name(&name) } else { name };
        described.tensors.insert(name, tensor);
    }
    described
}

/// `...denselayer7.norm.1.weight` becomes `...denselayer7.norm1.weight`.
fn densenet_name(name: &str) -> String {
    let mut parts: Vec<&str> = name.split('.').collect();
    let joined;
    if let [.., layer, kind @ ("norm" | "relu" | "conv"), number @ ("1" | "2"), _] = parts[..]
        && layer.starts_with("denselayer")
    {
        joined = format!("{kind}{number}");
        let place = parts.len() - 3;
        parts.splice(place..place + 2, [joined.as_str()]);
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::super::Tensor;
    use super::*;
    use crate::fold::tests::ones;
    use crate::network::{Head, Network};

    #[test]
    fn old_names_of_densenet_become_the_new_ones() {
        for (old, new) in [
            (
                "features.denseblock1.denselayer12.norm.1.running_mean",
                "features.denseblock1.denselayer12.norm1.running_mean",
            ),
            (
                "features.denseblock4.denselayer1.conv.2.weight",
                "features.denseblock4.denselayer1.conv2.weight",
            ),
            ("features.denseblock1.denselayer1.norm1.bias", "features.denseblock1.denselayer1.norm1.bias"),
            ("features.transition1.norm.weight", "features.transition1.norm.weight"),
            ("features.norm0.weight", "features.norm0.weight"),
        ] {
            assert_eq!(densenet_name(old), new);
        }
        // Every tensor of the network has such a name or one that stays.
        let network = Network::by_name("densenet121", Head::Classifier).unwrap();
        let mut old = ones(&network);
        old.tensors = old
            .tensors
            .into_iter()
            .map(|(name, tensor)| {
                let old = ["norm", "conv"].into_iter().fold(name, |name, kind| {
                    if name.contains("denselayer") {
                        name.replace(&format!(".{kind}1."), &format!(".{kind}.1."))
                            .replace(&format!(".{kind}2."), &format!(".{kind}.2."))
                    } else {
                        name
                    }
                });
                (old, tensor)
            })
            .collect();
        assert!(old.check_fit(&network).is_err());
        as_described(old, "densenet121").check_fit(&network).unwrap();
    }

    #[test]
    fn auxiliary_classifiers_are_left_out() {
        for (name, auxiliary) in
            [("googlenet", "aux1.fc1.weight"), ("inception_v3", "AuxLogits.conv0.conv.weight")]
        {
            let network = Network::by_name(name, Head::Classifier).unwrap();
            let mut weights = ones(&network);
            weights.insert(auxiliary, Tensor::new(vec![1], vec![0.0]).unwrap());
            assert!(as_described(weights.clone(), "resnet18").check_fit(&network).is_err());
            as_described(weights, name).check_fit(&network).unwrap();
        }
    }
}
