//! What an ONNX file says of itself before anything of it is run: what it takes and gives, and the files that it needs.
//!
//! Any graph is looked at, also one of operations that no network of ours has: ONNX Runtime is to run it. Weights are stepped
//! over and not read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message;
use sketchfind_core::card::{Precision, is_plain_path};

use super::budget;
use super::proto::{
    BFLOAT16, BOOL, DOUBLE, DimensionValue, FLOAT, FLOAT16, INT8, INT16, INT32, INT64, OperatorSet,
    StringEntry, UINT8, UINT16, ValueInfo,
};
use crate::weights::mistaken;
use crate::{Error, Result};

/// What an ONNX file says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// The version of ONNX's file format.
    pub ir_version: i64,
    /// The version of the default operator set.
    pub opset: i64,
    /// The program that wrote it, as it calls itself.
    pub producer: String,
    /// What has to be given to it.
    pub inputs: Vec<Outlet>,
    /// What it gives.
    pub outputs: Vec<Outlet>,
    /// The files beside it that hold weights, sorted, each with the number of bytes that it has to have.
    pub external: BTreeMap<String, u64>,
    /// The number of its weights.
    pub n_parameters: u64,
    /// The arithmetic of most of them.
    pub precision: Precision,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlet {
    /// Its name.
    pub name: String,
    /// `TensorProto.DataType`; 0 for what is no tensor.
    pub element: i32,
    /// Its axes, where their number is known.
    pub shape: Option<Vec<Axis>>,
}

/// The size of an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    /// It is this.
    Fixed(usize),
    /// It is open, and perhaps has a name.
    Open(String),
}

impl Axis {
    /// The size, where it is fixed.
    pub fn size(&self) -> Option<usize> {
        match self {
            Axis::Fixed(size) => Some(*size),
            Axis::Open(_) => None,
        }
    }
}

impl std::fmt::Display for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' {}", self.name, element_name(self.element))?;
        let Some(shape) = &self.shape else { return f.write_str(" of unknown shape") };
        let axes = shape.iter().map(|axis| match axis {
            Axis::Fixed(size) => size.to_string(),
            Axis::Open(name) if name.is_empty() => "?".to_owned(),
            Axis::Open(name) => name.clone(),
        });
        write!(f, " [{}]", axes.collect::<Vec<_>>().join(", "))
    }
}

/// The name of a `TensorProto.DataType`.
fn element_name(element: i32) -> &'static str {
    match element {
        0 => "no tensor",
        FLOAT => "float32",
        UINT8 => "uint8",
        INT8 => "int8",
        UINT16 => "uint16",
        INT16 => "int16",
        INT32 => "int32",
        INT64 => "int64",
        8 => "string",
        BOOL => "bool",
        FLOAT16 => "float16",
        DOUBLE => "float64",
        12 => "uint32",
        13 => "uint64",
        BFLOAT16 => "bfloat16",
        _ => "of another type",
    }
}

/// Reads what the file at `path` says of itself, and holds the files that it needs against what it says of them.
///
/// # Errors
/// [`Error::Core`] where the file cannot be read; [`Error::OnnxFile`] where it is none, is damaged, or a file that it needs is
/// missing, too short or outside of its folder.
pub fn read(path: &Path) -> Result<(Inspected, Vec<u8>)> {
    let refused = |reason: String| Error::OnnxFile { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
    if let Some(what) = mistaken::for_weights(&bytes) {
        return Err(refused(format!("no ONNX file: {what}")));
    }
    let inspected = parse(&bytes).map_err(refused)?;
    for (name, &n_bytes) in &inspected.external {
        external_file(path, name, n_bytes).map_err(refused)?;
    }
    Ok((inspected, bytes))
}

/// Where the file `name` lies that the ONNX file at `onnx` needs.
///
/// # Errors
/// That it is missing, no file or too short, or that a link leads out of the folder.
fn external_file(onnx: &Path, name: &str, n_bytes: u64) -> std::result::Result<PathBuf, String> {
    let of_file = |e: std::io::Error| format!("its weights in '{name}' cannot be read: {e}");
    let folder = onnx.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path = folder.join(name);
    let metadata = std::fs::metadata(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            format!("it keeps weights in '{name}', which is not beside it; expected '{}'", path.display())
        }
        _ => of_file(e),
    })?;
    if !metadata.is_file() || metadata.len() < n_bytes {
        return Err(format!(
            "it keeps weights in '{name}', which has {} bytes, expected a file of {n_bytes} or more",
            metadata.len()
        ));
    }
    // Download caches link a model's files to where they keep the contents: beside the one, so beside the other.
    let target = path.canonicalize().map_err(of_file)?;
    let roots = [folder.canonicalize(), onnx.canonicalize()].map(|root| root.map_err(of_file));
    let [folder, onnx] = roots;
    let (folder, onnx) = (folder?, onnx?);
    let is_inside = target.starts_with(&folder) || onnx.parent().is_some_and(|kept| target.starts_with(kept));
    if is_inside { Ok(path) } else { Err(format!("its weights in '{name}' are a link out of its folder")) }
}

