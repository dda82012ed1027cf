//! Galleries in a database: what only such ones do, and what befalls a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sketchfind::home::{self, Home};
use sketchfind::{
    Access, Distance, EmbedderOptions, EmbeddingSpace, Error, Filter, Gallery, GalleryOptions,
    HnswParameters, Image, IndexSpec, Nothing, Photo, PostgresGallery, Retriever, RetrieverOptions,
    SearchOptions,
};
use sketchfind_core::random::Stream;
use sketchfind_tests::postgres::{Server, shared};

use crate::{assert_says, fixture, wait_until};

/// A name that no other gallery of the shared server has.
fn name() -> String {
    static N: AtomicUsize = AtomicUsize::new(0);
    format!("gallery_{}", N.fetch_add(1, Ordering::Relaxed))
}

/// The address of another gallery in the shared server, for those who hold on to that.
pub(crate) fn place() -> Option<PathBuf> {
    Some(PathBuf::from(shared()?.address(&name())))
}

/// An embedding of `width` numbers.
fn row(number: usize, width: usize) -> Vec<f32> {
    let mut stream = Stream::new(3, "postgres", &[number as u64]);
    (0..width).map(|_| stream.unit() as f32 - 0.5).collect()
}

fn rows(numbers: std::ops::Range<usize>, width: usize) -> (Vec<Photo>, Vec<f32>) {
    let photo = |number: usize| Photo::new(format!("{number:05}")).with_labels([["even", "odd"][number % 2]]);
    (numbers.clone().map(photo).collect(), numbers.flat_map(|number| row(number, width)).collect())
}

/// A gallery of embeddings of `width` in `server`, open for writing, and its place.
fn of_embeddings(server: &Server, width: usize, index: IndexSpec) -> (Arc<dyn Home>, PathBuf) {
    let place = PathBuf::from(server.address(&name()));
    let space = EmbeddingSpace::new(width, Distance::Mse);
    home::create_without_model(&place, &space, &GalleryOptions::with_index(index, "test")).unwrap();
    (home::open(&place, Access::Write).unwrap(), place)
}

fn ids(
    look: &dyn home::Look,
    query: &[f32],
    k: usize,
    filter: &Filter,
    options: SearchOptions,
) -> Vec<String> {
    let found = look.search_values(query, k, filter, options).unwrap().remove(0);
    found.into_iter().map(|found| found.id).collect()
}

#[test]
fn a_retriever_asks_and_fills_one_as_it_does_a_folder() {
    let Some(server) = shared() else { return };
    let place = PathBuf::from(server.address(&name()));
    home::create_empty(&place, &fixture("mean8"), &GalleryOptions::auto("test")).unwrap();
    let retriever =
        Retriever::open(&place, RetrieverOptions::new(EmbedderOptions::cpu()).writable()).unwrap();
    let colour = |rgb: [u8; 3]| Image::new(1, 1, rgb.to_vec()).unwrap();
    retriever.add(Photo::new("red").with_labels(["warm"]), &colour([255, 0, 0])).unwrap();
    retriever.add(Photo::new("blue").with_source("shop/blue.jpg"), &colour([0, 0, 255])).unwrap();
    let refused = retriever.add(Photo::new("red"), &colour([255, 0, 0])).unwrap_err();
    assert!(matches!(refused, Error::PhotoExists { id } if id == "red"));
    let matches = retriever.query(&colour([250, 0, 0]), 5).unwrap();
    assert_eq!(matches.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["red", "blue"]);
    // The distance is the model's, as a folder gives it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::auto("test")).unwrap();
    let local = Retriever::open(&path, RetrieverOptions::cpu().writable()).unwrap();
    local.add(Photo::new("red").with_labels(["warm"]), &colour([255, 0, 0])).unwrap();
    local.add(Photo::new("blue").with_source("shop/blue.jpg"), &colour([0, 0, 255])).unwrap();
    assert_eq!(local.query(&colour([250, 0, 0]), 5).unwrap(), matches);
    // Whoever opens it has the model from there.
    let other = Retriever::open(&place, RetrieverOptions::cpu()).unwrap();
    assert_eq!(other.query(&colour([250, 0, 0]), 5).unwrap(), matches);
    assert_eq!(other.photo("blue").unwrap().unwrap().source(), Some(Path::new("shop/blue.jpg")));
    let never = Filter::everything().any_label(["never"]);
    let answer = other.answer(&colour([0, 0, 9]), 3, &never, None).unwrap();
    assert_eq!((answer.nothing, answer.n_photos), (Some(Nothing::NoSuchLabel(vec!["never".into()])), 2));
    assert!(matches!(other.remove(&["red"]), Err(Error::ReadOnly { .. })));
    assert_eq!((retriever.remove(&["red", "never"]).unwrap(), other.len().unwrap()), (1, 1));
}

