//! ResNet: He et al., 'Deep Residual Learning for Image Recognition' (CVPR 2016), with torchvision's parameter
//! names. Two variants of the bottleneck: the original v1 strides in its first 1 x 1 convolution, torchvision's
//! v1.5 in its 3 x 3.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node};

/// One member of the family.
#[derive(Clone, Copy, Debug)]
struct Variant {
    /// Blocks in each of the four stages (table 1 of the paper).
    blocks: [usize; 4],
    block: Block,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Block {
    /// Two 3 x 3 convolutions.
    Basic,
    /// 1 x 1, 3 x 3, 1 x 1 with four times the channels.
    Bottleneck { stride_in_3x3: bool },
}

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    let v15 = Block::Bottleneck { stride_in_3x3: true };
    let v1 = Block::Bottleneck { stride_in_3x3: false };
    let variants = [
        ("resnet18", [2, 2, 2, 2], Block::Basic),
        ("resnet34", [3, 4, 6, 3], Block::Basic),
        ("resnet50", [3, 4, 6, 3], v15),
        ("resnet101", [3, 4, 23, 3], v15),
        ("resnet152", [3, 8, 36, 3], v15),
        ("resnet50_v1", [3, 4, 6, 3], v1),
        ("resnet101_v1", [3, 4, 23, 3], v1),
        ("resnet152_v1", [3, 8, 36, 3], v1),
    ];
    let of = |(name, blocks, block)| {
        Known::new(name, InputSpec::imagenet(224), move |head| describe(Variant { blocks, block }, head))
    };
    variants.into_iter().map(of).collect()
}

fn describe(variant: Variant, head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let x = b.input();
    let x = b.conv("conv1", x, 3, 64, 7, 2, 3, 1, false);
    let x = b.batch_norm("bn1", x, 64);
    let x = b.relu(x);
    let mut x = b.max_pool(x, 3, 2, 1);
    let mut channels = 64;
    for (stage, &n_blocks) in variant.blocks.iter().enumerate() {
        for block in 0..n_blocks {
            let name = format!("layer{}.{block}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let planes = 64 << stage;
            (x, channels) = match variant.block {
                Block::Basic => basic(&mut b, &name, x, channels, planes, stride),
                Block::Bottleneck { stride_in_3x3 } => {
                    bottleneck(&mut b, &name, x, channels, planes, stride, stride_in_3x3)
                }
            };
        }
    }
    x = b.global_avg_pool(x);
    if head == Head::Classifier {
        b.linear("fc", x, channels, 1000);
    }
    b.finish()
}

fn basic(
    b: &mut Builder,
    name: &str,
    from: usize,
    in_channels: usize,
    planes: usize,
    stride: usize,
) -> (usize, usize) {
    let x = b.conv(&format!("{name}.conv1"), from, in_channels, planes, 3, stride, 1, 1, false);
    let x = b.batch_norm(&format!("{name}.bn1"), x, planes);
    let x = b.relu(x);
    let x = b.conv(&format!("{name}.conv2"), x, planes, planes, 3, 1, 1, 1, false);
    let x = b.batch_norm(&format!("{name}.bn2"), x, planes);
    (join(b, name, from, x, in_channels, planes, stride), planes)
}

fn bottleneck(
    b: &mut Builder,
    name: &str,
    from: usize,
    in_channels: usize,
    planes: usize,
    stride: usize,
    stride_in_3x3: bool,
) -> (usize, usize) {
    let out_channels = planes * 4;
    let (stride1, stride2) = if stride_in_3x3 { (1, stride) } else { (stride, 1) };
    let x = b.conv(&format!("{name}.conv1"), from, in_channels, planes, 1, stride1, 0, 1, false);
    let x = b.batch_norm(&format!("{name}.bn1"), x, planes);
    let x = b.relu(x);
    let x = b.conv(&format!("{name}.conv2"), x, planes, planes, 3, stride2, 1, 1, false);
    let x = b.batch_norm(&format!("{name}.bn2"), x, planes);
    let x = b.relu(x);
    let x = b.conv(&format!("{name}.conv3"), x, planes, out_channels, 1, 1, 0, 1, false);
    let x = b.batch_norm(&format!("{name}.bn3"), x, out_channels);
    (join(b, name, from, x, in_channels, out_channels, stride), out_channels)
}

/// The shortcut, projected where the shape changes, the sum and its activation.
fn join(
    b: &mut Builder,
    name: &str,
    from: usize,
    x: usize,
    in_channels: usize,
    out_channels: usize,
    stride: usize,
) -> usize {
    let mut shortcut = from;
    if stride != 1 || in_channels != out_channels {
        let projection = format!("{name}.downsample.0");
        shortcut = b.conv(&projection, from, in_channels, out_channels, 1, stride, 0, 1, false);
        shortcut = b.batch_norm(&format!("{name}.downsample.1"), shortcut, out_channels);
    }
    let x = b.sum(x, shortcut);
    b.relu(x)
}
