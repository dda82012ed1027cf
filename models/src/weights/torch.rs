//! PyTorch files: state dictionaries in the zip format of 1.6 and later and in the legacy format before it. No pickle code
//! is run: what builds tensors is honoured, all else is refused by name.

use std::path::Path;

use sketchfind_pickle::Machine;

use super::Weights;
use crate::{Error, Result};

mod archive;
mod legacy;
mod vocabulary;

/// The first bytes of a zip archive.
const ZIP: &[u8] = b"PK\x03\x04";

/// Reads a state dictionary, plain or under a key such as `state_dict` or `model`, in either format.
///
/// # Errors
/// [`Error::Core`] where the file cannot be read; [`Error::WeightsFile`] where it is not such a file, is damaged, or
/// holds anything but tensors.
pub fn read(path: &Path) -> Result<Weights> {
    let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
    parse(&bytes).map_err(|reason| Error::weights_file(path, reason))
}

/// Reads a state dictionary from a file's bytes, as [`read`] does.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8]) -> std::result::Result<Weights, String> {
    let (parsed, format) = if bytes.starts_with(ZIP) {
        (archive::parse(bytes), "zip")
    } else {
        (legacy::parse(bytes), "legacy")
    };
    parsed.map_err(|reason| format!("not a state dictionary in PyTorch's {format} format: {reason}"))
}

/// The names and shapes in the pickle of a state dictionary, without the storages' values; [`parse`] reads them out of a
/// whole file.
///
/// # Errors
/// What is wrong with it.
pub fn parse_pickle(bytes: &[u8]) -> std::result::Result<Vec<(String, Vec<usize>)>, String> {
    let mut machine = Machine::new(bytes, vocabulary::Torch);
    let object = machine.next_pickle()?;
    let state = vocabulary::state_dictionary(&machine, &object)?;
    Ok(state.into_iter().map(|(name, tensor)| (name, tensor.shape.clone())).collect())
}
