//! Networks as ONNX files, written from the same description that the trainer runs.
//!
//! A batch norm behind a convolution whose output nothing else reads is folded into it; every other node becomes
//! one operator of the default set. The batch is dynamic and called `n`.

use std::collections::BTreeMap;

use prost::Message;

use crate::network::{Network, Node, Op, Padding};
use crate::weights::Weights;
use crate::{Error, Result};

mod proto;

use proto::{Attribute, Dimension, DimensionValue, FLOAT};

/// The version of ONNX's default operator set that is written.
pub const OPSET: i64 = 17;
/// The version of ONNX's file format that is written.
pub const IR_VERSION: i64 = 8;

/// How a network is written.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions<'a> {
    /// The name of the input, float32 `[n, 3, h, w]`.
    pub input: &'a str,
    /// The name of the output, float32 `[n, width]`.
    pub output: &'a str,
    /// Notes that go into the file's `metadata_props`.
    pub metadata: &'a BTreeMap<String, String>,
    /// Height and width of the input in pixels, or nothing to leave them open (`h`, `w`).
    pub image_side: Option<usize>,
}

/// The bytes of an ONNX file. The same network, weights and options give the same bytes.
///
/// # Errors
/// [`Error::WeightsDoNotFit`], [`Error::NotFinite`]; [`Error::Onnx`] where the file would pass protobuf's limit of
/// 2 GiB.
pub fn export(network: &Network, weights: &Weights, options: &ExportOptions<'_>) -> Result<Vec<u8>> {
    let weights = weights.for_network(network)?;
    weights.check_finite()?;
    let n_bytes: usize = weights.iter().map(|(_, tensor)| tensor.values.len() * 4).sum();
    if n_bytes > (1 << 31) - (1 << 20) {
        let reason = format!("its weights take {n_bytes} bytes, above the format's limit of 2 GiB");
        return Err(Error::Onnx { network: network.name().to_owned(), reason });
    }
    let graph = Writer::new(network, &weights, options).graph();
    let model = proto::Model {
        ir_version: IR_VERSION,
        producer_name: "sketchfind".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: options
            .metadata
            .iter()
            .map(|(key, value)| proto::StringEntry { key: key.clone(), value: value.clone() })
            .collect(),
    };
    Ok(model.encode_to_vec())
}

struct Writer<'a> {
    network: &'a Network,
    weights: &'a Weights,
    options: &'a ExportOptions<'a>,
    /// The name of each node's output in the graph.
    outputs: Vec<String>,
    nodes: Vec<proto::Node>,
    initializers: Vec<proto::TensorProto>,
}

