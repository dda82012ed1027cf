//! The stages of a network: parts between which maps become smaller.

use std::collections::BTreeMap;

use super::{Network, Op};

/// The part of a network that a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Maps that so many operations with a stride have made smaller, the node's own included; 1 for the first
    /// convolution of most networks.
    Map(usize),
    /// Vectors: pooling and what stands behind it.
    Head,
}

impl Network {
    /// The stage of each parameter, by name.
    ///
    /// ```
    /// use sketchfind_models::network::{Head, Network, Stage};
    /// let network = Network::by_name("resnet50", Head::Embedding)?;
    /// let stages = network.stages();
    /// assert_eq!(stages["conv1.weight"], Stage::Map(1));
    /// assert_eq!(stages["layer4.2.conv3.weight"], Stage::Map(5));
    /// assert_eq!(network.n_stages(), 5);
    /// # Ok::<(), sketchfind_models::Error>(())
    /// ```
    pub fn stages(&self) -> BTreeMap<String, Stage> {
        let mut of_nodes: Vec<usize> = Vec::with_capacity(self.nodes().len());
        let mut stages = BTreeMap::new();
        for (index, node) in self.nodes().iter().enumerate() {
            let before = node.inputs.iter().map(|&input| of_nodes[input]).max().unwrap_or(0);
            let has_stride = match &node.op {
                Op::Conv2d { stride, .. } | Op::MaxPool2d { stride, .. } | Op::AvgPool2d { stride, .. } => {
                    stride.iter().any(|&step| step > 1)
                }
                _ => false,
            };
            let own = before + usize::from(has_stride);
            of_nodes.push(own);
            let stage = if self.is_map(index) { Stage::Map(own) } else { Stage::Head };
            stages.extend(node.op.parameters().into_iter().map(|parameter| (parameter.name, stage)));
        }
        stages
    }

    /// The number of stages before the head: the largest [`Stage::Map`].
    pub fn n_stages(&self) -> usize {
        let of_maps = self.stages().into_values().filter_map(|stage| match stage {
            Stage::Map(number) => Some(number),
            Stage::Head => None,
        });
        of_maps.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Head;

    #[test]
    fn every_network_has_a_few_stages_that_grow() {
        for name in Network::names() {
            let network = Network::by_name(name, Head::Embedding).unwrap();
            assert!((3..=7).contains(&network.n_stages()), "{name}: {}", network.n_stages());
            let stages = network.stages();
            assert_eq!(stages.len(), network.parameters().len());
        }
        let network = Network::by_name("mobilenet_v2", Head::Embedding).unwrap();
        let stages = network.stages();
        assert_eq!(stages["features.0.0.weight"], Stage::Map(1));
        assert_eq!(stages["features.18.0.weight"], Stage::Map(5));
    }
}
