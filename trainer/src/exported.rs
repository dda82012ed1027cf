//! A network as it is exported, in 32, 16 or 8 bits: calibration on training images, and what the reduced arithmetic computes, with libtorch in
//! 32 bits, number for number. So an export knows how far its embeddings are off without the library that will run them.

use std::collections::BTreeMap;

use sketchfind_core::card::{Precision, ProbeFacts};
use sketchfind_core::image::Preprocess;
use sketchfind_models::equalise::{Channels, Factors, importance};
use sketchfind_models::fold::folded;
use sketchfind_models::network::{Network, Op};
use sketchfind_models::onnx::Arithmetic;
use sketchfind_models::quantise::{Histogram, Quantisation, points};
use sketchfind_models::weights::{Tensor as WeightTensor, Weights};
use tch::Tensor;

use crate::data::centre_crops;
use crate::network::{TorchNetwork, to_values};
use crate::picture::Picture;
use crate::{Error, Result};

/// Images that are passed at once: every map of theirs may be looked at.
const CHUNK: usize = 8;
/// The share of a channel's values that may lie above the magnitude that it is equalised by.
const RAREST: f64 = 0.001;
/// The most that a component may be off, as a share of the largest: what differs more is another model.
const MAX_DEVIATION: f64 = 0.3;

/// A network with folded batch norms and the arithmetic in which it is exported.
#[derive(Debug)]
pub struct ExportedNetwork {
    network: Network,
    weights: Weights,
    precision: Precision,
    quantisation: Option<Quantisation>,
}

impl ExportedNetwork {
    /// A network in `precision`. For 8 bits the ranges of maps come from `calibration`, training images.
    ///
    /// # Errors
    /// [`Error::Models`], [`Error::Torch`]; [`Error::Precision`] where a map is not finite.
    pub fn new(
        network: &Network,
        weights: &Weights,
        precision: Precision,
        calibration: &[Picture],
        preprocess: &Preprocess,
    ) -> Result<ExportedNetwork> {
        let (network, weights) = folded(network, weights)?;
        let (weights, quantisation) = match precision {
            Precision::Int8 => {
                let (weights, quantisation) = quantised(&network, &weights, calibration, preprocess)?;
                (weights, Some(quantisation))
            }
            Precision::Fp32 | Precision::Fp16 => (weights, None),
        };
        Ok(ExportedNetwork { network, weights, precision, quantisation })
    }

