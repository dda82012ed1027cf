//! Static quantisation to 8 bits: where, with which scales, and how weights become integers.
//!
//! Kernels are signed and symmetric with a scale for each output channel, maps unsigned with one scale and zero point each:
//! `x = scale * (q - zero)`. Where activations follow, the map behind them is quantised, so that `Relu` and `Relu6` become
//! the lower and upper end of the range and cost nothing. Vectors, which is what embeddings are, and what turns them stay
//! in 32 bits, and so do layer norms and GELU.
//!
//! In this order, on training images:
//!
//! 1. Channels are brought to a like range ([`crate::equalise`]).
//! 2. A map's range is the one that costs the least squared error over its values, found on a histogram: the largest few of
//!    a million values would otherwise decide how coarsely all others are rounded. A channel's errors count as much as the
//!    weights that read it are large.
//! 3. What rounding a kernel adds to a channel on average, which is the rounding errors of its weights times the means of
//!    what they read, is taken off its bias: bias correction, Nagel et al. (ICCV 2019), section 4.2, with means from images.

use std::collections::BTreeMap;

use crate::equalise::{Channels, Filters};
use crate::network::{Network, Op};
use crate::weights::{Tensor, Weights};
use crate::{Error, Result};

/// The largest magnitude of a quantised weight: symmetric, so -128 is not used.
const MAX_WEIGHT: f32 = 127.0;
/// The largest value of a quantised map.
const MAX_MAP: f32 = 255.0;
/// Bins of a histogram: the range is found to a percent, and each of 256 steps spans at least eight.
const N_BINS: usize = 2048;

/// How a map's values become bytes: `q = clamp(round(x / scale) + zero, 0, 255)`, halves to even.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapScale {
    /// The value of one step, above 0.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl MapScale {
    /// The scale of a range, which is widened to hold 0 (so that padding is exact).
    ///
    /// ```
    /// use sketchfind_models::quantise::MapScale;
    /// let scale = MapScale::of_range(-1.0, 4.1);
    /// assert_eq!(scale.zero, 50);
    /// assert!((scale.scale - 0.02).abs() < 1e-6);
    /// // A range from 0 has its zero at 0, and never passes its end: what stands before it can be left out.
    /// let relu6 = MapScale::of_range(0.0, 6.0);
    /// assert!(relu6.zero == 0 && 255.0 * relu6.scale <= 6.0);
    /// ```
    pub fn of_range(low: f32, high: f32) -> MapScale {
        let (low, high) = (low.min(0.0), high.max(0.0));
        // A map that is zero everywhere may have any scale.
        let width = if high - low > f32::MIN_POSITIVE { high - low } else { 1.0 };
        let mut scale = width / MAX_MAP;
        if scale * MAX_MAP > width {
            scale = scale.next_down();
        }
        MapScale { scale, zero: (-low / scale).round_ties_even().clamp(0.0, MAX_MAP) as u8 }
    }

    /// The value that comes back for `x`.
    pub fn round_trip(self, x: f32) -> f32 {
        let zero = f32::from(self.zero);
        (((x / self.scale).round_ties_even() + zero).clamp(0.0, MAX_MAP) - zero) * self.scale
    }
}

/// The values of a map seen on images: first their range, then how often each part of it occurs, or how much it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    low: f32,
    high: f32,
    counts: Vec<f64>,
}

impl Histogram {
    /// No value yet, of a map whose values lie between `low` and `high`.
    pub fn new(low: f32, high: f32) -> Histogram {
        Histogram { low: low.min(0.0), high: high.max(0.0), counts: vec![0.0; N_BINS] }
    }

    /// The number of bins.
    pub fn n_bins(&self) -> usize {
        self.counts.len()
    }

    /// The range that the bins divide.
    pub fn range(&self) -> (f32, f32) {
        (self.low, self.high)
    }

    /// Adds how many values fell into each bin of the range, each value times what it counts.
    pub fn add(&mut self, counts: impl IntoIterator<Item = f64>) {
        self.counts.iter_mut().zip(counts).for_each(|(all, more)| *all += more);
    }

