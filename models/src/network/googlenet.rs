//! GoogLeNet, Inception v1: Szegedy et al., 'Going Deeper with Convolutions' (CVPR 2015), as torchvision has it: with
//! batch norms, 3 x 3 in place of the 5 x 5 convolutions, and its parameter names. The auxiliary classifiers serve
//! training from nothing only and are not described.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node, Op};

/// Table 1 of the paper: name, 1 x 1, 3 x 3 reduced, 3 x 3, 5 x 5 reduced, 5 x 5, projection.
const MODULES: [(&str, [usize; 6]); 9] = [
    ("inception3a", [64, 96, 128, 16, 32, 32]),
    ("inception3b", [128, 128, 192, 32, 96, 64]),
    ("inception4a", [192, 96, 208, 16, 48, 64]),
    ("inception4b", [160, 112, 224, 24, 64, 64]),
    ("inception4c", [128, 128, 256, 24, 64, 64]),
    ("inception4d", [112, 144, 288, 32, 64, 64]),
    ("inception4e", [256, 160, 320, 32, 128, 128]),
    ("inception5a", [256, 160, 320, 32, 128, 128]),
    ("inception5b", [384, 192, 384, 48, 128, 128]),
];

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    // torchvision's file was converted from TensorFlow; its transform_input undoes ImageNet's statistics.
    vec![Known::new("googlenet", InputSpec::symmetric(224), describe)]
}

fn describe(head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let x = b.input();
    let x = conv(&mut b, "conv1", x, 3, 64, 7, 2);
    let x = pool(&mut b, x, 3, 2, 0);
    let x = conv(&mut b, "conv2", x, 64, 64, 1, 1);
    let x = conv(&mut b, "conv3", x, 64, 192, 3, 1);
    let mut x = pool(&mut b, x, 3, 2, 0);
    let mut channels = 192;
    for (name, [n1, n3_reduced, n3, n5_reduced, n5, n_projection]) in MODULES {
        let branch = |part: &str| format!("{name}.{part}");
        let one = conv(&mut b, &branch("branch1"), x, channels, n1, 1, 1);
        let three = conv(&mut b, &branch("branch2.0"), x, channels, n3_reduced, 1, 1);
        let three = conv(&mut b, &branch("branch2.1"), three, n3_reduced, n3, 3, 1);
        let five = conv(&mut b, &branch("branch3.0"), x, channels, n5_reduced, 1, 1);
        let five = conv(&mut b, &branch("branch3.1"), five, n5_reduced, n5, 3, 1);
        let projection = pool(&mut b, x, 3, 1, 1);
        let projection = conv(&mut b, &branch("branch4.1"), projection, channels, n_projection, 1, 1);
        x = b.concat(&[one, three, five, projection]);
        channels = n1 + n3 + n5 + n_projection;
        match name {
            "inception3b" => x = pool(&mut b, x, 3, 2, 0),
            "inception4e" => x = pool(&mut b, x, 2, 2, 0),
            _ => {}
        }
    }
    x = b.global_avg_pool(x);
    if head == Head::Classifier {
        b.linear("fc", x, channels, 1000);
    }
    b.finish()
}

fn pool(b: &mut Builder, from: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    let op =
        Op::MaxPool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], ceil_mode: true };
    b.add_op(op, vec![from])
}

fn conv(
    b: &mut Builder,
    name: &str,
    from: usize,
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
) -> usize {
    let conv = format!("{name}.conv");
    let x = b.conv(&conv, from, in_channels, out_channels, kernel, stride, kernel / 2, 1, false);
    let x = b.batch_norm_with(&format!("{name}.bn"), x, out_channels, 1e-3);
    b.relu(x)
}
