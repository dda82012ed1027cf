//! A reader that follows who writes the gallery.

use std::path::Path;
use std::time::Duration;

use sketchfind::{Access, EmbedderOptions, Gallery, GalleryOptions, Photo, Retriever, RetrieverOptions};
use sketchfind_core::image::Image;
use sketchfind_tests::folders;

use crate::{assert_says, fixture, wait_until};

const OFTEN: Duration = Duration::from_millis(10);

fn following(path: &Path) -> Retriever {
    Retriever::open(path, RetrieverOptions::cpu().following(OFTEN)).unwrap()
}

#[test]
fn a_reader_sees_what_a_writer_does_without_asking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let writer = Gallery::open_with(&path, Access::Write).unwrap();
    let reader = following(&path);
    let before = reader.gallery().folder().unwrap().snapshot();
    writer.add(vec![Photo::new("red")], vec![1.0, 0.0, 0.0]).unwrap();
    let red = Image::new(1, 1, vec![255, 0, 0]).unwrap();
    wait_until(|| reader.query(&red, 1).unwrap().first().is_some_and(|found| found.id == "red"));
    assert!(before.is_empty(), "a snapshot has changed");
    writer.replace(vec![Photo::new("red").with_labels(["warm"])], vec![0.9, 0.0, 0.0]).unwrap();
    wait_until(|| reader.photo("red").unwrap().is_some_and(|photo| photo.labels().contains("warm")));
    writer.compact(Default::default(), Default::default()).unwrap();
    writer.add(vec![Photo::new("blue")], vec![0.0, 0.0, 1.0]).unwrap();
    wait_until(|| reader.len().unwrap() == 2);
    writer.remove(&["red"]).unwrap();
    wait_until(|| reader.photo("red").unwrap().is_none());
    assert!(reader.troubles().is_empty());
    // Those who do not follow see it when they ask, and a writer has nothing to look for.
    let asks = Retriever::open(&path, EmbedderOptions::cpu()).unwrap();
    writer.add(vec![Photo::new("green")], vec![0.0, 1.0, 0.0]).unwrap();
    assert_eq!((asks.len().unwrap(), asks.refresh().unwrap(), asks.len().unwrap()), (1, true, 2));
    drop(writer);
    let writer = Retriever::open(&path, RetrieverOptions::cpu().writable().following(OFTEN)).unwrap();
    writer.remove(&["green"]).unwrap();
    wait_until(|| reader.len().unwrap() == 1);
}

#[test]
fn what_is_in_the_way_of_a_look_is_told_and_the_next_look_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    Gallery::open_with(&path, Access::Write).unwrap().add(vec![Photo::new("a")], vec![0.0; 3]).unwrap();
    let aside = folder.path().join("aside");
    folders::copy(&path, &aside).unwrap();
    let reader = following(&path);
    std::fs::write(path.join("gallery.json"), "damaged").unwrap();
    wait_until(|| reader.troubles().iter().any(|trouble| trouble.contains("gallery.json")));
    assert_eq!(reader.query_embedding(&[0.0; 3], 1, &Default::default()).unwrap()[0].id, "a");
    std::fs::copy(aside.join("gallery.json"), path.join("gallery.json")).unwrap();
    wait_until(|| reader.troubles().is_empty());
    for every in [Duration::ZERO, Duration::from_millis(9), Duration::from_secs(86_401)] {
        let error = Retriever::open(&path, RetrieverOptions::cpu().following(every)).unwrap_err();
        assert_says(error, &["time between two looks", "10 milliseconds to a day"]);
    }
}
