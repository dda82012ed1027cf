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
    let whole = |name: &str| -> Vec<f64> {
        match weights.get(name) {
            Some(tensor) => tensor.values.iter().map(|&value| f64::from(value)).collect(),
            None => panic!("no tensor '{name}'"),
        }
    };
    let tensor = |name: &str, part: &str| whole(&format!("{name}.{part}"));
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
                let map = input(0);
                let around = [
                    padding.around(map.height, 0, kernel[0], stride[0]),
                    padding.around(map.width, 1, kernel[1], stride[1]),
                ];
                windows(&map, *out_channels, *kernel, *stride, around, false, |map, out, y0, x0| {
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
                let around = padding.map(|zeros| (zeros, zeros));
                windows(&map, channels, *kernel, *stride, around, *ceil_mode, |map, channel, y0, x0| {
                    let mut most = f64::NEG_INFINITY;
                    for ky in 0..kernel[0] as isize {
                        for kx in 0..kernel[1] as isize {
                            most = most.max(map.at(channel, y0 + ky, x0 + kx, f64::NEG_INFINITY));
                        }
                    }
                    most
                })
            }
            Op::AvgPool2d { kernel, stride, padding } => {
                let map = input(0);
                let (channels, around) = (map.channels, padding.map(|zeros| (zeros, zeros)));
                windows(&map, channels, *kernel, *stride, around, false, |map, channel, y0, x0| {
                    let mut sum = 0.0;
                    for ky in 0..kernel[0] as isize {
                        for kx in 0..kernel[1] as isize {
                            sum += map.at(channel, y0 + ky, x0 + kx, 0.0);
                        }
                    }
                    sum / (kernel[0] * kernel[1]) as f64
                })
            }
            Op::Gelu => input(0).each(|_, x| x * (1.0 + erf(x / 2.0_f64.sqrt())) / 2.0),
            Op::LayerNorm { name, channels, eps } => {
                let (gamma, beta) = (tensor(name, "weight"), tensor(name, "bias"));
                let map = input(0);
                let area = map.height * map.width;
                let mut normal = map.clone();
                for place in 0..area {
                    let values: Vec<f64> = (0..*channels).map(|c| map.values[c * area + place]).collect();
                    let mean = values.iter().sum::<f64>() / values.len() as f64;
                    let variance =
                        values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
                    for (c, x) in values.iter().enumerate() {
                        normal.values[c * area + place] =
                            (x - mean) / (variance + eps).sqrt() * gamma[c] + beta[c];
                    }
                }
                normal
            }
            Op::ChannelScale { name, .. } => {
                let scale = whole(name);
                input(0).each(|c, x| x * scale[c])
            }
            Op::L2Normalise => {
                let map = input(0);
                let norm = map.values.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
                map.each(|_, x| x / norm)
            }
            Op::Flatten { size } => {
                let map = input(0);
                assert_eq!([map.height, map.width], *size);
                Map { channels: map.values.len(), height: 1, width: 1, values: map.values }
            }
            Op::Concat => {
                let maps: Vec<Map> = (0..node.inputs.len()).map(input).collect();
                Map {
                    channels: maps.iter().map(|map| map.channels).sum(),
                    height: maps[0].height,
                    width: maps[0].width,
                    values: maps.into_iter().flat_map(|map| map.values).collect(),
                }
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
            Op::Gem { p, name, cells } => {
                let p = name.as_ref().map_or(*p, |name| whole(name)[0]);
                let map = input(0);
                let part = |index: usize, n: usize| index * n / cells..((index + 1) * n).div_ceil(*cells);
                let mut pooled = Map::new(map.channels * cells * cells, 1, 1);
                for (index, mean) in pooled.values.iter_mut().enumerate() {
                    let (channel, cell) = (index / (cells * cells), index % (cells * cells));
                    let (rows, columns) = (part(cell / cells, map.height), part(cell % cells, map.width));
                    let n = rows.len() * columns.len();
                    let places = rows.flat_map(|y| columns.clone().map(move |x| (y as isize, x as isize)));
                    let powers = places.map(|(y, x)| map.at(channel, y, x, 0.0).max(1e-6).powf(p));
                    *mean = (powers.sum::<f64>() / n as f64).powf(1.0 / p);
                }
                pooled
            }
            Op::Add => {
                let (mut sum, other) = (input(0), input(1));
                sum.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a += b);
                sum
            }
            Op::Linear { name, in_features, out_features, bias } => {
                let (map, rows) = (input(0), tensor(name, "weight"));
                let area = map.height * map.width;
                let mut output = Map::new(*out_features, map.height, map.width);
                for (index, value) in output.values.iter_mut().enumerate() {
                    let (row, place) = (index / area, index % area);
                    let weights = &rows[row * in_features..][..*in_features];
                    *value = weights.iter().enumerate().map(|(c, w)| w * map.values[c * area + place]).sum();
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
    padding: [(usize, usize); 2],
    ceil_mode: bool,
    value: impl Fn(&Map, usize, isize, isize) -> f64,
) -> Map {
    let size = |length: usize, dimension: usize| {
        let (before, behind) = padding[dimension];
        let room = length + before + behind - kernel[dimension];
        let mut n = if ceil_mode { room.div_ceil(stride[dimension]) } else { room / stride[dimension] } + 1;
        // A window that begins in the padding behind the map does not count (torch's rule for ceil_mode).
        if ceil_mode && (n - 1) * stride[dimension] >= length + before {
            n -= 1;
        }
        n
    };
    let mut output = Map::new(out_channels, size(map.height, 0), size(map.width, 1));
    let (height, width) = (output.height, output.width);
    for (index, out) in output.values.iter_mut().enumerate() {
        let (channel, y, x) = (index / (height * width), index / width % height, index % width);
        let (y0, x0) = ((y * stride[0]) as isize, (x * stride[1]) as isize);
        *out = value(map, channel, y0 - padding[0].0 as isize, x0 - padding[1].0 as isize);
    }
    output
}

/// The error function by its Taylor series, which converges for every x; beyond 6 it is 1 in 64 bits.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    // e^(-x^2) sum of 2^n x^(2n + 1) / (2n + 1)!!: all terms have one sign, so that nothing cancels.
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    sum * (-x * x).exp() * 2.0 / std::f64::consts::PI.sqrt()
}
