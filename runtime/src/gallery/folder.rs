//! A gallery in a folder as a [`Home`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sketchfind_core::card::Card;
use sketchfind_core::distance::Distance;
use sketchfind_core::frame::PhotoFrame;
use sketchfind_core::unicode::nfc;
use sketchfind_index::Query;

use super::{Access, BuiltGraphs, EmbeddingSpace, Gallery, Match, Nothing, Snapshot};
use crate::home::{Home, Look, Row};
use crate::{Cancel, Costs, Filter, IndexSpec, Photo, Progress, Recall, Result, SearchOptions};

impl Home for Gallery {
    fn place(&self) -> &Path {
        self.path()
    }

    fn access(&self) -> Access {
        self.access()
    }

    fn check_process(&self) -> Result<()> {
        self.check_process()
    }

    fn card(&self) -> Option<&Card> {
        self.card()
    }

    fn model_dir(&self) -> Option<PathBuf> {
        self.model_dir()
    }

    fn space(&self) -> EmbeddingSpace {
        self.space()
    }

    fn photo_frame(&self) -> Option<PhotoFrame> {
        self.photo_frame()
    }

    fn look(&self) -> Arc<dyn Look> {
        self.snapshot()
    }

    fn refresh(&self) -> Result<bool> {
        self.refresh()
    }

    fn add(&self, photos: Vec<Photo>, embeddings: Vec<f32>) -> Result<()> {
        self.add(photos, embeddings)
    }

    fn replace(&self, photos: Vec<Photo>, embeddings: Vec<f32>) -> Result<()> {
        self.replace(photos, embeddings)
    }

    fn remove(&self, ids: &[&str]) -> Result<usize> {
        self.remove(ids)
    }

    fn index(&self) -> IndexSpec {
        self.index()
    }

    fn set_index(&self, index: IndexSpec) -> Result<()> {
        self.set_index(index)
    }

    fn n_lacking_graph(&self) -> usize {
        self.n_lacking_graph()
    }

    fn build_index(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<BuiltGraphs> {
        self.build_index(progress, cancel)
    }

    fn compact_files(&self) -> Result<()> {
        self.compact_files()
    }

    fn measure_recall(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<Option<Recall>> {
        self.measure_recall(progress, cancel)
    }

    fn recall(&self) -> Option<Recall> {
        self.manifest().recall
    }

    fn set_costs(&self, costs: Costs) -> Result<()> {
        self.set_costs(costs)
    }

    fn folder(&self) -> Option<&Gallery> {
        Some(self)
    }
}

impl Look for Snapshot {
    fn len(&self) -> Result<usize> {
        Ok(self.len())
    }

    fn width(&self) -> usize {
        self.width()
    }

    fn distance(&self) -> Distance {
        self.distance()
    }

    fn rows(&self, ids: &[&str]) -> Result<Vec<Option<Row>>> {
        let row = |id: &&str| {
            let (photo, embedding) = self.at(self.place_of(id)?)?;
            Some(Row { photo: photo.clone(), embedding: embedding.to_vec() })
        };
        Ok(ids.iter().map(row).collect())
    }

    fn photos(&self, ids: &[&str]) -> Result<Vec<Option<Photo>>> {
        Ok(ids.iter().map(|id| self.photo(id).cloned()).collect())
    }

    fn of_contents(&self, contents: &[[u8; 32]]) -> Result<HashMap<[u8; 32], Vec<f32>>> {
        let known = self.known_contents();
        let of = |content: &[u8; 32]| {
            let (_, row) = self.at(*known.get(content)?)?;
            Some((*content, row.to_vec()))
        };
        Ok(contents.iter().filter_map(of).collect())
    }

    fn ids_in_any_form(&self, names: &[&str]) -> Result<Vec<String>> {
        let wanted: BTreeSet<_> = names.iter().map(|name| nfc(name)).collect();
        let ids = self.photos().map(|(photo, _)| photo.id());
        Ok(ids.filter(|id| wanted.contains(&nfc(id))).map(str::to_owned).collect())
    }

    fn each_photo(&self, visit: &mut dyn FnMut(&Photo) -> Result<()>) -> Result<()> {
        self.photos().try_for_each(|(photo, _)| visit(photo))
    }

    fn each_row(&self, visit: &mut dyn FnMut(&Photo, &[f32]) -> Result<()>) -> Result<()> {
        self.photos().try_for_each(|(photo, row)| visit(photo, row))
    }

    fn labels(&self, most: usize) -> Result<Vec<(String, usize)>> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (photo, _) in self.photos() {
            for label in photo.labels() {
                *counts.entry(label).or_default() += 1;
            }
        }
        let mut labels: Vec<(&str, usize)> = counts.into_iter().collect();
        labels.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        labels.truncate(most);
        Ok(labels.into_iter().map(|(label, n)| (label.to_owned(), n)).collect())
    }

    fn search(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        self.search_each(queries, k, filter, options)
    }

    fn why_nothing(&self, filter: &Filter) -> Result<Option<Nothing>> {
        Ok(self.why_nothing(filter))
    }
}
