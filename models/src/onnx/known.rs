//! Which network of ours a graph is, up to names, folded batch norms and the order of a sum, and its weights under our
//! names.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::steps::{Traced, vector};
use crate::network::{GEM_P, Head, Network, Op, PROJECTION, Padding};
use crate::weights::{Tensor, Weights};

/// A network of ours that a graph is.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name, one of [`Network::names`].
    pub(super) name: &'static str,
    /// With this head.
    pub(super) head: Head,
    /// A linear layer stands behind the embedding; its tensors are `projection.weight` and perhaps `projection.bias`.
    pub(super) is_projected: bool,
    /// The output is of unit length.
    pub(super) is_normalised: bool,
    /// Under our names; with [`GEM_P`] where the graph pools by a generalised mean.
    pub(super) weights: Weights,
}

/// The network that a graph is, among all or the one that is asked for.
pub(super) fn find(traced: &Traced, asked: Option<&str>) -> Option<Found> {
    let theirs = Shape::of(&traced.network);
    let mut best: Option<(usize, Found)> = None;
    for name in Network::names() {
        if asked.is_some_and(|asked| asked != name) {
            continue;
        }
        // A linear layer behind an embedding is the classifier before it is a projection.
        for (head, may_end) in [(Head::Classifier, false), (Head::Embedding, true)] {
            let Ok(network) = Network::by_name(name, head) else { continue };
            let ours = Shape::of(&network);
            for end in ends(&traced.network, may_end) {
                let Some((n_other, weights)) = matched(&ours, &theirs, traced, &end) else { continue };
                let found = Found {
                    name,
                    head,
                    is_projected: end.projection.is_some(),
                    is_normalised: end.is_normalised,
                    weights,
                };
                // Of networks that are one with batch norms folded, the one that has them where the graph does.
                if best.as_ref().is_none_or(|(least, _)| n_other < *least) {
                    best = Some((n_other, found));
                }
                break;
            }
        }
    }
    best.map(|(_, found)| found)
}

/// Where in a graph a network of ours may end, and what is behind it.
struct End {
    node: usize,
    projection: Option<usize>,
    is_normalised: bool,
}

fn ends(network: &Network, may_end: bool) -> Vec<End> {
    let nodes = network.nodes();
    let last = nodes.len().saturating_sub(1);
    let mut ends = vec![End { node: last, projection: None, is_normalised: false }];
    if may_end {
        let is_normalised = matches!(nodes[last].op, Op::L2Normalise);
        let node = if is_normalised { nodes[last].inputs[0] } else { last };
        if is_normalised {
            ends.push(End { node, projection: None, is_normalised });
        }
        if matches!(nodes[node].op, Op::Linear { .. }) {
            ends.push(End { node: nodes[node].inputs[0], projection: Some(node), is_normalised });
        }
    }
    ends
}

/// A network without the batch norms that can be folded.
struct Shape<'a> {
    network: &'a Network,
    /// The batch norm behind each node, if it is a convolution's own.
    norms: Vec<Option<usize>>,
    /// What each node reads, past such norms.
    inputs: Vec<Vec<usize>>,
    /// What all nodes up to each do.
    hashes: Vec<u64>,
}

impl<'a> Shape<'a> {
    fn of(network: &'a Network) -> Shape<'a> {
        let nodes = network.nodes();
        let mut n_readers = vec![0_usize; nodes.len()];
        let mut reader = vec![0_usize; nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            for &input in &node.inputs {
                n_readers[input] += 1;
                reader[input] = index;
            }
        }
        let mut norms = vec![None; nodes.len()];
        let mut places: Vec<usize> = (0..nodes.len()).collect();
        let mut inputs: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
        let mut hashes = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let is_conv = matches!(node.op, Op::Conv2d { .. });
            if is_conv && n_readers[index] == 1 && matches!(nodes[reader[index]].op, Op::BatchNorm2d { .. }) {
                norms[index] = Some(reader[index]);
                places[reader[index]] = index;
            }
            let read: Vec<usize> = node.inputs.iter().map(|&input| places[input]).collect();
            let mut before: Vec<u64> = read.iter().map(|&input| hashes[input]).collect();
            if matches!(node.op, Op::Add) {
                before.sort_unstable();
            }
            let mut hasher = DefaultHasher::new();
            (rough(&node.op), before).hash(&mut hasher);
            hashes.push(if places[index] == index { hasher.finish() } else { hashes[places[index]] });
            inputs.push(read);
        }
        Shape { network, norms, inputs, hashes }
    }

    fn op(&self, node: usize) -> &'a Op {
        &self.network.nodes()[node].op
    }

    /// The node past a norm that is folded.
    fn past(&self, node: usize) -> usize {
        match self.network.nodes()[node].inputs.first() {
            Some(&before) if self.norms[before] == Some(node) => before,
            _ => node,
        }
    }
}

