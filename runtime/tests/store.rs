//! The gallery as a store: what is acknowledged is there, what is torn is not, what is damaged is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sketchfind::home::Home;
use sketchfind::{Access, Error, Filter, Gallery, GalleryOptions, HnswParameters, IndexSpec, Photo};
use sketchfind_core::random::Stream;

use crate::{assert_says, fixture};

/// Makes an empty gallery of mean8, whose embeddings are 3 wide, and opens it for writing.
pub(crate) fn empty(path: &Path) -> Gallery {
    Gallery::create_empty(path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    write(path)
}

pub(crate) fn write(path: &Path) -> Gallery {
    Gallery::open_with(path, Access::Write).unwrap()
}

/// The embedding that tests give the photo `number`.
pub(crate) fn embedding(number: usize) -> Vec<f32> {
    let mut stream = Stream::new(5, "store", &[number as u64]);
    (0..3).map(|_| stream.unit() as f32).collect()
}

pub(crate) fn id(number: usize) -> String {
    format!("photo {number:05}")
}

/// The one log of a gallery.
fn log_of(gallery: &Path) -> PathBuf {
    let logs: Vec<_> = std::fs::read_dir(gallery.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs[0].clone()
}

/// What a gallery holds, by a second and independent way of keeping it.
#[derive(Clone, Default)]
pub(crate) struct Model(pub(crate) BTreeMap<String, (Photo, Vec<f32>)>);

impl Model {
    #[track_caller]
    pub(crate) fn assert_is(&self, gallery: &dyn Home) {
        let look = gallery.look();
        let mut found: Vec<(Photo, Vec<f32>)> = Vec::new();
        let each = look.each_row(&mut |photo, row| {
            found.push((photo.clone(), row.to_vec()));
            Ok(())
        });
        each.unwrap();
        let expected: Vec<(Photo, Vec<f32>)> = self.0.values().cloned().collect();
        assert_eq!(found, expected);
        assert_eq!(look.len().unwrap(), expected.len());
        let ids: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let rows = look.rows(&ids).unwrap().into_iter().map(|row| row.map(|row| (row.photo, row.embedding)));
        assert!(rows.eq(expected.iter().cloned().map(Some)));
        let photos = look.photos(&ids).unwrap();
        assert!(photos.iter().map(Option::as_ref).eq(expected.iter().map(|(photo, _)| Some(photo))));
    }
}

#[test]
fn any_history_of_changes_is_there_after_opening_again() {
    for seed in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery");
        let mut gallery = empty(&path);
        let mut model = Model::default();
        let mut stream = Stream::new(seed, "history", &[]);
        for step in 0..120 {
            match stream.below(12) {
                0..=5 => {
                    let n = 1 + stream.below(4);
                    let numbers: Vec<usize> = (0..n).map(|_| stream.below(60)).collect();
                    let photos: Vec<Photo> = numbers
                        .iter()
                        .map(|&number| {
                            let photo = Photo::new(id(number)).with_labels([format!("step {step}")]);
                            photo.with_product(if step % 2 == 0 {
                                format!("product {step}")
                            } else {
                                String::new()
                            })
                        })
                        .collect();
                    let values: Vec<f32> =
                        numbers.iter().flat_map(|number| embedding(number * 1000 + step)).collect();
                    let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
                    let replace = stream.below(2) == 0;
                    let free = numbers.iter().all(|&number| !model.0.contains_key(&id(number)));
                    let lawful = distinct.len() == n && (replace || free);
                    let result = if replace {
                        gallery.replace(photos.clone(), values.clone())
                    } else {
                        gallery.add(photos.clone(), values.clone())
                    };
                    assert_eq!(result.is_ok(), lawful, "{result:?}");
                    if lawful {
                        for (photo, row) in photos.into_iter().zip(values.chunks(3)) {
                            model.0.insert(photo.id().to_owned(), (photo, row.to_vec()));
                        }
                    }
                }
                6..=8 => {
                    let ids: Vec<String> = (0..stream.below(6)).map(|_| id(stream.below(60))).collect();
                    let before = model.0.len();
                    ids.iter().for_each(|id| drop(model.0.remove(id)));
                    assert_eq!(gallery.remove(&ids).unwrap(), before - model.0.len());
                }
                9 => gallery.checkpoint().unwrap(),
                10 => {
                    gallery.compact(Default::default(), Default::default()).unwrap();
                    assert_eq!(gallery.snapshot().n_removed(), 0);
                }
                _ => {
                    drop(gallery);
                    model.assert_is(&Gallery::open(&path).unwrap());
                    gallery = write(&path);
                }
            }
            model.assert_is(&gallery);
        }
        // A reader that came before sees the end too, once it looks again.
        let reader = Gallery::open(&path).unwrap();
        gallery.add(vec![Photo::new("last")], embedding(0)).unwrap();
        model.assert_is(&reader);
        reader.refresh().unwrap();
        assert_eq!(reader.len(), model.0.len() + 1);
        gallery.compact(Default::default(), Default::default()).unwrap();
        reader.refresh().unwrap();
        assert_eq!(reader.len(), model.0.len() + 1);
    }
}

#[test]
fn a_record_that_was_torn_at_any_byte_has_not_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    gallery.add(vec![Photo::new(id(0)), Photo::new(id(1))], [embedding(0), embedding(1)].concat()).unwrap();
    let log = log_of(&path);
    let before = std::fs::read(&log).unwrap();
    let photo = Photo::new(id(2)).with_labels(["x"]).with_source("2.png").with_content([9; 32]);
    gallery.replace(vec![photo, Photo::new(id(0))], [embedding(2), embedding(7)].concat()).unwrap();
    drop(gallery);
    let after = std::fs::read(&log).unwrap();
    assert!(after.len() > before.len() + 100);
    for n in before.len()..=after.len() {
        // What a writer that died had written: the record's first bytes, and the tip not moved.
        let mut torn = before.clone();
        torn.extend_from_slice(&after[before.len()..n]);
        // And the same with a disk that had made the file longer but not written the bytes.
        let mut padded = torn.clone();
        padded.resize(after.len() + 50, 0);
        for bytes in [&torn, &padded] {
            std::fs::write(&log, bytes).unwrap();
            let whole = n == after.len();
            for access in [Access::Read, Access::Write] {
                let gallery = Gallery::open_with(&path, access).unwrap();
                assert_eq!(gallery.len(), if whole { 3 } else { 2 }, "{n}");
                let first = embedding(if whole { 7 } else { 0 });
                assert_eq!(gallery.snapshot().embedding(&id(0)), Some(first.as_slice()));
                if access == Access::Write {
                    gallery.add(vec![Photo::new("next")], embedding(3)).unwrap();
                    drop(gallery);
                    assert!(Gallery::open(&path).unwrap().snapshot().photo("next").is_some());
                }
            }
        }
    }
}

