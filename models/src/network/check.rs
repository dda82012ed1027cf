//! The rules that every description keeps.

use super::{Node, Op, Padding};
use crate::{Error, Result};

/// What flows along an edge: a feature map `[n, c, h, w]` or a vector `[n, c]` for each image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flow {
    Map(usize),
    Vector(usize),
}

/// The largest number of channels or features; descriptions come out of files too.
const LARGEST: usize = 1 << 24;
/// The largest stride, kernel and padding, and a flattened map's largest height and width.
const WIDEST: usize = 1 << 16;
/// The most values of a tensor.
const MOST_VALUES: usize = 1 << 31;

/// Checks that an operation's sizes can be computed with, and that its epsilon is one.
fn check_sizes(op: &Op) -> std::result::Result<(), String> {
    let (channels, extents, eps): (&[usize], Vec<usize>, f64) = match op {
        Op::Conv2d { in_channels, out_channels, kernel, stride, padding, groups, .. } => {
            let padding = match padding {
                Padding::Fixed(padding) => *padding,
                Padding::Same => [0, 0],
            };
            (&[*in_channels, *out_channels, *groups], [*kernel, *stride, padding].concat(), 0.0)
        }
        Op::MaxPool2d { kernel, stride, padding, .. } | Op::AvgPool2d { kernel, stride, padding } => {
            (&[], [*kernel, *stride, *padding].concat(), 0.0)
        }
        Op::Flatten { size } => (&[], size.to_vec(), 0.0),
        Op::Gem { cells, .. } => (&[], vec![*cells], 0.0),
        Op::BatchNorm2d { channels, eps, .. } | Op::LayerNorm { channels, eps, .. } => {
            (&[*channels], Vec::new(), *eps)
        }
        Op::ChannelScale { channels, .. } => (&[*channels], Vec::new(), 0.0),
        Op::Linear { in_features, out_features, .. } => (&[*in_features, *out_features], Vec::new(), 0.0),
        _ => (&[], Vec::new(), 0.0),
    };
    if let Some(size) = channels.iter().find(|size| !(1..=LARGEST).contains(*size)) {
        return Err(format!("it has {size} channels, features or groups, expected 1 to {LARGEST}"));
    }
    if let Some(extent) = extents.iter().find(|extent| **extent > WIDEST) {
        return Err(format!("a stride, kernel, padding or size is {extent}, expected at most {WIDEST}"));
    }
    if !(0.0..1.0).contains(&eps) {
        return Err(format!("its epsilon is {eps}, expected 0 to 1"));
    }
    let is_large = |shape: &[usize]| {
        let n_values = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        n_values.is_none_or(|n_values| n_values > MOST_VALUES)
    };
    match op.parameters().iter().find(|parameter| is_large(&parameter.shape)) {
        Some(large) => Err(format!("'{}' has the shape {:?}, too many values", large.name, large.shape)),
        None => Ok(()),
    }
}

