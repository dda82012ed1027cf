//! Follows a graph from its input to its output and says it in our operations.
//!
//! Every value of the graph is a constant, the image on its way in, the output of an operation of ours in one of a few
//! layouts, the sizes of such an output, or a part of an operation that takes several nodes. Nothing is computed but
//! constants, and of these only what moves or converts them.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::constant::Constant;
use super::image::Image;
use super::proto::{BFLOAT16, BOOL, DOUBLE, FLOAT, FLOAT16, INT64};
use super::read::{Graph, Node};
use super::steps::{Step, Work};
use super::{image, steps};
use crate::network::Op;

/// The largest number of channels or features.
const WIDEST: usize = 1 << 24;

/// How often all values of a file may be copied; a kernel that is cast, quantised, moved and used is copied five times.
const MOST_COPIES: usize = 6;

/// What a name in the graph stands for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Constant(Rc<Constant>),
    Image(Image),
    Flow(Flow),
    Unfinished(Unfinished),
    /// Sizes of dimensions, as `Shape` gives them.
    Sizes(Vec<Size>),
    /// What QuantizeLinear makes of a value.
    Bytes(Box<Value>),
    /// An input that is left out.
    Nothing,
}

/// One size of a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    Batch,
    Known(i64),
    Unknown,
}

/// The output of a step in the layout that the graph has it in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flow {
    pub(super) step: usize,
    /// Channels are the last of four dimensions.
    pub(super) channels_last: bool,
    /// A vector as `[n, c, 1, 1]`.
    pub(super) is_square: bool,
    /// Zeros around a map that the next convolution takes in: above, left, below, right.
    pub(super) pads: [usize; 4],
}

impl Flow {
    fn of(step: usize) -> Flow {
        Flow { step, channels_last: false, is_square: false, pads: [0; 4] }
    }
}

/// An operation of several nodes that is not at its end: what has been done to `base`.
#[derive(Clone, Debug)]
pub(super) struct Unfinished {
    pub(super) base: Flow,
    pub(super) stage: Stage,
}

/// How far it has come.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// GELU: `x / sqrt 2`, its error function, that plus 1, half of that; `x / 2`; `x (1 + erf)`.
    OverRoot2,
    Erf,
    ErfPlus1,
    HalfErfPlus1,
    Half,
    Doubled,
    /// Layer norm: the mean over channels, what is left without it, its square, the mean of that, that plus epsilon, its
    /// root, the quotient, that times weights.
    Mean,
    Centred,
    CentredSquared,
    Variance,
    VariancePlus(f64),
    Deviation(f64),
    Normal(f64),
    NormalTimes(f64, Vec<f32>, Option<String>),
    /// Division by the length: squares, their sum, its root.
    Squared,
    SquaredLength,
    Length,
    /// Generalised mean pooling: at least so much, to a power, the mean of that over height and width.
    AtLeast(f32),
    Power(f32, f32),
    PowerMean(f32, f32, bool),
}

/// A graph that is being followed.
#[derive(Debug)]
pub(super) struct Trace {
    values: BTreeMap<String, Value>,
    pub(super) steps: Vec<Step>,
    /// The graph's input as the first operation takes it.
    pub(super) image: Option<Image>,
    /// Height and width of the input, where the file fixes them.
    pub(super) side: Option<[usize; 2]>,
    /// Values that may still be copied: a small file could have thousands of nodes read one tensor.
    n_left: usize,
}