#[test]
fn acknowledged_records_that_are_cut_off_or_changed_are_an_error_and_stay_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    for number in 0..4 {
        gallery.add(vec![Photo::new(id(number))], embedding(number)).unwrap();
    }
    gallery.remove(&[id(1)]).unwrap();
    drop(gallery);
    let log = log_of(&path);
    let good = std::fs::read(&log).unwrap();
    let check = |bytes: &[u8], what: &str| {
        std::fs::write(&log, bytes).unwrap();
        for access in [Access::Read, Access::Write] {
            let error = Gallery::open_with(&path, access).map(|_| ()).expect_err(what);
            assert!(matches!(error, Error::Gallery { .. }), "{what}: {error}");
            assert_says(error, &["00000001.log", "damaged"]);
        }
        assert_eq!(std::fs::read(&log).unwrap(), bytes, "{what}: opening it has changed the file");
    };
    for n in (0..good.len()).filter(|n| *n < 64 || *n > 4000) {
        check(&good[..n], &format!("cut off at {n}"));
    }
    for position in 4096..good.len() {
        let mut bytes = good.clone();
        bytes[position] ^= 1 << (position % 8);
        check(&bytes, &format!("flipped in {position}"));
    }
    for position in 0..60 {
        let mut bytes = good.clone();
        bytes[position] ^= 1 << (position % 8);
        check(&bytes, &format!("flipped in {position}"));
    }
    // The tip alone: the records are whole, and count.
    for position in 512..524 {
        let mut bytes = good.clone();
        bytes[position] ^= 0x10;
        std::fs::write(&log, &bytes).unwrap();
        assert_eq!(Gallery::open(&path).unwrap().len(), 3);
        // A damaged record is noticed without it where another one follows.
        bytes[4096 + 20] ^= 1;
        check(&bytes, "flipped twice");
    }
}

