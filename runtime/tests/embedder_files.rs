//! Lists of files: order, broken files, cancelling.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sketchfind::{Cancel, Embedded, Embedder, EmbedderOptions, Error, OnBroken, Progress};
use sketchfind_core::dataset::Modality;
use sketchfind_core::embed::Embed;
use sketchfind_core::image::{DecodeLimits, Image};

use crate::{assert_says, fixture};

fn embedder(n_threads: usize, batch: usize) -> Embedder {
    let options = EmbedderOptions::cpu().with_batch(batch).with_threads(n_threads);
    Embedder::open(fixture("mean8"), options).unwrap()
}

fn embed(
    embedder: &mut Embedder,
    files: &[(String, PathBuf)],
    on_broken: OnBroken,
) -> Result<Embedded, Error> {
    embedder.embed_files(files, on_broken, Progress::default(), Cancel::default())
}

/// `n` photos of one colour each, whose red is their number.
fn photos(folder: &Path, n: u8) -> Vec<(String, PathBuf)> {
    (0..n)
        .map(|number| {
            let path = folder.join(format!("{number}.png"));
            let image = Image::new(2, 3, [number, 0, 255].repeat(6)).unwrap();
            std::fs::write(&path, image.to_png().unwrap()).unwrap();
            (format!("photo-{number:03}"), path)
        })
        .collect()
}

/// Every way in which a file is no image, with a word of what is said about it.
fn broken_files(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let png = std::fs::read(fixture("photos/red.png")).unwrap();
    let files: [(&str, Vec<u8>, &str); 5] = [
        ("empty.png", vec![], "empty"),
        ("text.jpg", b"not an image at all".to_vec(), "not a JPEG"),
        ("truncated.png", png[..png.len() / 2].to_vec(), "Png"),
        ("header.png", png[..20].to_vec(), "Png"),
        // The width in the header is zero, with the checksum that belongs to it.
        ("zero.png", zero_width(&png), "Png"),
    ];
    let mut broken: Vec<(PathBuf, &str)> = files
        .into_iter()
        .map(|(name, bytes, words)| {
            std::fs::write(folder.join(name), bytes).unwrap();
            (folder.join(name), words)
        })
        .collect();
    broken.push((folder.join("missing.png"), "cannot read"));
    std::fs::create_dir(folder.join("folder.png")).unwrap();
    broken.push((folder.join("folder.png"), "cannot read"));
    broken
}

fn zero_width(png: &[u8]) -> Vec<u8> {
    let mut bytes = png.to_vec();
    bytes[16..20].fill(0);
    let mut crc = !0_u32;
    for &byte in &bytes[12..29] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

#[test]
fn every_file_gets_its_own_embedding_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = photos(folder.path(), 50);
    files.reverse();
    let mut first: Option<Embedded> = None;
    for (n_threads, batch) in [(1, 7), (2, 7), (5, 7), (2, 1), (2, 64)] {
        let done = Mutex::new(Vec::new());
        let embedded = embedder(n_threads, batch)
            .embed_files(
                &files,
                OnBroken::Refuse,
                Progress::new(&|n| done.lock().unwrap().push(n)),
                Cancel::default(),
            )
            .unwrap();
        let done = done.into_inner().unwrap();
        assert_eq!(done.last(), Some(&50));
        assert!(done.is_sorted() && done.len() == 50_usize.div_ceil(batch));
        for (number, row) in embedded.embeddings.rows().enumerate() {
            assert_eq!(embedded.embeddings.ids()[number], format!("photo-{number:03}"));
            assert!((row[0] - number as f32 / 255.0).abs() < 1e-6 && row[2] == 1.0, "{number}: {row:?}");
        }
        let first = first.get_or_insert_with(|| embedded.clone());
        assert_eq!(first.embeddings, embedded.embeddings);
    }
}

#[test]
fn broken_files_are_skipped_and_reported_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = photos(folder.path(), 20);
    let broken = broken_files(folder.path());
    for (number, (path, _)) in broken.iter().enumerate() {
        files.insert(number * 3, (format!("broken-{number}"), path.clone()));
    }
    for (n_threads, batch) in [(1, 1), (2, 4), (4, 100)] {
        let done = AtomicUsize::new(0);
        let embedded = embedder(n_threads, batch)
            .embed_files(
                &files,
                OnBroken::Skip,
                Progress::new(&|n| done.store(n, Ordering::Relaxed)),
                Cancel::default(),
            )
            .unwrap();
        assert_eq!(done.into_inner(), files.len());
        assert_eq!(embedded.embeddings.len(), 20);
        assert_eq!(embedded.broken.len(), broken.len());
        for (number, (found, (path, words))) in embedded.broken.iter().zip(&broken).enumerate() {
            assert_eq!((&found.id, &found.path), (&format!("broken-{number}"), path));
            assert_says(&found.reason, &[&path.display().to_string(), words]);
        }
    }
}