/// What an operation does, as far as any two that may be the same agree.
fn rough(op: &Op) -> (u8, Vec<usize>) {
    match op {
        Op::Input => (0, vec![]),
        Op::Conv2d { in_channels, out_channels, kernel, stride, groups, .. } => {
            (1, [&[*in_channels, *out_channels, *groups][..], kernel, stride].concat())
        }
        Op::BatchNorm2d { channels, .. } => (2, vec![*channels]),
        // An activation in a range may be either.
        Op::Relu | Op::Relu6 => (3, vec![]),
        Op::MaxPool2d { kernel, stride, padding, .. } => (4, [*kernel, *stride, *padding].concat()),
        Op::AvgPool2d { kernel, stride, padding } => (5, [*kernel, *stride, *padding].concat()),
        // A generalised mean is a head in the place of the network's own mean.
        Op::GlobalAvgPool | Op::Gem { cells: 1, .. } => (6, vec![]),
        Op::Gem { cells, .. } => (15, vec![*cells]),
        Op::Flatten { size } => (7, size.to_vec()),
        Op::Add => (8, vec![]),
        Op::Concat => (9, vec![]),
        Op::Gelu => (10, vec![]),
        Op::LayerNorm { channels, .. } => (11, vec![*channels]),
        Op::ChannelScale { channels, .. } => (12, vec![*channels]),
        Op::L2Normalise => (13, vec![]),
        Op::Linear { in_features, out_features, .. } => (14, vec![*in_features, *out_features]),
    }
}

/// Whether our operation does what theirs does.
fn is_same(ours: &Op, theirs: &Op, is_hidden: bool) -> bool {
    match (ours, theirs) {
        (
            Op::Conv2d { padding: a, kernel, stride, .. },
            Op::Conv2d { padding: b, kernel: other, stride: step, .. },
        ) => fixed(*a, *kernel, *stride) == fixed(*b, *other, *step),
        (Op::Relu | Op::Relu6, Op::Relu | Op::Relu6) if is_hidden => true,
        (Op::Relu, Op::Relu6) | (Op::Relu6, Op::Relu) => false,
        (Op::LayerNorm { eps: a, .. }, Op::LayerNorm { eps: b, .. }) => (a - b).abs() <= 1e-3 * a.abs(),
        (Op::MaxPool2d { .. }, Op::MaxPool2d { .. }) => ours == theirs,
        _ => rough(ours) == rough(theirs),
    }
}

/// SAME with a step of 1 and an odd kernel is as many zeros on either side.
fn fixed(padding: Padding, kernel: [usize; 2], stride: [usize; 2]) -> Padding {
    match padding {
        Padding::Same if stride == [1, 1] && kernel.iter().all(|size| size % 2 == 1) => {
            Padding::Fixed(kernel.map(|size| size / 2))
        }
        other => other,
    }
}

/// The weights of a graph up to `end` under our names, if it is our network, and how many convolutions have a batch norm in
/// one of them only.
fn matched(ours: &Shape<'_>, theirs: &Shape<'_>, traced: &Traced, end: &End) -> Option<(usize, Weights)> {
    let root = ours.past(ours.network.nodes().len() - 1);
    let end_node = theirs.past(end.node);
    if ours.hashes[root] != theirs.hashes[end_node] {
        return None;
    }
    let mut partner: Vec<Option<usize>> = vec![None; ours.network.nodes().len()];
    let mut taken = BTreeSet::new();
    let mut open = vec![(root, end_node)];
    let mut weights = Weights::default();
    let mut n_other = 0;
    while let Some((our, their)) = open.pop() {
        match partner[our] {
            Some(before) if before == their => continue,
            Some(_) => return None,
            None if !taken.insert(their) => return None,
            None => partner[our] = Some(their),
        }
        if !is_same(ours.op(our), theirs.op(their), traced.hidden.contains(&their)) {
            return None;
        }
        let (mut left, right) = (ours.inputs[our].clone(), &theirs.inputs[their]);
        if left.len() != right.len() {
            return None;
        }
        if matches!(ours.op(our), Op::Add) && ours.hashes[left[0]] != theirs.hashes[right[0]] {
            left.reverse();
        }
        open.extend(left.into_iter().zip(right.iter().copied()));
        n_other += usize::from(ours.norms[our].is_some() != theirs.norms[their].is_some());
        move_weights(ours, our, theirs, their, traced, &mut weights)?;
    }
    if let Some(projection) = end.projection
        && let Op::Linear { name, .. } = theirs.op(projection)
    {
        for (part, new) in ["weight", "bias"].into_iter().zip(PROJECTION) {
            if let Some(tensor) = traced.weights.get(&format!("{name}.{part}")) {
                weights.insert(new, tensor.clone());
            }
        }
    }
    Some((n_other, weights))
}

