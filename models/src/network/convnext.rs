//! ConvNeXt-Tiny: Liu et al., 'A ConvNet for the 2020s' (CVPR 2022), with torchvision's parameter names. Retrieval uses the
//! last block's map, pooled; the layer norm behind the pooling belongs to the classifier, as in torchvision. Stochastic
//! depth does nothing at inference and is not described.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node, Op};

/// Blocks and channels of each stage (appendix A of the paper).
const STAGES: [(usize, usize); 4] = [(3, 96), (3, 192), (9, 384), (3, 768)];

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    vec![Known::new("convnext_tiny", InputSpec::imagenet(224), describe)]
}

fn describe(head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let (mut x, mut channels) = (b.input(), 3);
    for (stage, (n_blocks, out_channels)) in STAGES.into_iter().enumerate() {
        let name = format!("features.{}", 2 * stage);
        if stage == 0 {
            x = b.conv(&format!("{name}.0"), x, channels, out_channels, 4, 4, 0, 1, true);
            x = layer_norm(&mut b, &format!("{name}.1"), x, out_channels);
        } else {
            x = layer_norm(&mut b, &format!("{name}.0"), x, channels);
            x = b.conv(&format!("{name}.1"), x, channels, out_channels, 2, 2, 0, 1, true);
        }
        channels = out_channels;
        for block in 0..n_blocks {
            x = residual(&mut b, &format!("features.{}.{block}", 2 * stage + 1), x, channels);
        }
    }
    x = b.global_avg_pool(x);
    if head == Head::Classifier {
        x = layer_norm(&mut b, "classifier.0", x, channels);
        b.linear("classifier.2", x, channels, 1000);
    }
    b.finish()
}

/// Figure 4 of the paper.
fn residual(b: &mut Builder, name: &str, from: usize, channels: usize) -> usize {
    let x = b.conv(&format!("{name}.block.0"), from, channels, channels, 7, 1, 3, channels, true);
    let x = layer_norm(b, &format!("{name}.block.2"), x, channels);
    let x = b.linear(&format!("{name}.block.3"), x, channels, 4 * channels);
    let x = b.add_op(Op::Gelu, vec![x]);
    let x = b.linear(&format!("{name}.block.5"), x, 4 * channels, channels);
    let x = b.add_op(Op::ChannelScale { name: format!("{name}.layer_scale"), channels }, vec![x]);
    b.sum(from, x)
}

fn layer_norm(b: &mut Builder, name: &str, from: usize, channels: usize) -> usize {
    b.add_op(Op::LayerNorm { name: name.to_owned(), channels, eps: 1e-6 }, vec![from])
}
