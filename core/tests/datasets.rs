//! The laws of a data set, and what breaking each one says.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use sketchfind_core::dataset::{Dataset, MANIFEST, Split, image_files, read_manifest};
use sketchfind_core::image::{DecodeLimits, Rgb8Image};

const HEADER: &str = "id,modality,instance,split,path\n";

fn folder_with(manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png", "c.png", "with space, comma.png", "käse.png"] {
        let grey = name.len() as u8;
        let image = Rgb8Image::new(2, 2, vec![grey; 12]).unwrap();
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
        ("p,photo,x,train\n", "line: 2"),
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
    let broken = dataset.check_images(DecodeLimits::ORDINARY, &count, &|| false);
    assert_eq!(broken.iter().map(|file| file.id.as_str()).collect::<Vec<_>>(), ["q", "s"]);
    assert!(broken[0].reason.contains("b.png"));
    assert_eq!(n_done.into_inner(), 3);
    assert!(dataset.check_images(DecodeLimits::ORDINARY, &|_| (), &|| true).is_empty());
}

#[test]
fn the_same_photo_under_two_ids_is_noticed() {
    let folder = folder_with(&format!("{HEADER}p,photo,x,train,a.png\nq,photo,y,test,b.png\n"));
    let stats = Dataset::load(folder.path()).unwrap().stats().unwrap();
    assert_eq!(stats.same_photos.len(), 1);
    assert!(stats.same_photos[0].is_across_splits);
    assert_eq!(stats.same_photos[0].ids, ["p", "q"]);
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
