//! `sketchfind embed`.

use std::path::Path;

use anyhow::Result;
use sketchfind::Embedder;
use sketchfind_core::dataset::{Dataset, Modality, Split};
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_eval::Questions;

use crate::embedding::Watched;
use crate::exit::Exit;
use crate::frames::MeasuredFrame;
use crate::progress::say;
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
    let width = embedder.card().embedding_width;
    let pictures = Questions::of_split(&dataset, split);
    let mut network = Watched { network: &mut frame.on(&mut embedder, model)?, note: "" };
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    for (part, modality, pictures) in [
        (Which::Photos, Modality::Photo, &pictures.photos),
        (Which::Sketches, Modality::Sketch, &pictures.sketches),
    ] {
        if which == part || which == Which::Both {
            let embedded = network.embeddings(modality, pictures, Progress::default(), Cancel::default())?;
            values.extend_from_slice(embedded.values());
            ids.extend_from_slice(embedded.ids());
        }
    }
    let embeddings = Embeddings::new(ids, width, values)?;
    embeddings.save(out)?;
    say(&format!(
        "{} embeddings of width {} written to '{}'",
        embeddings.len(),
        embeddings.width(),
        out.display()
    ));
    Ok(Exit::Success)
}
