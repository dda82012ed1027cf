//! `sketchfind serve` with MobileNetV2 and 10,000 photos: how fast it is, and what it does when too many ask.
//!
//! Measured, and held to what is promised, by `cargo xtask bench serve` on a machine with nothing else to do: beside other
//! tests a time says nothing.
#![allow(clippy::print_stdout, reason = "a measurement says what it has measured")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sketchfind::{Embedder, EmbedderOptions, Gallery, GalleryOptions, OnBroken};
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::Preprocess;
use sketchfind_core::random::Stream;
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_models::network::{Head, Network};
use sketchfind_models::weights::Weights;
use sketchfind_tests::http::{Connection, Server};
use sketchfind_tests::programs::succeed;
use sketchfind_tests::surroundings::{self, provisioned};

use crate::export::write_model;
use crate::page::page_test;
use crate::serve::serve;

const N_PHOTOS: usize = 10_000;

/// A gallery of 10,000: embeddings of real photos by MobileNetV2, each many times with a little noise. The files are
/// those of the photos, so that a page shows something.
fn ten_thousand(folder: &Path) -> Option<PathBuf> {
    let weights = provisioned("weights/mobilenet_v2.safetensors")?;
    let data = Dataset::load(&provisioned("data/emoji")?).unwrap();
    let network = Network::by_name("mobilenet_v2", Head::Embedding).unwrap();
    let weights = Weights::load(&weights).unwrap().for_network(&network).unwrap();
    let model = folder.join("model");
    std::fs::create_dir(&model).unwrap();
    write_model(&model, &network, &weights, Preprocess::imagenet(256, 224).unwrap());
    let photos: Vec<(String, PathBuf)> =
        data.photos_in(Split::Test).take(100).map(|photo| (photo.id.clone(), photo.path.clone())).collect();
    let mut embedder = Embedder::open(&model, EmbedderOptions::cpu()).unwrap();
    let embedded = embedder
        .embed_files(&photos, OnBroken::Refuse, Progress::default(), Cancel::default())
        .unwrap()
        .embeddings;
    let (mut ids, mut values, mut sources) = (Vec::new(), Vec::new(), BTreeMap::new());
    for number in 0..N_PHOTOS {
        let row = number % photos.len();
        let mut noise = Stream::new(1, "noise", &[number as u64]);
        values
            .extend(embedded.row(row).unwrap().iter().map(|value| value + (noise.unit() as f32 - 0.5) * 0.2));
        let id = format!("{}/{number}", embedded.ids()[row]);
        let path = &photos.iter().find(|(id, _)| *id == embedded.ids()[row]).unwrap().1;
        sources.insert(id.clone(), std::path::absolute(path).unwrap());
        ids.push(id);
    }
    let embeddings = Embeddings::new(ids, network.output_width(), values).unwrap();
    let gallery = folder.join("gallery");
    Gallery::create(&gallery, &model, &embeddings, Some(&sources), &GalleryOptions::exact("test")).unwrap();
    Some(gallery)
}

