//! `sketchfind embed`, and the embedding of files that other commands share.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind::{Embedded, Embedder, OnBroken};
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::Image;
use sketchfind_core::work::{Cancel, Progress};

use crate::exit::Exit;
use crate::frames::{MeasuredFrame, embed_framed};
use crate::interrupt::Interrupt;
use crate::progress::{Bar, say};
use crate::{Embedding, Which};

pub(crate) fn embed(
    model: &Path,
    data: &Path,
    split: Split,
    which: Which,
    out: &Path,
    frame: MeasuredFrame,
    compute: Embedding,
) -> Result<Exit> {
    if out.extension().is_none_or(|ending| ending != "npy") {
        let reason = format!("--out is '{}', expected a name that ends in .npy", out.display());
        return Err(sketchfind_core::Error::malformed(out, reason).into());
    }
    let dataset = Dataset::load(data)?;
    let mut embedder = Embedder::open(model, compute.options())?;
    let (of_sketches, of_photos) = frame.of(&embedder, model)?;
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    for (part, way, what) in
        [(Which::Photos, of_photos, "embedding photos"), (Which::Sketches, of_sketches, "embedding sketches")]
    {
        if which == part || which == Which::Both {
            let embedded = embed_framed(&mut embedder, &files_of_split(&dataset, split, part), &way, what)?;
            embedded.rows().for_each(|row| values.extend_from_slice(row));
            ids.extend_from_slice(embedded.ids());
        }
    }
    let embeddings = Embeddings::new(ids, embedder.card().embedding_width, values)?;
    embeddings.save(out)?;
    say(&format!(
        "{} embeddings of width {} written to '{}'",
        embeddings.len(),
        embeddings.width(),
        out.display()
    ));
    Ok(Exit::Success)
}

/// The ids and files of a split.
pub(crate) fn files_of_split(dataset: &Dataset, split: Split, which: Which) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    if which != Which::Sketches {
        files.extend(dataset.photos_in(split).map(|photo| (photo.id.clone(), photo.path.clone())));
    }
    if which != Which::Photos {
        files.extend(dataset.sketches_in(split).map(|sketch| (sketch.id.clone(), sketch.path.clone())));
    }
    files
}

/// Embeds files with progress, until interrupted.
pub(crate) fn embed_files(
    embedder: &mut Embedder,
    files: &[(String, PathBuf)],
    on_broken: OnBroken,
    what: &str,
) -> Result<Embedded> {
    let interrupt = Interrupt::listen()?;
    let bar = Bar::new(files.len(), what);
    let embedded = embedder.embed_files(
        files,
        on_broken,
        Progress::new(&|n_done| bar.set(n_done)),
        Cancel::new(&|| interrupt.is_set()),
    )?;
    bar.finish();
    Ok(embedded)
}

/// Embeddings under their ids, of pictures that are made on the spot.
pub(crate) fn embed_pictures(
    embedder: &mut Embedder,
    ids: &[String],
    make: &mut dyn FnMut(usize) -> Result<Image>,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Embeddings> {
    let mut values = Vec::with_capacity(ids.len() * embedder.card().embedding_width);
    let n_batch = embedder.options().batch;
    for start in (0..ids.len()).step_by(n_batch) {
        let end = (start + n_batch).min(ids.len());
        progress(end - start)?;
        let pictures = (start..end).map(&mut *make).collect::<Result<Vec<_>>>()?;
        values.extend(embedder.embed(&pictures)?);
    }
    Ok(Embeddings::new(ids.to_vec(), embedder.card().embedding_width, values)?)
}
