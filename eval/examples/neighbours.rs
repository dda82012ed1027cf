//! Times the neighbourhood-ranking statistics on random spaces of several sizes, and says what memory they took beside the
//! embeddings.
//!
//! ```sh
//! cargo run --release -p sketchfind-eval --example neighbours -- 1000 2000 4000 8000
//! ```
//!
//! Spaces are as wide as ResNet50's and MobileNetV2's (2,048 and 1,280), with one sketch of each photo, so that every photo
//! is an anchor twice. Times are with intervals (10,000 resamples) and without (1).
#![allow(clippy::print_stdout, reason = "an example that measures says what it measured")]

use std::collections::BTreeMap;
use std::time::Instant;

use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::random::Stream;
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_eval::Bootstrap;
use sketchfind_eval::neighbours::{SketchAnchors, Space, neighbourhood};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sizes: Vec<usize> = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<_, _>>()?;
    println!(
        "| photos | triplets | photos as anchors | and sketches | and intervals | memory beside embeddings |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for n in sizes {
        let reference = space(1, "p", n, 2048)?;
        let studied = space(2, "p", n, 1280)?;
        let sketches = space(3, "s", n, 1280)?;
        let photo_of: BTreeMap<String, String> =
            sketches.ids().iter().cloned().zip(reference.ids().iter().cloned()).collect();
        let before = resident_mib("VmRSS");
        let time = |with_sketches: bool, samples: usize| -> Result<f64, sketchfind_eval::Error> {
            let started = Instant::now();
            let space = |photos| Space { photos, distance: Distance::Mse };
            let anchors = SketchAnchors { sketches: &sketches, photo_of: &photo_of };
            let bootstrap = Bootstrap { samples, ..Bootstrap::default() };
            let anchors = with_sketches.then_some(anchors);
            neighbourhood(
                space(&reference),
                space(&studied),
                anchors,
                &bootstrap,
                Progress::default(),
                Cancel::default(),
            )?;
            Ok(started.elapsed().as_secs_f64())
        };
        let (photos, both) = (time(false, 1)?, time(true, 1)?);
        let whole = time(true, Bootstrap::default().samples)?;
        let memory = match (before, resident_mib("VmHWM")) {
            (Some(before), Some(most)) => format!("{:.0} MiB", most - before),
            _ => "not known here".into(),
        };
        // As in the method: ordered pairs of an anchor and an unordered pair.
        let n_triplets = n as u64 * (n as u64 - 1) * (n as u64 - 2) / 2;
        println!("| {n} | {n_triplets} | {photos:.2} s | {both:.2} s | {whole:.2} s | {memory} |");
    }
    Ok(())
}

/// Random embeddings; sums of uniform numbers, so that distances spread.
fn space(seed: u64, prefix: &str, n: usize, width: usize) -> Result<Embeddings, sketchfind_core::Error> {
    let ids = (0..n).map(|row| format!("{prefix}{row:06}")).collect();
    let mut stream = Stream::new(seed, "a space", &[]);
    let values = (0..n * width).map(|_| (stream.bits() >> 40) as f32 / (1 << 24) as f32).collect();
    Embeddings::new(ids, width, values)
}

/// A line of Linux' account of this process, in MiB: what is resident, or was at most.
fn resident_mib(what: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}
