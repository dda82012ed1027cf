//! The operations of networks, and the tensors that each needs.

use serde::{Deserialize, Serialize};

/// What [`Op::Gem`] raises smaller values to, so that their power has a gradient.
pub const GEM_MIN: f64 = 1e-6;

/// One operation. Parameter names are `<name>.weight`, `<name>.bias`, `<name>.running_mean` and
/// `<name>.running_var`, as in torchvision's state dictionaries.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// The network's input, `[n, 3, h, w]`. Always node 0 and only there.
    Input,
    /// A 2-d convolution, weight `[out, in / groups, kernel, kernel]`.
    Conv2d {
        /// Prefix of the parameters' names.
        name: String,
        /// Channels in and out.
        in_channels: usize,
        /// See `in_channels`.
        out_channels: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Step down and across.
        stride: [usize; 2],
        /// Zeros added around the map.
        padding: Padding,
        /// Groups of channels; `in_channels` for a depthwise convolution.
        groups: usize,
        /// Whether there is a bias, `[out]`.
        bias: bool,
    },
    /// Batch normalisation over channels: weight, bias, running_mean and running_var, each `[channels]`.
    BatchNorm2d {
        /// Prefix of the parameters' names.
        name: String,
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// `max(0, x)`.
    Relu,
    /// `min(max(0, x), 6)`.
    Relu6,
    /// Maximum over windows; padding counts as minus infinity.
    MaxPool2d {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Step down and across.
        stride: [usize; 2],
        /// Padding above and below, left and right.
        padding: [usize; 2],
        /// Whether the output's size rounds up.
        ceil_mode: bool,
    },
    /// Mean over windows; padding counts as zeros (torch's `count_include_pad`).
    AvgPool2d {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Step down and across.
        stride: [usize; 2],
        /// Padding above and below, left and right.
        padding: [usize; 2],
    },
    /// The mean over height and width: `[n, c, h, w]` to `[n, c]`.
    GlobalAvgPool,
    /// The generalised mean over each of `cells x cells` parts of the map, `(mean of max(x, 1e-6)^p)^(1 / p)`:
    /// `[n, c, h, w]` to `[n, c * cells * cells]`, a channel's parts beside each other, row by row. Part i of a dimension of
    /// length n goes from `floor(i * n / cells)` to `ceil((i + 1) * n / cells)`, as torch's adaptive pooling has it.
    /// Radenovic, Tolias, Chum, 'Fine-tuning CNN Image Retrieval with No Human Annotation' (2018), equation 3, with one
    /// exponent for all channels. An exponent of 1 is the mean, a large one the maximum.
    Gem {
        /// The exponent, or where it is learnt, the one that training begins with.
        p: f64,
        /// The name of the exponent, a parameter `[1]`, where it is learnt.
        name: Option<String>,
        /// The parts across and down; 1 for the whole map.
        cells: usize,
    },
    /// A map of exactly this height and width as a vector: `[n, c, h, w]` to `[n, c * h * w]`.
    Flatten {
        /// The map's height and width.
        size: [usize; 2],
    },
    /// The sum of two nodes of one shape.
    Add,
    /// Maps behind one another: `[n, c1, h, w]`, `[n, c2, h, w]`, ... to `[n, c1 + c2 + ..., h, w]`.
    Concat,
    /// `x * (1 + erf(x / sqrt 2)) / 2`: Hendrycks and Gimpel, 'Gaussian Error Linear Units' (2016).
    Gelu,
    /// Normalisation over channels at each place: weight and bias, each `[channels]`. Ba, Kiros, Hinton, 'Layer
    /// Normalization' (2016).
    LayerNorm {
        /// Prefix of the parameters' names.
        name: String,
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// Each channel times its own number; one parameter `[channels, 1, 1]`, whose name has no suffix.
    ChannelScale {
        /// The parameter's name.
        name: String,
        /// Channels.
        channels: usize,
    },
    /// `x / max(|x|, 1e-12)`, a vector of unit length (torch's `normalize`).
    L2Normalise,
    /// `x W^T + b` on `[n, in]`, or over channels at each place of `[n, in, h, w]`: weight `[out, in]`, bias `[out]`.
    Linear {
        /// Prefix of the parameters' names.
        name: String,
        /// Width in and out.
        in_features: usize,
        /// See `in_features`.
        out_features: usize,
        /// Whether there is a bias.
        bias: bool,
    },
}

/// Zeros around a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// So many above and below, left and right.
    Fixed([usize; 2]),
    /// As many as make the output `ceil(size / stride)` high and wide, the odd one below and to the right: TensorFlow's
    /// 'SAME'.
    Same,
}

