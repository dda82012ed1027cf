//! What every gallery does, wherever its photos lie and however it is opened: one suite of laws, run over each kind of home.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sketchfind::home::{self, Home, Look};
use sketchfind::{
    Access, Distance, EmbeddingSpace, Error, Filter, Gallery, GalleryOptions, HnswParameters, IndexSpec,
    Match, OnExisting, Photo, SearchOptions,
};
use sketchfind_core::random::Stream;

use crate::store::Model;
use crate::{assert_says, fixture};

/// A kind of home: how an empty gallery comes into being, at a folder or elsewhere, and how it is opened.
struct Kind {
    name: &'static str,
    /// Gives the place of the gallery; nothing where this machine has no such home.
    make: fn(&Path) -> Option<PathBuf>,
    access: Access,
}

const WIDTH: usize = 3;
const HOMES: [Kind; 9] = [
    Kind { name: "with a model", make: with_model, access: Access::Write },
    Kind { name: "by turns", make: with_model, access: Access::Turns },
    Kind {
        name: "without a model",
        make: |path| without_model(path, Distance::Mse, IndexSpec::Exact),
        access: Access::Write,
    },
    Kind {
        name: "by cosine",
        make: |path| without_model(path, Distance::Cosine, IndexSpec::Exact),
        access: Access::Write,
    },
    Kind {
        name: "an index of its own choice",
        make: |path| without_model(path, Distance::Mse, IndexSpec::Auto),
        access: Access::Write,
    },
    // So many candidates that the graph finds all there are.
    Kind {
        name: "a graph",
        make: |path| {
            let index = IndexSpec::Hnsw(HnswParameters { m: 16, ef_construction: 200, ef_search: 4_000 });
            without_model(path, Distance::Mse, index)
        },
        access: Access::Write,
    },
    Kind {
        name: "a copy",
        make: |path| {
            let first = path.with_extension("first");
            with_model(&first);
            Gallery::copy(&first, path, OnExisting::Refuse).unwrap();
            Some(path.to_owned())
        },
        access: Access::Write,
    },
    Kind { name: "a database", make: |_| with_model(&in_database()?), access: Access::Write },
    Kind {
        name: "a database, by cosine",
        make: |_| without_model(&in_database()?, Distance::Cosine, IndexSpec::Exact),
        access: Access::Turns,
    },
];

fn with_model(place: &Path) -> Option<PathBuf> {
    home::create_empty(place, &fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    Some(place.to_owned())
}

fn without_model(place: &Path, distance: Distance, index: IndexSpec) -> Option<PathBuf> {
    let options = GalleryOptions::with_index(index, "test");
    home::create_without_model(place, &EmbeddingSpace::new(WIDTH, distance), &options).unwrap();
    Some(place.to_owned())
}

/// Where another gallery can be made in a database.
fn in_database() -> Option<PathBuf> {
    if cfg!(feature = "postgres") { crate::postgres::place() } else { None }
}

/// Runs `law` over every home, with a gallery that is empty and its place.
fn everywhere(law: impl Fn(&str, &Path, &dyn Home)) {
    // Not started anew for each.
    #[cfg(feature = "postgres")]
    let _server = sketchfind_tests::postgres::shared();
    for Kind { name, make, access } in HOMES {
        let folder = tempfile::tempdir().unwrap();
        if let Some(place) = make(&folder.path().join("gallery")) {
            law(name, &place, home::open(&place, access).unwrap().as_ref());
        }
    }
}

/// The gallery as somebody else sees it.
fn reopened(place: &Path) -> Arc<dyn Home> {
    home::open(place, Access::Read).unwrap()
}

fn id(number: usize) -> String {
    format!("{number:04}")
}

/// The embedding of a photo; every third is one that others have too, and ties.
fn row(number: usize) -> Vec<f32> {
    let mut stream =
        Stream::new(9, "conformance", &[if number.is_multiple_of(3) { 0 } else { number as u64 }]);
    (0..WIDTH).map(|_| stream.unit() as f32 + 0.01).collect()
}

fn photo(number: usize) -> Photo {
    let photo =
        Photo::new(id(number)).with_labels([["even", "odd"][number % 2], ["low", "high"][number / 50 % 2]]);
    let photo =
        if number.is_multiple_of(4) { photo.with_source(format!("shop/{number}.jpg")) } else { photo };
    if number % 5 < 3 { photo.with_product(format!("product {}", number / 5)) } else { photo }
}

fn add(gallery: &dyn Home, model: &mut Model, numbers: impl Iterator<Item = usize> + Clone) {
    gallery.add(numbers.clone().map(photo).collect(), numbers.clone().flat_map(row).collect()).unwrap();
    model.0.extend(numbers.map(|number| (id(number), (photo(number), row(number)))));
}

/// What is to be found, by looking at everything.
fn expected(
    model: &Model,
    distance: Distance,
    query: &[f32],
    k: usize,
    filter: &Filter,
    by_product: bool,
) -> Vec<(String, f64)> {
    let passing = model.0.values().filter(|(photo, _)| filter.passes(photo));
    let mut all: Vec<(f64, &Photo)> =
        passing.map(|(photo, row)| (distance.between(query, row), photo)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.id().cmp(b.1.id())));
    let mut seen: BTreeMap<(bool, &str), ()> = BTreeMap::new();
    all.retain(|(_, photo)| {
        let name = photo.product().map_or((false, photo.id()), |product| (true, product));
        !by_product || seen.insert(name, ()).is_none()
    });
    all.into_iter().take(k).map(|(distance, photo)| (photo.id().to_owned(), distance)).collect()
}

