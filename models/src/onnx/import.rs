//! ONNX files as networks and weights. No code of a file is run; what is read is its graph.
//!
//! A graph becomes a [`Network`] of our operations, with weights as floats, whatever the file has them as: 32 bits, 16
//! behind Cast, 8 behind DequantizeLinear with one scale for a tensor or for each channel. Where it is a network of ours
//! but for names and folded batch norms, its weights come under our names. QuantizeLinear and DequantizeLinear around what
//! is computed are left out; a range that begins at 0 has a ReLU of its own, one that ends at 6 a ReLU6. What a graph does
//! to its input (bytes to floats, channels last to first, mean and deviation) is left out too and told.
//!
//! A batch norm that a file has folded is there again as one that changes nothing: weight 1, the convolution's bias as its
//! bias, mean 0 and, less epsilon, variance 1.

use std::path::Path;

use super::steps::Traced;
use super::{known, read, steps, trace};
use crate::network::{GEM_P, Head, InputSpec, Network};
use crate::weights::{Weights, mistaken};
use crate::{Error, Result};

/// What an ONNX file holds.
#[derive(Debug)]
pub struct Imported {
    /// The graph as a network: ours under its own name, or the file's.
    pub network: Network,
    /// Its weights.
    pub weights: Weights,
    /// Which network of ours it is.
    pub known: Option<KnownNetwork>,
    /// What the first operation expects of an image: as the graph has it, or else the known network's, or else ImageNet's
    /// statistics at the size that the file fixes, or 224.
    pub input: InputSpec,
    /// Whether the graph itself normalises its input, so that mean and deviation in `input` are the file's own.
    pub normalises: bool,
}

/// A network of ours that a graph is.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownNetwork {
    /// One of [`Network::names`].
    pub name: String,
    /// With this head.
    pub head: Head,
    /// A linear layer stands behind the embedding: `projection.weight` and perhaps `projection.bias`.
    pub is_projected: bool,
    /// The output is of unit length.
    pub is_normalised: bool,
    /// The exponent of the generalised mean that stands in the place of the network's own mean; `gem.p` in the weights.
    pub gem: Option<f32>,
}

/// Reads an ONNX file. `network` is the name of the network of ours that it must be, or nothing for any graph.
///
/// # Errors
/// [`Error::Core`] where the file cannot be read; [`Error::UnknownNetwork`]; [`Error::WeightsFile`] where it is no such
/// file, is damaged, keeps its values elsewhere, or holds what none of our operations does, with the node.
pub fn read(path: &Path, network: Option<&str>) -> Result<Imported> {
    if let Some(name) = network {
        Network::input_of(name)?;
    }
    let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
    if let Some(what) = mistaken::for_weights(&bytes) {
        return Err(Error::weights_file(path, format!("no ONNX file: {what}")));
    }
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&bytes, &name, network).map_err(|reason| Error::weights_file(path, reason))
}

/// Reads an ONNX file's bytes, as [`read`] does; a graph that is none of ours is called `name`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8], name: &str, network: Option<&str>) -> std::result::Result<Imported, String> {
    let mut graph = read::graph(bytes)?;
    let (trace, output) = trace::follow(&mut graph)?;
    let normalisation = trace.image.as_ref().and_then(|image| image.normalisation());
    let side = trace.side.filter(|side| side[0] == side[1]).map_or(224, |side| side[0] as u32);
    let traced = steps::network(trace.steps, output, &readable(name))?;
    let found = known::find(&traced, network);
    if let (None, Some(network)) = (&found, network) {
        return Err(format!("its graph is not that of the network '{network}'"));
    }
    let mut input = InputSpec { side, ..InputSpec::imagenet(224) };
    if let Some(found) = &found
        && let Ok(spec) = Network::input_of(found.name)
    {
        input = spec;
    }
    if let Some((mean, std)) = normalisation {
        (input.mean, input.std) = (mean, std);
    }
    let normalises = normalisation.is_some();
    let Some(found) = found else {
        let Traced { network, weights, .. } = traced;
        return Ok(Imported { network, weights, known: None, input, normalises });
    };
    let known = KnownNetwork {
        name: found.name.to_owned(),
        head: found.head,
        is_projected: found.is_projected,
        is_normalised: found.is_normalised,
        gem: found.weights.get(GEM_P).and_then(|p| p.values.first().copied()),
    };
    let network = Network::by_name(found.name, found.head).map_err(|e| e.to_string())?;
    Ok(Imported { network, weights: found.weights, known: Some(known), input, normalises })
}

