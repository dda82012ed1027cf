//! Galleries without a model: their photos and their queries are embeddings that are given.

use std::path::Path;

use sketchfind::{
    Access, Cancel, Distance, EmbeddingSpace, Error, Filter, Gallery, GalleryOptions, HnswParameters,
    IndexSpec, OnBroken, OnExisting, Photo, PhotoFile, Progress, Retriever, RetrieverOptions, SearchOptions,
};
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;

use crate::store::{Model, embedding, id};
use crate::{assert_says, fixture};

fn create(path: &Path, space: &EmbeddingSpace) -> Gallery {
    Gallery::create_without_model(path, space, &GalleryOptions::exact("test")).unwrap();
    Gallery::open_with(path, Access::Write).unwrap()
}

fn mse(width: usize) -> EmbeddingSpace {
    EmbeddingSpace::new(width, Distance::Mse)
}

#[test]
fn it_is_changed_copied_and_asked_as_any_gallery() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("gallery"), folder.path().join("copy"));
    let gallery = create(&path, &mse(3));
    assert!(gallery.card().is_none() && gallery.model_dir().is_none() && !path.join("model").exists());
    assert_eq!(gallery.space(), mse(3));
    let reader = Gallery::open(&path).unwrap();
    let mut model = Model::default();
    for number in 0..12 {
        let photo = Photo::new(id(number)).with_labels([if number % 2 == 0 { "even" } else { "odd" }]);
        gallery.add(vec![photo.clone()], embedding(number)).unwrap();
        model.0.insert(id(number), (photo, embedding(number)));
        match number {
            4 => gallery.checkpoint().unwrap(),
            8 => {
                gallery.remove(&[id(3)]).unwrap();
                model.0.remove(&id(3));
                gallery.compact(Default::default(), Default::default()).unwrap();
            }
            _ => {}
        }
        // Another one sees each change.
        assert!(reader.refresh().unwrap());
        model.assert_is(&reader);
    }
    drop(gallery);
    model.assert_is(&Gallery::open(&path).unwrap());
    Gallery::copy(&path, &copy, OnExisting::Refuse).unwrap();
    let copied = Gallery::open(&copy).unwrap();
    model.assert_is(&copied);
    let odd = Filter::everything().any_label(["odd"]);
    let found = copied.snapshot().search(&embedding(5), 2, &odd).unwrap();
    assert_eq!((found[0].id.as_str(), found[0].distance), (id(5).as_str(), 0.0));
    // Others write by turns too.
    let turns = Gallery::open_with(&copy, Access::Turns).unwrap();
    turns.replace(vec![Photo::new(id(5))], embedding(77)).unwrap();
    assert_eq!(turns.snapshot().search(&embedding(77), 1, &odd).unwrap()[0].id, id(5));
}

#[test]
fn what_needs_a_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    drop(create(&path, &mse(3)));
    let retriever = Retriever::open(&path, RetrieverOptions::cpu().with_sessions(2).writable()).unwrap();
    assert!(retriever.card().is_none() && retriever.width() == 3);
    let picture = || Image::new(1, 1, vec![1, 2, 3]).unwrap();
    let everything = Filter::everything();
    let (progress, cancel) = (Progress::default(), Cancel::default());
    let file = PhotoFile::new(Photo::new("a"), "a.jpg");
    for (what, error) in [
        ("query", retriever.query(&picture(), 1).err()),
        ("batch", retriever.query_batch(&[picture()], 1, &everything).err()),
        ("answer", retriever.answer(&picture(), 1, &everything, None).err()),
        ("embed", retriever.embed(&[]).err()),
        ("add", retriever.add(Photo::new("a"), &picture()).err()),
        ("replace", retriever.replace(Photo::new("a"), &picture()).err()),
        ("ingest", retriever.ingest(&[file], OnBroken::Refuse, progress, cancel).err()),
        ("costs", retriever.measure_costs().err()),
        ("embedder", retriever.with_embedder(|_| ()).err()),
    ] {
        let error = error.unwrap_or_else(|| panic!("{what} needs a model"));
        assert!(matches!(error, Error::NoModel { .. }), "{what}: {error}");
        assert_says(&error, &["gallery", "has no model", "takes embeddings"]);
    }
    // What needs none is as with any other.
    retriever
        .gallery()
        .add(vec![Photo::new("a"), Photo::new("b")], vec![0.0, 0.0, 1.0, 5.0, 0.0, 0.0])
        .unwrap();
    assert_eq!(retriever.query_embedding(&[4.0, 0.0, 0.0], 1, &everything).unwrap()[0].id, "b");
    assert_eq!(retriever.remove(&["a"]).unwrap(), 1);
    retriever.compact(Default::default(), Default::default()).unwrap();
    assert_eq!(retriever.len().unwrap(), 1);
}