#[test]
fn a_list_of_nothing_but_broken_files_gives_no_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> =
        broken_files(folder.path()).into_iter().map(|(path, _)| (path.display().to_string(), path)).collect();
    let embedded = embed(&mut embedder(2, 2), &files, OnBroken::Skip).unwrap();
    assert!(embedded.embeddings.is_empty() && embedded.embeddings.width() == 3);
    assert_eq!(embedded.broken.len(), files.len());
    let nothing = embed(&mut embedder(2, 2), &[], OnBroken::Refuse).unwrap();
    assert!(nothing.embeddings.is_empty() && nothing.broken.is_empty());
}

#[test]
fn the_first_broken_file_of_the_list_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = photos(folder.path(), 40);
    for number in [17, 18, 35] {
        std::fs::write(&files[number].1, b"").unwrap();
    }
    files.push(("missing".into(), folder.path().join("missing.png")));
    for n_threads in [1, 4] {
        let error = embed(&mut embedder(n_threads, 4), &files, OnBroken::Refuse).unwrap_err();
        assert!(matches!(&error, Error::BrokenImage { id, .. } if id == "photo-017"), "{error}");
        assert_says(error, &["photo-017", "17.png", "empty"]);
    }
}

#[test]
fn an_image_over_the_limit_is_broken_and_not_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let files = photos(folder.path(), 1);
    let options = EmbedderOptions::cpu().with_limits(DecodeLimits { max_pixels: 5 });
    let mut embedder = Embedder::open(fixture("mean8"), options).unwrap();
    assert_says(embed(&mut embedder, &files, OnBroken::Refuse).unwrap_err(), &["0.png", "2 x 3", "5 pixels"]);
}

#[test]
fn ids_stand_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = photos(folder.path(), 3);
    files[2].0 = "photo-000".into();
    // Also where the file is broken: the list itself is wrong.
    std::fs::write(&files[2].1, b"").unwrap();
    let error = embed(&mut embedder(1, 1), &files, OnBroken::Skip).unwrap_err();
    assert!(matches!(error, Error::RepeatedId { .. }), "{error}");
    assert_says(error, &["'photo-000'", "0.png", "2.png"]);
}

#[test]
fn cancelling_stops_between_batches() {
    let folder = tempfile::tempdir().unwrap();
    let files = photos(folder.path(), 200);
    let done = AtomicUsize::new(0);
    let mut embedder = embedder(2, 10);
    let error = embedder
        .embed_files(
            &files,
            OnBroken::Refuse,
            Progress::new(&|n| done.store(n, Ordering::Relaxed)),
            Cancel::new(&|| done.load(Ordering::Relaxed) >= 30),
        )
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert_eq!(done.load(Ordering::Relaxed), 30);
    // The embedder is as good as new.
    assert_eq!(embed(&mut embedder, &files, OnBroken::Refuse).unwrap().embeddings.len(), 200);
}

#[test]
fn a_caller_that_holds_every_thread_of_rayon_does_not_wait_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let files = photos(folder.path(), 30);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let embedded = pool.install(|| embed(&mut embedder(2, 4), &files, OnBroken::Refuse)).unwrap();
    assert_eq!(embedded.embeddings.len(), 30);
}

#[test]
fn files_are_embedded_under_their_ids_until_it_is_cancelled() {
    let options = EmbedderOptions::cpu().with_batch(1);
    let mut embedder = Embedder::open(fixture("mean8"), options).unwrap();
    let path = |name: &str| fixture("photos").join(name);
    let (red, blue, none) = (path("red.png"), path("blue.png"), path("none.png"));
    let mut embed = |files: &[(&str, &Path)], n_wanted: usize| {
        let n_done = AtomicUsize::new(0);
        let tell = |n| n_done.store(n, Ordering::Relaxed);
        let is_enough = || n_done.load(Ordering::Relaxed) >= n_wanted;
        embedder.embeddings(Modality::Photo, files, Progress::new(&tell), Cancel::new(&is_enough))
    };
    let both = embed(&[("r", &red), ("b", &blue)], 2).unwrap();
    assert_eq!((both.ids()[0].as_str(), both.values()), ("b", &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0][..]));
    assert!(matches!(embed(&[("r", &red), ("b", &blue)], 1), Err(Error::Cancelled)));
    let broken = embed(&[("r", &red), ("n", &none)], 2);
    assert!(matches!(broken, Err(Error::BrokenImage { id, .. }) if id == "n"));
}
