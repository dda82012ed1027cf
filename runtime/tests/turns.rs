//! A gallery that several programs have open: they write by turns, and see what the others have written.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sketchfind::{
    Access, Error, Filter, Gallery, GalleryOptions, Nothing, Photo, Retriever, RetrieverOptions,
};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::random::Stream;
use sketchfind_tests::folders;

use crate::store::{Model, embedding, empty, id, write};
use crate::{assert_says, fixture};

fn by_turns(path: &Path) -> Gallery {
    Gallery::open_with(path, Access::Turns).unwrap()
}

#[test]
fn any_history_of_turns_is_seen_by_all() {
    for seed in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery");
        drop(empty(&path));
        let writers = [by_turns(&path), by_turns(&path)];
        let reader = Gallery::open(&path).unwrap();
        let mut model = Model::default();
        let mut stream = Stream::new(seed, "turns", &[]);
        for step in 0..60 {
            let writer = &writers[stream.below(2)];
            match stream.below(10) {
                0..=4 => {
                    let numbers: Vec<usize> = (0..1 + stream.below(4)).map(|_| stream.below(40)).collect();
                    let mut numbers = numbers;
                    numbers.sort_unstable();
                    numbers.dedup();
                    let photos: Vec<Photo> = numbers
                        .iter()
                        .map(|&number| Photo::new(id(number)).with_labels([format!("step {step}")]))
                        .collect();
                    let values: Vec<f32> =
                        numbers.iter().flat_map(|&number| embedding(number + 100 * step)).collect();
                    writer.replace(photos.clone(), values.clone()).unwrap();
                    for (photo, row) in photos.into_iter().zip(values.chunks(3)) {
                        model.0.insert(photo.id().to_owned(), (photo, row.to_vec()));
                    }
                }
                5..=6 => {
                    let ids: Vec<String> = (0..stream.below(6)).map(|_| id(stream.below(40))).collect();
                    let before = model.0.len();
                    ids.iter().for_each(|id| drop(model.0.remove(id)));
                    assert_eq!(writer.remove(&ids).unwrap(), before - model.0.len());
                }
                7 => writer.checkpoint().unwrap(),
                8 => writer.compact(Default::default(), Default::default()).unwrap(),
                // One that keeps the lock, while the others have the gallery open.
                _ => {
                    let kept = write(&path);
                    let photo = Photo::new(id(0)).with_labels(["kept"]);
                    kept.replace(vec![photo.clone()], embedding(step)).unwrap();
                    model.0.insert(id(0), (photo, embedding(step)));
                }
            }
            // Not each of them looks each time: what it has missed is more than one change.
            for gallery in writers.iter().chain([&reader]).filter(|_| stream.below(3) > 0) {
                gallery.refresh().unwrap();
                assert!(!gallery.refresh().unwrap(), "a second look finds nothing new");
                model.assert_is(gallery);
            }
        }
        for gallery in writers.iter().chain([&reader]) {
            gallery.refresh().unwrap();
            model.assert_is(gallery);
        }
        model.assert_is(&Gallery::open(&path).unwrap());
    }
}

#[test]
fn the_lock_is_held_for_a_change_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let kept = empty(&path);
    let turns = by_turns(&path);
    let refused = turns.add(vec![Photo::new("a")], embedding(0)).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    assert!(matches!(turns.remove(&["a"]), Err(Error::Locked { .. })));
    assert!(matches!(turns.compact(Default::default(), Default::default()), Err(Error::Locked { .. })));
    kept.add(vec![Photo::new("b")], embedding(1)).unwrap();
    // A reader's look needs no lock.
    assert!(turns.refresh().unwrap());
    drop(kept);
    turns.add(vec![Photo::new("a")], embedding(0)).unwrap();
    assert_eq!(turns.len(), 2);
    let there = turns.add(vec![Photo::new("a")], embedding(0)).unwrap_err();
    assert!(matches!(there, Error::PhotoExists { .. }), "{there}");
    // It is given back after a failure too.
    assert_eq!(write(&path).len(), 2);
    // What a writer that died had begun is cut off, and nothing is written behind it.
    let log = std::fs::read_dir(path.join("log")).unwrap().next().unwrap().unwrap().path();
    let mut torn = std::fs::read(&log).unwrap();
    torn.extend_from_slice(&[7; 33]);
    std::fs::write(&log, torn).unwrap();
    turns.add(vec![Photo::new("c")], embedding(2)).unwrap();
    assert_eq!((turns.len(), Gallery::open(&path).unwrap().len()), (3, 3));
    // A gallery that may only be read stays so.
    assert!(matches!(Gallery::open(&path).unwrap().remove(&["a"]), Err(Error::ReadOnly { .. })));
}

