//! The description of a network: a list of nodes, each an operation on earlier nodes' outputs.

use crate::{Error, Result};

pub mod builder;
mod mobilenet_v2;
mod resnet;

/// What a network ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The globally average-pooled output of the last convolution: the embedding that retrieval uses
    /// ('Photo Pre-Training, But for Sketch', supplementary).
    Embedding,
    /// ImageNet's 1,000 class scores, before any softmax.
    Classifier,
}

/// One operation. Parameter names are `<name>.weight`, `<name>.bias`, `<name>.running_mean` and
/// `<name>.running_var`, as in torchvision's state dictionaries.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The network's input, `[n, 3, h, w]`. Always node 0 and only there.
    Input,
    /// A 2-d convolution, weight `[out, in / groups, kernel, kernel]`.
    Conv2d {
        /// Prefix of the parameters' names.
        name: String,
        /// Channels in and out.
        in_channels: usize,
        /// See `in_channels`.
        out_channels: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Step down and across.
        stride: [usize; 2],
        /// Zeros added above and below, left and right.
        padding: [usize; 2],
        /// Groups of channels; `in_channels` for a depthwise convolution.
        groups: usize,
        /// Whether there is a bias, `[out]`.
        bias: bool,
    },
    /// Batch normalisation over channels: weight, bias, running_mean and running_var, each `[channels]`.
    BatchNorm2d {
        /// Prefix of the parameters' names.
        name: String,
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// `max(0, x)`.
    Relu,
    /// `min(max(0, x), 6)`.
    Relu6,
    /// Maximum over windows; padding counts as minus infinity.
    MaxPool2d {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Step down and across.
        stride: [usize; 2],
        /// Padding above and below, left and right.
        padding: [usize; 2],
        /// Whether the output's size rounds up.
        ceil_mode: bool,
    },
    /// The mean over height and width: `[n, c, h, w]` to `[n, c]`.
    GlobalAvgPool,
    /// The sum of two nodes of one shape.
    Add,
    /// `x W^T + b` on `[n, in]`: weight `[out, in]`, bias `[out]`.
    Linear {
        /// Prefix of the parameters' names.
        name: String,
        /// Width in and out.
        in_features: usize,
        /// See `in_features`.
        out_features: usize,
        /// Whether there is a bias.
        bias: bool,
    },
}

/// A node: an operation on the outputs of earlier nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// The nodes whose outputs it takes, each below this node's own index.
    pub inputs: Vec<usize>,
}

/// What a parameter is to an optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Changed by gradients: weights and biases.
    Trained,
    /// Changed by the forward pass in training mode only: running means and variances.
    Statistic,
}

/// The name and shape of one tensor that a network needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// torchvision's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is to an optimiser.
    pub kind: ParameterKind,
}

/// A network: nodes in an order in which they can run. The output is the last node's.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    name: String,
    nodes: Vec<Node>,
    output_width: usize,
}

impl Network {
    /// A network of `nodes`, checked: node 0 is the input, every other node takes the outputs of earlier nodes,
    /// as many as its operation needs, with the channels that it expects.
    ///
    /// # Errors
    /// [`Error::Description`] with the first node that breaks a rule.
    pub fn new(name: &str, nodes: Vec<Node>) -> Result<Network> {
        let output_width = check(name, &nodes)?;
        Ok(Network { name: name.to_owned(), nodes, output_width })
    }

    /// The network called `name`, one of [`Network::names`], with the given head.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`].
    pub fn by_name(name: &str, head: Head) -> Result<Network> {
        let nodes = match name {
            "mobilenet_v2" => mobilenet_v2::describe(head),
            other => match resnet::Variant::by_name(other) {
                Some(variant) => resnet::describe(variant, head),
                None => {
                    let known = Network::names().join(", ");
                    return Err(Error::UnknownNetwork { name: name.to_owned(), known });
                }
            },
        };
        Network::new(name, nodes)
    }

