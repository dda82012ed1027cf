//! DenseNet: Huang et al., 'Densely Connected Convolutional Networks' (CVPR 2017), with torchvision's parameter names:
//! growth rate 32, bottlenecks of 128 channels, compression 0.5 between blocks.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node};

const GROWTH: usize = 32;
const BOTTLENECK: usize = 4 * GROWTH;

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    let of = |name, blocks| Known::new(name, InputSpec::imagenet(224), move |head| describe(blocks, head));
    vec![of("densenet121", [6, 12, 24, 16]), of("densenet169", [6, 12, 32, 32])]
}

/// `blocks`: the layers of each dense block (table 1 of the paper).
fn describe(blocks: [usize; 4], head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let x = b.input();
    let x = b.conv("features.conv0", x, 3, 64, 7, 2, 3, 1, false);
    let x = b.batch_norm("features.norm0", x, 64);
    let x = b.relu(x);
    let mut x = b.max_pool(x, 3, 2, 1);
    let mut channels = 64;
    for (block, n_layers) in blocks.into_iter().enumerate() {
        for layer in 0..n_layers {
            let name = format!("features.denseblock{}.denselayer{}", block + 1, layer + 1);
            let y = b.batch_norm(&format!("{name}.norm1"), x, channels);
            let y = b.relu(y);
            let y = b.conv(&format!("{name}.conv1"), y, channels, BOTTLENECK, 1, 1, 0, 1, false);
            let y = b.batch_norm(&format!("{name}.norm2"), y, BOTTLENECK);
            let y = b.relu(y);
            let y = b.conv(&format!("{name}.conv2"), y, BOTTLENECK, GROWTH, 3, 1, 1, 1, false);
            // Concatenating the sum so far with one more equals concatenating all.
            x = b.concat(&[x, y]);
            channels += GROWTH;
        }
        if block + 1 < blocks.len() {
            let name = format!("features.transition{}", block + 1);
            x = b.batch_norm(&format!("{name}.norm"), x, channels);
            x = b.relu(x);
            x = b.conv(&format!("{name}.conv"), x, channels, channels / 2, 1, 1, 0, 1, false);
            x = b.avg_pool(x, 2, 2, 0);
            channels /= 2;
        }
    }
    x = b.batch_norm("features.norm5", x, channels);
    x = b.relu(x);
    x = b.global_avg_pool(x);
    if head == Head::Classifier {
        b.linear("classifier", x, channels, 1000);
    }
    b.finish()
}
