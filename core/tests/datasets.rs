//! The laws of a data set, and what breaking each one says.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use sketchfind_core::dataset::{
    Dataset, MANIFEST, ManifestRow, Split, image_files, read_manifest, write_manifest,
};
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::photo_files::{Exclude, PhotoFiles};
use sketchfind_core::work::{Cancel, Progress};

const HEADER: &str = "id,modality,instance,split,path\n";

fn folder_with(manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png", "c.png", "with space, comma.png", "käse.png"] {
        let grey = name.len() as u8;
        let image = Image::new(2, 2, vec![grey; 12]).unwrap();
        std::fs::write(folder.path().join(name), image.to_png().unwrap()).unwrap();
    }
    std::fs::write(folder.path().join(MANIFEST), manifest).unwrap();
    folder
}

fn refusal(rows: &str) -> String {
    let folder = folder_with(&format!("{HEADER}{rows}"));
    let message = Dataset::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains(MANIFEST), "{message}");
    message
}

#[test]
fn a_data_set_is_sorted_and_paired() {
    let folder = folder_with(&format!(
        "{HEADER}s2,sketch,x,test,b.png\ns1,sketch,x,test,käse.png\np2,photo,y,train,a.png\n\
         p1,photo,x,test,\"with space, comma.png\"\n"
    ));
    let dataset = Dataset::load(folder.path()).unwrap();
    assert_eq!(dataset.photos().iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["p1", "p2"]);
    assert_eq!(dataset.sketches().iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    assert!(dataset.sketches().iter().all(|sketch| dataset.photo_of(sketch).id == "p1"));
    assert_eq!((dataset.photos_in(Split::Test).count(), dataset.sketches_in(Split::Train).count()), (1, 0));
    let stats = dataset.stats().unwrap();
    assert_eq!((stats.splits[0].n_photos, stats.splits[0].n_photos_without_sketch), (1, 1));
    assert_eq!((stats.splits[1].n_sketches, stats.splits[1].max_sketches_per_photo), (2, 2));
    assert!(stats.same_photos.is_empty());
    // Opened by its manifest, it is the same; the fingerprint does not depend on where it lies.
    let by_manifest = Dataset::load(&folder.path().join(MANIFEST)).unwrap();
    let fingerprint = dataset.fingerprint().unwrap();
    assert_eq!(by_manifest.fingerprint().unwrap(), fingerprint);
    let moved = tempfile::tempdir().unwrap();
    let to = moved.path().join("elsewhere");
    std::fs::rename(folder.path(), &to).unwrap();
    assert_eq!(Dataset::load(&to).unwrap().fingerprint().unwrap(), fingerprint);
}

#[test]
fn each_law_has_its_refusal() {
    for (rows, part) in [
        ("", "it has no photo"),
        ("p,photo,x,train,a.png\np,photo,y,train,b.png\n", "the id 'p' stands there twice"),
        ("p,photo,x,train,a.png\nq,photo,x,train,b.png\n", "the instance 'x' has two photos, 'p' and 'q'"),
        ("p,photo,x,train,a.png\ns,sketch,y,train,b.png\n", "the sketch 's' has no photo"),
        (
            "p,photo,x,train,a.png\ns,sketch,x,test,b.png\n",
            "'s' is in the test split, its photo 'p' in the train",
        ),
        ("p,photo,x,train,nowhere.png\n", "the file of 'p' is missing"),
        (",photo,x,train,a.png\n", "an id or instance is empty"),
        ("p,photo,,train,a.png\n", "an id or instance is empty"),
        ("p,painting,x,train,a.png\n", "painting"),
        ("p,photo,x,validation,a.png\n", "validation"),
        ("p,photo,x,train\n", "line 2: it has 4 fields, expected 5"),
    ] {
        let message = refusal(rows);
        assert!(message.contains(part), "{rows:?}: {message}");
    }
    let folder = folder_with("name,kind\n");
    let message = Dataset::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("'name,kind'") && message.contains(HEADER.trim_end()), "{message}");
    assert!(Dataset::load(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere"));
}

#[test]
fn line_ends_and_byte_order_marks_of_spreadsheets_are_fine() {
    let text = format!("\u{feff}{HEADER}p,photo,x,train,a.png\n").replace('\n', "\r\n");
    let folder = folder_with(&text);
    assert_eq!(Dataset::load(folder.path()).unwrap().photos().len(), 1);
    assert_eq!(read_manifest(&folder.path().join(MANIFEST)).unwrap().len(), 1);
}

#[test]
fn broken_images_are_listed_with_their_paths() {
    let folder = folder_with(&format!(
        "{HEADER}p,photo,x,train,a.png\nq,photo,y,train,b.png\ns,sketch,x,train,c.png\n"
    ));
    std::fs::write(folder.path().join("b.png"), "no image").unwrap();
    std::fs::write(folder.path().join("c.png"), "").unwrap();
    let dataset = Dataset::load(folder.path()).unwrap();
    let n_done = AtomicUsize::new(0);
    let count = |_| {
        n_done.fetch_add(1, Ordering::Relaxed);
    };
    let broken = dataset.check_images(DecodeLimits::default(), Progress::new(&count), Cancel::default());
    assert_eq!(broken.iter().map(|file| file.id.as_str()).collect::<Vec<_>>(), ["q", "s"]);
    assert!(broken[0].reason.contains("b.png"));
    assert_eq!(n_done.into_inner(), 3);
    assert!(
        dataset.check_images(DecodeLimits::default(), Progress::default(), Cancel::new(&|| true)).is_empty()
    );
}

#[test]
fn the_same_photo_under_two_ids_is_noticed() {
    let folder = folder_with(&format!("{HEADER}p,photo,x,train,a.png\nq,photo,y,test,b.png\n"));
    let stats = Dataset::load(folder.path()).unwrap().stats().unwrap();
    assert_eq!(stats.same_photos.len(), 1);
    assert!(stats.same_photos[0].is_across_splits);
    assert_eq!(stats.same_photos[0].ids, ["p", "q"]);
}

/// An image of one colour, as the bytes of a PNG.
fn png() -> Vec<u8> {
    Image::new(2, 2, vec![7; 12]).unwrap().to_png().unwrap()
}

/// Writes files that hold `bytes`.
fn fill(folder: &Path, names: &[&str], bytes: &[u8]) {
    for name in names {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn below(folder: &Path) -> PhotoFiles {
    PhotoFiles::below(folder, &Exclude::nothing()).unwrap()
}

fn ids(found: &PhotoFiles) -> Vec<&str> {
    found.photos.iter().map(|photo| photo.id.as_str()).collect()
}

#[test]
fn what_is_a_photo_is_decided_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), &["a.jfif", "b.jpe", "c", "d.txt", "e.JPG"], &png());
    fill(folder.path(), &["notes.txt", "list.csv", "Thumbs.db", "film.mp4", "Icon\r"], b"no image at all");
    // Called an image and none: for the decoder to say what is wrong.
    fill(folder.path(), &["empty.png"], b"");
    fill(folder.path(), &["IMG_1.HEIC", "renamed.jpg"], b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    fill(folder.path(), &["x/photo.avif"], b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf");
    fill(folder.path(), &["x/photo.jxl"], b"\xff\x0a and so on");
    fill(folder.path(), &["x/raw.nef"], b"MM\0*\0\0\0\x08\0\0");
    let found = below(folder.path());
    assert_eq!(ids(&found), ["a.jfif", "b.jpe", "c", "d.txt", "e.JPG", "empty.png"]);
    let left_out: Vec<(&str, bool)> = found
        .left_out
        .iter()
        .map(|left_out| (left_out.id.as_str(), left_out.reason.contains("convert it to JPEG")))
        .collect();
    let expected = ["IMG_1.HEIC", "renamed.jpg", "x/photo.avif", "x/photo.jxl", "x/raw.nef"];
    assert_eq!(left_out, expected.map(|id| (id, true)));
    assert!(found.left_out[2].reason.contains("AVIF") && found.left_out[1].reason.contains("HEIC"));
    let message = found.complete(folder.path()).unwrap_err().to_string();
    assert!(message.contains("IMG_1.HEIC") && message.contains("4 more"), "{message}");
    // And decoding one says the same.
    let message =
        Image::open(folder.path().join("renamed.jpg"), DecodeLimits::default()).unwrap_err().to_string();
    assert!(message.contains("renamed.jpg") && message.contains("HEIC"), "{message}");
}

#[test]
fn what_programs_systems_and_tools_have_made_is_passed_over_unless_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let own = [
        ("shop.gallery/gallery.json", "shop.gallery/model/probe/p.png"),
        ("shop.gallery.building/gallery.json", "shop.gallery.building/model/p.png"),
        ("models/1/card.json", "models/1/probe/p.png"),
        ("runs/1/run.json", "runs/1/contact-sheet.png"),
        ("reports/1/report.html", "reports/1/p.png"),
    ];
    for (marker, photo) in own {
        fill(folder.path(), &[photo], &png());
        fill(folder.path(), &[marker], b"{}");
    }
    fill(folder.path(), &["models/1/model.onnx", "runs/1/config.toml", "reports/1/queries.csv"], b"");
    fill(folder.path(), &["shop.gallery.photos/1.png", "my.photos/1.png", "lonely/card.json.png"], &png());
    // A file of that name makes no model of a folder of photos.
    fill(folder.path(), &["cards/card.json"], b"{}");
    fill(folder.path(), &["cards/1.png"], &png());
    let foreign = [
        "lost+found/1.png",
        "@eaDir/1.png",
        "$RECYCLE.BIN/1.png",
        "$Recycle.Bin/2.png",
        ".Trash-1000/1.png",
        "__MACOSX/1.png",
        "System Volume Information/1.png",
        "#recycle/1.png",
        "._1.png",
        "a/@eaDir/1.png",
    ];
    fill(folder.path(), &foreign, &png());
    let found = below(folder.path());
    assert_eq!(ids(&found), ["cards/1.png", "lonely/card.json.png", "my.photos/1.png"]);
    assert!(found.left_out.is_empty(), "{:?}", found.left_out);
    assert_eq!(found.passed_over.len(), 6, "{:?}", found.passed_over);
    for named in ["@eaDir", "shop.gallery.photos", "models/1/probe", "runs/1", ".Trash-1000"] {
        assert_eq!(below(&folder.path().join(named)).photos.len(), 1, "{named}");
    }
    let exclude = Exclude::new(&["cards", "lonely/*.png"]).unwrap();
    let found = PhotoFiles::below(folder.path(), &exclude).unwrap();
    assert_eq!(ids(&found), ["my.photos/1.png"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_circles_and_doubles_are_known() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (photos, other) = (folder.path().join("photos"), folder.path().join("other"));
    fill(&photos, &["z/1.png"], &png());
    fill(&other, &["deep/2.png", "3.png"], &png());
    symlink(&other, photos.join("linked")).unwrap();
    symlink(&photos, photos.join("z/circle")).unwrap();
    symlink(&other, other.join("deep/circle")).unwrap();
    symlink(other.join("deep"), photos.join("twice")).unwrap();
    // A link that comes before the folder that it leads to.
    symlink(photos.join("z"), photos.join("a")).unwrap();
    symlink(other.join("3.png"), photos.join("one.png")).unwrap();
    symlink(photos.join("itself"), photos.join("itself")).unwrap();
    symlink("nowhere", photos.join("disk")).unwrap();
    symlink("nowhere", photos.join("gone.txt")).unwrap();
    let found = below(&photos);
    assert_eq!(ids(&found), ["linked/3.png", "linked/deep/2.png", "one.png", "z/1.png"]);
    assert_eq!(found.passed_over.len(), 4, "{:?}", found.passed_over);
    let left_out: Vec<&str> = found.left_out.iter().map(|left_out| left_out.id.as_str()).collect();
    assert_eq!(left_out, ["disk", "itself"]);
    assert!(found.left_out[0].reason.contains("'nowhere'") && found.left_out[0].is_folder);
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_text_has_an_id_of_its_own() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), &["back/slash.png", "back\\slash.png", "latin%E9.png", "100%.png"], &png());
    std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"latin\xe9.png")), png()).unwrap();
    std::os::unix::net::UnixListener::bind(folder.path().join("socket.png")).unwrap();
    let found = below(folder.path());
    let mut found_ids = ids(&found);
    found_ids.sort_unstable();
    assert_eq!(
        found_ids,
        ["100%.png", "back/slash.png", "back\\slash.png", "latin%25E9.png", "latin%E9.png"]
    );
    assert_eq!((found.left_out.len(), found.left_out[0].id.as_str()), (1, "socket.png"));
}

