//! One retriever for many threads.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sketchfind::{
    Calibration, Cancel, DecodeLimits, Embedder, EmbedderOptions, Error, Filter, Framing, Gallery,
    GalleryOptions, Photo, Picture, Progress, Retriever, RetrieverOptions, Role, SearchOptions, Strokes,
};
use sketchfind_core::image::{Channels, Image, Pixels, Samples};

use crate::{assert_says, fixture};

fn grey(value: u8) -> Image {
    Image::new(2, 2, vec![value; 12]).unwrap()
}

#[test]
fn many_threads_query_while_one_adds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let retriever = Retriever::open(&path, RetrieverOptions::cpu().with_sessions(2).writable()).unwrap();
    retriever.add(Photo::new("0"), &grey(0)).unwrap();
    let n_queries = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while retriever.len().unwrap() < 100 {
                    let found = retriever.query(&grey(0), 5).unwrap();
                    assert_eq!((found[0].id.as_str(), found[0].distance), ("0", 0.0));
                    n_queries.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for value in 1..100_u8 {
            retriever.add(Photo::new(value.to_string()).with_labels(["grey"]), &grey(value)).unwrap();
        }
    });
    assert!(n_queries.into_inner() > 4);
    let found = retriever.query_batch(&[grey(17), grey(61)], 1, &Filter::everything()).unwrap();
    assert_eq!((found[0][0].id.as_str(), found[1][0].id.as_str()), ("17", "61"));
    assert!(retriever.query_batch(&[], 1, &Filter::everything()).unwrap().is_empty());
    let filter = Filter::everything().without_ids(["17"]);
    assert_eq!(retriever.query_filtered(&grey(17), 2, &filter).unwrap()[1].id, "18");
    assert!(retriever.photo("17").unwrap().unwrap().labels().contains("grey"));
    assert!(retriever.photo("nothing").unwrap().is_none());
    retriever.replace(Photo::new("17"), &grey(200)).unwrap();
    assert_eq!(retriever.query(&grey(210), 1).unwrap()[0].id, "17");
    assert_eq!(retriever.remove(&["17", "18"]).unwrap(), 2);
    retriever.compact(Default::default(), Default::default()).unwrap();
    assert_eq!(
        (retriever.len().unwrap(), retriever.gallery().folder().unwrap().snapshot().n_removed()),
        (98, 0)
    );
}

