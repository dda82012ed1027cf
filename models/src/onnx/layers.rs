//! Nodes that are layers: convolutions, linear layers, norms, pooling.

use super::constant::Constant;
use super::read::Node;
use super::steps::{Step, Work, vector};
use super::trace::{Flow, Trace, Value, labelled, name_of};
use crate::network::{Op, Padding};
use crate::weights::Tensor;

/// The largest stride, window and padding.
const MAX_EXTENT: usize = 1 << 16;

/// What convolutions and poolings have alike.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    /// Above, left, below, right.
    pads: [usize; 4],
    auto: String,
}

impl Window {
    fn of(node: &Node, kernel: Option<[usize; 2]>) -> Result<Window, String> {
        let sizes = |name: &str, n: usize, default: usize, least: usize| -> Result<Vec<usize>, String> {
            let Some(values) = node.ints(name)? else { return Ok(vec![default; n]) };
            let sizes = values
                .iter()
                .map(|&value| usize::try_from(value).ok().filter(|size| (least..MAX_EXTENT).contains(size)));
            let sizes: Option<Vec<usize>> = sizes.collect();
            sizes.filter(|sizes| sizes.len() == n).ok_or_else(|| {
                node.refuse(format!(
                    "its {name} are {values:?}, expected {n} sizes of {least} or more, two dimensions"
                ))
            })
        };
        let pair = |values: Vec<usize>| [values[0], values[1]];
        let stated = pair(sizes("kernel_shape", 2, 0, 1)?);
        let kernel = match kernel {
            Some(kernel) if stated != [0, 0] && stated != kernel => {
                return Err(node.refuse(format!("its kernel_shape is {stated:?}, its kernel's {kernel:?}")));
            }
            Some(kernel) => kernel,
            None if stated == [0, 0] => return Err(node.refuse("it has no kernel_shape")),
            None => stated,
        };
        if kernel.iter().any(|size| !(1..MAX_EXTENT).contains(size)) {
            return Err(node.refuse(format!("its kernel is {kernel:?}")));
        }
        let dilations = pair(sizes("dilations", 2, 1, 1)?);
        if dilations != [1, 1] {
            return Err(node.refuse(format!("its dilations are {dilations:?}, expected 1")));
        }
        let pads = sizes("pads", 4, 0, 0)?;
        Ok(Window {
            kernel,
            stride: pair(sizes("strides", 2, 1, 1)?),
            pads: [pads[0], pads[1], pads[2], pads[3]],
            auto: node.text("auto_pad", "NOTSET")?,
        })
    }

    /// The zeros that an operation of ours puts around a map of `size` for it.
    fn padding(&self, node: &Node, size: Option<[usize; 2]>) -> Result<Padding, String> {
        let around = |dimension: usize| {
            let size = size?[dimension];
            Some(Padding::Same.around(size, dimension, self.kernel[dimension], self.stride[dimension]))
        };
        let [top, left, bottom, right] = self.pads;
        match self.auto.as_str() {
            "NOTSET" | "" if top == bottom && left == right => Ok(Padding::Fixed([top, left])),
            "NOTSET" | "" if around(0) == Some((top, bottom)) && around(1) == Some((left, right)) => {
                Ok(Padding::Same)
            }
            "VALID" => Ok(Padding::Fixed([0, 0])),
            "SAME_UPPER" if self.pads == [0; 4] => Ok(Padding::Same),
            "SAME_LOWER" if self.stride == [1, 1] && self.kernel.iter().all(|size| size % 2 == 1) => {
                Ok(Padding::Fixed(self.kernel.map(|size| size / 2)))
            }
            "NOTSET" | "" => Err(node.refuse(format!(
                "its pads are {:?}, expected as many before as behind, or those of SAME_UPPER for an image of fixed size",
                self.pads
            ))),
            other => Err(node.refuse(format!("its auto_pad is {other}, expected SAME_UPPER, VALID or NOTSET"))),
        }
    }

