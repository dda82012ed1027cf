//! A gallery in a database wherever one in a folder is taken; and one that is spread over several servers.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sketchfind::home::{self, Home};
use sketchfind::{Access, Distance, EmbeddingSpace, Error, Filter, GalleryOptions, Photo, SearchOptions};
use sketchfind_core::random::Stream;
use sketchfind_tests::http::Server as HttpServer;
use sketchfind_tests::postgres::Server;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::surroundings;

use crate::living::photos;
use crate::refusals::small_model;
use crate::serve::{JSON, PNG, TOKEN, ids, json, png};

fn sketchfind(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.args(arguments);
    command
}

#[test]
fn every_command_takes_the_address_of_a_database() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (shop, model, local, file, sketch) =
        (at("shop"), at("model"), at("local"), at("photos.parquet"), at("sketch.png"));
    small_model(Path::new(&model), 3);
    photos(
        Path::new(&shop),
        &[("red.png", [220, 0, 0]), ("green.png", [0, 220, 0]), ("blue.png", [0, 0, 220])],
    );
    std::fs::write(&sketch, png(9, 9, [250, 10, 10])).unwrap();
    let address = server.address("shoes");
    let address = address.as_str();

    // From a folder into the database: the same photos, and the same answers.
    succeed(&mut sketchfind(&["index", "build", "--model", &model, "--photos", &shop, "--out", &local]));
    succeed(&mut sketchfind(&["index", "export", "--gallery", &local, "--out", &file]));
    fail(
        &mut sketchfind(&["index", "list", "--gallery", address]),
        3,
        &["none of that name", "index import"],
    );
    fail(&mut sketchfind(&["index", "import", "--gallery", address, &file]), 3, &["--distance", "--model"]);
    let import = ["index", "import", "--gallery", address, &file];
    let said = run(sketchfind(&import).args(["--model", &model]));
    assert!(said.code == Some(0) && said.err.contains("3 photos added"), "{}", said.err);
    let said = run(&mut sketchfind(&import));
    assert!(said.code == Some(0) && said.err.contains("3 there already"), "{}", said.err);
    fail(sketchfind(&import).args(["--distance", "cosine"]), 3, &["cosine was asked for"]);
    for verb in ["list", "query"] {
        let of = |gallery: &str| match verb {
            "list" => succeed(&mut sketchfind(&["index", "list", "--gallery", gallery])),
            _ => succeed(&mut sketchfind(&["query", "--gallery", gallery, "--format", "csv", &sketch])),
        };
        assert_eq!(of(address), of(&local), "{verb}");
    }
    let info = succeed(&mut sketchfind(&["info", address]));
    assert!(
        info.contains("3 photos, in 'postgres://postgres@127.0.0.1:") && info.contains("auto: exact"),
        "{info}"
    );

    // Changed as a folder is.
    photos(Path::new(&at("more")), &[("grey.png", [90, 90, 90])]);
    let said = run(&mut sketchfind(&["index", "add", "--gallery", address, "--photos", &at("more")]));
    assert!(
        said.code == Some(0) && said.err.contains("1 photos added") && said.err.contains("has 4"),
        "{}",
        said.err
    );
    fail(&mut sketchfind(&["index", "remove", "--gallery", address, "never"]), 3, &["no photo 'never'"]);
    let said = run(&mut sketchfind(&["index", "remove", "--gallery", address, "grey.png"]));
    assert!(said.code == Some(0) && said.err.contains("the gallery has 3"), "{}", said.err);
    std::fs::remove_file(Path::new(&shop).join("blue.png")).unwrap();
    photos(Path::new(&shop), &[("white.png", [255, 255, 255])]);
    let sync = ["index", "sync", "--gallery", address, "--photos", &shop];
    let dry = succeed(sketchfind(&sync).arg("--dry-run"));
    assert_eq!(dry, "change,id\nadd,white.png\nremove,blue.png\n");
    succeed(&mut sketchfind(&sync));
    server.sql("create table price (photo text, euros int); insert into price values ('white.png', 9), ('red.png', 90)");
    let cheap = ["query", "--gallery", address, "--format", "csv", &sketch, "--where"];
    let found = succeed(sketchfind(&cheap).arg("id in (select photo from price where euros < 10)"));
    assert!(found.lines().count() == 2 && found.contains(",white.png,"), "{found}");
    fail(sketchfind(&cheap).arg("nonsense < 1"), 3, &["nonsense", "[42703]"]);
    fail(
        sketchfind(&["query", "--gallery", &local, "--format", "csv", &sketch]).args(["--where", "true"]),
        3,
        &["knows no SQL"],
    );
    succeed(&mut sketchfind(&["index", "compact", "--gallery", address, "--index", "hnsw"]));
    let recall = succeed(&mut sketchfind(&["index", "recall", "--gallery", address]));
    assert!(recall.starts_with("recall@10"), "{recall}");
    // What only a folder does is refused by name.
    for refused in [
        vec!["index", "copy", address, &at("copy")],
        vec!["index", "reembed", "--gallery", address, "--model", &model],
        vec!["index", "build", "--model", &model, "--photos", &shop, "--out", address],
    ] {
        fail(&mut sketchfind(&refused), 3, &["it is in a database"]);
    }
    // No password is told, where nobody answers too, and that comes soon.
    let started = std::time::Instant::now();
    let nobody = "postgres://shop:secret@127.0.0.1:1/d?gallery=shoes";
    let said = run(&mut sketchfind(&["query", "--gallery", nobody, &sketch]));
    assert!(
        said.code == Some(1) && said.err.contains("shop@127.0.0.1:1") && !said.err.contains("secret"),
        "{}",
        said.err
    );
    assert!(started.elapsed().as_secs() < 10);
    let mut by_variables = sketchfind(&["info", "postgres://?gallery=shoes"]);
    by_variables.env("PGHOST", "127.0.0.1").env("PGPORT", server.port().to_string());
    by_variables.env("PGUSER", "postgres").env("PGDATABASE", "postgres");
    assert!(succeed(&mut by_variables).contains("3 photos"));

    served(&server, address);
    in_python(address);
}

