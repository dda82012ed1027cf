//! A server that lives: it follows its gallery while others change it, lets them, and keeps a line where many ask at once.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sketchfind::{Access, Gallery};
use sketchfind_tests::http::{Answer, Connection, Server};
use sketchfind_tests::programs::{fail, program, succeed};
use sketchfind_tests::surroundings;

use crate::refusals::small_model;
use crate::serve::{JSON, PNG, Scene, TOKEN, ids, json, png, refused, with_token};

fn index(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.arg("index").args(arguments);
    command
}

/// A folder with pictures of one colour each, by their names.
pub(crate) fn photos(folder: &Path, colours: &[(&str, [u8; 3])]) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, colour) in colours {
        std::fs::write(folder.join(name), png(6, 6, *colour)).unwrap();
    }
}

fn n_photos(server: &Server) -> u64 {
    json(&server.get("/api/v1/gallery"))["n_photos"].as_u64().unwrap()
}

/// Waits until something is so, and returns how long that took. Two seconds are promised; a machine that is busy with other
/// tests gets more.
#[track_caller]
fn until(what: &str, server: &Server, is_so: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// Clients that ask without a pause, each on its connection, until `work` is done. Every one of their questions is answered.
fn under_load(server: &Server, work: impl FnOnce()) {
    let (is_done, n_answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..3_u8 {
            let (is_done, n_answered) = (&is_done, &n_answered);
            scope.spawn(move || {
                let mut connection = Connection::open(&server.address).unwrap();
                let image = png(9, 9, [80 * number, 200, 9]);
                while !is_done.load(Ordering::Relaxed) {
                    let answer = connection.ask("POST", "/api/v1/query?k=2", &[PNG], &image).unwrap();
                    assert_eq!(ids(&answer).len(), 2, "{}", answer.text());
                    n_answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Where the work fails, the clients stop too.
        let _stop = Stop(&is_done);
        work();
    });
    assert!(n_answered.load(Ordering::Relaxed) > 10);
}

struct Stop<'f>(&'f AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_gallery_is_followed_and_no_query_is_lost() {
    let scene = Scene::new();
    let gallery = scene.path("gallery");
    // One that allows changes is no different: it holds no lock while it does not write.
    for has_token in [false, true] {
        let mut command = if has_token { with_token(scene.command()) } else { scene.command() };
        let server = Server::start(&mut command);
        let before = n_photos(&server);
        let mut times = Vec::new();
        let more = scene.path(if has_token { "more" } else { "some" });
        photos(&more, &[("pink.png", [250, 100, 150]), ("grey.png", [90; 3]), ("black.png", [0; 3])]);
        for name in ["pink.png", "grey.png", "black.png"] {
            std::fs::rename(more.join(name), more.join(format!("{has_token}-{name}"))).unwrap();
        }
        under_load(&server, || {
            succeed(index(&["add", "--label", "new", "--gallery"]).arg(&gallery).arg("--photos").arg(&more));
            times.push(until("photos that were added", &server, || n_photos(&server) == before + 3));
            succeed(index(&["compact", "--gallery"]).arg(&gallery));
            succeed(index(&["remove", "--gallery"]).arg(&gallery).arg(format!("{has_token}-grey.png")));
            times.push(until("a photo that was removed", &server, || n_photos(&server) == before + 2));
            succeed(index(&["compact", "--gallery"]).arg(&gallery));
        });
        let by_label = server.ask("POST", "/api/v1/query?label=new&k=1", &[PNG], &png(4, 4, [1, 1, 1]));
        assert_eq!(ids(&by_label), [format!("{has_token}-black.png")]);
        let photo = server.get(&format!("/photos/{has_token}-black.png"));
        assert_eq!(photo.body, png(6, 6, [0; 3]));

        // Another gallery in its place, of the same model: built from these photos alone.
        let build = |model: &Path| {
            let mut build = index(&["build", "--model"]);
            succeed(build.arg(model).arg("--photos").arg(&more).arg("--out").arg(&gallery));
        };
        let mean8 = surroundings::checkout().join("runtime/tests/fixtures/mean8");
        under_load(&server, || {
            build(&mean8);
            times.push(until("a gallery that was replaced", &server, || n_photos(&server) == 3));
        });
        // And of another model, which answers from then on.
        let model = scene.path(if has_token { "model-b" } else { "model-a" });
        small_model(&model, 1 + u64::from(has_token));
        let name = || json(&server.get("/api/v1/gallery"))["model"].as_str().unwrap().to_owned();
        let old_name = name();
        under_load(&server, || {
            build(&model);
            times.push(until("a gallery of another model", &server, || name() != old_name));
        });
        assert!(server.log().contains("by one of another model"), "{}", server.log());
        assert!(!server.log().contains("ERROR"), "{}", server.log());
        let metrics = server.get("/metrics").text();
        let refreshes = metrics.lines().find_map(|line| line.strip_prefix("sketchfind_refreshes_total "));
        assert!(refreshes.is_some_and(|n| n.parse::<u64>().unwrap() >= 4), "{metrics}");
        times.sort();
        assert!(times[times.len() / 2] < Duration::from_secs(2), "{times:?}");
        // As it was, for the next.
        build(&mean8);
    }
}

#[test]
fn a_hang_up_makes_it_look_and_does_not_end_it() {
    let scene = Scene::new();
    let mut server = Server::start(&mut scene.command());
    let more = scene.path("more");
    photos(&more, &[("pink.png", [250, 100, 150])]);
    for n in 5..8 {
        std::fs::write(more.join(format!("{n}.png")), png(5, 5, [n; 3])).unwrap();
        std::fs::remove_file(more.join("pink.png")).unwrap_or_default();
        succeed(index(&["add", "--gallery"]).arg(scene.path("gallery")).arg("--photos").arg(&more));
        server.signal("HUP");
        until("a photo", &server, || n_photos(&server) == u64::from(n));
    }
    let log = server.log();
    assert_eq!(log.matches("asked to look at the gallery").count(), 3, "{log}");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{log}");
}

#[test]
fn clients_and_programs_write_by_turns() {
    let scene = Scene::new();
    let server = Server::start(&mut with_token(scene.command()));
    let right = format!("Authorization: Bearer {TOKEN}");
    let put = |id: &str, value: u8| {
        server.ask("PUT", &format!("/api/v1/photos/{id}"), &[PNG, &right], &png(4, 4, [value; 3]))
    };
    assert_eq!(put("first", 1).status, 201);
    // While a program writes, clients are told so, and nothing of theirs is left behind.
    let kept = Gallery::open_with(scene.path("gallery"), Access::Write).unwrap();
    refused(&put("second", 2), 503, "locked");
    refused(&server.ask("DELETE", "/api/v1/photos/red.png", &[&right], &[]), 503, "locked");
    assert_eq!(ids(&server.ask("POST", "/api/v1/query?k=1", &[PNG], &png(2, 2, [255, 0, 0]))), ["red.png"]);
    assert_eq!(std::fs::read_dir(scene.path("gallery.photos")).unwrap().count(), 1);
    kept.remove(&["green.png"]).unwrap();
    drop(kept);
    // A change begins with what the others have written, without waiting for the next look.
    assert_eq!(put("second", 2).status, 201);
    refused(&server.get("/api/v1/photos/green.png"), 404, "no_photo");
    assert_eq!(n_photos(&server), 5);

    // Both at once: many clients, and a program that adds photos again and again.
    let more = scene.path("more");
    let (is_done, n_added) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let (put, n_added) = (&put, &n_added);
                scope.spawn(move || {
                    for number in 0..6_u8 {
                        let id = format!("client-{client}-{number}");
                        loop {
                            match put(&id, 10 * client + number).status {
                                201 => break,
                                503 => std::thread::sleep(Duration::from_millis(10)),
                                other => panic!("{other}"),
                            }
                        }
                        n_added.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let (is_done, n_added, scene, more) = (&is_done, &n_added, &scene, &more);
        scope.spawn(move || {
            let mut number = 0_u8;
            while !is_done.load(Ordering::Relaxed) {
                let name = format!("program-{number}.png");
                photos(more, &[(&name, [100 + number; 3])]);
                let mut add = index(&["add", "--gallery"]);
                add.arg(scene.path("gallery")).arg("--photos").arg(more);
                // A client may be writing.
                if sketchfind_tests::programs::run(&mut add).code == Some(0) {
                    n_added.fetch_add(1, Ordering::Relaxed);
                } else {
                    std::fs::remove_file(more.join(&name)).unwrap();
                }
                number += 1;
            }
        });
        let _stop = Stop(is_done);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let n = 5 + n_added.load(Ordering::Relaxed) as u64;
    until("all of them", &server, || n_photos(&server) == n);
    assert_eq!(Gallery::open(scene.path("gallery")).unwrap().len() as u64, n);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

/// What cannot be read is told once, and what was read before is served until it can be read again.
#[test]
fn a_gallery_that_breaks_under_it_does_not_break_it() {
    let scene = Scene::new();
    let server = Server::start(&mut scene.command());
    let manifest = scene.path("gallery/gallery.json");
    let words = std::fs::read(&manifest).unwrap();
    let ask = || ids(&server.ask("POST", "/api/v1/query?k=1", &[PNG], &png(2, 2, [255, 0, 0])));
    for broken in [b"{}".to_vec(), vec![]] {
        std::fs::write(&manifest, broken).unwrap();
        let n_before = server.log().matches("what was read before is served").count();
        let told = || server.log().matches("what was read before is served").count();
        until("a warning", &server, || told() > n_before);
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(told(), n_before + 1, "{}", server.log());
        assert_eq!(ask(), ["red.png"]);
    }
    std::fs::rename(scene.path("gallery"), scene.path("away")).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!((ask(), server.get("/readyz").status), (vec!["red.png".to_owned()], 200));
    std::fs::rename(scene.path("away"), scene.path("gallery")).unwrap();
    std::fs::write(&manifest, words).unwrap();
    let more = scene.path("more");
    photos(&more, &[("pink.png", [250, 100, 150])]);
    succeed(index(&["add", "--gallery"]).arg(scene.path("gallery")).arg("--photos").arg(&more));
    until("a photo", &server, || n_photos(&server) == 5);
}

/// Answers of as many clients that ask once, at the same time.
fn all_at_once(server: &Server, n_clients: usize, body: &[u8]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..n_clients)
            .map(|_| scope.spawn(|| server.ask("POST", "/api/v1/query?k=1", &[PNG], body)))
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn forty_browsers_that_ask_once_are_all_answered() {
    let scene = Scene::new();
    // As slow as it may be: one at a time.
    let server = Server::start(scene.command().args(["--max-queries", "1"]));
    for answer in all_at_once(&server, 40, &png(900, 900, [0, 0, 250])) {
        assert_eq!(ids(&answer), ["blue.png"]);
    }
    assert!(server.get("/metrics").text().contains("sketchfind_waiting_queries 0\n"));
}

#[test]
fn the_line_is_as_long_as_stated_and_so_is_the_wait() {
    let scene = Scene::new();
    let large = png(3000, 3000, [200, 10, 10]);
    let outcome = |arguments: &[&str], n_clients: usize| {
        let server = Server::start(scene.command().args(["--max-queries", "1"]).args(arguments));
        let answers = all_at_once(&server, n_clients, &large);
        let (answered, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        others.into_iter().for_each(|answer| refused(answer, 503, "overloaded"));
        // Nothing is left of those that were refused.
        assert_eq!(
            ids(&server.ask("POST", "/api/v1/query?k=1", &[PNG], &png(2, 2, [255, 0, 0]))),
            ["red.png"]
        );
        answered.len()
    };
    // One that is computed and two in line, and again as places become free: but not all.
    let n = outcome(&["--queue", "2"], 24);
    assert!((3..24).contains(&n), "{n}");
    let n = outcome(&["--queue", "0"], 8);
    assert!((1..8).contains(&n), "{n}");
    // Places for all, and no time: how many are computed within a second depends on the machine.
    let n = outcome(&["--queue", "400", "--queue-time", "1"], 120);
    assert!((1..120).contains(&n), "{n}");
    let refusal = ["wait is 15", "less than the seconds of a request"];
    fail(scene.command().args(["--queue-time", "15"]), 3, &refusal);
    fail(scene.command().args(["--queue", "70000"]), 3, &["waiting_queries is 70000", "0 to 65536"]);
}

#[test]
fn bodies_are_taken_for_what_they_are_and_errors_name_what_is_wrong() {
    let scene = Scene::new();
    let server = Server::start(&mut with_token(scene.command()));
    let image = png(4, 4, [255, 0, 0]);
    let ask = |target: &str, headers: &[&str], body: &[u8]| server.ask("POST", target, headers, body);
    for name in ["image/jpg", "image/pjpeg", "IMAGE/JPG; q=1", "image/x-png", "image/x-ms-bmp"] {
        // Which of them it is, the content says.
        let answer = ask("/api/v1/query?k=1", &[&format!("Content-Type: {name}")], &image);
        assert_eq!(ids(&answer), ["red.png"], "{name}");
    }
    let right = format!("Authorization: Bearer {TOKEN}");
    let put =
        |headers: &[&str]| server.ask("PUT", "/api/v1/photos/new", &[headers, &[&right]].concat(), &image);
    assert_eq!(put(&["Content-Type: image/jpg"]).status, 201);

    // Compressed bodies are refused by the name of what compresses them, wherever a body is read.
    for encoding in ["gzip", "br", "zstd", "deflate, gzip", "identity, gzip", "\u{1b}[31m"] {
        let header = format!("Content-Encoding: {encoding}");
        let named = encoding.rsplit(", ").next().unwrap();
        for answer in [
            ask("/api/v1/query", &[PNG, &header], &image),
            ask("/api/v1/query", &[JSON, &header], b"{}"),
            put(&[PNG, &header]),
        ] {
            if encoding.starts_with('\u{1b}') {
                // No lawful header.
                assert_eq!(answer.status, 400);
                continue;
            }
            refused(&answer, 415, "content_encoding");
            assert_eq!(answer.header("accept-encoding"), "identity");
            let first = if encoding.starts_with("deflate") { "deflate" } else { named };
            assert!(answer.text().contains(&format!("\\\"{first}\\\"")), "{}", answer.text());
        }
    }
    // The one that was put has the same distance, and the first name of the two.
    assert_eq!(ids(&ask("/api/v1/query?k=1", &[PNG, "Content-Encoding: identity"], &image)), ["new"]);

    let says = |answer: &Answer, status: u16, code: &str, parts: &[&str]| {
        refused(answer, status, code);
        let detail = json(answer)["detail"].as_str().unwrap().to_owned();
        parts.iter().for_each(|part| assert!(detail.contains(part), "'{part}' is not in: {detail}"));
    };
    let long = "x".repeat(300);
    for (parameters, parts) in [
        ("k=two", ["'k'", "invalid digit"]),
        ("k=-1", ["'k'", "invalid digit"]),
        ("k=0", ["'k'", "expected 1 to 100"]),
        ("kk=2", ["`kk`", "`any_label`"]),
        (&format!("any_label={long}"), ["'any_label'", "300 characters"]),
        ("label=a&not_label=", ["'not_label'", "0 characters"]),
        (&"&not_id=x".repeat(1001)[1..], ["'not_id'", "1001 times"]),
    ] {
        says(&ask(&format!("/api/v1/query?{parameters}"), &[PNG], &image), 400, "malformed", &parts);
    }
    says(&server.get("/photos/red.png?size=big"), 400, "malformed", &["'size'", "invalid digit"]);
    says(&ask("/api/v1/query", &["Content-Type: text/html"], &image), 415, "media_type", &["\"text/html\""]);
    says(&ask("/api/v1/query", &[], &image), 415, "media_type", &["missing", "image/png"]);
    for (body, place) in [
        (
            r#"{"strokes": {"canvas": [9, 9], "polylines": [[[1, 2]], [[3, "4"]]]}}"#,
            "strokes.polylines[1][0][1]",
        ),
        (r#"{"strokes": {"canvas": 9, "polylines": [[[1, 2]]]}}"#, "strokes.canvas"),
        (r#"{"strokes": {"canvas": [9, 9], "polylines": [[[1, 2]]]}} x"#, "trailing characters"),
    ] {
        says(&ask("/api/v1/query", &[JSON], body.as_bytes()), 400, "malformed", &[place]);
    }
}

#[test]
fn an_answer_without_photos_says_why() {
    let scene = Scene::new();
    let server = Server::start(&mut with_token(scene.command()));
    let nothing = |parameters: &str| {
        let answer = server.ask("POST", &format!("/api/v1/query?{parameters}"), &[PNG], &png(2, 2, [1; 3]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = json(&answer);
        let text = |name: &str| answer["nothing"][name].as_str().map(str::to_owned);
        (answer["hits"].as_array().unwrap().len(), text("code"), text("detail"))
    };
    assert_eq!(nothing("k=1"), (1, None, None));
    let why = |code: &str, detail: &str| (0, Some(code.to_owned()), Some(detail.to_owned()));
    assert_eq!(nothing("label=boots"), why("no_such_label", "no photo has the label 'boots'"));
    assert_eq!(nothing("id=a&id=b"), why("no_such_id", "the gallery has no photo 'a' or 'b'"));
    let all = "not_id=red.png&not_id=green.png&not_id=blue.png&not_id=white.png";
    assert_eq!(nothing(all), why("filter", "the filter leaves none of the 4 photos"));
    let right = format!("Authorization: Bearer {TOKEN}");
    for colour in ["red", "green", "blue", "white"] {
        let target = format!("/api/v1/photos/{colour}.png");
        assert_eq!(server.ask("DELETE", &target, &[&right], &[]).status, 204);
    }
    assert_eq!(nothing("k=3"), why("empty_gallery", "the gallery has no photos"));
}
