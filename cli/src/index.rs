//! `sketchfind index`: make galleries and change them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sketchfind_core::dataset::Split;
use sketchfind_runtime::gallery::MANIFEST;
use sketchfind_runtime::{
    Access, BrokenImage, Gallery, GalleryOptions, IndexKind, IndexSpec, Ingested, OnBroken, Photo, PhotoFile,
    Retriever, RetrieverOptions,
};

use crate::Embedding;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::photos::{labels_of, photos_of};
use crate::progress::{Bar, say};

/// What `index build` and `index add` have in common.
#[derive(clap::Args)]
pub(crate) struct Intake {
    /// A folder of images, searched below, or a data set's manifest, whose further columns are labels: column=value.
    #[arg(long)]
    photos: PathBuf,
    /// Of a manifest, only this split.
    #[arg(long)]
    split: Option<Split>,
    /// A label of every photo; may be given several times.
    #[arg(long = "label")]
    labels: Vec<String>,
    /// A CSV file of labels, with the columns id and label and a row for each label of a photo.
    #[arg(long = "labels", value_name = "FILE.CSV")]
    labels_file: Option<PathBuf>,
    /// Leave out images that cannot be read, and name them, instead of stopping at the first.
    #[arg(long)]
    skip_broken: bool,
    /// Write the images that could not be read to this CSV file: id, path, reason.
    #[arg(long, value_name = "FILE.CSV")]
    failures: Option<PathBuf>,
    #[command(flatten)]
    compute: Embedding,
}

/// The arguments of `index build`.
#[derive(clap::Args)]
pub(crate) struct BuildOptions {
    /// The model's folder.
    #[arg(long)]
    model: PathBuf,
    /// The gallery's folder; a gallery there is replaced once the new one is whole.
    #[arg(long)]
    out: PathBuf,
    /// The index: exact ranks by comparing with every photo, hnsw by a graph, approximately; auto is exact as long as that
    /// takes no longer than embedding a sketch, and hnsw for larger galleries.
    #[arg(long, default_value = "auto")]
    index: IndexSpec,
    /// Begin anew, though an unfinished build is there that could go on.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    intake: Intake,
}

/// The arguments of `index add`.
#[derive(clap::Args)]
pub(crate) struct AddOptions {
    /// The gallery.
    #[arg(long)]
    gallery: PathBuf,
    #[command(flatten)]
    intake: Intake,
}

/// A row of a file of labels.
#[derive(Deserialize)]
struct LabelRow {
    id: String,
    label: String,
}

/// A row of a file of failures.
#[derive(Serialize)]
struct FailureRow<'a> {
    id: &'a str,
    path: String,
    reason: &'a str,
}

pub(crate) fn build(options: &BuildOptions) -> Result<Exit> {
    let BuildOptions { model, out, index, fresh, intake } = options;
    let files = intake.files()?;
    refuse_what_is_no_gallery(out)?;
    // Beside its place, so that nothing half-made is ever found there, and under its name, so that it is found again.
    let mut name = out.file_name().context("--out has no name")?.to_owned();
    name.push(".building");
    let building = out.with_file_name(name);
    let goes_on = !fresh && building.join(MANIFEST).is_file();
    if goes_on {
        let wanted = sketchfind_core::card::Card::load_with_model(model)?.onnx.sha256;
        let found = Gallery::open(&building)?.manifest().model_sha256.clone();
        if wanted != found {
            let reason = format!(
                "an unfinished build with another model lies there (its fingerprint is {found}, that of '{}' {wanted}); \
                 --fresh begins anew",
                model.display()
            );
            return Err(sketchfind_core::Error::malformed(&building, reason).into());
        }
        say(&format!("going on with the unfinished build in '{}'", building.display()));
    } else {
        // Its graph, if it is to have one, is built once and at the end.
        let tool = concat!("sketchfind ", env!("CARGO_PKG_VERSION"));
        Gallery::create_empty(&building, model, &GalleryOptions::exact(tool))?;
    }
    let retriever = intake.open(&building)?;
    if goes_on {
        // The photos may be others than when the build began.
        let wanted: BTreeSet<&str> = files.iter().map(|file| file.photo.id()).collect();
        let snapshot = retriever.snapshot();
        let gone = snapshot.photos().map(|(photo, _)| photo.id()).filter(|id| !wanted.contains(id));
        retriever.remove(&gone.collect::<Vec<_>>())?;
    }
    let done = intake.ingest(&retriever, &files).inspect_err(|_| {
        if retriever.is_empty() {
            // Nothing to go on with.
            let _ = std::fs::remove_dir_all(&building);
        } else {
            let (n, building) = (retriever.len(), building.display());
            say(&format!("{n} photos are kept in '{building}'; the same command goes on"));
        }
    })?;
    retriever.gallery().compact_files()?;
    retriever.gallery().set_index(*index)?;
    if *index == IndexSpec::Auto {
        retriever.measure_costs()?;
    }
    build_index(retriever.gallery()).inspect_err(|_| {
        // Whoever goes on opens it, and shall not wait for the graph there.
        let _ = retriever.gallery().set_index(IndexSpec::Exact);
        let (n, building) = (retriever.len(), building.display());
        say(&format!("{n} photos are kept in '{building}'; the same command goes on"));
    })?;
    let n = retriever.len();
    drop(retriever);
    Gallery::install(&building, out)?;
    let left_out = match done.broken.len() {
        0 => String::new(),
        n => format!("; {n} images left out"),
    };
    say(&format!("gallery of {n} photos written to '{}'{left_out}", out.display()));
    Ok(Exit::Success)
}