/// A server over the database: it answers, sees what is written, says when the database is away, and goes on after it.
fn served(server: &Server, address: &str) {
    let with_token = [("SKETCHFIND_TOKEN", TOKEN)];
    fail(
        sketchfind(&["serve", "--gallery", address, "--address", "127.0.0.1:0"]).envs(with_token),
        3,
        &["clients cannot change it", "127.0.0.1"],
    );
    let http =
        HttpServer::start(&mut sketchfind(&["serve", "--gallery", address, "--address", "127.0.0.1:0"]));
    let red = png(9, 9, [250, 10, 10]);
    let ask = || http.ask("POST", "/api/v1/query?k=2", &[PNG], &red);
    assert_eq!(ids(&ask())[0], "red.png", "{}", ask().text());
    let gallery = json(&http.get("/api/v1/gallery"));
    assert_eq!((&gallery["n_photos"], &gallery["is_changeable"]), (&3.into(), &false.into()));
    assert_eq!(json(&http.get("/api/v1/photos/red.png"))["id"], "red.png");
    assert_eq!(http.get("/api/v1/photos/never").status, 404);
    let like = http.ask("POST", "/api/v1/query?k=2", &[JSON], br#"{"photo": "red.png"}"#);
    assert_eq!(ids(&like)[0], "red.png");
    assert_eq!(http.get("/photos/red.png").status, 200);
    server.kill();
    let away = ask();
    assert_eq!((away.status, json(&away)["code"].clone()), (503, "no_database".into()), "{}", away.text());
    assert_eq!(http.get("/healthz").status, 200);
    server.go();
    assert_eq!(ids(&ask())[0], "red.png", "{}", http.log());
    let home = home::open(address, Access::Write).unwrap();
    home.remove(&["red.png"]).unwrap();
    assert!(!ids(&ask()).contains(&"red.png".to_owned()));
}

/// The same gallery from Python.
fn in_python(address: &str) {
    let Some(python) = surroundings::python_with_wheel() else { return };
    const SCRIPT: &str = "
import sys, numpy, sketchfind
with sketchfind.Retriever(sys.argv[1], writable=True) as shop:
    assert shop.ids() == ['green.png', 'white.png'] and len(shop) == 2, shop.ids()
    shop.add('teal', numpy.full((4, 4, 3), (0, 128, 128), numpy.uint8), ['cold'])
    assert shop.query(numpy.full((4, 4, 3), (0, 120, 130), numpy.uint8), k=1)[0].id == 'teal'
    assert shop.photo('teal').labels == ('cold',) and 'teal' in shop and shop.remove(['teal']) == 1
    assert shop.embeddings()[1].shape == (2, shop.width)
try:
    sketchfind.Retriever('postgres://u:secret@127.0.0.1:1/d?gallery=shoes')
except ConnectionError as error:
    assert 'u@127.0.0.1:1' in str(error) and 'secret' not in str(error), error
else:
    raise SystemExit('it opened')
sketchfind.create(sys.argv[1].replace('=shoes', '=other'), width=2, distance='cosine')
print(repr(sketchfind.Retriever(sys.argv[1].replace('postgres@', 'postgres:pw@'))))
";
    let said = succeed(Command::new(python).args(["-c", SCRIPT, address]).env_remove("ORT_DYLIB_PATH"));
    assert!(said.contains("len=2") && !said.contains("pw"), "{said}");
}

/// The SQL by which a gallery is spread over servers: what docs/postgres.md says, for two of them with a standby each.
fn spread(coordinator: &Server, shards: &[(Server, Server)], gallery: &str, width: usize) {
    for (primary, _) in shards {
        primary.sql(&format!(
            "create extension vector;
             create table {gallery} (id text collate \"C\" primary key, embedding vector({width}) not null,
                labels text[] not null default '{{}}', product text, source text, sha256 text,
                added timestamptz not null default now())"
        ));
    }
    let mut sql = format!(
        "create extension postgres_fdw;
         drop table {gallery};
         create table {gallery} (id text collate \"C\", embedding vector({width}) not null,
            labels text[] not null default '{{}}', product text, source text, sha256 text,
            added timestamptz not null default now()) partition by hash (id);"
    );
    for (n, (primary, standby)) in shards.iter().enumerate() {
        sql.push_str(&format!(
            "create server shard{n} foreign data wrapper postgres_fdw options (host '127.0.0.1,127.0.0.1',
                port '{},{}', dbname 'postgres', extensions 'vector', fetch_size '100', batch_size '500',
                connect_timeout '2');
             create user mapping for postgres server shard{n} options (user 'postgres', password_required 'false');
             create foreign table {gallery}_{n} partition of {gallery}
                for values with (modulus {}, remainder {n}) server shard{n} options (table_name '{gallery}');",
            primary.port(),
            standby.port(),
            shards.len()
        ));
    }
    coordinator.sql(&sql);
}

