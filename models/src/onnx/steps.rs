//! What a graph has been found to do, operation by operation, and how that becomes a network with named weights.

use std::collections::BTreeSet;

use crate::Error;
use crate::network::{Network, Node, Op};
use crate::weights::{Tensor, Weights};

/// The epsilon of the batch norms that stand for a shift: 1 less it is a number of 32 bits, so that they are exact.
const SHIFT_EPSILON: f32 = 1.0 / 131_072.0;

/// One operation on the outputs of earlier ones. Layers carry no name yet.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The node of the graph, for messages.
    pub(super) label: String,
    pub(super) work: Work,
    pub(super) inputs: Vec<usize>,
    /// The layer's tensors by the last part of their names; empty for a tensor that is called as the layer is.
    pub(super) tensors: Vec<(&'static str, Tensor)>,
    /// The name that the file has for the layer, if it is one to keep.
    pub(super) name: Option<String>,
    /// Channels or features out.
    pub(super) width: usize,
    /// A map `[n, c, h, w]` and no vector.
    pub(super) is_map: bool,
    /// A map's height and width, where the file fixes them.
    pub(super) size: Option<[usize; 2]>,
    /// No value is below 0.
    pub(super) is_nonnegative: bool,
    /// An activation that the file has in a range only: which of `Relu` and `Relu6` it was is a guess.
    pub(super) is_hidden: bool,
}

/// An operation of ours, or one that becomes a part of another.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Op(Op),
    /// Each channel times a number.
    Scale(Vec<f32>),
    /// Each channel plus a number.
    Shift(Vec<f32>),
}

/// A network out of a graph.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) network: Network,
    pub(super) weights: Weights,
    /// The nodes that were in a range only ([`Step::is_hidden`]).
    pub(super) hidden: BTreeSet<usize>,
}

/// The network called `name` of all steps that `output` needs.
///
/// # Errors
/// What no operation of ours expresses, or does not fit, with the node.
pub(super) fn network(mut steps: Vec<Step>, output: usize, name: &str) -> Result<Traced, String> {
    let mut places: Vec<usize> = (0..steps.len()).collect();
    let mut n_readers = vec![0_usize; steps.len()];
    for step in &steps {
        step.inputs.iter().for_each(|&input| n_readers[input] += 1);
    }
    for index in 0..steps.len() {
        for input in 0..steps[index].inputs.len() {
            steps[index].inputs[input] = places[steps[index].inputs[input]];
        }
        let (before, step) = steps.split_at_mut(index);
        let step = &mut step[0];
        let Some(&from) = step.inputs.first() else { continue };
        let is_only_reader = n_readers[from] == 1 && from != output;
        if is_only_reader && absorbed(&mut before[from], &step.work)? {
            places[index] = from;
            n_readers[from] = n_readers[index];
        } else {
            stand_alone(step)?;
        }
    }
    let output = places[output];
    let mut is_needed = vec![false; steps.len()];
    is_needed[output] = true;
    for index in (0..=output).rev() {
        if is_needed[index] {
            steps[index].inputs.iter().for_each(|&input| is_needed[input] = true);
        }
    }
    let mut nodes = Vec::new();
    let mut labels = Vec::new();
    let mut hidden = BTreeSet::new();
    let mut now = vec![0; steps.len()];
    let mut weights = Weights::default();
    let mut names = BTreeSet::new();
    for (index, step) in steps.into_iter().enumerate().take(output + 1).filter(|(index, _)| is_needed[*index])
    {
        now[index] = nodes.len();
        if step.is_hidden {
            hidden.insert(nodes.len());
        }
        let Work::Op(mut op) = step.work else { return Err(format!("{}: {NOT_OURS}", step.label)) };
        if !step.tensors.is_empty() {
            let name = unique(step.name, kind(&op), nodes.len(), &mut names);
            for (part, tensor) in step.tensors {
                let whole = if part.is_empty() { name.clone() } else { format!("{name}.{part}") };
                weights.insert(&whole, tensor);
            }
            set_name(&mut op, name);
        }
        nodes.push(Node { op, inputs: step.inputs.iter().map(|&input| now[input]).collect() });
        labels.push(step.label);
    }
    let network = Network::new(name, nodes).map_err(|e| explain(e, &labels))?;
    let weights = weights.for_network(&network).map_err(|e| e.to_string())?;
    weights.check_finite().map_err(|e| e.to_string())?;
    Ok(Traced { network, weights, hidden })
}