pub(crate) fn add(options: &AddOptions) -> Result<Exit> {
    let AddOptions { gallery, intake } = options;
    let files = intake.files()?;
    let retriever = intake.open(gallery)?;
    let done = intake.ingest(&retriever, &files)?;
    say(&format!(
        "{} photos added, {} replaced, {} there already, {} left out; the gallery '{}' has {}",
        done.n_added,
        done.n_replaced,
        done.n_unchanged,
        done.broken.len(),
        gallery.display(),
        retriever.len()
    ));
    Ok(Exit::Success)
}

pub(crate) fn remove(gallery: &Path, ids: &[String]) -> Result<Exit> {
    let gallery = Gallery::open_with(gallery, Access::Write)?;
    let snapshot = gallery.snapshot();
    for id in ids.iter().filter(|id| snapshot.photo(id).is_none()) {
        say(&format!("'{id}' is not in the gallery"));
    }
    let n = gallery.remove(ids)?;
    say(&format!("{n} photos removed; the gallery has {}", gallery.len()));
    Ok(Exit::Success)
}

pub(crate) fn compact(path: &Path, index: Option<IndexSpec>) -> Result<Exit> {
    let gallery = Gallery::open_with(path, Access::Write)?;
    if let Some(index) = index {
        gallery.set_index(index)?;
    }
    let n_removed = gallery.snapshot().n_removed();
    gallery.compact_files()?;
    build_index(&gallery)?;
    say(&format!(
        "'{}' has {} photos; {n_removed} removed ones take no space any more",
        path.display(),
        gallery.len()
    ));
    Ok(Exit::Success)
}

/// Builds the graph, where the gallery is to have one, with progress, until interrupted; and says which index it has and,
/// of a graph, how much it finds.
fn build_index(gallery: &Gallery) -> Result<()> {
    if gallery.kind() == IndexKind::Hnsw {
        let interrupt = Interrupt::listen()?;
        let bar = Bar::new(gallery.len(), "building the graph");
        gallery.build_index(&|n_done| bar.set(n_done), &|| interrupt.is_set())?;
        bar.finish();
    }
    let recall = gallery.measure_recall()?;
    say(&format!("index: {}", crate::info::index(gallery)));
    if let Some(recall) = recall {
        say(&crate::info::recall(recall));
    }
    Ok(())
}

impl Intake {
    fn open(&self, gallery: &Path) -> Result<Retriever> {
        Ok(Retriever::open(gallery, RetrieverOptions::new(self.compute.options()).writable())?)
    }

    /// Brings files into a gallery with progress, until interrupted, and reports those that could not be read.
    fn ingest(&self, retriever: &Retriever, files: &[PhotoFile]) -> Result<Ingested> {
        let interrupt = Interrupt::listen()?;
        let bar = Bar::new(files.len(), "embedding photos");
        let on_broken = if self.skip_broken { OnBroken::Skip } else { OnBroken::Refuse };
        let done =
            retriever.ingest(files, on_broken, &mut |n_done| bar.set(n_done), &|| interrupt.is_set())?;
        bar.finish();
        for broken in &done.broken {
            say(&format!("left out: {}: {}", broken.path.display(), broken.reason));
        }
        if let Some(path) = &self.failures {
            write_failures(path, &done.broken)?;
        }
        // Where some are broken they are left out; where all are, something else is wrong than a file.
        if let (Some(first), true) = (done.broken.first(), done.broken.len() == files.len()) {
            let reason =
                format!("none of its {} images can be read; the first: {}", files.len(), first.reason);
            return Err(sketchfind_core::Error::malformed(&self.photos, reason).into());
        }
        Ok(done)
    }

    /// The photos with their labels.
    fn files(&self) -> Result<Vec<PhotoFile>> {
        let mut labels = self.read_labels()?;
        let named = photos_of(&self.photos, self.split)?;
        let mut further = labels_of(&self.photos)?;
        let mut files = Vec::with_capacity(named.len());
        for (id, path) in named {
            let mut own = labels.remove(&id).unwrap_or_default();
            own.extend(further.remove(&id).unwrap_or_default());
            let source = std::path::absolute(&path).map_err(sketchfind_core::Error::io("read", &path))?;
            let photo = Photo::new(id).with_labels(self.labels.clone()).with_labels(own).with_source(source);
            files.push(PhotoFile { photo, path });
        }
        if let (Some((id, _)), Some(file)) = (labels.first_key_value(), &self.labels_file) {
            let reason = format!("it has labels for '{id}', which is none of the photos");
            return Err(sketchfind_core::Error::malformed(file, reason).into());
        }
        Ok(files)
    }

    fn read_labels(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let Some(path) = &self.labels_file else {
            return Ok(labels);
        };
        let malformed = |e: csv::Error| sketchfind_core::Error::malformed(path, e.to_string());
        let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
        for row in csv::Reader::from_reader(bytes.as_slice()).deserialize() {
            let LabelRow { id, label } = row.map_err(malformed)?;
            labels.entry(id).or_default().push(label);
        }
        Ok(labels)
    }
}

fn write_failures(path: &Path, broken: &[BrokenImage]) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(["id", "path", "reason"])?;
    for BrokenImage { id, path, reason } in broken {
        writer.serialize(FailureRow { id, path: path.display().to_string(), reason })?;
    }
    let bytes = writer.into_inner().context("cannot write CSV")?;
    Ok(sketchfind_core::atomic::write_bytes(path, &bytes)?)
}

/// Refuses early what `Gallery::install` would refuse after hours of work.
fn refuse_what_is_no_gallery(out: &Path) -> Result<()> {
    if sketchfind_core::atomic::is_free_for(out, MANIFEST)? {
        return Ok(());
    }
    let reason = "something else is there, which will not be overwritten; remove it or choose another path";
    Err(sketchfind_runtime::Error::Gallery { path: out.to_owned(), reason: reason.into() }.into())
}
