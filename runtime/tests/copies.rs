//! Copies of galleries: of what is being written, whole, and on their own from then on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sketchfind::{Access, Filter, Gallery, GalleryOptions, OnExisting, Photo, verify};
use sketchfind_core::random::Stream;
use sketchfind_tests::folders;

use crate::store::{Model, embedding, empty, id, write};
use crate::{assert_says, fixture};

/// A gallery's states, each written down before its writer begins to make it.
#[derive(Default)]
struct History {
    states: Mutex<Vec<Model>>,
    n_acknowledged: Mutex<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    fn now(&self) -> Model {
        lock(&self.states).last().cloned().unwrap_or_default()
    }

    /// Makes `change`, which leads to `next`.
    fn make(&self, next: Model, change: impl FnOnce()) {
        lock(&self.states).push(next);
        change();
        *lock(&self.n_acknowledged) = lock(&self.states).len();
    }
}

/// Changes a gallery until it is told to stop: adds, replaces, removes, and writes its files anew.
fn write_on(gallery: &Gallery, history: &History, stop: &AtomicBool) {
    let mut stream = Stream::new(11, "copies", &[]);
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut next = history.now();
        match stream.below(10) {
            0..=4 => {
                let numbers: std::collections::BTreeSet<usize> =
                    (0..1 + stream.below(20)).map(|_| stream.below(300)).collect();
                let photo = |number: &usize| Photo::new(id(*number)).with_labels([format!("step {step}")]);
                let photos: Vec<Photo> = numbers.iter().map(photo).collect();
                let values: Vec<f32> = numbers.iter().flat_map(|number| embedding(number + step)).collect();
                for (photo, row) in photos.iter().zip(values.chunks(3)) {
                    next.0.insert(photo.id().to_owned(), (photo.clone(), row.to_vec()));
                }
                history.make(next, || gallery.replace(photos, values).unwrap());
            }
            5..=6 => {
                let ids: Vec<String> = (0..stream.below(30)).map(|_| id(stream.below(300))).collect();
                ids.iter().for_each(|id| drop(next.0.remove(id)));
                history.make(next, || assert!(gallery.remove(&ids).unwrap() <= ids.len()));
            }
            7..=8 => gallery.checkpoint().unwrap(),
            _ => gallery.compact_files().unwrap(),
        }
    }
}

#[test]
fn each_copy_of_a_gallery_that_is_written_is_a_state_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    let (history, stop) = (History::default(), AtomicBool::new(false));
    history.make(Model::default(), || ());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_on(&gallery, &history, &stop));
        let mut n_states = std::collections::BTreeSet::new();
        for number in 0..60 {
            let copy = folder.path().join(format!("copy {}", number % 3));
            let before = *lock(&history.n_acknowledged) - 1;
            let copied = Gallery::copy(&path, &copy, OnExisting::Replace).unwrap();
            let after = lock(&history.states).len();
            let opened = Gallery::open(&copy).unwrap();
            let snapshot = opened.snapshot();
            assert_eq!(copied.n_photos, snapshot.len());
            let found: Vec<_> = snapshot.photos().map(|(photo, row)| (photo.clone(), row.to_vec())).collect();
            let states = lock(&history.states)[before..after].to_vec();
            let is_state = |state: &Model| state.0.values().eq(found.iter());
            assert!(
                states.iter().any(is_state),
                "copy {number} has {} photos and is none of the {} states of its time",
                found.len(),
                states.len()
            );
            n_states.insert(after);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(n_states.len() > 20, "the writer was at work: {} states", n_states.len());
    });
    // Nothing half-made is left beside them.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    history.now().assert_is(&gallery);
}

/// A gallery of 30 photos, some in a segment, some in the log, one removed from each.
fn mixed(path: &Path) -> Model {
    let gallery = empty(path);
    let mut model = Model::default();
    for numbers in [0..20, 20..30] {
        let photos: Vec<Photo> =
            numbers.clone().map(|number| Photo::new(id(number)).with_source("shop/a.jpg")).collect();
        let values: Vec<f32> = numbers.clone().flat_map(embedding).collect();
        for (photo, row) in photos.iter().zip(values.chunks(3)) {
            model.0.insert(photo.id().to_owned(), (photo.clone(), row.to_vec()));
        }
        gallery.add(photos, values).unwrap();
        if numbers.start == 0 {
            gallery.checkpoint().unwrap();
        }
    }
    for gone in [3, 25].map(id) {
        model.0.remove(&gone);
        gallery.remove(&[gone]).unwrap();
    }
    model
}

