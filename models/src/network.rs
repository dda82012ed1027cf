//! The description of a network: a list of nodes, each an operation on earlier nodes' outputs.

use sketchfind_core::distance::Distance;
use sketchfind_core::image::Preprocess;

use crate::{Error, Result};

pub mod builder;
mod check;
mod convnext;
mod densenet;
mod efficientnet_lite;
pub mod file;
mod googlenet;
mod head;
mod inception_v3;
mod mobilenet_v2;
mod op;
mod resnet;
mod sketch_a_net;
mod stages;
mod vgg;

use check::Flow;
pub use head::{GEM_P, HEAD, HeadSpec, PROJECTION, Pooling, Projection, ProjectionStart};
pub use op::{GEM_MIN, Node, Op, Padding, ParameterKind, ParameterSpec};
pub use stages::Stage;

/// What a network ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The globally average-pooled output of the last convolution: the embedding that retrieval uses
    /// ('Photo Pre-Training, But for Sketch', supplementary).
    Embedding,
    /// Class scores, before any softmax: ImageNet's 1,000; the 250 of Sketch-a-Net's sketches.
    Classifier,
}

/// What a network's published weights expect of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputSpec {
    /// Height and width in pixels at which it was trained; convolutions take others too.
    pub side: u32,
    /// Subtracted from each channel, R, G, B, after scaling to `[0, 1]`.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
}

impl InputSpec {
    /// Whether mean and deviation are those of `other`, but for how they were rounded when they were written down.
    pub fn is_normalised_like(&self, other: &InputSpec) -> bool {
        let is_near = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3);
        is_near(self.mean, other.mean) && is_near(self.std, other.std)
    }

    /// ImageNet's statistics, as torchvision's models expect them.
    pub(crate) const fn imagenet(side: u32) -> InputSpec {
        InputSpec { side, mean: Preprocess::IMAGENET_MEAN, std: Preprocess::IMAGENET_STD }
    }

    /// `[-1, 1]`, as models that come from TensorFlow expect it.
    const fn symmetric(side: u32) -> InputSpec {
        InputSpec { side, mean: [0.5; 3], std: [0.5; 3] }
    }
}

/// A network that this crate describes. Each architecture is a file with those of its kind.
struct Known {
    name: &'static str,
    input: InputSpec,
    describe: Box<dyn Fn(Head) -> Vec<Node>>,
}

impl Known {
    fn new(name: &'static str, input: InputSpec, describe: impl Fn(Head) -> Vec<Node> + 'static) -> Known {
        Known { name, input, describe: Box::new(describe) }
    }

    fn all() -> Vec<Known> {
        let all = [
            mobilenet_v2::known(),
            resnet::known(),
            vgg::known(),
            densenet::known(),
            googlenet::known(),
            inception_v3::known(),
            sketch_a_net::known(),
            efficientnet_lite::known(),
            convnext::known(),
        ];
        all.into_iter().flatten().collect()
    }

    fn find(name: &str) -> Result<Known> {
        Known::all().into_iter().find(|known| known.name == name).ok_or_else(|| Error::UnknownNetwork {
            name: name.to_owned(),
            known: Network::names().join(", "),
        })
    }
}

/// A network: nodes in an order in which they can run. The output is the last node's.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    name: String,
    nodes: Vec<Node>,
    flows: Vec<Flow>,
}

impl Network {
    /// A network of `nodes`, checked: node 0 is the input, every other node takes the outputs of earlier nodes,
    /// as many as its operation needs, with the channels that it expects.
    ///
    /// # Errors
    /// [`Error::Description`] with the first node that breaks a rule.
    pub fn new(name: &str, nodes: Vec<Node>) -> Result<Network> {
        let flows = check::check(name, &nodes)?;
        Ok(Network { name: name.to_owned(), nodes, flows })
    }

    /// The network called `name`, one of [`Network::names`], with the given head.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`].
    pub fn by_name(name: &str, head: Head) -> Result<Network> {
        Network::new(name, (Known::find(name)?.describe)(head))
    }

