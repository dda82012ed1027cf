//! `sketchfind verify`.

use std::path::Path;

use anyhow::Result;
use sketchfind_runtime::Device;

use crate::exit::Exit;
use crate::output;

pub(crate) fn verify(model: &Path, device: Device) -> Result<Exit> {
    let found = sketchfind_runtime::verify(model, device)?;
    output::lines([format!(
        "{}: {} probe images on {device}: largest difference {:.2e}, {:.2e} of the largest component (at most \
         {:.0e} is allowed)",
        if found.passed { "verified" } else { "NOT verified" },
        found.n_images,
        found.largest_difference,
        found.relative,
        found.tolerance
    )])?;
    Ok(if found.passed { Exit::Success } else { Exit::CheckFailed })
}