    /// The names of all networks. `resnet50` and its like are torchvision's v1.5 (stride 2 in the 3 x 3
    /// convolution of a bottleneck), `resnet50_v1` and its like the original (stride 2 in the first 1 x 1).
    pub fn names() -> &'static [&'static str] {
        &[
            "mobilenet_v2",
            "resnet18",
            "resnet34",
            "resnet50",
            "resnet101",
            "resnet152",
            "resnet50_v1",
            "resnet101_v1",
            "resnet152_v1",
        ]
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nodes, in an order in which they can run.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The channels or features of the output.
    pub fn output_width(&self) -> usize {
        self.output_width
    }

    /// The batch norm that may be folded into the convolution at `index`: the one node that reads its output.
    pub fn norm_behind(&self, index: usize) -> Option<usize> {
        if !matches!(self.nodes.get(index)?.op, Op::Conv2d { .. }) {
            return None;
        }
        let mut readers = (0..self.nodes.len()).filter(|&reader| self.nodes[reader].inputs.contains(&index));
        let reader = readers.next()?;
        let is_norm = matches!(self.nodes[reader].op, Op::BatchNorm2d { .. });
        (is_norm && readers.next().is_none()).then_some(reader)
    }

    /// Every tensor that the network needs, in the order of its nodes.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        self.nodes.iter().flat_map(|node| node.op.parameters()).collect()
    }

    /// The number of trained values (weights and biases, without running statistics): the figure that papers
    /// and torchvision state.
    pub fn n_parameters(&self) -> u64 {
        let trained = self.parameters().into_iter().filter(|p| p.kind == ParameterKind::Trained);
        trained.map(|p| p.shape.iter().product::<usize>() as u64).sum()
    }
}

impl Op {
    /// The tensors that the operation needs.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let spec = |name: &str, part: &str, shape: Vec<usize>, kind| ParameterSpec {
            name: format!("{name}.{part}"),
            shape,
            kind,
        };
        match self {
            Op::Conv2d { name, in_channels, out_channels, kernel, groups, bias, .. } => {
                let shape = vec![*out_channels, in_channels / groups, kernel[0], kernel[1]];
                let mut specs = vec![spec(name, "weight", shape, ParameterKind::Trained)];
                if *bias {
                    specs.push(spec(name, "bias", vec![*out_channels], ParameterKind::Trained));
                }
                specs
            }
            Op::BatchNorm2d { name, channels, .. } => [
                ("weight", ParameterKind::Trained),
                ("bias", ParameterKind::Trained),
                ("running_mean", ParameterKind::Statistic),
                ("running_var", ParameterKind::Statistic),
            ]
            .into_iter()
            .map(|(part, kind)| spec(name, part, vec![*channels], kind))
            .collect(),
            Op::Linear { name, in_features, out_features, bias } => {
                let shape = vec![*out_features, *in_features];
                let mut specs = vec![spec(name, "weight", shape, ParameterKind::Trained)];
                if *bias {
                    specs.push(spec(name, "bias", vec![*out_features], ParameterKind::Trained));
                }
                specs
            }
            Op::Input | Op::Relu | Op::Relu6 | Op::MaxPool2d { .. } | Op::GlobalAvgPool | Op::Add => {
                Vec::new()
            }
        }
    }
}

/// What flows along an edge: a feature map `[n, c, h, w]` or a vector `[n, c]` for each image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    Map(usize),
    Vector(usize),
}

