//! Channels of a map brought to a like range before they share one 8-bit scale.
//!
//! A channel may be multiplied by any positive factor where it is made, if those who read it divide by it: what is between
//! them (ReLU, pooling, sums of channels that have the same factor) passes it on. So the factors are free, and are chosen
//! such that no channel lives in the lowest few of 256 steps: Nagel, van Baalen, Blankevoort, Welling, 'Data-Free
//! Quantization Through Weight Equalization and Bias Correction' (ICCV 2019), with ranges of channels from images in the
//! place of those of batch norms. What a range of maps gains, the kernels that divide lose; the two share it evenly, as
//! Xiao et al., 'SmoothQuant' (ICML 2023), equation 4, has it: the factor of a channel is `sqrt(w / a)`, with `a` its
//! largest value and `w` the largest weight that reads it.
//!
//! `min(x, 6)` does not pass factors on. A channel behind it whose values stay below 6 may still grow until they reach
//! it, with a third in reserve: only values that no training image came near are cut off. It never shrinks.

use std::collections::BTreeMap;

use crate::network::{Network, Op};
use crate::weights::{Tensor, Weights};
use crate::{Error, Result};

/// Where Relu6 ends.
const SIX: f32 = 6.0;
/// How far above what was seen a channel behind Relu6 may still reach: our choice.
const RESERVE: f32 = 1.3;

/// What the channels of a map were seen to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Channels {
    /// The smallest value of each.
    pub low: Vec<f32>,
    /// The largest value of each.
    pub high: Vec<f32>,
    /// The magnitude that only the rarest values of each pass.
    pub magnitude: Vec<f32>,
    /// The mean of each.
    pub mean: Vec<f64>,
}

impl Channels {
    /// The range of all channels.
    pub fn range(&self) -> (f32, f32) {
        let low = self.low.iter().fold(f32::INFINITY, |least, &value| least.min(value));
        (low, self.high.iter().fold(f32::NEG_INFINITY, |most, &value| most.max(value)))
    }
}

/// A factor above 0 for each channel of a network's maps.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// For each node, the first of those that have its factors.
    group: Vec<usize>,
    /// By the group's first node; a group that is missing keeps its channels.
    factors: BTreeMap<usize, Vec<f32>>,
}

impl Factors {
    /// The factors for a network that [`folded`](crate::fold::folded) made, from what was `seen` of its maps, by node. A
    /// map whose channels something else reads than convolutions (the embedding, for one) keeps them as they are.
    ///
    /// # Errors
    /// [`Error::WeightsDoNotFit`] where a tensor is missing.
    pub fn new(network: &Network, weights: &Weights, seen: &BTreeMap<usize, Channels>) -> Result<Factors> {
        let (group, is_fixed) = groups(network);
        let mut readers: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        for (index, node) in network.nodes().iter().enumerate() {
            let Op::Conv2d { in_channels, .. } = &node.op else { continue };
            let heaviest = readers.entry(group[node.inputs[0]]).or_insert_with(|| vec![0.0; *in_channels]);
            let filters = Filters::of(network, weights, index)?;
            // A filter that reads one channel has a scale of its own, whatever the factor.
            if filters.channels_read > 1 {
                filters.each(|_, channel, taps| {
                    taps.iter().for_each(|weight| heaviest[channel] = heaviest[channel].max(weight.abs()));
                });
            }
        }
        let mut factors = BTreeMap::new();
        for (&first, heaviest) in readers.iter().filter(|(first, _)| !is_fixed[**first]) {
            let members = || (0..group.len()).filter(|&index| group[index] == first);
            let mut magnitude = vec![0.0_f32; heaviest.len()];
            for channels in members().filter_map(|index| seen.get(&index)) {
                magnitude.iter_mut().zip(&channels.magnitude).for_each(|(all, one)| *all = all.max(*one));
            }
            // How far each may grow.
            let mut most: Option<Vec<f32>> = None;
            let mut is_seen = true;
            for index in members().filter(|&index| network.nodes()[index].op == Op::Relu6) {
                let Some(channels) = seen.get(&index) else {
                    is_seen = false;
                    break;
                };
                let most = most.get_or_insert_with(|| vec![f32::INFINITY; heaviest.len()]);
                for (most, &magnitude) in most.iter_mut().zip(&channels.magnitude) {
                    *most = most.min(SIX / (RESERVE * magnitude)).max(1.0);
                }
            }
            if is_seen && let Some(chosen) = choose(&magnitude, heaviest, most.as_deref()) {
                factors.insert(first, chosen);
            }
        }
        Ok(Factors { group, factors })
    }

