//! `sketchfind query`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use sketchfind::{
    Filter, Gallery, MOST_CANDIDATES, Match, Nothing, Retriever, RetrieverOptions, SearchOptions,
};
use sketchfind_core::Error as CoreError;
use sketchfind_core::frame;
use sketchfind_core::image::{DecodeLimits, Image};

use crate::exchange;
use crate::exit::{self, Exit};
use crate::interrupt::Interrupt;
use crate::paths::{self, STANDARD_INPUT};
use crate::progress::{say, warn};
use crate::{DrawingFrame, Embedding, Format, output};

/// The arguments of `query`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The gallery, made by `index build`.
    #[arg(long)]
    gallery: PathBuf,
    /// Image files of sketches: JPEG, PNG, WebP, GIF, BMP or TIFF; - is one image on standard input.
    #[arg(required_unless_present_any = ["list", "embeddings"])]
    sketches: Vec<PathBuf>,
    /// A file with a sketch's path on each line, or - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "sketches")]
    list: Option<PathBuf>,
    /// Embeddings that are ready in the place of sketches, as `index import` reads them: no model is run, and the gallery need
    /// not have one. Answers come in order of their ids.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sketches", "list", "skip_broken", "framing", "device", "threads"])]
    embeddings: Option<PathBuf>,
    /// How many candidates a graph is searched with, in the place of the number that the gallery states: more find more of the
    /// nearest and take longer. Exact search does not ask.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_CANDIDATES as i64))]
    ef: Option<u32>,
    /// How many photos to show for each sketch.
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Leave out sketches that cannot be read, and name them, instead of stopping at the first; the exit code is 5 then, or 3
    /// where none could be read.
    #[arg(long)]
    skip_broken: bool,
    #[command(flatten)]
    frame: DrawingFrame,
    #[command(flatten)]
    among: Among,
    #[command(flatten)]
    compute: Embedding,
}

/// Among which photos is searched.
#[derive(clap::Args)]
struct Among {
    /// Only photos of these ids.
    #[arg(long, value_name = "ID", num_args = 1)]
    only_id: Vec<String>,
    /// No photos of these ids.
    #[arg(long, value_name = "ID", num_args = 1)]
    without_id: Vec<String>,
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
    fn filter(self) -> Filter {
        let mut filter = Filter::everything()
            .every_label(self.every_label)
            .without_label(self.without_label)
            .without_ids(self.without_id);
        if !self.only_id.is_empty() {
            filter = filter.only_ids(self.only_id);
        }
        if !self.any_label.is_empty() {
            filter = filter.any_label(self.any_label);
        }
        filter
    }
}

/// One hit, as CSV and JSON give it.
#[derive(Serialize)]
struct Row<'a> {
    sketch: &'a str,
    rank: usize,
    id: &'a str,
    distance: f64,
    path: Option<String>,
}

/// The columns of a row.
const COLUMNS: [&str; 5] = ["sketch", "rank", "id", "distance", "path"];

pub(crate) fn query(options: Options) -> Result<Exit> {
    let Options { gallery, sketches, list, embeddings, ef, k, format, skip_broken, frame, among, compute } =
        options;
    let (filter, k) = (among.filter(), k as usize);
    let search = match ef {
        Some(ef) => SearchOptions::default().with_ef(ef as usize),
        None => SearchOptions::default(),
    };
    if let Some(embeddings) = embeddings {
        return query_embeddings(&gallery, &embeddings, k, &filter, search, format);
    }
    let embedder = compute.options();
    let limits = embedder.limits;
    let retriever = Retriever::open(&gallery, RetrieverOptions::new(embedder).with_framing(frame.framing))?;
    let mut answer = Answer::begin(format)?;
    let (mut n_answered, mut n_broken) = (0_usize, 0_usize);
    let mut nothing: Option<Nothing> = None;
    let mut stopped = None;
    for sketch in paths::listed_or(sketches, list.as_deref())? {
        let found = sketch.map(|sketch| {
            let name = sketch.display().to_string();
            let found = open(&sketch, limits).and_then(|image| {
                let found = retriever.query_with(&image, k, &filter, search);
                found.with_context(|| format!("the sketch '{name}'"))
            });
            (name, found)
        });
        match found {
            Ok((name, Ok(found))) => {
                answer.add(&name, &found)?;
                n_answered += 1;
                if found.is_empty() && nothing.is_none() {
                    nothing = retriever.snapshot().why_nothing(&filter);
                }
            }
            Ok((_, Err(error))) if skip_broken && is_the_sketch(&error) => {
                warn(&format!("left out: {}", sketchfind_core::error::explain(error.as_ref())));
                n_broken += 1;
            }
            // What was found before has been written, and is whole.
            Ok((_, Err(error))) | Err(error) => {
                stopped = Some(error);
                break;
            }
        }
    }
    let ended = answer.end();
    // The same for all sketches: it is of the gallery and the filter.
    if let Some(nothing) = nothing {
        warn(&format!("nothing found: {nothing}"));
    }
    if let Some(error) = stopped {
        return Err(error);
    }
    ended?;
    if n_broken == 0 {
        if n_answered == 0 {
            warn("nothing to look for: the list has no paths");
        }
        return Ok(Exit::Success);
    }
    say(&format!("{n_answered} sketches answered, {n_broken} left out"));
    Ok(if n_answered == 0 { Exit::BadInput } else { Exit::SomeLeftOut })
}

