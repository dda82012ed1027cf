//! Inception v3: Szegedy et al., 'Rethinking the Inception Architecture for Computer Vision' (CVPR 2016), with
//! torchvision's parameter names. The auxiliary classifier serves training from nothing only and is not described.

use super::builder::Builder;
use super::{Head, InputSpec, Known, Node, Op, Padding};

/// A map in the making: the builder, where it stands and how wide it is.
#[derive(Clone, Copy)]
struct At {
    node: usize,
    channels: usize,
}

/// The networks of this file.
pub(super) fn known() -> Vec<Known> {
    // torchvision's file was converted from TensorFlow; its transform_input undoes ImageNet's statistics.
    vec![Known::new("inception_v3", InputSpec::symmetric(299), describe)]
}

fn describe(head: Head) -> Vec<Node> {
    let mut b = Builder::new();
    let x = At { node: b.input(), channels: 3 };
    let x = conv(&mut b, "Conv2d_1a_3x3", x, 32, [3, 3], 2, [0, 0]);
    let x = conv(&mut b, "Conv2d_2a_3x3", x, 32, [3, 3], 1, [0, 0]);
    let x = conv(&mut b, "Conv2d_2b_3x3", x, 64, [3, 3], 1, [1, 1]);
    let x = max_pool(&mut b, x);
    let x = conv(&mut b, "Conv2d_3b_1x1", x, 80, [1, 1], 1, [0, 0]);
    let x = conv(&mut b, "Conv2d_4a_3x3", x, 192, [3, 3], 1, [0, 0]);
    let mut x = max_pool(&mut b, x);
    for (name, n_pooled) in [("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)] {
        x = module_a(&mut b, name, x, n_pooled);
    }
    x = module_b(&mut b, "Mixed_6a", x);
    for (name, width) in [("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)] {
        x = module_c(&mut b, name, x, width);
    }
    x = module_d(&mut b, "Mixed_7a", x);
    x = module_e(&mut b, "Mixed_7b", x);
    x = module_e(&mut b, "Mixed_7c", x);
    let pooled = b.global_avg_pool(x.node);
    if head == Head::Classifier {
        b.linear("fc", pooled, x.channels, 1000);
    }
    b.finish()
}

/// A convolution, its batch norm and its activation.
fn conv(
    b: &mut Builder,
    name: &str,
    from: At,
    out_channels: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 2],
) -> At {
    let op = Op::Conv2d {
        name: format!("{name}.conv"),
        in_channels: from.channels,
        out_channels,
        kernel,
        stride: [stride; 2],
        padding: Padding::Fixed(padding),
        groups: 1,
        bias: false,
    };
    let x = b.add_op(op, vec![from.node]);
    let x = b.batch_norm_with(&format!("{name}.bn"), x, out_channels, 1e-3);
    At { node: b.relu(x), channels: out_channels }
}

/// A chain of convolutions of stride 1 that keep the map's size, each with its name in the module, channels, kernel.
fn chain(b: &mut Builder, module: &str, from: At, layers: &[(&str, usize, [usize; 2])]) -> At {
    layers.iter().fold(from, |x, &(name, out_channels, kernel)| {
        conv(b, &format!("{module}.{name}"), x, out_channels, kernel, 1, kernel.map(|size| size / 2))
    })
}

fn max_pool(b: &mut Builder, from: At) -> At {
    At { node: b.max_pool(from.node, 3, 2, 0), ..from }
}

fn pooled_branch(b: &mut Builder, module: &str, from: At, out_channels: usize) -> At {
    let pooled = At { node: b.avg_pool(from.node, 3, 1, 1), ..from };
    chain(b, module, pooled, &[("branch_pool", out_channels, [1, 1])])
}

fn concat(b: &mut Builder, maps: &[At]) -> At {
    let nodes: Vec<usize> = maps.iter().map(|map| map.node).collect();
    At { node: b.concat(&nodes), channels: maps.iter().map(|map| map.channels).sum() }
}

/// Figure 5 of the paper.
fn module_a(b: &mut Builder, name: &str, x: At, n_pooled: usize) -> At {
    let one = chain(b, name, x, &[("branch1x1", 64, [1, 1])]);
    let five = chain(b, name, x, &[("branch5x5_1", 48, [1, 1]), ("branch5x5_2", 64, [5, 5])]);
    let layers =
        [("branch3x3dbl_1", 64, [1, 1]), ("branch3x3dbl_2", 96, [3, 3]), ("branch3x3dbl_3", 96, [3, 3])];
    let three = chain(b, name, x, &layers);
    let pooled = pooled_branch(b, name, x, n_pooled);
    concat(b, &[one, five, three, pooled])
}

/// Figure 10 of the paper, from 35 to 17 places.
fn module_b(b: &mut Builder, name: &str, x: At) -> At {
    let three = conv(b, &format!("{name}.branch3x3"), x, 384, [3, 3], 2, [0, 0]);
    let double = chain(b, name, x, &[("branch3x3dbl_1", 64, [1, 1]), ("branch3x3dbl_2", 96, [3, 3])]);
    let double = conv(b, &format!("{name}.branch3x3dbl_3"), double, 96, [3, 3], 2, [0, 0]);
    let pooled = max_pool(b, x);
    concat(b, &[three, double, pooled])
}

/// Figure 6 of the paper, n = 7.
fn module_c(b: &mut Builder, name: &str, x: At, width: usize) -> At {
    let one = chain(b, name, x, &[("branch1x1", 192, [1, 1])]);
    let layers =
        [("branch7x7_1", width, [1, 1]), ("branch7x7_2", width, [1, 7]), ("branch7x7_3", 192, [7, 1])];
    let seven = chain(b, name, x, &layers);
    let layers = [
        ("branch7x7dbl_1", width, [1, 1]),
        ("branch7x7dbl_2", width, [7, 1]),
        ("branch7x7dbl_3", width, [1, 7]),
        ("branch7x7dbl_4", width, [7, 1]),
        ("branch7x7dbl_5", 192, [1, 7]),
    ];
    let double = chain(b, name, x, &layers);
    let pooled = pooled_branch(b, name, x, 192);
    concat(b, &[one, seven, double, pooled])
}

/// Figure 10 of the paper, from 17 to 8 places.
fn module_d(b: &mut Builder, name: &str, x: At) -> At {
    let three = chain(b, name, x, &[("branch3x3_1", 192, [1, 1])]);
    let three = conv(b, &format!("{name}.branch3x3_2"), three, 320, [3, 3], 2, [0, 0]);
    let layers =
        [("branch7x7x3_1", 192, [1, 1]), ("branch7x7x3_2", 192, [1, 7]), ("branch7x7x3_3", 192, [7, 1])];
    let seven = chain(b, name, x, &layers);
    let seven = conv(b, &format!("{name}.branch7x7x3_4"), seven, 192, [3, 3], 2, [0, 0]);
    let pooled = max_pool(b, x);
    concat(b, &[three, seven, pooled])
}

/// Figure 7 of the paper.
fn module_e(b: &mut Builder, name: &str, x: At) -> At {
    let one = chain(b, name, x, &[("branch1x1", 320, [1, 1])]);
    let three = chain(b, name, x, &[("branch3x3_1", 384, [1, 1])]);
    let across = chain(b, name, three, &[("branch3x3_2a", 384, [1, 3])]);
    let down = chain(b, name, three, &[("branch3x3_2b", 384, [3, 1])]);
    let three = concat(b, &[across, down]);
    let double = chain(b, name, x, &[("branch3x3dbl_1", 448, [1, 1]), ("branch3x3dbl_2", 384, [3, 3])]);
    let across = chain(b, name, double, &[("branch3x3dbl_3a", 384, [1, 3])]);
    let down = chain(b, name, double, &[("branch3x3dbl_3b", 384, [3, 1])]);
    let double = concat(b, &[across, down]);
    let pooled = pooled_branch(b, name, x, 192);
    concat(b, &[one, three, double, pooled])
}