    /// The factors of a node's channels, if they are not 1.
    pub fn of(&self, index: usize) -> Option<&[f32]> {
        self.factors.get(self.group.get(index)?).map(Vec::as_slice)
    }

    /// The weights with which the network makes its channels times their factors, and computes what it did.
    ///
    /// # Errors
    /// [`Error::WeightsDoNotFit`] where a tensor is missing.
    pub fn applied(&self, network: &Network, weights: &Weights) -> Result<Weights> {
        let mut equalised = weights.clone();
        for (index, node) in network.nodes().iter().enumerate() {
            let Op::Conv2d { name, .. } = &node.op else { continue };
            let (read, made) = (self.of(node.inputs[0]), self.of(index));
            let factor = |factors: Option<&[f32]>, channel: usize| factors.map_or(1.0, |all| all[channel]);
            let filters = Filters::of(network, weights, index)?;
            let mut values = Vec::with_capacity(filters.kernel.values.len());
            filters.each(|filter, channel, taps| {
                let factor = factor(made, filter) / factor(read, channel);
                values.extend(taps.iter().map(|weight| weight * factor));
            });
            equalised.insert(&format!("{name}.weight"), Tensor::new(filters.kernel.shape.clone(), values)?);
            let bias_name = format!("{name}.bias");
            if let Some(bias) = weights.get(&bias_name) {
                let values = bias.values.iter().enumerate();
                let values = values.map(|(filter, value)| value * factor(made, filter)).collect();
                equalised.insert(&bias_name, Tensor::new(bias.shape.clone(), values)?);
            }
        }
        Ok(equalised)
    }

    /// What will be seen of the node at `index` when the factors are [applied](Factors::applied).
    pub fn scaled(&self, network: &Network, index: usize, channels: &Channels) -> Channels {
        let Some(factors) = self.of(index) else { return channels.clone() };
        let end = if network.nodes()[index].op == Op::Relu6 { SIX } else { f32::INFINITY };
        let scaled =
            |values: &[f32]| values.iter().zip(factors).map(|(x, factor)| (x * factor).min(end)).collect();
        let mean = channels.mean.iter().zip(factors).map(|(x, &factor)| x * f64::from(factor)).collect();
        Channels {
            low: scaled(&channels.low),
            high: scaled(&channels.high),
            magnitude: scaled(&channels.magnitude),
            mean,
        }
    }
}

/// `sqrt(w / a)` times one number for all, such that the largest channel stays as large; behind Relu6 such that it fills
/// the range, and each within what it may grow by.
fn choose(magnitude: &[f32], heaviest: &[f32], most: Option<&[f32]>) -> Option<Vec<f32>> {
    let largest = magnitude.iter().fold(0.0_f32, |most, &value| most.max(value));
    // Channels that nothing was seen of or nobody reads keep their factor of 1.
    let is_free = heaviest.iter().all(|&weight| weight == 0.0);
    let shape: Vec<Option<f32>> = magnitude
        .iter()
        .zip(heaviest)
        .map(|(&a, &w)| match is_free {
            true => (a > 0.0).then(|| 1.0 / a),
            false => (a > 0.0 && w > 0.0).then(|| (w / a).sqrt()),
        })
        .collect();
    let reached = shape.iter().zip(magnitude).filter_map(|(shape, a)| Some(shape.as_ref()? * a));
    let reached = reached.fold(0.0_f32, f32::max);
    let target = if most.is_some() { SIX / RESERVE } else { largest };
    if !(reached > 0.0 && reached.is_finite() && target.is_finite()) {
        return None;
    }
    let factors = shape.iter().enumerate().map(|(channel, shape)| {
        let factor = shape.map_or(1.0, |shape| shape * (target / reached));
        let factor = match most {
            Some(most) => factor.min(most[channel]).max(1.0),
            None => factor,
        };
        if factor.is_normal() { factor } else { 1.0 }
    });
    Some(factors.collect())
}

/// For each node, the first of those whose channels are the same but for what happens to each alone; and whether its
/// channels have to stay as they are.
fn groups(network: &Network) -> (Vec<usize>, Vec<bool>) {
    let nodes = network.nodes();
    let mut group: Vec<usize> = (0..nodes.len()).collect();
    let join = |group: &mut Vec<usize>, a: usize, b: usize| {
        let (first, second) = (group[a].min(group[b]), group[a].max(group[b]));
        group.iter_mut().filter(|member| **member == second).for_each(|member| *member = first);
    };
    let mut fixed = vec![0, nodes.len() - 1];
    for (index, node) in nodes.iter().enumerate() {
        match node.op {
            Op::Input | Op::Conv2d { .. } => {}
            Op::Relu | Op::Relu6 | Op::MaxPool2d { .. } | Op::AvgPool2d { .. } | Op::Add => {
                node.inputs.iter().for_each(|&input| join(&mut group, index, input));
            }
            _ => {
                fixed.push(index);
                fixed.extend(&node.inputs);
            }
        }
    }
    let mut is_fixed = vec![false; nodes.len()];
    for index in fixed {
        is_fixed[group[index]] = true;
    }
    (group, is_fixed)
}