#[test]
fn a_condition_of_ones_own_joins_other_tables() {
    let Some(server) = shared() else { return };
    let (gallery, place) = of_embeddings(&server, 4, IndexSpec::Exact);
    let (photos, values) = rows(0..50, 4);
    gallery.add(photos, values).unwrap();
    server.sql(
        "create table stock (photo text, price int); insert into stock values ('00007', 10), ('00009', 30)",
    );
    let cheap = Filter::everything().where_sql("id in (select photo from stock where price < 20) -- cheap");
    let look = gallery.look();
    let found = |filter: &Filter| ids(look.as_ref(), &row(9, 4), 5, filter, SearchOptions::default());
    assert_eq!(found(&cheap), ["00007"]);
    assert!(found(&cheap.clone().any_label(["even"])).is_empty());
    let wrong = Filter::everything().where_sql("price < 20");
    let refused = look.search_values(&row(9, 4), 1, &wrong, SearchOptions::default()).unwrap_err();
    assert_says(refused, &["price", "42703"]);
    // What ends the condition does not begin another statement.
    let two = Filter::everything().where_sql("true); drop table stock; select (true");
    assert!(look.search_values(&row(9, 4), 1, &two, SearchOptions::default()).is_err());
    assert_eq!(server.sql("select count(*) from stock"), "2");
    // A folder knows no SQL, and what is a folder's a database refuses by name.
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("gallery");
    Gallery::create_without_model(&local, &gallery.space(), &GalleryOptions::exact("test")).unwrap();
    let refused = Gallery::open(&local).unwrap().snapshot().search(&row(9, 4), 1, &cheap).unwrap_err();
    assert_says(refused, &["condition", "knows no SQL"]);
    assert_says(Gallery::open(&place).unwrap_err(), &["it is in a database", "127.0.0.1"]);
    server.sql("drop table stock");
}

#[test]
fn a_graph_finds_nearly_all_and_exact_search_all() {
    const N: usize = 3_000;
    const WIDTH: usize = 16;
    let Some(server) = shared() else { return };
    let index = IndexSpec::Hnsw(HnswParameters { m: 16, ef_construction: 100, ef_search: 200 });
    let (gallery, place) = of_embeddings(&server, WIDTH, index);
    let (photos, values) = rows(0..N, WIDTH);
    gallery.add(photos, values.clone()).unwrap();
    assert_eq!(gallery.measure_recall(Default::default(), Default::default()).unwrap(), None);
    assert_eq!(gallery.build_index(Default::default(), Default::default()).unwrap().n_photos, N);
    let recall = gallery.measure_recall(Default::default(), Default::default()).unwrap().unwrap();
    assert!(recall.value() > 0.95, "{recall:?}");
    assert_eq!(home::open(&place, Access::Read).unwrap().recall(), Some(recall));
    let plan = server.sql(&format!(
        "set enable_seqscan = off; explain select id from {} order by embedding <-> '[{}]' limit 3",
        place.to_str().unwrap().split_once("gallery=").unwrap().1,
        vec!["0"; WIDTH].join(",")
    ));
    assert!(plan.contains("_hnsw"), "{plan}");
    // Exact, and with a filter, it is as looking at everything.
    let look = gallery.look();
    for query in (0..N).step_by(701).map(|number| row(number + N, WIDTH)) {
        let mut all: Vec<(f64, String)> = (0..N)
            .map(|number| {
                (Distance::Mse.between(&query, &values[number * WIDTH..][..WIDTH]), format!("{number:05}"))
            })
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let nearest = |is_wanted: &dyn Fn(usize) -> bool| -> Vec<String> {
            let wanted = all.iter().filter(|(_, id)| is_wanted(id.parse().unwrap()));
            wanted.take(10).map(|(_, id)| id.clone()).collect()
        };
        let exact = ids(look.as_ref(), &query, 10, &Filter::everything(), SearchOptions::exact());
        assert_eq!(exact, nearest(&|_| true));
        let odd = Filter::everything().any_label(["odd"]);
        assert_eq!(ids(look.as_ref(), &query, 10, &odd, SearchOptions::default()), nearest(&|n| n % 2 == 1));
        let few = Filter::everything().only_ids(["00003", "02999"]);
        assert_eq!(
            ids(look.as_ref(), &query, 10, &few, SearchOptions::default()),
            nearest(&|n| n == 3 || n == 2999)
        );
        let many = ids(look.as_ref(), &query, 2_000, &Filter::everything(), SearchOptions::default());
        assert_eq!(many.len(), 2_000);
    }
    gallery.set_index(IndexSpec::Exact).unwrap();
    gallery.build_index(Default::default(), Default::default()).unwrap();
    assert_eq!(gallery.measure_recall(Default::default(), Default::default()).unwrap(), None);
    assert_eq!(server.sql("select count(*) from pg_class where relname like '%_hnsw'"), "0");
}