/// Reads what a file's bytes say.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8]) -> std::result::Result<Inspected, String> {
    let not_one = |reason: String| format!("not an ONNX file: {reason}");
    budget::check(bytes).map_err(not_one)?;
    let model = Model::decode(bytes).map_err(|e| not_one(e.to_string()))?;
    let graph = model.graph.as_ref().ok_or_else(|| not_one("it has no graph".into()))?;
    let is_default = |set: &&OperatorSet| set.domain.is_empty() || set.domain == "ai.onnx";
    let opset = model.opset_import.iter().find(is_default).map(|set| set.version);
    let opset = opset.ok_or_else(|| not_one("it names no version of the default operator set".into()))?;
    let mut found = Found::default();
    found.graph(graph)?;
    for training in &model.training_info {
        for graph in [&training.initialization, &training.algorithm].into_iter().flatten() {
            found.graph(graph)?;
        }
    }
    for function in &model.functions {
        found.nodes(&function.node)?;
    }
    // Files of before 2018 list their weights among the inputs too.
    let is_weight = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let inputs = graph.input.iter().filter(|input| !is_weight(&input.name)).map(outlet).collect();
    let producer = format!("{} {}", model.producer_name, model.producer_version);
    Ok(Inspected {
        ir_version: model.ir_version,
        opset,
        producer: producer.trim().to_owned(),
        inputs,
        outputs: graph.output.iter().map(outlet).collect(),
        precision: found.precision(),
        external: found.external,
        n_parameters: found.n_parameters,
    })
}

fn outlet(value: &ValueInfo) -> Outlet {
    let tensor = value.kind.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let axis = |value: &Option<DimensionValue>| match value {
        Some(DimensionValue::Fixed(size)) => match usize::try_from(*size) {
            Ok(size) if size > 0 => Axis::Fixed(size),
            // Some exporters write -1 for what is open.
            _ => Axis::Open(String::new()),
        },
        Some(DimensionValue::Symbol(name)) => Axis::Open(name.clone()),
        None => Axis::Open(String::new()),
    };
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    Outlet {
        name: value.name.clone(),
        element: tensor.map_or(0, |tensor| tensor.elem_type),
        shape: shape.map(|shape| shape.dim.iter().map(|dimension| axis(&dimension.value)).collect()),
    }
}

/// What stands anywhere in a file: in its graph, in graphs of nodes, in functions.
#[derive(Debug, Default)]
struct Found {
    external: BTreeMap<String, u64>,
    n_parameters: u64,
    n_halves: u64,
    has_bytes: bool,
}

impl Found {
    fn precision(&self) -> Precision {
        match self {
            Found { has_bytes: true, .. } => Precision::Int8,
            Found { n_halves, n_parameters, .. } if 2 * n_halves > *n_parameters => Precision::Fp16,
            _ => Precision::Fp32,
        }
    }

    fn graph(&mut self, graph: &Graph) -> std::result::Result<(), String> {
        graph.initializer.iter().try_for_each(|tensor| self.tensor(tensor))?;
        graph.sparse_initializer.iter().try_for_each(|sparse| self.sparse(sparse))?;
        self.nodes(&graph.node)
    }

