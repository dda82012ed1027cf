//! Photos that share a product: kept, filtered, and found once.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind::{
    Access, Distance, EmbeddingSpace, Filter, Gallery, GalleryOptions, HnswParameters, IndexSpec, Match,
    Nothing, Photo, SearchOptions, Snapshot,
};
use sketchfind_core::random::Stream;
use sketchfind_tests::folders;

use crate::store::{embedding, id};
use crate::{assert_says, fixture};

fn create(path: &Path, options: &GalleryOptions) -> Gallery {
    Gallery::create_without_model(path, &EmbeddingSpace::new(3, Distance::Mse), options).unwrap();
    Gallery::open_with(path, Access::Write).unwrap()
}

/// Products of one photo to many, and photos without a product.
fn photo(number: usize) -> Photo {
    let photo =
        Photo::new(id(number)).with_labels([if number.is_multiple_of(3) { "third" } else { "other" }]);
    match number % 10 {
        0 => photo,
        1..=4 => photo.with_product("many"),
        digit => photo.with_product(format!("product {digit} {}", number / 40)),
    }
}

fn fill(gallery: &Gallery, n: usize) {
    gallery.add((0..n).map(photo).collect(), (0..n).flat_map(embedding).collect()).unwrap();
}

/// What a search by product is to find: all photos in order, of which the first of each product counts.
fn expected(snapshot: &Snapshot, query: &[f32], k: usize, filter: &Filter) -> Vec<(String, f64)> {
    let mut best: BTreeMap<String, (f64, String)> = BTreeMap::new();
    for (photo, row) in snapshot.photos().filter(|(photo, _)| filter.passes(photo)) {
        let distance = row.iter().zip(query).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / 3.0;
        let name =
            photo.product().map_or(format!("photo {}", photo.id()), |product| format!("product {product}"));
        let own = (distance, photo.id().to_owned());
        let first = best.entry(name).or_insert_with(|| own.clone());
        if own < *first {
            *first = own;
        }
    }
    let mut best: Vec<(f64, String)> = best.into_values().collect();
    best.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    best.into_iter().take(k).map(|(distance, id)| (id, distance)).collect()
}

#[track_caller]
fn assert_is(found: &[Match], expected: &[(String, f64)]) {
    let ids = |found: &[Match]| found.iter().map(|found| found.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(found), expected.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
    for (place, (found, (_, distance))) in found.iter().zip(expected).enumerate() {
        assert!((found.distance - distance).abs() < 1e-6, "{} {distance}", found.distance);
        assert_eq!((found.rank, found.score), (place + 1, None));
    }
}

#[test]
fn each_product_is_found_once_by_its_nearest_photo() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = create(&folder.path().join("gallery"), &GalleryOptions::exact("test"));
    fill(&gallery, 300);
    gallery.checkpoint().unwrap();
    // Products lie in several segments, and some of their photos are gone.
    gallery.remove(&(0..300).step_by(7).map(id).collect::<Vec<_>>()).unwrap();
    gallery.add((300..400).map(photo).collect(), (300..400).flat_map(embedding).collect()).unwrap();
    let snapshot = gallery.snapshot();
    let filters = [
        Filter::everything(),
        Filter::everything().any_label(["third"]),
        Filter::everything().without_products(["many"]),
        Filter::everything().only_products(["many", "product 5 0", "never"]),
        Filter::everything().only_products(["many", "product 5 0"]).only_products(["many"]),
        Filter::everything().only_ids([id(1), id(2), id(10), id(20)]),
    ];
    for (number, filter) in filters.iter().enumerate() {
        for k in [0, 1, 3, 20, 1000] {
            let queries: Vec<f32> = (0..5).flat_map(|query| embedding(5000 + 10 * number + query)).collect();
            let by_product = SearchOptions::default().by_product();
            let found = snapshot.search_batch_with(&queries, k, filter, by_product).unwrap();
            for (query, found) in queries.chunks(3).zip(&found) {
                assert_is(found, &expected(&snapshot, query, k, filter));
                assert_eq!(found, &snapshot.search_with(query, k, filter, by_product).unwrap());
            }
            // By photo a filter by product is one as any other.
            let found = snapshot.search(&queries[..3], k, filter).unwrap();
            assert!(found.iter().all(|found| filter.passes(snapshot.photo(&found.id).unwrap())));
            let n_passing = snapshot.photos().filter(|(photo, _)| filter.passes(photo)).count();
            assert_eq!(found.len(), n_passing.min(k));
        }
    }
    let first = &snapshot.search(&embedding(1), 1, &filters[0]).unwrap()[0];
    assert_eq!((first.id.as_str(), first.product.as_deref()), (id(1).as_str(), Some("many")));
}

