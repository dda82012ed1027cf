//! Files of vector sketches, whatever their form: a coordinate file of QMUL's V2 sets, QuickDraw's ndjson, SVG files.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind_core::strokes::Strokes;

use crate::coordinates::read_coordinates;
use crate::{Error, Result};

mod quickdraw;
mod svg;

pub use quickdraw::read_quickdraw;
pub use svg::read_svg;

/// Reads sketches by name: of an `.ndjson` file by `key_id`, of an `.svg` file by the file's name, of a folder of them by
/// their paths in it without ending, of any other file as QMUL's coordinates by their keys.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] with the file, and the line or name that is wrong; [`Error::Dataset`] for a folder
/// that holds no SVG file.
pub fn read_sketches(path: &Path) -> Result<BTreeMap<String, Strokes>> {
    if path.is_dir() {
        let mut sketches = BTreeMap::new();
        add_folder(path, "", &mut sketches)?;
        if sketches.is_empty() {
            let reason = "there is no .svg file in the folder".into();
            return Err(Error::Dataset { path: path.to_owned(), reason });
        }
        return Ok(sketches);
    }
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match ending.as_str() {
        "ndjson" => read_quickdraw(path),
        "svg" => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok(BTreeMap::from([(name, read_svg(path)?)]))
        }
        _ => read_coordinates(path),
    }
}

fn add_folder(folder: &Path, prefix: &str, sketches: &mut BTreeMap<String, Strokes>) -> Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(Error::io("read", folder))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            add_folder(&path, &format!("{prefix}{name}/"), sketches)?;
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            sketches.insert(format!("{prefix}{stem}"), read_svg(&path)?);
        }
    }
    Ok(())
}

/// The steps that lines are parted into, as a share of the canvas' larger side: where a form keeps only the corners of a
/// line, points along it make a share of the points a share of its length.
const STEP: f32 = 1.0 / 128.0;

/// Adds points from the last one of `polyline` to `to`, at most `step` apart.
fn line_to(polyline: &mut Vec<[f32; 2]>, to: [f32; 2], step: f32) {
    let Some(&from) = polyline.last() else {
        polyline.push(to);
        return;
    };
    let n_steps = n_steps((to[0] - from[0]).hypot(to[1] - from[1]), step);
    for index in 1..=n_steps {
        let t = index as f32 / n_steps as f32;
        polyline.push([from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1])]);
    }
}

/// How many steps a length is parted into; a bound keeps a line of absurd length from filling the memory.
fn n_steps(length: f32, step: f32) -> usize {
    ((length / step).ceil() as usize).clamp(1, 4096)
}
