//! Names of tensors as training code wraps networks: `module.`, `_orig_mod.`, `model.`, `backbone.` and the like before
//! each, and a classifier of the task at hand behind the network.

use std::collections::{BTreeMap, BTreeSet};

use super::Weights;
use crate::network::Network;

/// The note on what was left out of names, and which tensors.
pub(super) const NOTE: &str = "import";

/// The weights with the network's names, where its tensors stand under one prefix; without those that do not have it. A
/// note says so. As they are where the names fit without one, or none fits at all.
///
/// # Errors
/// Two or more prefixes under which the network stands equally, such as `student.` and `teacher.`.
pub(super) fn without_prefix(weights: Weights, network: &Network) -> Result<Weights, String> {
    let wanted: BTreeSet<String> = network.parameters().into_iter().map(|parameter| parameter.name).collect();
    // How many of the network's tensors stand under each prefix. Every dot may end one.
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for name in weights.tensors.keys() {
        let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
        for start in starts.filter(|&start| wanted.contains(&name[start..])) {
            *found.entry(&name[..start]).or_default() += 1;
        }
    }
    let most = found.values().copied().max().unwrap_or(0);
    let mut best = found.iter().filter(|(_, n)| **n == most).map(|(prefix, _)| *prefix);
    // Less than half of a network under a prefix is a likeness of names.
    let (Some(prefix), true) = (best.next(), 2 * most >= wanted.len()) else {
        return Ok(weights);
    };
    if prefix.is_empty() {
        return Ok(weights);
    }
    if let Some(other) = best.next() {
        return Err(format!(
            "the network '{}' stands in it under '{prefix}' and under '{other}'; keep the tensors of one",
            network.name()
        ));
    }
    let prefix = prefix.to_owned();
    let mut inside = BTreeMap::new();
    let mut outside = Vec::new();
    for (name, tensor) in weights.tensors {
        match name.strip_prefix(&prefix) {
            Some(rest) => {
                inside.insert(rest.to_owned(), tensor);
            }
            None => outside.push(name),
        }
    }
    let mut note = format!("the prefix '{prefix}' of {} names is left out", inside.len());
    if let Some(first) = outside.first() {
        note.push_str(&format!(", and {} tensors that do not have it, such as '{first}'", outside.len()));
    }
    Ok(with_note(Weights { tensors: inside, metadata: weights.metadata }, &note))
}

/// The weights without the classifier, where it is another than the network's: of other classes, or of other layers. A
/// note says so.
pub(super) fn without_other_classifier(
    mut weights: Weights,
    classifier: &Network,
    embedding: &Network,
) -> Weights {
    let wanted: BTreeSet<String> =
        embedding.parameters().into_iter().map(|parameter| parameter.name).collect();
    let mut own = classifier.parameters();
    own.retain(|parameter| !wanted.contains(&parameter.name));
    let fits = own.iter().all(|parameter| {
        weights.tensors.get(&parameter.name).is_some_and(|tensor| tensor.shape == parameter.shape)
    });
    if fits {
        return weights;
    }
    // `fc.` of `fc.weight`: under it, what fine-tuning put in its place has its names.
    let root = |name: &str| name.split('.').next().map(|first| format!("{first}."));
    let roots: BTreeSet<String> = own.iter().filter_map(|parameter| root(&parameter.name)).collect();
    let is_other = |name: &String| roots.iter().any(|root| name.starts_with(root)) && !wanted.contains(name);
    let other: Vec<String> = weights.tensors.keys().filter(|name| is_other(name)).cloned().collect();
    let Some(first) = other.first() else {
        return weights;
    };
    let shape = weights.tensors.get(first).map(|tensor| tensor.shape.clone()).unwrap_or_default();
    let note = format!(
        "its classifier is another than the network's and is left out ('{first}' of shape {shape:?})"
    );
    other.iter().for_each(|name| {
        weights.tensors.remove(name);
    });
    with_note(weights, &note)
}

