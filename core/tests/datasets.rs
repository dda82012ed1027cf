//! The laws of a data set, and what breaking each one says.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use sketchfind_core::dataset::{
    Dataset, MANIFEST, ManifestRow, Split, image_files, read_manifest, write_manifest,
};
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
