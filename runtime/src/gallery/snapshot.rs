//! A snapshot: all photos of a gallery at one moment. Readers hold one as long as they like; a writer makes the next.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_index::Query;

use super::segment::{LiveSegment, Segment};
use crate::process::{self, Process};
use crate::{Error, Filter, Photo, Result, SearchOptions};

/// A photo that matches a query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Match {
    /// The photo's id.
    pub id: String,
    /// Its distance to the query by the model's distance; smaller is more alike.
    pub distance: f64,
    /// The probability that it is the one that was drawn, or in a search by product that its product is, where a [`Calibration`](crate::Calibration) says so; it does of the
    /// first [`N_SCORED`](sketchfind_core::calibration::N_SCORED) of an answer.
    pub score: Option<f64>,
    /// Its place, from 1.
    pub rank: usize,
    /// The photo's file, where the gallery was told.
    pub path: Option<PathBuf>,
    /// The photo's labels, sorted.
    pub labels: BTreeSet<String>,
    /// The product that the photo shows, where the gallery was told.
    pub product: Option<String>,
}

impl Match {
    /// The first `k` of photos that were found, without scores: best first, equal distances in order of ids.
    pub(crate) fn ranked(mut found: Vec<(f64, &Photo)>, k: usize) -> Vec<Match> {
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.id().cmp(b.1.id())));
        found.truncate(k);
        let matches = found.into_iter().zip(1..).map(|((distance, photo), rank)| Match {
            id: photo.id().to_owned(),
            distance,
            score: None,
            rank,
            path: photo.source().map(Path::to_owned),
            labels: photo.labels().clone(),
            product: photo.product().map(str::to_owned),
        });
        matches.collect()
    }

    /// What a search by product finds once: the product, or the photo that has none.
    pub(crate) fn product_or_photo(&self) -> (bool, &str) {
        self.product.as_deref().map_or((false, self.id.as_str()), |product| (true, product))
    }
}

/// Where a photo is in a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    part: usize,
    row: usize,
}

/// All photos of a gallery at one moment. It never changes, whatever a writer does meanwhile.
pub struct Snapshot {
    distance: Distance,
    width: usize,
    parts: Vec<LiveSegment>,
    n_live: usize,
    process: Process,
    /// Where photos are by the SHA-256 of their files, once somebody has asked.
    contents: OnceLock<HashMap<[u8; 32], Place>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("n_photos", &self.n_live)
            .field("width", &self.width)
            .field("distance", &self.distance)
            .field("n_segments", &self.parts.len())
            .finish_non_exhaustive()
    }
}

/// Photos that come and go together: a change of a gallery that happens whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Batch {
    /// Ids of photos to remove.
    pub(super) removed: Vec<String>,
    /// Rows to remove: number of a segment's file and row.
    pub(super) removed_rows: Vec<(u64, u32)>,
    /// Photos to add, after that.
    pub(super) photos: Vec<Photo>,
    /// Their embeddings, row-major.
    pub(super) values: Vec<f32>,
}

impl Snapshot {
    pub(super) fn new(distance: Distance, width: usize, parts: Vec<LiveSegment>) -> Snapshot {
        let n_live = parts.iter().map(LiveSegment::n_live).sum();
        Snapshot { distance, width, parts, n_live, process: Process::current(), contents: OnceLock::new() }
    }

    /// The number of photos.
    pub fn len(&self) -> usize {
        self.n_live
    }

    /// Whether there is no photo.
    pub fn is_empty(&self) -> bool {
        self.n_live == 0
    }

    /// The width of an embedding, D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The distance that it is searched by.
    pub fn distance(&self) -> Distance {
        self.distance
    }

    /// The photo of this id.
    pub fn photo(&self, id: &str) -> Option<&Photo> {
        let (part, row) = self.find(id)?;
        self.parts[part].segment.photos().get(row)
    }

    /// The embedding of a photo, `[D]`.
    pub fn embedding(&self, id: &str) -> Option<&[f32]> {
        let (part, row) = self.find(id)?;
        self.parts[part].segment.matrix().row(row)
    }

    /// All photos with their embeddings, sorted by id.
    pub fn photos(&self) -> impl Iterator<Item = (&Photo, &[f32])> {
        sorted_rows(&self.parts).into_iter().map(|(part, row)| photo_and_row(&self.parts, part, row))
    }

