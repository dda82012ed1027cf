//! The runtime's tests, a module per noun. Models and photos are in `fixtures`, beside the script that makes
//! them; so is a calibration, with figures that nobody has measured.

// A test that unwraps says what it expected by failing there.
#![allow(clippy::unwrap_used)]

mod conformance;
mod copies;
mod embedder;
mod embedder_files;
mod example;
mod exchange;
mod follow;
#[cfg(unix)]
mod fork;
mod gallery;
mod gallery_damage;
mod graph_cache;
mod ingest;
mod native;
#[cfg(feature = "postgres")]
mod postgres;
mod products;
mod retriever;
mod store;
mod store_kill;
mod turns;
mod verify;
mod without_model;

use std::path::{Path, PathBuf};

/// A file or folder of `tests/fixtures`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Asserts that a message has every part.
#[track_caller]
fn assert_says(error: impl std::fmt::Display, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

/// Waits until something is so.
#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed().as_secs() < 60, "it does not come");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
