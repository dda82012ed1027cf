//! Bytes to a graph that keeps ONNX's own rules: one input, one output, every value made once and before it is read. What
//! could run, load or nest anything is refused here.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::constant::Constant;
use super::{budget, proto};

/// The versions of the default operator set that are understood.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;
/// The most operations of a graph; some thousands make the largest convolutional networks.
const MAX_NODES: usize = 20_000;

/// A graph with one input and one output.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) input: Input,
    pub(super) output: String,
    pub(super) constants: BTreeMap<String, Constant>,
    pub(super) nodes: Vec<Node>,
}

/// What a graph takes.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    /// `TensorProto.DataType`.
    pub(super) element: i32,
    /// The sizes that are fixed.
    pub(super) shape: Vec<Option<usize>>,
}

/// An operation.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) op_type: String,
    /// The node's own name, or its output's where it has none.
    pub(super) name: String,
    /// Empty for an input that is left out.
    pub(super) inputs: Vec<String>,
    /// Empty for an output that nobody wants.
    pub(super) outputs: Vec<String>,
    attributes: BTreeMap<String, Attribute>,
}

#[derive(Debug)]
enum Attribute {
    Int(i64),
    Float(f32),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Tensor(Constant),
}

impl Node {
    /// An error that names the node and its operation.
    pub(super) fn refuse(&self, reason: impl AsRef<str>) -> String {
        format!("node '{}' ({}): {}", self.name, self.op_type, reason.as_ref())
    }

    fn wrong_kind(&self, name: &str, expected: &str) -> String {
        self.refuse(format!("its attribute '{name}' is not of the kind {expected}"))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(self.wrong_kind(name, "int")),
        }
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, String> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(_) => Err(self.wrong_kind(name, "float")),
        }
    }

    pub(super) fn text(&self, name: &str, default: &str) -> Result<String, String> {
        match self.attributes.get(name) {
            None => Ok(default.to_owned()),
            Some(Attribute::Text(value)) => Ok(value.clone()),
            Some(_) => Err(self.wrong_kind(name, "string")),
        }
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values.clone())),
            Some(_) => Err(self.wrong_kind(name, "ints")),
        }
    }

    /// How many values its attributes hold.
    pub(super) fn n_values(&self) -> usize {
        let n_values = self.attributes.values().map(|attribute| match attribute {
            Attribute::Tensor(tensor) => tensor.len(),
            Attribute::Floats(values) => values.len(),
            Attribute::Ints(values) => values.len(),
            _ => 1,
        });
        n_values.sum()
    }

    /// What a Constant node holds, in whichever attribute.
    pub(super) fn constant(&self) -> Option<Constant> {
        use super::constant::Data;
        use super::proto::INT64;
        let longs = |shape: Vec<usize>, values: Vec<i64>| Constant {
            shape,
            element: INT64,
            data: Data::Longs(values),
        };
        match self.attributes.iter().next()? {
            (name, Attribute::Tensor(tensor)) if name == "value" => Some(tensor.clone()),
            (name, Attribute::Float(value)) if name == "value_float" => {
                Some(Constant::floats(vec![], vec![*value]))
            }
            (name, Attribute::Floats(values)) if name == "value_floats" => {
                Some(Constant::floats(vec![values.len()], values.clone()))
            }
            (name, Attribute::Int(value)) if name == "value_int" => Some(longs(vec![], vec![*value])),
            (name, Attribute::Ints(values)) if name == "value_ints" => {
                Some(longs(vec![values.len()], values.clone()))
            }
            _ => None,
        }
    }
}