#[test]
fn manifests_match_names_in_every_form_of_unicode() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let folder = tempfile::tempdir().unwrap();
    // As macOS gives the names out, and as a keyboard writes them.
    fill(folder.path(), &[&format!("{decomposed}/{decomposed}.png"), "s.png"], &png());
    let rows = format!(
        "{HEADER}p,photo,{composed},train,{composed}/{composed}.png\ns,sketch,{decomposed},train,s.png\n"
    );
    std::fs::write(folder.path().join(MANIFEST), rows).unwrap();
    let dataset = Dataset::load(folder.path()).unwrap();
    assert_eq!(dataset.photo_of(&dataset.sketches()[0]).id, "p");
    assert!(dataset.photos()[0].path.is_file());
    // Two photos of an instance are two in another form too.
    let rows = format!("{HEADER}p,photo,{composed},train,s.png\nq,photo,{decomposed},train,s.png\n");
    std::fs::write(folder.path().join(MANIFEST), rows).unwrap();
    assert!(Dataset::load(folder.path()).unwrap_err().to_string().contains("has two photos"));
    let rows = format!("{HEADER}p,photo,x,train,cafe.png\n");
    std::fs::write(folder.path().join(MANIFEST), rows).unwrap();
    assert!(Dataset::load(folder.path()).unwrap_err().to_string().contains("missing"));
}

