//! Vector sketches for `sketchfind eval --on-the-fly` and `--robustness`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use sketchfind::Embedder;
use sketchfind_core::Error;
use sketchfind_core::dataset::{Dataset, Modality, Split};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;
use sketchfind_core::strokes::{Raster, Strokes};
use sketchfind_data::deform::Change;
use sketchfind_data::vector::read_sketches;
use sketchfind_eval::early::{EarlyRetrieval, early_retrieval};
use sketchfind_eval::robustness::{Changed, Robustness, robustness};
use sketchfind_eval::{Bootstrap, QueryResult, rank_queries};

use crate::embedding::Lists;
use crate::progress::say;

/// The strokes of every sketch of a split, in order of ids.
pub(super) struct Drawn {
    ids: Vec<String>,
    strokes: Vec<Strokes>,
}

/// Reads vector sketches and finds those of the data set's sketches by name: the id, with or without its first folder,
/// and QMUL's keys with or without their split. Every sketch of the split must have one.
pub(super) fn read(path: &Path, dataset: &Dataset, split: Split) -> Result<Drawn> {
    let sketches = read_sketches(path)?;
    let n_in_file = sketches.len();
    let mut by_name: BTreeMap<String, Strokes> = BTreeMap::new();
    for (key, strokes) in sketches {
        let trimmed = key.trim_start_matches('/');
        let is_other = |other: &str| split.name() != other && trimmed.starts_with(&format!("{other}/"));
        if is_other("train") || is_other("test") {
            continue;
        }
        let name = trimmed.strip_prefix(&format!("{split}/")).unwrap_or(trimmed).to_owned();
        by_name.insert(name, strokes);
    }
    let (mut ids, mut strokes, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for sketch in dataset.sketches_in(split) {
        let short = sketch.id.split_once('/').map_or(sketch.id.as_str(), |(_, name)| name);
        match by_name.get(&sketch.id).or_else(|| by_name.get(short)) {
            Some(found) => {
                ids.push(sketch.id.clone());
                strokes.push(found.clone());
            }
            None => missing.push(sketch.id.clone()),
        }
    }
    if let Some(first) = missing.first() {
        let reason = format!(
            "{} sketches of the {split} split are not in it, such as '{first}' ({n_in_file} sketches are)",
            missing.len()
        );
        return Err(Error::malformed(path, reason).into());
    }
    say(&format!("vector sketches: {} of the {split} split, of {n_in_file} in the file", ids.len()));
    Ok(Drawn { ids, strokes })
}

/// What sketches are drawn for, embedded and ranked.
pub(super) struct Retrieval<'a> {
    pub(super) embedder: &'a mut Embedder,
    pub(super) gallery: &'a Embeddings,
    pub(super) truth: &'a BTreeMap<String, Vec<String>>,
    pub(super) drawn: &'a Drawn,
    pub(super) bootstrap: &'a Bootstrap,
}

impl Retrieval<'_> {
    /// Ranks sketches as `n_steps` equal shares of their points are drawn.
    pub(super) fn on_the_fly(&mut self, n_steps: usize) -> Result<EarlyRetrieval> {
        let n_pictures = n_steps * self.drawn.ids.len();
        let mut lists = Lists::begin(n_pictures, "embedding sketches while they are drawn")?;
        let steps = (1..=n_steps)
            .map(|step| {
                let share = step as f64 / n_steps as f64;
                self.rank(&mut lists, &|strokes, _| Ok(strokes.draw(&Raster::default(), share)?))
            })
            .collect::<Result<Vec<_>>>()?;
        lists.finish();
        Ok(early_retrieval(&steps, self.bootstrap)?)
    }

    /// Ranks `n_versions` of each sketch for each kind of change, against the same strokes as they are.
    pub(super) fn robustness(&mut self, n_versions: usize) -> Result<Vec<Robustness>> {
        let changes: Vec<Change> = Change::DEFORMATIONS.into_iter().chain(Change::DELETIONS).collect();
        let n_pictures = (1 + changes.len() * n_versions) * self.drawn.ids.len();
        let mut lists = Lists::begin(n_pictures, "embedding changed sketches")?;
        let original = self.rank(&mut lists, &|strokes, _| Ok(strokes.draw(&Raster::default(), 1.0)?))?;
        let seed = self.bootstrap.seed;
        let changed = changes
            .iter()
            .map(|change| {
                let name = change.name();
                let versions = (0..n_versions)
                    .map(|version| {
                        self.rank(&mut lists, &|strokes, id| {
                            // A version is a function of the sketch's name, not of its place in the list.
                            let stream =
                                &mut Stream::new(seed, &format!("{name} of {id}"), &[version as u64]);
                            let (strokes, raster) = change.apply(strokes, &Raster::default(), stream);
                            Ok(strokes.draw(&raster, 1.0)?)
                        })
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok(Changed { change: name, versions })
            })
            .collect::<Result<Vec<_>>>()?;
        lists.finish();
        Ok(robustness(&original, &changed, self.bootstrap)?)
    }

    fn rank(
        &mut self,
        lists: &mut Lists,
        draw: &dyn Fn(&Strokes, &str) -> Result<Image>,
    ) -> Result<Vec<QueryResult>> {
        let Drawn { ids, strokes } = self.drawn;
        let mut make = |index: usize| draw(&strokes[index], &ids[index]);
        let queries = lists.embed(self.embedder.of(Modality::Sketch), ids, &mut make)?;
        let distance = self.embedder.card().distance;
        Ok(rank_queries(&queries, self.gallery, self.truth, distance)?)
    }
}
