//! A gallery that is made anew beside its place, and takes it when it is whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sketchfind::gallery::MANIFEST;
use sketchfind::home::Home;
use sketchfind::{
    Embedder, Error, Framing, Gallery, GalleryOptions, IndexSpec, Ingested, OnOtherSource, Recall,
};
use sketchfind_core::card::Card;
use sketchfind_core::work::{Cancel, Progress};

use crate::intake::{Gathered, Taking};
use crate::interrupt::Interrupt;
use crate::progress::{Bar, say, warn};

/// How a gallery is made.
pub(crate) struct How<'a> {
    pub(crate) model: &'a Path,
    pub(crate) index: IndexSpec,
    pub(crate) frame: Framing,
    /// Whether to begin anew where an unfinished one could go on.
    pub(crate) fresh: bool,
    pub(crate) taking: &'a Taking,
}

/// A gallery that is being made.
pub(crate) struct Building {
    /// Where it is made: beside its place, so that nothing half-made is ever found there, and under its name, so that it is
    /// found again.
    path: PathBuf,
    out: PathBuf,
}

impl Building {
    /// One that is to stand at `out`, where there is nothing yet or a gallery.
    pub(crate) fn at(out: &Path) -> Result<Building> {
        Building::beside(out, ".building")
    }

    /// [`Building::at`], made under the name of `out` with this ending.
    pub(crate) fn beside(out: &Path, ending: &str) -> Result<Building> {
        refuse_what_is_no_gallery(out)?;
        let mut name = out.file_name().context("the gallery's path has no name")?.to_owned();
        name.push(ending);
        Ok(Building { path: out.with_file_name(name), out: out.to_owned() })
    }

    /// Where it is made.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Does what makes it. What a failure leaves is removed, or kept for the same command to go on with, and that is said.
    pub(crate) fn make<T>(&self, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        work(&self.path).inspect_err(|error| give_up(&self.path, error))
    }

    /// Makes it of these photos, going on with an unfinished one. Gives what came of them and their number.
    pub(crate) fn fill(&self, gathered: &Gathered, how: &How<'_>) -> Result<(Ingested, usize)> {
        let made: Vec<&Path> = self.out.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
        let built = begin(&self.path, how)
            .and_then(|goes_on| self.make(|building| fill(building, gathered, goes_on, how)));
        built.inspect_err(|_| {
            // Folders that were made for it; those that are not empty stay.
            made.iter().filter(|folder| !folder.as_os_str().is_empty()).for_each(|folder| {
                let _ = std::fs::remove_dir(folder);
            });
        })
    }

    /// Puts it in its place.
    pub(crate) fn install(&self) -> Result<()> {
        Ok(Gallery::install(&self.path, &self.out).inspect_err(|_| self.say_kept())?)
    }

    /// Puts it in the place of `before`, unless somebody has changed that since it was opened or refreshed; whether it did.
    pub(crate) fn install_over(&self, before: &Gallery) -> Result<bool> {
        Ok(Gallery::install_over(&self.path, before).inspect_err(|_| self.say_kept())?)
    }

    fn say_kept(&self) {
        let n = Gallery::open(&self.path).map_or(0, |kept| kept.len());
        say_kept(&self.path, n);
    }
}

/// Whether there is an unfinished build to go on with; otherwise an empty one is made. One that is of no use, because another
/// model has made it or it cannot be read, is in nobody's way.
fn begin(building: &Path, how: &How<'_>) -> Result<bool> {
    let How { model, fresh, frame, taking, .. } = how;
    let card = Card::load_with_model(model)?;
    let photo_frame = frame.of_photos(card.frame)?;
    let wanted = card.fingerprint();
    if !fresh && building.join(MANIFEST).is_file() {
        let place = building.display();
        match Gallery::open(building) {
            Ok(unfinished)
                if unfinished.card().is_some_and(|own| own.fingerprint() == wanted)
                    && unfinished.photo_frame() == photo_frame =>
            {
                say(&format!("going on with the unfinished build in '{place}'"));
                return Ok(true);
            }
            Ok(unfinished) => {
                // Hours of work are not given up for a model that does not run.
                Embedder::open(model, taking.compute.options())?;
                let n = unfinished.len();
                say(&format!(
                    "the unfinished build in '{place}' is by another model, or with other frames; its {n} photos are embedded anew"
                ));
            }
            Err(error) => {
                say(&format!("the unfinished build in '{place}' cannot be read, and is begun anew: {error}"))
            }
        }
    }
    // Its graph, if it is to have one, is built once and at the end.
    let tool = concat!("sketchfind ", env!("CARGO_PKG_VERSION"));
    Gallery::create_empty(building, model, &GalleryOptions::exact(tool).with_photo_frame(photo_frame))?;
    Ok(false)
}

