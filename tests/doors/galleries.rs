//! `sketchfind index`: galleries that are built, interrupted, changed and asked.

use std::path::Path;
use std::process::{Command, Stdio};

use sketchfind::Gallery;
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
    let image = sketchfind_core::image::Image::new(16, 16, vec![value; 16 * 16 * 3]).unwrap();
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
    // The other folder's photo of the same name stays, unless it is meant.
    let elsewhere = ["'dark/10.png'", "dark/10.png' would take its place", "--prefix", "--replace"];
    fail(intake("add", &more).arg("--labels").arg(&labels), 3, &elsewhere);
    assert_eq!(ids(&gallery), ["dark/10.png", "dark/20.png", "dark/30.png"]);
    let said = run(intake("add", &more).arg("--labels").arg(&labels).arg("--replace"));
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

    fail(index("remove").args(["dark/10.png", "never"]), 3, &["no photo 'never'", "nothing was removed"]);
    assert_eq!(ids(&gallery).len(), 4);
    let said = run(index("remove").arg("dark/10.png"));
    assert!(said.code == Some(0) && said.err.contains("1 photos removed"), "{}", said.err);
    succeed(&mut index("compact"));
    assert_eq!(query(&[]), ["dark/20.png", "dark/30.png", "light/200.png"]);
    succeed(index("compact").args(["--index", "hnsw"]));
    assert!(succeed(sketchfind(&["info"]).arg(&gallery)).contains("hnsw"));

    // Somebody else writes.
    let held = Gallery::open_with(&gallery, sketchfind::Access::Write).unwrap();
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
        let image = sketchfind_core::image::Image::new(32, 32, image).unwrap();
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

/// A command of `index` on a gallery, with what it is made of.
fn index(verb: &str, gallery: &Path, photos: &Path) -> Command {
    let mut index = sketchfind(&["index", verb, "--photos"]);
    index.arg(photos).arg(if verb == "build" { "--out" } else { "--gallery" }).arg(gallery);
    if verb == "build" {
        index.arg("--model").arg(mean8());
    }
    index
}

