//! The loss landscape around a trained network's weights, as the source of the method reports it ('Photo Pre-Training, But
//! for Sketch', CVPR 2023).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use sketchfind_core::atomic;
use tch::Tensor;

use crate::batches::{Batch, Sampler};
use crate::checkpoint::Which;
use crate::config::BatchNorm;
use crate::data::TrainingData;
use crate::device::TrainingDevice;
use crate::fit::network_at;
use crate::network::TorchNetwork;
use crate::run::Run;
use crate::source::ImageSource;
use crate::step::{self, Place};
use crate::{Error, Result};

/// What to look at.
#[derive(Debug)]
pub struct LandscapeOptions<'a> {
    /// The run's folder.
    pub run: &'a Path,
    /// Where the run's images are, if they are no longer where it found them.
    pub source: Option<&'a ImageSource>,
    /// The checkpoint, or nothing for the network before training.
    pub checkpoint: Option<Which>,
    /// The CSV that is written.
    pub out: &'a Path,
    /// Points from one side to the other in each of the two directions; odd, so that the weights themselves are one.
    pub n_points: usize,
    /// How far the points go, in lengths of the filters.
    pub radius: f64,
    /// Training batches that the loss is a mean over.
    pub n_batches: u64,
    /// The seed of the two directions.
    pub seed: i64,
    /// The device.
    pub device: TrainingDevice,
    /// Set from elsewhere to stop; nothing is written then.
    pub interrupted: &'a AtomicBool,
}

/// The loss at a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LandscapeRow {
    /// How far in the first direction, in lengths of the filters.
    pub x: f64,
    /// How far in the second.
    pub y: f64,
    /// L_FG there, the mean over the batches.
    pub loss: f64,
}

/// Computes L_FG of a run's training images on a square of points around its weights, along two random directions that are
/// filter-normalised (Li, Xu, Taylor, Studer, Goldstein, 'Visualizing the Loss Landscape of Neural Nets', NeurIPS 2018,
/// section 4): normal numbers, each filter as long as the network's own; biases and batch norms stay. Batches are the
/// first of training's first epoch.
///
/// # Errors
/// [`Error::Run`] where the run has no such checkpoint; [`Error::Interrupted`]; errors of files.
pub fn landscape(
    options: &LandscapeOptions<'_>,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<LandscapeRow>> {
    let run = Run::load(options.run)?;
    let mut config = run.checked_config(options.run)?;
    if config.threads > 0 {
        tch::set_num_threads(i32::try_from(config.threads).unwrap_or(i32::MAX));
    }
    // The loss at a point, without a trace.
    config.train.batch_norm = BatchNorm::Frozen;
    let (network, weights, _) = network_at(options.run, &config, &run, options.checkpoint)?;
    let dataset = run.dataset(options.source)?;
    let data = TrainingData::load(&dataset, &config, &|_, _| {}, options.interrupted)?;
    let sampler = Sampler::new(Arc::new(data.train), &config)?;
    let n_batches = options.n_batches.min(sampler.steps_per_epoch());
    let batches: Vec<Batch> = (0..n_batches).map(|step| sampler.batch(0, step)).collect::<Result<_>>()?;
    let mut torch = TorchNetwork::new(&network, &weights, options.device.open()?)?;
    tch::manual_seed(options.seed);
    let directions = [direction(&torch)?, direction(&torch)?];
    let place = Place::remember(&torch)?;
    let steps: Vec<f64> = (0..options.n_points)
        .map(|point| options.radius * (2.0 * point as f64 / (options.n_points.max(2) - 1) as f64 - 1.0))
        .collect();
    let mut rows = Vec::with_capacity(steps.len() * steps.len());
    for &y in &steps {
        for &x in &steps {
            if options.interrupted.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let between = sum(&directions, [x, y])?;
            place.move_to(&mut torch, &between, 1.0)?;
            let mut loss = 0.0;
            for batch in &batches {
                loss += step::retrieval_loss(&config, &torch, batch)? / n_batches as f64;
            }
            rows.push(LandscapeRow { x, y, loss });
            progress(rows.len(), steps.len() * steps.len());
        }
    }
    place.go_back(&mut torch)?;
    atomic::write_file(options.out, |out| {
        let mut writer = csv::Writer::from_writer(out);
        for row in &rows {
            writer
                .serialize(row)
                .map_err(|e| sketchfind_core::Error::malformed(options.out, e.to_string()))?;
        }
        writer.flush().map_err(sketchfind_core::Error::io("write", options.out))
    })?;
    Ok(rows)
}

/// A filter-normalised random direction: one tensor for each that is trained.
fn direction(network: &TorchNetwork) -> Result<Vec<Tensor>> {
    network
        .trained()
        .iter()
        .map(|tensor| {
            let tensor = tensor.f_detach()?;
            if tensor.dim() < 2 {
                return Ok(tensor.f_zeros_like()?);
            }
            let noise = tensor.f_randn_like()?;
            let lengths = |of: &Tensor| -> Result<Tensor> {
                let filters = of.f_reshape([of.size()[0], -1])?;
                let mut shape = vec![1; of.dim()];
                shape[0] = of.size()[0];
                Ok(filters.f_norm_scalaropt_dim(2.0, [1_i64], false)?.f_reshape(shape)?)
            };
            let scale = lengths(&tensor)?.f_div(&lengths(&noise)?.f_clamp_min(1e-12)?)?;
            Ok(noise.f_mul(&scale)?)
        })
        .collect()
}

fn sum(directions: &[Vec<Tensor>; 2], by: [f64; 2]) -> Result<Vec<Tensor>> {
    let [first, second] = directions;
    first
        .iter()
        .zip(second)
        .map(|(a, b)| Ok(a.f_mul_scalar(by[0])?.f_add(&b.f_mul_scalar(by[1])?)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::small_network;
    use sketchfind_models::weights::Weights;

    #[test]
    fn directions_have_the_lengths_of_the_filters_and_leave_biases() {
        let network = small_network();
        let torch = TorchNetwork::new(&network, &Weights::random(&network, 1), tch::Device::Cpu).unwrap();
        tch::manual_seed(3);
        let (one, other) = (direction(&torch).unwrap(), direction(&torch).unwrap());
        let mut n_filters = 0;
        for (index, tensor) in torch.trained().iter().enumerate() {
            if tensor.dim() < 2 {
                assert_eq!(one[index].abs().max().double_value(&[]), 0.0);
                continue;
            }
            for filter in 0..tensor.size()[0] {
                let length = |of: &Tensor| of.get(filter).norm().double_value(&[]);
                assert!((length(&one[index]) - length(tensor)).abs() < 1e-4 * length(tensor));
                n_filters += 1;
            }
            assert!((&one[index] - &other[index]).abs().max().double_value(&[]) > 0.0);
        }
        assert_eq!(n_filters, 8 + 8 + 5);
    }
}
