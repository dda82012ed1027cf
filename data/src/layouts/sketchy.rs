//! The Sketchy database (Sangkloy et al. 2016): `photo/<variant>/<category>/<photo>.jpg`,
//! `sketch/<variant>/<category>/<photo>-<n>.png`, in a folder `256x256` or not, and the list of test photos in
//! `info/testset.txt` or `info-06-04/info/testset.txt`. Of the variants (cropped and scaled differently) `tx_000000000000`
//! is the unchanged one.

use std::path::{Path, PathBuf};

use sketchfind_core::dataset::Split;

use super::files::{children, file, folder, images, name_of};
use super::pairs::{of_files, pair, photos_with};
use super::splits::{draw_splits, without_ending};
use super::{Layout, Options, broken, found};
use crate::found::{Found, Naming};
use crate::{Error, Result};

const UNCHANGED: &str = "tx_000000000000";

impl Layout {
    /// The Sketchy database.
    pub const SKETCHY: Layout = Layout {
        name: "sketchy",
        holds: "folders 'photo/tx_*/<category>' and 'sketch/tx_*/<category>', in '256x256' or not",
        version: None,
        is_in: |dir| Ok(root(dir).is_some()),
        read,
    };
}

/// The folder that holds `photo/tx_*` and `sketch/tx_*`.
pub(super) fn root(dir: &Path) -> Option<PathBuf> {
    let roots = folder(dir, &["256x256"]).into_iter().chain([dir.to_owned()]);
    roots
        .into_iter()
        .find(|root| kinds(root).is_some_and(|kinds| kinds.iter().all(|kind| !variants(kind).is_empty())))
}

/// The folders of photos and sketches.
fn kinds(root: &Path) -> Option<[PathBuf; 2]> {
    Some([folder(root, &["photo"])?, folder(root, &["sketch"])?])
}

fn variants(folder: &Path) -> Vec<PathBuf> {
    let mut found = children(folder).unwrap_or_default();
    found.retain(|path| path.is_dir() && name_of(path).to_ascii_lowercase().starts_with("tx_"));
    found
}

fn variant(folder: &Path) -> Result<PathBuf> {
    let found = variants(folder);
    match &found[..] {
        [one] => Ok(one.clone()),
        several => {
            several.iter().find(|path| name_of(path).eq_ignore_ascii_case(UNCHANGED)).cloned().ok_or_else(
                || {
                    let names: Vec<String> = several.iter().map(|path| name_of(path)).collect();
                    broken(
                        folder,
                        format!("it holds the variants {}, expected one, or {UNCHANGED}", names.join(", ")),
                    )
                },
            )
        }
    }
}

fn read(dir: &Path, options: &Options) -> Result<Found> {
    let Some([photo_dir, sketch_dir]) = root(dir).and_then(|root| kinds(&root)) else {
        return Err(Layout::SKETCHY.missing(dir));
    };
    let photos = images(&variant(&photo_dir)?)?;
    let sketches = images(&variant(&sketch_dir)?)?;
    let mut notes = Vec::new();
    let info = folder(dir, &["info"]).or_else(|| folder(&folder(dir, &["info-06-04"])?, &["info"]));
    let splits = match info.and_then(|info| file(&info, "testset.txt")) {
        Some(list) => {
            let text = std::fs::read_to_string(&list).map_err(Error::io("read", &list))?;
            let test: std::collections::BTreeSet<&str> =
                text.lines().map(str::trim).filter(|line| !line.is_empty()).map(without_ending).collect();
            // The list names `category/photo`.
            if let Some(name) = test.iter().find(|name| !photos.contains_key(**name)) {
                return Err(broken(&list, format!("the photo '{name}' is missing")));
            }
            let split = |name: &str| if test.contains(name) { Split::Test } else { Split::Train };
            photos.keys().map(|name| (name.clone(), split(name))).collect()
        }
        None => draw_splits(dir, photos.keys().cloned().collect(), options)?,
    };
    let photos = photos_with(dir, photos, &splits, options.leave_out, &mut notes)?;
    let entries = pair(dir, photos, of_files(sketches), Naming::Numbered, options.leave_out, &mut notes)?;
    Ok(Found { notes, ..found(Layout::SKETCHY, entries, options) })
}
