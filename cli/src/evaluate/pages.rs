//! Pages as people make them, for `sketchfind eval --pages`: how much is found of drawings and photos that lie elsewhere on
//! their page, or look otherwise, than those of training; as they are, and framed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use sketchfind::Embedder;
use sketchfind_core::dataset::Modality;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::frame::{self, Frame};
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::random::Stream;
use sketchfind_core::{Error, atomic};
use sketchfind_data::pages::Page;
use sketchfind_eval::metrics::unit_of;
use sketchfind_eval::summary::summarise_at;
use sketchfind_eval::{Bootstrap, rank_queries};

use crate::embedding::Lists;
use crate::figures::is_accuracy;
use crate::frames::framed_sketch;

/// The file in a report's folder.
pub(super) const PAGES: &str = "pages.csv";

/// What is put on other pages, embedded and ranked.
pub(super) struct Retrieval<'a> {
    pub(super) embedder: &'a mut Embedder,
    pub(super) photos: &'a [(&'a str, &'a Path)],
    pub(super) sketches: &'a [(&'a str, &'a Path)],
    pub(super) gallery: &'a Embeddings,
    pub(super) queries: &'a Embeddings,
    pub(super) truth: &'a BTreeMap<String, Vec<String>>,
    pub(super) cutoffs: &'a [usize],
    pub(super) bootstrap: &'a Bootstrap,
}

/// One figure.
#[derive(Serialize)]
pub(super) struct Row {
    schema: u32,
    /// What lies on other pages: `sketch` or `photo`.
    modality: &'static str,
    page: &'static str,
    /// Whether it was framed before it was embedded.
    framed: bool,
    metric: String,
    value: f64,
    low: f64,
    high: f64,
    n: usize,
}

impl Retrieval<'_> {
    pub(super) fn measure(&mut self, frame: Frame) -> Result<Vec<Row>> {
        // What lies on its own page and is not framed is embedded already.
        let of_sketches = 1 + 2 * (Page::PLACES.len() + Page::LOOKS.len());
        let of_photos = frame.photo.map_or(0, |_| 1 + 2 * Page::PLACES.len());
        let n_pictures = of_sketches * self.sketches.len() + of_photos * self.photos.len();
        let mut lists = Lists::begin(n_pictures, "embedding pictures on other pages")?;
        let mut rows = Vec::new();
        self.figures("sketch", None, false, self.queries, self.gallery, &mut rows)?;
        for (page, framed) in others(&[&Page::PLACES[..], &Page::LOOKS[..]].concat()) {
            let queries = self.embed(
                Modality::Sketch,
                self.sketches,
                frame::open_sketch,
                page,
                &mut lists,
                &|picture| {
                    if framed { framed_sketch(picture, frame.sketch) } else { Ok(picture) }
                },
            )?;
            self.figures("sketch", page, framed, &queries, self.gallery, &mut rows)?;
        }
        if let Some(of_photos) = frame.photo {
            self.figures("photo", None, false, self.queries, self.gallery, &mut rows)?;
            for (page, framed) in others(&Page::PLACES) {
                let gallery = self.embed(
                    Modality::Photo,
                    self.photos,
                    |path, limits| Image::open(path, limits),
                    page,
                    &mut lists,
                    &|picture| {
                        if framed { frame::photo(&picture, &of_photos) } else { Ok(picture) }
                    },
                )?;
                self.figures("photo", page, framed, self.queries, &gallery, &mut rows)?;
            }
        }
        lists.finish();
        Ok(rows)
    }

    fn embed(
        &mut self,
        modality: Modality,
        files: &[(&str, &Path)],
        open: fn(&Path, DecodeLimits) -> sketchfind_core::Result<Image>,
        page: Option<Page>,
        lists: &mut Lists,
        framed: &dyn Fn(Image) -> sketchfind_core::Result<Image>,
    ) -> Result<Embeddings> {
        let ids: Vec<String> = files.iter().map(|&(id, _)| id.to_owned()).collect();
        let (limits, seed) = (self.embedder.options().limits, self.bootstrap.seed);
        let mut make = |index: usize| {
            let (id, path) = files[index];
            let picture = open(path, limits)?;
            let picture = match page {
                None => picture,
                Some(page) => page.of(&picture, &mut Stream::new(seed, &format!("page of {id}"), &[]))?,
            };
            Ok(framed(picture)?)
        };
        lists.embed(self.embedder.of(modality), &ids, &mut make)
    }

    fn figures(
        &self,
        modality: &'static str,
        page: Option<Page>,
        framed: bool,
        queries: &Embeddings,
        gallery: &Embeddings,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        let distance = self.embedder.card().distance;
        let results = rank_queries(queries, gallery, self.truth, distance)?;
        let summary = summarise_at(&results, self.cutoffs, self.bootstrap)?;
        rows.extend(summary.estimates.into_iter().filter(is_accuracy).map(|estimate| Row {
            schema: 1,
            modality,
            page: page.map_or("own", Page::name),
            framed,
            metric: estimate.metric,
            value: estimate.value,
            low: estimate.low,
            high: estimate.high,
            n: estimate.n,
        }));
        Ok(())
    }
}

/// What is measured besides the data set as it is: it framed, and each page as it is and framed.
fn others(pages: &[Page]) -> Vec<(Option<Page>, bool)> {
    let on_pages = pages.iter().flat_map(|&page| [(Some(page), false), (Some(page), true)]);
    std::iter::once((None, true)).chain(on_pages).collect()
}

/// Writes the figures into a report's folder.
pub(super) fn write(rows: &[Row], folder: &Path) -> sketchfind_eval::Result<()> {
    let path = folder.join(PAGES);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let malformed = |e: String| Error::malformed(&path, e);
    rows.iter().try_for_each(|row| writer.serialize(row)).map_err(|e| malformed(e.to_string()))?;
    let bytes = writer.into_inner().map_err(|e| malformed(e.to_string()))?;
    Ok(atomic::write_bytes(&path, &bytes)?)
}

/// The figures as lines of a table: a page, and what was found of it as it is and framed.
pub(super) fn table(rows: &[Row]) -> Vec<Vec<String>> {
    let mut lines = vec![["pages", "metric", "as it is", "framed", "n"].map(str::to_owned).to_vec()];
    for row in rows.iter().filter(|row| !row.framed) {
        let key = (row.modality, row.page, &row.metric);
        let framed =
            rows.iter().find(|other| other.framed && (other.modality, other.page, &other.metric) == key);
        let share = |value: f64| unit_of(&row.metric).shown(value);
        lines.push(vec![
            format!("{} {}", row.modality, row.page),
            row.metric.clone(),
            share(row.value),
            framed.map(|framed| share(framed.value)).unwrap_or_default(),
            row.n.to_string(),
        ]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/reading.md` has the columns.
    #[test]
    fn the_page_on_reading_has_the_columns() {
        let row = Row {
            schema: 1,
            modality: "sketch",
            page: "own",
            framed: false,
            metric: "acc@1".into(),
            value: 0.5,
            low: 0.25,
            high: 0.75,
            n: 2,
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(&row).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let page = include_str!("../../../docs/reading.md");
        let said = page.lines().find(|line| line.starts_with("| `pages.csv` |")).unwrap();
        let names: Vec<&str> = said.split('`').skip(3).step_by(2).collect();
        assert_eq!(names.join(","), text.lines().next().unwrap());
    }
}