/// What is a photo is told by its content; what cannot be read is counted, named and listed, and refused unless it may be left
/// out.
#[cfg(target_os = "linux")]
#[test]
fn nothing_that_may_be_a_photo_is_left_out_in_silence() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    for (name, value) in
        [("a.jfif", 1), ("b", 2), ("back/slash.png", 3), ("back\\slash.png", 4), ("c.txt", 5)]
    {
        grey(&photos.join(name), value);
    }
    grey(&photos.join(std::ffi::OsStr::from_bytes(b"latin\xe9.png")), 6);
    let reference = surroundings::checkout().join("core/tests/reference");
    std::fs::copy(reference.join("rgb.tiff"), photos.join("d.tiff")).unwrap();
    grey(&folder.path().join("other/e.png"), 7);
    symlink(folder.path().join("other"), photos.join("linked")).unwrap();
    std::fs::write(photos.join("notes.txt"), "no image").unwrap();
    std::fs::write(photos.join("Thumbs.db"), "no image").unwrap();
    grey(&photos.join("@eaDir/thumb.png"), 8);
    let expected = [
        "a.jfif",
        "b",
        "back/slash.png",
        "back\\slash.png",
        "c.txt",
        "d.tiff",
        "latin%E9.png",
        "linked/e.png",
    ];
    let mut sorted = expected.map(str::to_owned).to_vec();
    sorted.sort();
    let said = run(&mut index("build", &gallery, &photos));
    assert_eq!((said.code, ids(&gallery)), (Some(0), sorted.clone()), "{}", said.err);
    let snapshot = Gallery::open(&gallery).unwrap().snapshot();
    assert!(snapshot.photos().all(|(photo, _)| photo.source().is_some_and(Path::is_file)));

    // What cannot be read: a format, a link to nothing, an image that is none.
    std::fs::write(photos.join("IMG_1.HEIC"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    std::fs::write(photos.join("called.jpg"), b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf").unwrap();
    symlink("/nowhere/disk", photos.join("disk")).unwrap();
    let failures = folder.path().join("failures.csv");
    let rows = || std::fs::read_to_string(&failures).unwrap().lines().count() - 1;
    let mut strict = index("build", &gallery, &photos);
    let parts =
        ["3 files and folders", "IMG_1.HEIC", "HEIC", "convert", "AVIF", "/nowhere/disk", "--skip-broken"];
    fail(strict.arg("--failures").arg(&failures), 3, &parts);
    assert_eq!(rows(), 3);
    std::fs::write(photos.join("broken.jpg"), "no image").unwrap();
    let mut lenient = index("build", &gallery, &photos);
    let said = run(lenient.arg("--skip-broken").arg("--failures").arg(&failures));
    assert_eq!((said.code, ids(&gallery)), (Some(0), sorted), "{}", said.err);
    assert!(said.err.contains("4 images left out") && said.err.contains("broken.jpg"), "{}", said.err);
    assert_eq!(rows(), 4);
    // Nothing is left beside it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

/// A walk takes neither galleries and models below the folder nor what is excluded.
#[test]
fn a_folder_that_holds_its_own_gallery_is_built_again_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().to_owned();
    let gallery = photos.join("shop.gallery");
    grey(&photos.join("a/1.png"), 1);
    grey(&photos.join("a/1-small.png"), 2);
    grey(&photos.join("old/2.png"), 3);
    for _ in 0..2 {
        let mut build = index("build", &gallery, &photos);
        succeed(build.args(["--exclude", "*-small.*", "--exclude", "old/"]));
        assert_eq!(ids(&gallery), ["a/1.png"]);
        // As a server keeps what clients add.
        grey(&photos.join("shop.gallery.photos/0123.png"), 4);
    }
    fail(index("build", &gallery, &photos).args(["--exclude", "a[b"]), 3, &["'a[b'", "glob"]);
    // A folder that is itself named is taken, whatever it is.
    let probe = folder.path().join("probe.gallery");
    succeed(&mut index("build", &probe, &gallery.join("model/probe")));
    assert_eq!(ids(&probe), ["noise-0.png", "noise-1.png", "noise-2.png"]);
}

/// Labels that are not given stay.
#[test]
fn an_unchanged_folder_keeps_its_labels() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    let labels = folder.path().join("labels.csv");
    grey(&photos.join("cafe\u{301}.png"), 1);
    grey(&photos.join("b.png"), 2);
    // Written in the other form of Unicode than the name of the file.
    std::fs::write(&labels, "id,label\ncaf\u{e9}.png,red\nb.png,red\n").unwrap();
    succeed(index("build", &gallery, &photos).arg("--labels").arg(&labels));
    let labels_of = |id: &str| -> Vec<String> {
        let snapshot = Gallery::open(&gallery).unwrap().snapshot();
        snapshot.photo(id).unwrap().labels().iter().cloned().collect()
    };
    grey(&photos.join("new.png"), 3);
    grey(&photos.join("b.png"), 4);
    let said = run(&mut index("add", &gallery, &photos));
    assert!(said.err.contains("1 photos added, 1 replaced, 1 there already"), "{}", said.err);
    assert_eq!((labels_of("cafe\u{301}.png"), labels_of("b.png")), (vec!["red".into()], vec!["red".into()]));
    assert!(labels_of("new.png").is_empty());
    // A row for one of them, and an empty one for another.
    std::fs::write(&labels, "id,label\nnew.png,green\nb.png,\n").unwrap();
    succeed(index("add", &gallery, &photos).arg("--labels").arg(&labels));
    assert_eq!((labels_of("cafe\u{301}.png"), labels_of("b.png")), (vec!["red".to_owned()], vec![]));
    assert_eq!(labels_of("new.png"), ["green"]);
    // A build makes the gallery anew: it has what the build was given.
    succeed(&mut index("build", &gallery, &photos));
    assert!(labels_of("cafe\u{301}.png").is_empty());
}

/// Two folders with the same names side by side, each under its own prefix.
#[test]
fn a_second_folder_has_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, gallery] = ["a", "b", "shop"].map(|name| folder.path().join(name));
    grey(&a.join("IMG_0001.png"), 1);
    grey(&b.join("IMG_0001.png"), 2);
    succeed(&mut index("build", &gallery, &a));
    fail(&mut index("add", &gallery, &b), 3, &["'IMG_0001.png'", "a/IMG_0001.png", "b/IMG_0001.png"]);
    for _ in 0..2 {
        succeed(index("add", &gallery, &b).args(["--prefix", "second/"]));
        assert_eq!(ids(&gallery), ["IMG_0001.png", "second/IMG_0001.png"]);
    }
    // A folder's own photos are replaced when they change.
    grey(&b.join("IMG_0001.png"), 3);
    let said = run(index("add", &gallery, &b).args(["--prefix", "second/"]));
    assert!(said.err.contains("0 photos added, 1 replaced"), "{}", said.err);
    // An id that is too long to be kept is one that cannot be read.
    grey(&b.join("a.png"), 4);
    let long = "x".repeat(4090);
    fail(
        index("add", &gallery, &b).args(["--prefix", &long]),
        3,
        &["IMG_0001.png", "4102 bytes", "--skip-broken"],
    );
    let said = run(index("add", &gallery, &b).args(["--skip-broken", "--prefix", &long]));
    assert!(said.err.contains("1 photos added, 0 replaced, 0 there already, 1 left out"), "{}", said.err);
}

