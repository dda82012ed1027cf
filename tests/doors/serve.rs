//! `sketchfind serve`: the HTTP API as clients meet it, also those that mean no good.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;
use sketchfind_core::strokes::{Raster, Strokes};
use sketchfind_tests::http::{Answer, Connection, Server};
use sketchfind_tests::programs::{fail, program, succeed};
use sketchfind_tests::surroundings;

pub(crate) const TOKEN: &str = "a-token-for-tests-only-0123";

/// A gallery of four photos of one colour each, by a model whose embedding is an image's mean colour.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let scene = Scene { folder: tempfile::tempdir().unwrap() };
        let fixtures = surroundings::checkout().join("runtime/tests/fixtures");
        std::fs::create_dir(scene.path("photos")).unwrap();
        for colour in ["red", "green", "blue", "white"] {
            let file = format!("{colour}.png");
            std::fs::copy(fixtures.join("photos").join(&file), scene.path("photos").join(&file)).unwrap();
        }
        std::fs::write(scene.path("secret.png"), png(3, 3, [9, 8, 7])).unwrap();
        let mut build = program("sketchfind");
        build.args(["index", "build", "--model"]).arg(fixtures.join("mean8"));
        succeed(build.arg("--photos").arg(scene.path("photos")).arg("--out").arg(scene.path("gallery")));
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self) -> Command {
        serve(&self.path("gallery"))
    }
}

/// `sketchfind serve` of a gallery on a port that the system chooses.
pub(crate) fn serve(gallery: &Path) -> Command {
    let mut command = program("sketchfind");
    command.args(["serve", "--address", "127.0.0.1:0", "--gallery"]).arg(gallery);
    command
}

pub(crate) fn with_token(mut command: Command) -> Command {
    command.env("SKETCHFIND_TOKEN", TOKEN);
    command
}

pub(crate) fn png(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    let pixels = colour.repeat((width * height) as usize);
    Image::new(width, height, pixels).unwrap().to_png().unwrap()
}

pub(crate) fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

pub(crate) fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = json(answer);
    let hits = answer["hits"].as_array().unwrap();
    hits.iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
}

/// A refusal is a problem (RFC 9457) of a status and kind.
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = json(answer);
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status.into()), Some(code)));
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    assert_eq!(answer.header("retry-after"), if status == 503 { "1" } else { "" });
}

pub(crate) const PNG: &str = "Content-Type: image/png";
pub(crate) const JSON: &str = "Content-Type: application/json";

