//! Networks as ONNX files, written from the same description that the trainer runs.
//!
//! A batch norm behind a convolution whose output nothing else reads is folded into it; every other node becomes
//! one operator of the default set. The batch is dynamic and called `n`. Where the graph takes pixels, it scales and
//! normalises them first. In 16 bits and in 8, maps are of that type and vectors, which is what embeddings are, of 32.

use std::collections::BTreeMap;

use prost::Message;
use sketchfind_core::image::Preprocess;

use crate::fold::folded;
use crate::network::{GEM_MIN, Network, Node, Op, Padding};
use crate::quantise::{Layer, MapScale, Quantisation};
use crate::weights::Weights;
use crate::{Error, Result};

mod arithmetic;
mod budget;
mod constant;
pub mod fit;
mod image;
pub mod import;
pub mod inspect;
mod known;
mod layers;
mod proto;
mod quantised;
mod read;
mod steps;
mod trace;

use proto::{Attribute, Dimension, DimensionValue, FLOAT, FLOAT16, INT8, INT32, UINT8};

/// The version of ONNX's default operator set that is written.
pub const OPSET: i64 = 17;
/// The version of ONNX's file format that is written.
pub const IR_VERSION: i64 = 8;

/// How a network is written.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions<'a> {
    /// The name of the input, float32 `[n, 3, h, w]` or uint8 `[n, h, w, 3]`.
    pub input: &'a str,
    /// The name of the output, float32 `[n, width]`.
    pub output: &'a str,
    /// Notes that go into the file's `metadata_props`.
    pub metadata: &'a BTreeMap<String, String>,
    /// Height and width of the input in pixels, or nothing to leave them open (`h`, `w`).
    pub image_side: Option<usize>,
    /// With it the graph takes pixels, uint8 `[n, h, w, 3]`, and normalises them as this says, to the bit as
    /// [`Preprocess::tensor`] does. Its sizes are not used.
    pub pixels: Option<&'a Preprocess>,
    /// The arithmetic of maps.
    pub arithmetic: Arithmetic<'a>,
}

/// The arithmetic of maps.
#[derive(Clone, Copy, Debug)]
pub enum Arithmetic<'a> {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers between QuantizeLinear and DequantizeLinear, for the network that [`folded`] makes of the exported.
    Int8(&'a Quantisation),
}

/// The bytes of an ONNX file. The same network, weights and options give the same bytes.
///
/// # Errors
/// [`Error::WeightsDoNotFit`], [`Error::NotFinite`]; [`Error::Onnx`] where the file would pass protobuf's limit of
/// 2 GiB.
pub fn export(network: &Network, weights: &Weights, options: &ExportOptions<'_>) -> Result<Vec<u8>> {
    let (network, weights) = folded(network, weights)?;
    export_folded(&network, &weights, options)
}

/// The bytes of an ONNX file, as [`export`] has them, of what [`folded`] has made of a network.
///
/// # Errors
/// Those of [`export`].
pub fn export_folded(network: &Network, weights: &Weights, options: &ExportOptions<'_>) -> Result<Vec<u8>> {
    weights.check_fit(network)?;
    weights.check_finite()?;
    if let Arithmetic::Fp16 = options.arithmetic {
        check_half(network, weights)?;
    }
    let n_bytes: usize = weights.iter().map(|(_, tensor)| tensor.values.len() * 4).sum();
    if n_bytes > (1 << 31) - (1 << 20) {
        let reason = format!("its weights take {n_bytes} bytes, above the format's limit of 2 GiB");
        return Err(Error::Onnx { network: network.name().to_owned(), reason });
    }
    let graph = Writer::new(network, weights, options).graph()?;
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
        ..proto::Model::default()
    };
    Ok(model.encode_to_vec())
}