    /// The network, with its batch norms folded.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Its weights: folded, and for 8 bits equalised and corrected.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// How the network is written as ONNX.
    pub fn arithmetic(&self) -> Arithmetic<'_> {
        match (self.precision, &self.quantisation) {
            (Precision::Int8, Some(quantisation)) => Arithmetic::Int8(quantisation),
            (Precision::Fp16, _) => Arithmetic::Fp16,
            _ => Arithmetic::Fp32,
        }
    }

    /// What the probe's card says: how far the reduced arithmetic is off from `embeddings`, which 32 bits gave for the
    /// same pictures, and how far off another machine may be. Nothing for 32 bits.
    ///
    /// Other machines round otherwise in the last bit of a sum, and a byte that tips over moves those behind it: half as
    /// much again as was seen here, and a thousandth, pass.
    ///
    /// # Errors
    /// [`Error::Torch`]; [`Error::Precision`] where the embeddings are not those of the network any more.
    pub fn probe_facts(
        &self,
        pictures: &[Picture],
        preprocess: &Preprocess,
        embeddings: &[f32],
    ) -> Result<Option<ProbeFacts>> {
        if self.precision == Precision::Fp32 {
            return Ok(None);
        }
        let reduced = self.embed(pictures, preprocess)?;
        let largest = embeddings.iter().fold(0.0_f64, |most, &value| most.max(f64::from(value).abs()));
        let differences = reduced.iter().zip(embeddings).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
        // f64::max would pass over a value that is not a number.
        let worst =
            differences.fold(0.0_f64, |most, d| if d.is_finite() { most.max(d) } else { f64::INFINITY });
        let deviation = worst / largest.max(f64::MIN_POSITIVE);
        if deviation > MAX_DEVIATION {
            return Err(Error::Precision {
                precision: self.precision.name(),
                reason: format!(
                    "embeddings of the probe are off by {deviation:.3} of their largest component, at most \
                     {MAX_DEVIATION} is a model of use; export another precision"
                ),
            });
        }
        Ok(Some(ProbeFacts { deviation, tolerance: 1.5 * deviation + 1e-3 }))
    }

    /// Embeddings as the reduced arithmetic gives them.
    ///
    /// # Shapes
    /// Returns `[n, output_width]`, row-major.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn embed(&self, pictures: &[Picture], preprocess: &Preprocess) -> Result<Vec<f32>> {
        let weights = match &self.quantisation {
            Some(quantisation) => quantisation.round_trip(&self.network, &self.weights)?,
            None if self.precision == Precision::Fp16 => self.half_weights()?,
            None => self.weights.clone(),
        };
        let torch = TorchNetwork::new(&self.network, &weights, tch::Device::Cpu)?;
        let mut all = Vec::new();
        for chunk in pictures.chunks(CHUNK) {
            let images = images(chunk, preprocess)?;
            let embeddings =
                torch.forward_through(&images, &mut |index, output| self.reduce(index, output))?;
            all.extend(to_values(&embeddings)?);
        }
        Ok(all)
    }

    /// Rounds the output of a node as the graph does.
    fn reduce(&self, index: usize, output: Tensor) -> Result<Tensor> {
        if self.precision == Precision::Fp16 && self.network.is_map(index) {
            return Ok(output.f_to_kind(tch::Kind::Half)?.f_to_kind(tch::Kind::Float)?);
        }
        let Some(scale) = self.quantisation.as_ref().and_then(|quantisation| quantisation.of(index)) else {
            return Ok(output);
        };
        let zero = f64::from(scale.zero);
        let bytes = output
            .f_div_scalar(f64::from(scale.scale))?
            .f_round()?
            .f_add_scalar(zero)?
            .f_clamp(0.0, 255.0)?;
        Ok(bytes.f_sub_scalar(zero)?.f_mul_scalar(f64::from(scale.scale))?)
    }

    /// The weights of maps through 16 bits; those of vectors as they are.
    fn half_weights(&self) -> Result<Weights> {
        let mut weights = self.weights.clone();
        for (index, node) in self.network.nodes().iter().enumerate() {
            for parameter in node.op.parameters() {
                if let Some(tensor) = self.weights.get(&parameter.name).filter(|_| self.network.is_map(index))
                {
                    let half = Tensor::f_from_slice(&tensor.values)?.f_to_kind(tch::Kind::Half)?;
                    weights
                        .insert(&parameter.name, WeightTensor::new(tensor.shape.clone(), to_values(&half)?)?);
                }
            }
        }
        Ok(weights)
    }
}

/// The weights and scales with which a network is one of 8 bits ([`sketchfind_models::quantise`] has the method), from
/// what its maps hold on `pictures`.
fn quantised(
    network: &Network,
    weights: &Weights,
    pictures: &[Picture],
    preprocess: &Preprocess,
) -> Result<(Weights, Quantisation)> {
    let observed = points(network);
    let seen = observe(network, weights, &observed, pictures, preprocess)?;
    let factors = Factors::new(network, weights, &seen)?;
    let weights = factors.applied(network, weights)?;
    let seen: BTreeMap<usize, Channels> =
        seen.iter().map(|(&index, channels)| (index, factors.scaled(network, index, channels))).collect();
    let histograms = histograms(network, &weights, &seen, pictures, preprocess)?;
    // What pixels can become is known without looking.
    let ends =
        |value: f32| (0..3).map(move |channel| (value - preprocess.mean[channel]) / preprocess.std[channel]);
    let input = (ends(0.0).fold(f32::MAX, f32::min), ends(1.0).fold(f32::MIN, f32::max));
    let quantisation = Quantisation::new(network, input, &histograms)?;
    let weights = quantisation.corrected(network, &weights, &seen)?;
    Ok((weights, quantisation))
}

/// Shows `look` the maps of the `observed` nodes for some pictures at a time.
fn pass(
    network: &Network,
    weights: &Weights,
    observed: &[usize],
    pictures: &[Picture],
    preprocess: &Preprocess,
    look: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
) -> Result<()> {
    let torch = TorchNetwork::new(network, weights, tch::Device::Cpu)?;
    for chunk in pictures.chunks(CHUNK) {
        let _ = torch.forward_through(&images(chunk, preprocess)?, &mut |index, output| {
            if observed.binary_search(&index).is_ok() {
                look(index, &output)?;
            }
            Ok(output)
        })?;
    }
    Ok(())
}

