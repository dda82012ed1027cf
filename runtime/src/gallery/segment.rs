//! A segment: photos with their embeddings, sorted by id, that never change. A gallery is a list of segments and, for
//! each, the rows that were removed since.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use sketchfind_core::distance::Distance;
use sketchfind_core::ranking::Ranking;
use sketchfind_core::unicode::nfc;
use sketchfind_index::{Among, ExactIndex, HnswIndex, Index, Matrix, Query};

use super::identity::Identity;
use crate::{Filter, Photo, Result, SearchOptions};

/// Photos with their embeddings, sorted by id, each id once.
pub(crate) struct Segment {
    matrix: Matrix,
    photos: Vec<Photo>,
    /// The rows that have a label, ascending.
    rows_of_label: BTreeMap<String, Vec<u32>>,
    /// The rows that show a product, ascending.
    rows_of_product: BTreeMap<String, Vec<u32>>,
    /// The rows whose ids are not in normalisation form C, by that form.
    rows_of_form: BTreeMap<String, Vec<u32>>,
    /// The number of its file and a fingerprint of the matrix in it, where it has one.
    file: Option<(u64, String)>,
    /// Which file that is.
    identity: Option<Identity>,
    /// A graph of the matrix, once there is one.
    graph: OnceLock<HnswIndex>,
}

impl Segment {
    /// A segment of `photos`, whose embeddings are the rows of `matrix`; both sorted by id already.
    pub(super) fn sorted(photos: Vec<Photo>, matrix: Matrix, file: Option<(u64, String)>) -> Segment {
        let mut rows_of_label: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut rows_of_product: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut rows_of_form: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let add = |rows_of: &mut BTreeMap<String, Vec<u32>>, name: &str, row| match rows_of.get_mut(name) {
            Some(rows) => rows.push(row),
            None => drop(rows_of.insert(name.to_owned(), vec![row])),
        };
        for (row, photo) in (0_u32..).zip(&photos) {
            if let Cow::Owned(form) = nfc(photo.id()) {
                rows_of_form.entry(form).or_default().push(row);
            }
            photo.labels().iter().for_each(|label| add(&mut rows_of_label, label, row));
            photo.product().into_iter().for_each(|product| add(&mut rows_of_product, product, row));
        }
        Segment {
            matrix,
            photos,
            rows_of_label,
            rows_of_product,
            rows_of_form,
            file,
            identity: None,
            graph: OnceLock::new(),
        }
    }

    /// The same segment, read from the file that `identity` names.
    pub(super) fn of_file(self, identity: Option<Identity>) -> Segment {
        Segment { identity, ..self }
    }

    /// A segment of `photos` in any order, each id once.
    ///
    /// # Shapes
    /// `values`: `[N * width]`, row-major.
    ///
    /// # Errors
    /// Those of [`Matrix::new`].
    pub(super) fn new(photos: Vec<Photo>, width: usize, values: Vec<f32>) -> Result<Segment> {
        if photos.is_sorted_by(|a, b| a.id() < b.id()) {
            return Ok(Segment::sorted(photos, Matrix::new(width, values)?, None));
        }
        let mut order: Vec<usize> = (0..photos.len()).collect();
        order.sort_by(|&a, &b| photos[a].id().cmp(photos[b].id()));
        let sorted = order.iter().flat_map(|&row| values[row * width..][..width].iter().copied()).collect();
        let photos = order.iter().map(|&row| photos[row].clone()).collect();
        Ok(Segment::sorted(photos, Matrix::new(width, sorted)?, None))
    }

    /// The number of rows, removed ones included.
    pub(super) fn len(&self) -> usize {
        self.photos.len()
    }

    pub(super) fn photos(&self) -> &[Photo] {
        &self.photos
    }

    pub(super) fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// The number of its file, where it has one.
    pub(super) fn number(&self) -> Option<u64> {
        self.file.as_ref().map(|(number, _)| *number)
    }

    /// The number of its file and a fingerprint of the matrix in it, where it has one.
    pub(super) fn file(&self) -> Option<(u64, &str)> {
        self.file.as_ref().map(|(number, sha256)| (*number, sha256.as_str()))
    }