    /// The scale whose range costs the least squared error. Both ends are drawn in alike, in steps of a hundredth, to no
    /// less than a fifth of the range.
    pub fn scale(&self) -> MapScale {
        let width = (self.high - self.low) / self.counts.len() as f32;
        let centres: Vec<f32> =
            (0..self.counts.len()).map(|bin| self.low + (bin as f32 + 0.5) * width).collect();
        let cost = |share: f32| {
            let scale = MapScale::of_range(self.low * share, self.high * share);
            let errors = centres.iter().zip(&self.counts).filter(|(_, count)| **count > 0.0);
            errors
                .map(|(&centre, &count)| {
                    let error = f64::from(centre - scale.round_trip(centre));
                    error * error * count
                })
                .sum::<f64>()
        };
        let shares = (20..=100).rev().map(|percent| percent as f32 / 100.0);
        let best = shares.map(|share| (share, cost(share))).min_by(|a, b| a.1.total_cmp(&b.1));
        let share = best.map_or(1.0, |(share, _)| share);
        MapScale::of_range(self.low * share, self.high * share)
    }
}

/// The nodes of a network whose maps are quantised, in order. The network is one that [`folded`](crate::fold::folded) made.
pub fn points(network: &Network) -> Vec<usize> {
    let nodes = network.nodes();
    let mut readers = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&input| readers[input].push(index));
    }
    let is_activation = |index: usize| matches!(nodes[index].op, Op::Relu | Op::Relu6);
    let makes = |index: usize| {
        matches!(
            nodes[index].op,
            Op::Conv2d { .. } | Op::Add | Op::Concat | Op::MaxPool2d { .. } | Op::AvgPool2d { .. }
        )
    };
    let takes = |index: usize| makes(index) || matches!(nodes[index].op, Op::Linear { .. });
    (0..nodes.len())
        .filter(|&index| network.is_map(index))
        .filter(|&index| !matches!(readers[index][..], [reader] if is_activation(reader)))
        .filter(|&index| {
            let maker = if is_activation(index) { nodes[index].inputs[0] } else { index };
            makes(maker) || readers[index].iter().any(|&reader| takes(reader))
        })
        .collect()
}

/// The scales of a network's quantised maps.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantisation {
    scales: BTreeMap<usize, MapScale>,
}

impl Quantisation {
    /// From the histogram of each of [`points`], but for the input's, whose range is `input`, and those of maximum
    /// poolings, which keep the scale of what they pool.
    ///
    /// # Errors
    /// [`Error::Description`] where a histogram is missing.
    pub fn new(
        network: &Network,
        input: (f32, f32),
        histograms: &BTreeMap<usize, Histogram>,
    ) -> Result<Quantisation> {
        let mut scales: BTreeMap<usize, MapScale> = BTreeMap::new();
        for index in points(network) {
            let node = &network.nodes()[index];
            let scale = match node.op {
                Op::Input => Some(MapScale::of_range(input.0, input.1)),
                Op::MaxPool2d { .. } => scales.get(&node.inputs[0]).copied(),
                _ => histograms.get(&index).map(Histogram::scale),
            };
            let scale = scale.ok_or_else(|| Error::Description {
                network: network.name().to_owned(),
                node: index,
                reason: "its values were not observed".into(),
            })?;
            scales.insert(index, scale);
        }
        Ok(Quantisation { scales })
    }

    /// The scale of a node's map, if it is quantised.
    pub fn of(&self, index: usize) -> Option<MapScale> {
        self.scales.get(&index).copied()
    }