    fn nodes(&mut self, nodes: &[Node]) -> std::result::Result<(), String> {
        for node in nodes {
            self.has_bytes |= is_of_bytes(&node.op_type);
            for attribute in &node.attribute {
                attribute.t.iter().chain(&attribute.tensors).try_for_each(|tensor| self.tensor(tensor))?;
                let sparse = attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors);
                sparse.into_iter().try_for_each(|sparse| self.sparse(sparse))?;
                attribute
                    .g
                    .as_deref()
                    .into_iter()
                    .chain(&attribute.graphs)
                    .try_for_each(|graph| self.graph(graph))?;
            }
        }
        Ok(())
    }

    fn sparse(&mut self, sparse: &Sparse) -> std::result::Result<(), String> {
        sparse.values.iter().chain(&sparse.indices).try_for_each(|tensor| self.tensor(tensor))
    }

    fn tensor(&mut self, tensor: &Tensor) -> std::result::Result<(), String> {
        let n_values = tensor.dims.iter().try_fold(1_u64, |product, &size| {
            u64::try_from(size).ok().and_then(|size| product.checked_mul(size))
        });
        let n_values =
            n_values.ok_or_else(|| format!("tensor '{}' has the shape {:?}", tensor.name, tensor.dims))?;
        // Shapes and indices are no weights.
        if !matches!(tensor.data_type, INT64 | BOOL | 8) {
            self.n_parameters = self.n_parameters.saturating_add(n_values);
        }
        if matches!(tensor.data_type, FLOAT16 | BFLOAT16) {
            self.n_halves = self.n_halves.saturating_add(n_values);
        }
        if tensor.data_location == 0 && tensor.external_data.is_empty() {
            return Ok(());
        }
        let value = |key: &str| {
            tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
        };
        let refused = |reason: String| format!("tensor '{}': {reason}", tensor.name);
        let location = value("location")
            .ok_or_else(|| refused("its values lie in another file, and it does not say in which".into()))?;
        if !is_plain_path(location) {
            return Err(refused(format!(
                "its values lie in '{location}', expected a file below the folder of the ONNX file that is none of a \
                 model's folder itself"
            )));
        }
        let number = |key: &str| match value(key).map(str::parse::<u64>) {
            None => Ok(0),
            Some(parsed) => {
                parsed.map_err(|e| refused(format!("its {key} in '{location}' is no number: {e}")))
            }
        };
        let end = number("offset")?.checked_add(number("length")?);
        let end = end.ok_or_else(|| refused(format!("its place in '{location}' is beyond all files")))?;
        let known = self.external.entry(location.to_owned()).or_default();
        *known = end.max(*known);
        Ok(())
    }
}

/// Whether an operation computes with integers of 8 bits or less.
fn is_of_bytes(op_type: &str) -> bool {
    matches!(
        op_type,
        "QuantizeLinear"
            | "DequantizeLinear"
            | "DynamicQuantizeLinear"
            | "ConvInteger"
            | "MatMulInteger"
            | "MatMulNBits"
            | "DynamicQuantizeMatMul"
            | "MatMulIntegerToFloat"
    ) || op_type.starts_with("QLinear")
}

