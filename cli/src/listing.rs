//! `sketchfind index list` and `index recall`: what a gallery holds, and how much its graph finds.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;
use sketchfind::home::{self, shown};
use sketchfind::{Access, Error, Photo, Recall};
use sketchfind_core::fingerprint;

use crate::exit::Exit;
use crate::progress::{say, warn};
use crate::{Format, building, info, output};

/// The arguments of `index list`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The gallery.
    #[arg(long)]
    gallery: PathBuf,
    /// The form of the list.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

/// The arguments of `index recall`.
#[derive(clap::Args)]
pub(crate) struct RecallOptions {
    /// The gallery.
    #[arg(long)]
    gallery: PathBuf,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write it down in the gallery, where `info` tells it.
    #[arg(long)]
    keep: bool,
}

/// A photo, as the list gives it.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    labels: Vec<&'a str>,
    product: Option<&'a str>,
    source: Option<String>,
    sha256: Option<String>,
}

/// The columns of a row.
const COLUMNS: [&str; 5] = ["id", "labels", "product", "source", "sha256"];

impl<'a> Row<'a> {
    fn of(photo: &'a Photo) -> Row<'a> {
        Row {
            id: photo.id(),
            labels: photo.labels().iter().map(String::as_str).collect(),
            product: photo.product(),
            source: photo.source().map(|source| source.display().to_string()),
            sha256: photo.content().map(|bytes| fingerprint::hex(bytes)),
        }
    }

    fn cells(self) -> Result<[String; COLUMNS.len()]> {
        let labels = serde_json::to_string(&self.labels)?;
        let product = self.product.unwrap_or_default().to_owned();
        Ok([
            self.id.to_owned(),
            labels,
            product,
            self.source.unwrap_or_default(),
            self.sha256.unwrap_or_default(),
        ])
    }
}

/// Photos that are written at once.
const N_AT_ONCE: usize = 256;

pub(crate) fn list(options: &Options) -> Result<Exit> {
    let look = home::open(&options.gallery, Access::Read)?.look();
    // What is printed ends the list where nobody reads on; what the gallery says of itself is its own error.
    let mut stopped: Option<anyhow::Error> = None;
    let mut each = |write: &mut dyn FnMut(&Photo) -> Result<()>| -> Result<()> {
        let listed = look.each_photo(&mut |photo| {
            write(photo).map_err(|error| {
                stopped = Some(error);
                Error::Cancelled
            })
        });
        match stopped.take() {
            Some(error) => Err(error),
            None => Ok(listed?),
        }
    };
    match options.format {
        Format::Table => {
            let mut table = vec![COLUMNS.map(str::to_owned).to_vec()];
            each(&mut |photo| {
                table.push(Row::of(photo).cells()?.to_vec());
                Ok(())
            })?;
            output::lines(output::table(&table, &[]))?;
        }
        Format::Csv => {
            output::stream(&csv_rows([COLUMNS.map(str::to_owned)])?)?;
            let mut some = Vec::with_capacity(N_AT_ONCE);
            each(&mut |photo| {
                some.push(Row::of(photo).cells()?);
                if some.len() == N_AT_ONCE {
                    output::stream(&csv_rows(some.drain(..))?)?;
                }
                Ok(())
            })?;
            output::stream(&csv_rows(some)?)?;
        }
        Format::Json => {
            output::stream(b"[")?;
            let (mut before, mut text, mut n) = ("\n", String::new(), 0_usize);
            each(&mut |photo| {
                text.push_str(before);
                text.push_str(&serde_json::to_string(&Row::of(photo))?);
                (before, n) = (",\n", n + 1);
                if n.is_multiple_of(N_AT_ONCE) {
                    output::stream(std::mem::take(&mut text).as_bytes())?;
                }
                Ok(())
            })?;
            text.push_str(if n == 0 { "]\n" } else { "\n]\n" });
            output::stream(text.as_bytes())?;
        }
    }
    Ok(Exit::Success)
}

fn csv_rows(rows: impl IntoIterator<Item = [String; COLUMNS.len()]>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().context("cannot write CSV")
}

/// What was measured, as CSV and JSON give it.
#[derive(Serialize)]
struct Measured {
    k: u64,
    n_queries: u64,
    n_photos: u64,
    n_nearest: u64,
    n_found: u64,
    recall: f64,
}

pub(crate) fn recall(options: &RecallOptions) -> Result<Exit> {
    let RecallOptions { gallery: path, format, keep } = options;
    let gallery = home::open(path, if *keep { Access::Write } else { Access::Read })?;
    let found = building::measure_recall(gallery.as_ref())?;
    if found.is_none() {
        warn("there is no graph: every search is exact, and finds all of the nearest");
    }
    match (format, found) {
        (Format::Table, Some(found)) => output::lines([info::recall(found)])?,
        (Format::Table, None) => {}
        (_, found) => {
            let rows: Vec<Measured> = found.iter().map(measured).collect();
            if *format == Format::Json {
                output::raw(serde_json::to_string_pretty(&rows)?)?;
            } else {
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
                writer.write_record(["k", "n_queries", "n_photos", "n_nearest", "n_found", "recall"])?;
                rows.into_iter().try_for_each(|row| writer.serialize(row))?;
                output::raw(writer.into_inner().context("cannot write CSV")?)?;
            }
        }
    }
    if *keep && found.is_some() {
        say(&format!("written down in '{}'", shown(path)));
    }
    Ok(Exit::Success)
}

fn measured(found: &Recall) -> Measured {
    let Recall { k, n_queries, n_photos, n_nearest, n_found } = *found;
    Measured { k, n_queries, n_photos, n_nearest, n_found, recall: found.value() }
}
