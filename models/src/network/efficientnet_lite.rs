//! EfficientNet-Lite: Tan and Le, 'EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks' (ICML 2019),
//! in the variant for small devices that Google published in 2020: no squeeze-and-excitation, ReLU6 in place of swish,
//! stem, head and the number of first and last blocks not scaled. torchvision does not have it; the parameters are called
//! as in the published PyTorch files (`_blocks.0._depthwise_conv.weight`), which are TensorFlow's weights: padding is
//! 'SAME', epsilon 1e-3.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node, Op, Padding};

/// A member of the family.
#[derive(Clone, Copy, Debug)]
struct Variant {
    width: f64,
    depth: f64,
}

impl Variant {
    /// A multiple of 8, and never more than a tenth below the scaled number.
    fn channels(self, base: usize) -> usize {
        let scaled = base as f64 * self.width;
        let rounded = (((scaled + 4.0) / 8.0) as usize * 8).max(8);
        if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
    }

    fn repeats(self, base: usize) -> usize {
        (base as f64 * self.depth).ceil() as usize
    }
}

/// Table 1 of the paper: kernel, stride, expansion, channels, repeats.
const STAGES: [[usize; 5]; 7] = [
    [3, 1, 1, 16, 1],
    [3, 2, 6, 24, 2],
    [5, 2, 6, 40, 2],
    [3, 2, 6, 80, 3],
    [5, 1, 6, 112, 3],
    [5, 2, 6, 192, 4],
    [3, 1, 6, 320, 1],
];

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    let of = |name, width, depth, side| {
        let variant = Variant { width, depth };
        Known::new(name, InputSpec::symmetric(side), move |head| describe(variant, head))
    };
    vec![
        of("efficientnet_lite0", 1.0, 1.0, 224),
        of("efficientnet_lite1", 1.0, 1.1, 240),
        of("efficientnet_lite2", 1.1, 1.2, 260),
    ]
}

fn describe(variant: Variant, head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let x = b.input();
    let mut x = conv_norm(&mut b, ["_conv_stem", "_bn0"], x, [3, 32], 3, 2, 1);
    x = b.relu6(x);
    let (mut channels, mut block) = (32, 0);
    for (stage, [kernel, first_stride, expansion, base_channels, base_repeats]) in
        STAGES.into_iter().enumerate()
    {
        let out_channels = variant.channels(base_channels);
        let is_end = stage == 0 || stage + 1 == STAGES.len();
        let repeats = if is_end { base_repeats } else { variant.repeats(base_repeats) };
        for repeat in 0..repeats {
            let stride = if repeat == 0 { first_stride } else { 1 };
            let name = |part: &str| format!("_blocks.{block}.{part}");
            let hidden = channels * expansion;
            let mut y = x;
            if expansion != 1 {
                let names = [&*name("_expand_conv"), &*name("_bn0")];
                y = conv_norm(&mut b, names, y, [channels, hidden], 1, 1, 1);
                y = b.relu6(y);
            }
            let names = [&*name("_depthwise_conv"), &*name("_bn1")];
            y = conv_norm(&mut b, names, y, [hidden, hidden], kernel, stride, hidden);
            y = b.relu6(y);
            let names = [&*name("_project_conv"), &*name("_bn2")];
            y = conv_norm(&mut b, names, y, [hidden, out_channels], 1, 1, 1);
            x = if stride == 1 && channels == out_channels { b.sum(x, y) } else { y };
            channels = out_channels;
            block += 1;
        }
    }
    x = conv_norm(&mut b, ["_conv_head", "_bn1"], x, [channels, 1280], 1, 1, 1);
    x = b.relu6(x);
    x = b.global_avg_pool(x);
    if head == Head::Classifier {
        b.linear("_fc", x, 1280, 1000);
    }
    b.finish()
}

fn conv_norm(
    b: &mut Builder,
    [conv, norm]: [&str; 2],
    from: usize,
    [in_channels, out_channels]: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
) -> usize {
    let op = Op::Conv2d {
        name: conv.to_owned(),
        in_channels,
        out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::Same,
        groups,
        bias: false,
    };
    let x = b.add_op(op, vec![from]);
    b.batch_norm_with(norm, x, out_channels, 1e-3)
}
