//! Runs a described network with libtorch.

use std::collections::BTreeMap;

use sketchfind_models::network::{GEM_MIN, Network, Node, Op, Padding, ParameterKind};
use sketchfind_models::weights::{Tensor as WeightTensor, Weights};
use tch::Tensor;

use crate::config::{BatchNorm, Features, Rates, TrainingPrecision};
use crate::{Error, Result};

/// How batch norms' running statistics follow batches: torch's and torchvision's default.
const STATISTICS_MOMENTUM: f64 = 0.1;

/// A network whose tensors live on a device.
#[derive(Debug)]
pub struct TorchNetwork {
    network: Network,
    device: tch::Device,
    /// Trained tensors, leaves of the gradient graph, in the order of the network's parameters.
    trained: Vec<Tensor>,
    /// Running means and variances, in that order, then parameters that are not trained.
    statistics: Vec<Tensor>,
    /// Where each parameter's tensor stands.
    places: BTreeMap<String, (ParameterKind, usize)>,
    /// For each node, the batch norm that may be folded into it.
    norms_behind: Vec<Option<usize>>,
    precision: TrainingPrecision,
    channels_last: bool,
}

impl TorchNetwork {
    /// A network with `weights` on `device`.
    ///
    /// # Errors
    /// [`crate::Error::Models`] where the weights do not fit; [`crate::Error::Torch`].
    pub fn new(network: &Network, weights: &Weights, device: tch::Device) -> Result<TorchNetwork> {
        weights.check_fit(network)?;
        let (mut trained, mut statistics, mut places) = (Vec::new(), Vec::new(), BTreeMap::new());
        for parameter in network.parameters() {
            let Some(tensor) = weights.get(&parameter.name) else {
                continue; // check_fit has found every one
            };
            let shape: Vec<i64> = tensor.shape.iter().map(|&size| size as i64).collect();
            let tensor = Tensor::f_from_slice(&tensor.values)?.f_reshape(shape)?.f_to_device(device)?;
            let list = match parameter.kind {
                ParameterKind::Trained => &mut trained,
                ParameterKind::Statistic => &mut statistics,
            };
            places.insert(parameter.name, (parameter.kind, list.len()));
            list.push(match parameter.kind {
                ParameterKind::Trained => tensor.f_set_requires_grad(true)?,
                ParameterKind::Statistic => tensor,
            });
        }
        let norms_behind = (0..network.nodes().len()).map(|node| network.norm_behind(node)).collect();
        Ok(TorchNetwork {
            network: network.clone(),
            device,
            trained,
            statistics,
            places,
            norms_behind,
            precision: TrainingPrecision::Fp32,
            channels_last: false,
        })
    }

    /// Has training compute with maps of another precision or order in memory; see [`TrainingPrecision`].
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn with_arithmetic(
        mut self,
        precision: TrainingPrecision,
        channels_last: bool,
    ) -> Result<TorchNetwork> {
        self.precision = precision;
        self.channels_last = channels_last;
        if channels_last {
            for tensor in &mut self.trained {
                if tensor.dim() == 4 {
                    let moved = tch::no_grad(|| to_channels_last(tensor))?;
                    *tensor = moved.f_detach()?.f_set_requires_grad(true)?;
                }
            }
        }
        Ok(self)
    }

    /// Has training leave parameters as they are whose factor is 0, and nothing computed for their gradients. Returns the
    /// factors of those that are trained, in their order ([`TorchNetwork::trained`]).
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn with_rates(mut self, rates: &Rates) -> Result<(TorchNetwork, Vec<f64>)> {
        let stages = self.network.stages();
        let factor = |name: &str| rates.factor(stages.get(name));
        let mut trained = Vec::new();
        let mut factors = Vec::new();
        for parameter in self.network.parameters() {
            let Some(place) = self.places.get_mut(&parameter.name) else { continue };
            if place.0 == ParameterKind::Statistic {
                continue;
            }
            let tensor = self.trained[place.1].shallow_clone();
            if factor(&parameter.name) > 0.0 {
                place.1 = trained.len();
                trained.push(tensor);
                factors.push(factor(&parameter.name));
            } else {
                *place = (ParameterKind::Statistic, self.statistics.len());
                self.statistics.push(tensor.f_detach()?);
            }
        }
        self.trained = trained;
        Ok((self, factors))
    }