#[test]
fn an_earlier_format_is_brought_up_by_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    folders::copy(&fixture("gallery-v2"), &path).unwrap();
    let turns = by_turns(&path);
    let (n, reader) = (turns.len(), Gallery::open(&path).unwrap());
    assert_eq!(turns.manifest().format, 2);
    turns.add(vec![Photo::new("new")], embedding(0)).unwrap();
    turns.checkpoint().unwrap();
    assert_eq!((turns.manifest().format, turns.len()), (6, n + 1));
    assert!(reader.refresh().unwrap());
    assert_eq!((reader.manifest().format, reader.len()), (6, n + 1));
}

/// Writes a gallery of `n` photos in the place of whatever is there.
fn create(path: &Path, model: &str, first: usize, n: usize) {
    let ids = (0..n).map(id).collect();
    let values = (0..n).flat_map(|number| embedding(first + number)).collect();
    let embeddings = Embeddings::new(ids, 3, values).unwrap();
    Gallery::create(path, fixture(model), &embeddings, None, &GalleryOptions::exact("test")).unwrap();
}

#[test]
fn a_gallery_in_the_place_of_another_is_known_as_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path, "mean8", 0, 4);
    let words = std::fs::read(path.join("gallery.json")).unwrap();
    let readers = [Gallery::open(&path).unwrap(), by_turns(&path)];
    // Another one that has the same words, numbers and names in it, and other embeddings.
    create(&path, "mean8", 50, 4);
    assert_eq!(std::fs::read(path.join("gallery.json")).unwrap(), words);
    let before = readers[0].snapshot();
    for reader in &readers {
        assert!(reader.refresh().unwrap());
        assert_eq!(reader.snapshot().embedding(&id(2)).unwrap(), embedding(52));
    }
    // Who has begun with the old one goes on with it.
    assert_eq!(before.embedding(&id(2)).unwrap(), embedding(2));
    // One that is moved into its place, and a change that sees it first.
    let other = folder.path().join("other");
    create(&other, "mean8", 80, 3);
    Gallery::install(&other, &path).unwrap();
    readers[1].add(vec![Photo::new("new")], embedding(9)).unwrap();
    assert_eq!(readers[1].len(), 4);
    assert!(readers[0].refresh().unwrap());
    assert_eq!(readers[0].snapshot().embedding(&id(2)).unwrap(), embedding(82));

    // One of another model is refused, by a look and by a change, and what was read stays.
    create(&path, "pixels8", 0, 2);
    for reader in &readers {
        let refused = reader.refresh().unwrap_err();
        assert!(matches!(refused, Error::OtherModel { .. }));
        assert_says(refused, &["gallery", "its model was replaced", "open it anew"]);
        assert_eq!(reader.len(), 4);
    }
    assert!(matches!(readers[1].remove(&[id(0)]), Err(Error::OtherModel { .. })));
    assert_eq!(Gallery::open(&path).unwrap().len(), 2);
    // The same network behind another card is another model: it may look at pictures otherwise.
    create(&path, "mean8", 0, 2);
    let reader = Gallery::open(&path).unwrap();
    let model = folder.path().join("model");
    folders::copy(&fixture("mean8"), &model).unwrap();
    let card = std::fs::read_to_string(model.join("card.json")).unwrap();
    std::fs::write(model.join("card.json"), card.replace("mean8, a fixture", "mean8, another")).unwrap();
    Gallery::create_empty(&path, &model, &GalleryOptions::exact("test")).unwrap();
    assert!(matches!(reader.refresh(), Err(Error::OtherModel { .. })));
    // Where there is none for a moment, what was read stays, and the next look finds it again.
    let away = folder.path().join("away");
    create(&path, "mean8", 0, 2);
    std::fs::rename(&path, &away).unwrap();
    assert!(reader.refresh().is_err());
    assert_eq!(reader.len(), 2);
    std::fs::rename(&away, &path).unwrap();
    reader.refresh().unwrap();
}

/// A look reads what is new: segments that are there already stay, with all that was made for searching them.
#[test]
fn what_was_read_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path, "mean8", 0, 4);
    let reader = Gallery::open(&path).unwrap();
    let place = |gallery: &Gallery| gallery.snapshot().embedding(&id(1)).unwrap().as_ptr();
    let before = place(&reader);
    let writer = write(&path);
    writer.add(vec![Photo::new("new")], embedding(7)).unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!((place(&reader), reader.len()), (before, 5));
    writer.remove(&[id(3)]).unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!((place(&reader), reader.len()), (before, 4));
    // Into another file, which is read.
    writer.compact(Default::default(), Default::default()).unwrap();
    assert!(reader.refresh().unwrap());
    assert_ne!(place(&reader), before);
    assert_eq!(reader.snapshot().embedding(&id(1)).unwrap(), embedding(1));
}