    /// The distance by which outputs are to be compared: the angle where they are normalised to unit length, mean squared
    /// difference otherwise.
    pub fn distance(&self) -> Distance {
        match self.nodes.last() {
            Some(Node { op: Op::L2Normalise, .. }) => Distance::Cosine,
            _ => Distance::Mse,
        }
    }

    /// The names of all networks. `resnet50` and its like are torchvision's v1.5 (stride 2 in the 3 x 3
    /// convolution of a bottleneck), `resnet50_v1` and its like the original (stride 2 in the first 1 x 1).
    pub fn names() -> Vec<&'static str> {
        Known::all().into_iter().map(|known| known.name).collect()
    }

    /// What the network called `name` expects of its input, as its published weights were trained.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`].
    pub fn input_of(name: &str) -> Result<InputSpec> {
        Known::find(name).map(|known| known.input)
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nodes, in an order in which they can run.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The channels or features of the output.
    pub fn output_width(&self) -> usize {
        match self.flows.last() {
            Some(Flow::Vector(width) | Flow::Map(width)) => *width,
            None => 0,
        }
    }

    /// Whether the output of the node at `index` is a map `[n, c, h, w]` and no vector `[n, c]`.
    pub fn is_map(&self, index: usize) -> bool {
        matches!(self.flows.get(index), Some(Flow::Map(_)))
    }

    /// The batch norm that may be folded into the convolution at `index`: the one node that reads its output.
    pub fn norm_behind(&self, index: usize) -> Option<usize> {
        if !matches!(self.nodes.get(index)?.op, Op::Conv2d { .. }) {
            return None;
        }
        let mut readers = (0..self.nodes.len()).filter(|&reader| self.nodes[reader].inputs.contains(&index));
        let reader = readers.next()?;
        let is_norm = matches!(self.nodes[reader].op, Op::BatchNorm2d { .. });
        (is_norm && readers.next().is_none()).then_some(reader)
    }

    /// Height and width of the map that the node at `index` gives for images of a size; `[1, 1]` for a vector, 0 where a
    /// window is larger than what it looks at.
    ///
    /// ```
    /// use sketchfind_models::network::{Head, Network};
    /// let network = Network::by_name("mobilenet_v2", Head::Embedding)?;
    /// assert_eq!(network.map_size(network.nodes().len() - 2, [256, 224]), [8, 7]);
    /// # Ok::<(), sketchfind_models::Error>(())
    /// ```
    pub fn map_size(&self, index: usize, image: [usize; 2]) -> [usize; 2] {
        let mut sizes: Vec<[usize; 2]> = Vec::with_capacity(index + 1);
        for (place, node) in self.nodes.iter().enumerate().take(index + 1) {
            let before = node.inputs.first().map_or(image, |&input| sizes[input]);
            let windows = |kernel: [usize; 2], stride: [usize; 2], padding: Padding, ceil_mode: bool| {
                [0, 1].map(|dim| {
                    padding.n_windows(before[dim], dim, kernel[dim], stride[dim], ceil_mode).unwrap_or(0)
                })
            };
            sizes.push(match &node.op {
                _ if !self.is_map(place) => [1, 1],
                Op::Conv2d { kernel, stride, padding, .. } => windows(*kernel, *stride, *padding, false),
                Op::MaxPool2d { kernel, stride, padding, ceil_mode } => {
                    windows(*kernel, *stride, Padding::Fixed(*padding), *ceil_mode)
                }
                Op::AvgPool2d { kernel, stride, padding } => {
                    windows(*kernel, *stride, Padding::Fixed(*padding), false)
                }
                _ => before,
            });
        }
        sizes.last().copied().unwrap_or(image)
    }

    /// Height and width of the parts that generalised-mean pooling makes of its map for images of `side` pixels; of the
    /// whole map where there is one part, and nothing where there is no such pooling.
    ///
    /// # Errors
    /// The map's height and width where they are not so many parts of one size.
    pub fn cell_size(&self, side: usize) -> std::result::Result<Option<[usize; 2]>, [usize; 2]> {
        let Some((pool, cells)) = self.nodes.iter().find_map(|node| match node.op {
            Op::Gem { cells, .. } => Some((node, cells)),
            _ => None,
        }) else {
            return Ok(None);
        };
        let size = self.map_size(pool.inputs[0], [side; 2]);
        match size.iter().all(|length| *length > 0 && length % cells == 0) {
            true => Ok(Some(size.map(|length| length / cells))),
            false => Err(size),
        }
    }

    /// Every tensor that the network needs, in the order of its nodes.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        self.nodes.iter().flat_map(|node| node.op.parameters()).collect()
    }

    /// The number of trained values (weights and biases, without running statistics): the figure that papers
    /// and torchvision state.
    pub fn n_parameters(&self) -> u64 {
        let trained = self.parameters().into_iter().filter(|p| p.kind == ParameterKind::Trained);
        trained.map(|p| p.shape.iter().product::<usize>() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the classifier: what torchvision's documentation states of each network, without the auxiliary classifiers
    /// that GoogLeNet and Inception v3 have in training only. EfficientNet-Lite: the values in the published PyTorch files
    /// (the packages that `cargo xtask weights` fetches) without running statistics; Google's table rounds them to 4.7, 5.4
    /// and 6.1 million. Sketch-a-Net: the sum over the rows of table 1 (Yu et al. 2017) for three channels in place of one
    /// in the first layer; 28,800 less, 8,508,666, is the 8.5 million of the paper.
    #[test]
    fn parameter_counts_equal_the_published_ones() {
        for (name, published) in [
            ("mobilenet_v2", 3_504_872),
            ("resnet18", 11_689_512),
            ("resnet34", 21_797_672),
            ("resnet50", 25_557_032),
            ("resnet101", 44_549_160),
            ("resnet152", 60_192_808),
            // The stride moves from one convolution to another: as many parameters.
            ("resnet50_v1", 25_557_032),
            ("resnet101_v1", 44_549_160),
            ("resnet152_v1", 60_192_808),
            ("vgg16", 138_357_544),
            ("vgg16_bn", 138_365_992),
            ("densenet121", 7_978_856),
            ("densenet169", 14_149_480),
            ("googlenet", 6_624_904),
            // torchvision states 27,161,264 with the auxiliary classifier, which has 3,326,696.
            ("inception_v3", 27_161_264 - 3_326_696),
            ("convnext_tiny", 28_589_128),
            ("efficientnet_lite0", 4_652_008),
            ("efficientnet_lite1", 5_416_680),
            ("efficientnet_lite2", 6_092_072),
            ("sketch_a_net", 8_508_666 + 2 * 64 * 15 * 15),
        ] {
            let network = Network::by_name(name, Head::Classifier).unwrap();
            assert_eq!(network.n_parameters(), published, "{name}");
            assert_eq!(network.output_width(), if name == "sketch_a_net" { 250 } else { 1000 });
        }
        assert_eq!(Network::names().len(), 16 + 4);
    }

    #[test]
    fn embeddings_are_as_wide_as_the_last_convolution() {
        for (name, width) in [("mobilenet_v2", 1280), ("resnet18", 512), ("resnet50", 2048)] {
            assert_eq!(Network::by_name(name, Head::Embedding).unwrap().output_width(), width);
        }
        for name in Network::names() {
            Network::by_name(name, Head::Embedding).unwrap();
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let message = Network::by_name("resnet5", Head::Embedding).unwrap_err().to_string();
        assert!(message.contains("'resnet5'") && message.contains("resnet50_v1"), "{message}");
    }

    #[test]
    fn contradictions_are_refused() {
        let input = Node { op: Op::Input, inputs: vec![] };
        let pool = |from| Node { op: Op::GlobalAvgPool, inputs: vec![from] };
        let norm =
            Node { op: Op::BatchNorm2d { name: "bn".into(), channels: 4, eps: 1e-5 }, inputs: vec![0] };
        for nodes in [
            vec![],
            vec![pool(0)],
            vec![input.clone()],
            vec![input.clone(), pool(1)],
            vec![input.clone(), norm, pool(1)],
            vec![input.clone(), pool(0), Node { op: Op::Add, inputs: vec![0, 1] }],
            vec![input.clone(), pool(0), pool(1)],
        ] {
            assert!(Network::new("broken", nodes).is_err());
        }
        assert_eq!(Network::new("fine", vec![input, pool(0)]).unwrap().output_width(), 3);
    }
}