#[test]
fn an_image_and_a_drawing_are_ranked_as_by_the_command_line() {
    let scene = Scene::new();
    let server = Server::start(&mut scene.command());
    let by_command_line = |image: &[u8]| -> Vec<(String, f64)> {
        std::fs::write(scene.path("query.png"), image).unwrap();
        let mut query = program("sketchfind");
        query.args(["query", "--format", "json", "-k", "4", "--gallery"]).arg(scene.path("gallery"));
        let rows: serde_json::Value =
            serde_json::from_str(&succeed(query.arg(scene.path("query.png")))).unwrap();
        let pair = |row: &serde_json::Value| {
            (row["id"].as_str().unwrap().to_owned(), row["distance"].as_f64().unwrap())
        };
        rows.as_array().unwrap().iter().map(pair).collect()
    };
    let by_server = |answer: &Answer| -> Vec<(String, f64)> {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = json(answer);
        let hits = answer["hits"].as_array().unwrap().clone();
        for (hit, rank) in hits.iter().zip(1..) {
            assert_eq!(hit["rank"].as_u64(), Some(rank));
        }
        let pair = |hit: &serde_json::Value| {
            (hit["id"].as_str().unwrap().to_owned(), hit["distance"].as_f64().unwrap())
        };
        hits.iter().map(pair).collect()
    };
    let image = png(20, 10, [250, 40, 30]);
    let answer = server.ask("POST", "/api/v1/query?k=4", &[PNG], &image);
    assert_eq!(by_server(&answer), by_command_line(&image));
    assert_eq!(by_server(&answer)[0].0, "red.png");

    // A drawing is drawn as evaluation draws it, to the pixel: the distances are the same to the last bit.
    let mut stream = Stream::new(7, "strokes", &[]);
    let mut polyline = |n: usize| -> Vec<[f32; 2]> {
        (0..n).map(|_| [stream.below(512) as f32, stream.below(512) as f32]).collect()
    };
    let strokes = Strokes { canvas: [512.0, 512.0], polylines: vec![polyline(9), polyline(1), polyline(4)] };
    let drawn = strokes.draw(&Raster::default(), 1.0).unwrap().to_png().unwrap();
    let body = serde_json::json!({"strokes": {"canvas": strokes.canvas, "polylines": strokes.polylines}});
    let answer = server.ask("POST", "/api/v1/query?k=4", &[JSON], body.to_string().as_bytes());
    assert_eq!(by_server(&answer), by_command_line(&drawn));

    // k and filters.
    assert_eq!(ids(&server.ask("POST", "/api/v1/query?k=2", &[PNG], &image)).len(), 2);
    let only = "/api/v1/query?id=blue.png&id=white.png&id=nowhere";
    let mut found = ids(&server.ask("POST", only, &[PNG], &image));
    found.sort();
    assert_eq!(found, ["blue.png", "white.png"]);
    assert_eq!(ids(&server.ask("POST", "/api/v1/query?not_id=red.png", &[PNG], &image)).len(), 3);
    assert!(ids(&server.ask("POST", "/api/v1/query?label=boots", &[PNG], &image)).is_empty());
}