#[track_caller]
fn assert_found(home: &str, found: &[Match], expected: &[(String, f64)], model: &Model) {
    let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
    assert_eq!(ids, expected.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), "{home}");
    for (place, (found, (_, distance))) in found.iter().zip(expected).enumerate() {
        let (photo, _) = &model.0[&found.id];
        assert_eq!((found.rank, found.distance), (place + 1, *distance), "{home}: {}", found.id);
        assert_eq!((&found.labels, found.product.as_deref()), (photo.labels(), photo.product()), "{home}");
        assert_eq!(found.path.as_deref(), photo.source(), "{home}");
    }
}

fn assert_answers(home: &str, look: &dyn Look, model: &Model) {
    let filters = [
        Filter::everything(),
        Filter::everything().any_label(["odd"]).without_label(["high"]),
        Filter::everything().every_label(["even", "low"]).without_ids([id(0), id(2)]),
        Filter::everything().only_ids([id(1), id(3), id(9), "never".to_owned()]),
        Filter::everything().only_products(["product 1", "product 2", "never"]),
        Filter::everything().without_products(["product 0"]).any_label(["even"]).any_label(["high"]),
        Filter::everything().any_label(["never"]),
    ];
    let queries = [row(0), row(1), row(40), vec![0.5; WIDTH]];
    for filter in &filters {
        for by_product in [false, true] {
            let mut options = SearchOptions::default();
            options.by_product = by_product;
            for k in [0, 1, 7, 10_000] {
                let batch = look.search_values(&queries.concat(), k, filter, options).unwrap();
                for (query, together) in queries.iter().zip(&batch) {
                    let expected = expected(model, look.distance(), query, k, filter, by_product);
                    assert_found(home, together, &expected, model);
                    assert_eq!(
                        look.search_values(query, k, filter, options).unwrap(),
                        std::slice::from_ref(together),
                        "{home}"
                    );
                }
            }
        }
        let is_nothing = !model.0.values().any(|(photo, _)| filter.passes(photo));
        assert_eq!(look.why_nothing(filter).unwrap().is_some(), is_nothing, "{home}");
    }
    for wrong in [vec![0.5; WIDTH + 1], vec![f32::NAN; WIDTH], vec![f32::INFINITY; WIDTH]] {
        assert!(look.search_values(&wrong, 1, &filters[0], SearchOptions::default()).is_err(), "{home}");
    }
}

#[test]
fn answers_are_those_of_looking_at_everything() {
    everywhere(|home, path, gallery| {
        let mut model = Model::default();
        assert_answers(home, gallery.look().as_ref(), &model);
        add(gallery, &mut model, 0..100);
        assert_answers(home, gallery.look().as_ref(), &model);
        gallery.folder().iter().for_each(|folder| folder.checkpoint().unwrap());
        add(gallery, &mut model, 100..140);
        let gone: Vec<String> = (0..140).step_by(7).map(id).collect();
        let ids: Vec<&str> = gone.iter().map(String::as_str).collect();
        assert_eq!(gallery.remove(&ids).unwrap(), gone.len(), "{home}");
        gone.iter().for_each(|id| drop(model.0.remove(id)));
        assert_answers(home, gallery.look().as_ref(), &model);
        gallery.compact(Default::default(), Default::default()).unwrap();
        assert_answers(home, gallery.look().as_ref(), &model);
        assert_answers(home, reopened(path).look().as_ref(), &model);
    });
}

/// So many photos that a graph is built where there is to be one.
#[test]
fn many_photos_are_searched_as_few_are() {
    everywhere(|home, _, gallery| {
        let mut model = Model::default();
        add(gallery, &mut model, 0..1_300);
        gallery.compact(Default::default(), Default::default()).unwrap();
        let has_graph = |folder: &Gallery| folder.snapshot().n_without_graph() == 0;
        assert_eq!(gallery.folder().is_some_and(has_graph), home == "a graph", "{home}");
        assert_answers(home, gallery.look().as_ref(), &model);
    });
}

