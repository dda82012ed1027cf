//! Which photos are for testing: by lists, or drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sketchfind_core::dataset::Split;
use sketchfind_core::random::Stream;

use super::{Options, broken};
use crate::{Error, Result};

/// The names in a list, one a line; empty lines are skipped, endings of images and folders before a name dropped.
pub(super) fn names_in(list: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(list).map_err(Error::io("read", list))?;
    // Some editors put a byte order mark before the first name.
    Ok(text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let name = line.rsplit(['/', '\\']).next().unwrap_or(line);
            without_ending(name).to_owned()
        })
        .collect())
}

/// A name without the ending of an image's file.
pub(super) fn without_ending(name: &str) -> &str {
    const ENDINGS: [&str; 8] = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"];
    let lower = name.to_ascii_lowercase();
    let ending = ENDINGS.iter().find(|ending| lower.ends_with(*ending));
    ending.map_or(name, |ending| &name[..name.len() - ending.len()])
}

/// The split of each photo by a training and a test list.
pub(super) fn splits_of_lists(dir: &Path, train: &Path, test: &Path) -> Result<BTreeMap<String, Split>> {
    let mut splits = BTreeMap::new();
    for (list, split) in [(train, Split::Train), (test, Split::Test)] {
        for name in names_in(list)? {
            if splits.insert(name.clone(), split).is_some_and(|other| other != split) {
                return Err(broken(dir, format!("'{name}' is in the lists of both splits")));
            }
        }
    }
    Ok(splits)
}

/// Draws which of some photos are for testing: a share of them, rounded, with a seed.
pub(super) fn draw_splits(
    dir: &Path,
    names: Vec<String>,
    options: &Options,
) -> Result<BTreeMap<String, Split>> {
    let Some(share) = options.test_share else {
        let reason = "it does not say which photos are for testing: expected folders 'train' and 'test' in both, or \
                      lists 'train.txt' and 'test.txt', or a share to draw (--test-share)";
        return Err(broken(dir, reason.into()));
    };
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::OutOfRange {
            what: "test share",
            value: share.to_string(),
            expected: "0 to 1".into(),
        });
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    Stream::new(options.seed, "test photos", &[]).shuffle(&mut order);
    let n_test = (names.len() as f64 * share).round() as usize;
    let test: BTreeSet<usize> = order.into_iter().take(n_test).collect();
    let split = |index| if test.contains(&index) { Split::Test } else { Split::Train };
    Ok(names.into_iter().enumerate().map(|(index, name)| (name, split(index))).collect())
}
