//! Times search, for `cargo xtask bench runtime`: `search make FOLDER ROWS WIDTH QUERIES`, then
//! `search exact FOLDER WIDTH THREADS` or `search hnsw FOLDER WIDTH THREADS`; `search gallery MODEL GALLERY
//! PHOTOS N`, then `search latency GALLERY SKETCHES`. What is timed is written as one line of JSON.
// An example's output is its purpose.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use sketchfind::{Cancel, Embedder, EmbedderOptions, Filter, Gallery, GalleryOptions, Progress, Retriever};
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::random::Stream;
use sketchfind_index::{ExactIndex, HnswIndex, HnswParameters, Index, Matrix};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: search make FOLDER ROWS WIDTH QUERIES | search exact FOLDER WIDTH THREADS | \
                     search hnsw FOLDER WIDTH THREADS | search gallery MODEL GALLERY PHOTOS \
                     N | search latency GALLERY SKETCHES";
/// Rows of one cluster on average.
const CLUSTER: usize = 50;
/// How far rows and queries lie from their cluster's centre, where centres lie 1 from the origin.
const SPREADS: [f64; 2] = [0.8, 1.0];
/// The shares of the nearest that a graph has to find.
const RECALLS: [f64; 2] = [0.95, 0.99];
/// More candidates are not tried.
const MOST_CANDIDATES: usize = 1024;
/// How many are asked for.
const K: usize = 10;
/// Searches before latency is measured, and how long is waited then.
const N_WARMING: usize = 1_200;
const WARMING: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", folder, rows, width, queries] => {
            make(Path::new(folder), rows.parse()?, width.parse()?, queries.parse()?)
        }
        ["exact", folder, width, threads] => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
            let width = width.parse()?;
            pool.install(|| exact(Path::new(folder), width))
        }
        ["hnsw", folder, width, threads] => hnsw(Path::new(folder), width.parse()?, threads.parse()?),
        ["gallery", model, gallery, photos, n] => {
            gallery_of(Path::new(model), Path::new(gallery), Path::new(photos), n.parse()?)
        }
        ["latency", gallery, sketches] => latency(Path::new(gallery), Path::new(sketches)),
        _ => Err(USAGE.into()),
    }
}

/// Writes `base.f32` and `queries.f32`: row-major, little-endian. Clusters of a few dozen rows; in cluster and rows alike the
/// variance of component `j` falls as `1 / j`, so that a few dozen directions hold most of it, as in embeddings.
fn make(folder: &Path, rows: usize, width: usize, queries: usize) -> Result<()> {
    let n_clusters = (rows / CLUSTER).max(1);
    let normals = |name: &str, number: usize, spread: f64| -> Vec<f64> {
        let mut stream = Stream::new(1, name, &[number as u64]);
        let total: f64 = (1..=width).map(|j| 1.0 / j as f64).sum();
        let normal = |j: usize| {
            // Box and Muller 1958.
            let radius = (-2.0 * (1.0 - stream.unit()).ln()).sqrt();
            let angle = std::f64::consts::TAU * stream.unit();
            spread * radius * angle.cos() / (j as f64 * total).sqrt()
        };
        (1..=width).map(normal).collect()
    };
    for (name, n, spread) in [("base", rows, SPREADS[0]), ("queries", queries, SPREADS[1])] {
        let values: Vec<f32> = (0..n)
            .into_par_iter()
            .flat_map_iter(|row| {
                let cluster =
                    Stream::new(1, "cluster of", &[name.len() as u64, row as u64]).below(n_clusters);
                let centre = normals("centre", cluster, 1.0);
                let around = normals(name, row, spread);
                centre.into_iter().zip(around).map(|(a, b)| (a + b) as f32)
            })
            .collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::File::create(folder.join(format!("{name}.f32")))?.write_all(&bytes)?;
    }
    Ok(())
}

fn read(folder: &Path, name: &str) -> Result<Vec<f32>> {
    let bytes = std::fs::read(folder.join(format!("{name}.f32")))?;
    let (numbers, _) = bytes.as_chunks::<4>();
    Ok(numbers.iter().map(|&number| f32::from_le_bytes(number)).collect())
}

fn exact(folder: &Path, width: usize) -> Result<()> {
    let queries = read(folder, "queries")?;
    let index = ExactIndex::new(Matrix::new(width, read(folder, "base")?)?, Distance::Mse);
    let before = resident();
    let started = Instant::now();
    index.prepare();
    let prepare = started.elapsed().as_secs_f64();
    let memory = resident() - before;
    let first = index.search_batch(&queries, K)?;
    let checked = index.search(&queries[..width], K)?;
    if first[0] != checked {
        return Err("one query and many give different hits".into());
    }
    let batch = rate(queries.len() / width, || index.search_batch(&queries, K))?;
    let mut next = (0..).map(|number| number * width % queries.len());
    let one = rate(1, || {
        let start = next.next().unwrap_or(0);
        index.search(&queries[start..start + width], K)
    })?;
    println!("{{\"batch\": {batch}, \"one\": {one}, \"prepare\": {prepare}, \"memory\": {memory}}}");
    Ok(())
}