#[test]
fn a_change_happens_whole_or_not_at_all() {
    everywhere(|home, path, gallery| {
        let mut model = Model::default();
        add(gallery, &mut model, 0..10);
        let with =
            |number: usize, values: Vec<f32>| (vec![photo(20), photo(number)], [row(20), values].concat());
        let cases = [
            (with(3, row(3)), "0003"),
            (with(20, row(20)), "0020"),
            (with(21, vec![0.5; WIDTH + 1]), "width"),
            (with(21, vec![0.5; WIDTH - 1]), "width"),
            (with(21, vec![0.5, f32::NAN, 0.5]), "not finite"),
            ((vec![photo(20), Photo::new("")], [row(20), row(21)].concat()), "id"),
            (
                (
                    vec![photo(20), Photo::new("a").with_product("x".repeat(5000))],
                    [row(20), row(21)].concat(),
                ),
                "product",
            ),
        ];
        for ((photos, values), reason) in cases {
            let refused = gallery.add(photos, values).unwrap_err();
            assert_says(refused, &[reason]);
            model.assert_is(gallery);
        }
        assert_eq!(gallery.remove(&["never", "neither"]).unwrap(), 0, "{home}");
        // One that is refused keeps nobody else from writing, and nothing of it is there afterwards.
        add(gallery, &mut model, 20..22);
        model.assert_is(reopened(path).as_ref());
    });
}

#[test]
fn what_is_not_given_stays_and_what_is_given_empty_goes() {
    everywhere(|home, path, gallery| {
        let whole = Photo::new("a")
            .with_labels(["x", "y"])
            .with_source("a.jpg")
            .with_product("p")
            .with_content([1; 32]);
        gallery.add(vec![whole.clone()], row(1)).unwrap();
        let after = |photo: Photo| {
            gallery.replace(vec![photo], row(2)).unwrap();
            reopened(path).look().photo("a").unwrap().unwrap()
        };
        assert_eq!(
            after(Photo::new("a").with_content([2; 32])),
            whole.clone().with_content([2; 32]),
            "{home}"
        );
        let none: [&str; 0] = [];
        let without = Photo::new("a").with_source("a.jpg").with_content([2; 32]);
        assert_eq!(
            after(Photo::new("a").with_labels(none).with_product("").with_content([2; 32])),
            without,
            "{home}"
        );
        assert_eq!(
            after(Photo::new("a").with_content([3; 32]).with_source("b.jpg")).source(),
            Some(Path::new("b.jpg"))
        );
    });
}

#[test]
fn a_reader_sees_each_change_once_it_looks_and_keeps_what_it_had() {
    everywhere(|home, path, gallery| {
        let mut model = Model::default();
        add(gallery, &mut model, 0..5);
        let reader = reopened(path);
        let (before, old) = (model.clone(), reader.look());
        add(gallery, &mut model, 5..9);
        gallery.remove(&[&id(0)]).unwrap();
        model.0.remove(&id(0));
        if reader.folder().is_some() {
            before.assert_is(reader.as_ref());
            assert!(reader.refresh().unwrap() && !reader.refresh().unwrap(), "{home}");
            // What was looked at never changes.
            assert_answers(home, old.as_ref(), &before);
        } else {
            // A database answers with what is there, and has nothing to look for.
            assert!(!reader.refresh().unwrap(), "{home}");
            assert_answers(home, old.as_ref(), &model);
        }
        model.assert_is(reader.as_ref());
        assert_answers(home, reader.look().as_ref(), &model);
        for refused in
            [reader.add(vec![photo(30)], row(30)), reader.remove(&[&id(1)]).map(drop), reader.compact_files()]
        {
            assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{home}");
        }
    });
}

/// Out into a file and in again, elsewhere and here.
#[test]
fn what_goes_out_comes_in() {
    everywhere(|home, _, gallery| {
        let mut model = Model::default();
        add(gallery, &mut model, 0..40);
        let endings: &[&str] = if cfg!(feature = "parquet") { &["npy", "parquet"] } else { &["npy"] };
        for ending in endings {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("embeddings").with_extension(ending);
            gallery.export(&file, Default::default(), Default::default()).unwrap();
            let files = sketchfind::EmbeddingFiles::open(&file, Default::default()).unwrap();
            let import = |gallery: &dyn Home| {
                gallery.import(&files, Default::default(), Default::default(), Default::default()).unwrap()
            };
            assert_eq!((files.len(), import(gallery).n_unchanged), (40, 40), "{home}");
            model.assert_is(gallery);
            let other = folder.path().join("other");
            Gallery::create_without_model(&other, &gallery.space(), &GalleryOptions::exact("test")).unwrap();
            let other = Gallery::open_with(&other, Access::Write).unwrap();
            assert_eq!(import(&other).n_added, 40, "{home}");
            let mut kept = model.clone();
            if *ending == "npy" {
                // It has embeddings and ids alone.
                kept.0.iter_mut().for_each(|(id, (photo, _))| *photo = Photo::new(id));
            }
            kept.assert_is(&other);
        }
    });
}