#[test]
fn a_gallery_is_brought_to_what_a_folder_holds() {
    let folder = tempfile::tempdir().unwrap();
    let [photos, other, gallery] = ["photos", "other", "shop"].map(|name| folder.path().join(name));
    for value in 0..5 {
        grey(&photos.join(format!("{value}.png")), value);
    }
    grey(&other.join("x.png"), 50);
    succeed(&mut index("build", &gallery, &photos));
    succeed(&mut index("add", &gallery, &other));
    std::fs::remove_file(photos.join("0.png")).unwrap();
    grey(&photos.join("1.png"), 11);
    grey(&photos.join("new.png"), 60);
    // Cannot be read any more, which is not gone.
    std::fs::write(photos.join("2.png"), "no image").unwrap();
    let before = ids(&gallery);
    let sync = |more: &[&str]| {
        let mut sync = index("sync", &gallery, &photos);
        sync.arg("--skip-broken").args(more);
        sync
    };
    let told = succeed(&mut sync(&["--dry-run"]));
    assert_eq!(told, "change,id\nadd,new.png\nreplace,1.png\nreplace,2.png\nremove,0.png\n");
    assert_eq!(ids(&gallery), before);
    let said = run(&mut sync(&[]));
    assert!(
        said.err.contains("1 photos added, 1 replaced, 1 removed, 2 there already, 1 left out"),
        "{}",
        said.err
    );
    assert!(said.err.contains("1 of them are from elsewhere"), "{}", said.err);
    assert_eq!(ids(&gallery), ["1.png", "2.png", "3.png", "4.png", "new.png", "x.png"]);
    // By another way to the same folder, and with nothing to do.
    let roundabout = folder.path().join("other/../photos");
    let said = run(index("sync", &gallery, &roundabout).arg("--skip-broken"));
    assert!(
        said.err.contains("0 removed") && said.err.contains("1 of them are from elsewhere"),
        "{}",
        said.err
    );

    // A disk that is not mounted: the folder is empty, or nearly.
    let away = folder.path().join("away");
    std::fs::rename(&photos, &away).unwrap();
    fail(&mut sync(&[]), 3, &["photos"]);
    std::fs::create_dir(&photos).unwrap();
    fail(&mut sync(&[]), 3, &["5 of the 5 photos", "not mounted", "--force"]);
    grey(&photos.join("4.png"), 4);
    fail(&mut sync(&[]), 3, &["4 of the 5 photos"]);
    assert!(run(&mut sync(&["--dry-run"])).err.contains("it would be refused"));
    assert_eq!(ids(&gallery).len(), 6);
    succeed(&mut sync(&["--force"]));
    assert_eq!(ids(&gallery), ["4.png", "x.png"]);
    fail(&mut index("sync", &gallery, &other.join("x.png")), 3, &["no folder"]);
}

