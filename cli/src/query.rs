//! `sketchfind query`.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use sketchfind::home::{self, Home};
use sketchfind::{
    Access, Calibration, Filter, MOST_CANDIDATES, Match, Nothing, Retriever, RetrieverOptions, SearchOptions,
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
    /// How many photos to show for each sketch, or products.
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// Find products in the place of photos, each by the nearest of its photos that pass. A photo without a product is one of
    /// its own.
    #[arg(long)]
    by_product: bool,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Leave out sketches that cannot be read, and name them, instead of stopping at the first; the exit code is 5 then, or 3
    /// where none could be read.
    #[arg(long)]
    skip_broken: bool,
    /// A file that `calibrate` wrote, of the gallery's model: hits have a score, the probability that this is the one.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Answer that nothing fits where the scores of the first ten hits together, the probability that the photo is among them,
    /// are below this; auto is the threshold that `calibrate` chose.
    #[arg(long, value_name = "SCORE|auto", requires = "calibration")]
    min_score: Option<MinScore>,
    #[command(flatten)]
    frame: DrawingFrame,
    #[command(flatten)]
    among: Among,
    #[command(flatten)]
    compute: Embedding,
}

/// From where on nothing fits.
#[derive(Clone, Copy)]
enum MinScore {
    Auto,
    Of(f64),
}

impl std::str::FromStr for MinScore {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<MinScore, String> {
        let is_share = |score: &f64| (0.0..=1.0).contains(score);
        match text {
            "auto" => Ok(MinScore::Auto),
            score => match score.parse().ok().filter(is_share) {
                Some(score) => Ok(MinScore::Of(score)),
                None => Err("expected auto, or 0 to 1".into()),
            },
        }
    }
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
    /// Only photos of these products.
    #[arg(long, value_name = "PRODUCT", num_args = 1)]
    only_product: Vec<String>,
    /// No photos of these products.
    #[arg(long, value_name = "PRODUCT", num_args = 1)]
    without_product: Vec<String>,
    /// Only photos with at least one of these labels.
    #[arg(long, value_name = "LABEL", num_args = 1)]
    any_label: Vec<String>,
    /// Only photos with every one of these labels.
    #[arg(long, value_name = "LABEL", num_args = 1)]
    every_label: Vec<String>,
    /// No photos with one of these labels.
    #[arg(long, value_name = "LABEL", num_args = 1)]
    without_label: Vec<String>,
    /// Only photos of whose rows this condition in SQL holds: of a gallery in a database.
    #[arg(long = "where", value_name = "SQL", num_args = 1)]
    condition: Vec<String>,
}

impl Among {
    fn filter(self) -> Filter {
        let mut filter = Filter::everything()
            .every_label(self.every_label)
            .without_label(self.without_label)
            .without_ids(self.without_id)
            .without_products(self.without_product);
        if !self.only_product.is_empty() {
            filter = filter.only_products(self.only_product);
        }
        if !self.only_id.is_empty() {
            filter = filter.only_ids(self.only_id);
        }
        if !self.any_label.is_empty() {
            filter = filter.any_label(self.any_label);
        }
        self.condition.into_iter().fold(filter, Filter::where_sql)
    }
}

/// One hit, as CSV and JSON give it.
#[derive(Serialize)]
struct Row<'a> {
    sketch: &'a str,
    rank: usize,
    id: &'a str,
    distance: f64,
    /// Nothing where there is no calibration; then there is no such column.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<Option<f64>>,
    path: Option<String>,
    labels: Labels<'a>,
    product: Option<&'a str>,
}

/// The labels of a hit.
#[derive(Serialize)]
#[serde(untagged)]
enum Labels<'a> {
    List(&'a BTreeSet<String>),
    /// In a field of CSV the same list as JSON has it, which `index list` has too.
    Json(String),
}

/// The columns of a row, with scores or without.
fn columns(has_scores: bool) -> Vec<&'static str> {
    let names = [
        Some("sketch"),
        Some("rank"),
        Some("id"),
        Some("distance"),
        has_scores.then_some("score"),
        Some("path"),
        Some("labels"),
        Some("product"),
    ];
    names.into_iter().flatten().collect()
}