impl<'a> Writer<'a> {
    fn new(network: &'a Network, weights: &'a Weights, options: &'a ExportOptions<'a>) -> Writer<'a> {
        Writer { network, weights, options, outputs: Vec::new(), nodes: Vec::new(), initializers: Vec::new() }
    }

    fn graph(mut self) -> proto::Graph {
        let nodes = self.network.nodes();
        for (index, node) in nodes.iter().enumerate() {
            let output = if index + 1 == nodes.len() {
                self.options.output.to_owned()
            } else {
                readable_name(index, &node.op)
            };
            let output = self.write(index, node, output);
            self.outputs.push(output);
        }
        let side = |symbol: &str| match self.options.image_side {
            Some(side) => DimensionValue::Fixed(side as i64),
            None => DimensionValue::Symbol(symbol.into()),
        };
        let batch = || DimensionValue::Symbol("n".into());
        let width = DimensionValue::Fixed(self.network.output_width() as i64);
        proto::Graph {
            name: self.network.name().to_owned(),
            input: vec![value_info(
                self.options.input,
                [batch(), DimensionValue::Fixed(3), side("h"), side("w")],
            )],
            output: vec![value_info(self.options.output, [batch(), width])],
            node: self.nodes,
            initializer: self.initializers,
        }
    }

    /// Writes one node and returns the name of its output, which is another's where nothing needs to be written.
    fn write(&mut self, index: usize, node: &Node, output: String) -> String {
        let inputs: Vec<String> = node.inputs.iter().map(|&input| self.outputs[input].clone()).collect();
        match &node.op {
            Op::Input => return self.options.input.to_owned(),
            Op::Conv2d { name, kernel, stride, padding, groups, .. } => {
                let (kernel_values, bias) = match self.network.norm_behind(index) {
                    Some(norm) => self.folded(&node.op, &self.network.nodes()[norm].op),
                    None => (self.values(name, "weight"), self.optional_values(name, "bias")),
                };
                let mut inputs = inputs;
                let shape = node.op.parameters()[0].shape.clone();
                let n_out = shape[0];
                inputs.push(self.initializer(format!("{name}.weight"), shape, &kernel_values));
                if let Some(bias) = bias {
                    inputs.push(self.initializer(format!("{name}.bias"), vec![n_out], &bias));
                }
                let attributes = vec![
                    Attribute::ints("dilations", [1, 1]),
                    Attribute::int("group", *groups as i64),
                    Attribute::ints("kernel_shape", *kernel),
                    match padding {
                        Padding::Fixed(zeros) => Attribute::ints("pads", zeros.iter().chain(zeros).copied()),
                        Padding::Same => Attribute::string("auto_pad", "SAME_UPPER"),
                    },
                    Attribute::ints("strides", *stride),
                ];
                self.node("Conv", inputs, &output, attributes);
            }
            Op::BatchNorm2d { name, channels, eps } => {
                if self.network.norm_behind(node.inputs[0]) == Some(index) {
                    // Folded into the convolution before it. The last node keeps its name for the output.
                    return self.outputs[node.inputs[0]].clone();
                }
                let mut inputs = inputs;
                for part in ["weight", "bias", "running_mean", "running_var"] {
                    let values = self.values(name, part);
                    inputs.push(self.initializer(format!("{name}.{part}"), vec![*channels], &values));
                }
                self.node(
                    "BatchNormalization",
                    inputs,
                    &output,
                    vec![Attribute::float("epsilon", *eps as f32)],
                );
            }
            Op::LayerNorm { name, channels, eps } => {
                let parameters = ["weight", "bias"].map(|part| {
                    let values = self.values(name, part);
                    self.initializer(format!("{name}.{part}"), vec![*channels], &values)
                });
                self.over_channels(index, inputs, &output, |writer, mut inputs, output| {
                    inputs.extend(parameters);
                    let attributes =
                        vec![Attribute::int("axis", -1), Attribute::float("epsilon", *eps as f32)];
                    writer.node("LayerNormalization", inputs, output, attributes);
                });
            }
            Op::ChannelScale { name, channels } => {
                let values = self.weights.get(name).map(|tensor| tensor.values.clone()).unwrap_or_default();
                let mut inputs = inputs;
                inputs.push(self.initializer(name.clone(), vec![*channels, 1, 1], &values));
                self.node("Mul", inputs, &output, vec![]);
            }
            Op::Relu => self.node("Relu", inputs, &output, vec![]),
            Op::Relu6 => {
                let mut inputs = inputs;
                inputs.push(self.constant("relu6.min", 0.0));
                inputs.push(self.constant("relu6.max", 6.0));
                self.node("Clip", inputs, &output, vec![]);
            }
            // The default operator set has Gelu from version 20 on only; ONNX Runtime fuses these five.
            Op::Gelu => {
                let x = inputs[0].clone();
                let [divided, erf, raised, product] =
                    ["divided", "erf", "raised", "product"].map(|part| format!("{output}.{part}"));
                let [root, one, half] = [("sqrt2", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)]
                    .map(|(name, value)| self.constant(&format!("gelu.{name}"), value));
                self.node("Div", vec![x.clone(), root], &divided, vec![]);
                self.node("Erf", vec![divided], &erf, vec![]);
                self.node("Add", vec![erf, one], &raised, vec![]);
                self.node("Mul", vec![x, raised], &product, vec![]);
                self.node("Mul", vec![product, half], &output, vec![]);
            }
            Op::AvgPool2d { kernel, stride, padding } => {
                let attributes = vec![
                    Attribute::int("count_include_pad", 1),
                    Attribute::ints("kernel_shape", *kernel),
                    Attribute::ints("pads", padding.iter().chain(padding).copied()),
                    Attribute::ints("strides", *stride),
                ];
                self.node("AveragePool", inputs, &output, attributes);
            }
            Op::Flatten { .. } => {
                self.node("Flatten", inputs, &output, vec![Attribute::int("axis", 1)]);
            }
            Op::Concat => self.node("Concat", inputs, &output, vec![Attribute::int("axis", 1)]),
            Op::L2Normalise => {
                let x = inputs[0].clone();
                let [norm, clamped] = ["norm", "clamped"].map(|part| format!("{output}.{part}"));
                let least = self.constant("normalise.min", 1e-12);
                let attributes = vec![Attribute::ints("axes", [1]), Attribute::int("keepdims", 1)];
                self.node("ReduceL2", inputs, &norm, attributes);
                self.node("Max", vec![norm, least], &clamped, vec![]);
                self.node("Div", vec![x, clamped], &output, vec![]);
            }
            Op::MaxPool2d { kernel, stride, padding, ceil_mode } => {
                let attributes = vec![
                    Attribute::int("ceil_mode", i64::from(*ceil_mode)),
                    Attribute::ints("kernel_shape", *kernel),
                    Attribute::ints("pads", padding.iter().chain(padding).copied()),
                    Attribute::ints("strides", *stride),
                ];
                self.node("MaxPool", inputs, &output, attributes);
            }
            Op::GlobalAvgPool => {
                let pooled = format!("{output}.map");
                self.node("GlobalAveragePool", inputs, &pooled, vec![]);
                self.node("Flatten", vec![pooled], &output, vec![Attribute::int("axis", 1)]);
            }
            Op::Add => self.node("Add", inputs, &output, vec![]),
            Op::Linear { name, in_features, out_features, bias } if self.is_map(node.inputs[0]) => {
                let weight = transposed(&self.values(name, "weight"), *in_features);
                let shape = vec![*in_features, *out_features];
                let weight = self.initializer(format!("{name}.weight"), shape, &weight);
                let bias = bias.then(|| {
                    let values = self.values(name, "bias");
                    self.initializer(format!("{name}.bias"), vec![*out_features], &values)
                });
                self.over_channels(index, inputs, &output, |writer, mut inputs, output| {
                    inputs.push(weight);
                    match bias {
                        None => writer.node("MatMul", inputs, output, vec![]),
                        Some(bias) => {
                            let product = format!("{output}.product");
                            writer.node("MatMul", inputs, &product, vec![]);
                            writer.node("Add", vec![product, bias], output, vec![]);
                        }
                    }
                });
            }
            Op::Linear { name, in_features, out_features, bias } => {
                let mut inputs = inputs;
                let values = self.values(name, "weight");
                let shape = vec![*out_features, *in_features];
                inputs.push(self.initializer(format!("{name}.weight"), shape, &values));
                if *bias {
                    let values = self.values(name, "bias");
                    inputs.push(self.initializer(format!("{name}.bias"), vec![*out_features], &values));
                }
                self.node("Gemm", inputs, &output, vec![Attribute::int("transB", 1)]);
            }
        }
        output
    }

    /// Whether a node's output is a map and no vector.
    fn is_map(&self, index: usize) -> bool {
        self.network.is_map(index)
    }

    /// Has the channels of each place of a map as the last dimension; a vector's are already.
    fn over_channels(
        &mut self,
        index: usize,
        inputs: Vec<String>,
        output: &str,
        of_places: impl FnOnce(&mut Self, Vec<String>, &str),
    ) {
        if !self.is_map(index) {
            of_places(self, inputs, output);
            return;
        }
        let [before, behind] = ["places", "done"].map(|part| format!("{output}.{part}"));
        self.node("Transpose", inputs, &before, vec![Attribute::ints("perm", [0, 2, 3, 1])]);
        of_places(self, vec![before], &behind);
        self.node("Transpose", vec![behind], output, vec![Attribute::ints("perm", [0, 3, 1, 2])]);
    }

    /// A number that several nodes may read.
    fn constant(&mut self, name: &str, value: f32) -> String {
        if self.initializers.iter().any(|tensor| tensor.name == name) {
            return name.to_owned();
        }
        self.initializer(name.to_owned(), vec![], &[value])
    }

    /// A convolution's kernel and bias with the batch norm behind it: `w * g / sqrt(v + eps)` and
    /// `beta + (b - mean) * g / sqrt(v + eps)`, in f64.
    fn folded(&self, conv: &Op, norm: &Op) -> (Vec<f32>, Option<Vec<f32>>) {
        let (Op::Conv2d { name, .. }, Op::BatchNorm2d { name: norm_name, eps, .. }) = (conv, norm) else {
            unreachable!("norm_behind returns a batch norm behind a convolution");
        };
        let part = |part| self.values(norm_name, part);
        let (gamma, beta, mean, variance) =
            (part("weight"), part("bias"), part("running_mean"), part("running_var"));
        let scales: Vec<f64> = gamma
            .iter()
            .zip(&variance)
            .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + eps).sqrt())
            .collect();
        let mut kernel = self.values(name, "weight");
        let filter_len = kernel.len() / scales.len();
        for (filter, scale) in kernel.chunks_exact_mut(filter_len).zip(&scales) {
            filter.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        let own_bias = self.optional_values(name, "bias");
        let bias = scales
            .iter()
            .enumerate()
            .map(|(channel, scale)| {
                let own = own_bias.as_ref().map_or(0.0, |bias| f64::from(bias[channel]));
                (f64::from(beta[channel]) + (own - f64::from(mean[channel])) * scale) as f32
            })
            .collect();
        (kernel, Some(bias))
    }

    /// The values of a tensor that `for_network` has found to be there.
    fn values(&self, name: &str, part: &str) -> Vec<f32> {
        self.optional_values(name, part).unwrap_or_default()
    }

    fn optional_values(&self, name: &str, part: &str) -> Option<Vec<f32>> {
        self.weights.get(&format!("{name}.{part}")).map(|tensor| tensor.values.clone())
    }

    fn initializer(&mut self, name: String, shape: Vec<usize>, values: &[f32]) -> String {
        self.initializers.push(proto::TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: FLOAT,
            name: name.clone(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        name
    }

    fn node(&mut self, op_type: &str, input: Vec<String>, output: &str, attribute: Vec<Attribute>) {
        self.nodes.push(proto::Node {
            input,
            output: vec![output.to_owned()],
            name: format!("{op_type}:{output}"),
            op_type: op_type.to_owned(),
            attribute,
        });
    }
}

/// The columns of a matrix of `width` columns as rows.
fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}