    /// The size of what comes out of a map of `size`.
    fn size_behind(
        &self,
        node: &Node,
        size: Option<[usize; 2]>,
        padding: Padding,
        rounds_up: bool,
    ) -> Result<Option<[usize; 2]>, String> {
        let Some(size) = size else { return Ok(None) };
        let mut behind = [0; 2];
        for dimension in 0..2 {
            let (kernel, stride) = (self.kernel[dimension], self.stride[dimension]);
            let n = padding.n_windows(size[dimension], dimension, kernel, stride, rounds_up);
            behind[dimension] = n.ok_or_else(|| {
                node.refuse(format!(
                    "its kernel {:?} is larger than the map {size:?} with its padding",
                    self.kernel
                ))
            })?;
        }
        Ok(Some(behind))
    }
}

impl Trace {
    pub(super) fn convolution(&mut self, node: &Node) -> Result<Value, String> {
        let value = self.value(node, 0)?.clone();
        let from = self.with_pads(node, value)?;
        let kernel = self.needed(node, 1, "kernel")?;
        let &[out_channels, n_in, height, width] = &kernel.shape[..] else {
            return Err(node.refuse(format!(
                "its kernel has the shape {:?}, expected four dimensions, of a 2-d convolution",
                kernel.shape
            )));
        };
        let groups = node.int("group", 1)?;
        let groups = usize::try_from(groups).ok().filter(|groups| (1..=1 << 24).contains(groups));
        let groups = groups.ok_or_else(|| node.refuse("its group is below 1"))?;
        let in_channels = n_in.saturating_mul(groups);
        let mut window = Window::of(node, Some([height, width]))?;
        let before = &self.steps[from.step];
        let (size, is_map) = (before.size, before.is_map);
        if before.width != in_channels || out_channels == 0 || from.channels_last {
            return Err(node.refuse(format!(
                "it takes {in_channels} channels in the second dimension, its input has {}{}",
                before.width,
                if from.channels_last { ", in the last" } else { "" }
            )));
        }
        if groups > 1 && (out_channels % groups != 0) {
            return Err(node.refuse(format!("{groups} groups do not divide its {out_channels} channels")));
        }
        let floats = kernel.as_floats().ok_or_else(|| node.refuse("its kernel is of integers"))?.to_vec();
        let bias = match self.constant(node, 2, "bias")? {
            None => None,
            Some(_) => Some(self.numbers(node, 2, "bias", &[out_channels])?),
        };
        if !is_map {
            // On a map of one place a convolution is a linear layer.
            let is_linear = from.is_square
                && groups == 1
                && window.kernel == [1, 1]
                && window.pads == [0; 4]
                && from.pads == [0; 4];
            if !is_linear {
                return Err(node.refuse("it takes a vector, expected a map [n, c, h, w]"));
            }
            return self.linear_layer(node, from, [out_channels, in_channels], floats, bias);
        }
        if from.pads != [0; 4] {
            if !matches!(window.auto.as_str(), "" | "NOTSET" | "VALID") {
                return Err(node.refuse("zeros are put around its input, and it says auto_pad"));
            }
            window.auto = String::new();
            window.pads.iter_mut().zip(from.pads).for_each(|(pad, more)| *pad += more);
        }
        let padding = window.padding(node, size)?;
        let size = window.size_behind(node, size, padding, false)?;
        let op = Op::Conv2d {
            name: String::new(),
            in_channels,
            out_channels,
            kernel: window.kernel,
            stride: window.stride,
            padding,
            groups,
            bias: bias.is_some(),
        };
        let mut tensors = vec![("weight", tensor(kernel.shape.clone(), floats)?)];
        if let Some(bias) = bias {
            tensors.push(("bias", vector(bias)?));
        }
        let step = Step {
            label: node.refuse(""),
            work: Work::Op(op),
            inputs: vec![from.step],
            tensors,
            name: name_of(node, 1, ".weight"),
            width: out_channels,
            is_map: true,
            size,
            is_nonnegative: false,
            is_hidden: false,
        };
        Ok(Value::Flow(Flow { step: self.push(labelled(step)), pads: [0; 4], ..from }))
    }