/// Brings the photos into the gallery that is being built, and gives it its index.
fn fill(building: &Path, gathered: &Gathered, goes_on: bool, how: &How<'_>) -> Result<(Ingested, usize)> {
    let How { index, taking, .. } = how;
    let retriever = taking.open(building)?;
    if goes_on {
        // The photos may be others than when the build began.
        let wanted: BTreeSet<&str> = gathered.files.iter().map(|file| file.photo.id()).collect();
        let ids = retriever.look().ids()?;
        let gone: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !wanted.contains(id)).collect();
        retriever.remove(&gone)?;
    }
    // What was there before is the same folder's, wherever it lay then.
    let done = taking.ingest(&retriever, gathered, OnOtherSource::Replace)?;
    if *index == IndexSpec::Auto {
        retriever.measure_costs()?;
    }
    finish(retriever.gallery().only_folder("a build")?, *index)?;
    Ok((done, retriever.len()?))
}

/// Writes a gallery that is filled into one segment, and gives it its index.
pub(crate) fn finish(gallery: &Gallery, index: IndexSpec) -> Result<()> {
    gallery.compact_files()?;
    gallery.set_index(index)?;
    build_index(gallery).inspect_err(|_| {
        // Whoever goes on opens it, and shall not wait for the graph there.
        let _ = gallery.set_index(IndexSpec::Exact);
    })
}

/// What a failed build has made is removed, or kept for the same command to go on with, and that is said.
fn give_up(building: &Path, error: &anyhow::Error) {
    // Whoever holds it is still at work on it.
    let is_held = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<Error>().is_some_and(|error| matches!(error, Error::Locked { .. }))
    };
    if error.chain().any(is_held) {
        return;
    }
    match Gallery::open(building) {
        Ok(kept) if !kept.is_empty() => say_kept(building, kept.len()),
        _ => {
            let _ = std::fs::remove_dir_all(building);
        }
    }
}

fn say_kept(building: &Path, n: usize) {
    warn(&format!("{n} photos are kept in '{}'; the same command goes on", building.display()));
}

/// Builds the graph, where the gallery is to have one, with progress, until interrupted; and says which index it has and,
/// of a graph, how much it finds.
pub(crate) fn build_index(gallery: &dyn Home) -> Result<()> {
    build_graphs(gallery)?;
    let recall = measure_recall(gallery)?;
    say(&format!("index: {}", crate::info::index(gallery)?));
    if let Some(recall) = recall {
        say(&crate::info::recall(recall));
    }
    Ok(())
}

/// Measures how much the graph finds, until interrupted.
pub(crate) fn measure_recall(gallery: &dyn Home) -> Result<Option<Recall>> {
    let interrupt = Interrupt::listen()?;
    let cancel = || interrupt.is_set();
    Ok(gallery.measure_recall(Progress::default(), Cancel::new(&cancel))?)
}

/// Builds graphs that are not there, with progress, until interrupted.
pub(crate) fn build_graphs(gallery: &dyn Home) -> Result<()> {
    let n_lacking = match gallery.folder() {
        Some(folder) => folder.n_lacking_graph(),
        // Whether its graph is there the database knows.
        None => gallery.look().len()?,
    };
    if n_lacking == 0 {
        return Ok(());
    }
    let interrupt = Interrupt::listen()?;
    let bar = Bar::new(n_lacking, "building the graph");
    let (progress, cancel) = (|n_done| bar.set(n_done), || interrupt.is_set());
    let built = gallery.build_index(Progress::new(&progress), Cancel::new(&cancel))?;
    bar.finish();
    if let Some(error) = built.not_kept {
        warn(&format!("the graph cannot be kept, and is built anew by whoever opens the gallery: {error}"));
    }
    Ok(())
}

/// Refuses early what `Gallery::install` would refuse after hours of work.
fn refuse_what_is_no_gallery(out: &Path) -> Result<()> {
    if sketchfind_core::atomic::is_free_for(out, MANIFEST)? {
        return Ok(());
    }
    let reason = "something else is there, which will not be overwritten; remove it or choose another path";
    Err(Error::Gallery { path: out.to_owned(), reason: reason.into() }.into())
}
