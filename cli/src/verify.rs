//! `sketchfind verify`.

use std::path::Path;

use anyhow::Result;
use sketchfind::Device;

use crate::exit::Exit;
use crate::output;

pub(crate) fn verify(model: &Path, device: Device) -> Result<Exit> {
    let found = sketchfind::verify(model, device)?;
    output::lines([format!(
        "{}: {} probe images on {device}: largest difference {:.2e}, {:.2e} of the largest component (at most \
         {:.1e} is allowed{})",
        if found.passed { "verified" } else { "NOT verified" },
        found.n_images,
        found.largest_difference,
        found.relative,
        found.tolerance,
        found
            .deviation_at_export
            .map_or(String::new(), |deviation| format!(", {deviation:.2e} was seen at export"))
    )])?;
    Ok(if found.passed { Exit::Success } else { Exit::CheckFailed })
}