/// With a calibration hits have scores, by whichever way they are asked for, and an answer may be that nothing fits.
#[test]
fn an_answer_says_how_sure_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test"));
    gallery.unwrap();
    let options = || RetrieverOptions::cpu().writable();
    let plain = Retriever::open(&path, options()).unwrap();
    for value in 0..20_u8 {
        plain.add(Photo::new(format!("{value:02}")), &grey(10 * value)).unwrap();
    }
    let without = plain.answer(&grey(0), 2, &Filter::everything(), None).unwrap();
    assert_eq!((without.score, without.matches[0].score, without.matches.len()), (None, None, 2));
    let refused = plain.answer(&grey(0), 2, &Filter::everything(), Some(0.5)).unwrap_err();
    assert_says(refused, &["min_score is 0.5", "no calibration"]);
    drop(plain);
    let calibration = Calibration::load(fixture("calibration.json")).unwrap();
    let mut other = calibration.clone();
    other.model_sha256 = "1".repeat(64);
    let refused = Retriever::open(&path, options().with_calibration(other)).unwrap_err();
    assert_says(refused, &["the model that the calibration is of"]);
    let retriever = Retriever::open(&path, options().with_calibration(calibration)).unwrap();
    let everything = Filter::everything();
    let all = retriever.query(&grey(50), 20).unwrap();
    assert_eq!(all.iter().filter(|found| found.score.is_some()).count(), 10);
    let sum: f64 = all.iter().filter_map(|found| found.score).sum();
    // A product was drawn where one of its photos was.
    for value in [4, 5, 9] {
        retriever.replace(Photo::new(format!("{value:02}")).with_product("p"), &grey(10 * value)).unwrap();
    }
    let by_product = SearchOptions::default().by_product();
    let products = retriever.answer_with(&grey(50), 20, &everything, by_product, None).unwrap();
    assert_eq!((products.matches.len(), products.matches[0].product.as_deref()), (18, Some("p")));
    let of = |number: &str| all.iter().find(|found| found.id == number).unwrap().score.unwrap();
    assert!((products.matches[0].score.unwrap() - of("04") - of("05") - of("09")).abs() < 1e-12);
    assert_eq!(products.matches[1].score, Some(of("06")));
    assert!((products.score.unwrap() - sum).abs() < 1e-12);
    for value in [4, 5, 9] {
        retriever.replace(Photo::new(format!("{value:02}")).with_product(""), &grey(10 * value)).unwrap();
    }
    // However few are asked for, and however: the scores are those of all.
    let one = retriever.answer(&grey(50), 1, &everything, Some(0.0)).unwrap();
    assert_eq!(one.matches, all[..1]);
    assert!((one.score.unwrap() - sum).abs() < 1e-12 && one.nothing.is_none());
    assert_eq!(retriever.query_batch(&[grey(50)], 1, &everything).unwrap()[0], all[..1]);
    let embedding = retriever.embed_sketches(&[grey(50)]).unwrap();
    assert_eq!(retriever.query_embedding(&embedding, 1, &everything).unwrap(), all[..1]);
    let exact = SearchOptions::exact();
    assert_eq!(retriever.query_embeddings_with(&embedding, 1, &everything, exact).unwrap()[0], all[..1]);
    assert_eq!(retriever.answer_embedding_with(&embedding, 1, &everything, exact, Some(0.0)).unwrap(), one);
    let none = SearchOptions::default().with_ef(0);
    for refused in [
        retriever.query_batch_with(&[grey(50)], 1, &everything, none).unwrap_err(),
        retriever.query_embedding_with(&embedding, 1, &everything, none).unwrap_err(),
        retriever.query_embeddings_with(&embedding, 1, &everything, none).unwrap_err(),
        retriever.answer_embedding_with(&embedding, 1, &everything, none, None).unwrap_err(),
    ] {
        assert_says(refused, &["ef is 0"]);
    }
    // A picture that is nothing's has a lower score, and none fits it.
    let far = retriever.answer(&grey(255), 5, &everything, Some(sum)).unwrap();
    assert!(far.matches.is_empty() && far.score.unwrap() < sum);
    let nothing = far.nothing.unwrap();
    assert_eq!(nothing.code(), "no_fit");
    assert_says(nothing, &["nothing fits", &format!("at least {sum:.4}")]);
    // What the filter leaves out is another reason, and is the one that is told.
    let none = retriever.answer(&grey(50), 5, &everything.clone().every_label(["no"]), Some(1.0)).unwrap();
    assert_eq!((none.nothing.unwrap().code(), none.score), ("no_such_label", None));
    for bad in [-0.1, 1.1, f64::NAN] {
        assert_says(
            retriever.answer(&grey(0), 1, &everything, Some(bad)).unwrap_err(),
            &["min_score", "0 to 1"],
        );
    }
}

#[test]
fn what_cannot_be_added_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("nan-output"), &GalleryOptions::exact("test")).unwrap();
    let retriever = Retriever::open(&path, RetrieverOptions::cpu().writable()).unwrap();
    // The logarithm of black.
    assert_says(retriever.add(Photo::new("black"), &grey(0)).unwrap_err(), &["the network's output"]);
    retriever.add(Photo::new("white"), &grey(255)).unwrap();
    let again = retriever.add(Photo::new("white"), &grey(255)).unwrap_err();
    assert!(matches!(again, Error::PhotoExists { id } if id == "white"));
    assert_says(
        retriever.add_batch(vec![Photo::new("a")], &[]).unwrap_err(),
        &["images for photos", "expected 1"],
    );
    assert_says(retriever.add(Photo::new(""), &grey(9)).unwrap_err(), &["a photo's id"]);
    assert_eq!(retriever.len().unwrap(), 1);
    drop(retriever);
    let reader = Retriever::open(&path, EmbedderOptions::cpu()).unwrap();
    assert!(matches!(reader.add(Photo::new("b"), &grey(255)), Err(Error::ReadOnly { .. })));
    for sessions in [0, 257] {
        let error = Retriever::open(&path, RetrieverOptions::cpu().with_sessions(sessions)).unwrap_err();
        assert_says(error, &["sessions", &sessions.to_string(), "1 to 256"]);
    }
}

#[test]
fn a_retriever_is_for_any_thread() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Retriever>();
    is_shared::<Gallery>();
}

