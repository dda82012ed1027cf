//! `sketchfind weights import`.

use std::path::Path;

use anyhow::Result;

use crate::exit::Exit;
use crate::progress::say;

pub(crate) fn import(from: &Path, network: &str, source: &str, out: &Path) -> Result<Exit> {
    let weights = sketchfind_models::weights::import(from, network)?.with_metadata("source", source);
    weights.save(out)?;
    say(&format!("{} tensors of {network} written to '{}'", weights.len(), out.display()));
    Ok(Exit::Success)
}