/// Answers embeddings that are ready.
fn query_embeddings(
    gallery: &Path,
    file: &Path,
    k: usize,
    filter: &Filter,
    search: SearchOptions,
    format: Format,
) -> Result<Exit> {
    /// Queries that are searched for at once, so that answers come soon and all cores are used.
    const N_AT_ONCE: usize = 64;
    let gallery = Gallery::open(gallery)?;
    let interrupt = Interrupt::listen()?;
    let files = exchange::open(file, &interrupt)?;
    files.check_space(&gallery)?;
    let snapshot = gallery.snapshot();
    let mut answer = Answer::begin(format)?;
    let mut nothing: Option<Nothing> = None;
    let queries = files.embeddings()?;
    if let Some(queries) = &queries {
        let values = queries.values().chunks(N_AT_ONCE * queries.width());
        for (ids, values) in queries.ids().chunks(N_AT_ONCE).zip(values) {
            for (id, found) in ids.iter().zip(snapshot.search_batch_with(values, k, filter, search)?) {
                answer.add(id, &found)?;
                if found.is_empty() && nothing.is_none() {
                    nothing = snapshot.why_nothing(filter);
                }
            }
        }
    }
    answer.end()?;
    if let Some(nothing) = nothing {
        warn(&format!("nothing found: {nothing}"));
    }
    if files.is_empty() {
        warn(&format!("nothing to look for: '{}' has no embeddings", file.display()));
    }
    Ok(exchange::say_failed(&files))
}

/// The sketch in a file or on standard input.
fn open(sketch: &Path, limits: DecodeLimits) -> Result<Image> {
    if sketch != Path::new(STANDARD_INPUT) {
        return Ok(frame::open_sketch(sketch, limits)?);
    }
    let mut bytes = Vec::new();
    // One byte more than is taken tells a longer one.
    let most = limits.max_bytes().saturating_add(1);
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(CoreError::io("read", Path::new("standard input")))?;
    Ok(frame::decode_sketch(&bytes, "on standard input", limits)?)
}

/// Whether it is the sketch that is wrong: its file, or what it shows.
fn is_the_sketch(error: &anyhow::Error) -> bool {
    let is_file = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(CoreError::Io { .. })));
    is_file || exit::of_error(error) == Exit::BadInput
}

/// The answer on standard output, written as it is found.
struct Answer {
    format: Format,
    /// Whether nothing has been written but what begins it.
    is_fresh: bool,
}

impl Answer {
    fn begin(format: Format) -> Result<Answer> {
        match format {
            Format::Table => {}
            Format::Json => output::stream(b"[")?,
            Format::Csv => output::stream(&csv_line(COLUMNS)?)?,
        }
        Ok(Answer { format, is_fresh: true })
    }

    /// Writes what was found for a sketch.
    fn add(&mut self, sketch: &str, found: &[Match]) -> Result<()> {
        let rows = found.iter().map(|hit| Row {
            sketch,
            rank: hit.rank,
            id: &hit.id,
            distance: hit.distance,
            path: hit.path.as_ref().map(|path| path.display().to_string()),
        });
        let mut text = Vec::new();
        match self.format {
            Format::Table => text = table(sketch, rows, self.is_fresh),
            Format::Json => {
                for (number, row) in rows.enumerate() {
                    let is_first = self.is_fresh && number == 0;
                    text.extend_from_slice(if is_first { b"\n" } else { b",\n" });
                    let row = serde_json::to_string_pretty(&row)?.replace('\n', "\n  ");
                    text.extend_from_slice(b"  ");
                    text.extend_from_slice(row.as_bytes());
                }
            }
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
                rows.into_iter().try_for_each(|row| writer.serialize(row))?;
                text = writer.into_inner().context("cannot write CSV")?;
            }
        }
        self.is_fresh = self.is_fresh && text.is_empty();
        output::stream(&text)
    }

    /// Writes what ends it, also where not every sketch could be read: a program that reads it reads all that was found.
    fn end(self) -> Result<()> {
        match self.format {
            Format::Json if self.is_fresh => output::stream(b"]\n"),
            Format::Json => output::stream(b"\n]\n"),
            Format::Table | Format::Csv => Ok(()),
        }
    }
}

fn csv_line<const N: usize>(fields: [&str; N]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    writer.into_inner().context("cannot write CSV")
}

/// A block for a sketch: its name, and a table that has its header where it has no hit.
fn table<'a>(sketch: &str, rows: impl Iterator<Item = Row<'a>>, is_first: bool) -> Vec<u8> {
    let mut cells = vec![["rank", "distance", "id", "path"].map(str::to_owned).to_vec()];
    cells.extend(rows.map(|row| {
        vec![
            row.rank.to_string(),
            format!("{:.5}", row.distance),
            row.id.to_owned(),
            row.path.unwrap_or_default(),
        ]
    }));
    let mut lines = if is_first { vec![] } else { vec![String::new()] };
    lines.push(sketchfind_core::terminal::one_line(&format!("{sketch}:")).into_owned());
    lines.extend(output::table(&cells, &[0, 1]));
    (lines.join("\n") + "\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header and the rows are made in two places.
    #[test]
    fn the_columns_are_those_of_a_row() {
        let row = Row { sketch: "s", rank: 1, id: "i", distance: 0.5, path: None };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(&row).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        assert_eq!(text.lines().next().unwrap(), COLUMNS.join(","));
        assert_eq!(csv_line(COLUMNS).unwrap(), b"sketch,rank,id,distance,path\n");
    }
}