    /// All embeddings, copied.
    ///
    /// # Errors
    /// [`Error::Core`], which snapshots have no cause for.
    pub fn embeddings(&self) -> Result<Embeddings> {
        let mut ids = Vec::with_capacity(self.n_live);
        let mut values = Vec::with_capacity(self.n_live * self.width);
        for (photo, row) in self.photos() {
            ids.push(photo.id().to_owned());
            values.extend_from_slice(row);
        }
        Ok(Embeddings::new(ids, self.width, values)?)
    }

    /// The number of photos that searches look at one by one because no graph holds them.
    pub fn n_without_graph(&self) -> usize {
        self.parts.iter().filter(|part| part.segment.graph().is_none()).map(LiveSegment::n_live).sum()
    }

    /// The number of rows that were removed and still take space until the gallery is compacted.
    pub fn n_removed(&self) -> usize {
        self.parts.iter().map(LiveSegment::n_dead).sum()
    }

    /// The `k` photos nearest to `query` among those that pass `filter`, or all where there are fewer; best first,
    /// equal distances in order of ids. Exact where the filter leaves out anything, and where the gallery has no graph.
    ///
    /// # Shapes
    /// `query`: `[D]`.
    ///
    /// # Errors
    /// [`Error::Core`] where the query has another width or is not finite.
    pub fn search(&self, query: &[f32], k: usize, filter: &Filter) -> Result<Vec<Match>> {
        self.search_with(query, k, filter, SearchOptions::default())
    }

