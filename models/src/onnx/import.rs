//! ONNX files as networks and weights. No code of a file is run; what is read is its graph.
//!
//! A graph becomes a [`Network`] of our operations, with weights as floats, whatever the file has them as: 32 bits, 16
//! behind Cast, 8 behind DequantizeLinear with one scale for a tensor or for each channel. Where it is a network of ours
//! but for names and folded batch norms, its weights come under our names. QuantizeLinear and DequantizeLinear around what
//! is computed are left out; a range that begins at 0 has a ReLU of its own, one that ends at 6 a ReLU6. What a graph does
//! to its input (bytes to floats, channels last to first, mean and deviation) is left out too and told.
//!
//! A batch norm that a file has folded is there again as one that changes nothing: weight 1, the convolution's bias as its
//! bias, mean 0 and, less epsilon, variance 1.

use std::path::Path;

use super::steps::Traced;
use super::{known, read, steps, trace};
use crate::network::{Head, InputSpec, Network};
use crate::weights::Weights;
use crate::{Error, Result};

/// What an ONNX file holds.
#[derive(Debug)]
pub struct Imported {
    /// The graph as a network: ours under its own name, or the file's.
    pub network: Network,
    /// Its weights.
    pub weights: Weights,
    /// Which network of ours it is.
    pub known: Option<KnownNetwork>,
    /// What the first operation expects of an image: as the graph has it, or else the known network's, or else ImageNet's
    /// statistics at the size that the file fixes, or 224.
    pub input: InputSpec,
    /// Whether the graph itself normalises its input, so that mean and deviation in `input` are the file's own.
    pub normalises: bool,
}

/// A network of ours that a graph is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNetwork {
    /// One of [`Network::names`].
    pub name: String,
    /// With this head.
    pub head: Head,
    /// A linear layer stands behind the embedding: `projection.weight` and perhaps `projection.bias`.
    pub is_projected: bool,
    /// The output is of unit length.
    pub is_normalised: bool,
}

/// Reads an ONNX file. `network` is the name of the network of ours that it must be, or nothing for any graph.
///
/// # Errors
/// [`Error::Core`] where the file cannot be read; [`Error::UnknownNetwork`]; [`Error::WeightsFile`] where it is no such
/// file, is damaged, keeps its values elsewhere, or holds what none of our operations does, with the node.
pub fn read(path: &Path, network: Option<&str>) -> Result<Imported> {
    if let Some(name) = network {
        Network::input_of(name)?;
    }
    let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&bytes, &name, network).map_err(|reason| Error::weights_file(path, reason))
}

/// Reads an ONNX file's bytes, as [`read`] does; a graph that is none of ours is called `name`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8], name: &str, network: Option<&str>) -> std::result::Result<Imported, String> {
    let mut graph = read::graph(bytes)?;
    let (trace, output) = trace::follow(&mut graph)?;
    let normalisation = trace.image.as_ref().and_then(|image| image.normalisation());
    let side = trace.side.filter(|side| side[0] == side[1]).map_or(224, |side| side[0] as u32);
    let traced = steps::network(trace.steps, output, &readable(name))?;
    let found = known::find(&traced, network);
    if let (None, Some(network)) = (&found, network) {
        return Err(format!("its graph is not that of the network '{network}'"));
    }
    let mut input = InputSpec { side, ..InputSpec::imagenet(224) };
    if let Some(found) = &found
        && let Ok(spec) = Network::input_of(found.name)
    {
        input = spec;
    }
    if let Some((mean, std)) = normalisation {
        (input.mean, input.std) = (mean, std);
    }
    let normalises = normalisation.is_some();
    let Some(found) = found else {
        let Traced { network, weights, .. } = traced;
        return Ok(Imported { network, weights, known: None, input, normalises });
    };
    let known = KnownNetwork {
        name: found.name.to_owned(),
        head: found.head,
        is_projected: found.is_projected,
        is_normalised: found.is_normalised,
    };
    let network = Network::by_name(found.name, found.head).map_err(|e| e.to_string())?;
    Ok(Imported { network, weights: found.weights, known: Some(known), input, normalises })
}

/// A name for a network: letters, digits and a few signs, and no name of ours.
fn readable(name: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name: String = name.chars().map(|c| if is_plain(&c) { c } else { '_' }).take(64).collect();
    match name.as_str() {
        "" => "imported".into(),
        name if Network::names().contains(&name) => format!("{name}-onnx"),
        name => name.to_owned(),
    }
}