    /// The integers of the convolution or linear layer at `index`; nothing for another operation, and for a linear layer
    /// on vectors.
    ///
    /// # Errors
    /// [`Error::WeightsDoNotFit`] where a tensor is missing.
    pub fn layer(&self, network: &Network, weights: &Weights, index: usize) -> Result<Option<Layer>> {
        let node = &network.nodes()[index];
        let name = match &node.op {
            Op::Conv2d { name, .. } => name,
            Op::Linear { name, .. } if network.is_map(index) => name,
            _ => return Ok(None),
        };
        let Some(input) = self.of(node.inputs[0]) else {
            return Ok(None);
        };
        let kernel = weights.get(&format!("{name}.weight")).ok_or_else(|| Error::WeightsDoNotFit {
            network: network.name().to_owned(),
            missing: vec![format!("{name}.weight")],
            misshapen: Vec::new(),
            unexpected: Vec::new(),
        })?;
        let bias = weights.get(&format!("{name}.bias")).map(|bias| bias.values.as_slice());
        Ok(Some(Layer::new(kernel, bias, input)))
    }

    /// The weights with the biases corrected for what rounding the kernels adds to each channel on average; `seen` is what
    /// the maps hold, by node. A layer without a bias stays as it is.
    ///
    /// # Errors
    /// Those of [`Quantisation::layer`].
    pub fn corrected(
        &self,
        network: &Network,
        weights: &Weights,
        seen: &BTreeMap<usize, Channels>,
    ) -> Result<Weights> {
        let mut corrected = weights.clone();
        for (index, node) in network.nodes().iter().enumerate() {
            let (Some(layer), Op::Conv2d { name, .. } | Op::Linear { name, .. }) =
                (self.layer(network, weights, index)?, &node.op)
            else {
                continue;
            };
            let bias_name = format!("{name}.bias");
            let (Some(bias), Some(read)) = (weights.get(&bias_name), seen.get(&node.inputs[0])) else {
                continue;
            };
            let mut added = vec![0.0; bias.values.len()];
            let mut rounded = layer.kernel.iter();
            Filters::of(network, weights, index)?.each(|filter, channel, taps| {
                let scale = f64::from(layer.scales[filter]);
                for (&weight, &integer) in taps.iter().zip(&mut rounded) {
                    added[filter] += (f64::from(integer) * scale - f64::from(weight)) * read.mean[channel];
                }
            });
            let values =
                bias.values.iter().zip(&added).map(|(&bias, added)| (f64::from(bias) - added) as f32);
            let values = values.collect();
            corrected.insert(&bias_name, Tensor::new(bias.shape.clone(), values)?);
        }
        Ok(corrected)
    }

    /// The weights that a network has after their way through integers and back: with them and with maps that go through
    /// [`MapScale::round_trip`], 32-bit arithmetic computes what the integers compute.
    ///
    /// # Errors
    /// Those of [`Quantisation::layer`].
    pub fn round_trip(&self, network: &Network, weights: &Weights) -> Result<Weights> {
        let mut rounded = weights.clone();
        for (index, node) in network.nodes().iter().enumerate() {
            let (Some(layer), Op::Conv2d { name, .. } | Op::Linear { name, .. }) =
                (self.layer(network, weights, index)?, &node.op)
            else {
                continue;
            };
            let shape = node.op.parameters()[0].shape.clone();
            rounded.insert(&format!("{name}.weight"), Tensor::new(shape, layer.kernel_values())?);
            if let Some(values) = layer.bias_values() {
                rounded.insert(&format!("{name}.bias"), Tensor::new(vec![values.len()], values)?);
            }
        }
        Ok(rounded)
    }
}

/// A convolution's or linear layer's integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The kernel, in the order of the tensor.
    pub kernel: Vec<i8>,
    /// The scale of each output channel.
    pub scales: Vec<f32>,
    /// The bias, with the scales `bias_scales`.
    pub bias: Option<Vec<i32>>,
    /// The scale of the input times that of the channel.
    pub bias_scales: Vec<f32>,
}