/// Builds a graph on all threads that are given and searches on one and on all, with as many candidates as each recall
/// needs.
fn hnsw(folder: &Path, width: usize, threads: usize) -> Result<()> {
    let pool = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build();
    let all = pool(threads)?;
    let queries = read(folder, "queries")?;
    let matrix = Matrix::new(width, read(folder, "base")?)?;
    let exact = ExactIndex::new(matrix.clone(), Distance::Mse);
    let truth = all.install(|| exact.search_batch(&queries, K))?;
    let before = resident();
    let started = Instant::now();
    let index = all.install(|| HnswIndex::build(matrix, Distance::Mse, HnswParameters::default()))?;
    let build = started.elapsed().as_secs_f64();
    let memory = resident() - before;
    let recall = |ef: usize| -> Result<f64> {
        let found = all.install(|| index.search_batch_with(&queries, K, ef))?;
        let n_found: usize = found
            .iter()
            .zip(&truth)
            .map(|(found, truth)| {
                let farthest = truth.hits().last().map_or(0.0, |hit| hit.distance);
                found.hits().iter().filter(|hit| hit.distance <= farthest).count()
            })
            .sum();
        Ok(n_found as f64 / (truth.len() * K) as f64)
    };
    let mut points = Vec::new();
    for target in RECALLS {
        let (mut low, mut high) = (K, MOST_CANDIDATES);
        while low < high {
            let middle = (low + high) / 2;
            if recall(middle)? >= target { high = middle } else { low = middle + 1 }
        }
        let (ef, reached) = (low, recall(low)?);
        let mut rates = Vec::new();
        for threads in [1, threads] {
            let pool = pool(threads)?;
            rates.push(rate(truth.len(), || pool.install(|| index.search_batch_with(&queries, K, ef)))?);
        }
        points.push(format!("{{\"ef\": {ef}, \"recall\": {reached}, \"rates\": {rates:?}}}"));
    }
    println!(
        "{{\"build\": {build}, \"memory\": {memory}, \"apart\": {}, \"points\": [{}]}}",
        index.n_apart(),
        points.join(", ")
    );
    Ok(())
}

/// Makes a gallery of `n` photos out of those of a folder: each stands there again and again, its embedding's components a
/// tenth more or less each time.
fn gallery_of(model: &Path, gallery: &Path, photos: &Path, n: usize) -> Result<()> {
    let images = images(photos, 500)?;
    let embeddings = Embedder::open(model, EmbedderOptions::cpu())?.embed(&images)?;
    let width = embeddings.len() / images.len();
    let mut stream = Stream::new(1, "photos", &[]);
    let values = (0..n).flat_map(|number| {
        let row = &embeddings[number % images.len() * width..][..width];
        row.iter().map(|value| value * (0.9 + 0.2 * stream.unit() as f32)).collect::<Vec<_>>()
    });
    let ids = (0..n).map(|number| format!("{number:06}")).collect();
    let embeddings = Embeddings::new(ids, width, values.collect())?;
    Ok(Gallery::create(gallery, model, &embeddings, None, &GalleryOptions::auto("search"))?)
}

/// The first `n` images of a folder.
fn images(folder: &Path, n: usize) -> Result<Vec<Image>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    paths.truncate(n);
    paths.iter().map(|path| Ok(Image::open(path, DecodeLimits::default())?)).collect()
}

/// How long the embedding and the search of one sketch take, each sketch alone.
fn latency(gallery: &Path, sketches: &Path) -> Result<()> {
    let images = images(sketches, 200)?;
    let retriever = Retriever::open(gallery, EmbedderOptions::cpu())?;
    retriever.gallery().build_index(Progress::default(), Cancel::default())?;
    // A product that runs has been asked often enough for what searches are fastest with, which is made beside them.
    let first = images.first().ok_or("there is no sketch")?;
    let query = retriever.embed(std::slice::from_ref(first))?;
    for _ in 0..N_WARMING {
        retriever.query_embedding(&query, K, &Filter::everything())?;
    }
    std::thread::sleep(WARMING);
    let (mut embedding, mut search) = (Vec::new(), Vec::new());
    for round in 0..3 {
        for image in &images {
            let started = Instant::now();
            let query = retriever.embed(std::slice::from_ref(image))?;
            let embedded = started.elapsed();
            let found = retriever.query_embedding(&query, K, &Filter::everything())?;
            if found.len() != K {
                return Err("the gallery is too small".into());
            }
            // The first round warms up.
            if round > 0 {
                embedding.push(embedded.as_secs_f64());
                search.push((started.elapsed() - embedded).as_secs_f64());
            }
        }
    }
    let [embedding_times, search_times] = [&mut embedding, &mut search].map(|times| {
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(f64::NAN);
        [at(50), at(99)]
    });
    println!(
        "{{\"n\": {}, \"embedding\": {embedding_times:?}, \"search\": {search_times:?}}}",
        embedding.len()
    );
    Ok(())
}

/// Bytes of this process that are in memory.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    kib * 1024.0
}

/// Queries a second, where `work` answers `n`: the best of three, each of at least a second.
fn rate<T>(n: usize, mut work: impl FnMut() -> sketchfind_index::Result<T>) -> Result<f64> {
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let started = Instant::now();
        let mut n_done = 0;
        while started.elapsed() < Duration::from_secs(1) {
            work()?;
            n_done += n;
        }
        best = best.max(n_done as f64 / started.elapsed().as_secs_f64());
    }
    Ok(best)
}