    /// The description.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The device.
    pub fn device(&self) -> tch::Device {
        self.device
    }

    /// The trained tensors.
    pub fn trained(&self) -> &[Tensor] {
        &self.trained
    }

    /// The trained tensors, to be updated in place.
    pub fn trained_mut(&mut self) -> &mut [Tensor] {
        &mut self.trained
    }

    /// The running means and variances, and parameters that are not trained.
    pub fn statistics(&self) -> &[Tensor] {
        &self.statistics
    }

    /// Embeds a batch as a training step does, in the network's precision, so that gradients can be taken.
    ///
    /// With [`BatchNorm::Frozen`], which is also how a network is evaluated, a batch norm behind a convolution is
    /// multiplied into its kernel and bias first: the same function and the same gradients, without passing over
    /// the feature map again. With [`BatchNorm::Training`] the running statistics are updated.
    ///
    /// # Shapes
    /// `images`: `[n, 3, h, w]`; returns `[n, output_width]`.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn forward(&self, images: &Tensor, batch_norm: BatchNorm) -> Result<Tensor> {
        self.run(images, batch_norm, self.precision, self.network.nodes().len(), &mut |_, output| Ok(output))
    }

    /// Computes embeddings as evaluation does and shows the output of every node, by its index, to `through`, whose tensor
    /// takes its place.
    ///
    /// # Shapes
    /// `images`: `[n, 3, h, w]`; returns `[n, output_width]`.
    ///
    /// # Errors
    /// [`crate::Error::Torch`]; those of `through`.
    pub fn forward_through(
        &self,
        images: &Tensor,
        through: &mut dyn FnMut(usize, Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let n_nodes = self.network.nodes().len();
        tch::no_grad(|| self.run(images, BatchNorm::Frozen, TrainingPrecision::Fp32, n_nodes, through))
    }

    /// As [`TorchNetwork::forward`], in 32 bits whatever the precision: for weights that differ from others by less
    /// than bf16's 8 bits can tell.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn forward_exactly(&self, images: &Tensor, batch_norm: BatchNorm) -> Result<Tensor> {
        let n_nodes = self.network.nodes().len();
        self.run(images, batch_norm, TrainingPrecision::Fp32, n_nodes, &mut |_, output| Ok(output))
    }

    /// Computes features as evaluation does: frozen batch norms, 32 bits, no gradients.
    ///
    /// # Shapes
    /// `images`: `[n, 3, h, w]`; returns `[n, output_width]`, or `[n, c * h' * w']` for the flattened map of the last
    /// convolution.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn features(&self, images: &Tensor, features: Features) -> Result<Tensor> {
        let nodes = self.network.nodes();
        let is_pooling = |node: &Node| matches!(node.op, Op::GlobalAvgPool | Op::Gem { .. });
        let pool = nodes.iter().rposition(is_pooling).unwrap_or(nodes.len());
        tch::no_grad(|| match features {
            Features::Pooled => {
                self.run(images, BatchNorm::Frozen, TrainingPrecision::Fp32, nodes.len(), &mut |_, output| {
                    Ok(output)
                })
            }
            Features::Flattened => Ok(self
                .run(
                    images,
                    BatchNorm::Frozen,
                    TrainingPrecision::Fp32,
                    nodes.get(pool).map_or(pool, |n| n.inputs[0] + 1),
                    &mut |_, output| Ok(output),
                )?
                .f_flatten(1, -1)?),
        })
    }

    /// Runs the first `n_nodes` nodes.
    fn run(
        &self,
        images: &Tensor,
        batch_norm: BatchNorm,
        precision: TrainingPrecision,
        n_nodes: usize,
        through: &mut dyn FnMut(usize, Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let nodes = &self.network.nodes()[..n_nodes];
        let images = &if self.channels_last { to_channels_last(images)? } else { images.shallow_clone() };
        let cast = |tensor: &Tensor| match precision {
            TrainingPrecision::Fp32 => Ok(tensor.shallow_clone()),
            TrainingPrecision::Bf16 => tensor.f_to_kind(tch::Kind::BFloat16),
        };
        let mut outputs: Vec<Option<Tensor>> = Vec::with_capacity(nodes.len());
        // An output is dropped after its last reader, so that inference does not hold every map.
        let mut last_reader = vec![0; nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&input| last_reader[input] = index);
        }
        for (index, node) in nodes.iter().enumerate() {
            let input = |position: usize| -> &Tensor {
                // Network::new has checked that inputs are earlier nodes, and last_reader keeps them until here.
                outputs[node.inputs[position]].as_ref().unwrap_or(images)
            };
            let output = match &node.op {
                Op::Input => images.shallow_clone(),
                Op::Conv2d { name, kernel: size, stride, padding, groups, .. } => {
                    let norm = self.norms_behind[index].filter(|_| batch_norm == BatchNorm::Frozen);
                    let (kernel, bias) = match norm {
                        Some(norm) => self.folded(name, &nodes[norm].op)?,
                        None => (self.get(name, "weight").shallow_clone(), self.optional(name, "bias")),
                    };
                    let pair = |values: &[usize; 2]| values.map(|value| value as i64);
                    let (kernel, bias) = (cast(&kernel)?, bias.map(|bias| cast(&bias)).transpose()?);
                    let (map, padding) = padded(&cast(input(0))?, *padding, *size, *stride)?;
                    map.f_conv2d(&kernel, bias, pair(stride), padding, [1, 1], *groups as i64)?
                }
                Op::BatchNorm2d { name, eps, .. } => {
                    // A frozen stage keeps its statistics too.
                    let is_trained = self.places[&format!("{name}.weight")].0 == ParameterKind::Trained;
                    let is_folded = self.norms_behind[node.inputs[0]] == Some(index);
                    if is_folded && batch_norm == BatchNorm::Frozen {
                        input(0).shallow_clone()
                    } else {
                        input(0).f_batch_norm(
                            Some(self.get(name, "weight")),
                            Some(self.get(name, "bias")),
                            Some(self.get(name, "running_mean")),
                            Some(self.get(name, "running_var")),
                            batch_norm == BatchNorm::Training && is_trained,
                            STATISTICS_MOMENTUM,
                            *eps,
                            true,
                        )?
                    }
                }
                Op::LayerNorm { name, channels, eps } => {
                    let (weight, bias) = (self.get(name, "weight"), self.get(name, "bias"));
                    over_channels(input(0), |places| {
                        let places = widened(places)?;
                        Ok(places.f_layer_norm([*channels as i64], Some(weight), Some(bias), *eps, true)?)
                    })?
                }
                Op::ChannelScale { name, .. } => cast(input(0))?.f_mul(&cast(self.tensor(name))?)?,
                Op::Relu => input(0).f_relu()?,
                Op::Gelu => input(0).f_gelu("none")?,
                Op::Relu6 => input(0).f_relu6()?,
                Op::MaxPool2d { kernel, stride, padding, ceil_mode } => {
                    let pair = |values: &[usize; 2]| values.map(|value| value as i64);
                    input(0).f_max_pool2d(pair(kernel), pair(stride), pair(padding), [1, 1], *ceil_mode)?
                }
                Op::AvgPool2d { kernel, stride, padding } => {
                    let pair = |values: &[usize; 2]| values.map(|value| value as i64);
                    input(0).f_avg_pool2d(pair(kernel), pair(stride), pair(padding), false, true, None)?
                }
                Op::Gem { p, name, cells } => {
                    let clamped = widened(input(0))?.f_clamp_min(GEM_MIN)?;
                    let mean = |map: Tensor| match cells {
                        1 => map.f_mean_dim(&[2_i64, 3][..], false, None::<tch::Kind>),
                        _ => map.f_contiguous()?.f_adaptive_avg_pool2d([*cells as i64; 2])?.f_flatten(1, -1),
                    };
                    match name {
                        None => mean(clamped.f_pow_tensor_scalar(*p)?)?.f_pow_tensor_scalar(1.0 / p)?,
                        Some(name) => {
                            let p = self.tensor(name);
                            mean(clamped.f_pow(p)?)?.f_pow(&p.f_reciprocal()?)?
                        }
                    }
                }
                // Embeddings and what follows are 32-bit.
                Op::GlobalAvgPool => widened(input(0))?.f_mean_dim(&[2_i64, 3][..], false, None)?,
                Op::Flatten { size } => {
                    let map = input(0);
                    if map.size()[2..] != size.map(|size| size as i64) {
                        return Err(Error::MapSize { expected: *size, got: map.size() });
                    }
                    widened(map)?.f_flatten(1, -1)?
                }
                Op::Add => input(0).f_add(input(1))?,
                Op::Concat => {
                    let maps: Vec<&Tensor> = (0..node.inputs.len()).map(input).collect();
                    Tensor::f_cat(&maps, 1)?
                }
                Op::L2Normalise => {
                    let norm = input(0).f_norm_scalaropt_dim(2.0, [1_i64], true)?;
                    input(0).f_div(&norm.f_clamp_min(1e-12)?)?
                }
                Op::Linear { name, .. } => {
                    let (weight, bias) = (self.get(name, "weight"), self.optional(name, "bias"));
                    if input(0).dim() == 2 {
                        input(0).f_linear(weight, bias)?
                    } else {
                        let (weight, bias) = (cast(weight)?, bias.map(|bias| cast(&bias)).transpose()?);
                        over_channels(
                            &cast(input(0))?,
                            |places| Ok(places.f_linear(&weight, bias.as_ref())?),
                        )?
                    }
                }
            };
            outputs.push(Some(through(index, output)?));
            for &read in &node.inputs {
                if last_reader[read] == index {
                    outputs[read] = None;
                }
            }
        }
        Ok(outputs.pop().flatten().unwrap_or_else(|| images.shallow_clone()))
    }

    /// The weights as they are now.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn weights(&self) -> Result<Weights> {
        let mut tensors = BTreeMap::new();
        for (name, &(kind, index)) in &self.places {
            let tensor = match kind {
                ParameterKind::Trained => &self.trained[index],
                ParameterKind::Statistic => &self.statistics[index],
            };
            tensors.insert(name.clone(), to_weight(tensor)?);
        }
        Ok(Weights::new(tensors))
    }

    /// A convolution's kernel and bias with the batch norm behind it, as functions of all their parameters:
    /// `w * g / sqrt(v + eps)` and `beta + (b - mean) * g / sqrt(v + eps)`.
    fn folded(&self, conv: &str, norm: &Op) -> Result<(Tensor, Option<Tensor>)> {
        let Op::BatchNorm2d { name, eps, .. } = norm else {
            return Ok((self.get(conv, "weight").shallow_clone(), self.optional(conv, "bias")));
        };
        let scale = self.get(name, "running_var").f_add_scalar(*eps)?.f_rsqrt()?;
        let scale = scale.f_mul(self.get(name, "weight"))?;
        let mean = self.get(name, "running_mean");
        let shift = match self.optional(conv, "bias") {
            Some(bias) => bias.f_sub(mean)?,
            None => mean.f_neg()?,
        };
        let bias = shift.f_mul(&scale)?.f_add(self.get(name, "bias"))?;
        let kernel = self.get(conv, "weight").f_mul(&scale.f_reshape([-1, 1, 1, 1])?)?;
        Ok((kernel, Some(bias)))
    }

    fn get(&self, name: &str, part: &str) -> &Tensor {
        self.tensor(&format!("{name}.{part}"))
    }

    fn tensor(&self, name: &str) -> &Tensor {
        let (kind, index) = self.places[name];
        match kind {
            ParameterKind::Trained => &self.trained[index],
            ParameterKind::Statistic => &self.statistics[index],
        }
    }

    fn optional(&self, name: &str, part: &str) -> Option<Tensor> {
        let name = format!("{name}.{part}");
        self.places.contains_key(&name).then(|| self.tensor(&name).shallow_clone())
    }
}