/// Labels and a path that are not given stay; no labels are given as an empty list.
#[test]
fn what_is_not_given_is_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let retriever = Retriever::open(&path, RetrieverOptions::cpu().writable()).unwrap();
    let first = Photo::new("a").with_labels(["red", "sale"]).with_source("shop/a.png").with_content([7; 32]);
    retriever.add(first.clone(), &grey(1)).unwrap();
    retriever.replace(Photo::new("a"), &grey(2)).unwrap();
    let kept = retriever.photo("a").unwrap().unwrap();
    assert_eq!((kept.labels(), kept.source()), (first.labels(), first.source()));
    assert_eq!(kept.content(), None, "the file's content is known no more");
    retriever.replace(Photo::new("a").with_labels(["blue"]), &grey(2)).unwrap();
    assert!(retriever.photo("a").unwrap().unwrap().labels().iter().eq(["blue"]));
    retriever.replace(Photo::new("a").with_labels(Vec::<String>::new()), &grey(2)).unwrap();
    let emptied = retriever.photo("a").unwrap().unwrap();
    assert!(emptied.labels().is_empty() && emptied.source() == first.source());
    // A photo that is new has what it was given, and nothing else.
    retriever.replace(Photo::new("b"), &grey(3)).unwrap();
    assert_eq!(retriever.photo("b").unwrap().unwrap(), Photo::new("b"));
    drop(retriever);
    let reopened = Gallery::open(&path).unwrap();
    assert_eq!(reopened.snapshot().photo("a"), Some(&emptied));
}

/// One name in two forms of Unicode is one name for filters, and two ids for the gallery.
#[test]
fn filters_match_in_every_form_of_unicode() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let retriever = Retriever::open(&path, RetrieverOptions::cpu().writable()).unwrap();
    retriever.add(Photo::new(composed).with_labels([decomposed]), &grey(10)).unwrap();
    retriever.add(Photo::new(decomposed).with_labels([composed]), &grey(20)).unwrap();
    retriever.add(Photo::new("cafe").with_labels(["cafe"]), &grey(30)).unwrap();
    for _ in 0..2 {
        for form in [composed, decomposed] {
            let ids = |filter: Filter| -> Vec<String> {
                let found = retriever.query_filtered(&grey(10), 9, &filter).unwrap();
                found.into_iter().map(|found| found.id).collect()
            };
            let both = [composed.to_owned(), decomposed.to_owned()];
            assert_eq!(ids(Filter::everything().any_label([form])), both);
            assert_eq!(ids(Filter::everything().every_label([form])), both);
            assert_eq!(ids(Filter::everything().without_label([form])), ["cafe"]);
            assert_eq!(ids(Filter::everything().only_ids([form])), both);
            assert_eq!(ids(Filter::everything().without_ids([form])), ["cafe"]);
            assert_eq!(ids(Filter::everything().only_ids([composed]).only_ids([form])), both);
        }
        retriever.compact(Default::default(), Default::default()).unwrap();
    }
    assert_eq!(retriever.remove(&[decomposed]).unwrap(), 1);
    assert!(retriever.photo(composed).unwrap().is_some());
}

/// A picture in each form.
fn forms(path: &Path) -> Vec<Picture> {
    let image = Image::open(path, DecodeLimits::default()).unwrap();
    let pixels = Samples::Eight(image.pixels().to_vec());
    vec![
        Picture::File(path.to_owned()),
        Picture::of_bytes(std::fs::read(path).unwrap()),
        Picture::Pixels(Pixels::new(image.width(), image.height(), Channels::Rgb, pixels).unwrap()),
    ]
}

