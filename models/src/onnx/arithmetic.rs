//! Nodes that compute number by number, alone or as the parts of activations, norms and pooling.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::rc::Rc;

use super::constant::Constant;
use super::read::Node;
use super::steps::Work;
use super::trace::{Flow, Stage, Trace, Unfinished, Value, name_of};
use crate::network::{GEM_MIN, Op};

/// What is so small that a length, or a sum of squares, is the same with it.
const TINY: f32 = 1e-6;

impl Trace {
    pub(super) fn arithmetic(&mut self, node: &Node) -> Result<Value, String> {
        match node.op_type.as_str() {
            "Relu" => self.clipped(node, 0.0, None),
            "Clip" => {
                let limit = |place: usize, name: &str| -> Result<Option<f32>, String> {
                    if node.has(name) {
                        return Ok(Some(node.float(name, 0.0)?));
                    }
                    match self.constant(node, place, name)? {
                        None => Ok(None),
                        Some(limit) => match limit.as_float() {
                            Some(limit) => Ok(Some(limit)),
                            None => Err(node.refuse(format!("its {name} is no single float"))),
                        },
                    }
                };
                // Exporters write the largest number of 16 or 32 bits for none.
                let least = limit(1, "min")?.filter(|&least| least > -60_000.0);
                let most = limit(2, "max")?.filter(|&most| most < 60_000.0);
                match (least, most) {
                    (None, None) => Ok(self.value(node, 0)?.clone()),
                    (Some(least), most) => self.clipped(node, least, most),
                    (None, Some(most)) => Err(node.refuse(format!("it cuts off above {most} only"))),
                }
            }
            "Max" => match self.pair(node)? {
                (value, Value::Constant(least)) | (Value::Constant(least), value) => {
                    let least = least
                        .as_float()
                        .ok_or_else(|| node.refuse("it takes several numbers, expected one"))?;
                    self.at_least(node, value, least, None)
                }
                _ => Err(node.refuse("no operation of ours does this")),
            },
            "Gelu" => {
                let how = node.text("approximate", "none")?;
                if how != "none" {
                    return Err(node.refuse(format!("its approximate is '{how}', expected 'none'")));
                }
                let from = self.flow(node, 0)?;
                Ok(Value::Flow(self.push_like(node, Op::Gelu, from)))
            }
            "Erf" => match self.value(node, 0)? {
                Value::Unfinished(Unfinished { base, stage: Stage::OverRoot2 }) => {
                    Ok(unfinished(*base, Stage::Erf))
                }
                _ => Err(node.refuse("it is no part of a GELU, x (1 + erf(x / sqrt 2)) / 2")),
            },
            "Sqrt" => match self.value(node, 0)?.clone() {
                Value::Unfinished(Unfinished { base, stage: Stage::VariancePlus(eps) }) => {
                    Ok(unfinished(base, Stage::Deviation(eps)))
                }
                Value::Unfinished(Unfinished { base, stage: Stage::SquaredLength }) => {
                    Ok(unfinished(base, Stage::Length))
                }
                _ => Err(node.refuse("it is no part of a layer norm or of a division by the length")),
            },
            "Pow" => self.power(node),
            "ReduceMean" | "ReduceSum" | "ReduceL2" => self.reduced(node),
            "Sum" => self.sum(node),
            _ => self.of_two(node),
        }
    }

    fn pair(&self, node: &Node) -> Result<(Value, Value), String> {
        if node.inputs.len() != 2 {
            return Err(node.refuse(format!("it has {} inputs, expected 2", node.inputs.len())));
        }
        Ok((self.value(node, 0)?.clone(), self.value(node, 1)?.clone()))
    }

    fn clipped(&mut self, node: &Node, least: f32, most: Option<f32>) -> Result<Value, String> {
        let value = self.value(node, 0)?.clone();
        self.at_least(node, value, least, most)
    }

