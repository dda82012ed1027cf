//! Writes descriptions of networks readably: each call adds a node and returns its index.

use super::{Node, Op, Padding};

/// A list of nodes under construction. Checked when it becomes a [`Network`](super::Network).
///
/// ```
/// use sketchfind_models::network::{Network, builder::Builder};
/// let mut b = Builder::new();
/// let x = b.conv("conv1", b.input(), 3, 8, 3, 2, 1, 1, true);
/// let x = b.relu(x);
/// b.global_avg_pool(x);
/// assert_eq!(Network::new("tiny", b.finish())?.output_width(), 8);
/// # Ok::<(), sketchfind_models::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    nodes: Vec<Node>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// A description that has its input only.
    pub fn new() -> Builder {
        Builder { nodes: vec![Node { op: Op::Input, inputs: Vec::new() }] }
    }

    /// The input node, `[n, 3, h, w]`.
    pub fn input(&self) -> usize {
        0
    }

    /// Adds any operation.
    pub fn add_op(&mut self, op: Op, inputs: Vec<usize>) -> usize {
        self.nodes.push(Node { op, inputs });
        self.nodes.len() - 1
    }

    /// A square convolution.
    #[allow(clippy::too_many_arguments, reason = "torch's own argument list, in its order")]
    pub fn conv(
        &mut self,
        name: &str,
        from: usize,
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        groups: usize,
        bias: bool,
    ) -> usize {
        let op = Op::Conv2d {
            name: name.to_owned(),
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding::Fixed([padding; 2]),
            groups,
            bias,
        };
        self.add_op(op, vec![from])
    }

    /// Batch normalisation with torch's default epsilon, 1e-5.
    pub fn batch_norm(&mut self, name: &str, from: usize, channels: usize) -> usize {
        self.batch_norm_with(name, from, channels, 1e-5)
    }

    /// Batch normalisation with another epsilon.
    pub fn batch_norm_with(&mut self, name: &str, from: usize, channels: usize, eps: f64) -> usize {
        self.add_op(Op::BatchNorm2d { name: name.to_owned(), channels, eps }, vec![from])
    }

    /// `max(0, x)`.
    pub fn relu(&mut self, from: usize) -> usize {
        self.add_op(Op::Relu, vec![from])
    }

    /// `min(max(0, x), 6)`.
    pub fn relu6(&mut self, from: usize) -> usize {
        self.add_op(Op::Relu6, vec![from])
    }

    /// A square maximum pooling.
    pub fn max_pool(&mut self, from: usize, kernel: usize, stride: usize, padding: usize) -> usize {
        let op = Op::MaxPool2d {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            ceil_mode: false,
        };
        self.add_op(op, vec![from])
    }

    /// A square average pooling.
    pub fn avg_pool(&mut self, from: usize, kernel: usize, stride: usize, padding: usize) -> usize {
        let op = Op::AvgPool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] };
        self.add_op(op, vec![from])
    }

    /// Maps behind one another.
    pub fn concat(&mut self, from: &[usize]) -> usize {
        self.add_op(Op::Concat, from.to_vec())
    }

    /// The mean over height and width.
    pub fn global_avg_pool(&mut self, from: usize) -> usize {
        self.add_op(Op::GlobalAvgPool, vec![from])
    }

    /// A sum.
    pub fn sum(&mut self, a: usize, b: usize) -> usize {
        self.add_op(Op::Add, vec![a, b])
    }

    /// A linear layer with bias.
    pub fn linear(&mut self, name: &str, from: usize, in_features: usize, out_features: usize) -> usize {
        let op = Op::Linear { name: name.to_owned(), in_features, out_features, bias: true };
        self.add_op(op, vec![from])
    }

    /// The nodes.
    pub fn finish(self) -> Vec<Node> {
        self.nodes
    }
}
