//! Weights and images that `tests/reference/make_backbones.py` makes too, number for number, and what it computed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sketchfind_models::network::Network;
use sketchfind_models::weights::{Tensor, Weights};

/// Uniform numbers in `[0, 1)`, a function of a name and a position: SplitMix64 behind FNV-1a.
fn uniform(name: &str, n: usize) -> impl Iterator<Item = f64> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (1..=n as u64).map(move |position| {
        let mut bits = seed.wrapping_add(position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    })
}

/// Weights for a network: kernels spread as He et al. have it, scales near 1, shifts near 0, but not on them.
///
/// # Panics
/// Never: values fill their shapes.
pub fn weights(network: &Network) -> Weights {
    let mut tensors = BTreeMap::new();
    for parameter in network.parameters() {
        let fan_in: usize = parameter.shape.iter().skip(1).product();
        let bound = (6.0 / fan_in as f64).sqrt();
        let name = parameter.name.as_str();
        let is_shift = name.ends_with(".bias") || name.ends_with(".running_mean");
        let is_scale = parameter.shape.len() == 1 || name.ends_with(".layer_scale");
        let values = uniform(name, parameter.shape.iter().product()).map(|u| match (is_shift, is_scale) {
            (true, _) => 0.2 * (u - 0.5),
            (false, true) => 0.8 + 0.4 * u,
            (false, false) => (2.0 * u - 1.0) * bound,
        });
        let values = values.map(|value| value as f32).collect();
        if let Ok(tensor) = Tensor::new(parameter.shape, values) {
            tensors.insert(parameter.name, tensor);
        }
    }
    Weights::new(tensors)
}

/// An image `[3, side, side]`, normalised.
pub fn image(side: usize) -> Vec<f32> {
    uniform("image", 3 * side * side).map(|u| (4.0 * u - 2.0) as f32).collect()
}

/// The same image as pixels, `[3, side, side]`.
pub fn pixels(side: usize) -> Vec<u8> {
    uniform("image", 3 * side * side).map(|u| (u * 256.0) as u8).collect()
}

/// What a network gives for [`image`] with [`weights`], in 64 bits, by another's implementation.
#[derive(Debug)]
pub struct Output {
    /// The network's name.
    pub network: String,
    /// `embedding` or `scores`.
    pub head: String,
    /// The image's height and width.
    pub side: usize,
    /// The output.
    pub values: Vec<f32>,
}

/// All outputs of the file beside the script.
///
/// # Panics
/// Where the file is not what the script writes.
pub fn outputs() -> Vec<Output> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("reference/backbones.safetensors");
    let file = match Weights::load(&path) {
        Ok(file) => file,
        Err(error) => panic!("{error}"),
    };
    let outputs = file.iter().map(|(name, tensor)| match name.split('/').collect::<Vec<_>>()[..] {
        [network, head, side] => Output {
            network: network.to_owned(),
            head: head.to_owned(),
            side: side.parse().unwrap_or_else(|_| panic!("'{name}' has no side")),
            values: tensor.values.clone(),
        },
        _ => panic!("'{name}' is not called network/head/side"),
    });
    outputs.collect()
}

/// The largest difference over the largest component.
pub fn disagreement(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0_f64, |most, &value| most.max(f64::from(value).abs()));
    let difference = ours.iter().zip(theirs).map(|(a, b)| f64::from(a - b).abs()).fold(0.0, f64::max);
    assert!(largest > 0.0 && difference.is_finite());
    difference / largest
}