impl Padding {
    /// The zeros before and behind a dimension of a map that is `size` long there; `dimension` is 0 for height, 1 for
    /// width.
    ///
    /// ```
    /// use sketchfind_models::network::Padding;
    /// assert_eq!(Padding::Same.around(224, 0, 3, 2), (0, 1));
    /// assert_eq!(Padding::Same.around(15, 0, 5, 2), (2, 2));
    /// assert_eq!(Padding::Fixed([1, 3]).around(224, 1, 7, 1), (3, 3));
    /// ```
    pub fn around(self, size: usize, dimension: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Padding::Fixed(padding) => (padding[dimension], padding[dimension]),
            Padding::Same => {
                let needed = (size.div_ceil(stride).saturating_sub(1) * stride + kernel).saturating_sub(size);
                (needed / 2, needed - needed / 2)
            }
        }
    }

    /// How many windows of a convolution or pooling fit a dimension of a map that is `size` long there; `rounds_up` is
    /// torch's ceil_mode. Nothing where the window is larger than the map with its zeros.
    pub(crate) fn n_windows(
        self,
        size: usize,
        dimension: usize,
        kernel: usize,
        stride: usize,
        rounds_up: bool,
    ) -> Option<usize> {
        let (before, behind) = self.around(size, dimension, kernel, stride);
        let room = size.saturating_add(before + behind).checked_sub(kernel)?;
        let n = if rounds_up { room.div_ceil(stride) } else { room / stride } + 1;
        // A window that begins in the padding behind the map does not count (torch's rule for ceil_mode).
        let is_beyond = rounds_up && (n - 1).saturating_mul(stride) >= size.saturating_add(before);
        Some(n - usize::from(is_beyond))
    }
}

/// A node: an operation on the outputs of earlier nodes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// The nodes whose outputs it takes, each below this node's own index.
    pub inputs: Vec<usize>,
}

/// What a parameter is to an optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Changed by gradients: weights and biases.
    Trained,
    /// Changed by the forward pass in training mode only: running means and variances.
    Statistic,
}

/// The name and shape of one tensor that a network needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// torchvision's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is to an optimiser.
    pub kind: ParameterKind,
}

impl Op {
    /// The tensors that the operation needs.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let spec = |name: &str, part: &str, shape: Vec<usize>, kind| ParameterSpec {
            name: format!("{name}.{part}"),
            shape,
            kind,
        };
        match self {
            Op::Conv2d { name, in_channels, out_channels, kernel, groups, bias, .. } => {
                let shape = vec![*out_channels, in_channels / groups, kernel[0], kernel[1]];
                let mut specs = vec![spec(name, "weight", shape, ParameterKind::Trained)];
                if *bias {
                    specs.push(spec(name, "bias", vec![*out_channels], ParameterKind::Trained));
                }
                specs
            }
            Op::BatchNorm2d { name, channels, .. } => [
                ("weight", ParameterKind::Trained),
                ("bias", ParameterKind::Trained),
                ("running_mean", ParameterKind::Statistic),
                ("running_var", ParameterKind::Statistic),
            ]
            .into_iter()
            .map(|(part, kind)| spec(name, part, vec![*channels], kind))
            .collect(),
            Op::Linear { name, in_features, out_features, bias } => {
                let shape = vec![*out_features, *in_features];
                let mut specs = vec![spec(name, "weight", shape, ParameterKind::Trained)];
                if *bias {
                    specs.push(spec(name, "bias", vec![*out_features], ParameterKind::Trained));
                }
                specs
            }
            Op::LayerNorm { name, channels, .. } => ["weight", "bias"]
                .map(|part| spec(name, part, vec![*channels], ParameterKind::Trained))
                .to_vec(),
            Op::ChannelScale { name, channels } => vec![ParameterSpec {
                name: name.clone(),
                shape: vec![*channels, 1, 1],
                kind: ParameterKind::Trained,
            }],
            Op::Gem { name: Some(name), .. } => {
                vec![ParameterSpec { name: name.clone(), shape: vec![1], kind: ParameterKind::Trained }]
            }
            Op::Gem { name: None, .. }
            | Op::Input
            | Op::Relu
            | Op::Relu6
            | Op::Gelu
            | Op::MaxPool2d { .. }
            | Op::AvgPool2d { .. }
            | Op::GlobalAvgPool
            | Op::Flatten { .. }
            | Op::Add
            | Op::Concat
            | Op::L2Normalise => Vec::new(),
        }
    }
}