/// Follows a graph and returns the trace with the step that is its output.
///
/// # Errors
/// The first node that none of our operations does.
pub(super) fn follow(graph: &mut Graph) -> Result<(Trace, usize), String> {
    let image = Image::of(&graph.input)?;
    let side = match (&graph.input.shape[..], image.channels_last) {
        (&[_, Some(height), Some(width), _], true) | (&[_, _, Some(height), Some(width)], false) => {
            Some([height, width])
        }
        _ => None,
    };
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    let in_nodes = graph.nodes.iter().map(Node::n_values).sum::<usize>();
    let mut n_left = in_nodes.saturating_mul(MOST_COPIES).saturating_add(WIDEST);
    for (name, constant) in std::mem::take(&mut graph.constants) {
        n_left = n_left.saturating_add(constant.len().saturating_mul(MOST_COPIES));
        values.insert(name, Value::Constant(Rc::new(constant)));
    }
    values.insert(graph.input.name.clone(), Value::Image(image));
    let input = Step {
        label: format!("input '{}'", graph.input.name),
        work: Work::Op(Op::Input),
        inputs: Vec::new(),
        tensors: Vec::new(),
        name: None,
        width: 3,
        is_map: true,
        size: side,
        is_nonnegative: false,
        is_hidden: false,
    };
    let mut trace = Trace { values, steps: vec![input], image: None, side, n_left };
    for node in &graph.nodes {
        let n_before = trace.steps.len();
        let value = trace.node(node)?;
        trace.spend(node, n_before, &value)?;
        // Further outputs, such as the places of maxima, stay without a value: who reads one is told.
        if let Some(output) = node.outputs.first().filter(|output| !output.is_empty()) {
            trace.values.insert(output.clone(), value);
        }
    }
    let output = graph.nodes.iter().find(|node| node.outputs.contains(&graph.output));
    let output = output.ok_or_else(|| format!("its output '{}' is made by no node", graph.output))?;
    let Some(value) = trace.values.get(&graph.output).cloned() else {
        return Err(output.refuse("the graph's output is not the first of its outputs"));
    };
    let flow = trace.materialised(output, value)?;
    let step = &trace.steps[flow.step];
    if step.is_map {
        return Err(output.refuse(format!(
            "the graph's output '{}' is a map [n, c, h, w], expected a vector [n, d] for each image; put a global \
             average pooling behind it",
            graph.output
        )));
    }
    Ok((trace, flow.step))
}