    /// A value cut off below, and above where there is a limit.
    fn at_least(
        &mut self,
        node: &Node,
        value: Value,
        least: f32,
        most: Option<f32>,
    ) -> Result<Value, String> {
        match (&value, most) {
            (Value::Unfinished(Unfinished { base, stage: Stage::Length | Stage::SquaredLength }), None)
                if least <= TINY =>
            {
                let Value::Unfinished(Unfinished { stage, .. }) = &value else {
                    return Ok(unfinished(*base, Stage::Length));
                };
                return Ok(unfinished(*base, stage.clone()));
            }
            (_, None) if least > 0.0 && least <= 1e-3 => {
                let from = self.materialised(node, value)?;
                return Ok(unfinished(from, Stage::AtLeast(least)));
            }
            _ => {}
        }
        let op = match most {
            None if least == 0.0 => Op::Relu,
            Some(6.0) if least == 0.0 => Op::Relu6,
            None => return Err(node.refuse(format!("it cuts off below {least}, expected 0"))),
            Some(most) => {
                return Err(
                    node.refuse(format!("it cuts off below {least} and above {most}, expected 0 and 6"))
                );
            }
        };
        let from = self.materialised(node, value)?;
        let step = &mut self.steps[from.step];
        if step.is_hidden {
            // The range had an activation that the graph has too: it is this one.
            step.work = Work::Op(op);
            step.is_hidden = false;
            return Ok(Value::Flow(from));
        }
        Ok(Value::Flow(self.push_like(node, op, from)))
    }

    fn sum(&mut self, node: &Node) -> Result<Value, String> {
        if node.inputs.is_empty() {
            return Err(node.refuse("it has no inputs"));
        }
        let mut sum = self.flow(node, 0)?;
        for place in 1..node.inputs.len() {
            let other = self.flow(node, place)?;
            sum = self.added(node, sum, other)?;
        }
        Ok(Value::Flow(sum))
    }

    fn added(&mut self, node: &Node, a: Flow, b: Flow) -> Result<Flow, String> {
        let (left, right) = (&self.steps[a.step], &self.steps[b.step]);
        let is_one_shape = (left.width, left.is_map) == (right.width, right.is_map)
            && (a.channels_last, a.is_square) == (b.channels_last, b.is_square);
        let sizes_differ = matches!((left.size, right.size), (Some(a), Some(b)) if a != b);
        if !is_one_shape || sizes_differ {
            let say = |step: &super::steps::Step| match (step.is_map, step.size) {
                (true, Some([height, width])) => format!("[n, {}, {height}, {width}]", step.width),
                (true, None) => format!("[n, {}, h, w]", step.width),
                (false, _) => format!("[n, {}]", step.width),
            };
            return Err(node.refuse(format!(
                "it adds {} and {}, expected one shape and layout",
                say(left),
                say(right)
            )));
        }
        let is_nonnegative = left.is_nonnegative && right.is_nonnegative;
        let size = left.size.or(right.size);
        let sum = self.push_like(node, Op::Add, a);
        let step = &mut self.steps[sum.step];
        step.inputs.push(b.step);
        (step.is_nonnegative, step.size) = (is_nonnegative, size);
        Ok(sum)
    }

    /// Add, Sub, Mul and Div.
    fn of_two(&mut self, node: &Node) -> Result<Value, String> {
        let op = node.op_type.as_str();
        let (a, b) = self.pair(node)?;
        let commutes = matches!(op, "Add" | "Mul");
        let (a, b, place) = match (&a, commutes) {
            (Value::Constant(_), true) => (b, a, 0),
            _ => (a, b, 1),
        };
        match (a, b) {
            (Value::Image(image), Value::Constant(constant)) => {
                let numbers = image.channels_of(&constant).ok_or_else(|| {
                    node.refuse(format!(
                        "its constant of the shape {:?} is no number for each channel of the image",
                        constant.shape
                    ))
                })?;
                let wide = numbers.iter().map(|&number| f64::from(number));
                Ok(Value::Image(match op {
                    "Add" => image.plus(&numbers, 1.0),
                    "Sub" => image.plus(&numbers, -1.0),
                    "Mul" => image.times(wide),
                    _ => image.times(wide.map(|number| 1.0 / number)),
                }))
            }
            (Value::Unfinished(found), Value::Constant(constant)) => {
                let name = |suffix: &str| name_of(node, place, suffix);
                match self.part_and_number(node, &found, &constant, name(".weight"))? {
                    Some(value) => Ok(value),
                    None => {
                        let flow = self.completed(node, found)?;
                        self.flow_and_number(node, flow, &constant, place)
                    }
                }
            }
            (value, Value::Constant(constant)) => {
                let flow = self.materialised(node, value)?;
                self.flow_and_number(node, flow, &constant, place)
            }
            (Value::Unfinished(a), Value::Unfinished(b)) if a.base == b.base => {
                self.two_unfinished(node, a, b)
            }
            (Value::Flow(flow), Value::Unfinished(found)) | (Value::Unfinished(found), Value::Flow(flow))
                if found.base == flow =>
            {
                match self.flow_and_unfinished(node, flow, &found)? {
                    Some(value) => Ok(value),
                    None => {
                        let flow_of_part = self.completed(node, found)?;
                        self.two_flows(node, flow, flow_of_part)
                    }
                }
            }
            (a, b) => {
                let (a, b) = (self.materialised(node, a)?, self.materialised(node, b)?);
                self.two_flows(node, a, b)
            }
        }
    }