#[test]
fn a_flipped_bit_of_a_segment_is_an_error_that_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    let n = 60_000; // Three blocks of the matrix.
    let photos = (0..n).map(|number| Photo::new(id(number))).collect();
    gallery.add(photos, (0..n).flat_map(|number| [number as f32, 0.0, 1.0]).collect()).unwrap();
    gallery.compact(Default::default(), Default::default()).unwrap();
    drop(gallery);
    let segment = path.join("segments/00000001.rows");
    let good = std::fs::read(&segment).unwrap();
    let (matrix, end) = (4096, 4096 + n * 12);
    let mut stream = Stream::new(2, "flips", &[]);
    let places = (0..40).map(|_| matrix + stream.below(end - matrix)).chain((0..40).map(|step| step * 7919));
    for position in places.chain([0, 8, 90, 95, 4095, end, end + 4, good.len() - 1]) {
        let position = position % good.len();
        let mut bytes = good.clone();
        bytes[position] ^= 1 << (position % 8);
        std::fs::write(&segment, &bytes).unwrap();
        let error = Gallery::open(&path).map(|_| ()).expect_err(&position.to_string());
        assert_says(&error, &["segments/00000001.rows", "damaged"]);
        if (matrix..end).contains(&position) {
            assert_says(error, &[&format!("block {} of its matrix", (position - matrix) / (1 << 18))]);
        }
    }
    for n in [0, 1, 95, 96, 4095, 4096, end - 1, end, good.len() - 1] {
        std::fs::write(&segment, &good[..n]).unwrap();
        assert_says(Gallery::open(&path).map(|_| ()).unwrap_err(), &["00000001.rows", "damaged"]);
    }
    let mut longer = good.clone();
    longer.push(0);
    std::fs::write(&segment, longer).unwrap();
    assert!(Gallery::open(&path).is_err());
    std::fs::write(&segment, good).unwrap();
    assert_eq!(Gallery::open(&path).unwrap().len(), n);
}

#[test]
fn files_of_another_gallery_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let gallery = empty(&a);
    gallery.add(vec![Photo::new(id(0))], embedding(0)).unwrap();
    gallery.checkpoint().unwrap();
    drop(gallery);
    // Another model of the same width.
    Gallery::create_empty(&b, fixture("nan-output"), &GalleryOptions::exact("test")).unwrap();
    let gallery = write(&b);
    gallery.add(vec![Photo::new(id(1))], embedding(1)).unwrap();
    gallery.checkpoint().unwrap();
    drop(gallery);
    let own = std::fs::read(a.join("segments/00000001.rows")).unwrap();
    std::fs::copy(b.join("segments/00000001.rows"), a.join("segments/00000001.rows")).unwrap();
    assert_says(Gallery::open(&a).unwrap_err(), &["00000001.rows", "another gallery"]);
    std::fs::write(a.join("segments/00000001.rows"), own).unwrap();
    std::fs::copy(log_of(&b), log_of(&a)).unwrap();
    assert_says(Gallery::open(&a).unwrap_err(), &[".log", "another gallery"]);
}