const NOT_OURS: &str = "numbers of their own for each feature of a vector, where no linear layer stands directly before \
                        it, which none of our operations does";

/// An error of the description with the node that the file has there.
fn explain(error: Error, labels: &[String]) -> String {
    match error {
        Error::Description { node, reason, .. } if node < labels.len() => {
            format!("{}: {reason}", labels[node])
        }
        other => other.to_string(),
    }
}

/// Has the layer before do what `work` does, if it can.
fn absorbed(before: &mut Step, work: &Work) -> Result<bool, String> {
    let can_scale = matches!(before.work, Work::Op(Op::Linear { .. })) && !before.is_map;
    let (Work::Op(Op::Conv2d { bias: has_bias, .. } | Op::Linear { bias: has_bias, .. }), tensors) =
        (&mut before.work, &mut before.tensors)
    else {
        return Ok(false);
    };
    match work {
        Work::Shift(values) => {
            match tensors.iter_mut().find(|(part, _)| *part == "bias") {
                Some((_, bias)) => {
                    bias.values.iter_mut().zip(values).for_each(|(bias, shift)| *bias += shift);
                }
                None => tensors.push(("bias", vector(values.clone())?)),
            }
            *has_bias = true;
            before.is_nonnegative = false;
            Ok(true)
        }
        Work::Scale(values) if can_scale => {
            for (_, tensor) in tensors {
                let row = tensor.values.len() / values.len().max(1);
                for (row, scale) in tensor.values.chunks_exact_mut(row.max(1)).zip(values) {
                    row.iter_mut().for_each(|value| *value *= scale);
                }
            }
            before.is_nonnegative = false;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Turns what no layer before has taken in into an operation of its own: on maps there are some.
fn stand_alone(step: &mut Step) -> Result<(), String> {
    let channels = step.width;
    match (&step.work, step.is_map) {
        (Work::Op(_), _) => {}
        (Work::Scale(values), true) => {
            let tensor = Tensor::new(vec![channels, 1, 1], values.clone()).map_err(|e| e.to_string())?;
            step.tensors = vec![("", tensor)];
            step.work = Work::Op(Op::ChannelScale { name: String::new(), channels });
        }
        (Work::Shift(values), true) => {
            step.tensors = vec![
                ("weight", vector(vec![1.0; channels])?),
                ("bias", vector(values.clone())?),
                ("running_mean", vector(vec![0.0; channels])?),
                ("running_var", vector(vec![1.0 - SHIFT_EPSILON; channels])?),
            ];
            step.work =
                Work::Op(Op::BatchNorm2d { name: String::new(), channels, eps: f64::from(SHIFT_EPSILON) });
        }
        (_, false) => return Err(format!("{}: {NOT_OURS}", step.label)),
    }
    Ok(())
}

/// A tensor of one dimension.
pub(super) fn vector(values: Vec<f32>) -> Result<Tensor, String> {
    Tensor::new(vec![values.len()], values).map_err(|e| e.to_string())
}

/// What a layer without a name is called after.
fn kind(op: &Op) -> &'static str {
    match op {
        Op::Conv2d { .. } => "conv",
        Op::BatchNorm2d { .. } => "norm",
        Op::LayerNorm { .. } => "layer_norm",
        Op::ChannelScale { .. } => "scale",
        Op::Linear { .. } => "linear",
        _ => "layer",
    }
}

/// The file's own name where it is there, readable and no other layer's, or else the kind and the node's index.
fn unique(wanted: Option<String>, kind: &str, index: usize, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted.filter(|name| !taken.contains(name)).unwrap_or_else(|| format!("{kind}_{index}"));
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

fn set_name(op: &mut Op, new: String) {
    if let Op::Conv2d { name, .. }
    | Op::BatchNorm2d { name, .. }
    | Op::LayerNorm { name, .. }
    | Op::ChannelScale { name, .. }
    | Op::Linear { name, .. } = op
    {
        *name = new;
    }
}

/// The layer's name in that of its tensor: what stands before `.weight` and what our own 8-bit files put behind it.
pub(super) fn layer_name(tensor: &str, suffix: &str) -> Option<String> {
    let name = tensor.strip_suffix(suffix)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_readable = !name.is_empty() && name.len() <= 128 && name.chars().all(is_plain);
    (is_readable && name.starts_with(|c: char| c.is_ascii_alphabetic())).then(|| name.to_owned())
}