/// A name for a network: letters, digits and a few signs, and no name of ours.
fn readable(name: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name: String = name.chars().map(|c| if is_plain(&c) { c } else { '_' }).take(64).collect();
    match name.as_str() {
        "" => "imported".into(),
        name if Network::names().contains(&name) => format!("{name}-onnx"),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::proto::{
        self, Attribute, Dimension, DimensionValue, FLOAT, Graph, Model, Node, OperatorSet, TensorProto,
    };
    use super::*;

    fn value(name: &str, shape: &[i64]) -> proto::ValueInfo {
        let dim = shape.iter().map(|&size| Dimension { value: Some(DimensionValue::Fixed(size)) }).collect();
        let tensor = proto::TensorType { elem_type: FLOAT, shape: Some(proto::Shape { dim }) };
        proto::ValueInfo { name: name.into(), kind: Some(proto::Type { tensor_type: Some(tensor) }) }
    }

    fn node(op_type: &str, input: &[&str], output: &str) -> Node {
        Node {
            op_type: op_type.into(),
            name: format!("the {op_type}"),
            input: input.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.into()],
            ..Node::default()
        }
    }

    fn tensor(name: &str, dims: &[i64]) -> TensorProto {
        let n: i64 = dims.iter().product();
        let float_data = (0..n).map(|place| place as f32 / n as f32 - 0.4).collect();
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: FLOAT,
            float_data,
            ..Default::default()
        }
    }

    /// A convolution, an activation, a pooling, a linear layer.
    fn small() -> Model {
        let mut conv = node("Conv", &["image", "w", "b"], "a");
        conv.attribute = vec![Attribute::ints("strides", [2, 2])];
        let graph = Graph {
            input: vec![value("image", &[1, 3, 8, 8])],
            output: vec![value("y", &[1, 2])],
            initializer: vec![tensor("w", &[4, 3, 3, 3]), tensor("b", &[4]), tensor("m", &[4, 2])],
            node: vec![
                conv,
                node("Relu", &["a"], "r"),
                node("GlobalAveragePool", &["r"], "p"),
                node("Flatten", &["p"], "f"),
                node("MatMul", &["f", "m"], "y"),
            ],
            ..Graph::default()
        };
        Model {
            ir_version: 8,
            opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
            graph: Some(graph),
            ..Model::default()
        }
    }

    fn parsed(change: impl FnOnce(&mut Model, &mut Graph)) -> std::result::Result<Imported, String> {
        let mut model = small();
        let mut graph = model.graph.take().unwrap();
        change(&mut model, &mut graph);
        model.graph = Some(graph);
        parse(&model.encode_to_vec(), "resnet18", None)
    }

    #[test]
    fn a_graph_becomes_a_network() {
        let imported = parsed(|_, _| {}).unwrap();
        // A name of ours would be a lie.
        assert_eq!(imported.network.name(), "resnet18-onnx");
        assert_eq!((imported.network.output_width(), imported.input.side), (2, 8));
        assert_eq!(imported.network.nodes().len(), 5);
        assert_eq!(imported.weights.get("linear_4.weight").unwrap().shape, [2, 4]);
        assert!(imported.known.is_none() && !imported.normalises);
    }

    type Change = fn(&mut Model, &mut Graph);

    /// Each gets one line that names what is wrong.
    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let cases: [(&str, Change); 28] = [
            ("'the If' (If): it holds a graph of its own", |_, g| {
                let mut node = node("If", &["a"], "i");
                node.attribute = vec![Attribute {
                    name: "then_branch".into(),
                    kind: 5,
                    g: Some(vec![]),
                    ..Default::default()
                }];
                g.node.insert(1, node);
            }),
            ("'the Loop' (Loop): control flow", |_, g| g.node.insert(1, node("Loop", &["a"], "l"))),
            ("'the Sigmoid' (Sigmoid): no operation of ours", |_, g| {
                g.node[1] = node("Sigmoid", &["a"], "r")
            }),
            ("'the Softmax' (Softmax)", |_, g| {
                g.node.push(node("Softmax", &["y"], "s"));
                g.output[0].name = "s".into();
            }),
            ("'the Gelu' (Gelu): it is of the domain 'com.microsoft'", |_, g| {
                g.node[1] = Node { domain: "com.microsoft".into(), ..node("Gelu", &["a"], "r") };
            }),
            ("tensor 'w': its values lie in 'w.bin' beside the file", |_, g| {
                g.initializer[0].data_location = 1;
                g.initializer[0].external_data =
                    vec![proto::StringEntry { key: "location".into(), value: "w.bin".into() }];
            }),
            ("tensor 'w': it has 107 values", |_, g| g.initializer[0].float_data.truncate(107)),
            ("tensor 'w': its type is string", |_, g| g.initializer[0].data_type = 8),
            ("two tensors called 'w'", |_, g| g.initializer[1].name = "w".into()),
            ("'the Conv' (Conv): it takes 6 channels", |_, g| g.initializer[0] = tensor("w", &[4, 6, 3, 3])),
            ("'the Conv' (Conv): its bias has the shape [5]", |_, g| g.initializer[1] = tensor("b", &[5])),
            ("'the Conv' (Conv): its kernel has the shape [4, 3, 3]", |_, g| {
                g.initializer[0] = tensor("w", &[4, 3, 3]);
            }),
            ("'the Conv' (Conv): its kernel [9, 9] is larger than the map [8, 8]", |_, g| {
                g.initializer[0] = tensor("w", &[4, 3, 9, 9]);
            }),
            ("'the Conv' (Conv): its kernel is computed", |_, g| g.node[0].input[1] = "image".into()),
            ("'the Conv' (Conv): its dilations are [2, 2]", |_, g| {
                g.node[0].attribute.push(Attribute::ints("dilations", [2, 2]));
            }),
            ("'the Conv' (Conv): its pads are [0, 0, 0, 2]", |_, g| {
                g.node[0].attribute.push(Attribute::ints("pads", [0, 0, 0, 2]));
            }),
            ("'the Conv' (Conv): its attribute 'strides' is not of the kind", |_, g| {
                g.node[0].attribute = vec![Attribute::float("strides", 1.0)];
            }),
            ("'the Conv' (Conv): its group is below 1", |_, g| {
                g.node[0].attribute.push(Attribute::int("group", 0))
            }),
            ("'the MatMul' (MatMul): it makes 2 features of 5", |_, g| {
                g.initializer[2] = tensor("m", &[5, 2])
            }),
            ("'the Relu' (Relu): it reads 'nothing', which nothing before it makes", |_, g| {
                g.node[1].input[0] = "nothing".into();
            }),
            ("'the Relu' (Relu): it makes 'a', which is there already", |_, g| {
                g.node[1].output[0] = "a".into()
            }),
            ("(Relu): the graph's output 'r' is a map", |_, g| g.output[0].name = "r".into()),
            ("nothing makes its output 'z'", |_, g| g.output[0].name = "z".into()),
            ("it has 2 inputs ('image', 'more')", |_, g| g.input.push(value("more", &[1]))),
            ("its input 'image', [1, 4, 8, 8]", |_, g| g.input[0] = value("image", &[1, 4, 8, 8])),
            ("functions of its own", |m, _| m.functions.push(vec![])),
            ("operator set 99", |m, _| m.opset_import[0].version = 99),
            ("'w.weight'", |_, g| g.initializer[0].float_data[5] = f32::NAN),
        ];
        for (part, change) in cases {
            let part = if part == "'w.weight'" { "not finite" } else { part };
            let message = parsed(change).unwrap_err();
            assert!(message.contains(part), "expected {part}\ngot {message}");
            assert!(message.lines().count() == 1, "{message}");
        }
    }

    /// A range that begins at 0 has a ReLU; one that ends at 6 a ReLU6; one that begins below has none.
    #[test]
    fn an_activation_that_is_in_a_range_only_is_put_back() {
        use crate::network::Op;
        for (zero, scale, expected) in
            [(0, 0.1, Some(Op::Relu)), (0, 6.0 / 255.0, Some(Op::Relu6)), (7, 0.1, None)]
        {
            let imported = parsed(|_, g| {
                g.initializer.push(TensorProto { float_data: vec![scale], ..tensor("s", &[]) });
                let mut point = tensor("z", &[]);
                (point.float_data, point.int32_data, point.data_type) = (vec![], vec![zero], proto::UINT8);
                g.initializer.push(point);
                g.node[1] = node("QuantizeLinear", &["a", "s", "z"], "q");
                g.node.insert(2, node("DequantizeLinear", &["q", "s", "z"], "r"));
            })
            .unwrap();
            let nodes = imported.network.nodes();
            let found = nodes.iter().find(|node| matches!(node.op, Op::Relu | Op::Relu6));
            assert_eq!(found.map(|node| node.op.clone()), expected);
        }
    }

    /// A shift that no layer takes in is a batch norm that does nothing else, exactly.
    #[test]
    fn a_sum_with_numbers_stays_exact() {
        let imported = parsed(|_, g| {
            g.initializer.push(tensor("n", &[4, 1, 1]));
            g.node.insert(2, node("Add", &["n", "r"], "t"));
            g.node[3].input[0] = "t".into();
        })
        .unwrap();
        let norm = imported.weights.get("n.running_var").unwrap();
        let eps = 1.0 / 131_072.0_f32;
        assert!(norm.values.iter().all(|&variance| variance + eps == 1.0));
    }
}
