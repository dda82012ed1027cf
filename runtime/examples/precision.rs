//! Times models against each other, so that what the precisions of one network cost can be said:
//!
//! ```sh
//! cargo run --release --package sketchfind --example precision -- MODEL...
//! ```
//!
//! The images are those of each model's probe, decoded and resized beforehand. Models take turns batch by batch, so that a
//! slow second of the machine meets all. Prints `model,seconds` for every timed batch of 8.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sketchfind::{Embedder, EmbedderOptions};
use sketchfind_core::card::PROBE_IMAGES;
use sketchfind_core::image::{DecodeLimits, Image};

/// Images of a batch.
const BATCH: usize = 8;
/// Timed batches of each model.
const N_TURNS: usize = 7;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut models = folders.iter().map(|folder| opened(folder)).collect::<Result<Vec<_>, _>>()?;
    // The first batch of each reserves memory.
    for (embedder, images) in &mut models {
        embedder.embed(images)?;
    }
    let mut out = std::io::stdout();
    for _ in 0..N_TURNS {
        for (folder, (embedder, images)) in folders.iter().zip(&mut models) {
            let started = Instant::now();
            embedder.embed(images)?;
            writeln!(out, "{},{}", folder.display(), started.elapsed().as_secs_f64())?;
        }
    }
    Ok(())
}

/// A model and a batch of its images.
fn opened(folder: &Path) -> Result<(Embedder, Vec<Image>), Failure> {
    let mut options = EmbedderOptions::cpu();
    options.batch = BATCH;
    let embedder = Embedder::open(folder, options)?;
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder.join(PROBE_IMAGES))? {
        let image = Image::open(entry?.path(), DecodeLimits::default())?;
        images.push(embedder.card().preprocess.resized(&image)?);
    }
    let images = images.iter().cycle().take(BATCH).cloned().collect();
    Ok((embedder, images))
}