/// Drawings are kept where the server has a folder for them, of those who agree, and nowhere else.
#[test]
fn drawings_are_kept_in_a_folder_and_nowhere_else() {
    let scene = Scene::new();
    let folder = scene.path("taught");
    let teach = || {
        let mut command = scene.command();
        command.arg("--teach").arg(&folder);
        command
    };
    let drawing = br#"{"strokes": {"canvas": [100, 100], "polylines": [[[10, 10], [90, 12], [50, 80]]]}}"#;
    let keep = |server: &Server, target: &str, body: &[u8]| {
        server.ask("POST", &format!("/api/v1/teach/{target}"), &[JSON], body)
    };
    let plain = Server::start(&mut scene.command());
    refused(&keep(&plain, "red.png?origin=memory&consent=given", drawing), 403, "no_teaching");
    refused(&plain.get("/api/v1/teach"), 403, "no_teaching");
    assert!(json(&plain.get("/api/v1/gallery"))["teaching"].is_null());
    drop(plain);

    let server = Server::start(&mut teach());
    for (target, body, status, code) in [
        ("red.png", &drawing[..], 400, "malformed"),
        ("red.png?origin=memory", drawing, 400, "malformed"),
        ("red.png?origin=memory&consent=no", drawing, 400, "malformed"),
        ("red.png?origin=guess&consent=given", drawing, 400, "malformed"),
        ("red.png?origin=memory&consent=given", br#"{"photo": "red.png"}"#, 400, "malformed"),
        ("red.png?origin=memory&consent=given", b"{}", 400, "malformed"),
        ("nowhere?origin=memory&consent=given", drawing, 404, "no_photo"),
        ("..%2Fsecret.png?origin=memory&consent=given", drawing, 404, "no_photo"),
    ] {
        refused(&keep(&server, target, body), status, code);
    }
    let image = server.ask("POST", "/api/v1/teach/red.png?origin=memory&consent=given", &[PNG], drawing);
    refused(&image, 415, "media_type");
    // What was refused has left nothing.
    let listed = || {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(listed(), ["taught.lock"]);
    for n in [1, 1] {
        let kept = keep(&server, "red.png?origin=answer&consent=given", drawing);
        assert_eq!((kept.status, json(&kept)["n_drawings"].as_u64()), (201, Some(n)), "{}", kept.text());
    }
    assert_eq!(listed(), ["manifest.csv", "photos", "sketches", "taught.lock"]);
    // All photos are shown before one comes again.
    let mut shown: Vec<String> =
        (0..4).map(|_| json(&server.get("/api/v1/teach"))["id"].as_str().unwrap().to_owned()).collect();
    shown.sort();
    assert_eq!(shown, ["blue.png", "green.png", "red.png", "white.png"]);

    // One server at a time, and no folder of somebody else.
    let with = |folder: &Path| {
        let mut command = scene.command();
        command.arg("--teach").arg(folder);
        command
    };
    fail(&mut with(&folder), 3, &["taught", "another server"]);
    fail(&mut with(&scene.path("photos")), 3, &["photos", "something else"]);
    drop(server);
    let again = Server::start(&mut teach());
    assert_eq!(json(&again.get("/api/v1/gallery"))["teaching"]["n_drawings"].as_u64(), Some(1));
    // A gallery of a folder above takes them for what they are.
    let mut build = program("sketchfind");
    build
        .args(["index", "build", "--model"])
        .arg(surroundings::checkout().join("runtime/tests/fixtures/mean8"));
    build.arg("--photos").arg(scene.path("")).arg("--out").arg(scene.path("all"));
    succeed(&mut build);
    let list = succeed(program("sketchfind").args(["index", "list", "--gallery"]).arg(scene.path("all")));
    assert!(list.contains("photos/red.png") && !list.contains("taught"), "{list}");
}

/// A photo of the gallery is searched with by the embedding that the gallery holds.
#[test]
fn photos_like_a_photo_are_found() {
    let scene = Scene::new();
    let server = Server::start(&mut scene.command());
    let like = |id: &str, parameters: &str| {
        let body = serde_json::json!({"photo": id}).to_string();
        server.ask("POST", &format!("/api/v1/query?{parameters}"), &[JSON], body.as_bytes())
    };
    let by_id = like("red.png", "k=4");
    assert_eq!(json(&by_id)["hits"][0]["distance"].as_f64(), Some(0.0));
    // As by its file, which is embedded anew. The model sees the mean colour, so that no digit is lost.
    let file = std::fs::read(scene.path("photos").join("red.png")).unwrap();
    let by_file = server.ask("POST", "/api/v1/query?k=4", &[PNG], &file);
    assert_eq!(json(&by_id)["hits"], json(&by_file)["hits"]);
    assert_eq!(ids(&like("red.png", "not_id=red.png")).len(), 3);
    assert_eq!(ids(&like("red.png", "id=blue.png&by_product=true")), ["blue.png"]);
    assert!(json(&like("red.png", "label=boots"))["nothing"]["code"] == "no_such_label");
    // Its file is not asked for.
    std::fs::remove_file(scene.path("photos").join("red.png")).unwrap();
    assert_eq!(ids(&like("red.png", "k=4")), ids(&by_id));
    for unknown in ["nowhere", "../secret.png", &"a".repeat(1024)] {
        refused(&like(unknown, "k=4"), 404, "no_photo");
    }
    for wrong in ["", &"a".repeat(1025)] {
        refused(&like(wrong, "k=4"), 400, "malformed");
    }
    refused(&like("red.png", "min_score=0.5"), 409, "no_scores");
}

#[test]
fn photos_of_one_product_are_found_once() {
    let scene = Scene::new();
    let server = Server::start(&mut with_token(scene.command()));
    let right = format!("Authorization: Bearer {TOKEN}");
    let image = png(20, 10, [250, 40, 30]);
    let put = |parameters: &str, colour: [u8; 3]| {
        let target = format!("/api/v1/photos/{parameters}");
        let answer = server.ask("PUT", &target, &[PNG, &right], &png(4, 4, colour));
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        json(&answer)["product"].as_str().map(str::to_owned)
    };
    let paint = Some("red%20paint".replace("%20", " "));
    assert_eq!(put("red.png?product=red%20paint&label=new", [255, 0, 0]), paint);
    assert_eq!(put("dark?product=red%20paint", [200, 30, 20]), paint);
    // Not given it is kept; given empty it goes.
    assert_eq!(put("dark", [200, 30, 20]), paint);
    let query = |parameters: &str| {
        let answer = server.ask("POST", &format!("/api/v1/query?{parameters}"), &[PNG], &image);
        assert_eq!(answer.status, 200, "{}", answer.text());
        json(&answer)
    };
    let answer = query("by_product=true&k=2");
    let hits = answer["hits"].as_array().unwrap();
    assert_eq!(
        (hits.len(), &hits[0]["product"], &hits[1]["product"]),
        (2, &"red paint".into(), &serde_json::Value::Null)
    );
    assert_eq!(query("product=red%20paint")["hits"].as_array().unwrap().len(), 2);
    let others = query("not_product=red%20paint");
    assert!(others["hits"].as_array().unwrap().iter().all(|hit| hit["product"].is_null()));
    assert_eq!(query("product=blue")["nothing"]["code"], "no_such_product");
    assert_eq!(put("dark?product=", [200, 30, 20]), None);
    assert_eq!(query("product=red%20paint")["hits"].as_array().unwrap().len(), 1);
    for wrong in ["by_product=1x", "product=", "not_product="] {
        assert_eq!(
            server.ask("POST", &format!("/api/v1/query?{wrong}"), &[PNG], &image).status,
            400,
            "{wrong}"
        );
    }
    let twice = server.ask("PUT", "/api/v1/photos/a?product=b&product=c", &[PNG, &right], &image);
    assert_eq!(twice.status, 400);
}

#[test]
fn requests_that_are_wrong_are_refused_in_words() {
    let scene = Scene::new();
    let server = Server::start(scene.command().args(["--max-body", "100000", "--max-pixels", "10000"]));
    let query = |target: &str, headers: &[&str], body: &[u8]| server.ask("POST", target, headers, body);
    let image = png(4, 4, [1, 2, 3]);
    refused(&query("/api/v1/query", &[PNG], b""), 422, "image");
    refused(&query("/api/v1/query", &[PNG], b"no image"), 422, "image");
    refused(&query("/api/v1/query", &[PNG], &image[..40]), 422, "image");
    refused(&query("/api/v1/query", &[PNG], b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"), 422, "image");
    refused(&query("/api/v1/query", &[], &image), 415, "media_type");
    refused(&query("/api/v1/query", &["Content-Type: text/html"], &image), 415, "media_type");
    refused(&query("/api/v1/query", &[JSON], b"{"), 400, "malformed");
    refused(&query("/api/v1/query", &[JSON], &[b'['; 90_000]), 400, "malformed");
    refused(&query("/api/v1/query?k=0", &[PNG], &image), 400, "malformed");
    refused(&query("/api/v1/query?k=101", &[PNG], &image), 400, "malformed");
    refused(&query("/api/v1/query?k=two", &[PNG], &image), 400, "malformed");
    refused(&query("/api/v1/query?kk=2", &[PNG], &image), 400, "malformed");
    refused(&query("/api/v1/query", &[PNG], &vec![0; 100_001]), 413, "body_too_large");
    refused(&server.get("/api/v1/query"), 405, "no_method");
    assert_eq!(server.get("/api/v1/query").header("allow"), "POST");
    refused(&server.get("/nothing"), 404, "no_route");
    refused(&server.get("/photos/red.png?size=77"), 400, "malformed");

    // Images that are small as files and giants as pixels: their size is read before room is made for them.
    refused(&query("/api/v1/query", &[PNG], &png(101, 100, [0; 3])), 422, "image");
    let mut bomb = png(1, 1, [0; 3]);
    bomb[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    refused(&query("/api/v1/query", &[PNG], &bomb), 422, "image");
    let mut gif = b"GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff".to_vec();
    gif.extend(b"\x2c\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02\x44\x01\x00\x3b");
    refused(&query("/api/v1/query", &["Content-Type: image/gif"], &gif), 422, "image");
    // It has survived all of it.
    assert_eq!(ids(&query("/api/v1/query", &[PNG], &image)).len(), 4);
}

#[test]
fn photos_are_served_by_id_and_never_by_path() {
    let scene = Scene::new();
    let server = Server::start(&mut scene.command());
    let photo = server.get("/photos/red.png");
    assert_eq!((photo.status, photo.header("content-type")), (200, "image/png"));
    assert_eq!(photo.body, std::fs::read(scene.path("photos/red.png")).unwrap());
    let small = server.get("/photos/red.png?size=160");
    assert_eq!((small.status, small.header("content-type")), (200, "image/jpeg"));
    let known = format!("If-None-Match: {}", small.header("etag"));
    let again = server.ask("GET", "/photos/red.png?size=160", &[&known], &[]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(server.ask("HEAD", "/photos/red.png", &[], &[]).status, 200);

    let secret = std::fs::read(scene.path("secret.png")).unwrap();
    let absolute = scene.path("secret.png").display().to_string();
    for target in [
        "/photos/../secret.png",
        "/photos/..%2Fsecret.png",
        "/photos/%2e%2e%2fsecret.png",
        "/photos/..%252Fsecret.png",
        "/photos/..%5Csecret.png",
        "/photos/red.png%2F..%2F..%2Fsecret.png",
        "/photos/red.png/../../secret.png",
        "/photos/red.png%00.png",
        "/photos/%00",
        "/photos/.",
        "/photos/..",
        "/photos/",
        "/photos//red.png",
        "/photos/....//secret.png",
        "/photos/%c0%ae%c0%ae%2fsecret.png",
        "/photos/file:%2F%2F%2Fetc%2Fpasswd",
        "/../secret.png",
        "/%2e%2e/secret.png",
        "//etc/passwd",
        &format!("/photos/{}", absolute.replace('/', "%2F")),
        &format!("/photos/{absolute}"),
        &format!("/{absolute}"),
        "/photos/red.PNG",
        "/api/v1/photos/..%2Fsecret.png",
    ] {
        let answer = server.get(target);
        assert!((400..500).contains(&answer.status), "{target}: {}", answer.status);
        assert!(answer.body != secret && !answer.text().contains("root:"), "{target}");
    }
    // The answers of a server that does not know a photo say no path.
    assert!(!server.get("/photos/nowhere").text().contains(&scene.path("").display().to_string()));

    // A file that is gone, and one that is no image any more.
    std::fs::remove_file(scene.path("photos/blue.png")).unwrap();
    std::fs::write(scene.path("photos/green.png"), "<script>alert(1)</script>").unwrap();
    for target in ["/photos/blue.png", "/photos/blue.png?size=320"] {
        refused(&server.get(target), 404, "photo_file_gone");
    }
    for target in ["/photos/green.png", "/photos/green.png?size=320"] {
        refused(&server.get(target), 404, "photo_file_broken");
    }
    assert_eq!(ids(&server.ask("POST", "/api/v1/query", &[PNG], &png(2, 2, [0, 0, 255])))[0], "blue.png");
}

#[test]
fn changes_need_the_token_and_survive_a_restart() {
    let scene = Scene::new();
    let yellow = png(8, 8, [255, 255, 0]);
    let right = format!("Authorization: Bearer {TOKEN}");
    let target = "/api/v1/photos/new%2Fyellow%20one?label=bright&label=sale";
    {
        let closed = Server::start(&mut scene.command());
        refused(&closed.ask("PUT", target, &[PNG, &right], &yellow), 403, "no_changes");
        refused(&closed.ask("DELETE", "/api/v1/photos/red.png", &[&right], &[]), 403, "no_changes");
    }
    {
        let server = Server::start(&mut with_token(scene.command()));
        for wrong in [
            "Accept: */*",
            "Authorization: Bearer",
            "Authorization: Basic x",
            "Authorization: Bearer a-token-for-tests-only-0124",
        ] {
            let answer = server.ask("PUT", target, &[PNG, wrong], &yellow);
            refused(&answer, 401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            refused(&server.ask("DELETE", "/api/v1/photos/red.png", &[wrong], &[]), 401, "unauthorized");
        }
        // A token in the address is no token: addresses end up in logs and histories.
        let in_address = format!("{target}&token={TOKEN}");
        refused(&server.ask("PUT", &in_address, &[PNG], &yellow), 401, "unauthorized");
        refused(&server.ask("PUT", target, &[PNG, &right], b"no image"), 422, "image");
        refused(&server.ask("PUT", target, &[JSON, &right], b"{}"), 415, "media_type");
        let added = server.ask("PUT", target, &[PNG, &right], &yellow);
        assert_eq!(added.status, 201, "{}", added.text());
        assert_eq!(json(&added)["labels"], serde_json::json!(["bright", "sale"]));
        let photo = format!("/{}", json(&added)["photo"].as_str().unwrap());
        assert_eq!(server.get(&photo).body, yellow);
        let by_label = server.ask("POST", "/api/v1/query?label=sale", &[PNG], &yellow);
        assert_eq!(ids(&by_label), ["new/yellow one"]);
        let gallery = json(&server.get("/api/v1/gallery"));
        assert_eq!((gallery["n_photos"].as_u64(), gallery["is_changeable"].as_bool()), (Some(5), Some(true)));
        assert_eq!(gallery["labels"][0], serde_json::json!({"label": "bright", "n_photos": 1}));
        // Replaced: another picture. Labels that are not given stay, and go where none are given.
        let plain = "/api/v1/photos/new%2Fyellow%20one";
        let with = |query: &str| server.ask("PUT", &format!("{plain}{query}"), &[PNG, &right], &yellow);
        let labels_of = |answer: &Answer| json(answer)["labels"].clone();
        assert_eq!(labels_of(&with("")), serde_json::json!(["bright", "sale"]));
        assert_eq!(labels_of(&with("?label=cafe%CC%81")), serde_json::json!(["caf\u{e9}"]));
        let by_label = server.ask("POST", "/api/v1/query?label=caf%C3%A9", &[PNG], &yellow);
        assert_eq!(ids(&by_label), ["new/yellow one"]);
        assert_eq!(labels_of(&with("?label=")), serde_json::json!([]));
        // An empty one is no label.
        assert_eq!(labels_of(&with("?label=&label=x")), serde_json::json!(["x"]));
        assert_eq!(labels_of(&with("?label=&label=")), serde_json::json!([]));
        refused(&with(&format!("?{}", ["label="; 65].join("&"))), 400, "malformed");
        assert_eq!(server.ask("PUT", plain, &[PNG, &right], &png(9, 9, [250, 250, 0])).status, 200);
        assert_eq!(server.get(&photo).body, png(9, 9, [250, 250, 0]));
        assert_eq!(json(&server.get(plain))["labels"], serde_json::json!([]));
        assert_eq!(server.ask("DELETE", "/api/v1/photos/red.png", &[&right], &[]).status, 204);
        refused(&server.ask("DELETE", "/api/v1/photos/red.png", &[&right], &[]), 404, "no_photo");
        refused(&server.get("/photos/red.png"), 404, "no_photo");
        assert!(scene.path("photos/red.png").is_file(), "only what the server has written is its to remove");
        let log = server.log();
        assert!(log.contains("/api/v1/photos/{id}"), "{log}");
        for secret in [TOKEN, "a-token", "yellow", "bright", "Bearer"] {
            assert!(!log.contains(secret), "'{secret}' in\n{log}");
        }
    }
    let server = Server::start(&mut with_token(scene.command()));
    assert_eq!(json(&server.get("/api/v1/gallery"))["n_photos"].as_u64(), Some(4));
    assert_eq!(ids(&server.ask("POST", "/api/v1/query", &[PNG], &yellow))[0], "new/yellow one");
    assert_eq!(server.get("/photos/new%2Fyellow%20one").body, png(9, 9, [250, 250, 0]));
}

#[test]
fn browsers_are_told_to_trust_nothing_else() {
    let scene = Scene::new();
    let server = Server::start(&mut scene.command());
    let page = server.get("/");
    assert!(page.text().contains("<canvas") && page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    for file in ["/", "/style.css", "/main.js", "/photos/red.png", "/api/v1/gallery", "/nothing"] {
        let answer = server.get(file);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{file}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{file}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{file}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{file}");
    }
    let known = format!("If-None-Match: {}", page.header("etag"));
    assert_eq!(server.ask("GET", "/", &[&known], &[]).status, 304);

    // DNS rebinding: a page elsewhere whose name points here calls us by its own name.
    for host in ["Host: evil.example", "Host: evil.example:80", "Host: localhost.evil.example", "Host:"] {
        refused(&server.ask("GET", "/api/v1/gallery", &[host], &[]), 421, "wrong_host");
    }
    for host in ["Host: localhost:9", "Host: 127.0.0.1", "Host: [::1]:80", "Host: LOCALHOST"] {
        assert_eq!(server.ask("GET", "/api/v1/gallery", &[host], &[]).status, 200, "{host}");
    }
    let named = Server::start(scene.command().args(["--allow-host", "shop.example"]));
    assert_eq!(named.ask("GET", "/", &["Host: shop.example:8080"], &[]).status, 200);
}

#[test]
fn overload_is_refused_and_leaves_nothing_behind() {
    let scene = Scene::new();
    let server = Server::start(scene.command().args(["--max-queries", "1", "--queue", "0"]));
    // Decoding it takes long enough for others to come.
    let large = png(3000, 3000, [200, 10, 10]);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..8).map(|_| scope.spawn(|| server.ask("POST", "/api/v1/query", &[PNG], &large))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let (answered, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!answered.is_empty() && !others.is_empty(), "{} of 8 were answered", answered.len());
    others.into_iter().for_each(|answer| refused(answer, 503, "overloaded"));
    assert_eq!(ids(&server.ask("POST", "/api/v1/query", &[PNG], &png(2, 2, [255, 0, 0])))[0], "red.png");

    // Prometheus knows of all of them.
    let metrics = server.get("/metrics");
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    let text = metrics.text();
    let count = |status: u16| -> u64 {
        let start = format!(
            "sketchfind_requests_total{{route=\"/api/v1/query\",method=\"POST\",status=\"{status}\"}} "
        );
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {start} in\n{text}")).parse().unwrap()
    };
    assert_eq!(count(200) + count(503), 9, "{text}");
    assert!(text.contains("sketchfind_photos 4\n") && text.ends_with("# EOF\n"), "{text}");
    assert_eq!(server.get("/healthz").text(), "alive\n");
}

#[test]
fn a_client_that_dawdles_is_let_go() {
    let scene = Scene::new();
    let server = Server::start(scene.command().args(["--timeout", "1"]));
    let mut slow = Connection::open(&server.address).unwrap();
    let started = Instant::now();
    slow.send(b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\nx")
        .unwrap();
    refused(&slow.receive(false).unwrap(), 408, "too_slow");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // What is no HTTP is refused too, and the server lives on.
    let mut noise = Connection::open(&server.address).unwrap();
    noise.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP\r\n\r\n").unwrap();
    assert_eq!(noise.receive(false).map(|answer| answer.status).unwrap_or(400), 400);
    let mut long = Connection::open(&server.address).unwrap();
    let head = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000));
    let _ = long.send(head.as_bytes());
    assert!(long.receive(false).map(|answer| answer.status).unwrap_or(431) >= 400);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn it_stops_when_asked_and_finishes_what_is_under_way() {
    let scene = Scene::new();
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(scene.command().args(["--log", "json"]));
        let large = png(3500, 3500, [10, 10, 200]);
        let mut client = Connection::open(&server.address).unwrap();
        let mut idle = Connection::open(&server.address).unwrap();
        assert_eq!(idle.ask("GET", "/healthz", &[], &[]).unwrap().status, 200);
        let length = format!("Content-Length: {}", large.len());
        let head = format!("POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\n{PNG}\r\n{length}\r\n\r\n");
        client.send(&[head.as_bytes(), &large].concat()).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        server.signal(signal);
        assert_eq!(ids(&client.receive(false).unwrap())[0], "blue.png");
        assert_eq!(server.wait(), Some(0), "{}", server.log());
        assert!(Connection::open(&server.address).is_err(), "it listens no more");
        // Every line of its log is an object.
        for line in server.log().lines() {
            let line: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(line["timestamp"].is_string() && line["level"].is_string());
        }
        assert!(server.log().contains("\"message\":\"stopped\""), "{}", server.log());
    }
}

#[test]
fn what_cannot_be_served_is_said() {
    let scene = Scene::new();
    fail(&mut serve(&scene.path("nowhere")), 3, &["nowhere"]);
    fail(scene.command().args(["--max-queries", "0"]), 3, &["queries is 0", "1 to 4096"]);
    fail(scene.command().env("SKETCHFIND_TOKEN", "short"), 3, &["SKETCHFIND_TOKEN", "shorter than 16"]);
    let file = scene.path("token");
    fail(scene.command().arg("--token-file").arg(&file), 3, &["token"]);
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let server = Server::start(scene.command().arg("--token-file").arg(&file));
    let right = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(server.ask("DELETE", "/api/v1/photos/red.png", &[&right], &[]).status, 204);
    // One port, one server.
    let mut second = program("sketchfind");
    second.args(["serve", "--address", &server.address, "--gallery"]).arg(scene.path("gallery"));
    fail(&mut second, 1, &["cannot listen on", &server.address]);
    drop(server);

    let mut everywhere = program("sketchfind");
    everywhere.args(["serve", "--address", "0.0.0.0:0", "--gallery"]).arg(scene.path("gallery"));
    let open = Server::start(&mut everywhere);
    assert!(open.log().contains("without a token"), "{}", open.log());
    drop(open);
    let closed = Server::start(&mut scene.command());
    assert!(!closed.log().contains("WARN"), "{}", closed.log());
}

/// The description is made from the code; the copy in docs is for those who read it without a server.
#[test]
fn the_api_is_described() {
    let scene = Scene::new();
    let server = Server::start(&mut scene.command());
    let served = json(&server.get("/api/v1/openapi.json"));
    let file = surroundings::checkout().join("docs/openapi.json");
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let hint = "sketchfind serve --openapi > docs/openapi.json";
    assert!(served == kept, "docs/openapi.json is not what the server says: {hint}");
    assert_eq!(served["openapi"].as_str(), Some("3.1.0"));
    for path in ["/api/v1/query", "/api/v1/photos/{id}", "/photos/{id}", "/healthz", "/readyz", "/metrics"] {
        assert!(served["paths"][path].is_object(), "{path}");
    }
}

/// schemathesis sends what the description allows and what it forbids, and finds no answer that is not described.
#[test]
fn the_api_is_as_it_is_described() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let Some(schemathesis) = surroundings::schemathesis() else { return };
    let scene = Scene::new();
    let server = Server::start(&mut with_token(scene.command()));
    let hooks = surroundings::checkout().join("tests/reference");
    let mut command = Command::new(schemathesis);
    command
        .current_dir(scene.path(""))
        .env("PYTHONPATH", hooks)
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks");
    command.arg("run").arg(format!("http://{}/api/v1/openapi.json", server.address));
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}"), "--no-color", "--seed", "1"]);
    command.args([
        "--max-examples",
        "40",
        "--generation-database",
        "none",
        "--request-timeout",
        "20",
        "--warnings",
        "off",
    ]);
    let said = succeed(&mut command);
    assert!(said.contains(" passed") && !said.contains("Failures:"), "{said}");
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}