/// What lies behind a folder that cannot be read is not gone.
#[cfg(unix)]
#[test]
fn a_folder_that_nobody_can_look_into_keeps_its_photos() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let [photos, disk, gallery] = ["photos", "disk", "shop"].map(|name| folder.path().join(name));
    for value in 0..4 {
        grey(&photos.join(format!("{value}.png")), value);
    }
    grey(&disk.join("far.png"), 9);
    symlink(&disk, photos.join("linked")).unwrap();
    succeed(&mut index("build", &gallery, &photos));
    std::fs::rename(&disk, folder.path().join("unmounted")).unwrap();
    std::fs::remove_file(photos.join("0.png")).unwrap();
    fail(&mut index("sync", &gallery, &photos), 3, &["linked", "--skip-broken"]);
    succeed(index("sync", &gallery, &photos).arg("--skip-broken"));
    assert_eq!(ids(&gallery), ["1.png", "2.png", "3.png", "linked/far.png"]);
}

#[test]
fn ids_to_remove_come_from_a_list() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let [photos, gallery, list] = ["photos", "shop", "list.txt"].map(|name| folder.path().join(name));
    for (name, value) in [("a b.png", 1), ("cafe\u{301}.png", 2), ("c.png", 3), ("d.png", 4)] {
        grey(&photos.join(name), value);
    }
    succeed(&mut index("build", &gallery, &photos));
    let remove = || {
        let mut remove = sketchfind(&["index", "remove", "--gallery"]);
        remove.arg(&gallery);
        remove
    };
    std::fs::write(&list, "a b.png\nnever.png\n").unwrap();
    fail(remove().arg("--ids").arg(&list), 3, &["'never.png'", "nothing was removed"]);
    fail(remove().arg("--ids").arg(folder.path().join("nowhere")), 3, &["nowhere"]);
    std::fs::write(&list, b"a b.png\n\xff\n").unwrap();
    fail(remove().arg("--ids").arg(&list), 3, &["list.txt", "line 2", "UTF-8"]);
    fail(&mut remove(), 2, &["--ids"]);
    assert_eq!(ids(&gallery).len(), 4);
    std::fs::write(&list, "\u{feff}a b.png\r\n\r\ncaf\u{e9}.png\r\n").unwrap();
    succeed(remove().arg("--ids").arg(&list));
    assert_eq!(ids(&gallery), ["c.png", "d.png"]);
    for dash in [&["-"][..], &["--ids", "-"]] {
        let mut child = remove().args(dash).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let first = ids(&gallery)[0].clone();
        child.stdin.take().unwrap().write_all(format!("{first}\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    assert!(ids(&gallery).is_empty());
}

/// What a failed build has made is in nobody's way.
#[test]
fn a_failed_build_blocks_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let [photos, model] = ["photos", "model"].map(|name| folder.path().join(name));
    let gallery = folder.path().join("new/place/shop");
    grey(&photos.join("a.png"), 1);
    std::fs::write(photos.join("b.png"), "no image").unwrap();
    // A model whose network is none, under a card that fits it.
    let broken = b"no network";
    std::fs::create_dir(&model).unwrap();
    let card = std::fs::read_to_string(mean8().join("card.json")).unwrap();
    let whole = std::fs::read(mean8().join("model.onnx")).unwrap();
    let sha256 = |bytes: &[u8]| sketchfind_core::fingerprint::of_bytes(bytes);
    assert!(card.contains(&sha256(&whole)));
    std::fs::write(model.join("card.json"), card.replace(&sha256(&whole), &sha256(broken))).unwrap();
    std::fs::write(model.join("model.onnx"), broken).unwrap();
    let with_broken_model = || {
        let mut build = sketchfind(&["index", "build", "--photos"]);
        build.arg(&photos).arg("--out").arg(&gallery).arg("--model").arg(&model);
        build
    };
    fail(&mut with_broken_model(), 3, &["model.onnx"]);
    assert!(!folder.path().join("new").exists(), "folders that were made for it are gone too");
    // One that stops half-way keeps what it has.
    let said = run(&mut index("build", &gallery, &photos));
    assert!(said.code == Some(3) && said.err.contains("1 photos are kept"), "{}", said.err);
    let building = folder.path().join("new/place/shop.building");
    assert_eq!(ids(&building), ["a.png"]);
    // It is not given up for a model that does not run, and in no way of one that does.
    fail(&mut with_broken_model(), 3, &["model/model.onnx"]);
    assert_eq!(ids(&building), ["a.png"]);
    let other = folder.path().join("other");
    crate::refusals::small_model(&other, 1);
    let mut build = sketchfind(&["index", "build", "--skip-broken", "--photos"]);
    let said = run(build.arg(&photos).arg("--out").arg(&gallery).arg("--model").arg(&other));
    assert!(said.code == Some(0) && said.err.contains("by another model"), "{}", said.err);
    assert!(!building.exists());
    // Nor does a build mind an unfinished one that is damaged.
    run(&mut index("build", &gallery, &photos));
    std::fs::remove_dir_all(building.join("log")).unwrap();
    let said = run(index("build", &gallery, &photos).arg("--skip-broken"));
    assert!(said.code == Some(0) && said.err.contains("begun anew"), "{}", said.err);
    assert_eq!((ids(&gallery), building.exists()), (vec!["a.png".to_owned()], false));
}

/// A folder that may not be read is named, or left out; its neighbours are taken.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_without_permission_is_left_out() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let [photos, out] = ["photos", "out"].map(|name| folder.path().join(name));
    let closed = photos.join("closed");
    grey(&photos.join("a.png"), 1);
    grey(&closed.join("b.png"), 2);
    std::fs::create_dir(&out).unwrap();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(folder.path(), 0o755);
    allow(&out, 0o777);
    allow(&closed, 0);
    // To root nothing is closed: as somebody else then.
    let is_root = std::fs::read_dir(&closed).is_ok();
    let build = || {
        let build = index("build", &out.join("shop"), &photos);
        if !is_root {
            return build;
        }
        let mut other = Command::new("setpriv");
        other.args(["--reuid", "65534", "--clear-groups"]).arg(build.get_program()).args(build.get_args());
        sketchfind_tests::programs::as_a_person_has_it(&mut other);
        other
    };
    if is_root
        && run(Command::new("setpriv")
            .args(["--reuid", "65534", "--clear-groups", "test", "-x"])
            .arg(build().get_args().nth(3).unwrap()))
        .code
            != Some(0)
    {
        eprintln!("not run: the program is out of reach for anybody but root");
        return;
    }
    fail(&mut build(), 3, &["'closed' in it cannot be read", "ermission denied", "--skip-broken"]);
    let failures = out.join("failures.csv");
    let said = run(build().arg("--skip-broken").arg("--failures").arg(&failures));
    assert!(said.code == Some(0) && said.err.contains("1 images left out"), "{}", said.err);
    assert_eq!(ids(&out.join("shop")), ["a.png"]);
    let rows = std::fs::read_to_string(&failures).unwrap();
    assert!(rows.lines().nth(1).is_some_and(|row| row.starts_with("closed,")), "{rows}");
    allow(&closed, 0o755);
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
    assert_eq!(answer.lines().count(), 1 + 2, "{answer}");
    assert!(answer.contains(",photo/001,") && answer.contains(",photo/002,"), "{answer}");
}