    /// `x W^T + b` over the features of a vector, or over the channels of a map where these are last.
    fn linear_layer(
        &mut self,
        node: &Node,
        from: Flow,
        [out_features, in_features]: [usize; 2],
        weight: Vec<f32>,
        bias: Option<Vec<f32>>,
    ) -> Result<Value, String> {
        self.close(node, from.step, in_features)?;
        let before = &self.steps[from.step];
        if before.width != in_features || out_features == 0 {
            return Err(node.refuse(format!(
                "it makes {out_features} features of {in_features}, its input has {}",
                before.width
            )));
        }
        let mut step = before.clone_shape();
        step.label = node.refuse("");
        step.work =
            Work::Op(Op::Linear { name: String::new(), in_features, out_features, bias: bias.is_some() });
        step.inputs = vec![from.step];
        step.tensors = vec![("weight", tensor(vec![out_features, in_features], weight)?)];
        if let Some(bias) = bias {
            step.tensors.push(("bias", vector(bias)?));
        }
        step.name = name_of(node, 1, ".weight");
        step.width = out_features;
        Ok(Value::Flow(Flow { step: self.push(labelled(step)), ..from }))
    }

    pub(super) fn gemm(&mut self, node: &Node) -> Result<Value, String> {
        let value = self.value(node, 0)?.clone();
        let from = self.with_pads(node, value)?;
        if self.rank(from) != 2 {
            return Err(node.refuse("it takes a map, expected a vector [n, c]"));
        }
        let matrix = self.needed(node, 1, "matrix")?;
        let is_by_rows = node.int("transB", 0)? != 0;
        let (shape, mut weight) = matrix_of(node, &matrix, is_by_rows)?;
        let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
        if node.int("transA", 0)? != 0 || !alpha.is_finite() || !beta.is_finite() {
            return Err(node.refuse("its transA is not 0, or a factor is not finite"));
        }
        if alpha != 1.0 {
            weight.iter_mut().for_each(|value| *value *= alpha);
        }
        let bias = self.constant(node, 2, "bias")?;
        let bias = match bias {
            None => None,
            Some(bias) => {
                let numbers = super::image::channels_of(&bias, 2, 1, shape[0]);
                let mut numbers = numbers.ok_or_else(|| {
                    node.refuse(format!("its bias has the shape {:?}, expected [{}]", bias.shape, shape[0]))
                })?;
                if beta != 1.0 {
                    numbers.iter_mut().for_each(|value| *value *= beta);
                }
                Some(numbers)
            }
        };
        self.linear_layer(node, from, shape, weight, bias)
    }

    pub(super) fn product(&mut self, node: &Node) -> Result<Value, String> {
        let value = self.value(node, 0)?.clone();
        let from = self.with_pads(node, value)?;
        let matrix = self.needed(node, 1, "matrix")?;
        let (shape, weight) = matrix_of(node, &matrix, false)?;
        if self.rank(from) == 4 && !from.channels_last {
            return Err(
                node.refuse("it multiplies the width of a map, expected channels as the last dimension")
            );
        }
        self.linear_layer(node, from, shape, weight, None)
    }

    pub(super) fn batch_norm(&mut self, node: &Node) -> Result<Value, String> {
        let from = self.flow(node, 0)?;
        if node.int("training_mode", 0)? != 0 || node.int("is_test", 1)? == 0 || node.int("spatial", 1)? == 0
        {
            return Err(node.refuse("it is in training mode or not over channels"));
        }
        if from.channels_last {
            return Err(node.refuse("it takes channels as the last dimension, expected them as the second"));
        }
        let before = &self.steps[from.step];
        let (channels, is_map) = (before.width, before.is_map);
        let eps = f64::from(node.float("epsilon", 1e-5)?);
        let mut parts = Vec::new();
        for (place, part) in [(1, "weight"), (2, "bias"), (3, "running_mean"), (4, "running_var")] {
            parts.push((part, vector(self.numbers(node, place, part, &[channels])?)?));
        }
        let is_positive = |variance: &f32| f64::from(*variance) + eps > 0.0;
        if !parts[3].1.values.iter().all(is_positive) {
            return Err(node.refuse("a variance with epsilon is not above 0"));
        }
        if is_map {
            let mut step = before.clone_shape();
            step.label = node.refuse("");
            step.work = Work::Op(Op::BatchNorm2d { name: String::new(), channels, eps: rounded(eps) });
            step.inputs = vec![from.step];
            step.tensors = parts;
            step.name = name_of(node, 1, ".weight");
            return Ok(Value::Flow(Flow { step: self.push(labelled(step)), ..from }));
        }
        // On vectors it goes into the linear layer before it.
        let of = |part: usize, channel: usize| f64::from(parts[part].1.values[channel]);
        let scales: Vec<f64> = (0..channels).map(|c| of(0, c) / (of(3, c) + eps).sqrt()).collect();
        let shifts = (0..channels).map(|c| (of(1, c) - of(2, c) * scales[c]) as f32).collect();
        let scales = scales.iter().map(|&scale| scale as f32).collect();
        let scaled = self.with_numbers(node, Work::Scale(scales), from, None);
        Ok(Value::Flow(self.with_numbers(node, Work::Shift(shifts), scaled, None)))
    }