/// What the channels of maps hold.
fn observe(
    network: &Network,
    weights: &Weights,
    observed: &[usize],
    pictures: &[Picture],
    preprocess: &Preprocess,
) -> Result<BTreeMap<usize, Channels>> {
    let mut seen: BTreeMap<usize, Channels> = BTreeMap::new();
    let n_pictures = pictures.len() as f64;
    pass(network, weights, observed, pictures, preprocess, &mut |index, output| {
        let channels = output.f_transpose(0, 1)?.f_flatten(1, -1)?;
        let n_values = channels.size()[1];
        let n_rarest = ((n_values as f64 * RAREST) as i64 + 1).min(n_values);
        let (largest, _) = channels.f_abs()?.f_topk(n_rarest, 1, true, false)?;
        let new = Channels {
            low: to_values(&channels.f_amin([1], false)?)?,
            high: to_values(&channels.f_amax([1], false)?)?,
            magnitude: to_values(&largest.f_amin([1], false)?)?,
            mean: to_values(&channels.f_mean_dim(&[1_i64][..], false, None)?)?
                .into_iter()
                .map(|mean| f64::from(mean) * output.size()[0] as f64 / n_pictures)
                .collect(),
        };
        if let Some(value) = new.low.iter().chain(&new.high).find(|value| !value.is_finite()) {
            let reason = format!("a map of node {index} holds {value} on a training image");
            return Err(Error::Precision { precision: Precision::Int8.name(), reason });
        }
        match seen.get_mut(&index) {
            None => {
                seen.insert(index, new);
            }
            Some(all) => {
                all.low.iter_mut().zip(new.low).for_each(|(all, new)| *all = all.min(new));
                all.high.iter_mut().zip(new.high).for_each(|(all, new)| *all = all.max(new));
                all.magnitude.iter_mut().zip(new.magnitude).for_each(|(all, new)| *all = all.max(new));
                all.mean.iter_mut().zip(new.mean).for_each(|(all, new)| *all += new);
            }
        }
        Ok(())
    })?;
    Ok(seen)
}

/// Histograms of maps over the ranges that were `seen`, each channel's values by its importance. None of the input and of
/// maximum poolings, whose scales come from elsewhere.
fn histograms(
    network: &Network,
    weights: &Weights,
    seen: &BTreeMap<usize, Channels>,
    pictures: &[Picture],
    preprocess: &Preprocess,
) -> Result<BTreeMap<usize, Histogram>> {
    let importance = importance(network, weights)?;
    let mut histograms: BTreeMap<usize, Histogram> = seen
        .iter()
        .filter(|&(&index, _)| !matches!(network.nodes()[index].op, Op::Input | Op::MaxPool2d { .. }))
        .map(|(&index, channels)| {
            let (low, high) = channels.range();
            (index, Histogram::new(low, high))
        })
        .collect();
    let observed: Vec<usize> = histograms.keys().copied().collect();
    pass(network, weights, &observed, pictures, preprocess, &mut |index, output| {
        let Some(histogram) = histograms.get_mut(&index) else { return Ok(()) };
        let ((low, high), n_bins) = (histogram.range(), histogram.n_bins() as i64);
        if high > low {
            let bins_per_unit = n_bins as f64 / (f64::from(high) - f64::from(low));
            let bins = output.f_sub_scalar(f64::from(low))?.f_mul_scalar(bins_per_unit)?;
            let bins =
                bins.f_clamp(0.0, (n_bins - 1) as f64)?.f_to_kind(tch::Kind::Int64)?.f_reshape([-1])?;
            let counts = match &importance[index] {
                None => bins.f_bincount(None::<Tensor>, n_bins)?,
                Some(importance) => {
                    let each = Tensor::f_from_slice(importance)?.f_reshape([1, -1, 1, 1])?;
                    let each = each.f_expand_as(output)?.f_reshape([-1])?;
                    bins.f_bincount(Some(each), n_bins)?
                }
            };
            let mut sums = vec![0.0_f64; counts.numel()];
            counts.f_to_kind(tch::Kind::Double)?.f_copy_data(&mut sums, counts.numel())?;
            histogram.add(sums);
        }
        Ok(())
    })?;
    Ok(histograms)
}

fn images(pictures: &[Picture], preprocess: &Preprocess) -> Result<Tensor> {
    let side = i64::from(preprocess.crop);
    let crops = centre_crops(pictures.iter(), preprocess)?;
    Ok(Tensor::f_from_slice(&crops)?.f_reshape([pictures.len() as i64, 3, side, side])?)
}