impl Trace {
    fn node(&mut self, node: &Node) -> Result<Value, String> {
        match node.op_type.as_str() {
            "Constant" => match node.constant() {
                Some(constant) => Ok(Value::Constant(Rc::new(constant))),
                None => Err(node.refuse("it holds no tensor of numbers")),
            },
            "Identity" => Ok(self.value(node, 0)?.clone()),
            "Dropout" => self.dropout(node),
            "Cast" => self.cast(node),
            "QuantizeLinear" => self.quantised(node),
            "DequantizeLinear" => self.dequantised(node),
            "Conv" => self.convolution(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.product(node),
            "BatchNormalization" => self.batch_norm(node),
            "LayerNormalization" => self.layer_norm(node),
            "LpNormalization" => self.unit_length(node),
            "MaxPool" => self.max_pool(node),
            "AveragePool" => self.average_pool(node),
            "GlobalAveragePool" => self.global_pool(node, true),
            "Relu" | "Clip" | "Gelu" | "Add" | "Sum" | "Sub" | "Mul" | "Div" | "Max" | "Pow" | "Sqrt"
            | "Erf" | "ReduceMean" | "ReduceSum" | "ReduceL2" => self.arithmetic(node),
            "Concat" => self.concatenated(node),
            "Pad" => self.padded(node),
            "Transpose" => self.transposed(node),
            "Flatten" => self.flattened(node),
            "Reshape" => self.reshaped(node),
            "Squeeze" | "Unsqueeze" => self.squeezed(node),
            "Shape" => self.sizes(node),
            "Gather" | "Slice" => self.part_of_sizes(node),
            "Expand" => self.expanded(node),
            "If" | "Loop" | "Scan" => Err(node.refuse("control flow is not read")),
            "Softmax" | "LogSoftmax" => {
                Err(node.refuse("no operation of ours does this; export the scores before it"))
            }
            _ => Err(node.refuse("no operation of ours does this")),
        }
    }

    /// Counts the values that a node's steps, from the one at `first` on, and its result hold.
    fn spend(&mut self, node: &Node, first: usize, value: &Value) -> Result<(), String> {
        let mut n_values = match value {
            Value::Constant(constant) => constant.len(),
            Value::Unfinished(Unfinished { stage: Stage::NormalTimes(_, weight, _), .. }) => weight.len(),
            _ => 0,
        };
        for step in self.steps.iter().skip(first) {
            n_values += step.tensors.iter().map(|(_, tensor)| tensor.values.len()).sum::<usize>();
            n_values += match &step.work {
                Work::Scale(numbers) | Work::Shift(numbers) => numbers.len(),
                Work::Op(_) => 0,
            };
        }
        let left = self.n_left.checked_sub(n_values);
        self.n_left = left.ok_or_else(|| node.refuse("the graph copies its tensors too often"))?;
        Ok(())
    }

    /// What the input of a node at a place stands for.
    pub(super) fn value(&self, node: &Node, place: usize) -> Result<&Value, String> {
        match node.inputs.get(place).map(String::as_str) {
            None | Some("") => Ok(&Value::Nothing),
            Some(name) => self.values.get(name).ok_or_else(|| {
                node.refuse(format!(
                    "it reads '{name}', an output of a node besides its first, which is not followed"
                ))
            }),
        }
    }

    /// The constant at a place, or nothing where it is left out.
    pub(super) fn constant(
        &self,
        node: &Node,
        place: usize,
        what: &str,
    ) -> Result<Option<Rc<Constant>>, String> {
        match self.value(node, place)? {
            Value::Nothing => Ok(None),
            Value::Constant(constant) => Ok(Some(Rc::clone(constant))),
            _ => Err(node.refuse(format!("its {what} is computed, expected a constant"))),
        }
    }

    /// The constant at a place, which must be there.
    pub(super) fn needed(&self, node: &Node, place: usize, what: &str) -> Result<Rc<Constant>, String> {
        self.constant(node, place, what)?.ok_or_else(|| node.refuse(format!("its {what} is missing")))
    }

    /// The floats of a constant with exactly this shape.
    pub(super) fn numbers(
        &self,
        node: &Node,
        place: usize,
        what: &str,
        shape: &[usize],
    ) -> Result<Vec<f32>, String> {
        let constant = self.needed(node, place, what)?;
        match constant.as_floats() {
            Some(values) if constant.shape == shape => Ok(values.to_vec()),
            Some(_) => {
                Err(node.refuse(format!("its {what} has the shape {:?}, expected {shape:?}", constant.shape)))
            }
            None => Err(node.refuse(format!("its {what} is of integers, expected floats"))),
        }
    }

    /// What a node computes with: the output of a step in some layout, without zeros around it.
    pub(super) fn flow(&mut self, node: &Node, place: usize) -> Result<Flow, String> {
        let value = self.value(node, place)?.clone();
        self.materialised(node, value)
    }

    /// A value as the output of a step.
    pub(super) fn materialised(&mut self, node: &Node, value: Value) -> Result<Flow, String> {
        let flow = self.with_pads(node, value)?;
        if flow.pads != [0; 4] {
            return Err(node.refuse("zeros are put around its input, which is read before convolutions only"));
        }
        if matches!(self.steps[flow.step].work, Work::Op(Op::Flatten { size: [0, 0] })) {
            return Err(
                node.refuse("it takes a flattened map of no fixed size; export the model for one image size")
            );
        }
        Ok(flow)
    }

    /// A value as the output of a step, with zeros around it, or as a flattened map whose size is open still.
    pub(super) fn with_pads(&mut self, node: &Node, value: Value) -> Result<Flow, String> {
        match value {
            Value::Flow(flow) => Ok(flow),
            Value::Image(image) => self.entered(node, image),
            Value::Unfinished(found) => self.completed(node, found),
            Value::Nothing => Err(node.refuse("an input is missing")),
            Value::Constant(_) => Err(node.refuse("it computes with constants only, which is not done here")),
            Value::Sizes(_) => Err(node.refuse("it computes with the sizes of a map")),
            Value::Bytes(_) => {
                Err(node.refuse("it computes with integers, expected DequantizeLinear before it"))
            }
        }
    }

    /// The image as the network's input.
    fn entered(&mut self, node: &Node, image: Image) -> Result<Flow, String> {
        if image.channels_last {
            return Err(node.refuse(
                "it takes the image as [n, h, w, 3], expected a Transpose to [n, 3, h, w] before it",
            ));
        }
        if !image.is_finite() {
            return Err(
                node.refuse("the image before it is multiplied by something that is not above 0 and finite")
            );
        }
        match &self.image {
            Some(entered) if *entered != image => {
                return Err(node.refuse("it takes another version of the image than an earlier node"));
            }
            _ => self.image = Some(image),
        }
        Ok(Flow::of(0))
    }

    pub(super) fn push(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.steps.len() - 1
    }

    /// Adds an operation without tensors that leaves width and size as they are.
    pub(super) fn push_like(&mut self, node: &Node, op: Op, from: Flow) -> Flow {
        let before = &self.steps[from.step];
        let step = Step {
            label: node.refuse(""),
            is_nonnegative: matches!(op, Op::Relu | Op::Relu6),
            work: Work::Op(op),
            inputs: vec![from.step],
            tensors: Vec::new(),
            name: None,
            width: before.width,
            is_map: before.is_map,
            size: before.size,
            is_hidden: false,
        };
        Flow { step: self.push(labelled(step)), ..from }
    }

    /// The dimensions of a flow in the graph.
    pub(super) fn rank(&self, flow: Flow) -> usize {
        if self.steps[flow.step].is_map || flow.is_square { 4 } else { 2 }
    }

    /// The dimension of a flow's channels in the graph.
    pub(super) fn channel_axis(&self, flow: Flow) -> usize {
        if flow.channels_last { 3 } else { 1 }
    }

    /// One number for each channel of a flow, as a constant has them that meets it.
    pub(super) fn per_channel(
        &self,
        node: &Node,
        constant: &Constant,
        flow: Flow,
    ) -> Result<Vec<f32>, String> {
        let width = self.steps[flow.step].width;
        image::channels_of(constant, self.rank(flow), self.channel_axis(flow), width).ok_or_else(|| {
            node.refuse(format!(
                "its constant of the shape {:?} is no number for each of {width} channels",
                constant.shape
            ))
        })
    }

    /// The list of integers at a place, or in an attribute, where older versions have it.
    pub(super) fn list(&self, node: &Node, place: usize, name: &str) -> Result<Option<Vec<i64>>, String> {
        if let Some(values) = node.ints(name)? {
            return Ok(Some(values));
        }
        match self.constant(node, place, name)? {
            None => Ok(None),
            Some(constant) => {
                let values = constant.as_ints();
                values.map(Some).ok_or_else(|| node.refuse(format!("its {name} are no integers")))
            }
        }
    }

    fn dropout(&mut self, node: &Node) -> Result<Value, String> {
        if let Some(training) = self.constant(node, 2, "training_mode")?
            && training.to_floats().iter().any(|&value| value != 0.0)
        {
            return Err(node.refuse("it is in training mode"));
        }
        Ok(self.value(node, 0)?.clone())
    }

    fn cast(&mut self, node: &Node) -> Result<Value, String> {
        let to = i32::try_from(node.int("to", 0)?).unwrap_or(0);
        let is_float = matches!(to, FLOAT | FLOAT16 | DOUBLE | BFLOAT16);
        match self.value(node, 0)?.clone() {
            Value::Constant(constant) if is_float => {
                Ok(Value::Constant(Rc::new(Constant::floats(constant.shape.clone(), constant.to_floats()))))
            }
            Value::Constant(constant) if constant.as_ints().is_some() && to != BOOL => {
                Ok(Value::Constant(constant))
            }
            Value::Sizes(sizes) if to == INT64 => Ok(Value::Sizes(sizes)),
            value @ (Value::Image(_) | Value::Flow(_) | Value::Unfinished(_)) if is_float => Ok(value),
            _ => Err(node.refuse(format!("it makes the type {to} of what it takes, expected floats"))),
        }
    }

    fn transposed(&mut self, node: &Node) -> Result<Value, String> {
        let perm = node.ints("perm")?;
        match self.value(node, 0)?.clone() {
            Value::Constant(constant) => {
                let rank = constant.shape.len();
                let is_swap = perm.as_deref().is_none_or(|perm| perm == [1, 0]);
                match (constant.as_floats(), rank) {
                    (Some(values), 2) if is_swap => {
                        let (rows, columns) = (constant.shape[0], constant.shape[1]);
                        let values = super::transposed(values, columns);
                        Ok(Value::Constant(Rc::new(Constant::floats(vec![columns, rows], values))))
                    }
                    _ => Err(node.refuse("it moves the dimensions of a constant that is no matrix")),
                }
            }
            Value::Image(mut image) => {
                image.channels_last = moved(node, perm.as_deref(), image.channels_last)?;
                Ok(Value::Image(image))
            }
            Value::Bytes(value) => match *value {
                Value::Image(mut image) => {
                    image.channels_last = moved(node, perm.as_deref(), image.channels_last)?;
                    Ok(Value::Bytes(Box::new(Value::Image(image))))
                }
                _ => Err(node.refuse("it moves integers, expected DequantizeLinear before it")),
            },
            value => {
                let flow = self.materialised(node, value)?;
                if self.rank(flow) != 4 {
                    return Err(node.refuse("it moves the dimensions of a vector"));
                }
                let channels_last = moved(node, perm.as_deref(), flow.channels_last)?;
                Ok(Value::Flow(Flow { channels_last, ..flow }))
            }
        }
    }

    /// What becomes of a flow when height and width, if it has them, become features.
    fn as_vector(&mut self, node: &Node, from: Flow) -> Result<Flow, String> {
        let before = &self.steps[from.step];
        if !before.is_map {
            return Ok(Flow { is_square: false, channels_last: false, ..from });
        }
        if from.channels_last {
            return Err(node.refuse("it flattens a map whose channels are the last dimension"));
        }
        let (width, is_nonnegative) = (before.width, before.is_nonnegative);
        // Of a map of no fixed size the linear layer behind tells the size.
        let size = before.size.unwrap_or([0, 0]);
        let flat = if before.size.is_some() {
            size.iter().try_fold(width, |product, &size| product.checked_mul(size))
        } else {
            Some(width)
        };
        let step = Step {
            label: node.refuse(""),
            work: Work::Op(Op::Flatten { size }),
            inputs: vec![from.step],
            tensors: Vec::new(),
            name: None,
            width: flat
                .filter(|&width| width <= WIDEST)
                .ok_or_else(|| node.refuse("the flattened map is too large"))?,
            is_map: false,
            size: None,
            is_nonnegative,
            is_hidden: false,
        };
        Ok(Flow::of(self.push(labelled(step))))
    }

    fn flattened(&mut self, node: &Node) -> Result<Value, String> {
        let axis = node.int("axis", 1)?;
        let from = self.flow(node, 0)?;
        if axis != 1 && axis != 1 - self.rank(from) as i64 {
            return Err(node.refuse(format!("its axis is {axis}, expected 1")));
        }
        Ok(Value::Flow(self.as_vector(node, from)?))
    }

    fn reshaped(&mut self, node: &Node) -> Result<Value, String> {
        let target = match self.value(node, 1)?.clone() {
            Value::Nothing => node.ints("shape")?.map(|shape| shape.into_iter().map(Size::Known).collect()),
            Value::Sizes(sizes) => Some(sizes),
            Value::Constant(constant) => {
                constant.as_ints().map(|shape| shape.into_iter().map(Size::Known).collect())
            }
            _ => None,
        };
        let target: Vec<Size> =
            target.ok_or_else(|| node.refuse("its shape is computed, expected integers"))?;
        if let Value::Constant(constant) = self.value(node, 0)?.clone() {
            return shaped(node, &constant, &target);
        }
        let from = self.flow(node, 0)?;
        let width = self.steps[from.step].width;
        let refuse = || {
            let known = if self.steps[from.step].is_map { "map" } else { "vector" };
            node.refuse(format!(
                "it makes {target:?} of a {known} of {width} channels, expected [n, d] or [n, d, 1, 1]"
            ))
        };
        if !matches!(target.first(), Some(Size::Batch | Size::Known(_))) {
            return Err(refuse());
        }
        match target[1..] {
            [features] => {
                let to = self.as_vector(node, from)?;
                let width = self.steps[to.step].width as i64;
                let is_open = matches!(self.steps[to.step].work, Work::Op(Op::Flatten { size: [0, 0] }));
                match features {
                    Size::Known(-1) => Ok(Value::Flow(to)),
                    Size::Known(known) if known == width => Ok(Value::Flow(to)),
                    Size::Known(known) if is_open => {
                        let known = usize::try_from(known).unwrap_or(0);
                        self.close(node, to.step, known)?;
                        Ok(Value::Flow(to))
                    }
                    _ => Err(node.refuse(format!("it makes {target:?} of {width} features for each image"))),
                }
            }
            [Size::Known(channels), Size::Known(1), Size::Known(1)]
                if !self.steps[from.step].is_map && (channels == -1 || channels == width as i64) =>
            {
                Ok(Value::Flow(Flow { is_square: true, channels_last: false, ..from }))
            }
            _ => Err(refuse()),
        }
    }

    /// Tells a flattened map of no fixed size by how many features are read of it: a square.
    pub(super) fn close(&mut self, node: &Node, step: usize, n_features: usize) -> Result<(), String> {
        let step = &mut self.steps[step];
        let Work::Op(Op::Flatten { size }) = &mut step.work else { return Ok(()) };
        if *size != [0, 0] {
            return Ok(());
        }
        let area = n_features / step.width;
        let side = area.isqrt();
        if side == 0 || side * side != area || area * step.width != n_features {
            return Err(node.refuse(format!(
                "it takes {n_features} features of a map of {} channels, which is no square map",
                step.width
            )));
        }
        *size = [side, side];
        step.width = n_features;
        Ok(())
    }

    fn squeezed(&mut self, node: &Node) -> Result<Value, String> {
        let axes = self.list(node, 1, "axes")?;
        let is_squeeze = node.op_type == "Squeeze";
        match self.value(node, 0)?.clone() {
            Value::Sizes(sizes) => Ok(Value::Sizes(sizes)),
            Value::Constant(constant) => {
                let mut shape = constant.shape.clone();
                let Some(mut axes) = axes else {
                    shape.retain(|&size| size != 1 || !is_squeeze);
                    return Ok(Value::Constant(Rc::new(constant.reshaped(shape))));
                };
                let rank = shape.len() as i64 + if is_squeeze { 0 } else { axes.len() as i64 };
                axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis += rank);
                axes.sort_unstable();
                if is_squeeze {
                    axes.reverse();
                }
                for axis in axes {
                    let axis = usize::try_from(axis).unwrap_or(usize::MAX);
                    match is_squeeze {
                        true if shape.get(axis) == Some(&1) => drop(shape.remove(axis)),
                        false if axis <= shape.len() && shape.len() < 8 => shape.insert(axis, 1),
                        _ => return Err(node.refuse("its axes do not fit its input")),
                    }
                }
                Ok(Value::Constant(Rc::new(constant.reshaped(shape))))
            }
            value => {
                let from = self.materialised(node, value)?;
                let mut axes = axes.ok_or_else(|| node.refuse("it names no axes"))?;
                axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis += 4);
                axes.sort_unstable();
                let places = if from.channels_last { [1, 2] } else { [2, 3] };
                if self.steps[from.step].is_map || axes != places || from.is_square != is_squeeze {
                    return Err(node.refuse("it takes or adds other dimensions than height and width of 1"));
                }
                Ok(Value::Flow(Flow { is_square: !is_squeeze, channels_last: false, ..from }))
            }
        }
    }

    fn sizes(&mut self, node: &Node) -> Result<Value, String> {
        if node.has("start") || node.has("end") {
            return Err(node.refuse("it takes a part of the shape, expected all of it"));
        }
        let known = |size: Option<usize>| size.map_or(Size::Unknown, |size| Size::Known(size as i64));
        let flow = match self.value(node, 0)?.clone() {
            Value::Constant(constant) => {
                return Ok(Value::Sizes(
                    constant.shape.iter().map(|&size| Size::Known(size as i64)).collect(),
                ));
            }
            Value::Image(image) => {
                let [height, width] = [0, 1].map(|at| known(self.side.map(|side| side[at])));
                let three = Size::Known(3);
                return Ok(Value::Sizes(if image.channels_last {
                    vec![Size::Batch, height, width, three]
                } else {
                    vec![Size::Batch, three, height, width]
                }));
            }
            // It is of the size of what it is made of.
            Value::Unfinished(found) => found.base,
            value => self.materialised(node, value)?,
        };
        let step = &self.steps[flow.step];
        let width = Size::Known(step.width as i64);
        let [height, across] = match (step.is_map, flow.is_square) {
            (false, false) => return Ok(Value::Sizes(vec![Size::Batch, width])),
            (false, true) => [Size::Known(1); 2],
            (true, _) => [0, 1].map(|at| known(step.size.map(|size| size[at]))),
        };
        Ok(Value::Sizes(if flow.channels_last {
            vec![Size::Batch, height, across, width]
        } else {
            vec![Size::Batch, width, height, across]
        }))
    }

    fn part_of_sizes(&mut self, node: &Node) -> Result<Value, String> {
        let Value::Sizes(sizes) = self.value(node, 0)?.clone() else {
            return Err(node.refuse("it takes a part of a tensor, which no operation of ours does"));
        };
        let place = |place: i64| {
            let place = if place < 0 { place + sizes.len() as i64 } else { place };
            usize::try_from(place).unwrap_or(usize::MAX)
        };
        let refuse = || node.refuse("it takes sizes that are not there");
        let found = if node.op_type == "Gather" {
            let places = self.list(node, 1, "indices")?.ok_or_else(refuse)?;
            let found = places.into_iter().take(8).map(|at| sizes.get(place(at)).copied());
            found.collect::<Option<Vec<Size>>>().ok_or_else(refuse)?
        } else {
            let starts = self.list(node, 1, "starts")?.ok_or_else(refuse)?;
            let ends = self.list(node, 2, "ends")?.ok_or_else(refuse)?;
            let steps = self.list(node, 4, "steps")?.unwrap_or_else(|| vec![1]);
            match (&starts[..], &ends[..], &steps[..]) {
                (&[start], &[end], [1]) => {
                    let (start, end) = (place(start), place(end.min(sizes.len() as i64)).min(sizes.len()));
                    sizes.get(start..end).ok_or_else(refuse)?.to_vec()
                }
                _ => return Err(refuse()),
            }
        };
        Ok(Value::Sizes(found))
    }

    /// A number for each image, repeated for its features.
    fn expanded(&mut self, node: &Node) -> Result<Value, String> {
        match (self.value(node, 0)?, self.value(node, 1)?) {
            (Value::Unfinished(found @ Unfinished { stage: Stage::Length, .. }), Value::Sizes(_)) => {
                Ok(Value::Unfinished(found.clone()))
            }
            _ => Err(node.refuse("no operation of ours does this")),
        }
    }

    fn concatenated(&mut self, node: &Node) -> Result<Value, String> {
        let axis = node.int("axis", 0)?;
        let is_of_sizes = matches!(self.value(node, 0)?, Value::Sizes(_))
            || (matches!(self.value(node, 0)?, Value::Constant(_)) && axis == 0);
        if is_of_sizes {
            let mut sizes = Vec::new();
            for place in 0..node.inputs.len().min(9) {
                match self.value(node, place)? {
                    Value::Sizes(more) => sizes.extend(more),
                    Value::Constant(constant) => match constant.as_ints() {
                        Some(more) if more.len() <= 8 => sizes.extend(more.into_iter().map(Size::Known)),
                        _ => return Err(node.refuse("it puts constants behind one another")),
                    },
                    _ => return Err(node.refuse("it puts sizes and maps behind one another")),
                }
            }
            return if sizes.len() <= 8 {
                Ok(Value::Sizes(sizes))
            } else {
                Err(node.refuse("it makes a shape of more than 8 dimensions"))
            };
        }
        let first = self.flow(node, 0)?;
        let rank = self.rank(first) as i64;
        let expected = self.channel_axis(first) as i64;
        if axis != expected && axis != expected - rank {
            return Err(node.refuse(format!("its axis is {axis}, expected {expected}, that of channels")));
        }
        let mut inputs = Vec::new();
        let mut step = self.steps[first.step].clone_shape();
        (step.width, step.is_nonnegative) = (0, true);
        for place in 0..node.inputs.len() {
            let flow = self.flow(node, place)?;
            let from = &self.steps[flow.step];
            if !from.is_map || flow.channels_last != first.channels_last {
                return Err(node.refuse("it puts other things than maps of one layout behind one another"));
            }
            if let (Some(a), Some(b)) = (step.size, from.size)
                && a != b
            {
                return Err(node.refuse(format!("its maps are of the sizes {a:?} and {b:?}")));
            }
            step.width += from.width;
            if step.width > WIDEST {
                return Err(node.refuse(format!("it makes more than {WIDEST} channels")));
            }
            step.is_nonnegative &= from.is_nonnegative;
            inputs.push(flow.step);
        }
        if let [one] = inputs[..] {
            return Ok(Value::Flow(Flow { step: one, ..first }));
        }
        let step = Step { label: node.refuse(""), work: Work::Op(Op::Concat), inputs, ..step };
        Ok(Value::Flow(Flow { step: self.push(labelled(step)), ..first }))
    }

    /// Zeros around a map, which the convolution behind takes in.
    fn padded(&mut self, node: &Node) -> Result<Value, String> {
        let value = self.value(node, 0)?.clone();
        let from = self.with_pads(node, value)?;
        let mode = node.text("mode", "constant")?;
        let pads = self.list(node, 1, "pads")?.ok_or_else(|| node.refuse("it says no pads"))?;
        let number = match self.constant(node, 2, "constant_value")? {
            Some(constant) => constant.to_floats().iter().any(|&value| value != 0.0),
            None => node.float("value", 0.0)? != 0.0,
        };
        let axes_are_named = !matches!(self.value(node, 3)?, Value::Nothing);
        let &[0, 0, top, left, 0, 0, bottom, right] = &pads[..] else {
            return Err(
                node.refuse(format!("its pads are {pads:?}, expected zeros but for height and width"))
            );
        };
        let sides =
            [top, left, bottom, right].map(|pad| usize::try_from(pad).ok().filter(|&pad| pad < 1 << 16));
        let [Some(top), Some(left), Some(bottom), Some(right)] = sides else {
            return Err(node.refuse(format!("its pads are {pads:?}, expected 0 to 65,535")));
        };
        let is_map = self.steps[from.step].is_map && !from.channels_last && from.pads == [0; 4];
        if mode != "constant" || number || axes_are_named || !is_map {
            return Err(node.refuse("it puts other things than zeros around a map"));
        }
        Ok(Value::Flow(Flow { pads: [top, left, bottom, right], ..from }))
    }
}