/// Reads a graph from a file's bytes.
///
/// # Errors
/// What is wrong with it, with the node or tensor where it is one's.
pub(super) fn graph(bytes: &[u8]) -> Result<Graph, String> {
    let not_one = |reason: String| format!("not an ONNX file: {reason}");
    budget::check(bytes).map_err(not_one)?;
    let model = proto::Model::decode(bytes).map_err(|e| not_one(e.to_string()))?;
    let graph = model.graph.ok_or_else(|| not_one("it has no graph".into()))?;
    let version = model.opset_import.iter().find(|set| is_default(&set.domain)).map(|set| set.version);
    match version {
        Some(version) if OPSETS.contains(&version) => {}
        Some(version) => {
            return Err(format!(
                "it is of the operator set {version}, expected {} to {}",
                OPSETS.start(),
                OPSETS.end()
            ));
        }
        None => return Err(not_one("it names no version of the default operator set".into())),
    }
    for (what, is_there) in [
        ("functions of its own", !model.functions.is_empty()),
        ("a training graph", !model.training_info.is_empty()),
        ("sparse tensors", !graph.sparse_initializer.is_empty()),
    ] {
        if is_there {
            return Err(format!("it has {what}, which are not read"));
        }
    }
    if graph.node.len() > MAX_NODES {
        return Err(format!("it has {} nodes, expected at most {MAX_NODES}", graph.node.len()));
    }
    let mut constants = BTreeMap::new();
    for tensor in graph.initializer {
        let name = tensor.name.clone();
        let constant = Constant::of(tensor).map_err(|reason| format!("tensor '{name}': {reason}"))?;
        if constants.insert(name.clone(), constant).is_some() {
            return Err(format!("there are two tensors called '{name}'"));
        }
    }
    // Files of before 2018 list their weights among the inputs too.
    let inputs = graph.input.into_iter().filter(|input| !constants.contains_key(&input.name));
    let input = the_one(inputs.collect(), "input")?;
    let output = the_one(graph.output, "output")?.name;
    let input = input_of(input)?;
    let mut made: BTreeSet<String> = constants.keys().cloned().collect();
    made.insert(input.name.clone());
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in graph.node {
        let node = node_of(node)?;
        if let Some(unknown) = node.inputs.iter().find(|name| !name.is_empty() && !made.contains(*name)) {
            return Err(node.refuse(format!("it reads '{unknown}', which nothing before it makes")));
        }
        for output in node.outputs.iter().filter(|name| !name.is_empty()) {
            if !made.insert(output.clone()) {
                return Err(node.refuse(format!("it makes '{output}', which is there already")));
            }
        }
        nodes.push(node);
    }
    if !made.contains(&output) {
        return Err(format!("nothing makes its output '{output}'"));
    }
    Ok(Graph { input, output, constants, nodes })
}

fn is_default(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

fn the_one(mut values: Vec<proto::ValueInfo>, what: &str) -> Result<proto::ValueInfo, String> {
    match (values.pop(), values.len()) {
        (Some(value), 0) => Ok(value),
        (None, _) => Err(format!("it has no {what}, expected one")),
        (Some(last), _) => {
            let names = values.iter().take(8).chain([&last]).map(|value| format!("'{}'", value.name));
            let names = names.collect::<Vec<_>>().join(", ");
            Err(format!("it has {} {what}s ({names}), expected one", values.len() + 1))
        }
    }
}

fn input_of(input: proto::ValueInfo) -> Result<Input, String> {
    let tensor = input.kind.and_then(|kind| kind.tensor_type);
    let tensor = tensor.ok_or_else(|| format!("its input '{}' is no tensor", input.name))?;
    let shape = tensor.shape.unwrap_or_default().dim.into_iter().map(|dimension| match dimension.value {
        Some(proto::DimensionValue::Fixed(size)) => {
            usize::try_from(size).ok().filter(|size| (1..=1 << 20).contains(size))
        }
        _ => None,
    });
    Ok(Input { name: input.name, element: tensor.elem_type, shape: shape.collect() })
}

fn node_of(node: proto::Node) -> Result<Node, String> {
    let name =
        if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name };
    let mut read = Node {
        op_type: node.op_type,
        name,
        inputs: node.input,
        outputs: node.output,
        attributes: BTreeMap::new(),
    };
    if !is_default(&node.domain) {
        return Err(read.refuse(format!("it is of the domain '{}', expected ONNX's own", node.domain)));
    }
    for attribute in node.attribute {
        let name = attribute.name;
        if attribute.g.is_some() || !attribute.graphs.is_empty() {
            return Err(read.refuse("it holds a graph of its own (control flow), which is not read"));
        }
        let value = match attribute.kind {
            1 => Attribute::Float(attribute.f),
            2 => Attribute::Int(attribute.i),
            3 => Attribute::Text(
                String::from_utf8(attribute.s)
                    .map_err(|e| read.refuse(format!("its attribute '{name}': {e}")))?,
            ),
            4 => {
                let tensor = attribute
                    .t
                    .ok_or_else(|| read.refuse(format!("its attribute '{name}' has no tensor")))?;
                Attribute::Tensor(
                    Constant::of(tensor)
                        .map_err(|reason| read.refuse(format!("its attribute '{name}': {reason}")))?,
                )
            }
            6 => Attribute::Floats(attribute.floats),
            7 => Attribute::Ints(attribute.ints),
            kind => {
                return Err(
                    read.refuse(format!("its attribute '{name}' is of the kind {kind}, which is not read"))
                );
            }
        };
        if read.attributes.insert(name.clone(), value).is_some() {
            return Err(read.refuse(format!("it has two attributes '{name}'")));
        }
    }
    Ok(read)
}
