//! Keras' ResNet50 as a TensorFlow.js layers model: `model.json` with a weights manifest, and shards of float32.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use sketchfind_core::image::Preprocess;

use super::safetensors_file::convert;
use super::{Tensor, Weights};
use crate::{Error, Result};

/// The file of a layers model that lists the others.
pub const MODEL: &str = "model.json";
/// Keras' epsilon of batch normalisation in this model, and torch's, which the network's description uses.
const KERAS_EPSILON: f32 = 1e-3;
const TORCH_EPSILON: f32 = 1e-5;
/// What Keras' ResNet50 subtracts from red, green and blue in 0..255 (Caffe's convention).
const CAFFE_MEAN_RGB: [f64; 3] = [123.68, 116.779, 103.939];

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "weightsManifest")]
    manifest: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<serde_json::Value>,
}

/// Reads the folder of a Keras ResNet50 and renames, transposes and folds its tensors into torchvision's for
/// `resnet50_v1`, classifier included:
///
/// - kernels go from height, width, in, out to out, in, height, width;
/// - convolutions lose their biases to the running means of the batch norms behind them (exact);
/// - running variances grow by the difference of the two epsilons (exact);
/// - the first convolution and its batch norm take RGB scaled to `[0, 1]` and normalised with ImageNet's mean and
///   standard deviation instead of BGR in 0..255 less Caffe's mean. Exact but for the zero border that padding
///   adds: zero is the one mean there and the other here, at most 0.5 / 255 apart.
///
/// # Errors
/// [`Error::Core`] where a file cannot be read; [`Error::WeightsFile`] where it is another model.
pub fn read_resnet50(folder: &Path) -> Result<Weights> {
    let mut keras = read_layers_model(folder)?;
    let mut take = |name: &str, n_dimensions: usize| -> Result<Tensor> {
        match keras.remove(name) {
            Some(tensor) if tensor.shape.len() == n_dimensions => Ok(tensor),
            Some(tensor) => {
                let reason =
                    format!("tensor '{name}' is {:?}, expected {n_dimensions} dimensions", tensor.shape);
                Err(Error::weights_file(folder, reason))
            }
            None => Err(Error::weights_file(folder, format!("not Keras' ResNet50: no tensor '{name}'"))),
        }
    };
    let mut tensors = BTreeMap::new();
    for (keras_conv, keras_norm, conv, norm) in layer_names() {
        let mut kernel = transpose_kernel(&take(&format!("{keras_conv}/kernel"), 4)?);
        let bias = take(&format!("{keras_conv}/bias"), 1)?;
        let gamma = take(&format!("{keras_norm}/gamma"), 1)?;
        let beta = take(&format!("{keras_norm}/beta"), 1)?;
        let mut mean = take(&format!("{keras_norm}/moving_mean"), 1)?;
        let mut variance = take(&format!("{keras_norm}/moving_variance"), 1)?;
        if mean.shape != bias.shape || kernel.shape[0] != bias.shape[0] {
            return Err(Error::weights_file(folder, format!("'{keras_conv}' and '{keras_norm}' do not fit")));
        }
        let mut shift: Vec<f64> = bias.values.iter().map(|&value| f64::from(value)).collect();
        if conv == "conv1" {
            if kernel.shape[1] != 3 {
                return Err(Error::weights_file(folder, "its first convolution does not take 3 channels"));
            }
            take_normalised_rgb(&mut kernel, &mut shift);
        }
        for (value, shift) in mean.values.iter_mut().zip(shift) {
            *value = (f64::from(*value) - shift) as f32;
        }
        variance.values.iter_mut().for_each(|value| *value += KERAS_EPSILON - TORCH_EPSILON);
        tensors.insert(format!("{conv}.weight"), kernel);
        tensors.insert(format!("{norm}.weight"), gamma);
        tensors.insert(format!("{norm}.bias"), beta);
        tensors.insert(format!("{norm}.running_mean"), mean);
        tensors.insert(format!("{norm}.running_var"), variance);
    }
    tensors.insert("fc.weight".into(), transpose(&take("fc1000/kernel", 2)?));
    tensors.insert("fc.bias".into(), take("fc1000/bias", 1)?);
    Ok(Weights::new(tensors))
}

