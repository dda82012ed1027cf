//! Numbers of 8 and 16 bits: constants become the floats that they stand for, and what is computed goes on as floats.

use std::rc::Rc;

use super::constant::{Constant, Data};
use super::proto::{INT8, INT16, UINT8, UINT16};
use super::read::Node;
use super::steps::{Step, Work};
use super::trace::{Flow, Trace, Value};
use crate::network::Op;

/// The smallest and the largest number of a type.
fn range_of(element: i32) -> Option<(i64, i64)> {
    match element {
        UINT8 => Some((0, i64::from(u8::MAX))),
        INT8 => Some((i64::from(i8::MIN), i64::from(i8::MAX))),
        UINT16 => Some((0, i64::from(u16::MAX))),
        INT16 => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
        _ => None,
    }
}

/// Scales and zero points, one for all values or one for each place along a dimension.
struct Steps {
    scales: Vec<f32>,
    zeros: Vec<i64>,
    /// The type of the integers, where the zero points say it.
    element: Option<i32>,
    /// The product of the dimensions behind that dimension.
    stride: usize,
}

impl Steps {
    /// Scale and zero point of the value at a place of the tensor.
    fn at(&self, place: usize) -> (f32, i64) {
        let channel = place / self.stride % self.scales.len();
        (self.scales[channel], self.zeros.get(channel).or(self.zeros.first()).copied().unwrap_or(0))
    }
}

impl Trace {
    /// DequantizeLinear: integers of the file become floats; what QuantizeLinear made is what it was.
    pub(super) fn dequantised(&mut self, node: &Node) -> Result<Value, String> {
        match self.value(node, 0)?.clone() {
            Value::Bytes(value) => Ok(*value),
            Value::Constant(constant) => {
                let steps = self.quantisation(node, &constant.shape)?;
                let values = constant
                    .as_ints()
                    .ok_or_else(|| node.refuse("it takes floats, expected integers"))?
                    .into_iter()
                    .enumerate()
                    .map(|(place, value)| {
                        let (scale, zero) = steps.at(place);
                        (value as f64 - zero as f64) as f32 * scale
                    });
                let values: Vec<f32> = values.collect();
                Ok(Value::Constant(Rc::new(Constant::floats(constant.shape.clone(), values))))
            }
            Value::Image(image) if image.is_bytes => {
                let steps = self.quantisation(node, &[])?;
                let (scale, zero) = steps.at(0);
                Ok(Value::Image(image.plus(&[zero as f32; 3], -1.0).times([f64::from(scale); 3].into_iter())))
            }
            _ => Err(node.refuse("it takes what no QuantizeLinear has made and no constant")),
        }
    }

    /// QuantizeLinear. A range that begins at 0 cuts off what is below: an exporter may have left a ReLU to it, so one is
    /// put there where values below 0 come in. One that ends at 6 is taken for ReLU6. Neither changes what the file
    /// computes.
    pub(super) fn quantised(&mut self, node: &Node) -> Result<Value, String> {
        let value = self.value(node, 0)?.clone();
        let shape = match &value {
            Value::Constant(constant) => constant.shape.clone(),
            _ => Vec::new(),
        };
        let steps = self.quantisation(node, &shape)?;
        let element = steps.element.unwrap_or(UINT8);
        let (least, most) =
            range_of(element).ok_or_else(|| node.refuse("its integers are not of 8 or 16 bits"))?;
        if let Value::Constant(constant) = &value {
            let floats =
                constant.as_floats().ok_or_else(|| node.refuse("it takes integers, expected floats"))?;
            let integers = floats.iter().enumerate().map(|(place, value)| {
                let (scale, zero) = steps.at(place);
                let rounded = f64::from(value / scale).round_ties_even() + zero as f64;
                rounded.clamp(least as f64, most as f64) as i32
            });
            let data = Data::Ints(integers.collect());
            return Ok(Value::Constant(Rc::new(Constant { shape, element, data })));
        }
        let (scale, zero) = steps.at(0);
        if steps.scales.len() > 1 {
            return Err(node.refuse("it has several scales for what is computed, expected one"));
        }
        let value = match value {
            Value::Flow(flow) if zero == least => {
                let highest = (most - zero) as f32 * scale;
                Value::Flow(self.cut_off(node, flow, (highest - 6.0).abs() < 6e-3))
            }
            other => other,
        };
        Ok(Value::Bytes(Box::new(value)))
    }

    /// The activation that a range stands for, if values below 0 may come in.
    fn cut_off(&mut self, node: &Node, from: Flow, ends_at_6: bool) -> Flow {
        let before = &self.steps[from.step];
        if before.is_nonnegative || matches!(before.work, Work::Op(Op::Input | Op::Flatten { .. })) {
            return from;
        }
        let step = Step {
            label: node.refuse("the activation in its range"),
            work: Work::Op(if ends_at_6 { Op::Relu6 } else { Op::Relu }),
            inputs: vec![from.step],
            tensors: Vec::new(),
            name: None,
            is_nonnegative: true,
            is_hidden: true,
            width: before.width,
            is_map: before.is_map,
            size: before.size,
        };
        Flow { step: self.push(step), ..from }
    }

    fn quantisation(&self, node: &Node, shape: &[usize]) -> Result<Steps, String> {
        if node.int("block_size", 0)? != 0 {
            return Err(
                node.refuse("its scales are for blocks, expected one for all or one for each channel")
            );
        }
        let scales = self.needed(node, 1, "scale")?;
        let scales = scales.as_floats().ok_or_else(|| node.refuse("its scale is no float"))?.to_vec();
        let zeros = self.constant(node, 2, "zero point")?;
        let element = zeros.as_ref().map(|zeros| zeros.element);
        let zeros = match &zeros {
            None => Vec::new(),
            Some(zeros) => zeros.as_ints().ok_or_else(|| node.refuse("its zero point is no integer"))?,
        };
        if scales.is_empty() || scales.iter().any(|scale| !scale.is_finite() || *scale <= 0.0) {
            return Err(node.refuse("a scale is not above 0 and finite"));
        }
        if zeros.len() > 1 && zeros.len() != scales.len() {
            let (zeros, scales) = (zeros.len(), scales.len());
            return Err(node.refuse(format!("it has {zeros} zero points and {scales} scales")));
        }
        let mut stride = 1;
        if scales.len() > 1 {
            let axis = node.int("axis", 1)?;
            let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
            let axis = usize::try_from(axis).ok().filter(|&axis| axis < shape.len());
            // Vectors have one dimension, and exporters leave the default of 1 there.
            let axis = axis.or((shape.len() == 1).then_some(0));
            match axis {
                Some(axis) if shape[axis] == scales.len() => stride = shape[axis + 1..].iter().product(),
                _ => {
                    let n = scales.len();
                    return Err(node.refuse(format!("it has {n} scales, which do not fit {shape:?}")));
                }
            }
        }
        Ok(Steps { scales, zeros, element, stride: stride.max(1) })
    }
}