#[test]
fn its_space_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = create(&path, &mse(3));
    assert_says(gallery.add(vec![Photo::new("a")], vec![1.0; 4]).unwrap_err(), &["width 3", "got 4"]);
    assert_says(gallery.add(vec![Photo::new("a")], vec![1.0, f32::NAN, 0.0]).unwrap_err(), &["not finite"]);
    drop(gallery);
    // Another gallery in its place is another space's, though neither has a model.
    let reader = Gallery::open(&path).unwrap();
    for other in [mse(4), EmbeddingSpace::new(3, Distance::Cosine), mse(3).with_model("ab".repeat(32))] {
        Gallery::create_without_model(&path, &other, &GalleryOptions::exact("test")).unwrap();
        assert!(matches!(reader.refresh(), Err(Error::OtherModel { .. })));
        assert_eq!(Gallery::open(&path).unwrap().space(), other);
    }
    // As is one with a model, and the other way round.
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    assert!(matches!(reader.refresh(), Err(Error::OtherModel { .. })));
    let reader = Gallery::open(&path).unwrap();
    Gallery::create_without_model(&path, &reader.space(), &GalleryOptions::exact("test")).unwrap();
    assert!(matches!(reader.refresh(), Err(Error::OtherModel { .. })));

    // What is no space.
    let refused = |space: EmbeddingSpace, options: &GalleryOptions, parts: &[&str]| {
        let path = folder.path().join("never");
        assert_says(Gallery::create_without_model(&path, &space, options).unwrap_err(), parts);
        assert!(!path.exists());
    };
    let exact = GalleryOptions::exact("test");
    refused(mse(0), &exact, &["width of embeddings is 0"]);
    refused(mse(3).with_model("mean8"), &exact, &["model_sha256 is 'mean8'", "64 hexadecimal"]);
    let frame = sketchfind::Framing::Share(0.8).of_photos(None).unwrap();
    refused(mse(3), &exact.clone().with_photo_frame(frame), &["photo_frame"]);
}

/// 3,000 rows of 16 numbers, of which a graph with few neighbours misses some.
fn with_graph(path: &Path) -> Gallery {
    let index = IndexSpec::Hnsw(HnswParameters { m: 2, ef_construction: 4, ef_search: 1 });
    let options = GalleryOptions::with_index(index, "test");
    Gallery::create_without_model(path, &mse(16), &options).unwrap();
    let gallery = Gallery::open_with(path, Access::Write).unwrap();
    let mut stream = Stream::new(3, "graph", &[]);
    let photos = (0..3000).map(|number| Photo::new(id(number))).collect();
    gallery.add(photos, (0..3000 * 16).map(|_| stream.unit() as f32).collect()).unwrap();
    gallery.compact(Default::default(), Default::default()).unwrap();
    gallery
}

#[test]
fn more_candidates_find_more_and_exact_search_all() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = with_graph(&folder.path().join("gallery"));
    let snapshot = gallery.snapshot();
    assert_eq!(snapshot.n_without_graph(), 0);
    let mut stream = Stream::new(4, "queries", &[]);
    let queries: Vec<f32> = (0..100 * 16).map(|_| stream.unit() as f32).collect();
    let everything = Filter::everything();
    let search = |options| snapshot.search_batch_with(&queries, 10, &everything, options).unwrap();
    let exact = search(SearchOptions::exact());
    let n_found = |options| -> usize {
        let found = search(options);
        let both = exact.iter().zip(&found);
        both.map(|(exact, found)| found.iter().filter(|hit| exact.iter().any(|own| own.id == hit.id)).count())
            .sum()
    };
    let few = n_found(SearchOptions::default());
    let some = n_found(SearchOptions::default().with_ef(50));
    let many = n_found(SearchOptions::default().with_ef(1400));
    assert!(few < some && some < many && many > 970, "{few} {some} {many} of 1000");
    assert_eq!(few, n_found(SearchOptions::default().with_ef(1)), "the gallery's own number");
    // Those of a filter are exact with any number.
    let odd = Filter::everything().only_ids((0..1500).map(|n| id(2 * n + 1)));
    let one = |options| snapshot.search_with(&queries[..16], 10, &odd, options).unwrap();
    assert_eq!(one(SearchOptions::default().with_ef(1)), one(SearchOptions::exact()));
    for ef in [0, 100_001] {
        let options = SearchOptions::default().with_ef(ef);
        let error = snapshot.search_with(&queries[..16], 1, &everything, options).unwrap_err();
        assert_says(error, &["ef is", &ef.to_string(), "1 to 100000"]);
    }
}
