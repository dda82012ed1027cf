//! `sketchfind embed`, and the embedding of files that other commands share.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_runtime::{Embedded, Embedder, OnBroken};

use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::progress::{Bar, say};
use crate::{Embedding, Which};

pub(crate) fn embed(
    model: &Path,
    data: &Path,
    split: Split,
    which: Which,
    out: &Path,
    compute: Embedding,
) -> Result<Exit> {
    if out.extension().is_none_or(|ending| ending != "npy") {
        let reason = format!("--out is '{}', expected a name that ends in .npy", out.display());
        return Err(sketchfind_core::Error::malformed(out, reason).into());
    }
    let files = files_of_split(&Dataset::load(data)?, split, which);
    let mut embedder = Embedder::open(model, compute.options())?;
    let embedded = embed_files(&mut embedder, &files, OnBroken::Refuse, "embedding images")?;
    embedded.embeddings.save(out)?;
    say(&format!(
        "{} embeddings of width {} written to '{}'",
        embedded.embeddings.len(),
        embedded.embeddings.width(),
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
    let embedded =
        embedder.embed_files(files, on_broken, &mut |n_done| bar.set(n_done), &|| interrupt.is_set())?;
    bar.finish();
    Ok(embedded)
}
