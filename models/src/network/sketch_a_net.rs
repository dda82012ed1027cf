//! Sketch-a-Net: Yu et al., 'Sketch-a-Net: a Deep Neural Network that Beats Humans' (IJCV 2017), table 1, for images of
//! three channels. No file of torchvision's has it; the parameters are called after the paper's layers. Retrieval uses
//! the last convolution's map, pooled; the classifier, whose 7 x 7 layer counts as fully connected there, takes
//! 225 x 225 pixels only and tells 250 classes of sketches.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node};

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    vec![Known::new("sketch_a_net", InputSpec::imagenet(225), describe)]
}

fn describe(head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let x = b.input();
    let x = b.conv("conv1", x, 3, 64, 15, 3, 0, 1, true);
    let x = b.relu(x);
    let x = b.max_pool(x, 3, 2, 0);
    let x = b.conv("conv2", x, 64, 128, 5, 1, 0, 1, true);
    let x = b.relu(x);
    let mut x = b.max_pool(x, 3, 2, 0);
    let mut channels = 128;
    for name in ["conv3", "conv4", "conv5"] {
        x = b.conv(name, x, channels, 256, 3, 1, 1, 1, true);
        x = b.relu(x);
        channels = 256;
    }
    x = b.max_pool(x, 3, 2, 0);
    if head == Head::Classifier {
        x = b.conv("fc6", x, channels, 512, 7, 1, 0, 1, true);
        x = b.relu(x);
        x = b.conv("fc7", x, 512, 512, 1, 1, 0, 1, true);
        x = b.relu(x);
        channels = 512;
    }
    x = b.global_avg_pool(x);
    if head == Head::Classifier {
        b.linear("fc8", x, channels, 250);
    }
    b.finish()
}