impl Layer {
    fn new(kernel: &Tensor, bias: Option<&[f32]>, input: MapScale) -> Layer {
        let n_channels = kernel.shape.first().copied().unwrap_or(1);
        let filter_len = (kernel.values.len() / n_channels.max(1)).max(1);
        let (mut integers, mut scales) = (Vec::with_capacity(kernel.values.len()), Vec::new());
        for (channel, filter) in kernel.values.chunks(filter_len).enumerate() {
            let largest = filter.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            // A channel of tiny weights may have a bias that its scale cannot hold in 31 bits: the scale grows, the
            // weights round to nothing, which next to such a bias they are.
            let bias = bias.map_or(0.0, |bias| bias[channel].abs());
            let least = (bias / input.scale / (1 << 30) as f32).max(f32::MIN_POSITIVE / input.scale);
            let scale = (largest / MAX_WEIGHT).max(least);
            let to_integer =
                |value: &f32| (value / scale).round_ties_even().clamp(-MAX_WEIGHT, MAX_WEIGHT) as i8;
            integers.extend(filter.iter().map(to_integer));
            scales.push(scale);
        }
        let bias_scales: Vec<f32> = scales.iter().map(|scale| scale * input.scale).collect();
        let to_integer =
            |(value, scale): (&f32, &f32)| (f64::from(*value) / f64::from(*scale)).round_ties_even() as i32;
        let bias = bias.map(|bias| bias.iter().zip(&bias_scales).map(to_integer).collect());
        Layer { kernel: integers, scales, bias, bias_scales }
    }

    fn kernel_values(&self) -> Vec<f32> {
        let filter_len = (self.kernel.len() / self.scales.len().max(1)).max(1);
        let filters = self.kernel.chunks(filter_len).zip(&self.scales);
        filters
            .flat_map(|(filter, scale)| filter.iter().map(move |&value| f32::from(value) * scale))
            .collect()
    }