fn with_note(weights: Weights, note: &str) -> Weights {
    let note = match weights.metadata.get(NOTE) {
        Some(before) => format!("{before}; {note}"),
        None => note.to_owned(),
    };
    weights.with_metadata(NOTE, &note)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Tensor, import};
    use super::*;
    use crate::network::Head;

    fn tensor(shape: &[usize]) -> Tensor {
        Tensor::new(shape.to_vec(), vec![0.5; shape.iter().product()]).unwrap()
    }

    /// The tensors of resnet18 under a prefix, with others as they stand.
    fn wrapped(prefixes: &[&str], others: &[(&str, &[usize])]) -> Weights {
        let network = Network::by_name("resnet18", Head::Embedding).unwrap();
        let mut weights = Weights::default();
        for (name, tensor) in Weights::random(&network, 1).iter() {
            prefixes.iter().for_each(|prefix| weights.insert(&format!("{prefix}{name}"), tensor.clone()));
        }
        others.iter().for_each(|(name, shape)| weights.insert(name, tensor(shape)));
        weights
    }

    fn imported(folder: &Path, weights: &Weights) -> crate::Result<Weights> {
        let file = folder.join("x.safetensors");
        weights.save(&file).unwrap();
        import(&file, "resnet18")
    }

    #[test]
    fn prefixes_are_left_out_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let plain = wrapped(&[""], &[]);
        assert!(!imported(folder.path(), &plain).unwrap().metadata().contains_key(NOTE));
        for prefix in ["module.", "model.", "backbone.", "_orig_mod.", "_orig_mod.module.", "encoder.net."] {
            let found = imported(folder.path(), &wrapped(&[prefix], &[])).unwrap();
            assert_eq!(found.get("conv1.weight"), plain.get("conv1.weight"), "{prefix}");
            let note = &found.metadata()[NOTE];
            assert!(note.contains(&format!("'{prefix}'")) && !note.contains("do not have"), "{note}");
        }
        // With a head of the task beside the backbone.
        let weights =
            wrapped(&["backbone."], &[("projector.0.weight", &[4, 512]), ("fc.weight", &[1000, 512])]);
        let found = imported(folder.path(), &weights).unwrap();
        assert!(found.get("fc.weight").is_none());
        let note = &found.metadata()[NOTE];
        assert!(note.contains("2 tensors that do not have it, such as 'fc.weight'"), "{note}");
    }

    #[test]
    fn nothing_is_guessed_between_two_networks_of_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let message =
            imported(folder.path(), &wrapped(&["student.", "teacher."], &[])).unwrap_err().to_string();
        assert!(message.contains("'student.' and under 'teacher.'"), "{message}");
        // The network under its own names is meant, whatever stands beside it.
        let message = imported(folder.path(), &wrapped(&["", "ema."], &[])).unwrap_err().to_string();
        assert!(message.contains("unexpected (100)") && message.contains("ema."), "{message}");
        // A likeness of a few names is no prefix.
        let mut few = Weights::default();
        ["x.conv1.weight", "x.bn1.weight"].iter().for_each(|name| few.insert(name, tensor(&[1])));
        let message = imported(folder.path(), &few).unwrap_err().to_string();
        assert!(message.contains("x.conv1.weight"), "{message}");
    }

    #[test]
    fn a_classifier_of_other_classes_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let own: [(&str, &[usize]); 2] = [("fc.weight", &[1000, 512]), ("fc.bias", &[1000])];
        let found = imported(folder.path(), &wrapped(&[""], &own)).unwrap();
        assert!(found.get("fc.weight").is_some() && !found.metadata().contains_key(NOTE));
        let others: [&[(&str, &[usize])]; 3] = [
            &[("fc.weight", &[365, 512]), ("fc.bias", &[365])],
            &[("fc.weight", &[1000, 512])],
            &[("fc.0.weight", &[256, 512]), ("fc.3.weight", &[10, 256])],
        ];
        for other in others {
            let found = imported(folder.path(), &wrapped(&[""], other)).unwrap();
            assert!(found.iter().all(|(name, _)| !name.starts_with("fc.")));
            let note = &found.metadata()[NOTE];
            assert!(note.contains("classifier") && note.contains("'fc."), "{note}");
        }
        let both = wrapped(&["model."], &[("model.fc.weight", &[7, 512]), ("model.fc.bias", &[7])]);
        let note = imported(folder.path(), &both).unwrap().metadata()[NOTE].clone();
        assert!(note.contains("'model.'") && note.contains("classifier"), "{note}");
    }
}