/// Refuses weights that 16 bits cannot hold.
fn check_half(network: &Network, weights: &Weights) -> Result<()> {
    for (name, tensor) in weights.iter() {
        if let Some(value) = tensor.values.iter().find(|value| value.abs() > half::f16::MAX.to_f32()) {
            let reason =
                format!("'{name}' holds {value}, above the largest number of 16 bits, {}", half::f16::MAX);
            return Err(Error::Onnx { network: network.name().to_owned(), reason });
        }
    }
    Ok(())
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

    fn graph(mut self) -> Result<proto::Graph> {
        let nodes = self.network.nodes();
        for (index, node) in nodes.iter().enumerate() {
            let output = if index + 1 == nodes.len() {
                self.options.output.to_owned()
            } else {
                readable_name(index, &node.op)
            };
            let output = self.write(index, node, output)?;
            let output = self.quantised(index, output);
            self.outputs.push(output);
        }
        let side = |symbol: &str| match self.options.image_side {
            Some(side) => DimensionValue::Fixed(side as i64),
            None => DimensionValue::Symbol(symbol.into()),
        };
        let batch = || DimensionValue::Symbol("n".into());
        let width = DimensionValue::Fixed(self.network.output_width() as i64);
        let three = DimensionValue::Fixed(3);
        let (element, shape) = match self.options.pixels {
            None => (FLOAT, [batch(), three, side("h"), side("w")]),
            Some(_) => (UINT8, [batch(), side("h"), side("w"), three]),
        };
        Ok(proto::Graph {
            name: self.network.name().to_owned(),
            input: vec![value_info(self.options.input, element, shape)],
            output: vec![value_info(self.options.output, FLOAT, [batch(), width])],
            node: self.nodes,
            initializer: self.initializers,
            ..proto::Graph::default()
        })
    }

    /// Writes one node and returns the name of its output, which is another's where nothing needs to be written.
    fn write(&mut self, index: usize, node: &Node, output: String) -> Result<String> {
        let mut inputs: Vec<String> = node.inputs.iter().map(|&input| self.outputs[input].clone()).collect();
        if self.is_half() && !self.is_map(index) && node.inputs.iter().all(|&input| self.is_map(input)) {
            // Embeddings and what follows are 32-bit.
            let wide = format!("{output}.wide");
            self.cast(inputs[0].clone(), FLOAT, &wide);
            inputs = vec![wide];
        }
        match &node.op {
            Op::Input => return Ok(self.normalised()),
            Op::Conv2d { name, kernel, stride, padding, groups, .. } => {
                match self.layer(index)? {
                    Some(layer) => inputs.extend(self.integers(name, node, &layer, 0)),
                    None => inputs.extend(self.parameters(index, node)),
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
            Op::BatchNorm2d { eps, .. } => {
                inputs.extend(self.parameters(index, node));
                let attributes = vec![Attribute::float("epsilon", *eps as f32)];
                self.node("BatchNormalization", inputs, &output, attributes);
            }
            Op::LayerNorm { eps, .. } => {
                let parameters = self.parameters(index, node);
                self.over_channels(index, inputs, &output, |writer, mut inputs, output| {
                    inputs.extend(parameters);
                    let attributes =
                        vec![Attribute::int("axis", -1), Attribute::float("epsilon", *eps as f32)];
                    writer.node("LayerNormalization", inputs, output, attributes);
                });
            }
            Op::ChannelScale { .. } => {
                inputs.extend(self.parameters(index, node));
                self.node("Mul", inputs, &output, vec![]);
            }
            Op::Relu => self.node("Relu", inputs, &output, vec![]),
            Op::Relu6 => {
                for (name, value) in [("relu6.min", 0.0), ("relu6.max", 6.0)] {
                    inputs.push(self.constant(index, name, value));
                }
                self.node("Clip", inputs, &output, vec![]);
            }
            // The default operator set has Gelu from version 20 on only; ONNX Runtime fuses these five.
            Op::Gelu => {
                let x = inputs[0].clone();
                let [divided, erf, raised, product] =
                    ["divided", "erf", "raised", "product"].map(|part| format!("{output}.{part}"));
                let [root, one, half] = [("sqrt2", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)]
                    .map(|(name, value)| self.constant(index, &format!("gelu.{name}"), value));
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
                let least = self.constant(index, "normalise.min", 1e-12);
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
            Op::Gem { p, name, cells } => {
                let [clamped, raised, pooled, mean] =
                    ["clamped", "raised", "map", "mean"].map(|part| format!("{output}.{part}"));
                let p = match name {
                    Some(name) => f64::from(self.values(name).first().copied().unwrap_or_default()),
                    None => *p,
                };
                inputs.push(self.constant(index, "gem.min", GEM_MIN as f32));
                let [power, root] = [("p", p), ("root", 1.0 / p)].map(|(part, value)| {
                    self.floats(format!("{output}.{part}"), vec![], &[value as f32], false)
                });
                self.node("Max", inputs, &clamped, vec![]);
                self.node("Pow", vec![clamped, power], &raised, vec![]);
                match cells {
                    1 => self.node("GlobalAveragePool", vec![raised], &pooled, vec![]),
                    _ => {
                        let kernel = self.cell(*cells)?;
                        let attributes =
                            vec![Attribute::ints("kernel_shape", kernel), Attribute::ints("strides", kernel)];
                        self.node("AveragePool", vec![raised], &pooled, attributes);
                    }
                }
                self.node("Pow", vec![pooled, root], &mean, vec![]);
                self.node("Flatten", vec![mean], &output, vec![Attribute::int("axis", 1)]);
            }
            Op::Add => self.node("Add", inputs, &output, vec![]),
            Op::Linear { name, in_features, out_features, bias } if self.is_map(index) => {
                let (weight, bias) = match self.layer(index)? {
                    Some(layer) => {
                        let kernel = transposed(&layer.kernel, *in_features);
                        let layer = Layer { kernel, bias: None, ..layer };
                        let weight = self.integers(name, node, &layer, 1).remove(0);
                        let bias_name = format!("{name}.bias");
                        let bias = bias.then(|| self.parameter(index, &bias_name, vec![*out_features]));
                        (weight, bias)
                    }
                    None => {
                        let weight = transposed(&self.values(&format!("{name}.weight")), *in_features);
                        let shape = vec![*in_features, *out_features];
                        let weight = self.floats(format!("{name}.weight"), shape, &weight, self.is_half());
                        (
                            weight,
                            bias.then(|| self.parameter(index, &format!("{name}.bias"), vec![*out_features])),
                        )
                    }
                };
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
            Op::Linear { .. } => {
                inputs.extend(self.parameters(index, node));
                self.node("Gemm", inputs, &output, vec![Attribute::int("transB", 1)]);
            }
        }
        Ok(output)
    }

    /// What the first operation reads: the input, or what becomes of pixels.
    fn normalised(&mut self) -> String {
        let mut name = self.options.input.to_owned();
        if let Some(preprocess) = self.options.pixels {
            let planes = vec![Attribute::ints("perm", [0, 3, 1, 2])];
            // ONNX Runtime computes floats plane by plane: bytes are moved before they become floats, and channels are
            // planes when constants meet them. Its integers stay pixel by pixel: there the constants are rows of pixels,
            // because three numbers at a time are slow.
            let row = match self.options.arithmetic {
                Arithmetic::Int8(_) => self.options.image_side,
                Arithmetic::Fp32 | Arithmetic::Fp16 => None,
            };
            let mut bytes = name;
            if row.is_none() {
                self.node("Transpose", vec![bytes], "pixels.planes", planes.clone());
                bytes = "pixels.planes".into();
            }
            self.cast(bytes, FLOAT, "pixels.float");
            let per_channel = |values: &[f32]| match row {
                None => (vec![values.len(), 1, 1], values.to_vec()),
                Some(width) => (vec![width, values.len()], values.repeat(width)),
            };
            name = "pixels.float".into();
            for (op_type, constant, (shape, values), output) in [
                ("Div", "pixels.white", (vec![], vec![preprocess.divisor]), "pixels.unit"),
                ("Sub", "pixels.mean", per_channel(&preprocess.mean), "pixels.centred"),
                ("Div", "pixels.std", per_channel(&preprocess.std), "pixels.normalised"),
            ] {
                let constant = self.floats(constant.into(), shape, &values, false);
                self.node(op_type, vec![name, constant], output, vec![]);
                name = output.into();
            }
            if row.is_some() {
                self.node("Transpose", vec![name], "pixels.planes", planes);
                name = "pixels.planes".into();
            }
        }
        if self.is_half() {
            self.cast(name, FLOAT16, "half");
            name = "half".into();
        }
        name
    }

    /// The height and width of each part that the network's pooling makes. ONNX has no adaptive pooling, so the parts must
    /// be of one size, which the size of the image decides.
    fn cell(&self, cells: usize) -> Result<[usize; 2]> {
        let refuse = |reason: String| Error::Onnx { network: self.network.name().to_owned(), reason };
        let side = self.options.image_side.ok_or_else(|| {
            refuse("pooling by cells needs images of one size, and none is given".to_owned())
        })?;
        match self.network.cell_size(side) {
            Ok(size) => Ok(size.unwrap_or_default()),
            Err([height, width]) => Err(refuse(format!(
                "its last map has {height} x {width} places for images of {side} pixels, which {cells} x {cells} cells \
                 do not divide"
            ))),
        }
    }

    fn is_half(&self) -> bool {
        matches!(self.options.arithmetic, Arithmetic::Fp16)
    }

    fn cast(&mut self, input: String, to: i32, output: &str) {
        self.node("Cast", vec![input], output, vec![Attribute::int("to", i64::from(to))]);
    }

    /// Has a node's map go through its bytes, if it is quantised, and returns what others read.
    fn quantised(&mut self, index: usize, output: String) -> String {
        let Arithmetic::Int8(quantisation) = self.options.arithmetic else { return output };
        let Some(MapScale { scale, zero }) = quantisation.of(index) else { return output };
        let (bytes, back) = (format!("{output}.q"), format!("{output}.dq"));
        let scale = self.floats(format!("{output}.scale"), vec![], &[scale], false);
        let zero = self.initializer(format!("{output}.zero"), vec![], UINT8, vec![zero]);
        self.node("QuantizeLinear", vec![output, scale.clone(), zero.clone()], &bytes, vec![]);
        self.node("DequantizeLinear", vec![bytes, scale, zero], &back, vec![]);
        back
    }

    /// The integers of the layer at `index`, if it has any.
    fn layer(&self, index: usize) -> Result<Option<Layer>> {
        match self.options.arithmetic {
            Arithmetic::Int8(quantisation) => quantisation.layer(self.network, self.weights, index),
            _ => Ok(None),
        }
    }

    /// Writes a layer's integers and returns what the operation reads: kernel, and bias where there is one. Output
    /// channels are the kernel's dimension `axis`.
    fn integers(&mut self, name: &str, node: &Node, layer: &Layer, axis: usize) -> Vec<String> {
        let mut shape = node.op.parameters()[0].shape.clone();
        if axis == 1 {
            shape.swap(0, 1);
        }
        let channels = vec![layer.scales.len()];
        let kernel = layer.kernel.iter().map(|&value| value as u8).collect();
        let mut tensors =
            vec![("weight", INT8, shape, kernel, &layer.scales, vec![0; layer.scales.len()], axis)];
        if let Some(bias) = &layer.bias {
            let bytes = bias.iter().flat_map(|value| value.to_le_bytes()).collect();
            let zeros = vec![0; 4 * layer.scales.len()];
            tensors.push(("bias", INT32, channels.clone(), bytes, &layer.bias_scales, zeros, 0));
        }
        let mut names = Vec::new();
        for (part, element, shape, bytes, scales, zeros, axis) in tensors {
            let output = format!("{name}.{part}");
            let integers = self.initializer(format!("{output}.q"), shape, element, bytes);
            let scales = self.floats(format!("{output}.scale"), channels.clone(), scales, false);
            let zeros = self.initializer(format!("{output}.zero"), channels.clone(), element, zeros);
            let attributes = vec![Attribute::int("axis", axis as i64)];
            self.node("DequantizeLinear", vec![integers, scales, zeros], &output, attributes);
            names.push(output);
        }
        names
    }

    /// Writes every tensor of a node and returns their names.
    fn parameters(&mut self, index: usize, node: &Node) -> Vec<String> {
        let parameters = node.op.parameters().into_iter();
        parameters.map(|parameter| self.parameter(index, &parameter.name, parameter.shape)).collect()
    }

    fn parameter(&mut self, index: usize, name: &str, shape: Vec<usize>) -> String {
        let values = self.values(name);
        self.floats(name.to_owned(), shape, &values, self.is_half() && self.is_map(index))
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

    /// A number that several nodes like the one at `index` may read.
    fn constant(&mut self, index: usize, name: &str, value: f32) -> String {
        if self.initializers.iter().any(|tensor| tensor.name == name) {
            return name.to_owned();
        }
        self.floats(name.to_owned(), vec![], &[value], self.is_half() && self.is_map(index))
    }

    /// The values of a tensor that `folded` has found to be there.
    fn values(&self, name: &str) -> Vec<f32> {
        self.weights.get(name).map(|tensor| tensor.values.clone()).unwrap_or_default()
    }

    fn floats(&mut self, name: String, shape: Vec<usize>, values: &[f32], is_half: bool) -> String {
        if is_half {
            let bytes = values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect();
            return self.initializer(name, shape, FLOAT16, bytes);
        }
        self.initializer(name, shape, FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn initializer(&mut self, name: String, shape: Vec<usize>, element: i32, raw_data: Vec<u8>) -> String {
        self.initializers.push(proto::TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: element,
            name: name.clone(),
            raw_data,
            ..proto::TensorProto::default()
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
            ..proto::Node::default()
        });
    }
}

/// The columns of a matrix of `width` columns as rows.
fn transposed<T: Copy>(values: &[T], width: usize) -> Vec<T> {
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
        Op::Gem { .. } => format!("gem_{index}"),
        Op::Flatten { .. } => format!("flatten_{index}"),
        Op::Add => format!("add_{index}"),
        Op::Concat => format!("concat_{index}"),
        Op::L2Normalise => format!("l2_normalise_{index}"),
    }
}

fn value_info(name: &str, element: i32, shape: impl IntoIterator<Item = DimensionValue>) -> proto::ValueInfo {
    let dim = shape.into_iter().map(|value| Dimension { value: Some(value) }).collect();
    let tensor_type = proto::TensorType { elem_type: element, shape: Some(proto::Shape { dim }) };
    proto::ValueInfo { name: name.to_owned(), kind: Some(proto::Type { tensor_type: Some(tensor_type) }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Head;

    fn written(name: &str) -> (Vec<u8>, proto::Model) {
        let network = Network::by_name(name, Head::Embedding).unwrap();
        let metadata = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let options = ExportOptions {
            input: "image",
            output: "embedding",
            metadata: &metadata,
            image_side: Some(64),
            pixels: None,
            arithmetic: Arithmetic::Fp32,
        };
        let weights = Weights::random(&network, 1);
        let bytes = export(&network, &weights, &options).unwrap();
        let (folded, of_folded) = folded(&network, &weights).unwrap();
        let folded = export_folded(&folded, &of_folded, &options).unwrap();
        assert!(bytes == folded, "{name}: folded before or folded here");
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
