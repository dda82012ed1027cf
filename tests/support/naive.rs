//! A network run by the definitions of its operations, in f64 and plain loops: the oracle for every other way.

use sketchfind_models::network::{Network, Op};
use sketchfind_models::weights::Weights;

/// A feature map of one image, or a vector where height and width are 1.
#[derive(Clone, Debug)]
struct Map {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f64>,
}

impl Map {
    fn new(channels: usize, height: usize, width: usize) -> Map {
        Map { channels, height, width, values: vec![0.0; channels * height * width] }
    }

    /// The value at a place that may lie outside, where it is `outside`.
    fn at(&self, channel: usize, y: isize, x: isize, outside: f64) -> f64 {
        if y < 0 || x < 0 || y as usize >= self.height || x as usize >= self.width {
            return outside;
        }
        self.values[(channel * self.height + y as usize) * self.width + x as usize]
    }

    fn each(mut self, change: impl Fn(usize, f64) -> f64) -> Map {
        let area = self.height * self.width;
        self.values.iter_mut().enumerate().for_each(|(index, value)| *value = change(index / area, *value));
        self
    }
}

/// The output for one image.
///
/// # Shapes
/// `image`: `[3, side, side]`; returns `[output_width]`.
///
/// # Panics
/// Where the weights lack a tensor.
pub fn forward(network: &Network, weights: &Weights, image: &[f32], side: usize) -> Vec<f64> {
    let tensor = |name: &str, part: &str| -> Vec<f64> {
        match weights.get(&format!("{name}.{part}")) {
            Some(tensor) => tensor.values.iter().map(|&value| f64::from(value)).collect(),
            None => panic!("no tensor '{name}.{part}'"),
        }
    };
    let mut maps: Vec<Map> = Vec::new();
    for node in network.nodes() {
        let input = |position: usize| maps[node.inputs[position]].clone();
        let output = match &node.op {
            Op::Input => {
                let mut map = Map::new(3, side, side);
                map.values = image.iter().map(|&value| f64::from(value)).collect();
                map
            }
            Op::Conv2d { name, in_channels, out_channels, kernel, stride, padding, groups, bias } => {
                let biases = if *bias { tensor(name, "bias") } else { vec![0.0; *out_channels] };
                let (n_in, n_out) = (in_channels / groups, out_channels / groups);
                let kernels = tensor(name, "weight");
                windows(&input(0), *out_channels, *kernel, *stride, *padding, false, |map, out, y0, x0| {
                    let mut sum = biases[out];
                    for from in 0..n_in {
                        let channel = out / n_out * n_in + from;
                        for ky in 0..kernel[0] {
                            for kx in 0..kernel[1] {
                                let weight = kernels[((out * n_in + from) * kernel[0] + ky) * kernel[1] + kx];
                                sum += weight * map.at(channel, y0 + ky as isize, x0 + kx as isize, 0.0);
                            }
                        }
                    }
                    sum
                })
            }
            Op::BatchNorm2d { name, eps, .. } => {
                let [gamma, beta, mean, variance] =
                    ["weight", "bias", "running_mean", "running_var"].map(|part| tensor(name, part));
                input(0).each(|c, x| (x - mean[c]) / (variance[c] + eps).sqrt() * gamma[c] + beta[c])
            }
            Op::Relu => input(0).each(|_, x| x.max(0.0)),
            Op::Relu6 => input(0).each(|_, x| x.clamp(0.0, 6.0)),
            Op::MaxPool2d { kernel, stride, padding, ceil_mode } => {
                let map = input(0);
                let channels = map.channels;
                windows(&map, channels, *kernel, *stride, *padding, *ceil_mode, |map, channel, y0, x0| {
                    let mut most = f64::NEG_INFINITY;
                    for ky in 0..kernel[0] as isize {
                        for kx in 0..kernel[1] as isize {
                            most = most.max(map.at(channel, y0 + ky, x0 + kx, f64::NEG_INFINITY));
                        }
                    }
                    most
                })
            }
            Op::GlobalAvgPool => {
                let map = input(0);
                let area = map.height * map.width;
                let mut pooled = Map::new(map.channels, 1, 1);
                for (mean, plane) in pooled.values.iter_mut().zip(map.values.chunks(area)) {
                    *mean = plane.iter().sum::<f64>() / area as f64;
                }
                pooled
            }
            Op::Add => {
                let (mut sum, other) = (input(0), input(1));
                sum.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a += b);
                sum
            }
            Op::Linear { name, in_features, out_features, bias } => {
                let (vector, rows) = (input(0), tensor(name, "weight"));
                let mut output = Map::new(*out_features, 1, 1);
                for (row, value) in output.values.iter_mut().enumerate() {
                    let weights = &rows[row * in_features..][..*in_features];
                    *value = weights.iter().zip(&vector.values).map(|(w, x)| w * x).sum();
                    if *bias {
                        *value += tensor(name, "bias")[row];
                    }
                }
                output
            }
        };
        maps.push(output);
    }
    maps.pop().map(|map| map.values).unwrap_or_default()
}

/// A map whose every value is made from one window of another.
fn windows(
    map: &Map,
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    ceil_mode: bool,
    value: impl Fn(&Map, usize, isize, isize) -> f64,
) -> Map {
    let size = |length: usize, dimension: usize| {
        let room = length + 2 * padding[dimension] - kernel[dimension];
        let mut n = if ceil_mode { room.div_ceil(stride[dimension]) } else { room / stride[dimension] } + 1;
        // A window that begins in the padding behind the map does not count (torch's rule for ceil_mode).
        if ceil_mode && (n - 1) * stride[dimension] >= length + padding[dimension] {
            n -= 1;
        }
        n
    };
    let mut output = Map::new(out_channels, size(map.height, 0), size(map.width, 1));
    let (height, width) = (output.height, output.width);
    for (index, out) in output.values.iter_mut().enumerate() {
        let (channel, y, x) = (index / (height * width), index / width % height, index % width);
        let (y0, x0) = ((y * stride[0]) as isize, (x * stride[1]) as isize);
        *out = value(map, channel, y0 - padding[0] as isize, x0 - padding[1] as isize);
    }
    output
}