/// A bf16 tensor in 32 bits; others as they are.
fn widened(tensor: &Tensor) -> std::result::Result<Tensor, tch::TchError> {
    if tensor.kind() == tch::Kind::BFloat16 {
        tensor.f_to_kind(tch::Kind::Float)
    } else {
        Ok(tensor.shallow_clone())
    }
}

/// A map and the padding that its convolution still has to add: uneven padding is added here.
fn padded(
    map: &Tensor,
    padding: Padding,
    kernel: [usize; 2],
    stride: [usize; 2],
) -> Result<(Tensor, [i64; 2])> {
    let size = map.size();
    let [(top, bottom), (left, right)] = [0, 1]
        .map(|dim| padding.around(size[2 + dim] as usize, dim, kernel[dim], stride[dim]))
        .map(|(before, behind)| (before as i64, behind as i64));
    if (top, left) == (bottom, right) {
        return Ok((map.shallow_clone(), [top, left]));
    }
    Ok((map.f_constant_pad_nd([left, right, top, bottom])?, [0, 0]))
}

/// Has the channels of each place of a map `[n, c, h, w]`, or of each vector `[n, c]`, as the last dimension.
fn over_channels(tensor: &Tensor, of_places: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if tensor.dim() == 2 {
        return of_places(tensor);
    }
    Ok(of_places(&tensor.f_permute([0, 2, 3, 1])?)?.f_permute([0, 3, 1, 2])?)
}