    /// A number for each channel that is multiplied or added.
    pub(super) fn with_numbers(&mut self, node: &Node, work: Work, from: Flow, name: Option<String>) -> Flow {
        let mut step = self.steps[from.step].clone_shape();
        step.label = node.refuse("");
        step.work = work;
        step.inputs = vec![from.step];
        step.name = name;
        Flow { step: self.push(labelled(step)), ..from }
    }

    pub(super) fn layer_norm(&mut self, node: &Node) -> Result<Value, String> {
        let from = self.flow(node, 0)?;
        let axis = node.int("axis", -1)?;
        let rank = self.rank(from) as i64;
        if (axis != -1 && axis != rank - 1) || (rank == 4 && !from.channels_last) {
            return Err(node.refuse("it is over more than channels, expected these as the last dimension"));
        }
        let width = self.steps[from.step].width;
        let weight = self.numbers(node, 1, "scale", &[width])?;
        let bias = match self.constant(node, 2, "bias")? {
            None => vec![0.0; width],
            Some(_) => self.numbers(node, 2, "bias", &[width])?,
        };
        let eps = f64::from(node.float("epsilon", 1e-5)?);
        Ok(Value::Flow(self.push_layer_norm(node, from, eps, weight, bias, name_of(node, 1, ".weight"))?))
    }

    pub(super) fn push_layer_norm(
        &mut self,
        node: &Node,
        from: Flow,
        eps: f64,
        weight: Vec<f32>,
        bias: Vec<f32>,
        name: Option<String>,
    ) -> Result<Flow, String> {
        let mut step = self.steps[from.step].clone_shape();
        if !eps.is_finite() || eps < 0.0 {
            return Err(node.refuse(format!("its epsilon is {eps}")));
        }
        step.label = node.refuse("");
        step.work = Work::Op(Op::LayerNorm { name: String::new(), channels: step.width, eps: rounded(eps) });
        step.inputs = vec![from.step];
        step.tensors = vec![("weight", vector(weight)?), ("bias", vector(bias)?)];
        step.name = name;
        Ok(Flow { step: self.push(labelled(step)), ..from })
    }

    pub(super) fn unit_length(&mut self, node: &Node) -> Result<Value, String> {
        let from = self.flow(node, 0)?;
        let axis = node.int("axis", -1)?;
        if self.rank(from) != 2 || !matches!(axis, -1 | 1) || node.int("p", 2)? != 2 {
            return Err(node.refuse("it does not divide a vector by its length"));
        }
        Ok(Value::Flow(self.push_like(node, Op::L2Normalise, from)))
    }

    pub(super) fn max_pool(&mut self, node: &Node) -> Result<Value, String> {
        let from = self.map(node)?;
        let window = Window::of(node, None)?;
        let size = self.steps[from.step].size;
        let ceil_mode = node.int("ceil_mode", 0)? != 0;
        let Padding::Fixed(padding) = window.padding(node, size)? else {
            return Err(node.refuse("it pads by size, expected as many before as behind"));
        };
        let op = Op::MaxPool2d { kernel: window.kernel, stride: window.stride, padding, ceil_mode };
        let size = window.size_behind(node, size, Padding::Fixed(padding), ceil_mode)?;
        Ok(Value::Flow(self.push_pool(node, op, from, size)))
    }