/// Checks a description and returns the width of its output.
fn check(network: &str, nodes: &[Node]) -> Result<usize> {
    let mut flows: Vec<Flow> = Vec::with_capacity(nodes.len());
    let mut names = std::collections::BTreeSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let error = |reason: String| Error::Description { network: network.to_owned(), node: index, reason };
        let n_inputs = match node.op {
            Op::Input => 0,
            Op::Add => 2,
            _ => 1,
        };
        if node.inputs.len() != n_inputs {
            return Err(error(format!("it has {} inputs, expected {n_inputs}", node.inputs.len())));
        }
        if let Some(later) = node.inputs.iter().find(|&&input| input >= index) {
            return Err(error(format!("it takes the output of node {later}, which is not before it")));
        }
        if (index == 0) != (node.op == Op::Input) {
            return Err(error("expected the input as node 0 and nowhere else".into()));
        }
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
            (Op::BatchNorm2d { channels, .. }, Some(Flow::Map(c))) => {
                if *channels != c {
                    return Err(error(format!("it takes {channels} channels, its input has {c}")));
                }
                Flow::Map(c)
            }
            (Op::MaxPool2d { kernel, stride, padding, .. }, Some(Flow::Map(c))) => {
                if stride.contains(&0) || padding[0] * 2 > kernel[0] || padding[1] * 2 > kernel[1] {
                    return Err(error("a stride is 0 or a padding is over half the window".into()));
                }
                Flow::Map(c)
            }
            (Op::GlobalAvgPool, Some(Flow::Map(c))) => Flow::Vector(c),
            (Op::Linear { in_features, out_features, .. }, Some(Flow::Vector(c))) => {
                if *in_features != c {
                    return Err(error(format!("it takes {in_features} features, its input has {c}")));
                }
                Flow::Vector(*out_features)
            }
            (Op::Relu | Op::Relu6, Some(flow)) => flow,
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
        Some(Flow::Vector(width)) => Ok(*width),
        last => Err(Error::Description {
            network: network.to_owned(),
            node: nodes.len().saturating_sub(1),
            reason: format!("the output is {last:?}, expected a vector for each image"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures that torchvision's documentation states for each network with its classifier.
    #[test]
    fn parameter_counts_equal_the_published_ones() {
        for (name, published) in [
            ("mobilenet_v2", 3_504_872),
            ("resnet18", 11_689_512),
            ("resnet34", 21_797_672),
            ("resnet50", 25_557_032),
            ("resnet101", 44_549_160),
            ("resnet152", 60_192_808),
            // The stride moves from one convolution to another: as many parameters.
            ("resnet50_v1", 25_557_032),
        ] {
            let network = Network::by_name(name, Head::Classifier).unwrap();
            assert_eq!(network.n_parameters(), published, "{name}");
            assert_eq!(network.output_width(), 1000);
        }
    }

    #[test]
    fn embeddings_are_as_wide_as_the_last_convolution() {
        for (name, width) in [("mobilenet_v2", 1280), ("resnet18", 512), ("resnet50", 2048)] {
            assert_eq!(Network::by_name(name, Head::Embedding).unwrap().output_width(), width);
        }
        for name in Network::names() {
            Network::by_name(name, Head::Embedding).unwrap();
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let message = Network::by_name("resnet5", Head::Embedding).unwrap_err().to_string();
        assert!(message.contains("'resnet5'") && message.contains("resnet50_v1"), "{message}");
    }

    #[test]
    fn contradictions_are_refused() {
        let input = Node { op: Op::Input, inputs: vec![] };
        let pool = |from| Node { op: Op::GlobalAvgPool, inputs: vec![from] };
        let norm =
            Node { op: Op::BatchNorm2d { name: "bn".into(), channels: 4, eps: 1e-5 }, inputs: vec![0] };
        for nodes in [
            vec![],
            vec![pool(0)],
            vec![input.clone()],
            vec![input.clone(), pool(1)],
            vec![input.clone(), norm, pool(1)],
            vec![input.clone(), pool(0), Node { op: Op::Add, inputs: vec![0, 1] }],
            vec![input.clone(), pool(0), pool(1)],
        ] {
            assert!(Network::new("broken", nodes).is_err());
        }
        assert_eq!(Network::new("fine", vec![input, pool(0)]).unwrap().output_width(), 3);
    }
}