/// Moves the tensors of one node to our names, or says that they cannot be ours.
fn move_weights(
    ours: &Shape<'_>,
    our: usize,
    theirs: &Shape<'_>,
    their: usize,
    traced: &Traced,
    weights: &mut Weights,
) -> Option<()> {
    let get = |name: &str, part: &str| traced.weights.get(&format!("{name}.{part}"));
    let norm_of = |shape: &Shape<'_>, node: usize| match shape.norms[node].map(|norm| shape.op(norm).clone())
    {
        Some(Op::BatchNorm2d { name, eps, .. }) => Some((name, eps)),
        _ => None,
    };
    match (ours.op(our), theirs.op(their)) {
        (Op::Conv2d { name: new, bias: keeps_bias, out_channels, .. }, Op::Conv2d { name: old, .. }) => {
            weights.insert(&format!("{new}.weight"), get(old, "weight")?.clone());
            let n = *out_channels;
            let bias = get(old, "bias").map(|bias| bias.values.clone());
            // What stands in our convolution's bias, and what the norm behind it must take.
            let mut left = bias;
            match (norm_of(ours, our), norm_of(theirs, their)) {
                (None, Some(_)) => return None,
                (Some((norm, eps)), Some((old, old_eps))) => {
                    if *keeps_bias {
                        let zeros = || vec![0.0; n];
                        insert(weights, new, "bias", left.take().unwrap_or_else(zeros))?;
                    }
                    move_norm(traced, &old, old_eps, &norm, eps, left.as_deref(), weights)?;
                    return Some(());
                }
                (Some((norm, eps)), None) => {
                    if *keeps_bias {
                        insert(weights, new, "bias", vec![0.0; n])?;
                    }
                    insert(weights, &norm, "weight", vec![1.0; n])?;
                    insert(weights, &norm, "bias", left.take().unwrap_or_else(|| vec![0.0; n]))?;
                    insert(weights, &norm, "running_mean", vec![0.0; n])?;
                    insert(weights, &norm, "running_var", vec![(1.0 - eps) as f32; n])?;
                }
                (None, None) if *keeps_bias => {
                    insert(weights, new, "bias", left.take().unwrap_or_else(|| vec![0.0; n]))?;
                }
                (None, None) => {}
            }
            // A shift that ours has no place for.
            left.is_none_or(|bias| bias.iter().all(|&value| value == 0.0)).then_some(())
        }
        (Op::BatchNorm2d { name: new, eps, .. }, Op::BatchNorm2d { name: old, eps: old_eps, .. }) => {
            move_norm(traced, old, *old_eps, new, *eps, None, weights)
        }
        (Op::Linear { name: new, bias, out_features, .. }, Op::Linear { name: old, .. }) => {
            weights.insert(&format!("{new}.weight"), get(old, "weight")?.clone());
            match (bias, get(old, "bias")) {
                (true, Some(tensor)) => weights.insert(&format!("{new}.bias"), tensor.clone()),
                (true, None) => insert(weights, new, "bias", vec![0.0; *out_features])?,
                (false, Some(_)) => return None,
                (false, None) => {}
            }
            Some(())
        }
        (Op::LayerNorm { name: new, .. }, Op::LayerNorm { name: old, .. }) => {
            for part in ["weight", "bias"] {
                weights.insert(&format!("{new}.{part}"), get(old, part)?.clone());
            }
            Some(())
        }
        (Op::ChannelScale { name: new, .. }, Op::ChannelScale { name: old, .. }) => {
            weights.insert(new, traced.weights.get(old)?.clone());
            Some(())
        }
        (Op::GlobalAvgPool, Op::Gem { p, name, .. }) => {
            let learnt = name.as_ref().and_then(|name| traced.weights.get(name)).cloned();
            weights.insert(GEM_P, learnt.or_else(|| vector(vec![*p as f32]).ok())?);
            Some(())
        }
        _ => Some(()),
    }
}

/// A batch norm under another name and with another epsilon: what is more in one is less in the variance. A bias of the
/// convolution before it goes into the mean.
fn move_norm(
    traced: &Traced,
    old: &str,
    old_eps: f64,
    new: &str,
    eps: f64,
    bias: Option<&[f32]>,
    weights: &mut Weights,
) -> Option<()> {
    for part in ["weight", "bias", "running_mean", "running_var"] {
        let mut tensor: Tensor = traced.weights.get(&format!("{old}.{part}"))?.clone();
        match part {
            "running_mean" => {
                let shift = bias.unwrap_or_default();
                tensor.values.iter_mut().zip(shift).for_each(|(mean, shift)| *mean -= shift);
            }
            // Epsilons of one size differ by how they are written only.
            "running_var" if (old_eps - eps).abs() > 1e-6 * eps => {
                tensor
                    .values
                    .iter_mut()
                    .for_each(|value| *value = (f64::from(*value) + old_eps - eps) as f32);
            }
            _ => {}
        }
        weights.insert(&format!("{new}.{part}"), tensor);
    }
    Some(())
}

fn insert(weights: &mut Weights, name: &str, part: &str, values: Vec<f32>) -> Option<()> {
    weights.insert(&format!("{name}.{part}"), vector(values).ok()?);
    Some(())
}