/// A question to a gallery, as ids.
fn nearest(gallery: &dyn Home, query: &[f32], filter: &Filter) -> Result<Vec<String>, Error> {
    let found = gallery.look().search_values(query, 5, filter, SearchOptions::exact())?.remove(0);
    Ok(found.into_iter().map(|found| found.id).collect())
}

#[test]
fn a_gallery_that_is_spread_over_servers_survives_the_death_of_one() {
    const WIDTH: usize = 8;
    const N: usize = 400;
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let Some(coordinator) = Server::start() else { return };
    let primaries = (0..2).filter_map(|_| Server::start());
    let shards: Vec<(Server, Server)> = primaries
        .map(|primary| {
            let standby = primary.standby();
            (primary, standby)
        })
        .collect();
    let row = |number: usize| -> Vec<f32> {
        let mut stream = Stream::new(4, "shards", &[number as u64]);
        (0..WIDTH).map(|_| stream.unit() as f32).collect()
    };
    let photo = |number: usize| Photo::new(format!("{number:04}")).with_labels([["even", "odd"][number % 2]]);
    let address = coordinator.address("wide");
    let (space, options) = (EmbeddingSpace::new(WIDTH, Distance::Mse), GalleryOptions::exact("test"));
    home::create_without_model(&address, &space, &options).unwrap();
    spread(&coordinator, &shards, "wide", WIDTH);

    // The same program, unchanged; and the answers of a folder.
    let gallery = home::open(&address, Access::Write).unwrap();
    gallery.add((0..N).map(photo).collect(), (0..N).flat_map(row).collect()).unwrap();
    gallery.replace(vec![photo(7)], row(7)).unwrap();
    assert_eq!(gallery.remove(&["0000", "0001", "never"]).unwrap(), 2);
    let refused = gallery.add(vec![photo(500), photo(9)], [row(500), row(9)].concat()).unwrap_err();
    assert!(matches!(&refused, Error::PhotoExists { id } if id == "0009"), "{refused}");
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("local");
    home::create_without_model(&local, &space, &options).unwrap();
    let local = home::open(&local, Access::Write).unwrap();
    local.add((2..N).map(photo).collect(), (2..N).flat_map(row).collect()).unwrap();
    let filters = [
        Filter::everything(),
        Filter::everything().any_label(["odd"]),
        Filter::everything().only_ids(["0003"]),
    ];
    let questions: Vec<(Vec<f32>, &Filter, Vec<String>)> = (0..8)
        .flat_map(|number| filters.iter().map(move |filter| (number, filter)))
        .map(|(number, filter)| {
            let query = row(1_000 + number);
            let expected = nearest(local.as_ref(), &query, filter).unwrap();
            (query, filter, expected)
        })
        .collect();
    let all_are_answered = || {
        for (query, filter, expected) in &questions {
            assert_eq!(&nearest(gallery.as_ref(), query, filter).unwrap(), expected);
        }
    };
    all_are_answered();
    assert!(shards.iter().all(|(primary, _)| primary.sql("select count(*) > 150 from wide") == "t"));
    for (primary, standby) in &shards {
        let written = primary.sql("select pg_current_wal_lsn()");
        let has_it = format!("select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
        let started = std::time::Instant::now();
        while standby.sql(&has_it) != "t" {
            assert!(started.elapsed().as_secs() < 60, "the standby does not follow");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    // A primary is killed while it is asked: answers are whole, or an error, and soon the standby's.
    let (is_over, n_answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for (query, filter, expected) in &questions {
                    if let Ok(found) = nearest(gallery.as_ref(), query, filter) {
                        assert_eq!(&found, expected, "an answer of a part of the photos");
                        n_answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        shards[0].0.kill();
        let before = n_answered.load(Ordering::Relaxed);
        let started = std::time::Instant::now();
        while n_answered.load(Ordering::Relaxed) < before + 2 * questions.len() && !asking.is_finished() {
            assert!(started.elapsed().as_secs() < 60, "the standby does not answer");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        is_over.store(true, Ordering::Relaxed);
        asking.join().unwrap();
    });
    all_are_answered();
    // A standby is read and not written, until it is made the server of its photos.
    assert!(
        matches!(gallery.remove(&["0002"]), Err(Error::Database { .. })) || gallery.look().len().unwrap() < N
    );
    shards[0].1.promote();
    let back: Vec<String> = (2..30).map(|number| format!("{number:04}")).collect();
    gallery.remove(&back.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    gallery.add((2..30).map(photo).collect(), (2..30).flat_map(row).collect()).unwrap();
    all_are_answered();
    // Both dead: an error, and no answer of what is left.
    shards[0].1.kill();
    let started = std::time::Instant::now();
    let refused = nearest(gallery.as_ref(), &row(1_000), &Filter::everything()).unwrap_err();
    assert!(matches!(refused, Error::Database { .. }), "{refused}");
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
}