/// The same tensor `[n, c, h, w]`, with the channels of a pixel beside each other in memory.
fn to_channels_last(tensor: &Tensor) -> std::result::Result<Tensor, tch::TchError> {
    tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// A tensor of its own with the same values in the same order in memory, outside of the gradient graph.
///
/// # Errors
/// [`crate::Error::Torch`].
pub(crate) fn copied(tensor: &Tensor) -> Result<Tensor> {
    let tensor = tensor.f_detach()?;
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(&tensor)?;
    Ok(copy)
}

/// A tensor's values and shape.
///
/// # Errors
/// [`crate::Error::Torch`].
pub fn to_weight(tensor: &Tensor) -> Result<WeightTensor> {
    let shape: Vec<usize> = tensor.size().iter().map(|&size| size as usize).collect();
    let values = to_values(tensor)?;
    Ok(WeightTensor::new(shape, values)?)
}

/// A tensor's values, row-major.
///
/// # Errors
/// [`crate::Error::Torch`].
pub fn to_values(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat =
        tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(tch::Kind::Float)?.f_contiguous()?;
    let mut values = vec![0.0; flat.numel()];
    flat.f_copy_data(&mut values, flat.numel())?;
    Ok(values)
}

#[cfg(test)]
impl TorchNetwork {
    /// The same network in 64 bits, for tests of formulas.
    pub(crate) fn in_double(mut self) -> TorchNetwork {
        for tensor in self.trained.iter_mut() {
            *tensor = tensor.detach().to_kind(tch::Kind::Double).set_requires_grad(true);
        }
        self.statistics.iter_mut().for_each(|tensor| *tensor = tensor.to_kind(tch::Kind::Double));
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sketchfind_models::network::builder::Builder;

    /// Every operation that has parameters, a batch norm that cannot be folded, and a shortcut.
    pub(crate) fn small_network() -> Network {
        let mut b = Builder::new();
        let x = b.conv("conv1", b.input(), 3, 8, 3, 2, 1, 1, true);
        let x = b.batch_norm("bn1", x, 8);
        let x = b.relu6(x);
        let y = b.conv("conv2", x, 8, 8, 3, 1, 1, 8, false);
        let y = b.batch_norm("bn2", y, 8);
        let x = b.sum(x, y);
        let x = b.batch_norm("bn3", x, 8);
        let x = b.relu(x);
        let x = b.max_pool(x, 3, 2, 1);
        let x = b.global_avg_pool(x);
        b.linear("head", x, 8, 5);
        Network::new("small", b.finish()).unwrap()
    }

    fn images(n: i64) -> Tensor {
        tch::manual_seed(1);
        Tensor::randn([n, 3, 16, 16], (tch::Kind::Float, tch::Device::Cpu))
    }

    /// Folding is not an approximation: outputs and gradients equal those of separate batch norms, which
    /// BatchNorm::Training uses. Its statistics are made equal to the batch's first.
    #[test]
    fn folded_batch_norms_give_the_same_outputs_and_gradients() {
        let network = small_network();
        let weights = Weights::random(&network, 1);
        let torch = TorchNetwork::new(&network, &weights, tch::Device::Cpu).unwrap();
        let mut separate = TorchNetwork::new(&network, &weights, tch::Device::Cpu).unwrap();
        separate.norms_behind.iter_mut().for_each(|norm| *norm = None);
        let images = images(4);
        let run = |torch: &TorchNetwork| {
            let output = torch.forward(&images, BatchNorm::Frozen).unwrap();
            let gradients =
                Tensor::run_backward(&[output.square().sum(tch::Kind::Float)], torch.trained(), false, false);
            (output, gradients)
        };
        let ((ours, our_gradients), (theirs, their_gradients)) = (run(&torch), run(&separate));
        assert_eq!(ours.size(), [4, 5]);
        let difference = |a: &Tensor, b: &Tensor| ((a - b).abs().max() / b.abs().max()).double_value(&[]);
        assert!(difference(&ours, &theirs) < 1e-5);
        assert_eq!(our_gradients.len(), their_gradients.len());
        for (ours, theirs) in our_gradients.iter().zip(&their_gradients) {
            assert!(difference(ours, theirs) < 1e-4, "{ours} {theirs}");
        }
    }

    /// Generalised means over parts of a map that are not all of one size, and their gradient for the exponent.
    #[test]
    fn pooling_by_cells_is_the_mean_of_powers() {
        use sketchfind_models::network::Op;
        let mut b = Builder::new();
        let x = b.conv("conv", b.input(), 3, 3, 1, 1, 0, 1, false);
        b.add_op(Op::Gem { p: 3.0, name: Some("gem.p".into()), cells: 2 }, vec![x]);
        let network = Network::new("pooled", b.finish()).unwrap();
        let mut weights = Weights::random(&network, 1);
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let kernel = WeightTensor::new(vec![3, 3, 1, 1], identity.to_vec()).unwrap();
        weights.insert("conv.weight", kernel);
        let torch = TorchNetwork::new(&network, &weights, tch::Device::Cpu).unwrap();
        let images = Tensor::rand([2, 3, 5, 6], (tch::Kind::Float, tch::Device::Cpu));
        let output = torch.forward(&images, BatchNorm::Frozen).unwrap();
        assert_eq!(output.size(), [2, 12]);
        let mean = |p: f64, rows: std::ops::Range<i64>, columns: std::ops::Range<i64>| {
            let n = ((rows.end - rows.start) * (columns.end - columns.start)) as f64;
            let places = rows.flat_map(|y| columns.clone().map(move |x| (y, x)));
            let sum: f64 = places.map(|(y, x)| images.double_value(&[1, 2, y, x]).max(1e-6).powf(p)).sum();
            (sum / n).powf(1.0 / p)
        };
        // Of five rows the middle one belongs to both halves.
        for (cell, rows, columns) in [(0, 0..3, 0..3), (1, 0..3, 3..6), (2, 2..5, 0..3), (3, 2..5, 3..6)] {
            let got = output.double_value(&[1, 8 + cell]);
            assert!((got - mean(3.0, rows, columns)).abs() < 1e-5, "{cell}: {got}");
        }
        let gradients = Tensor::run_backward(&[output.get(1).get(8)], torch.trained(), false, false);
        let slope = (mean(3.001, 0..3, 0..3) - mean(2.999, 0..3, 0..3)) / 0.002;
        assert!((gradients[1].double_value(&[0]) - slope).abs() < 1e-4, "{slope}");
    }

    #[test]
    fn training_mode_moves_the_running_statistics_and_frozen_does_not() {
        let network = small_network();
        let weights = Weights::random(&network, 1);
        let torch = TorchNetwork::new(&network, &weights, tch::Device::Cpu).unwrap();
        let _ = torch.forward(&images(4), BatchNorm::Frozen).unwrap();
        assert_eq!(torch.weights().unwrap().get("bn1.running_mean"), weights.get("bn1.running_mean"));
        let _ = torch.forward(&images(4), BatchNorm::Training).unwrap();
        assert_ne!(torch.weights().unwrap().get("bn1.running_mean"), weights.get("bn1.running_mean"));
        assert_eq!(torch.weights().unwrap().get("conv1.weight"), weights.get("conv1.weight"));
    }

    #[test]
    fn other_arithmetic_computes_the_same_function() {
        let network = small_network();
        let weights = Weights::random(&network, 1);
        let torch = || TorchNetwork::new(&network, &weights, tch::Device::Cpu).unwrap();
        let images = images(4);
        let gradients = |torch: &TorchNetwork, batch_norm| {
            let output = torch.forward(&images, batch_norm).unwrap();
            assert_eq!(output.kind(), tch::Kind::Float);
            let loss = output.square().sum(tch::Kind::Float);
            (output.shallow_clone(), Tensor::run_backward(&[loss], torch.trained(), false, false))
        };
        let difference = |a: &Tensor, b: &Tensor| ((a - b).abs().max() / b.abs().max()).double_value(&[]);
        for batch_norm in [BatchNorm::Frozen, BatchNorm::Training] {
            let (expected, expected_gradients) = gradients(&torch(), batch_norm);
            // bfloat16 has 8 bits of precision.
            for (precision, channels_last, tolerance) in [
                (TrainingPrecision::Fp32, true, 1e-5),
                (TrainingPrecision::Bf16, false, 0.05),
                (TrainingPrecision::Bf16, true, 0.05),
            ] {
                let other = torch().with_arithmetic(precision, channels_last).unwrap();
                let (output, other_gradients) = gradients(&other, batch_norm);
                assert!(difference(&output, &expected) < tolerance, "{precision:?} {channels_last}");
                assert!(other_gradients.iter().all(|gradient| gradient.kind() == tch::Kind::Float));
                // Over all tensors: the bias before a batch norm has no gradient but rounding.
                let flat = |tensors: &[Tensor]| {
                    Tensor::cat(&tensors.iter().map(|tensor| tensor.flatten(0, -1)).collect::<Vec<_>>(), 0)
                };
                let (ours, theirs) = (flat(&other_gradients), flat(&expected_gradients));
                let left = ((&ours - &theirs).norm() / theirs.norm()).double_value(&[]);
                assert!(left < 2.0 * tolerance, "{precision:?} {channels_last}: gradient off by {left}");
                let stored = other.weights().unwrap();
                assert_eq!(stored.get("conv1.weight"), weights.get("conv1.weight"));
                // Evaluation is 32-bit whatever training is.
                let (ours, theirs) =
                    (other.features(&images, Features::Pooled), torch().features(&images, Features::Pooled));
                if batch_norm == BatchNorm::Frozen {
                    assert!(difference(&ours.unwrap(), &theirs.unwrap()) < 1e-5);
                }
            }
        }
    }
}