#[test]
fn wide_embeddings_are_kept_in_half_precision() {
    let Some(server) = shared() else { return };
    let (gallery, _) = of_embeddings(&server, 2_048, IndexSpec::Exact);
    let (photos, values) = rows(0..20, 2_048);
    gallery.add(photos, values).unwrap();
    let found =
        gallery.look().search_values(&row(7, 2_048), 2, &Filter::everything(), SearchOptions::default());
    let found = found.unwrap().remove(0);
    // Half precision has 11 binary digits: numbers below 1 are off by 2^-12 of their size at most.
    assert!(found[0].id == "00007" && found[0].distance < 2.0_f64.powi(-24), "{found:?}");
    let kept = gallery.look().embedding("00007").unwrap().unwrap();
    assert!(kept.iter().zip(row(7, 2_048)).all(|(kept, own)| (kept - own).abs() <= own.abs() / 2048.0));
    let large = gallery.add(vec![Photo::new("large")], vec![1e6; 2_048]).unwrap_err();
    assert_says(large, &["large", "half precision"]);
    let place = PathBuf::from(server.address(&name()));
    let space = EmbeddingSpace::new(4_001, Distance::Mse);
    let refused = home::create_without_model(&place, &space, &GalleryOptions::exact("test")).unwrap_err();
    assert_says(refused, &["4001", "4000"]);
}

#[test]
fn texts_are_kept_as_they_are_or_refused_by_name() {
    let Some(server) = shared() else { return };
    let (gallery, _) = of_embeddings(&server, 2, IndexSpec::Exact);
    let odd = ["cafe\u{301}", "a'b\"c\\d", "ab\u{1F45F}", "%_$1", "Z", "a", "\u{e4}", "\n"];
    let photos = odd.map(|id| Photo::new(id).with_labels([id]).with_product(id).with_source(id)).to_vec();
    gallery.add(photos, vec![0.5; 16]).unwrap();
    let look = gallery.look();
    let mut sorted = odd.map(str::to_owned);
    sorted.sort();
    assert_eq!(look.ids().unwrap(), sorted);
    for id in odd {
        let photo = look.photo(id).unwrap().unwrap();
        assert_eq!(photo.source(), Some(Path::new(id)));
        let only = Filter::everything().only_ids([id]).any_label([id]).only_products([id]);
        assert_eq!(ids(look.as_ref(), &[0.0, 0.0], 9, &only, SearchOptions::default()), [id]);
    }
    // Every form of Unicode is the same.
    let other_form = Filter::everything().only_ids(["caf\u{e9}"]);
    assert_eq!(ids(look.as_ref(), &[0.0, 0.0], 9, &other_form, SearchOptions::default()), ["cafe\u{301}"]);
    assert_eq!(look.ids_in_any_form(&["caf\u{e9}", "Z", "never"]).unwrap(), ["Z", "cafe\u{301}"]);
    assert_says(
        gallery.add(vec![Photo::new("a\0b")], vec![0.0; 2]).unwrap_err(),
        &["a\\u{0}b", "zero character"],
    );
    assert_eq!(gallery.remove(&["a\0b"]).unwrap(), 0);
    assert_eq!(look.photos(&["a\0b", "Z"]).unwrap().iter().flatten().count(), 1);
    assert!(look.ids_in_any_form(&["a\0b"]).unwrap().is_empty() && look.embedding("a\0b").unwrap().is_none());
    for nowhere in [
        Filter::everything().every_label(["a\0b"]),
        Filter::everything().any_label(["a\0b"]),
        Filter::everything().only_ids(["a\0b"]),
        Filter::everything().only_products(["a\0b"]),
    ] {
        assert!(ids(look.as_ref(), &[0.0, 0.0], 9, &nowhere, SearchOptions::default()).is_empty());
        assert!(look.why_nothing(&nowhere).unwrap().is_some_and(|why| why.to_string().contains("a\0b")));
    }
    let without =
        Filter::everything().without_ids(["a\0b"]).without_label(["a\0b"]).without_products(["a\0b"]);
    assert_eq!(ids(look.as_ref(), &[0.0, 0.0], 9, &without, SearchOptions::default()).len(), odd.len());
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"\xff.jpg"));
        let refused = gallery.add(vec![Photo::new("x").with_source(path)], vec![0.0; 2]).unwrap_err();
        assert_says(refused, &["'x'", "UTF-8"]);
    }
    assert_eq!(look.len().unwrap(), odd.len());
}