/// The nearest thousand photos are of one product: a search looks on until it has found others.
#[test]
fn a_product_of_very_many_photos_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let index = IndexSpec::Hnsw(HnswParameters { m: 8, ef_construction: 40, ef_search: 16 });
    let gallery = create(&folder.path().join("gallery"), &GalleryOptions::with_index(index, "test"));
    let mut stream = Stream::new(1, "products", &[]);
    let near = (0..1500).map(|number| Photo::new(format!("near {number}")).with_product("near"));
    let far = (0..40).map(|number| Photo::new(format!("far {number}")).with_product(format!("far {number}")));
    let values = (0..1540_usize).flat_map(|number| {
        let base = if number < 1500 { 0.0 } else { 5.0 + number as f32 - 1500.0 };
        [(); 3].map(|()| base + stream.unit() as f32)
    });
    let values = values.collect();
    gallery.add(near.chain(far).collect(), values).unwrap();
    gallery.compact(Default::default(), Default::default()).unwrap();
    let snapshot = gallery.snapshot();
    assert_eq!(snapshot.n_without_graph(), 0);
    let options = SearchOptions::default().by_product();
    let found = snapshot.search_with(&[0.5; 3], 5, &Filter::everything(), options).unwrap();
    let products: Vec<_> = found.iter().map(|found| found.product.as_deref().unwrap()).collect();
    assert_eq!(products, ["near", "far 0", "far 1", "far 2", "far 3"]);
    // All there are, where more are asked for.
    let all = snapshot.search_with(&[0.5; 3], 100, &Filter::everything(), options).unwrap();
    assert_eq!(all.len(), 41);
}

#[test]
fn a_product_is_kept_until_another_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = create(&path, &GalleryOptions::exact("test"));
    let product = |gallery: &Gallery| gallery.snapshot().photo("a").unwrap().product().map(str::to_owned);
    let replace = |photo: Photo| gallery.replace(vec![photo], vec![0.0; 3]).unwrap();
    // Every way in which Unicode writes a product is one product.
    replace(Photo::new("a").with_product("cafe\u{301}"));
    assert_eq!(product(&gallery).as_deref(), Some("caf\u{e9}"));
    let only = Filter::everything().only_products(["cafe\u{301}"]);
    assert_eq!(gallery.snapshot().search(&[0.0; 3], 5, &only).unwrap().len(), 1);
    replace(Photo::new("a").with_labels(["new"]).with_content([3; 32]));
    assert_eq!(product(&gallery).as_deref(), Some("caf\u{e9}"));
    let reader = Gallery::open(&path).unwrap();
    assert_eq!(product(&reader).as_deref(), Some("caf\u{e9}"));
    gallery.compact(Default::default(), Default::default()).unwrap();
    assert!(reader.refresh().unwrap());
    let after = reader.snapshot().photo("a").unwrap().clone();
    let whole = Photo::new("a").with_labels(["new"]).with_content([3; 32]).with_product("caf\u{e9}");
    assert_eq!(after, whole);
    replace(Photo::new("a").with_product(""));
    assert_eq!(product(&gallery), None);
    drop(gallery);
    assert_eq!(product(&Gallery::open(&path).unwrap()), None);

    let gallery = Gallery::open_with(&path, Access::Write).unwrap();
    let long = Photo::new("b").with_product("x".repeat(5000));
    assert_says(gallery.add(vec![long], vec![0.0; 3]).unwrap_err(), &["product", "5000 bytes", "1 to 4096"]);
}

#[test]
fn why_no_product_is_found_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = create(&folder.path().join("gallery"), &GalleryOptions::exact("test"));
    fill(&gallery, 20);
    let why = |filter: Filter| gallery.snapshot().why_nothing(&filter);
    let nothing = why(Filter::everything().only_products(["boot", "shoe"])).unwrap();
    assert_eq!(nothing, Nothing::NoSuchProduct(vec!["boot".into(), "shoe".into()]));
    assert_eq!(
        (nothing.code(), nothing.to_string().as_str()),
        ("no_such_product", "no photo shows the product 'boot' or 'shoe'")
    );
    assert_eq!(why(Filter::everything().only_products(["many"])), None);
    let both = Filter::everything().only_products(["many"]).without_products(["many"]);
    assert_eq!(why(both), Some(Nothing::Filter { n_photos: 20 }));
    // Once its photos are gone so is the product.
    gallery
        .remove(&(0..20).filter(|number| (1..=4).contains(&(number % 10))).map(id).collect::<Vec<_>>())
        .unwrap();
    assert_eq!(
        why(Filter::everything().only_products(["many"])),
        Some(Nothing::NoSuchProduct(vec!["many".into()]))
    );
}

/// A program that does not know products shall say that the gallery is newer, and read it until then.
#[test]
fn a_gallery_of_an_earlier_format_becomes_newer_with_its_first_product() {
    for (fixture_name, format) in [("gallery-v4", 4), ("gallery-v5", 5)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery");
        folders::copy(&fixture(fixture_name), &path).unwrap();
        for access in [Access::Write, Access::Turns] {
            let gallery = Gallery::open_with(&path, access).unwrap();
            gallery.replace(vec![Photo::new("plain")], vec![0.25; 3]).unwrap();
        }
        assert_eq!(Gallery::open(&path).unwrap().manifest().format, format);
        let turns = Gallery::open_with(&path, Access::Turns).unwrap();
        let reader = Gallery::open(&path).unwrap();
        turns.add(vec![Photo::new("shown").with_product("boot")], vec![0.75; 3]).unwrap();
        assert_eq!((turns.manifest().format, Gallery::open(&path).unwrap().manifest().format), (6, 6));
        assert!(reader.refresh().unwrap());
        for gallery in [&turns, &reader] {
            assert_eq!(gallery.snapshot().photo("shown").unwrap().product(), Some("boot"));
            assert!(gallery.snapshot().photo("plain").is_some() && gallery.len() == 5);
        }
    }
}
