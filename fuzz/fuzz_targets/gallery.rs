//! Any bytes in the place of a file of a gallery: its manifest, its segment, its log. The first byte says which, and whether
//! the checksums are made right, so that what is behind them is searched too.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

#[allow(dead_code, reason = "the slow tests use all of it")]
#[path = "../../tests/doors/forge.rs"]
mod forge;

use forge::{LOG, MANIFEST, SEGMENT, SEQUENCE};

/// A gallery of this process, and what its files are.
struct Original {
    path: PathBuf,
    manifest: Vec<u8>,
    segment: Vec<u8>,
    log: Vec<u8>,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    // In memory where there is such a place: thousands of files a second are written.
    let memory = PathBuf::from("/dev/shm");
    let root = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let path = root.join(format!("sketchfind-fuzz-{}", std::process::id()));
    forge::copy_gallery(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")), &path);
    let read = |name: &str| std::fs::read(path.join(name)).expect("the gallery has this file");
    let (manifest, segment, log) = (read(MANIFEST), read(SEGMENT), read(LOG));
    Original { path, manifest, segment, log }
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let original = &*ORIGINAL;
    let (name, whole, bytes) = match kind % 6 {
        0 => (MANIFEST, &original.manifest, bytes.to_vec()),
        1 => (MANIFEST, &original.manifest, forge::manifest(bytes)),
        2 => (SEGMENT, &original.segment, bytes.to_vec()),
        3 => (SEGMENT, &original.segment, forge::segment(bytes)),
        4 => (LOG, &original.log, bytes.to_vec()),
        // The payload of a record.
        _ => (LOG, &original.log, forge::log(&original.log, &[bytes], SEQUENCE)),
    };
    forge::opens_with(&original.path, name, &bytes);
    std::fs::write(original.path.join(name), whole).expect("the file can be written");
});
