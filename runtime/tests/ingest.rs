//! Files into a gallery: what is in already, what is there twice, what is broken, and what is left after an interruption.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sketchfind::{
    Cancel, EmbedderOptions, Error, Gallery, GalleryOptions, IngestOptions, Ingested, OnBroken,
    OnOtherSource, Photo, PhotoFile, Progress, Retriever, RetrieverOptions,
};
use sketchfind_core::image::Image;

use crate::{assert_says, fixture};

/// An empty gallery, open for writing, on some threads and with some batch.
fn open(path: &Path, n_threads: usize, batch: usize) -> Retriever {
    if !path.exists() {
        Gallery::create_empty(path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    }
    let options = EmbedderOptions::cpu().with_batch(batch).with_threads(n_threads);
    Retriever::open(path, RetrieverOptions::new(options).writable()).unwrap()
}

/// A file of one colour under its name.
fn file(folder: &Path, name: &str, red: u8, green: u8) -> PhotoFile {
    let image = Image::new(2, 2, [red, green, 7].repeat(4)).unwrap();
    of_bytes(folder, name, &image.to_png().unwrap())
}

fn of_bytes(folder: &Path, name: &str, bytes: &[u8]) -> PhotoFile {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    PhotoFile::new(Photo::new(name).with_source(&path), path)
}

/// Numbered files with a content each.
fn numbered(folder: &Path, n: usize) -> Vec<PhotoFile> {
    (0..n)
        .map(|number| file(folder, &format!("{number:04}"), (number % 256) as u8, (number / 256) as u8))
        .collect()
}

fn ingest(retriever: &Retriever, files: &[PhotoFile], on_broken: OnBroken) -> Result<Ingested, Error> {
    retriever.ingest(files, on_broken, Progress::default(), Cancel::default())
}

/// The red and green of each photo, by what the model gives.
fn colours(retriever: &Retriever) -> Vec<(String, u8, u8)> {
    let level = |value: f32| (value * 255.0).round() as u8;
    let snapshot = retriever.gallery().folder().unwrap().snapshot();
    snapshot.photos().map(|(photo, row)| (photo.id().to_owned(), level(row[0]), level(row[1]))).collect()
}

#[test]
fn every_file_is_in_under_its_own_embedding_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let files = numbered(folder.path(), 600);
    let expected: Vec<_> =
        (0..600).map(|number| (format!("{number:04}"), (number % 256) as u8, (number / 256) as u8)).collect();
    for (n_threads, batch) in [(1, 8), (2, 7), (5, 1), (12, 3), (3, 100)] {
        let gallery = tempfile::tempdir().unwrap();
        let retriever = open(&gallery.path().join("gallery"), n_threads, batch);
        let (told, n) = (Mutex::new(Vec::new()), files.len());
        let tell = |n| told.lock().unwrap().push(n);
        let ingest = || retriever.ingest(&files, OnBroken::Refuse, Progress::new(&tell), Cancel::default());
        let done = ingest().unwrap();
        assert_eq!(done, Ingested { n_added: n, ..Ingested::default() });
        assert_eq!(colours(&retriever), expected);
        let first = std::mem::take(&mut *told.lock().unwrap());
        assert!(first.is_sorted() && first.last() == Some(&n));
        // Once more: nothing to do, and progress all the same.
        let done = ingest().unwrap();
        assert_eq!(done, Ingested { n_unchanged: n, ..Ingested::default() });
        let again = told.lock().unwrap();
        assert!(again.len() > 1 && again.last() == Some(&n));
    }
}

#[test]
fn a_content_is_embedded_once_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = tempfile::tempdir().unwrap();
    let retriever = open(&gallery.path().join("gallery"), 2, 3);
    // Every content thrice: in one batch, some batches later, and long after it was written.
    let mut files = Vec::new();
    for number in 0..400_usize {
        files.push(file(folder.path(), &format!("{number:04}"), (number % 2) as u8, (number / 200) as u8));
    }
    let done = ingest(&retriever, &files, OnBroken::Refuse).unwrap();
    assert_eq!(done, Ingested { n_added: 400, n_known: 396, ..Ingested::default() });
    for (number, (_, red, green)) in colours(&retriever).into_iter().enumerate() {
        assert_eq!((red, green), ((number % 2) as u8, (number / 200) as u8), "{number}");
    }
    // Another id for what the gallery has.
    let more = [file(folder.path(), "more", 1, 1)];
    let done = ingest(&retriever, &more, OnBroken::Refuse).unwrap();
    assert_eq!(done, Ingested { n_added: 1, n_known: 1, ..Ingested::default() });
    // Another content under an id that is there, and labels alone.
    let mut changed = vec![file(folder.path(), "0000", 9, 9), file(folder.path(), "0001", 1, 0)];
    changed[1].photo = changed[1].photo.clone().with_labels(["new"]);
    let done = ingest(&retriever, &changed, OnBroken::Refuse).unwrap();
    assert_eq!(done, Ingested { n_replaced: 2, n_known: 1, ..Ingested::default() });
    assert_eq!(colours(&retriever)[0], ("0000".into(), 9, 9));
    assert!(retriever.photo("0001").unwrap().unwrap().labels().contains("new"));
}