#[test]
fn images_are_found_below_a_folder_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b/2.JPG", "b/1.png", "a.webp", ".hidden/x.png", "notes.txt", "b/.x.png"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let found: Vec<String> =
        image_files(folder.path()).unwrap().iter().map(|path| path.to_string_lossy().into_owned()).collect();
    assert_eq!(found, ["a.webp", "b/1.png", "b/2.JPG"]);
    assert!(image_files(&folder.path().join("nowhere")).is_err());
}

#[test]
fn a_check_goes_on_to_the_last_fault() {
    let folder = folder_with(&format!(
        "{HEADER}p,photo,x,train,a.png\np,photo,y,train,b.png\nq,photo,x,train,b.png\n\
         r,photo,z,train,nowhere.png\ns,sketch,z,train,c.png\nt,sketch,x,test,c.png\nu,sketch,none,train,c.png\n\
         v,painting,x,train,c.png\nw,sketch,x,train\n,photo,o,train,c.png\nx,sketch,x,train,C.PNG\n"
    ));
    let checked = Dataset::check(folder.path()).unwrap();
    for part in [
        "line 9: the modality is 'painting'",
        "line 10: it has 4 fields, expected 5",
        "the id 'p' stands there twice",
        "an id or instance is empty",
        "the instance 'x' has two photos, 'p' and 'q'",
        "the file of 'r' is missing",
        "'t' is in the test split",
        "the sketch 'u' has no photo",
        "the file of 'x' is missing: ",
    ] {
        assert!(checked.faults.iter().any(|fault| fault.contains(part)), "{part}: {:#?}", checked.faults);
    }
    assert_eq!(checked.faults.len(), 9, "{:#?}", checked.faults);
    // What is sound stays for the check of its images.
    assert_eq!(checked.sound.photos().iter().map(|photo| photo.id.as_str()).collect::<Vec<_>>(), ["p"]);
    let case = checked.faults.iter().find(|fault| fault.contains("'x' is missing")).unwrap();
    assert!(case.contains("'c.png' is there, in another case"), "{case}");
    let rows = "p,photo,x,train,nowhere.png\nq,photo,y,train,nowhere.png\n";
    assert!(refusal(rows).contains("(and 1 more faults)"));
    // A whole one has none.
    let folder = folder_with(&format!("{HEADER}p,photo,x,train,a.png\n"));
    assert!(Dataset::check(folder.path()).unwrap().faults.is_empty());
}