impl Step {
    /// A step without work of the same width and size.
    pub(super) fn clone_shape(&self) -> Step {
        Step {
            label: String::new(),
            work: Work::Op(Op::Relu),
            inputs: Vec::new(),
            tensors: Vec::new(),
            name: None,
            width: self.width,
            is_map: self.is_map,
            size: self.size,
            is_nonnegative: false,
            is_hidden: false,
        }
    }
}

/// A label without the colon that stands before a reason.
pub(super) fn labelled(mut step: Step) -> Step {
    step.label.truncate(step.label.trim_end_matches([':', ' ']).len());
    step
}

/// Where channels are after a permutation: last or not.
fn moved(node: &Node, perm: Option<&[i64]>, channels_last: bool) -> Result<bool, String> {
    match (perm, channels_last) {
        (Some([0, 1, 2, 3]), last) => Ok(last),
        (Some([0, 2, 3, 1]), false) => Ok(true),
        (Some([0, 3, 1, 2]), true) => Ok(false),
        _ => Err(node.refuse(format!("it moves dimensions by {perm:?}, expected [0, 2, 3, 1] and back"))),
    }
}

/// A constant in another shape.
fn shaped(node: &Node, constant: &Constant, target: &[Size]) -> Result<Value, String> {
    let n_values = constant.len();
    let mut shape = Vec::new();
    let mut open = None;
    for (place, size) in target.iter().enumerate() {
        match *size {
            Size::Known(-1) if open.is_none() => {
                open = Some(place);
                shape.push(1);
            }
            Size::Known(0) if place < constant.shape.len() => shape.push(constant.shape[place]),
            Size::Known(size) if size > 0 => shape.push(size as usize),
            _ => return Err(node.refuse(format!("it gives a constant the shape {target:?}"))),
        }
    }
    let known = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let known = known.filter(|&known| known > 0 && shape.len() <= 8);
    if let (Some(place), Some(known)) = (open, known) {
        shape[place] = n_values / known;
    }
    if known.is_none() || shape.iter().try_fold(1_usize, |p, &size| p.checked_mul(size)) != Some(n_values) {
        return Err(node.refuse(format!("it gives {n_values} values the shape {target:?}")));
    }
    Ok(Value::Constant(Rc::new(constant.reshaped(shape))))
}

/// The name that the file has for the layer whose tensor a node reads at a place.
pub(super) fn name_of(node: &Node, place: usize, suffix: &str) -> Option<String> {
    steps::layer_name(node.inputs.get(place)?, suffix)
}
