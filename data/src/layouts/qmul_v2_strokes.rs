//! QMUL-Shoe-V2 and Chair-V2 with a coordinate file in place of the sketches' pictures; it is pickled, and its names say the
//! split: `/train/<photo>_<n>`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sketchfind_core::dataset::Split;

use super::files::{children, images, name_of};
use super::pairs::{pair, photos_with};
use super::qmul_v2::{self, photo_folder};
use super::{Layout, Options, broken, found};
use crate::Result;
use crate::coordinates::read_coordinates;
use crate::found::{Found, Naming, Source, labelled};

impl Layout {
    /// [`Layout::QMUL_V2`] with a coordinate file in place of the sketches' pictures.
    pub const QMUL_V2_STROKES: Layout = Layout {
        name: "qmul-v2-strokes",
        holds: "a coordinate file '*_Coordinate'; photos in a folder '*_photo' or given",
        version: Some("V2"),
        is_in,
        read,
    };
}

fn is_in(dir: &Path) -> Result<bool> {
    Ok(coordinate_file(dir)?.is_some() && !qmul_v2::is_in(dir)?)
}

fn coordinate_file(dir: &Path) -> Result<Option<PathBuf>> {
    let mut files = children(dir)?;
    files.retain(|path| path.is_file() && name_of(path).to_ascii_lowercase().ends_with("_coordinate"));
    match &files[..] {
        [] => Ok(None),
        [file] => Ok(Some(file.clone())),
        several => Err(broken(dir, format!("it holds {} coordinate files, expected one", several.len()))),
    }
}

fn read(dir: &Path, options: &Options) -> Result<Found> {
    let Some(file) = coordinate_file(dir)? else {
        return Err(Layout::QMUL_V2_STROKES.missing(dir));
    };
    let mut splits: BTreeMap<String, Split> = BTreeMap::new();
    let mut sketches: Vec<(String, Source)> = Vec::new();
    for (key, strokes) in read_coordinates(&file)? {
        let (split, name) = parse_key(&key).map_err(|reason| broken(&file, reason))?;
        let stem = labelled(name)
            .ok_or_else(|| broken(&file, format!("'{key}' is not called '/<split>/<photo>_<n>'")))?;
        if splits.insert(stem.to_owned(), split).is_some_and(|other| other != split) {
            return Err(broken(&file, format!("sketches of '{stem}' are in both splits")));
        }
        sketches.push((name.to_owned(), Source::Strokes(strokes)));
    }
    let Some(photo_dir) = options.photos.clone().or(photo_folder(dir)?) else {
        let reason = format!(
            "its {} sketches of {} photos are there, the photos are not; give their folder (--photos)",
            sketches.len(),
            splits.len()
        );
        return Err(broken(dir, reason));
    };
    let mut notes = Vec::new();
    // A photo without sketches is in no split that the file could tell.
    let photos = images(&photo_dir)?;
    let photos = photos_with(&photo_dir, photos, &splits, options.leave_out, &mut notes)?;
    let entries = pair(dir, photos, sketches, Naming::Labelled, options.leave_out, &mut notes)?;
    Ok(Found { notes, ..found(Layout::QMUL_V2_STROKES, entries, options) })
}

/// Parts `/train/9910-02-carbon_1` into its split and name; a name from a file must stay in its folder.
fn parse_key(key: &str) -> std::result::Result<(Split, &str), String> {
    let parts: Vec<&str> = key.trim_start_matches('/').split('/').collect();
    match parts[..] {
        [split @ ("train" | "test"), name]
            if !name.is_empty() && !name.starts_with('.') && !name.contains('\\') =>
        {
            Ok((if split == "train" { Split::Train } else { Split::Test }, name))
        }
        _ => Err(format!("'{key}' is not called '/train/<photo>_<n>' or '/test/<photo>_<n>'")),
    }
}
