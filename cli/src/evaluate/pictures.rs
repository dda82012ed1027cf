//! Small pictures for report.html.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use sketchfind_core::dataset::Dataset;
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_eval::report::{Picture, Report, pictured};

/// The longer side of a picture, in pixels, and its quality as JPEG: a few kilobytes each.
const SIDE: u32 = 112;
const QUALITY: u8 = 72;

/// The pictures that the report's page shows.
pub(super) fn small(
    dataset: &Dataset,
    report: &Report,
    against: Option<&Report>,
) -> Result<BTreeMap<String, Picture>> {
    let photos = dataset.photos().iter().map(|photo| (photo.id.as_str(), &photo.path));
    let sketches = dataset.sketches().iter().map(|sketch| (sketch.id.as_str(), &sketch.path));
    let paths: BTreeMap<&str, &PathBuf> = photos.chain(sketches).collect();
    let mut pictures = BTreeMap::new();
    for id in pictured(report, against) {
        let Some(path) = paths.get(id.as_str()) else { continue };
        let image = Image::open(path, DecodeLimits::default())?.thumbnail(SIDE)?;
        let size = [image.width(), image.height()];
        pictures.insert(id, Picture { jpeg: image.to_jpeg(QUALITY)?, size });
    }
    Ok(pictures)
}