    /// Which file it was read from, where it has one.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    pub(super) fn graph(&self) -> Option<&HnswIndex> {
        self.graph.get()
    }

    /// Searches by `graph` from now on. A second graph is dropped.
    pub(super) fn set_graph(&self, graph: HnswIndex) {
        let _ = self.graph.set(graph);
    }

    /// The row of `id`, found by bisection.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.photos.binary_search_by(|photo| photo.id().cmp(id)).ok()
    }

    /// The rows that pass `filter`, ascending.
    fn rows_that_pass(&self, filter: &Filter) -> Vec<u32> {
        let passes = |row: &u32| self.photos.get(*row as usize).is_some_and(|photo| filter.passes(photo));
        let none: &[u32] = &[];
        let rows_of_product = |product| self.rows_of_product.get(product).map_or(none, Vec::as_slice);
        let rows_of = |label: &String| self.rows_of_label.get(label).map_or(none, Vec::as_slice);
        // Each of these lists holds every row that passes; the filter itself decides.
        if let Some(ids) = filter.ids() {
            // Ids and rows are both sorted; rows of another form stand elsewhere.
            let rows = ids.iter().filter_map(|id| self.find(id)).map(|row| row as u32);
            if self.rows_of_form.is_empty() {
                return rows.filter(passes).collect();
            }
            let others = ids.iter().filter_map(|id| self.rows_of_form.get(id)).flatten().copied();
            let mut rows: Vec<u32> = rows.chain(others).filter(passes).collect();
            rows.sort_unstable();
            return rows;
        }
        if let Some(products) = filter.products() {
            let mut rows: Vec<u32> =
                products.iter().flat_map(rows_of_product).copied().filter(passes).collect();
            rows.sort_unstable();
            return rows;
        }
        if let Some(rows) = filter.all_of().iter().map(rows_of).min_by_key(|rows| rows.len()) {
            return rows.iter().copied().filter(passes).collect();
        }
        // Of several lists the one whose labels fewest photos have.
        let n_rows = |any: &&BTreeSet<String>| any.iter().map(|label| rows_of(label).len()).sum::<usize>();
        if let Some(any) = filter.any_of().iter().min_by_key(n_rows) {
            let mut rows: Vec<u32> = any.iter().flat_map(rows_of).copied().collect();
            rows.sort_unstable();
            rows.dedup();
            rows.retain(passes);
            return rows;
        }
        (0..self.photos.len() as u32).filter(passes).collect()
    }
}

/// A segment and the rows of it that were removed.
#[derive(Clone)]
pub(crate) struct LiveSegment {
    pub(super) segment: Arc<Segment>,
    dead: Option<Arc<Dead>>,
}

/// A set of rows, a bit for each.
#[derive(Clone)]
struct Dead {
    bits: Vec<u64>,
    n: usize,
}

impl LiveSegment {
    pub(super) fn new(segment: impl Into<Arc<Segment>>) -> LiveSegment {
        LiveSegment { segment: segment.into(), dead: None }
    }

    /// The number of photos that are not removed.
    pub(super) fn n_live(&self) -> usize {
        self.segment.len() - self.n_dead()
    }

    pub(super) fn n_dead(&self) -> usize {
        self.dead.as_ref().map_or(0, |dead| dead.n)
    }

    pub(super) fn is_live(&self, row: usize) -> bool {
        let Some(dead) = &self.dead else {
            return true;
        };
        dead.bits.get(row / 64).is_none_or(|word| word >> (row % 64) & 1 == 0)
    }

    /// Removes a row; readers of earlier clones keep it. Says whether it was there.
    pub(super) fn remove(&mut self, row: usize) -> bool {
        if row >= self.segment.len() || !self.is_live(row) {
            return false;
        }
        let n_words = self.segment.len().div_ceil(64);
        let dead = self.dead.get_or_insert_with(|| Arc::new(Dead { bits: vec![0; n_words], n: 0 }));
        let dead = Arc::make_mut(dead);
        dead.bits[row / 64] |= 1 << (row % 64);
        dead.n += 1;
        true
    }

    /// The row of a photo that is not removed.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.segment.find(id).filter(|&row| self.is_live(row))
    }

    /// The rows that are not removed, ascending.
    pub(super) fn live_rows(&self) -> impl Iterator<Item = usize> {
        (0..self.segment.len()).filter(|&row| self.is_live(row))
    }

    /// The rows that are removed, ascending.
    pub(super) fn dead_rows(&self) -> impl Iterator<Item = usize> {
        (0..self.segment.len()).filter(|&row| !self.is_live(row))
    }

    /// The rows that are not removed and pass `filter`, ascending.
    pub(super) fn rows_that_pass(&self, filter: &Filter) -> Vec<u32> {
        let mut rows = self.segment.rows_that_pass(filter);
        rows.retain(|&row| self.is_live(row as usize));
        rows
    }

    /// Whether a photo that is not removed has `label`.
    pub(super) fn has_label(&self, label: &str) -> bool {
        self.is_any_live(self.segment.rows_of_label.get(label))
    }

    /// Whether a photo that is not removed shows `product`.
    pub(super) fn has_product(&self, product: &str) -> bool {
        self.is_any_live(self.segment.rows_of_product.get(product))
    }

    fn is_any_live(&self, rows: Option<&Vec<u32>>) -> bool {
        rows.is_some_and(|rows| rows.iter().any(|&row| self.is_live(row as usize)))
    }

    /// For each of `queries` the `k` nearest live rows that pass `filter`: exact where there is a filter or no graph, or the
    /// options say so.
    pub(super) fn search(
        &self,
        queries: &[Query<'_>],
        distance: Distance,
        k: usize,
        filter: Option<&Filter>,
        options: SearchOptions,
    ) -> Result<Vec<Ranking>> {
        let rows = filter.map(|filter| self.rows_that_pass(filter));
        let is_wanted = |row: usize| self.is_live(row);
        let among = match &rows {
            Some(rows) => Among::These(rows),
            None if self.n_dead() == 0 => Among::All,
            None => Among::Where { n_unwanted: self.n_dead(), is_wanted: &is_wanted },
        };
        Ok(match (self.segment.graph().filter(|_| !options.exact), options.ef) {
            (Some(graph), Some(ef)) => graph.nearest_each_with(queries, k, among, ef)?,
            (Some(graph), None) => graph.nearest_each(queries, k, among)?,
            (None, _) => {
                ExactIndex::new(self.segment.matrix.clone(), distance).nearest_each(queries, k, among)?
            }
        })
    }
}
