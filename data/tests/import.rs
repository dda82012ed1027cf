//! Every layout, from files as they are downloaded to a data set that passes its laws.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expected by failing there")]

use std::path::{Path, PathBuf};

use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::strokes::Raster;
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_data::coordinates::read_coordinates;
use sketchfind_data::{Found, Layout, Options, find};

/// A folder that is made on the spot: each path gets a small picture, a path that ends in `.txt` the given text.
struct Download(tempfile::TempDir);

impl Download {
    fn new(files: &[&str]) -> Download {
        let folder = tempfile::tempdir().unwrap();
        for (number, file) in files.iter().enumerate() {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let grey = Image::new(2, 2, vec![number as u8; 12]).unwrap();
            std::fs::write(path, grey.to_png().unwrap()).unwrap();
        }
        Download(folder)
    }

    fn text(self, file: &str, text: &str) -> Download {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Recognised, read, written and loaded again.
fn import(dir: &Path, expected: Layout, options: &Options) -> (Found, Dataset, tempfile::TempDir) {
    let found = find(dir, None, options).unwrap();
    assert_eq!(found.layout, expected);
    let out = tempfile::tempdir().unwrap();
    let dataset =
        found.write(&out.path().join("set"), Progress::default(), Cancel::default()).unwrap().unwrap();
    let counts = found.counts();
    assert_eq!(dataset.photos().len(), counts.train_photos + counts.test_photos);
    assert_eq!(dataset.sketches().len(), counts.train_sketches + counts.test_sketches);
    assert!(dataset.check_images(DecodeLimits::default(), Progress::default(), Cancel::default()).is_empty());
    (found, dataset, out)
}

/// `sketch -> photo` pairs of a split, by id.
fn pairs(dataset: &Dataset, split: Split) -> Vec<(String, String)> {
    dataset.sketches_in(split).map(|s| (s.id.clone(), dataset.photo_of(s).id.clone())).collect()
}

fn pair(sketch: &str, photo: &str) -> (String, String) {
    (format!("sketch/{sketch}"), format!("photo/{photo}"))
}

fn refusal(dir: &Path, options: &Options) -> String {
    find(dir, None, options).unwrap_err().to_string()
}

#[test]
fn plain_folders() {
    let files = [
        "photo/train/a.png",
        "photo/test/b.jpg",
        "sketch/train/a-1.png",
        "sketch/train/a_2.png",
        "sketch/test/b.png",
    ];
    let download = Download::new(&files);
    let (_, dataset, _out) = import(download.path(), Layout::PLAIN, &Options::default());
    assert_eq!(pairs(&dataset, Split::Train), [pair("a-1", "a"), pair("a_2", "a")]);
    assert_eq!(pairs(&dataset, Split::Test), [pair("b", "b")]);
    // A sketch in the other split than its photo has none there.
    let download = Download::new(&[&files[..4], &["sketch/train/b.png"]].concat());
    assert!(refusal(download.path(), &Options::default()).contains("'b' has no photo"));

    let files = [
        "photos/a.png",
        "photos/b.png",
        "photos/c.png",
        "photos/d.png",
        "sketches/a.png",
        "sketches/d_1.png",
    ];
    let download = Download::new(&files);
    assert!(refusal(download.path(), &Options::default()).contains("--test-share"));
    let drawn = Options { test_share: Some(0.25), ..Options::default() };
    let (found, dataset, _out) = import(download.path(), Layout::PLAIN, &drawn);
    assert_eq!(found.counts().test_photos, 1);
    assert_eq!(pairs(&dataset, Split::Train).len() + pairs(&dataset, Split::Test).len(), 2);
    let download = Download::new(&files).text("train.txt", "a\nb.png\n\n").text("test.txt", "c\nd\n");
    let (_, dataset, _out) = import(download.path(), Layout::PLAIN, &Options::default());
    assert_eq!(pairs(&dataset, Split::Test), [pair("d_1", "d")]);
    let download = download.text("test.txt", "c\n");
    assert!(refusal(download.path(), &Options::default()).contains("'d' is in neither"));
    let download = download.text("test.txt", "c\nd\na\n");
    assert!(refusal(download.path(), &Options::default()).contains("'a' is in the lists of both"));
}

#[test]
fn a_manifest() {
    let download = Download::new(&["x/one.png", "y/two.png"]).text(
        "manifest.csv",
        "id,modality,instance,split,path\nphoto/1,photo,1,train,x/one.png\nmine,sketch,1,train,y/two.png\n",
    );
    let (_, dataset, _out) = import(download.path(), Layout::MANIFEST, &Options::default());
    assert_eq!(pairs(&dataset, Split::Train), [pair("mine", "1")]);
}

#[test]
fn qmul_v1_folders() {
    let files = [
        "train/images/1.png",
        "train/images/2.png",
        "train/images/10.png",
        "train/sketches/1.png",
        "train/sketches/2.png",
        "train/sketches/10.png",
        "test/images/11.jpg",
        "test/sketches/11.png",
    ];
    // Counted from 0 in the order of the numbers: 1, 2, 10.
    let annotation =
        r#"{"train": {"triplets": [[[2, 1]], [], [[0, 1], [1, 0]]]}, "test": {"triplets": [[]]}}"#;
    let download = Download::new(&files).text("annotation/shoes_annotation.json", annotation);
    let (found, dataset, out) = import(download.path(), Layout::QMUL_V1, &Options::default());
    assert_eq!(pairs(&dataset, Split::Train), [pair("1", "1"), pair("10", "10"), pair("2", "2")]);
    assert_eq!(pairs(&dataset, Split::Test), [pair("11", "11")]);
    let triplets = std::fs::read_to_string(out.path().join("set/human_triplets.csv")).unwrap();
    assert_eq!(triplets, "split,sketch,nearer,farther\ntrain,1,10,2\ntrain,10,1,2\ntrain,10,2,1\n");
    // Not a benchmark's size, which is said with the sizes that it could have.
    assert!(
        found.notes.iter().any(|note| note.contains("QMUL-Chair-V1") && note.contains("200")),
        "{:?}",
        found.notes
    );
    let download = Download::new(&files[..7]);
    assert!(refusal(download.path(), &Options::default()).contains("no known layout"));
    let download = Download::new(&files)
        .text("annotation/shoes_annotation.json", r#"{"train": {"triplets": [[[9, 1]], [], []]}}"#);
    assert!(refusal(download.path(), &Options::default()).contains("names photo 9"));
    let download = Download::new(&[&files[..5], &files[6..]].concat());
    assert!(refusal(download.path(), &Options::default()).contains("'10' in the train split has no sketch"));
}

#[test]
fn qmul_v1_arrays() {
    let dir = fixtures().join("mat");
    let (found, dataset, _out) = import(&dir, Layout::QMUL_V1_ARRAYS, &Options::default());
    assert_eq!(pairs(&dataset, Split::Train), [pair("001", "001"), pair("002", "002"), pair("003", "003")]);
    assert_eq!(pairs(&dataset, Split::Test), [pair("004", "004"), pair("005", "005")]);
    // The first pixel says which image of its array it is; the first index of a MATLAB array runs fastest.
    for (number, photo) in dataset.photos().iter().enumerate() {
        let image = Image::open(&photo.path, DecodeLimits::default()).unwrap();
        assert_eq!((image.width(), image.height()), (5, 6));
        let expected = (number % 3) as u8;
        assert_eq!(image.pixels()[..3], [expected; 3], "{}", photo.id);
    }
    assert_eq!(found.triplets.len(), 5);
    assert_eq!((found.triplets[3].sketch.as_str(), found.triplets[3].nearer.as_str()), ("004", "005"));
    let edges = Options { edges: true, ..Options::default() };
    let (found, _, _out) = import(&dir, Layout::QMUL_V1_ARRAYS, &edges);
    assert!(found.notes.iter().any(|note| note.contains("edge maps")));
}

#[test]
fn qmul_v2() {
    let files = [
        "ShoeV2_photo/11.png",
        "ShoeV2_photo/12.png",
        "ShoeV2_photo/13.jpg",
        "ShoeV2_sketch/11_1.png",
        "ShoeV2_sketch/11_2.png",
        "ShoeV2_sketch/13_1.png",
    ];
    let lists = |download: Download| {
        download.text("photo_train.txt", "11.png\n12.png\n").text("photo_test.txt", "ShoeV2_photo/13.jpg\n")
    };
    let (_, dataset, _out) =
        import(lists(Download::new(&files)).path(), Layout::QMUL_V2, &Options::default());
    assert_eq!(pairs(&dataset, Split::Train), [pair("11_1", "11"), pair("11_2", "11")]);
    assert_eq!(pairs(&dataset, Split::Test), [pair("13_1", "13")]);
    let download =
        lists(Download::new(&files)).text("sketch_train.txt", "11_2\n").text("sketch_test.txt", "13_1\n");
    let (found, dataset, _out) = import(download.path(), Layout::QMUL_V2, &Options::default());
    assert_eq!(pairs(&dataset, Split::Train), [pair("11_2", "11")]);
    assert!(
        found.notes.iter().any(|note| note.starts_with("1 sketches in neither list")),
        "{:?}",
        found.notes
    );
    // A sketch of no photo stops the import, unless it is to be left out.
    let download = lists(Download::new(&[&files[..], &["ShoeV2_sketch/99_1.png"]].concat()));
    assert!(refusal(download.path(), &Options::default()).contains("'99_1' has no photo"));
    let left_out = Options { leave_out: true, ..Options::default() };
    let (found, _, _out) = import(download.path(), Layout::QMUL_V2, &left_out);
    assert!(found.notes.iter().any(|note| note.contains("1 sketches are left out")));
    let download = lists(Download::new(&files[1..]));
    assert!(refusal(download.path(), &Options::default()).contains("'11' of its lists is missing"));
}

#[test]
fn qmul_v2_strokes() {
    let download = Download::new(&["ChairV2_photo/shoe.png", "ChairV2_photo/boot.png"]);
    std::fs::copy(fixtures().join("coordinates.pickle"), download.path().join("ChairV2_Coordinate")).unwrap();
    let (_, dataset, _out) = import(download.path(), Layout::QMUL_V2_STROKES, &Options::default());
    assert_eq!(pairs(&dataset, Split::Train), [pair("shoe_1", "shoe")]);
    assert_eq!(pairs(&dataset, Split::Test), [pair("boot_2", "boot")]);
    let image = Image::open(&dataset.sketches()[0].path, DecodeLimits::default()).unwrap();
    assert_eq!((image.width(), image.height()), (256, 256));
    let grey = |x: usize, y: usize| image.pixels()[3 * (256 * y + x)];
    // Along the upper and the right edge, and nowhere else.
    assert!(grey(100, 0) < 64 && grey(254, 100) < 64 && grey(100, 100) == 255);
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(fixtures().join("coordinates.pickle"), alone.path().join("ChairV2_Coordinate")).unwrap();
    let message = refusal(alone.path(), &Options::default());
    assert!(message.contains("2 sketches of 2 photos") && message.contains("--photos"), "{message}");
}

#[test]
fn sketchy() {
    let files = [
        "256x256/photo/tx_000000000000/cat/n1_1.png",
        "256x256/photo/tx_000000000000/dog/n2_1.png",
        "256x256/photo/tx_000100000000/cat/n1_1.png",
        "256x256/sketch/tx_000000000000/cat/n1_1-1.png",
        "256x256/sketch/tx_000000000000/cat/n1_1-2.png",
        "256x256/sketch/tx_000000000000/dog/n2_1-5.png",
    ];
    let download = Download::new(&files).text("info-06-04/info/testset.txt", "dog/n2_1.jpg\n");
    let (_, dataset, _out) = import(download.path(), Layout::SKETCHY, &Options::default());
    assert_eq!(
        pairs(&dataset, Split::Train),
        [pair("cat/n1_1-1", "cat/n1_1"), pair("cat/n1_1-2", "cat/n1_1")]
    );
    assert_eq!(pairs(&dataset, Split::Test), [pair("dog/n2_1-5", "dog/n2_1")]);
}

#[test]
fn what_is_no_download_or_several_is_refused_and_nothing_is_overwritten() {
    let empty = tempfile::tempdir().unwrap();
    let message = refusal(empty.path(), &Options::default());
    assert!(Layout::ALL.iter().all(|layout| message.contains(layout.name())), "{message}");
    assert!(refusal(&empty.path().join("nowhere"), &Options::default()).contains("nowhere"));
    let both = Download::new(&["photo/1.png", "sketch/1.png", "train/images/1.png", "train/sketches/1.png"]);
    std::fs::create_dir_all(both.path().join("test/images")).unwrap();
    std::fs::create_dir_all(both.path().join("test/sketches")).unwrap();
    assert!(refusal(both.path(), &Options::default()).contains("several layouts"));

    let drawn = Options { test_share: Some(0.5), ..Options::default() };
    let download = Download::new(&["photo/1.png", "sketch/1.png"]);
    let found = find(download.path(), None, &drawn).unwrap();
    let thesis = Download::new(&[]).text("thesis/chapter.tex", "years of work");
    let error =
        found.write(&thesis.path().join("thesis"), Progress::default(), Cancel::default()).unwrap_err();
    assert!(error.to_string().contains("not empty"));
    // Cancelled in the middle: nothing is there.
    let out = thesis.path().join("out");
    assert!(found.write(&out, Progress::default(), Cancel::new(&|| true)).unwrap().is_none());
    assert!(!out.exists());
}

/// Real data beside the checkout or in the folder that `SKETCHFIND_SHARED_DATA` names, where it is there.
#[allow(clippy::print_stderr, reason = "a skipped test says so where test output goes")]
fn shared_data(relative: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SKETCHFIND_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let path = folder.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: '{}' is not there (SKETCHFIND_SHARED_DATA names its folder)", path.display());
    None
}

#[test]
fn the_published_coordinates_of_chair_v2() {
    let Some(file) = shared_data("chair-v2-strokes/ChairV2_Coordinate") else { return };
    let sketches = read_coordinates(&file).unwrap();
    let of = |split: &str| {
        let names: Vec<&str> = sketches.keys().filter_map(|key| key.strip_prefix(split)).collect();
        let photos: std::collections::BTreeSet<&str> =
            names.iter().map(|name| name.rsplit_once('_').unwrap().0).collect();
        (photos.len(), names.len())
    };
    assert_eq!((of("/train/"), of("/test/")), ((300, 952), (100, 323)));
    for (name, strokes) in sketches.iter().take(50) {
        let whole = strokes.draw(&Raster::default(), 1.0).unwrap();
        let half = strokes.draw(&Raster::default(), 0.5).unwrap();
        let ink = |image: &Image| image.pixels().iter().map(|&value| u64::from(255 - value)).sum::<u64>();
        assert!(ink(&half) > 0 && ink(&half) < ink(&whole), "{name}");
    }
    // Its photos are not at hand: pictures of their names stand in, so that every sketch must find its own.
    let files: std::collections::BTreeSet<String> = sketches
        .keys()
        .map(|key| format!("{}.png", key.rsplit('/').next().unwrap().rsplit_once('_').unwrap().0))
        .collect();
    let photos = Download::new(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let options = Options { photos: Some(photos.path().to_owned()), ..Options::default() };
    let found = find(file.parent().unwrap(), None, &options).unwrap();
    assert_eq!(found.layout, Layout::QMUL_V2_STROKES);
    assert!(found.notes.iter().any(|note| note == "its size is that of QMUL-Chair-V2"), "{:?}", found.notes);
}

/// Real pictures of two QMUL V1 sets, put back into the folders that they were published in.
#[test]
fn the_published_size_of_chair_v1_is_recognised() {
    let Some(set) = shared_data("qmul-chair-v1") else { return };
    let found = find(&set, None, &Options::default()).unwrap();
    assert!(found.notes.iter().any(|note| note.contains("QMUL-Chair-V1")), "{:?}", found.notes);
    let dataset = Dataset::load(&set).unwrap();
    let download = tempfile::tempdir().unwrap();
    for split in [Split::Train, Split::Test] {
        for (kind, files) in [
            ("images", dataset.photos_in(split).map(|photo| &photo.path).collect::<Vec<_>>()),
            ("sketches", dataset.sketches_in(split).map(|sketch| &sketch.path).collect()),
        ] {
            let folder = download.path().join(split.name()).join(kind);
            std::fs::create_dir_all(&folder).unwrap();
            for file in files {
                std::fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    let (found, imported, _out) = import(download.path(), Layout::QMUL_V1, &Options::default());
    assert!(found.notes.iter().any(|note| note == "its size is that of QMUL-Chair-V1"), "{:?}", found.notes);
    assert_eq!(pairs(&imported, Split::Test), pairs(&dataset, Split::Test));
}

/// A manifest of one photo and its sketch, with ids and paths as given.
fn manifest_of(photo_id: &str) -> Download {
    let rows = format!(
        "id,modality,instance,split,path\n{photo_id},photo,1,train,a.png\nsketch/1,sketch,1,train,b.png\n"
    );
    Download::new(&["a.png", "b.png"]).text("manifest.csv", &rows)
}

#[test]
fn a_name_that_leads_out_of_the_folder_is_refused_before_anything_is_written() {
    for name in ["photo/../../victim", "photo//victim", "../victim"] {
        let download = manifest_of(name);
        let found = find(download.path(), None, &Options::default()).unwrap();
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("deep/set");
        let written = found.write(&out, Progress::default(), Cancel::default());
        if name.contains("..") {
            let message = written.unwrap_err().to_string();
            assert!(message.contains("victim") && message.contains("'..'"), "{message}");
            assert!(!parent.path().join("deep").exists());
        } else {
            assert!(out.join("manifest.csv").is_file());
        }
        assert!(!parent.path().join("victim.png").exists());
    }
}

#[test]
fn an_import_never_costs_what_it_reads_or_what_is_no_data_set() {
    let download = manifest_of("photo/1");
    // Into itself.
    let found = find(download.path(), None, &Options::default()).unwrap();
    assert!(found.write(download.path(), Progress::default(), Cancel::default()).is_err());
    assert!(download.path().join("a.png").is_file());
    // Over a data set with a file of somebody's.
    let (_, dataset, _out) = import(download.path(), Layout::MANIFEST, &Options::default());
    let set = dataset.manifest().parent().unwrap();
    std::fs::write(set.join("notes.txt"), "years of work").unwrap();
    let message = found.write(set, Progress::default(), Cancel::default()).unwrap_err().to_string();
    assert!(message.contains("notes.txt"), "{message}");
    // A data set alone is replaced, but not by itself.
    std::fs::remove_file(set.join("notes.txt")).unwrap();
    assert!(found.write(set, Progress::default(), Cancel::default()).unwrap().is_some());
    let again = find(set, None, &Options::default()).unwrap();
    let message = again.write(set, Progress::default(), Cancel::default()).unwrap_err().to_string();
    assert!(message.contains("is read from it"), "{message}");
    assert!(set.join("photo/1.png").is_file());
}

#[test]
fn human_triplets_come_along_and_are_checked() {
    let triplets = "split,sketch,nearer,farther\ntrain,1,1,1\n";
    let download = manifest_of("photo/1").text("human_triplets.csv", triplets);
    let (found, dataset, _out) = import(download.path(), Layout::MANIFEST, &Options::default());
    assert_eq!(found.triplets.len(), 1);
    let kept = std::fs::read_to_string(dataset.manifest().with_file_name("human_triplets.csv")).unwrap();
    assert_eq!(kept, triplets);
    let download = manifest_of("photo/1").text("human_triplets.csv", &triplets.replace("1,1,1", "1,2,1"));
    let message = find(download.path(), None, &Options::default()).unwrap_err().to_string();
    assert!(
        message.contains("human_triplets.csv") && message.contains("line 2") && message.contains("'2'"),
        "{message}"
    );
}

/// Archives are unpacked into a folder of their own, and file systems and tools change the case of names.
#[test]
fn a_download_one_folder_deeper_or_in_another_case_is_recognised() {
    for (files, layout) in [
        (
            &[
                "shoes/photo/train/a.png",
                "shoes/photo/test/b.png",
                "shoes/sketch/train/a_1.png",
                "shoes/sketch/test/b.png",
            ][..],
            Layout::PLAIN,
        ),
        (
            &["Photo/Train/a.png", "Photo/Test/b.png", "SKETCH/train/a_1.png", "SKETCH/TEST/b.png"],
            Layout::PLAIN,
        ),
        (
            &[
                "x/Train/Images/1.png",
                "x/Train/Sketches/1.png",
                "x/test/images/2.png",
                "x/test/sketches/2.png",
                "__MACOSX/x/1.png",
            ],
            Layout::QMUL_V1,
        ),
        (
            &["256X256/Photo/TX_000000000000/cat/n1.png", "256X256/Sketch/TX_000000000000/cat/n1-1.png"],
            Layout::SKETCHY,
        ),
    ] {
        let download = Download::new(files);
        let options = Options { test_share: Some(0.5), ..Options::default() };
        let (found, dataset, _out) = import(download.path(), layout, &options);
        assert!(!dataset.sketches().is_empty());
        let is_deeper = files[0].starts_with("shoes") || files[0].starts_with("x/");
        assert_eq!(found.notes.iter().any(|note| note.contains("one folder deeper")), is_deeper, "{files:?}");
        // Named, it is found there too.
        assert_eq!(find(download.path(), Some(layout), &options).unwrap().entries.len(), found.entries.len());
    }
    let lists = |folder: &str| {
        Download::new(&[&format!("{folder}SHOEV2_PHOTO/11.png"), &format!("{folder}ShoeV2_Sketch/11_1.png")])
            .text(&format!("{folder}Photo_Train.txt"), "11\n")
            .text(&format!("{folder}PHOTO_TEST.TXT"), "")
    };
    for folder in ["", "ShoeV2/"] {
        import(lists(folder).path(), Layout::QMUL_V2, &Options::default());
    }
    let download = Download::new(&["set/a.png", "set/b.png"]).text(
        "set/Manifest.CSV",
        "id,modality,instance,split,path,colour\nphoto/1,photo,1,train,a.png,red\ns,sketch,1,train,b.png,\n",
    );
    let (_, dataset, _out) = import(download.path(), Layout::MANIFEST, &Options::default());
    assert_eq!(dataset.photos()[0].labels, ["colour=red"]);
}

#[test]
fn a_download_that_lies_elsewhere_is_hinted_at() {
    let set = ["photo/a.png", "sketch/a.png"];
    let at = |folders: &[&str]| {
        let files: Vec<String> =
            folders.iter().flat_map(|folder| set.map(|file| format!("{folder}/{file}"))).collect();
        Download::new(&files.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let message = refusal(at(&["one", "two"]).path(), &Options::default());
    assert!(
        message.contains("hint") && message.contains("one' (plain)") && message.contains("two'"),
        "{message}"
    );
    let message = refusal(at(&["far/away"]).path(), &Options::default());
    assert!(message.contains("far/away' has one, name that"), "{message}");
    let download = at(&["one"]);
    let message = find(download.path(), Some(Layout::SKETCHY), &Options::default()).unwrap_err().to_string();
    assert!(message.contains("not the layout sketchy") && message.contains("tx_*"), "{message}");
}