    pub(super) fn average_pool(&mut self, node: &Node) -> Result<Value, String> {
        let from = self.map(node)?;
        let window = Window::of(node, None)?;
        let size = self.steps[from.step].size;
        let Padding::Fixed(padding) = window.padding(node, size)? else {
            return Err(node.refuse("it pads by size, expected as many before as behind"));
        };
        if padding != [0, 0] && node.int("count_include_pad", 0)? == 0 {
            return Err(node.refuse("it leaves padding out of its means, expected count_include_pad 1"));
        }
        let behind = window.size_behind(node, size, Padding::Fixed(padding), false)?;
        if node.int("ceil_mode", 0)? != 0 {
            // Where nothing is left over, rounding does not matter.
            let is_even = size.is_some_and(|size| {
                (0..2).all(|at| (size[at] + 2 * padding[at] - window.kernel[at]) % window.stride[at] == 0)
            });
            if !is_even {
                return Err(node.refuse("its size rounds up (ceil_mode), expected down"));
            }
        }
        if padding == [0, 0] && window.kernel == [1, 1] && window.stride == [1, 1] {
            return Ok(Value::Flow(from));
        }
        if padding == [0, 0] && size == Some(window.kernel) {
            return Ok(Value::Flow(self.push_global_pool(node, from, true)));
        }
        let op = Op::AvgPool2d { kernel: window.kernel, stride: window.stride, padding };
        Ok(Value::Flow(self.push_pool(node, op, from, behind)))
    }

    /// The mean over height and width, which stay as 1 and 1 or go.
    pub(super) fn global_pool(&mut self, node: &Node, keeps: bool) -> Result<Value, String> {
        if let Some(value) = self.power_mean(node, keeps)? {
            return Ok(value);
        }
        let from = self.flow(node, 0)?;
        if !self.steps[from.step].is_map {
            // The mean of one place.
            return Ok(Value::Flow(Flow { is_square: from.is_square && keeps, ..from }));
        }
        Ok(Value::Flow(self.push_global_pool(node, from, keeps)))
    }

    fn push_global_pool(&mut self, node: &Node, from: Flow, keeps: bool) -> Flow {
        self.push_whole(node, Op::GlobalAvgPool, from, keeps)
    }

    /// Adds an operation that pools a whole map.
    pub(super) fn push_whole(&mut self, node: &Node, op: Op, from: Flow, keeps: bool) -> Flow {
        let flow = self.push_pool(node, op, from, None);
        self.steps[flow.step].is_map = false;
        Flow { is_square: keeps, channels_last: from.channels_last && keeps, ..flow }
    }

    fn push_pool(&mut self, node: &Node, op: Op, from: Flow, size: Option<[usize; 2]>) -> Flow {
        let is_nonnegative = self.steps[from.step].is_nonnegative;
        let flow = self.push_like(node, op, from);
        let step = &mut self.steps[flow.step];
        (step.size, step.is_nonnegative) = (size, is_nonnegative);
        flow
    }

    /// The map that a node takes, channels in the second dimension.
    fn map(&mut self, node: &Node) -> Result<Flow, String> {
        let from = self.flow(node, 0)?;
        if !self.steps[from.step].is_map || from.channels_last {
            return Err(node.refuse("it takes no map [n, c, h, w]"));
        }
        Ok(from)
    }
}

/// A matrix as `[out, in]` with its values.
fn matrix_of(node: &Node, matrix: &Constant, is_by_rows: bool) -> Result<([usize; 2], Vec<f32>), String> {
    let (&[rows, columns], Some(values)) = (&matrix.shape[..], matrix.as_floats()) else {
        return Err(node.refuse(format!(
            "its second input has the shape {:?}, expected a matrix of floats",
            matrix.shape
        )));
    };
    if is_by_rows {
        Ok(([rows, columns], values.to_vec()))
    } else {
        Ok(([columns, rows], super::transposed(values, columns)))
    }
}

fn tensor(shape: Vec<usize>, values: Vec<f32>) -> Result<Tensor, String> {
    Tensor::new(shape, values).map_err(|e| e.to_string())
}

/// An epsilon of 32 bits as the decimal number that its owner wrote.
fn rounded(eps: f64) -> f64 {
    super::arithmetic::decimal(eps as f32)
}
