//! What a device makes of a model: how fast it embeds by the size of its batches, and where each part of the network runs.
//!
//! ```sh
//! cargo run --release --package sketchfind --example device -- speed cuda MODEL PHOTOS 20000 3 1,16,64,256
//! cargo run --release --package sketchfind --example device -- nodes cuda MODEL PHOTOS
//! ```
//!
//! `speed` prints `batch,source,images,secs` for batches of each size. `memory`: images that are decoded and resized already;
//! `files`: the same images from their files, decoding on all cores beside the network. Each takes about the seconds that are given
//! (3 here), and no more images than are given (20000 here); the photos of the folder come again and again. Broken files are left out.
//!
//! `nodes` prints `provider,operation,nodes,microseconds` of one batch, by ONNX Runtime's own notes: an operation on a GPU ran on
//! `CUDAExecutionProvider`, and none of a network should be on `CPUExecutionProvider` there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sketchfind::{Cancel, Device, Embedder, EmbedderOptions, OnBroken, Progress};
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::photo_files;

type Failure = Box<dyn std::error::Error>;

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["speed", device, model, photos, n_most, secs, batches] => {
            let batches = batches.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
            let (n_most, secs) = (n_most.parse()?, secs.parse()?);
            let paths = photos_in(Path::new(photos))?;
            for batch in batches {
                speed(device.parse()?, Path::new(model), &paths, n_most, secs, batch)?;
            }
            Ok(())
        }
        ["nodes", device, model, photos] => {
            nodes(device.parse()?, Path::new(model), &photos_in(Path::new(photos))?)
        }
        _ => {
            Err("expected: speed DEVICE MODEL PHOTOS IMAGES SECS BATCH,... or: nodes DEVICE MODEL PHOTOS"
                .into())
        }
    }
}

/// The photos of a folder.
fn photos_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let found = photo_files::PhotoFiles::below(folder, &photo_files::Exclude::nothing())?;
    if found.photos.is_empty() {
        return Err(format!("'{}' holds no photos, expected at least one", folder.display()).into());
    }
    Ok(found.photos.into_iter().map(|photo| folder.join(photo.path)).collect())
}

/// Prints what batches of one size do, from memory and from files.
fn speed(
    device: Device,
    model: &Path,
    paths: &[PathBuf],
    n_most: usize,
    secs: f64,
    batch: usize,
) -> Result<(), Failure> {
    let mut embedder = Embedder::open(model, EmbedderOptions::on(device).with_batch(batch))?;
    let images = ready(&embedder, paths, batch)?;
    // The first runs of a size reserve memory and choose algorithms.
    for _ in 0..2 {
        embedder.embed(&images)?;
    }
    let (started, mut n_done) = (Instant::now(), 0);
    while n_done == 0 || (started.elapsed().as_secs_f64() < secs && n_done < n_most) {
        embedder.embed(&images)?;
        n_done += batch;
    }
    let elapsed = started.elapsed().as_secs_f64();
    tell(&format!("{batch},memory,{n_done},{elapsed}"))?;
    // As many whole batches as should take as long, if decoding held up nothing.
    let n_files = ((secs * n_done as f64 / elapsed) as usize).min(n_most).div_ceil(batch).max(2) * batch;
    let named = |n: usize| (format!("{n:08}"), paths[n % paths.len()].clone());
    let files: Vec<(String, PathBuf)> = (0..n_files).map(named).collect();
    let started = Instant::now();
    let embedded = embedder.embed_files(&files, OnBroken::Skip, Progress::default(), Cancel::default())?;
    let elapsed = started.elapsed().as_secs_f64();
    tell(&format!("{batch},files,{},{elapsed}", embedded.embeddings.len()))
}

/// `n` images as the network takes them.
fn ready(embedder: &Embedder, paths: &[PathBuf], n: usize) -> Result<Vec<Image>, Failure> {
    let preprocess = &embedder.card().preprocess;
    let of = |path: &PathBuf| preprocess.resized(&Image::open(path, DecodeLimits::default())?);
    let images = paths.iter().take(n).map(of).collect::<Result<Vec<Image>, _>>()?;
    Ok(images.iter().cycle().take(n).cloned().collect())
}

/// Prints on which execution provider each kind of operation ran.
fn nodes(device: Device, model: &Path, paths: &[PathBuf]) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let options = EmbedderOptions::on(device).with_profile(folder.path().join("ran"));
    let mut embedder = Embedder::open(model, options)?;
    let images = ready(&embedder, paths, 4)?;
    embedder.embed(&images)?;
    let events: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(embedder.end_profile()?)?)?;
    let mut kinds: BTreeMap<(&str, &str), (BTreeSet<&str>, u64)> = BTreeMap::new();
    for event in &events {
        let name = event["name"].as_str().unwrap_or_default();
        if event["cat"] != "Node" || !name.ends_with("_kernel_time") {
            continue;
        }
        let of = |key: &str| event["args"][key].as_str().unwrap_or("not said");
        let kind = kinds.entry((of("provider"), of("op_name"))).or_default();
        kind.0.insert(name);
        kind.1 += event["dur"].as_u64().unwrap_or_default();
    }
    if kinds.is_empty() {
        return Err("ONNX Runtime's notes name no operation that ran".into());
    }
    tell("provider,operation,nodes,microseconds")?;
    for ((provider, operation), (names, microseconds)) in kinds {
        tell(&format!("{provider},{operation},{},{microseconds}", names.len()))?;
    }
    Ok(())
}

/// A line at once: what is stopped at a time limit has said what it had.
fn tell(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