    /// [`Snapshot::search`], done as `options` say.
    ///
    /// # Shapes
    /// `query`: `[D]`.
    ///
    /// # Errors
    /// Those of [`Snapshot::search`] and [`SearchOptions::check`].
    pub fn search_with(
        &self,
        query: &[f32],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Match>> {
        let query = Query::new(query, self.width)?;
        Ok(self.search_each(&[query], k, filter, options)?.pop().unwrap_or_default())
    }

    /// For each of `queries` what [`Snapshot::search`] gives, on all cores; faster than one after another.
    ///
    /// # Shapes
    /// `queries`: `[Q, D]`, row-major.
    ///
    /// # Errors
    /// Those of [`Snapshot::search`]; [`Error::Core`] where the values are not whole queries.
    pub fn search_batch(&self, queries: &[f32], k: usize, filter: &Filter) -> Result<Vec<Vec<Match>>> {
        self.search_batch_with(queries, k, filter, SearchOptions::default())
    }

    /// [`Snapshot::search_batch`], done as `options` say.
    ///
    /// # Shapes
    /// `queries`: `[Q, D]`, row-major.
    ///
    /// # Errors
    /// Those of [`Snapshot::search_batch`] and [`SearchOptions::check`].
    pub fn search_batch_with(
        &self,
        queries: &[f32],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        self.search_each(&Query::each(queries, self.width)?, k, filter, options)
    }

    /// [`Snapshot::search_batch_with`] for queries that were checked.
    pub(crate) fn search_each(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        self.process.check(|| "a snapshot of a gallery".to_owned())?;
        options.check()?;
        filter.refuse_sql()?;
        let passing = (!filter.is_everything()).then_some(filter);
        if !options.by_product {
            return self.nearest_photos(queries, k, passing, options);
        }
        let search = |queries: &[Query<'_>], n| self.nearest_photos(queries, n, passing, options);
        nearest_products(queries, k, self.n_live, passing.is_some(), search)
    }

    /// The `k` photos nearest to each of `queries`.
    fn nearest_photos(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filter: Option<&Filter>,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        let mut found: Vec<Vec<(f64, &Photo)>> = vec![Vec::new(); queries.len()];
        for part in &self.parts {
            let photos = part.segment.photos();
            let rankings =
                process::on_live_threads(|| part.search(queries, self.distance, k, filter, options))??;
            for (found, ranking) in found.iter_mut().zip(rankings) {
                let hits = ranking.hits().iter();
                found.extend(hits.filter_map(|hit| Some((hit.distance, photos.get(hit.row)?))));
            }
        }
        Ok(found.into_iter().map(|found| Match::ranked(found, k)).collect())
    }

    pub(super) fn parts(&self) -> &[LiveSegment] {
        &self.parts
    }

    /// Where its photos are, sorted by id, for [`Snapshot::at`]: what [`Snapshot::photos`] goes through, for those who cannot
    /// keep an iterator's borrow, as a list of another language cannot.
    pub fn places(&self) -> Vec<Place> {
        sorted_rows(&self.parts).into_iter().map(|(part, row)| Place { part, row }).collect()
    }

    /// Where the photo of this id is.
    pub fn place_of(&self, id: &str) -> Option<Place> {
        self.find(id).map(|(part, row)| Place { part, row })
    }

    /// The photo at a place of this snapshot, and its embedding; of a place of another snapshot nothing, or some other photo.
    pub fn at(&self, Place { part, row }: Place) -> Option<(&Photo, &[f32])> {
        let segment = &self.parts.get(part)?.segment;
        Some((segment.photos().get(row)?, segment.matrix().row(row)?))
    }

    /// Where photos are by the SHA-256 of their files.
    pub(super) fn known_contents(&self) -> &HashMap<[u8; 32], Place> {
        self.contents.get_or_init(|| {
            let content = |place: Place| Some((*self.at(place)?.0.content()?, place));
            self.places().into_iter().filter_map(content).collect()
        })
    }

    fn find(&self, id: &str) -> Option<(usize, usize)> {
        self.parts.iter().enumerate().rev().find_map(|(number, part)| Some((number, part.find(id)?)))
    }

    /// Checks that `batch` can be applied: every photo is lawful, its id free, its embedding wide enough and finite.
    pub(super) fn check(&self, batch: &Batch) -> Result<()> {
        check_photos(&batch.photos, &batch.values, self.width)?;
        let removed: BTreeSet<&str> = batch.removed.iter().map(String::as_str).collect();
        for photo in &batch.photos {
            if !removed.contains(photo.id()) && self.find(photo.id()).is_some() {
                return Err(Error::PhotoExists { id: photo.id().to_owned() });
            }
        }
        Ok(())
    }

    /// The snapshot after `batch`.
    ///
    /// # Errors
    /// In words, where the batch removes what is not there or adds what is: a log that does not belong to its gallery.
    pub(super) fn after(&self, batch: Batch) -> std::result::Result<Snapshot, String> {
        let mut parts = self.parts.clone();
        for id in &batch.removed {
            let found = parts.iter_mut().rev().find_map(|part| part.find(id).map(|row| part.remove(row)));
            if found != Some(true) {
                return Err(format!("it removes the photo '{id}', which is not there"));
            }
        }
        for (number, row) in batch.removed_rows {
            let part = parts.iter_mut().find(|part| part.segment.number() == Some(number));
            if !part.is_some_and(|part| part.remove(row as usize)) {
                return Err(format!("it removes row {row} of segment {number}, which is not there"));
            }
        }
        if let Some(photo) =
            batch.photos.iter().find(|photo| parts.iter().any(|part| part.find(photo.id()).is_some()))
        {
            return Err(format!("it adds the photo '{}', which is there already", photo.id()));
        }
        // Segments without a file that hold nothing any more go at once.
        parts.retain(|part| part.segment.number().is_some() || part.n_live() > 0);
        if !batch.photos.is_empty() {
            let segment = Segment::new(batch.photos, self.width, batch.values).map_err(|e| e.to_string())?;
            parts.push(LiveSegment::new(segment));
            merge_small(&mut parts, self.width).map_err(|e| e.to_string())?;
        }
        Ok(Snapshot::new(self.distance, self.width, parts))
    }
}

/// Checks photos that come together: each is lawful, no id stands twice, every embedding is wide enough and finite.
pub(crate) fn check_photos(photos: &[Photo], values: &[f32], width: usize) -> Result<()> {
    if values.len() != photos.len() * width {
        return Err(sketchfind_core::Error::Mismatch {
            what: "values of embeddings",
            expected: format!("{} of width {width}", photos.len()),
            got: values.len().to_string(),
        }
        .into());
    }
    if let Some(position) = values.iter().position(|value| !value.is_finite()) {
        let (row, value) = (position / width, f64::from(values[position]));
        return Err(sketchfind_core::Error::NotFinite { what: "an embedding", row, value }.into());
    }
    let mut ids: Vec<&str> = photos.iter().map(Photo::id).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::PhotoExists { id: pair[0].to_owned() });
    }
    photos.iter().try_for_each(Photo::check)
}