#[test]
fn threads_and_galleries_that_write_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    drop(empty(&path));
    let galleries = [by_turns(&path), by_turns(&path)];
    let (is_done, reader) = (AtomicBool::new(false), Gallery::open(&path).unwrap());
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_usize)
            .map(|thread| {
                let gallery = &galleries[thread % 2];
                scope.spawn(move || {
                    for number in 0..15 {
                        let number = 100 * thread + number;
                        // It is somebody else's turn now and then.
                        while let Err(error) = gallery.add(vec![Photo::new(id(number))], embedding(number)) {
                            assert!(matches!(error, Error::Locked { .. }), "{error}");
                            std::thread::yield_now();
                        }
                        if number % 10 == 7 {
                            let _its_turn_or_not = gallery.checkpoint();
                        }
                    }
                })
            })
            .collect();
        let (is_done, reader) = (&is_done, &reader);
        let follows = scope.spawn(move || {
            let mut n = 0;
            while !is_done.load(Ordering::Relaxed) {
                reader.refresh().unwrap();
                assert!(reader.len() >= n, "what was there is there");
                n = reader.len();
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_done.store(true, Ordering::Relaxed);
        follows.join().unwrap();
    });
    reader.refresh().unwrap();
    for gallery in galleries.iter().chain([&reader, &Gallery::open(&path).unwrap()]) {
        gallery.refresh().unwrap();
        assert_eq!(gallery.len(), 60);
        assert_eq!(gallery.snapshot().embedding(&id(307)).unwrap(), embedding(307));
    }
}

#[test]
fn a_retriever_follows_and_changes_by_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    drop(empty(&path));
    let turns = Retriever::open(&path, RetrieverOptions::cpu().by_turns()).unwrap();
    let follows = Retriever::open(&path, RetrieverOptions::cpu()).unwrap();
    let red = sketchfind_core::image::Image::new(1, 1, vec![255, 0, 0]).unwrap();
    turns.add(Photo::new("red"), &red).unwrap();
    assert!(follows.query(&red, 1).unwrap().is_empty());
    assert!(follows.refresh().unwrap() && !turns.refresh().unwrap());
    assert_eq!(follows.query(&red, 1).unwrap()[0].id, "red");
}

#[test]
fn why_nothing_is_found_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    let why = |filter: Filter| gallery.snapshot().why_nothing(&filter);
    let all = Filter::everything;
    assert_eq!(why(all().any_label(["x"])), Some(Nothing::EmptyGallery));
    let photo = |id: &str, labels: &[&str]| Photo::new(id).with_labels(labels.iter().copied());
    let photos = vec![photo("a", &["boots", "red"]), photo("b", &["hats", "red"]), photo("c", &["gone"])];
    gallery.add(photos, [embedding(0), embedding(1), embedding(2)].concat()).unwrap();
    gallery.remove(&["c"]).unwrap();
    assert_eq!(why(all()), None);
    assert_eq!(why(all().any_label(["boots", "bots"])), None);
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let label = |labels: &[&str]| Some(Nothing::NoSuchLabel(texts(labels)));
    assert_eq!(why(all().any_label(["bots", "hts"])), label(&["bots", "hts"]));
    assert_eq!(why(all().every_label(["boots", "bleu"])), label(&["bleu"]));
    // That of a photo that was removed is none.
    assert_eq!(why(all().every_label(["gone"])), label(&["gone"]));
    assert_eq!(why(all().only_ids(["c", "d"])), Some(Nothing::NoSuchId(texts(&["c", "d"]))));
    for none in [
        all().every_label(["boots", "hats"]),
        all().without_label(["red"]),
        all().only_ids(["a", "never"]).any_label(["hats"]),
        all().without_ids(["a", "b"]),
    ] {
        assert_eq!(why(none), Some(Nothing::Filter { n_photos: 2 }));
    }
    let said = |nothing: Option<Nothing>| nothing.unwrap().to_string();
    assert_eq!(said(label(&["a"])), "no photo has the label 'a'");
    assert_eq!(said(label(&["a", "b", "c"])), "no photo has the label 'a', 'b' or 'c'");
    let many: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    let many = Some(Nothing::NoSuchId(many));
    assert_eq!(said(many), "the gallery has no photo '0', '1', '2', '3', '4' or 4 others");
    assert_eq!(said(why(all().without_label(["red"]))), "the filter leaves none of the 2 photos");
}