    fn two_flows(&mut self, node: &Node, a: Flow, b: Flow) -> Result<Value, String> {
        match node.op_type.as_str() {
            "Add" => Ok(Value::Flow(self.added(node, a, b)?)),
            "Mul" if a == b => Ok(unfinished(a, Stage::Squared)),
            op => Err(node.refuse(format!("no operation of ours does {op} with two maps or vectors"))),
        }
    }

    /// A flow and a constant: one number for each channel.
    fn flow_and_number(
        &mut self,
        node: &Node,
        flow: Flow,
        constant: &Constant,
        place: usize,
    ) -> Result<Value, String> {
        let op = node.op_type.as_str();
        if let ("Div" | "Mul", Some(number)) = (op, constant.as_float()) {
            let divisor = if op == "Div" { number } else { 1.0 / number };
            if is_near(divisor, SQRT_2) {
                return Ok(unfinished(flow, Stage::OverRoot2));
            }
            if divisor == 2.0 {
                return Ok(unfinished(flow, Stage::Half));
            }
            if divisor == 1.0 {
                return Ok(Value::Flow(flow));
            }
        }
        let mut numbers = self.per_channel(node, constant, flow)?;
        let work = match op {
            "Add" => Work::Shift(numbers),
            "Sub" => {
                numbers.iter_mut().for_each(|number| *number = -*number);
                Work::Shift(numbers)
            }
            "Mul" => Work::Scale(numbers),
            _ => {
                numbers.iter_mut().for_each(|number| *number = 1.0 / *number);
                Work::Scale(numbers)
            }
        };
        Ok(Value::Flow(self.with_numbers(node, work, flow, name_of(node, place, ""))))
    }

    /// Something unfinished and a constant, or nothing where they make nothing further.
    fn part_and_number(
        &mut self,
        node: &Node,
        found: &Unfinished,
        constant: &Rc<Constant>,
        name: Option<String>,
    ) -> Result<Option<Value>, String> {
        let base = found.base;
        let number = constant.as_float();
        let halves = matches!((node.op_type.as_str(), number), ("Mul", Some(0.5)) | ("Div", Some(2.0)));
        Ok(Some(match (node.op_type.as_str(), &found.stage, number) {
            ("Add", Stage::Erf, Some(1.0)) => unfinished(base, Stage::ErfPlus1),
            (_, Stage::ErfPlus1, _) if halves => unfinished(base, Stage::HalfErfPlus1),
            (_, Stage::Doubled, _) if halves => Value::Flow(self.push_like(node, Op::Gelu, base)),
            ("Add", Stage::Variance, Some(eps)) => unfinished(base, Stage::VariancePlus(f64::from(eps))),
            ("Add", Stage::Length | Stage::SquaredLength, Some(eps)) if (0.0..=TINY).contains(&eps) => {
                unfinished(base, found.stage.clone())
            }
            ("Mul", Stage::Normal(eps), _) => {
                let numbers = self.per_channel(node, constant, base)?;
                unfinished(base, Stage::NormalTimes(*eps, numbers, name))
            }
            ("Add", Stage::NormalTimes(eps, weight, name), _) => {
                let bias = self.per_channel(node, constant, base)?;
                Value::Flow(self.push_layer_norm(node, base, *eps, weight.clone(), bias, name.clone())?)
            }
            _ => return Ok(None),
        }))
    }

