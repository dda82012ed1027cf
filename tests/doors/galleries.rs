//! `sketchfind index`: galleries that are built, interrupted, changed and asked.

use std::path::Path;
use std::process::{Command, Stdio};

use sketchfind_runtime::Gallery;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::surroundings;

fn sketchfind(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.args(arguments);
    command
}

/// The model of the runtime's tests whose embedding is the mean of each colour channel.
fn mean8() -> std::path::PathBuf {
    surroundings::checkout().join("runtime/tests/fixtures/mean8")
}

/// A photo of one grey level.
fn grey(path: &Path, value: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = sketchfind_core::image::Rgb8Image::new(16, 16, vec![value; 16 * 16 * 3]).unwrap();
    std::fs::write(path, image.to_png().unwrap()).unwrap();
}

fn ids(gallery: &Path) -> Vec<String> {
    let snapshot = Gallery::open(gallery).unwrap().snapshot();
    snapshot.photos().map(|(photo, _)| photo.id().to_owned()).collect()
}

#[test]
fn a_gallery_is_built_changed_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    for value in [10, 20, 30] {
        grey(&photos.join(format!("dark/{value}.png")), value);
    }
    std::fs::write(photos.join("broken.png"), "no image").unwrap();
    let index = |verb: &str| {
        let mut index = sketchfind(&["index", verb]);
        index.arg(if verb == "build" { "--out" } else { "--gallery" }).arg(&gallery);
        index
    };
    let intake = |verb: &str, photos: &Path| {
        let mut intake = index(verb);
        intake.arg("--photos").arg(photos).arg("--skip-broken");
        if verb == "build" {
            intake.arg("--model").arg(mean8());
        }
        intake
    };
    let failures = folder.path().join("failures.csv");
    let said = run(intake("build", &photos).arg("--failures").arg(&failures).args(["--label", "first"]));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(ids(&gallery), ["dark/10.png", "dark/20.png", "dark/30.png"]);
    let text = std::fs::read_to_string(&failures).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0] == "id,path,reason" && lines.len() == 2 && lines[1].starts_with("broken.png,"),
        "{text}"
    );
    // Nothing is left beside it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);

    // More photos, one of them changed, with labels from a file.
    let more = folder.path().join("more");
    grey(&more.join("light/200.png"), 200);
    grey(&more.join("dark/10.png"), 11);
    grey(&more.join("dark/20.png"), 20);
    let labels = folder.path().join("labels.csv");
    std::fs::write(&labels, "id,label\nlight/200.png,sale\nlight/200.png,new\n").unwrap();
    let said = run(intake("add", &more).arg("--labels").arg(&labels));
    assert!(said.err.contains("1 photos added, 2 replaced, 0 there already, 0 left out"), "{}", said.err);
    let said = run(intake("add", &more).arg("--labels").arg(&labels));
    assert!(said.err.contains("0 photos added, 0 replaced, 3 there already"), "{}", said.err);
    std::fs::write(&labels, "id,label\nnowhere.png,sale\n").unwrap();
    fail(intake("add", &more).arg("--labels").arg(&labels), 3, &["labels.csv", "'nowhere.png'"]);

    let sketch = folder.path().join("sketch.png");
    grey(&sketch, 12);
    let query = |filter: &[&str]| {
        let mut query = sketchfind(&["query", "--format", "csv", "--gallery"]);
        let answer = succeed(query.arg(&gallery).args(filter).arg(&sketch));
        let rows = answer.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().to_owned());
        rows.collect::<Vec<_>>()
    };
    assert_eq!(query(&[]), ["dark/10.png", "dark/20.png", "dark/30.png", "light/200.png"]);
    assert_eq!(query(&["--any-label", "sale"]), ["light/200.png"]);
    assert_eq!(query(&["--every-label", "sale", "--every-label", "new"]), ["light/200.png"]);
    assert_eq!(query(&["--every-label", "sale", "--without-label", "new"]), Vec::<String>::new());
    assert_eq!(
        query(&["--only-id", "dark/30.png", "--only-id", "dark/20.png"]),
        ["dark/20.png", "dark/30.png"]
    );

    let said = run(index("remove").args(["dark/10.png", "never"]));
    assert!(
        said.code == Some(0)
            && said.err.contains("'never' is not in")
            && said.err.contains("1 photos removed")
    );
    succeed(&mut index("compact"));
    assert_eq!(query(&[]), ["dark/20.png", "dark/30.png", "light/200.png"]);
    succeed(index("compact").args(["--index", "hnsw"]));
    assert!(succeed(sketchfind(&["info"]).arg(&gallery)).contains("hnsw"));

    // Somebody else writes.
    let held = Gallery::open_with(&gallery, sketchfind_runtime::Access::Write).unwrap();
    fail(index("remove").arg("dark/20.png"), 1, &["another writer"]);
    fail(&mut intake("build", &photos), 1, &["another writer"]);
    drop(held);
    // The build that could not take its place is there, and goes on.
    let said = run(&mut intake("build", &photos));
    assert!(said.code == Some(0) && said.err.contains("going on"), "{}", said.err);
    assert_eq!(ids(&gallery), ["dark/10.png", "dark/20.png", "dark/30.png"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_build_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    // Enough that the first few hundred are in long before the last, and 2,000 different contents.
    for number in 0..2_000_u32 {
        let image = (0..32 * 32).flat_map(|_| [(number % 251) as u8, (number / 251) as u8, 7]).collect();
        let image = sketchfind_core::image::Rgb8Image::new(32, 32, image).unwrap();
        std::fs::create_dir_all(&photos).unwrap();
        std::fs::write(photos.join(format!("{number:04}.png")), image.to_png().unwrap()).unwrap();
    }
    let build = || {
        let mut build = sketchfind(&["index", "build", "--threads", "1", "--model"]);
        build.arg(mean8()).arg("--photos").arg(&photos).arg("--out").arg(&gallery).stderr(Stdio::piped());
        build
    };
    let building = folder.path().join("shop.building");
    let mut child = build().spawn().unwrap();
    let started = std::time::Instant::now();
    while Gallery::open(&building).map_or(0, |gallery| gallery.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it was done before it could be killed");
        assert!(started.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!gallery.exists());
    let n_kept = Gallery::open(&building).unwrap().len();
    assert!((256..2_000).contains(&n_kept), "{n_kept}");
    // Meanwhile a photo went away and one came.
    std::fs::remove_file(photos.join("0000.png")).unwrap();
    grey(&photos.join("new.png"), 99);
    let said = run(&mut build());
    assert!(said.code == Some(0) && said.err.contains("going on"), "{}", said.err);
    let resumed = Gallery::open(&gallery).unwrap();
    assert_eq!(resumed.len(), 2_000);
    assert!(!building.exists());
    // The same as one that was never interrupted.
    succeed(build().arg("--fresh"));
    let whole = Gallery::open(&gallery).unwrap();
    assert!(whole.snapshot().photos().eq(resumed.snapshot().photos()));
}

/// A folder of which nothing can be read makes no empty gallery, and leaves the one that is there.
#[test]
fn where_no_image_can_be_read_nothing_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    grey(&photos.join("one.png"), 1);
    let intake = |verb: &str, photos: &Path| {
        let mut intake = sketchfind(&["index", verb, "--skip-broken", "--photos"]);
        intake.arg(photos).arg(if verb == "build" { "--out" } else { "--gallery" }).arg(&gallery);
        if verb == "build" {
            intake.arg("--model").arg(mean8());
        }
        intake
    };
    succeed(&mut intake("build", &photos));
    let broken = folder.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    for name in ["a.jpg", "b.png"] {
        std::fs::write(broken.join(name), "no image").unwrap();
    }
    let failures = folder.path().join("failures.csv");
    let parts = ["broken", "none of its 2 images", "a.jpg"];
    fail(intake("build", &broken).arg("--failures").arg(&failures), 3, &parts);
    assert_eq!(std::fs::read_to_string(&failures).unwrap().lines().count(), 3);
    fail(&mut intake("add", &broken), 3, &parts);
    assert_eq!(ids(&gallery), ["one.png"]);
    // Nothing is left beside it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

/// An image is refused by the limit that the caller sets, wherever one is read.
#[test]
fn the_limit_of_pixels_is_the_callers() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    grey(&photos.join("one.png"), 1);
    let build = |limit: &str| {
        let mut build = sketchfind(&["index", "build", "--max-pixels", limit, "--model"]);
        build.arg(mean8()).arg("--photos").arg(&photos).arg("--out").arg(&gallery);
        build
    };
    fail(&mut build("255"), 3, &["one.png", "16 x 16", "limit of 255 pixels"]);
    succeed(&mut build("256"));
    let query = |limit: &str| {
        let mut query = sketchfind(&["query", "--max-pixels", limit, "--gallery"]);
        query.arg(&gallery).arg(photos.join("one.png"));
        query
    };
    fail(&mut query("255"), 3, &["one.png", "limit of 255 pixels"]);
    succeed(&mut query("256"));
    fail(&mut query("0"), 2, &["--max-pixels"]);
}

#[test]
fn further_columns_of_a_manifest_are_labels_of_a_gallery() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model, gallery) =
        (folder.path().join("data"), folder.path().join("model"), folder.path().join("gallery"));
    sketchfind_tests::toy::dataset(&data, 4, 0, 1).unwrap();
    crate::refusals::small_model(&model, 1);
    let manifest = data.join("manifest.csv");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut lines = text.lines();
    let mut marked = format!("{},colour\n", lines.next().unwrap());
    for line in lines {
        let colour = if line.starts_with("photo/001") || line.starts_with("photo/002") { "red" } else { "" };
        marked.push_str(&format!("{line},{colour}\n"));
    }
    std::fs::write(&manifest, marked).unwrap();
    let mut build = sketchfind_tests::programs::program("sketchfind");
    build
        .args(["index", "build", "--model"])
        .arg(&model)
        .arg("--photos")
        .arg(&manifest)
        .arg("--out")
        .arg(&gallery);
    sketchfind_tests::programs::succeed(&mut build);
    let mut query = sketchfind_tests::programs::program("sketchfind");
    query.args(["query", "--any-label", "colour=red", "--format", "csv", "--gallery"]).arg(&gallery);
    let answer = sketchfind_tests::programs::succeed(query.arg(data.join("sketch/001-1.png")));
    assert_eq!(answer.matches("photo/").count(), 2, "{answer}");
    assert!(answer.contains("photo/001") && answer.contains("photo/002"), "{answer}");
}
