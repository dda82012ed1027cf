//! MobileNetV2: Sandler et al., 'MobileNetV2: Inverted Residuals and Linear Bottlenecks' (CVPR 2018), width 1.0,
//! with torchvision's parameter names. Its dropout before the classifier does nothing at inference and is not
//! described.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node};

/// Table 2 of the paper: expansion t, output channels c, repeats n, stride s.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    vec![Known::new("mobilenet_v2", InputSpec::imagenet(224), describe)]
}

fn describe(head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let x = b.input();
    let mut x = conv_norm_relu6(&mut b, "features.0", x, 3, 32, 3, 2, 1);
    let mut channels = 32;
    let mut block = 1;
    for (expansion, out_channels, repeats, first_stride) in STAGES {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { first_stride } else { 1 };
            x = inverted_residual(&mut b, block, x, channels, out_channels, expansion, stride);
            channels = out_channels;
            block += 1;
        }
    }
    x = conv_norm_relu6(&mut b, "features.18", x, channels, 1280, 1, 1, 1);
    x = b.global_avg_pool(x);
    if head == Head::Classifier {
        b.linear("classifier.1", x, 1280, 1000);
    }
    b.finish()
}

#[allow(clippy::too_many_arguments, reason = "the arguments of a convolution")]
fn conv_norm_relu6(
    b: &mut Builder,
    name: &str,
    from: usize,
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
) -> usize {
    let padding = (kernel - 1) / 2;
    let conv = format!("{name}.0");
    let x = b.conv(&conv, from, in_channels, out_channels, kernel, stride, padding, groups, false);
    let x = b.batch_norm(&format!("{name}.1"), x, out_channels);
    b.relu6(x)
}

fn inverted_residual(
    b: &mut Builder,
    block: usize,
    from: usize,
    in_channels: usize,
    out_channels: usize,
    expansion: usize,
    stride: usize,
) -> usize {
    let name = |layer: usize| format!("features.{block}.conv.{layer}");
    let hidden = in_channels * expansion;
    let (mut x, mut layer) = (from, 0);
    if expansion != 1 {
        x = conv_norm_relu6(b, &name(layer), x, in_channels, hidden, 1, 1, 1);
        layer += 1;
    }
    x = conv_norm_relu6(b, &name(layer), x, hidden, hidden, 3, stride, hidden);
    x = b.conv(&name(layer + 1), x, hidden, out_channels, 1, 1, 0, 1, false);
    x = b.batch_norm(&name(layer + 2), x, out_channels);
    if stride == 1 && in_channels == out_channels { b.sum(from, x) } else { x }
}
