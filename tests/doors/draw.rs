//! `sketchfind draw`: a page over a folder that answers while it is taken in, and follows it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sketchfind_tests::http::Server;
use sketchfind_tests::programs::{fail, program, run, succeed};

use crate::serve::{JSON, json, png};

/// A folder of photos and a home of its own.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(n: usize) -> Scene {
        let scene = Scene { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(scene.photos().join("below")).unwrap();
        for number in 0..n {
            let colour = [(number % 200) as u8, 90, (number / 200) as u8];
            let name = if number % 2 == 0 { format!("{number}.png") } else { format!("below/{number}.png") };
            scene.put(&name, &png(40, 30, colour));
        }
        std::fs::write(scene.photos().join("notes.txt"), "no photo").unwrap();
        scene
    }

    fn photos(&self) -> PathBuf {
        self.folder.path().join("photos")
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// As a program does that writes a file beside its place first.
    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.photos().join(name);
        std::fs::write(path.with_extension("part"), bytes).unwrap();
        std::fs::rename(path.with_extension("part"), path).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = program("sketchfind");
        command.args(words).env("HOME", self.home()).args(["--address", "127.0.0.1:0"]);
        command
    }

    fn draw(&self) -> Command {
        let mut command = self.command(&["draw", "--no-browser"]);
        command.arg(self.photos());
        command
    }
}

fn n_photos(server: &Server) -> u64 {
    json(&server.get("/api/v1/gallery"))["n_photos"].as_u64().unwrap()
}

/// Waits until it is so; how long that took.
#[track_caller]
fn waited(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// All of what lies in a folder, but for what is in a file.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn a_folder_is_drawn_over_while_it_is_taken_in_and_followed() {
    const N: u64 = 400;
    let scene = Scene::new(N as usize);
    let before = listed(&scene.photos());
    let server = Server::start(&mut scene.draw());
    let drawing =
        br#"{"strokes": {"canvas": [100, 100], "polylines": [[[10, 10], [90, 12], [50, 80], [10, 10]]]}}"#;
    // The distance to each photo that is found, by its id.
    let found = |parameters: &str| -> Vec<(String, f64)> {
        let answer = json(&server.ask("POST", &format!("/api/v1/query?{parameters}"), &[JSON], drawing));
        let hits = answer["hits"].as_array().unwrap().iter();
        hits.map(|hit| (hit["id"].as_str().unwrap().to_owned(), hit["distance"].as_f64().unwrap())).collect()
    };
    // The first answer, while others are still to come.
    waited("a first answer", || n_photos(&server) > 0);
    let n = n_photos(&server);
    assert!(n < N, "{n} photos are in already");
    assert_eq!(found("k=5").len(), 5);
    waited("all photos", || n_photos(&server) == N);
    assert_eq!(server.get("/photos/below%2F1.png").status, 200);

    // New, changed, and gone.
    scene.put("new.png", &png(80, 80, [250, 20, 20]));
    let mut took = vec![waited("a new photo", || !found("id=new.png").is_empty())];
    let before_change = found("id=new.png");
    scene.put("new.png", &png(90, 40, [10, 10, 240]));
    took.push(waited("a changed photo", || found("id=new.png") != before_change));
    std::fs::remove_file(scene.photos().join("new.png")).unwrap();
    took.push(waited("a photo that is gone", || found("id=new.png").is_empty()));
    // Beside other tests; alone it is a part of this.
    assert!(took.iter().all(|took| took.as_secs() < 20), "{took:?}");
    // What cannot be read is said once, and keeps nothing else out.
    let picture = png(30, 30, [250, 20, 20]);
    scene.put("broken.png", &picture[..50]);
    scene.put("good.png", &picture);
    waited("the photo beside a broken one", || !found("id=good.png").is_empty());
    waited("what is said of it", || server.log().contains("broken.png"));
    scene.put("broken.png", &picture);
    waited("the broken one, mended", || !found("id=broken.png").is_empty());
    assert_eq!(server.log().matches("left out").count(), 1, "{}", server.log());
    drop(server);

    // Nothing was written into the folder; the next time begins where this one ended.
    for name in ["broken.png", "good.png"] {
        std::fs::remove_file(scene.photos().join(name)).unwrap();
    }
    assert_eq!(listed(&scene.photos()), before);
    let again = Server::start(&mut scene.draw());
    assert!(n_photos(&again) >= N);
    waited("what went meanwhile", || n_photos(&again) == N);
    assert_eq!(listed(&scene.home().join(".cache/sketchfind/galleries")).len(), 1);
    drop(again);
    // And `serve` has the same.
    let mut serve = scene.command(&["serve"]);
    let served = Server::start(
        serve.arg("--photos").arg(scene.photos()).env("SKETCHFIND_TOKEN", "a-token-that-counts-for-nothing"),
    );
    assert_eq!(n_photos(&served), N);
    assert_eq!(json(&served.get("/api/v1/gallery"))["is_changeable"], false);
    assert_eq!(listed(&scene.home().join(".cache/sketchfind/galleries")).len(), 1);
}

/// A gallery that cannot be read is a cache, and made anew; so is one of a model that was damaged.
#[test]
fn a_cache_that_is_damaged_is_made_anew() {
    let scene = Scene::new(3);
    let mut serve = scene.draw();
    let server = Server::start(&mut serve);
    waited("all photos", || n_photos(&server) == 3);
    drop(server);
    let cache = scene.home().join(".cache/sketchfind");
    for (folder, file) in [("galleries", "gallery.json"), ("models", "model.onnx")] {
        let damaged = listed(&cache.join(folder))[0].join(file);
        std::fs::write(damaged, "nothing").unwrap();
        let server = Server::start(&mut scene.draw());
        waited("all photos", || n_photos(&server) == 3);
        assert_eq!(server.log().contains("made anew"), folder == "galleries", "{}", server.log());
    }
}

#[test]
fn what_cannot_be_drawn_over_is_refused_by_name() {
    let scene = Scene::new(1);
    fail(&mut scene.command(&["draw", "/nowhere/at/all"]), 3, &["/nowhere/at/all"]);
    let file = scene.photos().join("0.png");
    fail(scene.command(&["draw"]).arg(&file), 3, &["0.png", "expected a folder"]);
    // Drawings are not kept among the photos.
    let mut among = scene.draw();
    fail(among.arg("--teach").arg(scene.photos()), 3, &["drawings cannot be kept", "something else"]);
}

/// `index build` takes the general model too, and says so once.
#[test]
fn a_gallery_is_built_without_a_word_of_a_model() {
    let scene = Scene::new(2);
    let gallery = scene.folder.path().join("gallery");
    let mut build = program("sketchfind");
    build.env("HOME", scene.home()).args(["index", "build", "--photos"]).arg(scene.photos());
    let said = run(build.arg("--out").arg(&gallery));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.err.matches("the general one that comes with this program").count(), 1, "{}", said.err);
    assert!(succeed(program("sketchfind").arg("info").arg(&gallery)).contains("general"));
}