    fn two_unfinished(&mut self, node: &Node, a: Unfinished, b: Unfinished) -> Result<Value, String> {
        let base = a.base;
        match (node.op_type.as_str(), &a.stage, &b.stage) {
            ("Mul", Stage::Half, Stage::ErfPlus1) | ("Mul", Stage::ErfPlus1, Stage::Half) => {
                Ok(Value::Flow(self.push_like(node, Op::Gelu, base)))
            }
            ("Mul", Stage::Centred, Stage::Centred) => Ok(unfinished(base, Stage::CentredSquared)),
            ("Div", Stage::Centred, Stage::Deviation(eps)) => Ok(unfinished(base, Stage::Normal(*eps))),
            _ => {
                let (a, b) = (self.completed(node, a)?, self.completed(node, b)?);
                self.two_flows(node, a, b)
            }
        }
    }

    /// A flow and something unfinished that is made of it, or nothing where they make nothing further.
    fn flow_and_unfinished(
        &mut self,
        node: &Node,
        flow: Flow,
        found: &Unfinished,
    ) -> Result<Option<Value>, String> {
        let is_first = matches!(self.value(node, 0)?, Value::Flow(_));
        Ok(Some(match (node.op_type.as_str(), &found.stage) {
            ("Mul", Stage::ErfPlus1) => unfinished(flow, Stage::Doubled),
            ("Mul", Stage::HalfErfPlus1) => Value::Flow(self.push_like(node, Op::Gelu, flow)),
            ("Sub", Stage::Mean) if is_first => unfinished(flow, Stage::Centred),
            ("Div", Stage::Length) if is_first => Value::Flow(self.push_like(node, Op::L2Normalise, flow)),
            _ => return Ok(None),
        }))
    }

    fn power(&mut self, node: &Node) -> Result<Value, String> {
        let exponent = self.needed(node, 1, "exponent")?;
        let exponent = match exponent.to_floats()[..] {
            [exponent] => exponent,
            _ => return Err(node.refuse("its exponent is not one number")),
        };
        match self.value(node, 0)?.clone() {
            Value::Unfinished(Unfinished { base, stage: Stage::Centred }) if exponent == 2.0 => {
                Ok(unfinished(base, Stage::CentredSquared))
            }
            Value::Unfinished(Unfinished { base, stage: Stage::AtLeast(least) }) => {
                Ok(unfinished(base, Stage::Power(least, exponent)))
            }
            Value::Unfinished(Unfinished { base, stage: Stage::PowerMean(least, p, keeps) })
                if is_near(exponent, 1.0 / p) =>
            {
                self.generalised_mean(node, base, least, p, keeps)
            }
            Value::Flow(flow) if exponent == 2.0 => Ok(unfinished(flow, Stage::Squared)),
            _ => Err(node.refuse(
                "it is no part of a layer norm, a division by the length or generalised mean pooling",
            )),
        }
    }

    /// The mean over height and width of powers, if that is what a node takes.
    pub(super) fn power_mean(&self, node: &Node, keeps: bool) -> Result<Option<Value>, String> {
        Ok(match self.value(node, 0)? {
            Value::Unfinished(Unfinished { base, stage: Stage::Power(least, p) })
                if self.steps[base.step].is_map =>
            {
                Some(unfinished(*base, Stage::PowerMean(*least, *p, keeps)))
            }
            _ => None,
        })
    }

    /// Generalised mean pooling of the map `from`: `(mean over h, w of max(x, least)^p)^(1/p)`; `keeps` where height and
    /// width stay as 1 and 1.
    fn generalised_mean(
        &mut self,
        node: &Node,
        from: Flow,
        least: f32,
        p: f32,
        keeps: bool,
    ) -> Result<Value, String> {
        if !(is_near(least, GEM_MIN as f32) && p > 0.0) {
            return Err(node.refuse(format!(
                "generalised mean pooling with p = {p} of values of at least {least}, expected p above 0 and {GEM_MIN}"
            )));
        }
        Ok(Value::Flow(self.push_whole(node, Op::Gem { p: decimal(p), name: None, cells: 1 }, from, keeps)))
    }

