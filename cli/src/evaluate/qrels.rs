//! Several matches a sketch, for `sketchfind eval --qrels`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use sketchfind_core::Error;
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::unicode::{Meant, Names};
use sketchfind_eval::trec::read_qrels;

/// The matches of each sketch of a split, the photo that it depicts, as `photo_of` has it, first where it is one.
pub(super) fn read(
    path: &Path,
    dataset: &Dataset,
    split: Split,
    photo_of: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Vec<String>>> {
    // Ids are the same in every form of Unicode; one that is unknown is told where it is looked for.
    let (sketches, photos) = (
        Names::new(photo_of.keys().map(String::as_str)),
        Names::new(dataset.photos().iter().map(|photo| photo.id.as_str())),
    );
    let meant = |names: &Names<'_>, id: String| match names.meant_by(&id) {
        Meant::One(known) => known.to_owned(),
        _ => id,
    };
    let mut truth: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (query, matches) in read_qrels(path)? {
        let known = truth.entry(meant(&sketches, query)).or_default();
        for id in matches.into_iter().map(|id| meant(&photos, id)) {
            if !known.contains(&id) {
                known.push(id);
            }
        }
    }
    if let Some(query) = truth.keys().find(|query| !photo_of.contains_key(*query)) {
        let reason = format!("its query '{query}' is no sketch of the {split} split");
        return Err(Error::malformed(path, reason).into());
    }
    for (sketch, matches) in &mut truth {
        if let Some(place) = photo_of.get(sketch).and_then(|photo| matches.iter().position(|id| id == photo))
        {
            matches[..=place].rotate_right(1);
        }
    }
    Ok(truth)
}