/// From the manifest and from a file of labels into the gallery; found once each, kept where nothing is said, taken away where
/// that is said.
#[test]
fn photos_of_one_product_are_found_once() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    for value in [10, 20, 30, 40, 50] {
        grey(&photos.join(format!("{value}.png")), value);
    }
    let mut manifest = String::from("id,modality,instance,split,path,product,colour\n");
    for (value, product) in [(10, "dark"), (20, "dark"), (30, ""), (40, "light, new"), (50, "light, new")] {
        manifest.push_str(&format!("{value}.png,photo,{value},test,{value}.png,\"{product}\",grey\n"));
    }
    std::fs::write(photos.join("manifest.csv"), manifest).unwrap();
    let mut build = sketchfind(&["index", "build", "--index", "exact", "--photos"]);
    build.arg(photos.join("manifest.csv")).arg("--model").arg(mean8()).arg("--out").arg(&gallery);
    succeed(&mut build);
    let query = |extra: &[&str]| -> Vec<String> {
        let mut query = sketchfind(&["query", "--format", "csv", "--frame", "off", "--gallery"]);
        let text = succeed(query.arg(&gallery).args(extra).arg(photos.join("20.png")));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows = reader.records().map(|row| row.unwrap());
        rows.map(|row| format!("{} {} {} {}", &row[1], &row[2], &row[5], &row[6])).collect()
    };
    let grey = r#"["colour=grey"]"#;
    let dark = format!("1 20.png {grey} dark");
    assert_eq!(
        query(&["--by-product"]),
        [dark.clone(), format!("2 30.png {grey} "), format!("3 40.png {grey} light, new")]
    );
    assert_eq!(query(&["--by-product", "-k", "1"]), [dark.as_str()]);
    assert_eq!(query(&[]).len(), 5);
    assert_eq!(query(&["--only-product", "light, new", "-k", "1"]), [format!("1 40.png {grey} light, new")]);
    assert_eq!(query(&["--without-product", "dark", "--by-product"]).len(), 2);
    let mut table = sketchfind(&["query", "--by-product", "--gallery"]);
    let table = succeed(table.arg(&gallery).arg(photos.join("20.png")));
    assert!(
        table.lines().nth(1).unwrap().contains("distance  product") && table.contains(" dark "),
        "{table}"
    );
    let mut json = sketchfind(&["query", "--format", "json", "-k", "1", "--frame", "off", "--gallery"]);
    let json = succeed(json.arg(&gallery).arg(photos.join("20.png")));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["product"], &json[0]["labels"][0]), (&"dark".into(), &"colour=grey".into()));
    let nothing = run(sketchfind(&["query", "--only-product", "red", "--gallery"])
        .arg(&gallery)
        .arg(photos.join("20.png")));
    assert!(
        nothing.code == Some(0) && nothing.err.contains("no photo shows the product 'red'"),
        "{}",
        nothing.err
    );

    // A file of labels: of a photo's rows one names the product.
    let labels = folder.path().join("labels.csv");
    std::fs::write(&labels, "id,label,product\n10.png,new,\n10.png,old,first\n30.png,,middle\n50.png,,\n")
        .unwrap();
    let mut add = sketchfind(&["index", "add", "--gallery"]);
    add.arg(&gallery).arg("--photos").arg(&photos).arg("--labels").arg(&labels);
    succeed(add.args(["--exclude", "manifest.csv"]));
    let products = || -> Vec<String> {
        let snapshot = Gallery::open(&gallery).unwrap().snapshot();
        snapshot.photos().map(|(photo, _)| photo.product().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(products(), ["first", "dark", "middle", "light, new", "-"]);
    // Embedded anew they stay.
    succeed(sketchfind(&["index", "reembed", "--gallery"]).arg(&gallery).arg("--model").arg(conv16()));
    assert_eq!(products(), ["first", "dark", "middle", "light, new", "-"]);
    for (text, reason) in [
        ("id,product\n10.png,a\n10.png,b\n", "it has two products for '10.png', 'a' and 'b'"),
        ("id,colour\n10.png,a\n", "neither a column label nor product nor left"),
    ] {
        std::fs::write(&labels, text).unwrap();
        let mut add = sketchfind(&["index", "add", "--gallery"]);
        fail(
            add.arg(&gallery).arg("--photos").arg(&photos).arg("--labels").arg(&labels),
            3,
            &["labels.csv", reason],
        );
    }
}

/// The runtime's other small model, whose embedding differs.
fn conv16() -> std::path::PathBuf {
    surroundings::checkout().join("runtime/tests/fixtures/conv16")
}

#[test]
fn a_gallery_is_embedded_anew_with_another_model_and_keeps_what_people_gave_it() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    for value in [10, 20, 30] {
        grey(&photos.join(format!("{value}.png")), value);
    }
    let mut build = sketchfind(&["index", "build", "--label", "first", "--index", "exact"]);
    succeed(build.arg("--photos").arg(&photos).arg("--model").arg(mean8()).arg("--out").arg(&gallery));
    let reembed = |options: &[&str]| {
        let mut reembed = sketchfind(&["index", "reembed"]);
        reembed.arg("--gallery").arg(&gallery).arg("--model").arg(conv16()).args(options);
        reembed
    };
    let before = Gallery::open(&gallery).unwrap();
    let about = |gallery: &Gallery| -> Vec<_> {
        gallery.snapshot().photos().map(|(photo, _)| photo.clone()).collect::<Vec<_>>()
    };
    let said = run(&mut reembed(&[]));
    assert!(said.code == Some(0) && said.err.contains("3 photos of"), "{}", said.err);
    let after = Gallery::open(&gallery).unwrap();
    assert_eq!(about(&after), about(&before));
    assert_eq!((after.card().unwrap().name.as_str(), after.index()), ("conv16, a fixture", before.index()));
    assert!(after.snapshot().width() != before.snapshot().width() || after.card() != before.card());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something is left beside it");

    // A photo whose file is gone is not lost in silence: the gallery stays as it was.
    let mut back = sketchfind(&["index", "reembed", "--gallery"]);
    back.arg(&gallery).arg("--model").arg(mean8());
    std::fs::remove_file(photos.join("20.png")).unwrap();
    fail(&mut back, 3, &["20.png"]);
    assert_eq!(Gallery::open(&gallery).unwrap().card().unwrap().name, "conv16, a fixture");
    // What was embedded before that is kept, and the same command goes on when the file is back.
    grey(&photos.join("20.png"), 20);
    succeed(&mut back);
    assert_eq!(about(&Gallery::open(&gallery).unwrap()), about(&before));

    // Neither is one that never had a file.
    let writer = Gallery::open_with(&gallery, sketchfind::Access::Write).unwrap();
    writer.add(vec![sketchfind::Photo::new("without")], vec![0.5; 3]).unwrap();
    drop(writer);
    fail(&mut reembed(&[]), 3, &["'without'", "does not know the files of 1 of its photos"]);
    assert_eq!(ids(&gallery).len(), 4);
}