#[test]
fn a_copy_and_its_original_go_their_own_ways() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy, second] = ["gallery", "copy", "second"].map(|name| folder.path().join(name));
    let model = mixed(&path);
    let copied = Gallery::open(&path).unwrap().copy_to(&copy, OnExisting::Refuse).unwrap();
    assert_eq!(copied.n_photos, model.0.len());
    // The segment and the model are shared; the log and gallery.json are its own.
    assert!(!cfg!(unix) || copied.n_own == 2 && copied.n_shared > 2, "{copied:?}");
    model.assert_is(&Gallery::open(&copy).unwrap());
    assert!(verify(copy.join("model"), sketchfind::Device::Cpu).unwrap().passed);

    // Each is written, and neither sees it of the other.
    let (own, other) = (write(&path), write(&copy));
    own.add(vec![Photo::new("original")], embedding(1)).unwrap();
    other.add(vec![Photo::new("copy")], embedding(2)).unwrap();
    own.remove(&[id(0)]).unwrap();
    own.compact(Default::default(), Default::default()).unwrap();
    drop((own, other));
    let has = |path: &Path, id: &str| Gallery::open(path).unwrap().snapshot().photo(id).is_some();
    assert!(has(&path, "original") && !has(&path, "copy") && !has(&path, &id(0)));
    assert!(has(&copy, "copy") && !has(&copy, "original") && has(&copy, &id(0)));

    // A copy of a copy outlives both.
    Gallery::copy(&copy, &second, OnExisting::Refuse).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::remove_dir_all(&copy).unwrap();
    assert!(has(&second, "copy") && has(&second, &id(0)));
    let opened = Gallery::open(&second).unwrap();
    assert_eq!(opened.snapshot().search(&embedding(2), 1, &Filter::everything()).unwrap()[0].id, "copy");
}

#[test]
fn a_record_that_was_not_finished_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("gallery"), folder.path().join("copy"));
    let model = mixed(&path);
    let log = std::fs::read_dir(path.join("log")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&log).unwrap();
    for torn in [&b"\x10"[..], &[0x55; 300]] {
        std::fs::write(&log, [&whole, torn].concat()).unwrap();
        Gallery::copy(&path, &copy, OnExisting::Replace).unwrap();
        model.assert_is(&Gallery::open(&copy).unwrap());
        let copied = std::fs::read(copy.join("log").join(log.file_name().unwrap())).unwrap();
        assert_eq!(copied.len(), whole.len());
    }
}

#[test]
fn what_cannot_be_copied_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("gallery"), folder.path().join("other"));
    let model = mixed(&path);
    let refuse = |from: &Path, to: &Path, on_existing, parts: &[&str]| {
        let entries = || std::fs::read_dir(folder.path()).unwrap().count();
        let before = entries();
        let error = Gallery::copy(from, to, on_existing).unwrap_err();
        assert_says(&error, parts);
        assert_eq!(entries(), before, "{error}");
    };
    // To where something is.
    refuse(&path, &path, OnExisting::Replace, &["cannot lie in the gallery, or be it"]);
    refuse(&path, &path.join("model/copy"), OnExisting::Replace, &["cannot lie in the gallery"]);
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis.tex"), "years of work").unwrap();
    refuse(&path, &other, OnExisting::Replace, &["other", "something else is there"]);
    let taken = folder.path().join("taken");
    Gallery::create_empty(&taken, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    refuse(&path, &taken, OnExisting::Refuse, &["taken", "a gallery is there already"]);
    let held = write(&taken);
    refuse(&path, &taken, OnExisting::Replace, &["taken", "another writer has it"]);
    drop(held);
    assert!(Gallery::open(&taken).unwrap().is_empty());

    // Of what is none, or damaged: a copy is checked before it takes its place.
    refuse(&other, &folder.path().join("copy"), OnExisting::Refuse, &["other", "it is no gallery"]);
    let damaged = folder.path().join("damaged");
    folders::copy(&path, &damaged).unwrap();
    let model_file = damaged.join("model/model.onnx");
    let mut bytes = std::fs::read(&model_file).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&model_file, bytes).unwrap();
    refuse(&damaged, &taken, OnExisting::Replace, &["model.onnx"]);
    let segment = "segments/00000001.rows";
    let mut bytes = std::fs::read(path.join(segment)).unwrap();
    bytes[4100] ^= 1;
    folders::copy(&path, &damaged).unwrap();
    std::fs::write(damaged.join(segment), &bytes).unwrap();
    refuse(&damaged, &taken, OnExisting::Replace, &["damaged", segment, "is damaged"]);
    std::fs::remove_file(damaged.join(segment)).unwrap();
    refuse(&damaged, &taken, OnExisting::Replace, &[segment]);
    assert!(Gallery::open(&taken).unwrap().is_empty(), "what was to be replaced is there");

    Gallery::copy(&path, &taken, OnExisting::Replace).unwrap();
    model.assert_is(&Gallery::open_with(&taken, Access::Write).unwrap());
}