/// A drawing of some length, as the page sends it.
fn drawing(seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed, "drawing", &[]);
    let polylines: Vec<Vec<[usize; 2]>> = (0..8)
        .map(|_| {
            let mut at = [stream.below(400) + 50, stream.below(400) + 50];
            (0..40)
                .map(|_| {
                    at = at.map(|value| (value + stream.below(21)).saturating_sub(10).min(512));
                    at
                })
                .collect()
        })
        .collect();
    serde_json::json!({"strokes": {"canvas": [512, 512], "polylines": polylines}}).to_string().into_bytes()
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// As many clients as saturate the machine and more, each asking again as soon as it is answered: what is answered is
/// answered in time, and what is not gets 503.
#[test]
fn clients_beyond_what_is_possible_get_503_and_no_other_error() {
    if !surroundings::is_measuring() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(gallery) = ten_thousand(folder.path()) else { return };
    let server = Server::start(serve(&gallery).args(["--log", "quiet"]));
    println!("clients  answered/s  p50 ms  p99 ms  503/s");
    for n_clients in [1, 2, 4, 8, 32] {
        let stop = AtomicBool::new(false);
        let started = Instant::now();
        let results: Vec<(Vec<f64>, usize)> = std::thread::scope(|scope| {
            let (address, stop) = (&server.address, &stop);
            let clients: Vec<_> =
                (0..n_clients).map(|number| scope.spawn(move || client(address, number, stop))).collect();
            std::thread::sleep(Duration::from_secs(6));
            stop.store(true, Ordering::Relaxed);
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let secs = started.elapsed().as_secs_f64();
        let n_refused: usize = results.iter().map(|(_, n)| n).sum();
        let mut times: Vec<f64> = results.into_iter().flat_map(|(times, _)| times).collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{n_clients:>7}  {:>10.1}  {:>6.1}  {:>6.1}  {:>5.1}",
            times.len() as f64 / secs,
            quantile(&times, 0.5),
            quantile(&times, 0.99),
            n_refused as f64 / secs
        );
        assert!(!times.is_empty());
        // Nobody waits in a line that grows: the slowest answer is of the order of the gate's own work.
        assert!(quantile(&times, 1.0) < 10_000.0, "{:?}", times.last());
    }
    // It is as it was.
    let mut one = Connection::open(&server.address).unwrap();
    let answer = one.ask("POST", "/api/v1/query", &["Content-Type: application/json"], &drawing(1)).unwrap();
    assert_eq!(answer.status, 200);
}

/// Asks until it is told to stop: the times of answers in milliseconds, and how often there was no place. A client that
/// finds none waits a twentieth of what the server asks for, so that it stays overloaded.
fn client(address: &str, number: u64, stop: &AtomicBool) -> (Vec<f64>, usize) {
    let mut connection = Connection::open(address).unwrap();
    let (mut times, mut n_refused) = (Vec::new(), 0);
    let body = drawing(number);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let answer =
            connection.ask("POST", "/api/v1/query", &["Content-Type: application/json"], &body).unwrap();
        match answer.status {
            200 => times.push(started.elapsed().as_secs_f64() * 1000.0),
            503 => {
                assert_eq!(answer.header("retry-after"), "1");
                n_refused += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    (times, n_refused)
}

/// Line drawings of OpenMoji, out of the package that the demo's data set was made of.
pub(crate) fn line_drawings(folder: &Path, codes: &[&str]) -> Option<Vec<PathBuf>> {
    let package = provisioned("downloads/openmoji-17.0.0.tgz")?;
    let members: Vec<String> = codes.iter().map(|code| format!("package/black/svg/{code}.svg")).collect();
    succeed(Command::new("tar").arg("-xzf").arg(package).arg("-C").arg(folder).args(&members));
    Some(members.iter().map(|member| folder.join(member)).collect())
}

/// From the end of a stroke to the frame that shows its ranking, in the browser.
#[test]
fn a_ranking_of_ten_thousand_follows_the_stroke() {
    if !surroundings::is_measuring() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(gallery) = ten_thousand(folder.path()) else { return };
    let Some(files) = line_drawings(folder.path(), &["1F41F", "1F453", "1F6A2", "1F986", "1F34E"]) else {
        return;
    };
    let server = Server::start(serve(&gallery).args(["--log", "quiet"]));
    let Some(mut node) = page_test("drawing.mjs", &server) else { return };
    let drawings: Vec<_> = files
        .iter()
        .map(|file| serde_json::json!({"svg": file, "photo": "none", "isFirst": false}))
        .collect();
    let said = succeed(node.env("SKETCHFIND_DRAWINGS", serde_json::json!(drawings).to_string()));
    println!("{said}");
    let p95 = said.lines().find_map(|line| line.strip_prefix("stroke to ranking, ms: ")).unwrap();
    let p95: f64 = p95.split(", ").find_map(|part| part.strip_prefix("p95 ")).unwrap().parse().unwrap();
    assert!(p95 < 150.0, "p95 is {p95} ms");
}