    /// ReduceMean, ReduceSum, ReduceL2.
    fn reduced(&mut self, node: &Node) -> Result<Value, String> {
        let keeps = node.int("keepdims", 1)? != 0;
        let axes = self.list(node, 1, "axes")?.ok_or_else(|| node.refuse("it names no axes"))?;
        let value = self.value(node, 0)?.clone();
        let base = match &value {
            Value::Unfinished(found) => found.base,
            _ => self.materialised(node, value.clone())?,
        };
        let rank = self.rank(base) as i64;
        let mut axes: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis + rank } else { axis }).collect();
        axes.sort_unstable();
        let spatial = if base.channels_last { [1, 2] } else { [2, 3] };
        let is_spatial = rank == 4 && axes == spatial;
        let is_of_channels = axes == [self.channel_axis(base) as i64];
        match (node.op_type.as_str(), &value) {
            ("ReduceMean", _) if is_spatial => self.global_pool(node, keeps),
            ("ReduceMean", Value::Unfinished(Unfinished { stage: Stage::CentredSquared, .. })) if is_of_channels && keeps => {
                Ok(unfinished(base, Stage::Variance))
            }
            ("ReduceMean", Value::Flow(_)) if is_of_channels && keeps => Ok(unfinished(base, Stage::Mean)),
            ("ReduceSum", Value::Unfinished(Unfinished { stage: Stage::Squared, .. })) if is_of_channels && keeps => {
                Ok(unfinished(base, Stage::SquaredLength))
            }
            ("ReduceL2", Value::Flow(_)) if is_of_channels && keeps => Ok(unfinished(base, Stage::Length)),
            _ => Err(node.refuse(format!(
                "it is over the dimensions {axes:?}; expected the mean over height and width, or a part of a layer norm \
                 or of a division by the length"
            ))),
        }
    }

    /// Something unfinished that is something by itself, as the output of a step.
    pub(super) fn completed(&mut self, node: &Node, found: Unfinished) -> Result<Flow, String> {
        let Unfinished { base, stage } = found;
        let width = self.steps[base.step].width;
        let scale = match stage {
            Stage::OverRoot2 => FRAC_1_SQRT_2,
            Stage::Half => 0.5,
            Stage::Normal(eps) => {
                return self.push_layer_norm(node, base, eps, vec![1.0; width], vec![0.0; width], None);
            }
            Stage::NormalTimes(eps, weight, name) => {
                return self.push_layer_norm(node, base, eps, weight, vec![0.0; width], name);
            }
            other => return Err(node.refuse(format!("it takes a part of an operation ({})", other.name()))),
        };
        Ok(self.with_numbers(node, Work::Scale(vec![scale; width]), base, None))
    }
}

impl Stage {
    /// What it is a part of.
    fn name(&self) -> &'static str {
        match self {
            Stage::OverRoot2
            | Stage::Erf
            | Stage::ErfPlus1
            | Stage::HalfErfPlus1
            | Stage::Half
            | Stage::Doubled => "GELU",
            Stage::Mean
            | Stage::Centred
            | Stage::CentredSquared
            | Stage::Variance
            | Stage::VariancePlus(_)
            | Stage::Deviation(_)
            | Stage::Normal(_)
            | Stage::NormalTimes(..) => "layer norm",
            Stage::Squared | Stage::SquaredLength | Stage::Length => "division by the length",
            Stage::AtLeast(_) | Stage::Power(..) | Stage::PowerMean(..) => "generalised mean pooling",
        }
    }
}

fn unfinished(base: Flow, stage: Stage) -> Value {
    Value::Unfinished(Unfinished { base, stage })
}

/// A number of 32 bits as the decimal one that its owner wrote.
pub(super) fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

fn is_near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-3 * b.abs()
}