/// Photos that were given no labels keep theirs, changed or not.
#[test]
fn labels_that_are_not_given_stay() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = tempfile::tempdir().unwrap();
    let retriever = open(&gallery.path().join("gallery"), 1, 2);
    let mut files = numbered(folder.path(), 3);
    for file in &mut files {
        file.photo = file.photo.clone().with_labels(["red"]);
    }
    ingest(&retriever, &files, OnBroken::Refuse).unwrap();
    let mut again = numbered(folder.path(), 3);
    again[1] = file(folder.path(), "0001", 99, 99);
    let changes = retriever.look().changes(&again, 1 << 20).unwrap();
    assert_eq!((changes.replaced.as_slice(), changes.n_unchanged), (&["0001".to_owned()][..], 2));
    let done = ingest(&retriever, &again, OnBroken::Refuse).unwrap();
    assert_eq!(done, Ingested { n_unchanged: 2, n_replaced: 1, ..Ingested::default() });
    assert!(
        retriever
            .gallery()
            .folder()
            .unwrap()
            .snapshot()
            .photos()
            .all(|(photo, _)| photo.labels().iter().eq(["red"]))
    );
    // Given as empty, they go.
    again[2].photo = again[2].photo.clone().with_labels(Vec::<String>::new());
    let done = ingest(&retriever, &again, OnBroken::Refuse).unwrap();
    assert_eq!((done.n_replaced, done.n_known), (1, 1));
    assert!(retriever.photo("0002").unwrap().unwrap().labels().is_empty());
}

/// What would replace another folder's picture is refused before anything is changed.
#[test]
fn two_sources_do_not_collide_in_silence() {
    let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let gallery = tempfile::tempdir().unwrap();
    let retriever = open(&gallery.path().join("gallery"), 1, 2);
    ingest(&retriever, &[file(a.path(), "same", 1, 1), file(a.path(), "other", 2, 2)], OnBroken::Refuse)
        .unwrap();
    let more = [file(b.path(), "new", 3, 3), file(b.path(), "other", 4, 4), file(b.path(), "same", 5, 5)];
    let error = ingest(&retriever, &more, OnBroken::Skip).unwrap_err();
    let [there, given] =
        [a.path().join("other"), b.path().join("other")].map(|path| path.display().to_string());
    assert_says(&error, &["'other'", &there, &given, "1 more"]);
    assert!(matches!(error, Error::OtherSource { .. }));
    assert_eq!(colours(&retriever), [("other".into(), 2, 2), ("same".into(), 1, 1)]);
    // A changed picture of the same file is no collision, nor is it by another path to the file.
    let through_a_dot = a.path().join(".").join("other");
    let by_another = PhotoFile::new(Photo::new("other").with_source(through_a_dot), a.path().join("other"));
    file(a.path(), "other", 6, 6);
    assert_eq!(ingest(&retriever, &[by_another], OnBroken::Refuse).unwrap().n_replaced, 1);
    // Nor the same picture elsewhere: its folder was moved.
    assert_eq!(ingest(&retriever, &[file(b.path(), "other", 6, 6)], OnBroken::Refuse).unwrap().n_known, 1);
    // A photo that somebody has added without a file is another source too.
    retriever.add(Photo::new("drawn"), &Image::new(1, 1, vec![1; 3]).unwrap()).unwrap();
    let error = ingest(&retriever, &[file(b.path(), "drawn", 7, 7)], OnBroken::Refuse).unwrap_err();
    assert_says(&error, &["'drawn'", "from elsewhere"]);
    // Who means it says so.
    let options = IngestOptions::from(OnBroken::Refuse).with_other_sources(OnOtherSource::Replace);
    let done = retriever.ingest(&more, options, Progress::default(), Cancel::default()).unwrap();
    assert_eq!((done.n_added, done.n_replaced, done.n_unchanged), (1, 1, 1));
    assert_eq!(colours(&retriever).last(), Some(&("same".into(), 5, 5)));
}