#[test]
fn writers_follow_each_other_and_nothing_is_lost() {
    let Some(server) = shared() else { return };
    let (gallery, place) = of_embeddings(&server, 4, IndexSpec::Exact);
    let n_refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..4_usize {
            let (place, n_refused) = (&place, &n_refused);
            scope.spawn(move || {
                let own = home::open(place, Access::Turns).unwrap();
                for turn in 0..10 {
                    // Its own photos, and those that all of them would add.
                    let first = 1_000 * (writer + 1) + 10 * turn;
                    let (photos, values) = rows(first..first + 10, 4);
                    own.add(photos, values).unwrap();
                    let (photos, values) = rows(turn..turn + 1, 4);
                    match own.add(photos, values) {
                        Ok(()) => {}
                        Err(Error::PhotoExists { .. }) => drop(n_refused.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => panic!("{error}"),
                    }
                    let (photos, values) = rows(turn..turn + 1, 4);
                    own.replace(photos, values).unwrap();
                }
            });
        }
    });
    let look = gallery.look();
    assert_eq!((look.len().unwrap(), look.ids().unwrap().len()), (410, 410));
    assert_eq!(n_refused.into_inner(), 30);
    // Who writes in SQL is counted where the gallery is compacted.
    server.sql(&format!(
        "delete from {} where id < '00005'",
        place.to_str().unwrap().split_once("gallery=").unwrap().1
    ));
    gallery.compact(Default::default(), Default::default()).unwrap();
    assert_eq!(look.len().unwrap(), 405);
}

#[test]
fn a_connection_that_is_cut_leaves_nothing_half_done() {
    const WIDTH: usize = 512;
    // Its own: connections of others would be cut as well.
    let Some(server) = Server::start() else { return };
    let (gallery, _) = of_embeddings(&server, WIDTH, IndexSpec::Exact);
    let (photos, values) = rows(0..10, WIDTH);
    gallery.add(photos, values).unwrap();
    let (photos, values) = rows(10..10_000, WIDTH);
    let refused = std::thread::scope(|scope| {
        let adding = scope.spawn(|| gallery.add(photos.clone(), values.clone()));
        wait_until(|| {
            server.sql(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                 where query like 'copy \"gallery_%' and state = 'active'",
            ) != "0"
        });
        adding.join().unwrap().unwrap_err()
    });
    assert!(matches!(refused, Error::Database { is_passing: true, .. }), "{refused}");
    let look = gallery.look();
    assert_eq!((look.len().unwrap(), look.ids().unwrap().len()), (10, 10));
    gallery.add(photos, values).unwrap();
    assert_eq!(look.len().unwrap(), 10_000);
    // One that was idle meanwhile is made anew, for a question and for a change.
    let cut = || {
        server.sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'sketchfind'")
    };
    assert_ne!(cut(), "0");
    assert_eq!(look.len().unwrap(), 10_000);
    assert_ne!(cut(), "0");
    assert_eq!(gallery.remove(&["00000"]).unwrap(), 1);
}

#[test]
fn a_server_that_is_gone_is_one_error_and_back_again_it_answers() {
    let Some(server) = Server::start() else { return };
    let (gallery, place) = of_embeddings(&server, 4, IndexSpec::Exact);
    let (photos, values) = rows(0..20, 4);
    gallery.add(photos, values).unwrap();
    let look = gallery.look();
    server.kill();
    let started = Instant::now();
    let refused =
        look.search_values(&row(1, 4), 1, &Filter::everything(), SearchOptions::default()).unwrap_err();
    assert!(matches!(refused, Error::Database { is_passing: true, .. }), "{refused}");
    assert_says(&refused, &["127.0.0.1", "refused"]);
    assert!(home::open(&place, Access::Read).is_err() && started.elapsed() < Duration::from_secs(10));
    // What was acknowledged is there after kill -9.
    server.go();
    assert_eq!(ids(look.as_ref(), &row(7, 4), 1, &Filter::everything(), SearchOptions::default()), ["00007"]);
    assert_eq!(look.len().unwrap(), 20);
}