/// Checks a description and returns what flows out of each node; a vector out of the last.
pub(super) fn check(network: &str, nodes: &[Node]) -> Result<Vec<Flow>> {
    let mut flows: Vec<Flow> = Vec::with_capacity(nodes.len());
    let mut names = std::collections::BTreeSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let error = |reason: String| Error::Description { network: network.to_owned(), node: index, reason };
        let (least, most) = match node.op {
            Op::Input => (0, 0),
            Op::Add => (2, 2),
            Op::Concat => (2, usize::MAX),
            _ => (1, 1),
        };
        if !(least..=most).contains(&node.inputs.len()) {
            let more = if most > least { " or more" } else { "" };
            return Err(error(format!("it has {} inputs, expected {least}{more}", node.inputs.len())));
        }
        if let Some(later) = node.inputs.iter().find(|&&input| input >= index) {
            return Err(error(format!("it takes the output of node {later}, which is not before it")));
        }
        if (index == 0) != (node.op == Op::Input) {
            return Err(error("expected the input as node 0 and nowhere else".into()));
        }
        check_sizes(&node.op).map_err(&error)?;
        for parameter in node.op.parameters() {
            if parameter.shape.contains(&0) {
                return Err(error(format!("'{}' has the shape {:?}", parameter.name, parameter.shape)));
            }
            if !names.insert(parameter.name.clone()) {
                return Err(error(format!("the name '{}' is taken by an earlier node", parameter.name)));
            }
        }
        let input = node.inputs.first().map(|&input| flows[input]);
        let flow = match (&node.op, input) {
            (Op::Input, _) => Flow::Map(3),
            (Op::Conv2d { in_channels, out_channels, groups, stride, kernel, .. }, Some(Flow::Map(c))) => {
                if *in_channels != c {
                    return Err(error(format!("it takes {in_channels} channels, its input has {c}")));
                }
                if *groups == 0 || in_channels % groups != 0 || out_channels % groups != 0 {
                    return Err(error(format!("{groups} groups do not divide its channels")));
                }
                if stride.contains(&0) || kernel.contains(&0) {
                    return Err(error("a stride or kernel is 0".into()));
                }
                Flow::Map(*out_channels)
            }
            (Op::BatchNorm2d { channels, .. } | Op::ChannelScale { channels, .. }, Some(Flow::Map(c)))
            | (Op::LayerNorm { channels, .. }, Some(Flow::Map(c) | Flow::Vector(c))) => {
                if *channels != c {
                    return Err(error(format!("it takes {channels} channels, its input has {c}")));
                }
                flows[node.inputs[0]]
            }
            (
                Op::MaxPool2d { kernel, stride, padding, .. } | Op::AvgPool2d { kernel, stride, padding },
                Some(Flow::Map(c)),
            ) => {
                if stride.contains(&0) || padding[0] * 2 > kernel[0] || padding[1] * 2 > kernel[1] {
                    return Err(error("a stride is 0 or a padding is over half the window".into()));
                }
                Flow::Map(c)
            }
            (Op::GlobalAvgPool, Some(Flow::Map(c))) => Flow::Vector(c),
            (Op::Gem { p, cells, .. }, Some(Flow::Map(c))) => {
                if !(*p > 0.0 && p.is_finite()) {
                    return Err(error(format!("its exponent is {p}, expected a number above 0")));
                }
                match cells.checked_mul(*cells).and_then(|n| n.checked_mul(c)) {
                    Some(features @ 1..=LARGEST) => Flow::Vector(features),
                    _ => return Err(error(format!("it makes a vector of {c} x {cells} x {cells} numbers"))),
                }
            }
            (Op::Flatten { size: [height, width] }, Some(Flow::Map(c))) => {
                match c.checked_mul(height * width) {
                    Some(features @ 1..=LARGEST) => Flow::Vector(features),
                    _ => return Err(error(format!("it makes a vector of {c} x {height} x {width} numbers"))),
                }
            }
            (Op::Linear { in_features, out_features, .. }, Some(flow)) => {
                let (Flow::Map(c) | Flow::Vector(c)) = flow;
                if *in_features != c {
                    return Err(error(format!("it takes {in_features} features, its input has {c}")));
                }
                match flow {
                    Flow::Map(_) => Flow::Map(*out_features),
                    Flow::Vector(_) => Flow::Vector(*out_features),
                }
            }
            (Op::Relu | Op::Relu6 | Op::Gelu, Some(flow)) => flow,
            (Op::L2Normalise, Some(Flow::Vector(c))) => Flow::Vector(c),
            (Op::Concat, Some(Flow::Map(_))) => {
                let channels = node.inputs.iter().map(|&input| match flows[input] {
                    Flow::Map(c) => Some(c),
                    Flow::Vector(_) => None,
                });
                let channels: Option<Vec<usize>> = channels.collect();
                let channels = channels.ok_or_else(|| error("it puts a vector behind a map".into()))?;
                match channels.iter().try_fold(0_usize, |sum, &c| sum.checked_add(c)) {
                    Some(sum @ 1..=LARGEST) => Flow::Map(sum),
                    _ => return Err(error(format!("it makes a map of more than {LARGEST} channels"))),
                }
            }
            (Op::Add, Some(flow)) => {
                let other = flows[node.inputs[1]];
                if other != flow {
                    return Err(error(format!("it adds {flow:?} and {other:?}")));
                }
                flow
            }
            (op, flow) => return Err(error(format!("{op:?} cannot take {flow:?}"))),
        };
        flows.push(flow);
    }
    match flows.last() {
        Some(Flow::Vector(_)) => Ok(flows),
        last => Err(Error::Description {
            network: network.to_owned(),
            node: nodes.len().saturating_sub(1),
            reason: format!("the output is {last:?}, expected a vector for each image"),
        }),
    }
}
