//! Batch norms multiplied into the convolutions before them: the same function at inference in fewer operations.

use crate::network::{Network, Node, Op};
use crate::weights::{Tensor, Weights};
use crate::{Error, Result};

/// The network without the batch norms that stand behind a convolution whose output nothing else reads
/// ([`Network::norm_behind`]), and its weights: kernels `w * g / sqrt(v + eps)` and biases
/// `beta + (b - mean) * g / sqrt(v + eps)`, computed in 64 bits. Other batch norms stay.
///
/// # Errors
/// [`Error::WeightsDoNotFit`].
pub fn folded(network: &Network, weights: &Weights) -> Result<(Network, Weights)> {
    weights.check_fit(network)?;
    let nodes = network.nodes();
    let mut kept: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut tensors = Weights::default();
    // Where each old node's output stands now.
    let mut places = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        if let Some(&before) = node.inputs.first()
            && network.norm_behind(before) == Some(index)
        {
            places.push(places[before]);
            continue;
        }
        let mut op = node.op.clone();
        let norm = network.norm_behind(index).map(|norm| &nodes[norm].op);
        match (&mut op, norm) {
            (Op::Conv2d { name, bias, .. }, Some(Op::BatchNorm2d { name: norm, eps, .. })) => {
                let (kernel, shift) = fold(weights, name, norm, *eps)?;
                tensors.insert(&format!("{name}.weight"), kernel);
                tensors.insert(&format!("{name}.bias"), shift);
                *bias = true;
            }
            _ => {
                for parameter in node.op.parameters() {
                    tensors.insert(&parameter.name, get(weights, &parameter.name)?.clone());
                }
            }
        }
        places.push(kept.len());
        kept.push(Node { op, inputs: node.inputs.iter().map(|&input| places[input]).collect() });
    }
    Ok((Network::new(network.name(), kept)?, tensors))
}

fn fold(weights: &Weights, conv: &str, norm: &str, eps: f64) -> Result<(Tensor, Tensor)> {
    let part = |name: &str, part: &str| get(weights, &format!("{name}.{part}"));
    let (gamma, beta) = (part(norm, "weight")?, part(norm, "bias")?);
    let (mean, variance) = (part(norm, "running_mean")?, part(norm, "running_var")?);
    let scales: Vec<f64> = gamma
        .values
        .iter()
        .zip(&variance.values)
        .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + eps).sqrt())
        .collect();
    let mut kernel = part(conv, "weight")?.clone();
    let filter_len = kernel.values.len() / scales.len();
    for (filter, scale) in kernel.values.chunks_exact_mut(filter_len).zip(&scales) {
        filter.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
    }
    let own = weights.get(&format!("{conv}.bias"));
    let shift = scales
        .iter()
        .enumerate()
        .map(|(channel, scale)| {
            let own = own.map_or(0.0, |bias| f64::from(bias.values[channel]));
            (f64::from(beta.values[channel]) + (own - f64::from(mean.values[channel])) * scale) as f32
        })
        .collect();
    Ok((kernel, Tensor::new(vec![scales.len()], shift)?))
}

fn get<'w>(weights: &'w Weights, name: &str) -> Result<&'w Tensor> {
    weights.get(name).ok_or_else(|| Error::WeightsDoNotFit {
        network: String::new(),
        missing: vec![name.to_owned()],
        misshapen: Vec::new(),
        unexpected: Vec::new(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::network::Head;

    #[test]
    fn by_hand() {
        let mut b = crate::network::builder::Builder::new();
        let x = b.conv("conv", b.input(), 3, 1, 1, 1, 0, 1, true);
        let x = b.batch_norm_with("bn", x, 1, 0.0);
        b.global_avg_pool(x);
        let network = Network::new("small", b.finish()).unwrap();
        let mut weights = Weights::default();
        for (name, shape, values) in [
            ("conv.weight", vec![1, 3, 1, 1], vec![1.0, 2.0, 3.0]),
            ("conv.bias", vec![1], vec![0.5]),
            ("bn.weight", vec![1], vec![6.0]),
            ("bn.bias", vec![1], vec![0.25]),
            ("bn.running_mean", vec![1], vec![1.5]),
            ("bn.running_var", vec![1], vec![9.0]),
        ] {
            weights.insert(name, Tensor::new(shape, values).unwrap());
        }
        // The scale is 6 / sqrt(9) = 2, the bias 0.25 + (0.5 - 1.5) * 2.
        let (network, weights) = folded(&network, &weights).unwrap();
        assert_eq!(network.nodes().len(), 3);
        assert_eq!(weights.get("conv.weight").unwrap().values, [2.0, 4.0, 6.0]);
        assert_eq!(weights.get("conv.bias").unwrap().values, [-1.75]);
    }

    /// Weights that are quickly made.
    pub(crate) fn ones(network: &Network) -> Weights {
        let mut weights = Weights::default();
        for parameter in network.parameters() {
            let n = parameter.shape.iter().product();
            weights.insert(&parameter.name, Tensor::new(parameter.shape, vec![1.0; n]).unwrap());
        }
        weights
    }

    #[test]
    fn what_cannot_be_folded_stays() {
        let is_norm = |node: &Node| matches!(node.op, Op::BatchNorm2d { .. });
        for name in Network::names() {
            let network = Network::by_name(name, Head::Embedding).unwrap();
            let (folded, weights) = folded(&network, &ones(&network)).unwrap();
            assert_eq!(folded.output_width(), network.output_width());
            weights.check_fit(&folded).unwrap();
            // DenseNet's batch norms stand before its convolutions.
            let n_left = folded.nodes().iter().filter(|node| is_norm(node)).count();
            assert_eq!(n_left > 0, name.starts_with("densenet"), "{name}: {n_left}");
        }
    }
}