pub(crate) fn query(options: Options) -> Result<Exit> {
    let Options { gallery, sketches, list, embeddings, ef, k, format, skip_broken, .. } = options;
    let Options { by_product, calibration, min_score, frame, among, compute, .. } = options;
    let (filter, k) = (among.filter(), k as usize);
    let mut search = SearchOptions::default();
    search.ef = ef.map(|ef| ef as usize);
    search.by_product = by_product;
    if let Some(embeddings) = embeddings {
        return query_embeddings(&gallery, &embeddings, k, &filter, search, format);
    }
    let embedder = compute.options();
    let limits = embedder.limits;
    // A graph takes longer to build than to do without for these queries.
    let mut opening = RetrieverOptions::new(embedder).with_framing(frame.framing).without_building_graphs();
    opening.calibration = calibration.map(Calibration::load).transpose()?;
    let retriever = Retriever::open(&gallery, opening)?;
    warn_of_lacking_graph(retriever.gallery());
    let min_score = min_score.and_then(|min_score| match min_score {
        MinScore::Auto => retriever.calibration().map(|calibration| calibration.min_score),
        MinScore::Of(score) => Some(score),
    });
    if let Some(calibration) = retriever.calibration() {
        say_of_another_size(calibration.learned.n_photos, retriever.len()?);
    }
    let mut answer = Answer::begin(format, retriever.calibration().is_some(), by_product)?;
    let (mut n_answered, mut n_broken) = (0_usize, 0_usize);
    let (mut nothing, mut n_without_fit): (Option<Nothing>, usize) = (None, 0);
    let mut stopped = None;
    for sketch in paths::listed_or(sketches, list.as_deref())? {
        let found = sketch.map(|sketch| {
            let name = sketch.display().to_string();
            let found = open(&sketch, limits).and_then(|image| {
                let found = retriever.answer_with(&image, k, &filter, search, min_score);
                found.with_context(|| format!("the sketch '{name}'"))
            });
            (name, found)
        });
        match found {
            Ok((name, Ok(found))) => {
                answer.add(&name, &found.matches)?;
                n_answered += 1;
                match found.nothing {
                    // It is of this sketch, and said of each.
                    Some(no_fit @ Nothing::NoFit { .. }) => {
                        warn(&format!("'{name}': {no_fit}"));
                        n_without_fit += 1;
                    }
                    // The same for all sketches: it is of the gallery and the filter.
                    other => nothing = nothing.or(other),
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
    if n_without_fit > 1 {
        say(&format!("nothing fits {n_without_fit} of {n_answered} sketches"));
    }
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

/// Says that searches take longer than they would have to.
fn warn_of_lacking_graph(gallery: &dyn Home) {
    let n_lacking = gallery.n_lacking_graph();
    if n_lacking > 0 {
        warn(&format!(
            "no graph of {n_lacking} photos is stored, and they are searched one by one; `sketchfind index compact` builds it once"
        ));
    }
}

/// Says where a calibration was learned in a gallery of another size: among more photos a wrong one is nearer.
fn say_of_another_size(learned: usize, n_photos: usize) {
    if n_photos > 2 * learned || 2 * n_photos < learned {
        let trust = if n_photos > learned { "too high" } else { "too low" };
        say(&format!(
            "the calibration was learned in a gallery of {learned} photos, this one has {n_photos}: scores may be {trust}"
        ));
    }
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
    let gallery = home::open(gallery, Access::Read)?;
    let interrupt = Interrupt::listen()?;
    let files = exchange::open(file, &interrupt)?;
    files.check_space(gallery.as_ref())?;
    warn_of_lacking_graph(gallery.as_ref());
    let look = gallery.look();
    let mut answer = Answer::begin(format, false, search.by_product)?;
    let mut nothing: Option<Nothing> = None;
    let queries = files.embeddings()?;
    if let Some(queries) = &queries {
        let values = queries.values().chunks(N_AT_ONCE * queries.width());
        for (ids, values) in queries.ids().chunks(N_AT_ONCE).zip(values) {
            for (id, found) in ids.iter().zip(look.search_values(values, k, filter, search)?) {
                answer.add(id, &found)?;
                if found.is_empty() && nothing.is_none() {
                    nothing = look.why_nothing(filter)?;
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
    has_scores: bool,
    by_product: bool,
    /// Whether nothing has been written but what begins it.
    is_fresh: bool,
}

impl Answer {
    fn begin(format: Format, has_scores: bool, by_product: bool) -> Result<Answer> {
        match format {
            Format::Table => {}
            Format::Json => output::stream(b"[")?,
            Format::Csv => output::stream(&csv_line(&columns(has_scores))?)?,
        }
        Ok(Answer { format, has_scores, by_product, is_fresh: true })
    }

    /// Writes what was found for a sketch.
    fn add(&mut self, sketch: &str, found: &[Match]) -> Result<()> {
        let is_csv = matches!(self.format, Format::Csv);
        let rows = found.iter().map(|hit| Row {
            sketch,
            rank: hit.rank,
            id: &hit.id,
            distance: hit.distance,
            score: self.has_scores.then_some(hit.score),
            path: hit.path.as_ref().map(|path| path.display().to_string()),
            labels: if is_csv {
                Labels::Json(serde_json::Value::from_iter(hit.labels.iter().map(String::as_str)).to_string())
            } else {
                Labels::List(&hit.labels)
            },
            product: hit.product.as_deref(),
        });
        let mut text = Vec::new();
        match self.format {
            Format::Table => text = table(sketch, rows, self.has_scores, self.by_product, self.is_fresh),
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

fn csv_line(fields: &[&str]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    writer.into_inner().context("cannot write CSV")
}

/// A block for a sketch: its name, and a table that has its header where it has no hit.
fn table<'a>(
    sketch: &str,
    rows: impl Iterator<Item = Row<'a>>,
    has_scores: bool,
    by_product: bool,
    is_first: bool,
) -> Vec<u8> {
    let line = |[rank, distance, score, product, id, path]: [String; 6]| {
        let (score, product) = (has_scores.then_some(score), by_product.then_some(product));
        let cells = [Some(rank), Some(distance), score, product, Some(id), Some(path)];
        cells.into_iter().flatten().collect::<Vec<String>>()
    };
    let mut cells = vec![line(["rank", "distance", "score", "product", "id", "path"].map(str::to_owned))];
    cells.extend(rows.map(|row| {
        let score = row.score.flatten().map(|score| format!("{score:.4}")).unwrap_or_default();
        let (rank, distance) = (row.rank.to_string(), format!("{:.5}", row.distance));
        let product = row.product.unwrap_or_default().to_owned();
        line([rank, distance, score, product, row.id.to_owned(), row.path.unwrap_or_default()])
    }));
    let mut lines = if is_first { vec![] } else { vec![String::new()] };
    lines.push(sketchfind_core::terminal::one_line(&format!("{sketch}:")).into_owned());
    lines.extend(output::table(&cells, if has_scores { &[0, 1, 2] } else { &[0, 1] }));
    (lines.join("\n") + "\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header and the rows are made in two places.
    #[test]
    fn the_columns_are_those_of_a_row() {
        for score in [None, Some(None), Some(Some(0.25))] {
            let labels = Labels::Json("[]".into());
            let row = Row {
                sketch: "s",
                rank: 1,
                id: "i",
                distance: 0.5,
                score,
                path: None,
                labels,
                product: None,
            };
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.serialize(&row).unwrap();
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let expected = columns(score.is_some());
            assert_eq!(text.lines().next().unwrap(), expected.join(","));
            assert_eq!(csv_line(&expected).unwrap(), format!("{}\n", expected.join(",")).as_bytes());
        }
        assert_eq!(csv_line(&columns(false)).unwrap(), b"sketch,rank,id,distance,path,labels,product\n");
    }
}
