//! VGG-16: Simonyan and Zisserman, 'Very Deep Convolutional Networks for Large-Scale Image Recognition' (ICLR 2015),
//! configuration D, with torchvision's parameter names. Retrieval uses the last convolution's map, pooled; the
//! classifier takes 224 x 224 pixels only. Dropout does nothing at inference and is not described.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node, Op};

/// Table 1 of the paper, column D: convolutions of each stage and their channels; a pooling ends each.
const STAGES: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    let of =
        |name, batch_norm| Known::new(name, InputSpec::imagenet(224), move |head| describe(batch_norm, head));
    vec![of("vgg16", false), of("vgg16_bn", true)]
}

fn describe(batch_norm: bool, head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let (mut x, mut channels, mut layer) = (b.input(), 3, 0);
    for (repeats, out_channels) in STAGES {
        for _ in 0..repeats {
            x = b.conv(&format!("features.{layer}"), x, channels, out_channels, 3, 1, 1, 1, true);
            layer += 1;
            if batch_norm {
                x = b.batch_norm(&format!("features.{layer}"), x, out_channels);
                layer += 1;
            }
            x = b.relu(x);
            layer += 1;
            channels = out_channels;
        }
        x = b.max_pool(x, 2, 2, 0);
        layer += 1;
    }
    match head {
        Head::Embedding => {
            b.global_avg_pool(x);
        }
        Head::Classifier => {
            x = b.add_op(Op::Flatten { size: [7, 7] }, vec![x]);
            x = b.linear("classifier.0", x, channels * 49, 4096);
            x = b.relu(x);
            x = b.linear("classifier.3", x, 4096, 4096);
            x = b.relu(x);
            b.linear("classifier.6", x, 4096, 1000);
        }
    }
    b.finish()
}
