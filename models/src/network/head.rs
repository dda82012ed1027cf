//! What stands behind a network's last map: pooling, a projection, a unit length.

use serde::{Deserialize, Serialize};

use super::{Network, Node, Op};
use crate::{Error, Result};

/// The tensors of a projection.
pub const PROJECTION: [&str; 2] = ["projection.weight", "projection.bias"];
/// The exponent of a pooling that is learnt.
pub const GEM_P: &str = "gem.p";
/// The tensors that a head may add to a photo-pre-trained network.
pub const HEAD: [&str; 3] = [PROJECTION[0], PROJECTION[1], GEM_P];

/// What stands behind a network's last map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// How the last map becomes a vector.
    pub pooling: Pooling,
    /// A linear layer behind it; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<Projection>,
    /// Whether embeddings are divided by their length. The model is then compared by cosine, and losses are on
    /// `1 - cos`: half the squared difference of unit vectors, from 0 to 2.
    pub normalise: bool,
}

/// How a map `[n, c, h, w]` becomes a vector `[n, c]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Pooling {
    /// The mean, as the network has it.
    Average {},
    /// The generalised mean ([`Op::Gem`]).
    Gem {
        /// The exponent, above 0.
        p: f64,
        /// Whether training changes it.
        learn: bool,
        /// The parts of the map, across and down, that are pooled each for itself, so that the embedding tells where
        /// something is; 1 for the whole map.
        cells: usize,
    },
}

/// A linear layer to a narrower vector, for small indexes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// The width of an embedding.
    pub width: usize,
    /// Whether the layer has a bias.
    pub bias: bool,
    /// What it begins as, where the weights have none.
    pub start: ProjectionStart,
}

/// What a projection begins as. A bias begins at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionStart {
    /// Normal with variance `2 / fan_in` (He et al. 2015).
    Random,
    /// Orthogonal rows, or columns where it widens: distances of the pooled feature are kept as well as a linear
    /// layer of that width can (Saxe, McClelland, Ganguli 2014).
    Orthogonal,
}

impl Network {
    /// The same network with the pooling, the linear layer (`projection.weight`, `projection.bias`) and the unit length
    /// that `head` asks for. A normalised output is to be compared by angle.
    ///
    /// # Errors
    /// [`Error::Description`] where the width is 0, there is a projection already, or generalised-mean pooling is
    /// asked for and the network ends in no pooling.
    ///
    /// ```
    /// use sketchfind_models::network::{Head, HeadSpec, Network, Pooling, Projection, ProjectionStart};
    /// let head = HeadSpec {
    ///     pooling: Pooling::Gem { p: 3.0, learn: true, cells: 1 },
    ///     projection: Some(Projection { width: 64, bias: true, start: ProjectionStart::Orthogonal }),
    ///     normalise: true,
    /// };
    /// let network = Network::by_name("resnet18", Head::Embedding)?.with_head(&head)?;
    /// assert_eq!(network.output_width(), 64);
    /// assert_eq!(network.n_parameters(), 11_176_512 + 1 + 512 * 64 + 64);
    /// # Ok::<(), sketchfind_models::Error>(())
    /// ```
    pub fn with_head(&self, head: &HeadSpec) -> Result<Network> {
        let mut nodes = self.nodes().to_vec();
        // A head's own pooling may be wider than the network's.
        let mut pooled_width = self.output_width();
        if let Pooling::Gem { p, learn, cells } = head.pooling {
            let pool = nodes.iter_mut().rfind(|node| node.op == Op::GlobalAvgPool);
            let pool = pool.ok_or_else(|| Error::Description {
                network: self.name().to_owned(),
                node: self.nodes().len().saturating_sub(1),
                reason:
                    "the network ends in no pooling, which generalised-mean pooling could take the place of"
                        .into(),
            })?;
            pool.op = Op::Gem { p, name: learn.then(|| GEM_P.to_owned()), cells };
            pooled_width = Network::new(self.name(), nodes.clone())?.output_width();
        }
        if let Some(Projection { width, bias, .. }) = head.projection {
            let op = Op::Linear {
                name: "projection".into(),
                in_features: pooled_width,
                out_features: width,
                bias,
            };
            nodes.push(Node { op, inputs: vec![nodes.len() - 1] });
        }
        if head.normalise {
            nodes.push(Node { op: Op::L2Normalise, inputs: vec![nodes.len() - 1] });
        }
        Network::new(self.name(), nodes)
    }
}