#[test]
fn broken_files_are_named_in_their_order_and_each_by_its_own_path() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = tempfile::tempdir().unwrap();
    let retriever = open(&gallery.path().join("gallery"), 3, 4);
    let mut files = numbered(folder.path(), 60);
    // Of one content, so that all but the first are not even tried.
    for number in [3, 4, 5, 33, 59] {
        files[number] = of_bytes(folder.path(), &format!("{number:04}"), b"no image");
    }
    files[40].path = folder.path().join("missing.png");
    let done = ingest(&retriever, &files, OnBroken::Skip).unwrap();
    assert_eq!(done.n_added, 54);
    let ids: Vec<&str> = done.broken.iter().map(|broken| broken.id.as_str()).collect();
    assert_eq!(ids, ["0003", "0004", "0005", "0033", "0040", "0059"]);
    for broken in &done.broken {
        assert_says(&broken.reason, &[&broken.path.display().to_string()]);
    }
    // To refuse the first is to keep all before it, and nothing behind it.
    let gallery = tempfile::tempdir().unwrap();
    let retriever = open(&gallery.path().join("gallery"), 3, 4);
    let error = ingest(&retriever, &files, OnBroken::Refuse).unwrap_err();
    assert!(matches!(&error, Error::BrokenImage { id, .. } if id == "0003"), "{error}");
    assert_eq!(retriever.len().unwrap(), 3);
}

#[test]
fn what_was_done_before_an_interruption_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = tempfile::tempdir().unwrap();
    let path = gallery.path().join("gallery");
    let files = numbered(folder.path(), 100);
    let retriever = open(&path, 2, 4);
    let n_told = AtomicUsize::new(0);
    let error = retriever
        .ingest(
            &files,
            OnBroken::Refuse,
            Progress::new(&|n| n_told.store(n, Ordering::Relaxed)),
            Cancel::new(&|| n_told.load(Ordering::Relaxed) >= 20),
        )
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert_eq!((n_told.into_inner(), retriever.len().unwrap()), (20, 20));
    drop(retriever);
    let retriever = open(&path, 2, 4);
    let done = ingest(&retriever, &files, OnBroken::Refuse).unwrap();
    assert_eq!((done.n_unchanged, done.n_added), (20, 80));
}

#[test]
fn what_somebody_removes_meanwhile_is_embedded_again_where_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = tempfile::tempdir().unwrap();
    let retriever = open(&gallery.path().join("gallery"), 1, 1);
    let mut files = numbered(folder.path(), 300);
    files.push(file(folder.path(), "like 0000", 0, 0));
    let done = retriever
        .ingest(
            &files,
            OnBroken::Refuse,
            Progress::new(&|n| {
                if n == 299 {
                    assert_eq!(retriever.remove(&["0000"]).unwrap(), 1);
                }
            }),
            Cancel::default(),
        )
        .unwrap();
    assert_eq!((done.n_added, done.n_known), (301, 0));
    assert_eq!(colours(&retriever).last(), Some(&("like 0000".into(), 0, 0)));
    assert!(retriever.photo("0000").unwrap().is_none());
}

#[test]
fn files_that_are_too_long_or_too_large_are_broken_ones() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = tempfile::tempdir().unwrap();
    let path = gallery.path().join("gallery");
    drop(open(&path, 1, 1));
    let mut options = EmbedderOptions::cpu();
    options.limits.max_pixels = 5;
    let retriever = Retriever::open(&path, RetrieverOptions::new(options).writable()).unwrap();
    let small = file(folder.path(), "small", 1, 2);
    let large = Image::new(3, 2, vec![9; 18]).unwrap();
    let large = of_bytes(folder.path(), "large", &large.to_png().unwrap());
    // A hole in a file: it takes no room on the disk.
    let long: PathBuf = folder.path().join("long");
    std::fs::File::create(&long).unwrap().set_len(1 << 33).unwrap();
    let long = PhotoFile::new(Photo::new("long"), long);
    let done = ingest(&retriever, &[small, large], OnBroken::Skip).unwrap();
    assert_eq!((done.n_added, done.broken.len()), (1, 1));
    assert_says(&done.broken[0].reason, &["large", "3 x 2", "limit of 5 pixels"]);
    let error =
        retriever.ingest(&[long], OnBroken::Refuse, Progress::default(), Cancel::default()).unwrap_err();
    assert_says(error, &["long", "bytes", "5 pixels"]);
}
