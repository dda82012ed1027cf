//! The weights that training begins with, and those that the topology comes from.

use std::path::Path;

use sketchfind_core::fingerprint;
use sketchfind_models::network::{Head, HeadSpec, Network};
use sketchfind_models::weights::{self, Weights, start};

use crate::Result;
use crate::config::{Config, NeighbourhoodSettings, RANDOM};
use crate::run::network_of;

/// The weights that training begins with.
#[derive(Debug)]
pub struct InitialWeights {
    /// The tensors of the network.
    pub weights: Weights,
    /// See [`Run::weights_sha256`](crate::run::Run::weights_sha256).
    pub sha256: String,
    /// See [`Run::weights_source`](crate::run::Run::weights_source).
    pub source: String,
}

/// Reads or draws the weights that training begins with.
///
/// # Errors
/// [`crate::Error::Models`] where they cannot be read or do not fit.
pub fn initial_weights(config: &Config, network: &Network) -> Result<InitialWeights> {
    pretrained((&config.network, &config.weights), config.seed, network, config.head.as_ref())
}

/// The SHA-256 of the weights that training begins with.
///
/// # Errors
/// As [`initial_weights`].
pub(crate) fn initial_sha256(config: &Config) -> Result<String> {
    if config.weights != RANDOM {
        return sha256_of(&config.weights);
    }
    Ok(initial_weights(config, &network_of(config)?)?.sha256)
}

/// Reads or draws the weights of the network that R comes from.
///
/// # Errors
/// As [`initial_weights`].
pub fn topology_weights(
    config: &Config,
    settings: &NeighbourhoodSettings,
    network: &Network,
) -> Result<InitialWeights> {
    pretrained((&settings.network, &settings.weights), config.seed, network, None)
}

/// The SHA-256 of the weights that R comes from, for a method that has it.
///
/// # Errors
/// As [`initial_weights`].
pub(crate) fn topology_sha256(config: &Config) -> Result<Option<String>> {
    let Some(settings) = config.method.neighbourhood() else { return Ok(None) };
    if settings.weights != RANDOM {
        return sha256_of(&settings.weights).map(Some);
    }
    let network = Network::by_name_or_file(&settings.network, Head::Embedding)?;
    Ok(Some(topology_weights(config, settings, &network)?.sha256))
}

/// The SHA-256 of weights in a file, which need not be understood for it.
pub(crate) fn sha256_of(path: &str) -> Result<String> {
    Ok(fingerprint::of_file(&weights::file_of(Path::new(path))?)?)
}

pub(crate) fn pretrained(
    (name, path): (&str, &str),
    seed: u64,
    network: &Network,
    head: Option<&HeadSpec>,
) -> Result<InitialWeights> {
    let of_head = match head {
        Some(head) => start::of_head(network, head, seed)?,
        None => Weights::default(),
    };
    match path {
        RANDOM => {
            let mut weights = Weights::random(network, seed);
            of_head.iter().for_each(|(name, tensor)| weights.insert(name, tensor.clone()));
            let bytes: Vec<u8> =
                weights.iter().flat_map(|(_, tensor)| &tensor.values).flat_map(|v| v.to_le_bytes()).collect();
            let source = format!("random, seed {seed}");
            Ok(InitialWeights { weights, sha256: fingerprint::of_bytes(&bytes), source })
        }
        path => {
            let mut all = weights::import(Path::new(path), name)?;
            let named = || name_of(path);
            let mut source = all.metadata().get("source").cloned().unwrap_or_else(named);
            for (name, tensor) in of_head.iter() {
                // A photo-pre-trained network has no head: it begins anew.
                if all.get(name).is_none() {
                    all.insert(name, tensor.clone());
                    source = format!("{source}; {name} new, seed {seed}");
                }
            }
            let weights = all.for_network(network)?;
            let sha256 = sha256_of(path)?;
            Ok(InitialWeights { weights, sha256, source })
        }
    }
}

/// A file's name, without its folders.
fn name_of(path: &str) -> String {
    Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