/// Keras' and torchvision's names: convolution and batch norm, both.
fn layer_names() -> Vec<(String, String, String, String)> {
    let mut names = vec![("conv1".into(), "bn_conv1".into(), "conv1".into(), "bn1".into())];
    for (stage, n_blocks) in [(2, 3), (3, 4), (4, 6), (5, 3)] {
        for (block, letter) in ('a'..).take(n_blocks).enumerate() {
            let ours = format!("layer{}.{block}", stage - 1);
            for (branch, conv, norm) in [
                ("branch2a", "conv1", "bn1"),
                ("branch2b", "conv2", "bn2"),
                ("branch2c", "conv3", "bn3"),
                ("branch1", "downsample.0", "downsample.1"),
            ] {
                if branch != "branch1" || block == 0 {
                    let keras = format!("{stage}{letter}_{branch}");
                    let (conv, norm) = (format!("{ours}.{conv}"), format!("{ours}.{norm}"));
                    names.push((format!("res{keras}"), format!("bn{keras}"), conv, norm));
                }
            }
        }
    }
    names
}

/// Rewrites a first convolution for another input. Keras' input is `255 * (std * x + mean) - caffe` for our `x`,
/// so each weight is scaled by `255 * std`, and the constant part, `255 * mean - caffe`, summed over the kernel,
/// becomes a shift of the output.
fn take_normalised_rgb(kernel: &mut Tensor, shift: &mut [f64]) {
    let area = kernel.shape[2] * kernel.shape[3];
    for (filter, shift) in kernel.values.chunks_exact_mut(3 * area).zip(shift) {
        let bgr = filter.to_vec();
        for channel in 0..3 {
            let std = 255.0 * f64::from(Preprocess::IMAGENET_STD[channel]);
            let constant = 255.0 * f64::from(Preprocess::IMAGENET_MEAN[channel]) - CAFFE_MEAN_RGB[channel];
            for position in 0..area {
                let weight = f64::from(bgr[(2 - channel) * area + position]);
                filter[channel * area + position] = (weight * std) as f32;
                *shift += weight * constant;
            }
        }
    }
}

/// Height, width, in, out to out, in, height, width.
fn transpose_kernel(kernel: &Tensor) -> Tensor {
    let [height, width, n_in, n_out] = [0, 1, 2, 3].map(|dimension| kernel.shape[dimension]);
    let mut values = Vec::with_capacity(kernel.values.len());
    for to in 0..n_out {
        for from in 0..n_in {
            for position in 0..height * width {
                values.push(kernel.values[(position * n_in + from) * n_out + to]);
            }
        }
    }
    Tensor { shape: vec![n_out, n_in, height, width], values }
}

fn transpose(matrix: &Tensor) -> Tensor {
    let (rows, columns) = (matrix.shape[0], matrix.shape[1]);
    let values = (0..columns).flat_map(|c| (0..rows).map(move |r| matrix.values[r * columns + c])).collect();
    Tensor { shape: vec![columns, rows], values }
}