/// How much each channel of a map counts for what reads it: the sum of the squares of the weights that convolutions read
/// it with, directly or behind activations, pooling and sums. Nothing where no convolution reads it.
///
/// # Errors
/// [`Error::WeightsDoNotFit`] where a tensor is missing.
pub fn importance(network: &Network, weights: &Weights) -> Result<Vec<Option<Vec<f64>>>> {
    let nodes = network.nodes();
    let mut all: Vec<Option<Vec<f64>>> = vec![None; nodes.len()];
    for (index, node) in nodes.iter().enumerate().rev() {
        let of_inputs = match &node.op {
            Op::Conv2d { in_channels, .. } => {
                let mut squares = vec![0.0; *in_channels];
                Filters::of(network, weights, index)?.each(|_, channel, taps| {
                    squares[channel] += taps.iter().map(|&weight| f64::from(weight).powi(2)).sum::<f64>();
                });
                Some(squares)
            }
            Op::Relu | Op::Relu6 | Op::MaxPool2d { .. } | Op::AvgPool2d { .. } | Op::Add => {
                all[index].clone()
            }
            _ => None,
        };
        let Some(of_inputs) = of_inputs else { continue };
        for &input in &node.inputs {
            let sum = all[input].get_or_insert_with(|| vec![0.0; of_inputs.len()]);
            sum.iter_mut().zip(&of_inputs).for_each(|(sum, more)| *sum += more);
        }
    }
    Ok(all)
}

/// A convolution's kernel, filter by filter and channel by channel.
pub(crate) struct Filters<'w> {
    kernel: &'w Tensor,
    filters_per_group: usize,
    /// Channels that each filter reads.
    channels_read: usize,
}