#[test]
fn what_a_crash_left_behind_is_swept_and_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    gallery.add(vec![Photo::new(id(0))], embedding(0)).unwrap();
    drop(gallery);
    // A checkpoint that died before it replaced gallery.json.
    std::fs::create_dir_all(path.join("segments")).unwrap();
    for name in ["segments/00000001.rows", "segments/.partial-x", "log/00000002.log"] {
        std::fs::write(path.join(name), b"half").unwrap();
    }
    assert_eq!(Gallery::open(&path).unwrap().len(), 1);
    let gallery = write(&path);
    gallery.add(vec![Photo::new(id(1))], embedding(1)).unwrap();
    gallery.checkpoint().unwrap();
    drop(gallery);
    assert_eq!(Gallery::open(&path).unwrap().len(), 2);
    assert_eq!(std::fs::read_dir(path.join("segments")).unwrap().count(), 1);
    log_of(&path);
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    let error = Gallery::open_with(&path, Access::Write).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert_says(error, &["gallery", "another writer", &std::process::id().to_string()]);
    // Nor may it be replaced.
    let replaced = Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test"));
    assert!(matches!(replaced, Err(Error::Locked { .. })));
    let reader = Gallery::open(&path).unwrap();
    for result in [
        reader.add(vec![Photo::new("x")], embedding(0)),
        reader.compact(Default::default(), Default::default()),
        reader.checkpoint(),
    ] {
        assert!(matches!(result, Err(Error::ReadOnly { .. })));
    }
    assert!(matches!(reader.remove(&["x"]), Err(Error::ReadOnly { .. })));
    drop(gallery);
    write(&path);
    // What is no gallery gets no lock's file.
    assert!(Gallery::open_with(folder.path(), Access::Write).is_err());
    assert!(!folder.path().join("lock").exists());
}

#[test]
fn what_is_not_lawful_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    gallery.add(vec![Photo::new("a")], embedding(0)).unwrap();
    let log = std::fs::read(log_of(&path)).unwrap();
    let refused = |photos: Vec<Photo>, values: Vec<f32>, parts: &[&str]| {
        assert_says(gallery.add(photos, values).unwrap_err(), parts);
    };
    refused(vec![Photo::new("a")], embedding(1), &["'a'", "there already"]);
    refused(vec![Photo::new("b"), Photo::new("b")], [0.0; 6].to_vec(), &["'b'"]);
    refused(vec![Photo::new("")], embedding(1), &["id", "empty"]);
    refused(vec![Photo::new("x".repeat(5000))], embedding(1), &["id", "5000 bytes", "4096"]);
    refused(vec![Photo::new("b").with_labels([""])], embedding(1), &["label", "empty"]);
    refused(
        vec![Photo::new("b").with_labels((0..2000).map(|n| n.to_string()))],
        embedding(1),
        &["2000", "'b'"],
    );
    refused(vec![Photo::new("b")], vec![0.0; 4], &["1 of width 3", "got 4"]);
    refused(vec![Photo::new("b")], vec![0.0, f32::NAN, 0.0], &["not finite"]);
    refused(vec![], vec![0.0], &["0 of width 3"]);
    gallery.add(vec![], vec![]).unwrap();
    assert_eq!(gallery.remove(&["never there"]).unwrap(), 0);
    assert_eq!(gallery.len(), 1);
    assert_eq!(std::fs::read(log_of(&path)).unwrap(), log);
}

