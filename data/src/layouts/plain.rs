//! Plain folders: `photo/` and `sketch/` (or `photos/` and `sketches/`), paired by name. The splits are folders `train`
//! and `test` in both, or lists `train.txt` and `test.txt` of photos beside them, or drawn.

use std::path::Path;

use sketchfind_core::dataset::Split;

use super::files::{file, folder, images};
use super::pairs::{of_files, pair, photo, photos_with};
use super::splits::{draw_splits, splits_of_lists};
use super::{Layout, Options, found, manifest, qmul_v2, sketchy};
use crate::Result;
use crate::found::{Entry, Found, Naming, Source};

const PHOTOS: [&str; 2] = ["photo", "photos"];
const SKETCHES: [&str; 2] = ["sketch", "sketches"];

impl Layout {
    /// Folders `photo/` and `sketch/`, paired by name.
    pub const PLAIN: Layout =
        Layout { name: "plain", holds: "folders 'photo' and 'sketch'", version: None, is_in, read };
}

fn is_in(dir: &Path) -> Result<bool> {
    let folders = (folder(dir, &PHOTOS), folder(dir, &SKETCHES));
    let is_other = manifest::is_in(dir)? || sketchy::root(dir).is_some() || qmul_v2::has_lists(dir);
    Ok(matches!(folders, (Some(_), Some(_))) && !is_other)
}

fn read(dir: &Path, options: &Options) -> Result<Found> {
    let (Some(photo_dir), Some(sketch_dir)) = (folder(dir, &PHOTOS), folder(dir, &SKETCHES)) else {
        return Err(Layout::PLAIN.missing(dir));
    };
    let mut notes = Vec::new();
    let part =
        |dir: &Path, split: Split| folder(dir, &[split.name()]).unwrap_or_else(|| dir.join(split.name()));
    let splits = [Split::Train, Split::Test];
    let entries = if splits.iter().all(|split| part(&photo_dir, *split).is_dir()) {
        let mut entries = Vec::new();
        for split in splits {
            let (photo_part, sketch_part) = (part(&photo_dir, split), part(&sketch_dir, split));
            let all = images(&photo_part)?;
            let photos: Vec<Entry> =
                all.into_iter().map(|(name, path)| photo(name, split, Source::File(path))).collect();
            let sketches = of_files(images(&sketch_part)?);
            entries.extend(pair(dir, photos, sketches, Naming::Numbered, options.leave_out, &mut notes)?);
        }
        entries
    } else {
        let photos = images(&photo_dir)?;
        let splits = match (file(dir, "train.txt"), file(dir, "test.txt")) {
            (Some(train), Some(test)) => splits_of_lists(dir, &train, &test)?,
            _ => draw_splits(dir, photos.keys().cloned().collect(), options)?,
        };
        let photos = photos_with(dir, photos, &splits, options.leave_out, &mut notes)?;
        pair(dir, photos, of_files(images(&sketch_dir)?), Naming::Numbered, options.leave_out, &mut notes)?
    };
    Ok(Found { notes, ..found(Layout::PLAIN, entries, options) })
}