#[test]
fn who_may_not_is_told_why_and_no_password_is() {
    let Some(server) = Server::start() else { return };
    server.ask_for_passwords();
    server.sql("create extension vector; create role shop login password 'right'; grant create on schema public to shop");
    let name = name();
    let as_shop = |password: &str| {
        PathBuf::from(format!(
            "postgres://shop:{password}@127.0.0.1:{}/postgres?gallery={name}",
            server.port()
        ))
    };
    let space = EmbeddingSpace::new(2, Distance::Mse);
    let options = GalleryOptions::exact("test");
    let refused = home::create_without_model(as_shop("wrong"), &space, &options).unwrap_err();
    assert!(matches!(refused, Error::Database { is_passing: false, .. }), "{refused:?}");
    assert_says(&refused, &["password authentication failed", "shop@127.0.0.1"]);
    assert!(!refused.to_string().contains("wrong"), "{refused}");
    home::create_without_model(as_shop("right"), &space, &options).unwrap();
    let gallery = home::open(as_shop("right"), Access::Write).unwrap();
    gallery.add(vec![Photo::new("a")], vec![0.0, 1.0]).unwrap();
    assert!(!format!("{gallery:?}").contains("right"));
    // One of that name is not overwritten, and one that is not there is named.
    let refused = home::create_without_model(as_shop("right"), &space, &options).unwrap_err();
    assert_says(refused, &["there is a table of that name already"]);
    let other = PathBuf::from(server.address("never"));
    assert!(matches!(home::open(&other, Access::Read), Err(Error::NoGallery { .. })));
    // Who may only read is told what is lacking.
    server.sql(&format!("create role reader login password 'r'; grant select on all tables in schema public to reader; grant select on {name} to reader"));
    let as_reader = as_shop("x").to_str().unwrap().replace("shop:x", "reader:r");
    let reader = home::open(&as_reader, Access::Write).unwrap();
    assert_eq!(reader.look().len().unwrap(), 1);
    assert_says(reader.remove(&["a"]).unwrap_err(), &["permission denied", "the user needs that right"]);
    PostgresGallery::delete(&as_shop("right")).unwrap();
    assert!(matches!(home::open(as_shop("right"), Access::Read), Err(Error::NoGallery { .. })));
    // A server without the extension says which package it needs.
    server.sql(
        "drop extension vector; alter role shop nosuperuser; revoke create on database postgres from public",
    );
    let refused = home::create_without_model(as_shop("right"), &space, &options).unwrap_err();
    assert_says(refused, &["no extension 'vector'", "postgresql-NN-pgvector", "create extension vector"]);
}

#[test]
fn what_the_table_says_of_a_gallery_is_believed_only_where_it_can_be() {
    let Some(server) = shared() else { return };
    let place = PathBuf::from(server.address(&name()));
    home::create_empty(&place, &fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let name = place.to_str().unwrap().split_once("gallery=").unwrap().1.to_owned();
    let reader = home::open(&place, Access::Read).unwrap();
    let wrong = |change: &str, back: &str, parts: &[&str]| {
        server.sql(change);
        assert_says(home::open(&place, Access::Read).map(drop).unwrap_err(), parts);
        server.sql(back);
        home::open(&place, Access::Read).unwrap();
    };
    let set = |column: &str, value: &str| {
        format!("update sketchfind_galleries set {column} = {value} where name = '{name}'")
    };
    wrong(&set("format", "99"), &set("format", "1"), &["format 99", "Update sketchfind"]);
    wrong(&set("distance", "'far'"), &set("distance", "'mse'"), &["distance", "far"]);
    wrong(&set("index", "'{}'"), &set("index", "'{\"kind\":\"exact\"}'"), &["index"]);
    wrong(&set("width", "4"), &set("width", "3"), &["embeddings of 3", "with 4"]);
    let bytes = format!(
        "update sketchfind_model_files set bytes = bytes || 'x'::bytea where gallery = '{name}' and name = 'model.onnx'"
    );
    let back = format!(
        "update sketchfind_model_files set bytes = substr(bytes, 1, length(bytes) - 1) where gallery = '{name}' and name = 'model.onnx'"
    );
    wrong(&bytes, &back, &["model.onnx", "damaged"]);
    let out = format!(
        "update sketchfind_model_files set name = '../x' where gallery = '{name}' and name = 'model.onnx'"
    );
    let in_again = format!(
        "update sketchfind_model_files set name = 'model.onnx' where gallery = '{name}' and name = '../x'"
    );
    wrong(&out, &in_again, &["'../x'", "not inside"]);
    wrong(
        &format!("alter table {name} rename to gone"),
        &format!("alter table gone rename to {name}"),
        &["is not there"],
    );
    // Who has it open sees that it is another model's now.
    server.sql(&set("model_sha256", &format!("'{}'", "0".repeat(64))));
    assert!(matches!(reader.refresh(), Err(Error::OtherModel { .. })));
}