/// The `k` products nearest to each of `queries` among `n_photos`, by a search for photos, which is exact where it `is_filtered`.
pub(crate) fn nearest_products(
    queries: &[Query<'_>],
    k: usize,
    n_photos: usize,
    is_filtered: bool,
    search: impl Fn(&[Query<'_>], usize) -> Result<Vec<Vec<Match>>>,
) -> Result<Vec<Vec<Match>>> {
    let mut answers = vec![Vec::new(); queries.len()];
    let mut unanswered: Vec<usize> = (0..queries.len()).collect();
    // The nearest photos hold the nearest products; how many photos that takes is seen when they are found.
    let mut n = k;
    while !unanswered.is_empty() {
        let some: Vec<Query<'_>> = unanswered.iter().map(|&query| queries[query]).collect();
        let found = search(&some, n)?;
        let mut too_few = Vec::new();
        for (query, photos) in unanswered.into_iter().zip(found) {
            // A graph may find fewer than there are; what passes a filter is found exactly.
            let are_all = n >= n_photos || is_filtered && photos.len() < n;
            answers[query] = nearest_of_products(photos, k);
            if answers[query].len() < k && !are_all {
                too_few.push(query);
            }
        }
        unanswered = too_few;
        n = n.saturating_mul(4);
    }
    Ok(answers)
}

/// Of photos, best first, the best of each product, of the first `k` products.
fn nearest_of_products(photos: Vec<Match>, k: usize) -> Vec<Match> {
    let mut seen: HashSet<(bool, String)> = HashSet::new();
    let mut is_first = |photo: &Match| {
        let (is_product, name) = photo.product_or_photo();
        seen.insert((is_product, name.to_owned()))
    };
    let mut best: Vec<Match> = photos.into_iter().filter(|photo| is_first(photo)).take(k).collect();
    best.iter_mut().zip(1..).for_each(|(photo, rank)| photo.rank = rank);
    best
}

/// Joins the newest segments in memory until each is more than twice as long as the next, so that their number grows as
/// the logarithm of the photos and each photo is copied as often.
fn merge_small(parts: &mut Vec<LiveSegment>, width: usize) -> Result<()> {
    while let [.., a, b] = parts.as_slice() {
        if a.segment.number().is_some() || a.n_live() > 2 * b.n_live() {
            break;
        }
        let merged = merged(&[a.clone(), b.clone()], width)?;
        parts.truncate(parts.len() - 2);
        parts.push(LiveSegment::new(merged));
    }
    Ok(())
}

/// One segment of the live rows of several.
fn merged(parts: &[LiveSegment], width: usize) -> Result<Segment> {
    let rows = sorted_rows(parts);
    let mut photos = Vec::with_capacity(rows.len());
    let mut values = Vec::with_capacity(rows.len() * width);
    for (part, row) in rows {
        let (photo, embedding) = photo_and_row(parts, part, row);
        photos.push(photo.clone());
        values.extend_from_slice(embedding);
    }
    Segment::new(photos, width, values)
}

/// The live rows of all parts as part and row, sorted by id.
pub(super) fn sorted_rows(parts: &[LiveSegment]) -> Vec<(usize, usize)> {
    let mut rows: Vec<(usize, usize)> = parts
        .iter()
        .enumerate()
        .flat_map(|(number, part)| part.live_rows().map(move |row| (number, row)))
        .collect();
    // One part is sorted already.
    if parts.len() > 1 {
        let id = |&(part, row): &(usize, usize)| parts[part].segment.photos()[row].id();
        rows.sort_by(|a, b| id(a).cmp(id(b)));
    }
    rows
}

/// A photo and its embedding.
pub(super) fn photo_and_row(parts: &[LiveSegment], part: usize, row: usize) -> (&Photo, &[f32]) {
    let segment = &parts[part].segment;
    (&segment.photos()[row], segment.matrix().row(row).unwrap_or_default())
}