#[test]
fn a_filter_gives_what_looking_at_every_photo_gives() {
    let labels = ["boots", "new", "red", "sale", "warm"];
    for index in [
        IndexSpec::Exact,
        // So few candidates that the graph alone misses rows.
        IndexSpec::Hnsw(HnswParameters { m: 3, ef_construction: 4, ef_search: 2 }),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery");
        let options = GalleryOptions::with_index(index, "test");
        Gallery::create_empty(&path, fixture("mean8"), &options).unwrap();
        let gallery = write(&path);
        let mut stream = Stream::new(1, "filters", &[]);
        let n = 3_000;
        for first in (0..n).step_by(500) {
            let numbers = first..first + 500;
            let photos = numbers.clone().map(|number| {
                let own = labels.iter().filter(|_| stream.below(4) == 0).copied().collect::<Vec<_>>();
                Photo::new(id(number)).with_labels(own)
            });
            let photos = photos.collect();
            gallery.add(photos, numbers.flat_map(embedding).collect()).unwrap();
            if first == 1_500 {
                gallery.compact(Default::default(), Default::default()).unwrap();
            }
        }
        gallery.remove(&(0..n).step_by(7).map(id).collect::<Vec<_>>()).unwrap();
        let snapshot = gallery.snapshot();
        let is_graph = index != IndexSpec::Exact;
        assert_eq!(snapshot.n_without_graph() < snapshot.len(), is_graph);
        let everything = Filter::everything;
        let filters = [
            everything().any_label(["boots"]),
            everything().any_label(["boots", "sale"]).any_label(["red", "new"]),
            everything().any_label(["boots", "sale"]).without_label(["red"]),
            everything().every_label(["boots", "new", "red", "sale", "warm"]),
            everything().every_label(["boots", "new"]).any_label(["warm", "red"]),
            everything().only_ids((0..40).map(id)),
            everything().only_ids((0..900).map(id)).without_label(["new"]).any_label(labels),
            everything().only_ids(["no such photo"]),
            everything().any_label(Vec::<String>::new()),
            everything().without_label(["boots"]),
            everything().without_ids((0..2_990).map(id)),
        ];
        for filter in &filters {
            for query in 0..5 {
                let query = embedding(100_000 + query);
                let mut expected: Vec<(f64, String)> = snapshot
                    .photos()
                    .filter(|(photo, _)| filter.passes(photo))
                    .map(|(photo, row)| (snapshot.distance().between(&query, row), photo.id().to_owned()))
                    .collect();
                expected.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
                for k in [1, 10, 5_000] {
                    let found = snapshot.search(&query, k, filter).unwrap();
                    let found: Vec<(f64, String)> =
                        found.into_iter().map(|found| (found.distance, found.id)).collect();
                    assert_eq!(found, expected[..k.min(expected.len())], "{filter:?}");
                }
            }
        }
        // Removed photos are not found without a filter either.
        for query in 0..50 {
            let found = snapshot.search(&embedding(query * 7), 20, &everything()).unwrap();
            assert_eq!(found.len(), 20);
            assert!(found.iter().all(|found| snapshot.photo(&found.id).is_some()));
        }
        assert_eq!(snapshot.search(&embedding(0), n, &everything()).unwrap().len(), snapshot.len());
    }
}

#[test]
fn readers_see_whole_changes_while_a_writer_works() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = empty(&path);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut n_seen = 0;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let snapshot = gallery.snapshot();
                        let found =
                            snapshot.search(&embedding(1), usize::MAX, &Filter::everything()).unwrap();
                        // Photos come in threes and go in threes.
                        assert_eq!(found.len() % 3, 0);
                        assert_eq!(found.len(), snapshot.len());
                        n_seen += 1;
                    }
                    n_seen
                })
            })
            .collect();
        for round in 0..60 {
            let three = || (round * 3..round * 3 + 3).map(|number| Photo::new(id(number)));
            gallery.add(three().collect(), (0..3).flat_map(embedding).collect()).unwrap();
            if round % 2 == 0 {
                gallery.replace(three().collect(), (3..6).flat_map(embedding).collect()).unwrap();
            }
            if round % 5 == 0 {
                gallery.compact(Default::default(), Default::default()).unwrap();
            }
            if round % 3 == 0 {
                gallery.remove(&three().map(|photo| photo.id().to_owned()).collect::<Vec<_>>()).unwrap();
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(readers.into_iter().map(|reader| reader.join().unwrap()).sum::<usize>() > 0);
    });
    assert_eq!(gallery.len(), 40 * 3);
}
