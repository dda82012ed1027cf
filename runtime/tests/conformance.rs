//! What every gallery does, wherever its photos lie and however it is opened: one suite of laws, run over each kind of home.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind::{
    Access, Distance, EmbeddingSpace, Error, Filter, Gallery, GalleryOptions, HnswParameters, IndexSpec,
    Match, OnExisting, Photo, SearchOptions, Snapshot,
};
use sketchfind_core::random::Stream;

use crate::store::Model;
use crate::{assert_says, fixture};

/// A home: how a gallery comes into being, and how somebody else sees it.
struct Home {
    name: &'static str,
    make: fn(&Path) -> Gallery,
}

const WIDTH: usize = 3;
const HOMES: [Home; 7] = [
    Home { name: "with a model", make: |path| with_model(path, Access::Write) },
    Home { name: "by turns", make: |path| with_model(path, Access::Turns) },
    Home { name: "without a model", make: |path| without_model(path, Distance::Mse, IndexSpec::Exact) },
    Home { name: "by cosine", make: |path| without_model(path, Distance::Cosine, IndexSpec::Exact) },
    Home {
        name: "an index of its own choice",
        make: |path| without_model(path, Distance::Mse, IndexSpec::Auto),
    },
    // So many candidates that the graph finds all there are.
    Home {
        name: "a graph",
        make: |path| {
            let index = IndexSpec::Hnsw(HnswParameters { m: 16, ef_construction: 200, ef_search: 4_000 });
            without_model(path, Distance::Mse, index)
        },
    },
    Home {
        name: "a copy",
        make: |path| {
            let first = path.with_extension("first");
            drop(with_model(&first, Access::Write));
            Gallery::copy(&first, path, OnExisting::Refuse).unwrap();
            Gallery::open_with(path, Access::Write).unwrap()
        },
    },
];

fn with_model(path: &Path, access: Access) -> Gallery {
    Gallery::create_empty(path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    Gallery::open_with(path, access).unwrap()
}

fn without_model(path: &Path, distance: Distance, index: IndexSpec) -> Gallery {
    let options = GalleryOptions::with_index(index, "test");
    Gallery::create_without_model(path, &EmbeddingSpace::new(WIDTH, distance), &options).unwrap();
    Gallery::open_with(path, Access::Write).unwrap()
}

/// Runs `law` over every home, with a gallery that is empty and its path.
fn everywhere(law: impl Fn(&str, &Path, Gallery)) {
    for Home { name, make } in HOMES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery");
        law(name, &path, make(&path));
    }
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

fn add(gallery: &Gallery, model: &mut Model, numbers: impl Iterator<Item = usize> + Clone) {
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

fn assert_answers(home: &str, snapshot: &Snapshot, model: &Model) {
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
                let batch = snapshot.search_batch_with(&queries.concat(), k, filter, options).unwrap();
                for (query, together) in queries.iter().zip(&batch) {
                    let expected = expected(model, snapshot.distance(), query, k, filter, by_product);
                    assert_found(home, together, &expected, model);
                    assert_eq!(&snapshot.search_with(query, k, filter, options).unwrap(), together, "{home}");
                }
            }
        }
        let is_nothing = !model.0.values().any(|(photo, _)| filter.passes(photo));
        assert_eq!(snapshot.why_nothing(filter).is_some(), is_nothing, "{home}");
    }
    for wrong in [vec![0.5; WIDTH + 1], vec![f32::NAN; WIDTH], vec![f32::INFINITY; WIDTH]] {
        assert!(snapshot.search(&wrong, 1, &filters[0]).is_err(), "{home}");
    }
}

#[test]
fn answers_are_those_of_looking_at_everything() {
    everywhere(|home, path, gallery| {
        let mut model = Model::default();
        assert_answers(home, &gallery.snapshot(), &model);
        add(&gallery, &mut model, 0..100);
        assert_answers(home, &gallery.snapshot(), &model);
        gallery.checkpoint().unwrap();
        add(&gallery, &mut model, 100..140);
        let gone: Vec<String> = (0..140).step_by(7).map(id).collect();
        assert_eq!(gallery.remove(&gone).unwrap(), gone.len(), "{home}");
        gone.iter().for_each(|id| drop(model.0.remove(id)));
        assert_answers(home, &gallery.snapshot(), &model);
        gallery.compact(Default::default(), Default::default()).unwrap();
        assert_answers(home, &gallery.snapshot(), &model);
        drop(gallery);
        assert_answers(home, &Gallery::open(path).unwrap().snapshot(), &model);
    });
}

/// So many photos that a graph is built where there is to be one.
#[test]
fn many_photos_are_searched_as_few_are() {
    everywhere(|home, _, gallery| {
        let mut model = Model::default();
        add(&gallery, &mut model, 0..1_300);
        gallery.compact(Default::default(), Default::default()).unwrap();
        assert_eq!(gallery.snapshot().n_without_graph() == 0, home == "a graph", "{home}");
        assert_answers(home, &gallery.snapshot(), &model);
    });
}

#[test]
fn a_change_happens_whole_or_not_at_all() {
    everywhere(|home, path, gallery| {
        let mut model = Model::default();
        add(&gallery, &mut model, 0..10);
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
            model.assert_is(&gallery);
        }
        assert_eq!(gallery.remove(&["never", "neither"]).unwrap(), 0, "{home}");
        // One that is refused keeps nobody else from writing, and nothing of it is there afterwards.
        add(&gallery, &mut model, 20..22);
        drop(gallery);
        model.assert_is(&Gallery::open(path).unwrap());
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
            Gallery::open(path).unwrap().snapshot().photo("a").unwrap().clone()
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
        add(&gallery, &mut model, 0..5);
        let reader = Gallery::open(path).unwrap();
        let (before, old) = (model.clone(), reader.snapshot());
        add(&gallery, &mut model, 5..9);
        gallery.remove(&[id(0)]).unwrap();
        model.0.remove(&id(0));
        before.assert_is(&reader);
        assert!(reader.refresh().unwrap() && !reader.refresh().unwrap(), "{home}");
        model.assert_is(&reader);
        assert_answers(home, &reader.snapshot(), &model);
        // A snapshot never changes.
        assert_answers(home, &old, &before);
        for refused in
            [reader.add(vec![photo(30)], row(30)), reader.remove(&[id(1)]).map(drop), reader.checkpoint()]
        {
            assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{home}");
        }
    });
}

/// Out into a file and in again, elsewhere and here.
#[test]
fn what_goes_out_comes_in() {
    everywhere(|home, path, gallery| {
        let mut model = Model::default();
        add(&gallery, &mut model, 0..40);
        let endings: &[&str] = if cfg!(feature = "parquet") { &["npy", "parquet"] } else { &["npy"] };
        for ending in endings {
            let file = path.with_extension(ending);
            gallery.export(&file, Default::default(), Default::default()).unwrap();
            let files = sketchfind::EmbeddingFiles::open(&file, Default::default()).unwrap();
            let import = |gallery: &Gallery| {
                gallery.import(&files, Default::default(), Default::default(), Default::default()).unwrap()
            };
            assert_eq!((files.len(), import(&gallery).n_unchanged), (40, 40), "{home}");
            model.assert_is(&gallery);
            let other = path.with_extension(format!("{ending}-other"));
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