impl<'w> Filters<'w> {
    /// Of the convolution at `index`, or of a linear layer, which is one of 1 x 1.
    pub(crate) fn of(network: &Network, weights: &'w Weights, index: usize) -> Result<Filters<'w>> {
        let (name, n_filters, n_channels, groups) = match &network.nodes()[index].op {
            Op::Conv2d { name, in_channels, out_channels, groups, .. } => {
                (name.as_str(), *out_channels, *in_channels, *groups)
            }
            Op::Linear { name, in_features, out_features, .. } => {
                (name.as_str(), *out_features, *in_features, 1)
            }
            _ => ("", 1, 1, 1),
        };
        let name = format!("{name}.weight");
        let kernel = weights.get(&name).ok_or_else(|| Error::WeightsDoNotFit {
            network: network.name().to_owned(),
            missing: vec![name],
            misshapen: Vec::new(),
            unexpected: Vec::new(),
        })?;
        Ok(Filters {
            kernel,
            filters_per_group: (n_filters / groups).max(1),
            channels_read: (n_channels / groups).max(1),
        })
    }

    /// Hands on filter, channel of the input, and the weights with which the one reads the other, in the tensor's order.
    pub(crate) fn each(&self, mut take: impl FnMut(usize, usize, &[f32])) {
        let n_filters = self.kernel.shape.first().copied().unwrap_or(1).max(1);
        let n_taps = (self.kernel.values.len() / n_filters / self.channels_read).max(1);
        for (part, taps) in self.kernel.values.chunks(n_taps).enumerate() {
            let (filter, place) = (part / self.channels_read, part % self.channels_read);
            take(filter, filter / self.filters_per_group * self.channels_read + place, taps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Head;
    use crate::network::builder::Builder;

    /// By hand: the factors before scaling are `sqrt(w / a)`.
    #[test]
    fn small_channels_grow_and_the_largest_stays() {
        // sqrt(1 / 1) and sqrt(1 / 4); channels would reach 1 and 2, and 4 is what the largest reached.
        assert_eq!(choose(&[1.0, 4.0], &[1.0, 1.0], None).unwrap(), [2.0, 1.0]);
        // A channel that is never read or never seen keeps its values.
        assert_eq!(choose(&[1.0, 4.0, 0.0], &[1.0, 0.0, 1.0], None).unwrap(), [4.0, 1.0, 1.0]);
        assert_eq!(choose(&[0.0, 0.0], &[1.0, 1.0], None), None);
    }

    #[test]
    fn behind_relu6_channels_only_grow_and_only_as_far_as_they_may() {
        let most = [6.0 / (1.3 * 0.5), 6.0 / (1.3 * 2.0), 1.0];
        // Read by depthwise convolutions only: all that may be used is.
        let free = choose(&[0.5, 2.0, 6.0], &[0.0; 3], Some(&most)).unwrap();
        free.iter().zip(most).for_each(|(factor, most)| assert!((factor - most).abs() < 1e-5, "{free:?}"));
        let shared = choose(&[0.5, 2.0, 6.0], &[1.0; 3], Some(&most)).unwrap();
        assert!(shared[0] > 1.0 && shared[0] < most[0] && shared[2] == 1.0, "{shared:?}");
    }

    fn seen(channels: usize, magnitude: impl Fn(usize) -> f32) -> Channels {
        let magnitude: Vec<f32> = (0..channels).map(magnitude).collect();
        let (low, mean) = (vec![0.0; channels], vec![0.5; channels]);
        Channels { low, high: magnitude.clone(), magnitude, mean }
    }

    /// Two convolutions with ReLU between: what the first makes times its factor, the second divides by.
    #[test]
    fn what_is_multiplied_is_divided_by_its_readers() {
        let mut b = Builder::new();
        let x = b.conv("made", b.input(), 3, 2, 1, 1, 0, 1, true);
        let x = b.relu(x);
        let x = b.conv("read", x, 2, 2, 1, 1, 0, 1, false);
        b.global_avg_pool(x);
        let network = Network::new("small", b.finish()).unwrap();
        let mut weights = Weights::default();
        for (name, shape, values) in [
            ("made.weight", vec![2, 3, 1, 1], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ("made.bias", vec![2], vec![0.5, -1.0]),
            ("read.weight", vec![2, 2, 1, 1], vec![1.0, -1.0, 0.5, 0.25]),
        ] {
            weights.insert(name, Tensor::new(shape, values).unwrap());
        }
        let seen = BTreeMap::from([(2, seen(2, |channel| [1.0, 4.0][channel]))]);
        let factors = Factors::new(&network, &weights, &seen).unwrap();
        assert_eq!(factors.of(1), Some(&[2.0, 1.0][..]));
        // The embedding's channels are what they are.
        assert_eq!((factors.of(3), factors.of(4)), (None, None));
        let equalised = factors.applied(&network, &weights).unwrap();
        assert_eq!(equalised.get("made.weight").unwrap().values, [2.0, 4.0, 6.0, 4.0, 5.0, 6.0]);
        assert_eq!(equalised.get("made.bias").unwrap().values, [1.0, -1.0]);
        assert_eq!(equalised.get("read.weight").unwrap().values, [0.5, -1.0, 0.25, 0.25]);
        assert_eq!(factors.scaled(&network, 2, &seen[&2]).high, [2.0, 4.0]);
        assert_eq!(importance(&network, &weights).unwrap()[1], Some(vec![1.25, 1.0625]));
    }

    /// Depthwise kernels lie filter by filter, and each reads its own channel.
    #[test]
    fn filters_know_their_channels() {
        let mut b = Builder::new();
        let x = b.conv("grouped", b.input(), 3, 6, 1, 1, 0, 3, false);
        b.global_avg_pool(x);
        let network = Network::new("small", b.finish()).unwrap();
        let mut weights = Weights::default();
        weights.insert("grouped.weight", Tensor::new(vec![6, 1, 1, 1], vec![0.0; 6]).unwrap());
        let mut pairs = Vec::new();
        let filters = Filters::of(&network, &weights, 1).unwrap();
        filters.each(|filter, channel, taps| pairs.push((filter, channel, taps.len())));
        assert_eq!(pairs, [(0, 0, 1), (1, 0, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1), (5, 2, 1)]);
    }

    /// What is summed has one factor; the input, and what the embedding is pooled from, have none.
    #[test]
    fn groups_follow_the_network() {
        for name in ["mobilenet_v2", "resnet18"] {
            let network = Network::by_name(name, Head::Embedding).unwrap();
            let (network, _) = crate::fold::folded(&network, &crate::fold::tests::ones(&network)).unwrap();
            let (group, is_fixed) = groups(&network);
            let nodes = network.nodes();
            assert!(is_fixed[group[0]] && is_fixed[group[nodes.len() - 2]]);
            let n_free = (0..nodes.len()).filter(|&first| group[first] == first && !is_fixed[first]).count();
            assert!(n_free > 10, "{name}: {n_free}");
            for (index, node) in nodes.iter().enumerate().filter(|(_, node)| node.op == Op::Add) {
                assert!(node.inputs.iter().all(|&input| group[input] == group[index]), "{name}");
            }
        }
    }
}
