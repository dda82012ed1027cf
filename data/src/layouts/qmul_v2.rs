//! QMUL-Shoe-V2 and Chair-V2: a folder of photos, sketches called `<photo>_<n>`, and lists of the photos (and, in some
//! downloads, of the sketches) of both splits; or, in place of the sketches' pictures, a coordinate file that is pickled,
//! whose names say the split: `/train/<photo>_<n>`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sketchfind_core::dataset::Split;

use super::plain::files;
use super::{
    Layout, Options, broken, children, file, found, images, name_of, names_in, pair, photos_with,
    splits_of_lists,
};
use crate::Result;
use crate::found::{Found, Naming, Source, labelled};
use crate::strokes::read_coordinates;

pub(super) fn has_lists(dir: &Path) -> bool {
    lists(dir, "photo").is_some()
}

/// The lists of both splits of photos or sketches.
fn lists(dir: &Path, of: &str) -> Option<[PathBuf; 2]> {
    Some([file(dir, &format!("{of}_train.txt"))?, file(dir, &format!("{of}_test.txt"))?])
}

pub(super) fn is_in(dir: &Path) -> Result<bool> {
    Ok(has_lists(dir) && photo_folder(dir)?.is_some() && sketch_folder(dir)?.is_some())
}

pub(super) fn has_coordinates(dir: &Path) -> Result<bool> {
    Ok(coordinate_file(dir)?.is_some() && !is_in(dir)?)
}

/// The one folder whose name ends as one of `endings`, in lower case.
fn ending_as(dir: &Path, endings: &[&str]) -> Result<Option<PathBuf>> {
    let mut folders = children(dir)?;
    folders.retain(|path| {
        let name = name_of(path).to_ascii_lowercase();
        path.is_dir() && endings.iter().any(|ending| name.ends_with(ending))
    });
    match &folders[..] {
        [] => Ok(None),
        [folder] => Ok(Some(folder.clone())),
        several => {
            let names: Vec<String> = several.iter().map(|path| name_of(path)).collect();
            Err(broken(dir, format!("it holds several such folders, {}; expected one", names.join(", "))))
        }
    }
}

fn photo_folder(dir: &Path) -> Result<Option<PathBuf>> {
    ending_as(dir, &["photo", "photos"])
}

fn sketch_folder(dir: &Path) -> Result<Option<PathBuf>> {
    ending_as(dir, &["sketch", "sketches", "sketch_png"])
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

pub(super) fn read(dir: &Path, options: &Options) -> Result<Found> {
    let (Some(photo_dir), Some(sketch_dir), Some([train, test])) =
        (photo_folder(dir)?, sketch_folder(dir)?, lists(dir, "photo"))
    else {
        return Err(broken(dir, format!("expected {}", Layout::QmulV2.describe())));
    };
    let mut notes = Vec::new();
    let splits = splits_of_lists(dir, &train, &test)?;
    let photos = photos_with(dir, images(&photo_dir)?, &splits, options.leave_out, &mut notes)?;
    let mut sketches = images(&sketch_dir)?;
    if let Some(lists) = lists(dir, "sketch") {
        let mut listed = BTreeSet::new();
        for list in &lists {
            listed.extend(names_in(list)?);
        }
        if let Some(name) = listed.iter().find(|name| !sketches.contains_key(*name)) {
            return Err(broken(dir, format!("the sketch '{name}' of its lists is missing")));
        }
        let n_before = sketches.len();
        sketches.retain(|name, _| listed.contains(name));
        if sketches.len() < n_before {
            notes.push(format!("{} sketches in neither list are left out", n_before - sketches.len()));
        }
    }
    let entries = pair(dir, photos, files(sketches), Naming::Labelled, options.leave_out, &mut notes)?;
    Ok(Found { notes, ..found(Layout::QmulV2, entries, options) })
}

pub(super) fn read_strokes(dir: &Path, options: &Options) -> Result<Found> {
    let Some(file) = coordinate_file(dir)? else {
        return Err(broken(dir, format!("expected {}", Layout::QmulV2Strokes.describe())));
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
    Ok(Found { notes, ..found(Layout::QmulV2Strokes, entries, options) })
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