/// A plain copy of a gallery that is being written may hold a manifest and not the files that it names.
#[test]
fn a_copy_that_is_not_whole_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("shop"));
    grey(&photos.join("10.png"), 10);
    let mut build = sketchfind(&["index", "build"]);
    succeed(build.arg("--photos").arg(&photos).arg("--model").arg(mean8()).arg("--out").arg(&gallery));
    let info = || {
        let mut info = sketchfind(&["info"]);
        info.arg(&gallery);
        info
    };
    for kind in ["segments", "log"] {
        let file = std::fs::read_dir(gallery.join(kind)).unwrap().next().unwrap().unwrap().path();
        let aside = folder.path().join("aside");
        std::fs::rename(&file, &aside).unwrap();
        fail(&mut info(), 3, &[kind, "is missing", "index copy"]);
        std::fs::rename(&aside, &file).unwrap();
        succeed(&mut info());
    }
}

/// Nobody waits for a graph that nobody asked for, and nobody is left to wonder why a search is slow.
#[test]
fn a_gallery_whose_graph_is_not_there_is_searched_exactly_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("shop");
    let n = 1_100;
    let photo_ids = (0..n).map(|number| format!("{number:04}")).collect();
    let values = (0..n * 3).map(|number| (number % 255) as f32 / 255.0).collect();
    let embeddings = sketchfind::Embeddings::new(photo_ids, 3, values).unwrap();
    let options = sketchfind::GalleryOptions::hnsw("test");
    Gallery::create(&gallery, mean8(), &embeddings, None, &options).unwrap();
    let sketch = folder.path().join("sketch.png");
    grey(&sketch, 12);
    let query = || run(sketchfind(&["query", "--format", "csv", "--gallery"]).arg(&gallery).arg(&sketch));
    let without = query();
    assert!(without.err.contains("no graph of 1100 photos is stored"), "{}", without.err);
    assert!(!gallery.join("graphs").exists(), "a query has built it");
    succeed(sketchfind(&["index", "compact", "--gallery"]).arg(&gallery));
    let with = query();
    assert!(with.code == Some(0) && !with.err.contains("graph"), "{}", with.err);
    assert_eq!(with.out.lines().nth(1), without.out.lines().nth(1));
    // It is built by whoever adds photos, too, and kept.
    for file in std::fs::read_dir(gallery.join("graphs")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let photos = folder.path().join("photos");
    grey(&photos.join("new.png"), 77);
    let mut add = sketchfind(&["index", "add", "--gallery"]);
    succeed(add.arg(&gallery).arg("--photos").arg(&photos));
    assert!(!query().err.contains("graph"));
}