/// A name that tells where in the network one is: the layer's own, or the operation's with the node's index.
fn readable_name(index: usize, op: &Op) -> String {
    match op {
        Op::Input => "input".into(),
        Op::Conv2d { name, .. }
        | Op::BatchNorm2d { name, .. }
        | Op::LayerNorm { name, .. }
        | Op::ChannelScale { name, .. }
        | Op::Linear { name, .. } => format!("{name}.out"),
        Op::Relu => format!("relu_{index}"),
        Op::Relu6 => format!("relu6_{index}"),
        Op::Gelu => format!("gelu_{index}"),
        Op::MaxPool2d { .. } => format!("max_pool_{index}"),
        Op::AvgPool2d { .. } => format!("avg_pool_{index}"),
        Op::GlobalAvgPool => format!("global_avg_pool_{index}"),
        Op::Flatten { .. } => format!("flatten_{index}"),
        Op::Add => format!("add_{index}"),
        Op::Concat => format!("concat_{index}"),
        Op::L2Normalise => format!("l2_normalise_{index}"),
    }
}

fn value_info(name: &str, shape: impl IntoIterator<Item = DimensionValue>) -> proto::ValueInfo {
    let dim = shape.into_iter().map(|value| Dimension { value: Some(value) }).collect();
    let tensor_type = proto::TensorType { elem_type: FLOAT, shape: Some(proto::Shape { dim }) };
    proto::ValueInfo { name: name.to_owned(), kind: Some(proto::Type { tensor_type: Some(tensor_type) }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Head;

    fn written(name: &str) -> (Vec<u8>, proto::Model) {
        let network = Network::by_name(name, Head::Embedding).unwrap();
        let metadata = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let options =
            ExportOptions { input: "image", output: "embedding", metadata: &metadata, image_side: Some(64) };
        let bytes = export(&network, &Weights::random(&network, 1), &options).unwrap();
        let model = proto::Model::decode(bytes.as_slice()).unwrap();
        (bytes, model)
    }

    #[test]
    fn every_batch_norm_of_a_resnet_is_folded() {
        let (bytes, model) = written("resnet18");
        let graph = model.graph.unwrap();
        let count = |op: &str| graph.node.iter().filter(|node| node.op_type == op).count();
        assert_eq!((count("Conv"), count("BatchNormalization"), count("Add")), (20, 0, 8));
        assert_eq!(graph.output[0].name, "embedding");
        assert_eq!(model.metadata_props.len(), 2);
        assert_eq!(bytes, written("resnet18").0, "the same input gives the same bytes");
    }

    #[test]
    fn every_input_of_a_node_is_made_before_it() {
        for name in ["mobilenet_v2", "resnet50"] {
            let graph = written(name).1.graph.unwrap();
            let mut made: Vec<&str> = vec!["image"];
            made.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
            for node in &graph.node {
                for input in &node.input {
                    assert!(made.contains(&input.as_str()), "{name}: {input}");
                }
                for output in &node.output {
                    assert!(!made.contains(&output.as_str()), "{name}: {output} is made twice");
                    made.push(output);
                }
            }
            assert!(made.contains(&"embedding"));
        }
    }
}
