//! QMUL-Shoe-V2 and Chair-V2: a folder of photos, sketches called `<photo>_<n>`, and lists of the photos (and, in some
//! downloads, of the sketches) of both splits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::{children, file, images, name_of};
use super::pairs::{of_files, pair, photos_with};
use super::splits::{names_in, splits_of_lists};
use super::{Layout, Options, broken, found};
use crate::Result;
use crate::found::{Found, Naming};

impl Layout {
    /// QMUL-Shoe-V2, Chair-V2: photos, sketches called `<photo>_<n>`, and lists of both splits.
    pub const QMUL_V2: Layout = Layout {
        name: "qmul-v2",
        holds: "a folder '*_photo', a folder '*_sketch', and lists 'photo_train.txt' and 'photo_test.txt'",
        version: Some("V2"),
        is_in,
        read,
    };
}

/// Whether there are lists of the photos of both splits.
pub(super) fn has_lists(dir: &Path) -> bool {
    lists(dir, "photo").is_some()
}

/// The lists of both splits of photos or sketches.
fn lists(dir: &Path, of: &str) -> Option<[PathBuf; 2]> {
    Some([file(dir, &format!("{of}_train.txt"))?, file(dir, &format!("{of}_test.txt"))?])
}

/// Whether it is this layout, and not the one with a coordinate file.
pub(super) fn is_in(dir: &Path) -> Result<bool> {
    Ok(has_lists(dir) && photo_folder(dir)?.is_some() && sketch_folder(dir)?.is_some())
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

/// The folder of photos, if there is one.
pub(super) fn photo_folder(dir: &Path) -> Result<Option<PathBuf>> {
    ending_as(dir, &["photo", "photos"])
}

fn sketch_folder(dir: &Path) -> Result<Option<PathBuf>> {
    ending_as(dir, &["sketch", "sketches", "sketch_png"])
}

fn read(dir: &Path, options: &Options) -> Result<Found> {
    let (Some(photo_dir), Some(sketch_dir), Some([train, test])) =
        (photo_folder(dir)?, sketch_folder(dir)?, lists(dir, "photo"))
    else {
        return Err(Layout::QMUL_V2.missing(dir));
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
    let entries = pair(dir, photos, of_files(sketches), Naming::Labelled, options.leave_out, &mut notes)?;
    Ok(Found { notes, ..found(Layout::QMUL_V2, entries, options) })
}