/// The messages of the format, without what holds weights.
#[derive(Clone, PartialEq, prost::Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "20")]
    training_info: Vec<Training>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Training {
    #[prost(message, optional, tag = "1")]
    initialization: Option<Graph>,
    #[prost(message, optional, tag = "2")]
    algorithm: Option<Graph>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    node: Vec<Node>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<Sparse>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    t: Option<Tensor>,
    #[prost(message, optional, boxed, tag = "6")]
    g: Option<Box<Graph>>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    sparse_tensor: Option<Sparse>,
    #[prost(message, repeated, tag = "23")]
    sparse_tensors: Vec<Sparse>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sparse {
    #[prost(message, optional, tag = "1")]
    values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Tensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<StringEntry>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[cfg(test)]
mod tests {
    use super::super::proto;
    use super::*;

    fn entry(key: &str, value: &str) -> StringEntry {
        StringEntry { key: key.into(), value: value.into() }
    }

    fn tensor(location: &str) -> Tensor {
        let external_data = vec![entry("location", location), entry("offset", "64"), entry("length", "16")];
        Tensor { dims: vec![4], data_type: FLOAT, name: "w".into(), external_data, data_location: 1 }
    }

    fn value(name: &str, element: i32, dims: &[DimensionValue]) -> ValueInfo {
        let dim = dims.iter().map(|value| proto::Dimension { value: Some(value.clone()) }).collect();
        let tensor_type = proto::TensorType { elem_type: element, shape: Some(proto::Shape { dim }) };
        ValueInfo { name: name.into(), kind: Some(proto::Type { tensor_type: Some(tensor_type) }) }
    }

    fn model(graph: Graph) -> Model {
        let opset_import = vec![OperatorSet { domain: String::new(), version: 17 }];
        Model { ir_version: 8, graph: Some(graph), opset_import, ..Model::default() }
    }

    fn attribute(attribute: Attribute) -> Graph {
        let node = Node { op_type: "If".into(), attribute: vec![attribute] };
        Graph { node: vec![node], ..Graph::default() }
    }

    #[test]
    fn what_a_file_takes_and_gives_is_told() {
        use DimensionValue::{Fixed, Symbol};
        let graph = Graph {
            input: vec![
                value("pixels", UINT8, &[Symbol("batch".into()), Fixed(8), Fixed(8), Fixed(3)]),
                value("w", FLOAT, &[Fixed(4)]),
            ],
            output: vec![value("out", FLOAT16, &[Fixed(-1), Fixed(5)])],
            initializer: vec![Tensor { external_data: vec![], data_location: 0, ..tensor("") }],
            ..Graph::default()
        };
        let found = parse(&model(graph).encode_to_vec()).unwrap();
        let told: Vec<String> = found.inputs.iter().chain(&found.outputs).map(Outlet::to_string).collect();
        assert_eq!(told, ["'pixels' uint8 [batch, 8, 8, 3]", "'out' float16 [?, 5]"]);
        assert_eq!((found.opset, found.n_parameters, found.precision), (17, 4, Precision::Fp32));
        assert!(found.external.is_empty());
    }

    /// Wherever in a file a tensor stands that lies elsewhere, its place is seen.
    #[test]
    fn external_data_are_found_in_every_corner() {
        let places: [fn(Tensor) -> Model; 8] = [
            |t| model(Graph { initializer: vec![t], ..Graph::default() }),
            |t| model(attribute(Attribute { t: Some(t), ..Attribute::default() })),
            |t| model(attribute(Attribute { tensors: vec![t], ..Attribute::default() })),
            |t| {
                let inner = attribute(Attribute { t: Some(t), ..Attribute::default() });
                model(attribute(Attribute { g: Some(Box::new(inner)), ..Attribute::default() }))
            },
            |t| {
                let inner = Graph { initializer: vec![t], ..Graph::default() };
                model(attribute(Attribute { graphs: vec![inner], ..Attribute::default() }))
            },
            |t| {
                let function =
                    Function { node: attribute(Attribute { t: Some(t), ..Attribute::default() }).node };
                Model { functions: vec![function], ..model(Graph::default()) }
            },
            |t| {
                let algorithm = Some(Graph { initializer: vec![t], ..Graph::default() });
                Model {
                    training_info: vec![Training { initialization: None, algorithm }],
                    ..model(Graph::default())
                }
            },
            |t| {
                let sparse = Sparse { values: Some(t), indices: None };
                model(Graph { sparse_initializer: vec![sparse], ..Graph::default() })
            },
        ];
        for place in places {
            let found = parse(&place(tensor("a/w.bin")).encode_to_vec()).unwrap();
            assert_eq!(found.external, BTreeMap::from([("a/w.bin".to_owned(), 80)]));
            for hostile in ["../w.bin", "/etc/passwd", "a/../../w", "C:\\w", "card.json", ""] {
                let message = parse(&place(tensor(hostile)).encode_to_vec()).unwrap_err();
                assert!(message.contains(&format!("tensor 'w': its values lie in '{hostile}'")), "{message}");
            }
        }
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        let mut nameless = tensor("w");
        nameless.external_data.remove(0);
        let mut beyond = tensor("w");
        beyond.external_data[1].value = u64::MAX.to_string();
        let mut no_number = tensor("w");
        no_number.external_data[2].value = "-1".into();
        let negative = Tensor { dims: vec![-4], ..tensor("w") };
        for (wrong, part) in [
            (nameless, "does not say in which"),
            (beyond, "beyond all files"),
            (no_number, "its length in 'w' is no number"),
            (negative, "[-4]"),
        ] {
            let graph = Graph { initializer: vec![wrong], ..Graph::default() };
            let message = parse(&model(graph).encode_to_vec()).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
        let whole = model(Graph { initializer: vec![tensor("w")], ..Graph::default() }).encode_to_vec();
        for end in 0..whole.len() {
            // What is cut between two fields may still be read; then it lacks a part.
            if let Err(message) = parse(&whole[..end]) {
                assert!(message.starts_with("not an ONNX file") || message.contains("tensor"), "{message}");
            }
        }
        assert!(parse(b"").unwrap_err().contains("no graph"));
    }

    #[test]
    fn external_files_are_held_against_what_is_said_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let onnx = folder.path().join("x.onnx");
        let graph = Graph { initializer: vec![tensor("w.bin")], ..Graph::default() };
        std::fs::write(&onnx, model(graph).encode_to_vec()).unwrap();
        let message = || read(&onnx).unwrap_err().to_string();
        assert!(message().contains("'w.bin', which is not beside it"), "{}", message());
        std::fs::write(folder.path().join("w.bin"), [0; 79]).unwrap();
        assert!(message().contains("has 79 bytes, expected a file of 80"), "{}", message());
        std::fs::write(folder.path().join("w.bin"), [0; 80]).unwrap();
        read(&onnx).unwrap();
        #[cfg(unix)]
        {
            let outside = tempfile::tempdir().unwrap();
            std::fs::write(outside.path().join("secret"), [0; 99]).unwrap();
            std::fs::remove_file(folder.path().join("w.bin")).unwrap();
            std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("w.bin")).unwrap();
            assert!(message().contains("'w.bin' are a link out of its folder"), "{}", message());
            // As caches do: both files are links into one folder.
            std::fs::rename(&onnx, outside.path().join("blob")).unwrap();
            std::os::unix::fs::symlink(outside.path().join("blob"), &onnx).unwrap();
            read(&onnx).unwrap();
        }
    }
}