#[test]
fn further_columns_are_labels() {
    let folder = folder_with(
        "brand,id,modality,instance,split,path,label,colour,\nÉclair,p,photo,x,train,a.png,sale,red,\n\
         ,q,photo,y,train,b.png,,blue ; dark,\n",
    );
    let dataset = Dataset::load(folder.path()).unwrap();
    assert_eq!(dataset.photos()[0].labels, ["brand=Éclair", "sale", "colour=red"]);
    assert_eq!(dataset.photos()[1].labels, ["colour=blue ; dark"]);
    // They come back as they were written.
    let rows = read_manifest(&folder.path().join(MANIFEST)).unwrap();
    let again = folder.path().join("again.csv");
    write_manifest(&again, &rows).unwrap();
    let labels = |rows: &[ManifestRow]| {
        let mut labels: Vec<_> = rows.iter().flat_map(ManifestRow::labels).collect();
        labels.sort();
        labels
    };
    assert_eq!(labels(&read_manifest(&again).unwrap()), labels(&rows));
    for (header, part) in [
        ("id,modality,instance,split,path,colour,colour", "'colour' stands in the first line twice"),
        ("id;modality;instance;split;path", "parted otherwise than by commas"),
        ("id,modality,instance,split", "expected 'id,modality,instance,split,path'"),
    ] {
        let message = Dataset::load(folder_with(&format!("{header}\n")).path()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let message = refusal("p,photo,x,train,a.png,red\n");
    assert!(message.contains("6 fields, expected 5"), "{message}");
    let folder = folder_with("id,modality,instance,split,path,\np,photo,x,train,a.png,red\n");
    let message = Dataset::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("'red' stands in a column without a name"), "{message}");
}