    fn bias_values(&self) -> Option<Vec<f32>> {
        let bias = self.bias.as_ref()?;
        Some(bias.iter().zip(&self.bias_scales).map(|(&value, scale)| value as f32 * scale).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{folded, tests::ones};
    use crate::network::Head;
    use sketchfind_core::random::Stream;

    #[test]
    fn a_round_trip_is_off_by_half_a_step_at_most() {
        let mut stream = Stream::new(1, "values", &[]);
        for (low, high) in [(-1.0_f32, 3.0_f32), (0.0, 6.0), (-2.0, 0.0), (0.5, 2.0), (-1e-3, 1e3)] {
            let scale = MapScale::of_range(low, high);
            assert_eq!(scale.round_trip(0.0), 0.0);
            for _ in 0..1000 {
                let x = low + (high - low) * stream.unit() as f32;
                let error = (scale.round_trip(x) - x).abs();
                // One step at the ends, where the zero point's own rounding shows.
                assert!(error <= scale.scale * 1.001, "{x} in {low} to {high}: {error}");
            }
        }
        assert_eq!(MapScale::of_range(0.0, 0.0).round_trip(0.0), 0.0);
    }

    /// By hand: to end at c costs `3 (10 - c)^2` for what is cut off and `10^6 (c / 255)^2 / 12` for rounding, the least
    /// at c = 30 / (3 + 10^6 / (12 * 255^2)) = 7.0.
    #[test]
    fn rare_outliers_do_not_decide_the_range() {
        let mut histogram = Histogram::new(0.0, 10.0);
        // A million values up to 1, three at the end.
        let mut counts = vec![0.0; histogram.n_bins()];
        counts[..N_BINS / 10].fill(1e6 / (N_BINS / 10) as f64);
        counts[N_BINS - 1] = 3.0;
        histogram.add(counts);
        let scale = histogram.scale();
        assert!((scale.scale * 255.0 - 7.0).abs() < 0.25, "{scale:?}");
        assert_eq!(scale.zero, 0);
        // Without them the whole range is used.
        let mut uniform = Histogram::new(-1.0, 1.0);
        uniform.add(vec![10.0; N_BINS]);
        assert!(uniform.scale().scale * 255.0 > 1.9);
    }

    #[test]
    fn weights_keep_their_size_and_tiny_channels_their_bias() {
        let kernel = Tensor::new(vec![3, 2, 1, 1], vec![1.0, -0.5, 1e-30, 0.0, 0.0, 0.0]).unwrap();
        let layer = Layer::new(&kernel, Some(&[0.5, 2.0, -3.0]), MapScale { scale: 0.01, zero: 0 });
        assert_eq!(layer.kernel[..2], [127, -64]);
        let values = layer.kernel_values();
        assert!((values[0] - 1.0).abs() < 1e-6 && (values[1] + 0.5).abs() < 1.0 / 254.0);
        for (value, expected) in layer.bias_values().unwrap().iter().zip([0.5, 2.0, -3.0]) {
            assert!((value - expected).abs() < 1e-4, "{value} {expected}");
        }
    }

    /// 0.3 of a largest weight of 1 becomes 38 / 127: off by -0.00079, which a mean of 10 makes a shift of every output.
    #[test]
    fn what_rounding_adds_on_average_is_taken_off_the_bias() {
        let mut b = crate::network::builder::Builder::new();
        let x = b.conv("conv", b.input(), 3, 1, 1, 1, 0, 1, true);
        let x = b.relu(x);
        b.global_avg_pool(x);
        let network = Network::new("small", b.finish()).unwrap();
        let kernel = [0.3, 1.0, -0.7];
        let mut weights = Weights::default();
        weights.insert("conv.weight", Tensor::new(vec![1, 3, 1, 1], kernel.to_vec()).unwrap());
        weights.insert("conv.bias", Tensor::new(vec![1], vec![0.25]).unwrap());
        let mut histogram = Histogram::new(0.0, 1.0);
        histogram.add(vec![1.0; histogram.n_bins()]);
        let scales = Quantisation::new(&network, (-2.0, 2.0), &BTreeMap::from([(2, histogram)])).unwrap();
        let mean = [10.0, 3.0, -2.0];
        let input = Channels {
            low: vec![-20.0; 3],
            high: vec![20.0; 3],
            magnitude: vec![20.0; 3],
            mean: mean.to_vec(),
        };
        let corrected = scales.corrected(&network, &weights, &BTreeMap::from([(0, input)])).unwrap();
        assert_eq!(corrected.get("conv.weight"), weights.get("conv.weight"));
        let rounded = scales.layer(&network, &corrected, 1).unwrap().unwrap().kernel_values();
        let output = |kernel: &[f32], bias: f32| {
            f64::from(bias) + kernel.iter().zip(mean).map(|(&w, mean)| f64::from(w) * mean).sum::<f64>()
        };
        let bias = corrected.get("conv.bias").unwrap().values[0];
        assert!((bias - 0.25).abs() > 1e-3, "{bias}");
        assert!((output(&rounded, bias) - output(&kernel, 0.25)).abs() < 1e-6);
    }

    /// Every map between a network's quantised operations is a point, an inner one before an activation is none.
    #[test]
    fn the_points_of_a_resnet() {
        let network = Network::by_name("resnet18", Head::Embedding).unwrap();
        let (network, _) = folded(&network, &ones(&network)).unwrap();
        let points = points(&network);
        // Input, 1 + 16 convolutions and sums behind ReLU, maximum pooling, second convolutions and projections: by
        // block 3, and 3 projections.
        assert_eq!(points.len(), 1 + 1 + 1 + 8 * 3 + 3);
        for &point in &points {
            let readers = network.nodes().iter().filter(|node| node.inputs.contains(&point));
            assert!(!readers.into_iter().all(|node| node.op == Op::Relu), "{point}");
        }
        for name in Network::names() {
            let network = Network::by_name(name, Head::Embedding).unwrap();
            let (network, _) = folded(&network, &ones(&network)).unwrap();
            let points = super::points(&network);
            for (index, node) in network.nodes().iter().enumerate() {
                if let Op::Conv2d { .. } = node.op {
                    assert!(points.contains(&node.inputs[0]), "{name}, {index}: {node:?}");
                }
            }
        }
    }
}