#[test]
fn pictures_are_the_same_in_every_form_and_role() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let retriever = Retriever::open(&path, RetrieverOptions::cpu().writable()).unwrap();
    for role in [Role::Picture, Role::Photo, Role::Sketch] {
        let pictures = forms(&fixture("photos/red.png")).into_iter();
        let rows = retriever.embed_pictures(role, pictures, Progress::default(), Cancel::default()).unwrap();
        assert_eq!(rows, [1.0, 0.0, 0.0].repeat(3), "{role:?}");
    }
    let photos = ["file", "bytes", "pixels"].map(Photo::new).to_vec();
    let add = |photos: Vec<Photo>, pictures: Vec<Picture>, replace| {
        retriever.add_pictures(photos, pictures.into_iter(), replace, Progress::default(), Cancel::default())
    };
    add(photos.clone(), forms(&fixture("photos/red.png")), false).unwrap();
    let blue = forms(&fixture("photos/blue.png"));
    assert!(matches!(add(photos.clone(), blue.clone(), false), Err(Error::PhotoExists { .. })));
    for pictures in [blue[..2].to_vec(), [&blue[..], &blue[..]].concat()] {
        assert_says(add(photos.clone(), pictures, true).unwrap_err(), &["images for photos", "expected 3"]);
    }
    let mut broken = blue.clone();
    broken[1] = Picture::of_bytes(b"no image".to_vec());
    assert_says(add(photos.clone(), broken, true).unwrap_err(), &["position 1", "given as bytes"]);
    // Nothing was changed so far.
    let found = |sketches: Vec<Picture>| {
        let filter = Filter::everything();
        let (progress, cancel) = (Progress::default(), Cancel::default());
        retriever.query_pictures(sketches.into_iter(), 1, &filter, progress, cancel).unwrap()
    };
    assert!(found(forms(&fixture("photos/red.png"))).iter().all(|matches| matches[0].distance == 0.0));
    add(photos, blue.clone(), true).unwrap();
    assert!(found(blue).iter().all(|matches| matches[0].distance == 0.0));
}

/// Strokes among other pictures are what they are alone: moved and scaled before they are drawn.
#[test]
fn strokes_are_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let strokes = Strokes::drawn([900.0, 300.0], &[vec![[10.0, 20.0], [90.0, 20.0], [90.0, 70.0]]]).unwrap();
    let picture = || Picture::Strokes(strokes.clone());
    for framing in [Framing::Off, Framing::Share(0.8)] {
        let options = RetrieverOptions::cpu().writable().with_framing(framing);
        let retriever = Retriever::open(&path, options).unwrap();
        let drawn = retriever.drawn(&strokes).unwrap();
        let embed = |role| {
            let pictures = [picture()].into_iter();
            retriever.embed_pictures(role, pictures, Progress::default(), Cancel::default()).unwrap()
        };
        let expected = retriever.embed_sketches(std::slice::from_ref(&drawn)).unwrap();
        assert_eq!(embed(Role::Sketch), expected);
        let share = retriever.sketch_share();
        assert_eq!(picture().sketch(DecodeLimits::default(), share).unwrap(), drawn);
        // As a photo they lie on their page as they were drawn.
        let on_page = picture().photo(DecodeLimits::default()).unwrap();
        assert_eq!(embed(Role::Photo), retriever.embed(&[on_page]).unwrap());
        assert_eq!(embed(Role::Photo) == expected, framing == Framing::Off);
    }
    assert_eq!((picture().origin().as_str(), picture().n_bytes()), ("given as strokes", 24));
}

#[test]
fn pictures_without_an_end_take_bounded_memory_and_are_cancelled() {
    let mut embedder = Embedder::open(fixture("mean8"), EmbedderOptions::cpu().with_threads(2)).unwrap();
    let n_out = AtomicUsize::new(0);
    let endless = std::iter::repeat_with(|| {
        n_out.fetch_add(1, Ordering::Relaxed);
        let samples = Samples::Eight(vec![0; 100 * 100]);
        Picture::Pixels(Pixels::new(100, 100, Channels::Grey, samples).unwrap())
    });
    let (n_done, most_ahead) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tell = |done| {
        n_done.store(done, Ordering::Relaxed);
        most_ahead.fetch_max(n_out.load(Ordering::Relaxed) - done, Ordering::Relaxed);
    };
    let is_enough = || n_done.load(Ordering::Relaxed) >= 400;
    let outcome = embedder.embed_pictures(endless, Progress::new(&tell), Cancel::new(&is_enough));
    assert!(matches!(outcome, Err(Error::Cancelled)));
    assert!(most_ahead.into_inner() <= 64);
    // Large ones are not waited for by fours.
    let large = || {
        Picture::Pixels(Pixels::new(6000, 2000, Channels::Rgb, Samples::Eight(vec![9; 36_000_000])).unwrap())
    };
    let told = Mutex::new(Vec::new());
    let tell = |done| told.lock().unwrap().push(done);
    let pictures = std::iter::repeat_with(large).take(3);
    embedder.embed_pictures(pictures, Progress::new(&tell), Cancel::default()).unwrap();
    assert_eq!(told.into_inner().unwrap(), [1, 2, 3]);
}
