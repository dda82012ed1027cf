//! Networks in 16 and 8 bits: calibration on training images, and what the reduced arithmetic computes, with libtorch in
//! 32 bits, number for number. So an export knows how far its embeddings are off without the library that will run them.

use std::collections::BTreeMap;

use sketchfind_core::card::{Precision, ProbeFacts};
use sketchfind_core::image::Preprocess;
use sketchfind_models::fold::folded;
use sketchfind_models::network::{Network, Op};
use sketchfind_models::onnx::Arithmetic;
use sketchfind_models::quantise::{Histogram, Quantisation, points};
use sketchfind_models::weights::{Tensor as WeightTensor, Weights};
use tch::Tensor;

use crate::data::{Picture, centre_crops};
use crate::network::{TorchNetwork, to_values};
use crate::{Error, Result};

/// Images that are passed at once: every map of theirs may be looked at.
const CHUNK: usize = 8;
/// The most that a component may be off, as a share of the largest: what differs more is another model.
const MAX_DEVIATION: f64 = 0.3;

/// A network with its arithmetic.
#[derive(Debug)]
pub struct Reduced {
    network: Network,
    weights: Weights,
    precision: Precision,
    quantisation: Option<Quantisation>,
}

impl Reduced {
    /// A network in `precision`. For 8 bits the ranges of maps come from `calibration`, training images.
    ///
    /// # Errors
    /// [`Error::Models`], [`Error::Torch`]; [`Error::Reduced`] where a map is not finite.
    pub fn new(
        network: &Network,
        weights: &Weights,
        precision: Precision,
        calibration: &[Picture],
        preprocess: &Preprocess,
    ) -> Result<Reduced> {
        let (network, weights) = folded(network, weights)?;
        let quantisation = match precision {
            Precision::Int8 => Some(calibrate(&network, &weights, calibration, preprocess)?),
            Precision::Fp32 | Precision::Fp16 => None,
        };
        Ok(Reduced { network, weights, precision, quantisation })
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
    /// [`Error::Torch`]; [`Error::Reduced`] where the embeddings are not those of the network any more.
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
        let deviation = differences.fold(0.0, f64::max) / largest.max(f64::MIN_POSITIVE);
        if deviation.is_nan() || deviation > MAX_DEVIATION {
            return Err(Error::Reduced {
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

/// The scales of a network's maps from what they hold on `pictures`: their ranges first, then histograms over them.
fn calibrate(
    network: &Network,
    weights: &Weights,
    pictures: &[Picture],
    preprocess: &Preprocess,
) -> Result<Quantisation> {
    let torch = TorchNetwork::new(network, weights, tch::Device::Cpu)?;
    let observed: Vec<usize> = points(network)
        .into_iter()
        .filter(|&index| !matches!(network.nodes()[index].op, Op::Input | Op::MaxPool2d { .. }))
        .collect();
    let pass = |look: &mut dyn FnMut(usize, &Tensor) -> Result<()>| -> Result<()> {
        for chunk in pictures.chunks(CHUNK) {
            let _ = torch.forward_through(&images(chunk, preprocess)?, &mut |index, output| {
                if observed.binary_search(&index).is_ok() {
                    look(index, &output)?;
                }
                Ok(output)
            })?;
        }
        Ok(())
    };
    let mut ranges: BTreeMap<usize, (f32, f32)> = BTreeMap::new();
    pass(&mut |index, output| {
        let (low, high) =
            (output.f_min()?.f_double_value(&[])? as f32, output.f_max()?.f_double_value(&[])? as f32);
        if !(low.is_finite() && high.is_finite()) {
            let reason = format!("a map of node {index} holds {low} to {high} on a training image");
            return Err(Error::Reduced { precision: Precision::Int8.name(), reason });
        }
        let range = ranges.entry(index).or_insert((low, high));
        *range = (range.0.min(low), range.1.max(high));
        Ok(())
    })?;
    let mut histograms: BTreeMap<usize, Histogram> =
        ranges.into_iter().map(|(index, (low, high))| (index, Histogram::new(low, high))).collect();
    pass(&mut |index, output| {
        let Some(histogram) = histograms.get_mut(&index) else { return Ok(()) };
        let ((low, high), n_bins) = (histogram.range(), histogram.n_bins() as i64);
        if high > low {
            let bins_per_unit = n_bins as f64 / (f64::from(high) - f64::from(low));
            let bins = output.f_sub_scalar(f64::from(low))?.f_mul_scalar(bins_per_unit)?;
            let bins =
                bins.f_clamp(0.0, (n_bins - 1) as f64)?.f_to_kind(tch::Kind::Int64)?.f_reshape([-1])?;
            let counts = bins.f_bincount(None::<Tensor>, n_bins)?;
            histogram.add(to_values(&counts)?.into_iter().map(|count| count as u64));
        }
        Ok(())
    })?;
    // What pixels can become is known without looking.
    let ends =
        |value: f32| (0..3).map(move |channel| (value - preprocess.mean[channel]) / preprocess.std[channel]);
    let input = (ends(0.0).fold(f32::MAX, f32::min), ends(1.0).fold(f32::MIN, f32::max));
    Ok(Quantisation::new(network, input, &histograms)?)
}

fn images(pictures: &[Picture], preprocess: &Preprocess) -> Result<Tensor> {
    let side = i64::from(preprocess.crop);
    let crops = centre_crops(pictures.iter(), preprocess)?;
    Ok(Tensor::f_from_slice(&crops)?.f_reshape([pictures.len() as i64, 3, side, side])?)
}
