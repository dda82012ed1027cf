//! `sketchfind query`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use sketchfind_core::image::Rgb8Image;
use sketchfind_runtime::{Filter, Retriever};

use crate::exit::Exit;
use crate::{Embedding, Format, output};

/// One hit, as CSV and JSON give it.
#[derive(Serialize)]
struct Row {
    sketch: String,
    rank: usize,
    id: String,
    distance: f64,
    path: Option<String>,
}

/// Among which photos is searched.
#[derive(clap::Args)]
pub(crate) struct Among {
    /// Only photos of these ids.
    #[arg(long, value_name = "ID", num_args = 1)]
    only_id: Vec<String>,
    /// Only photos with at least one of these labels.
    #[arg(long, value_name = "LABEL", num_args = 1)]
    any_label: Vec<String>,
    /// Only photos with every one of these labels.
    #[arg(long, value_name = "LABEL", num_args = 1)]
    every_label: Vec<String>,
    /// No photos with one of these labels.
    #[arg(long, value_name = "LABEL", num_args = 1)]
    without_label: Vec<String>,
}

impl Among {
    pub(crate) fn filter(self) -> Filter {
        let mut filter = Filter::everything().every_label(self.every_label).without_label(self.without_label);
        if !self.only_id.is_empty() {
            filter = filter.only_ids(self.only_id);
        }
        if !self.any_label.is_empty() {
            filter = filter.any_label(self.any_label);
        }
        filter
    }
}

pub(crate) fn query(
    gallery: &Path,
    sketches: &[PathBuf],
    k: usize,
    filter: &Filter,
    format: Format,
    compute: Embedding,
) -> Result<Exit> {
    let options = compute.options();
    let limits = options.limits;
    let retriever = Retriever::open(gallery, options)?;
    let mut rows = Vec::new();
    for sketch in sketches {
        let image = Rgb8Image::open(sketch, limits)?;
        for hit in retriever.query_filtered(&image, k, filter)? {
            rows.push(Row {
                sketch: sketch.display().to_string(),
                rank: hit.rank,
                id: hit.id,
                distance: hit.distance,
                path: hit.path.map(|path| path.display().to_string()),
            });
        }
    }
    match format {
        Format::Table => table(&rows)?,
        Format::Json => output::lines([serde_json::to_string_pretty(&rows)?])?,
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            rows.iter().try_for_each(|row| writer.serialize(row))?;
            let text = writer.into_inner().context("cannot write CSV")?;
            output::lines([String::from_utf8_lossy(&text).trim_end()])?;
        }
    }
    Ok(Exit::Success)
}

/// A block for each sketch.
fn table(rows: &[Row]) -> Result<()> {
    for (number, hits) in rows.chunk_by(|a, b| a.sketch == b.sketch).enumerate() {
        let mut cells = vec![["rank", "distance", "id", "path"].map(str::to_owned).to_vec()];
        cells.extend(hits.iter().map(|hit| {
            let path = hit.path.clone().unwrap_or_default();
            vec![hit.rank.to_string(), format!("{:.5}", hit.distance), hit.id.clone(), path]
        }));
        if number > 0 {
            output::lines([""])?;
        }
        output::lines([format!("{}:", hits[0].sketch)])?;
        output::lines(output::table(&cells, &[0, 1]))?;
    }
    Ok(())
}