/// All tensors of a layers model under Keras' names.
fn read_layers_model(folder: &Path) -> Result<BTreeMap<String, Tensor>> {
    let path = folder.join(MODEL);
    let text = std::fs::read_to_string(&path).map_err(sketchfind_core::Error::io("read", &path))?;
    let model: Model = serde_json::from_str(&text)
        .map_err(|e| Error::weights_file(&path, format!("not a tfjs layers model: {e}")))?;
    let mut tensors = BTreeMap::new();
    for group in model.manifest {
        let mut bytes = Vec::new();
        for shard in &group.paths {
            // A shard's name is a plain file name: anything else would read outside of the model.
            if shard.contains(['/', '\\']) || shard.starts_with('.') {
                return Err(Error::weights_file(&path, format!("a shard is called '{shard}'")));
            }
            let shard = folder.join(shard);
            bytes.extend(std::fs::read(&shard).map_err(sketchfind_core::Error::io("read", &shard))?);
        }
        let mut rest = bytes.as_slice();
        for entry in group.weights {
            if entry.dtype != "float32" || entry.quantization.is_some() {
                let reason = format!(
                    "tensor '{}' is {} or quantised, expected plain float32",
                    entry.name, entry.dtype
                );
                return Err(Error::weights_file(&path, reason));
            }
            // A shape with a 0 in it could state any other size for nothing.
            if entry.shape.contains(&0) {
                let reason = format!("tensor '{}' is {:?}, expected no size of 0", entry.name, entry.shape);
                return Err(Error::weights_file(&path, reason));
            }
            let n_bytes = entry
                .shape
                .iter()
                .try_fold(4_usize, |product, &size| product.checked_mul(size))
                .filter(|&n_bytes| n_bytes <= rest.len())
                .ok_or_else(|| {
                    let reason = format!("the shards end before tensor '{}' does", entry.name);
                    Error::weights_file(&path, reason)
                })?;
            let (data, behind) = rest.split_at(n_bytes);
            rest = behind;
            tensors.insert(entry.name, Tensor::new(entry.shape, convert(data, f32::from_le_bytes))?);
        }
        if !rest.is_empty() {
            let reason = format!("the shards hold {} bytes more than the manifest says", rest.len());
            return Err(Error::weights_file(&path, reason));
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_and_matrices_are_transposed() {
        // height 1, width 2, in 1, out 2: values are numbered as they lie in the file.
        let kernel = Tensor::new(vec![1, 2, 1, 2], vec![0.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(transpose_kernel(&kernel).values, [0.0, 2.0, 1.0, 3.0]);
        let matrix = Tensor::new(vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(transpose(&matrix).values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn the_rewritten_first_convolution_gives_what_keras_gives() {
        let kernel = Tensor::new(vec![1, 3, 1, 1], vec![0.5, -0.25, 2.0]).unwrap();
        let (red, green, blue) = (0.1, 0.6, 0.9);
        // Keras: BGR in 0..255 less Caffe's mean, bias 0.125.
        let caffe = |value: f64, channel: usize| 255.0 * value - CAFFE_MEAN_RGB[channel];
        let keras = 0.5 * caffe(blue, 2) - 0.25 * caffe(green, 1) + 2.0 * caffe(red, 0) + 0.125;
        let (mut ours, mut shift) = (kernel, vec![0.125]);
        take_normalised_rgb(&mut ours, &mut shift);
        let normalised = |value: f64, channel: usize| {
            (value - f64::from(Preprocess::IMAGENET_MEAN[channel]))
                / f64::from(Preprocess::IMAGENET_STD[channel])
        };
        let torch: f64 = [red, green, blue]
            .iter()
            .enumerate()
            .map(|(channel, &value)| f64::from(ours.values[channel]) * normalised(value, channel))
            .sum::<f64>()
            + shift[0];
        assert!((torch - keras).abs() < 1e-4, "{torch} and {keras}");
    }

    #[test]
    fn a_size_of_0_is_refused_before_it_is_counted_to() {
        let folder = tempfile::tempdir().unwrap();
        let entry =
            r#"{"name": "conv1/kernel", "shape": [0, 1, 1152921504606846976, 64], "dtype": "float32"}"#;
        let model = format!(r#"{{"weightsManifest": [{{"paths": [], "weights": [{entry}]}}]}}"#);
        std::fs::write(folder.path().join(MODEL), model).unwrap();
        let message = read_resnet50(folder.path()).unwrap_err().to_string();
        assert!(message.contains("conv1/kernel") && message.contains("no size of 0"), "{message}");
    }

    #[test]
    fn there_are_53_convolutions() {
        assert_eq!(layer_names().len(), 53);
    }
}
