//! Galleries on disk: what comes back, what is refused, and earlier formats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sketchfind::{
    Access, EmbedderOptions, EmbeddingSpace, Error, Filter, Gallery, GalleryOptions, HnswParameters,
    IndexSpec, Photo, Retriever, verify,
};
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::Image;
use sketchfind_tests::folders;

use crate::{assert_says, fixture};

/// Three colours as the model mean8 embeds them.
pub(crate) fn colours() -> (Embeddings, BTreeMap<String, PathBuf>) {
    let ids = ["blue", "green", "red, bright"].map(String::from);
    let values = vec![0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
    let sources = [("blue", "photos/blue.png"), ("red, bright", "photos/red.png")];
    let sources = sources.map(|(id, path)| (id.to_owned(), PathBuf::from(path)));
    (Embeddings::new(ids.to_vec(), 3, values).unwrap(), BTreeMap::from(sources))
}

/// Writes the gallery of [`colours`].
pub(crate) fn create(path: &Path) {
    let (embeddings, sources) = colours();
    let index = IndexSpec::Hnsw(HnswParameters { m: 8, ef_construction: 32, ef_search: 16 });
    let options = GalleryOptions::with_index(index, "sketchfind 0.1.0");
    Gallery::create(path, fixture("mean8"), &embeddings, Some(&sources), &options).unwrap();
}

#[track_caller]
fn assert_holds_colours(path: &Path, format: u32) {
    let (embeddings, sources) = colours();
    let gallery = Gallery::open(path).unwrap();
    let snapshot = gallery.snapshot();
    assert_eq!(snapshot.embeddings().unwrap(), embeddings);
    let source = |id: &str| snapshot.photo(id).unwrap().source().map(Path::to_owned);
    assert_eq!(source("red, bright").as_ref(), sources.get("red, bright"));
    assert_eq!(source("green"), None);
    let manifest = gallery.manifest();
    assert_eq!((manifest.format, snapshot.len(), manifest.width), (format, 3, 3));
    assert_eq!((manifest.distance, manifest.tool.as_str()), (Distance::Mse, "sketchfind 0.1.0"));
    assert_eq!(manifest.model_sha256.as_ref(), gallery.card().map(|card| &card.onnx.sha256));
    assert_eq!(manifest.index.name(), "hnsw");
    assert!(verify(gallery.model_dir().unwrap(), sketchfind::Device::Cpu).unwrap().passed);
}

#[test]
fn a_gallery_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/gallery");
    create(&path);
    assert_holds_colours(&path, 6);
    // Again, in its place, and from the copy of the model inside it.
    let (embeddings, _) = colours();
    Gallery::create(&path, path.join("model"), &embeddings, None, &GalleryOptions::exact("test")).unwrap();
    let gallery = Gallery::open(&path).unwrap();
    assert_eq!(gallery.snapshot().photo("blue").unwrap().source(), None);
    assert_eq!((gallery.manifest().index, gallery.manifest().tool.as_str()), (IndexSpec::Exact, "test"));
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn the_second_format_is_read_for_good() {
    // Its log holds a photo that was added and one that was removed since the segment was written.
    assert_holds_what_was_logged(&fixture("gallery-v2"), 2);
}

#[test]
fn the_third_format_is_read_for_good() {
    assert_holds_what_was_logged(&fixture("gallery-v3"), 3);
}

#[test]
fn the_fourth_format_is_read_for_good() {
    assert_holds_what_was_logged(&fixture("gallery-v4"), 4);
}

/// It has no model, which is what is new in it.
#[test]
fn the_fifth_format_is_read_for_good() {
    let path = fixture("gallery-v5");
    if std::env::var_os("SKETCHFIND_WRITE_FIXTURES").is_some() {
        let (embeddings, sources) = colours();
        let space = EmbeddingSpace::new(3, Distance::Mse);
        Gallery::create_without_model(&path, &space, &GalleryOptions::exact("sketchfind 0.1.0")).unwrap();
        let gallery = Gallery::open_with(&path, Access::Write).unwrap();
        let photo = |id: &String| match sources.get(id) {
            Some(source) => Photo::new(id).with_source(source),
            None => Photo::new(id),
        };
        gallery.add(embeddings.ids().iter().map(photo).collect(), embeddings.values().to_vec()).unwrap();
        gallery.checkpoint().unwrap();
        let photo = Photo::new("grey").with_labels(["dull", "new"]).with_source("photos/grey.png");
        gallery.add(vec![photo.with_content([7; 32])], vec![0.5; 3]).unwrap();
        gallery.remove(&["green"]).unwrap();
        drop(gallery);
        std::fs::remove_file(path.join("lock")).unwrap();
    }
    assert_holds_what_was_logged(&path, 5);
    assert!(Gallery::open(&path).unwrap().card().is_none() && !path.join("model").exists());
}

/// Its photos may have products, which is what is new in it.
#[test]
fn the_sixth_format_is_read_for_good() {
    let path = fixture("gallery-v6");
    if std::env::var_os("SKETCHFIND_WRITE_FIXTURES").is_some() {
        let space = EmbeddingSpace::new(3, Distance::Mse);
        Gallery::create_without_model(&path, &space, &GalleryOptions::exact("sketchfind 0.1.0")).unwrap();
        let gallery = Gallery::open_with(&path, Access::Write).unwrap();
        let photos = ["blue", "green", "red, bright"].map(|id| Photo::new(id).with_product("paint"));
        gallery.add(photos.to_vec(), [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]].concat()).unwrap();
        gallery.checkpoint().unwrap();
        let photo = Photo::new("grey").with_labels(["dull", "new"]).with_source("photos/grey.png");
        let photo = photo.with_content([7; 32]).with_product("ink");
        gallery.add(vec![photo], vec![0.5; 3]).unwrap();
        gallery.remove(&["green"]).unwrap();
        drop(gallery);
        std::fs::remove_file(path.join("lock")).unwrap();
    }
    assert_holds_what_was_logged(&path, 6);
    let snapshot = Gallery::open(&path).unwrap().snapshot();
    let products: Vec<_> = snapshot.photos().map(|(photo, _)| photo.product().unwrap()).collect();
    assert_eq!(products, ["paint", "ink", "paint"]);
}

#[track_caller]
fn assert_holds_what_was_logged(path: &Path, format: u32) {
    let gallery = Gallery::open(path).unwrap();
    assert_eq!(gallery.manifest().format, format);
    let snapshot = gallery.snapshot();
    let ids: Vec<&str> = snapshot.photos().map(|(photo, _)| photo.id()).collect();
    assert_eq!(ids, ["blue", "grey", "red, bright"]);
    let grey = snapshot.photo("grey").unwrap();
    assert!(grey.labels().iter().eq(["dull", "new"]) && grey.content() == Some(&[7; 32]));
    assert_eq!(grey.source(), Some(Path::new("photos/grey.png")));
    assert_eq!(snapshot.embedding("grey"), Some(&[0.5; 3][..]));
    assert_eq!((snapshot.len(), snapshot.n_removed(), gallery.access()), (3, 1, Access::Read));
    assert!(!path.join("lock").exists());
}

#[test]
fn an_earlier_format_becomes_the_present_one_when_its_manifest_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    folders::copy(&fixture("gallery-v2"), &path).unwrap();
    let gallery = Gallery::open_with(&path, Access::Write).unwrap();
    gallery.add(vec![Photo::new("new")], vec![0.5; 3]).unwrap();
    assert_eq!((Gallery::open(&path).unwrap().manifest().format, gallery.len()), (2, 4));
    gallery.checkpoint().unwrap();
    drop(gallery);
    let gallery = Gallery::open(&path).unwrap();
    assert_eq!((gallery.manifest().format, gallery.len()), (6, 4));
}

#[test]
fn a_retriever_finds_photos() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path);
    let retriever = Retriever::open(&path, EmbedderOptions::cpu()).unwrap();
    let sketch = Image::new(2, 2, [0, 51, 255].repeat(4)).unwrap();
    let matches = retriever.query(&sketch, 10).unwrap();
    let ids: Vec<&str> = matches.iter().map(|found| found.id.as_str()).collect();
    assert_eq!(ids, ["blue", "green", "red, bright"]);
    assert_eq!(matches.iter().map(|found| found.rank).collect::<Vec<_>>(), [1, 2, 3]);
    // By hand: 51 / 255 = 0.2, and (0.2^2 + 0 + 0) / 3.
    assert!((matches[0].distance - 0.04 / 3.0).abs() < 1e-7, "{}", matches[0].distance);
    assert_eq!(matches[0].path.as_deref(), Some(Path::new("photos/blue.png")));
    assert_eq!(matches[1].path, None);
    assert!(retriever.query(&sketch, 0).unwrap().is_empty());
    assert_says(
        retriever.query_embedding(&[0.0; 4], 1, &Filter::everything()).unwrap_err(),
        &["width", "expected 3, got 4"],
    );
}

#[test]
fn an_empty_gallery_is_a_gallery() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = Embeddings::new(vec![], 3, vec![]).unwrap();
    for options in [GalleryOptions::auto("test"), GalleryOptions::exact("test"), GalleryOptions::hnsw("test")]
    {
        let path = folder.path().join(options.index.name());
        Gallery::create(&path, fixture("mean8"), &nothing, None, &options).unwrap();
        let retriever = Retriever::open(&path, EmbedderOptions::cpu()).unwrap();
        let sketch = Image::new(1, 1, vec![0; 3]).unwrap();
        assert!(retriever.query(&sketch, 5).unwrap().is_empty() && retriever.is_empty().unwrap());
    }
}

#[test]
fn a_model_without_a_probe_makes_a_gallery() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let (embeddings, _) = colours();
    Gallery::create(&path, fixture("nan-output"), &embeddings, None, &GalleryOptions::exact("test")).unwrap();
    assert_eq!(std::fs::read_dir(Gallery::open(&path).unwrap().model_dir().unwrap()).unwrap().count(), 2);
}

#[test]
fn nothing_but_a_gallery_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (embeddings, _) = colours();
    let create = |path: &Path| {
        Gallery::create(path, fixture("mean8"), &embeddings, None, &GalleryOptions::exact("test"))
    };
    let file = folder.path().join("file");
    std::fs::write(&file, b"mine").unwrap();
    let other = folder.path().join("folder");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("gallery.json"), br#"{"magic": "another program", "format": 1}"#).unwrap();
    for path in [&file, &other] {
        let error = create(path).unwrap_err();
        assert!(matches!(error, Error::Gallery { .. }));
        assert_says(error, &[&path.display().to_string(), "will not be overwritten"]);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
    // An empty folder holds nothing to lose, and a gallery of a newer version is still a gallery.
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    create(&empty).unwrap();
    std::fs::write(empty.join("gallery.json"), br#"{"magic": "sketchfind-gallery", "format": 9}"#).unwrap();
    create(&empty).unwrap();
    Gallery::open(&empty).unwrap();
}

#[test]
fn what_does_not_fit_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let (embeddings, sources) = colours();
    let options = GalleryOptions::exact("test");
    let check = |model: &Path, embeddings: &Embeddings, sources, options: &GalleryOptions, parts: &[&str]| {
        assert_says(Gallery::create(&path, model, embeddings, sources, options).unwrap_err(), parts);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    let mean8 = fixture("mean8");
    check(&fixture("conv16"), &embeddings, None, &options, &["3 wide", "conv16", "16"]);
    let mut more = sources.clone();
    more.insert("yellow".into(), "photos/yellow.png".into());
    check(&mean8, &embeddings, Some(&more), &options, &["'yellow'", "no embedding"]);
    let tiny = HnswParameters { m: 1, ..HnswParameters::default() };
    let bad = GalleryOptions::with_index(IndexSpec::Hnsw(tiny), "test");
    check(&mean8, &embeddings, None, &bad, &["m is 1"]);
    check(Path::new("/nowhere"), &embeddings, None, &options, &["/nowhere/card.json"]);
    let long = BTreeMap::from([("blue".to_owned(), PathBuf::from("a".repeat(4097)))]);
    check(&mean8, &embeddings, Some(&long), &options, &["'blue'", "at most 4096 bytes"]);
}

/// A path is kept as the system has it, from the log and from a segment.
#[cfg(unix)]
#[test]
fn a_path_that_is_no_text_is_kept() {
    use std::os::unix::ffi::OsStringExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    Gallery::create_empty(&path, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let source = PathBuf::from(std::ffi::OsString::from_vec(b"caf\xe9.png".to_vec()));
    let gallery = Gallery::open_with(&path, sketchfind::Access::Write).unwrap();
    let photo = sketchfind::Photo::new("caf%E9.png").with_source(&source);
    gallery.add(vec![photo.clone()], vec![0.5; 3]).unwrap();
    drop(gallery);
    for _ in 0..2 {
        let gallery = Gallery::open_with(&path, sketchfind::Access::Write).unwrap();
        assert_eq!(gallery.snapshot().photo("caf%E9.png"), Some(&photo));
        gallery.checkpoint().unwrap();
    }
}

#[test]
fn a_newer_format_is_called_newer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    folders::copy(&fixture("gallery-v4"), &path).unwrap();
    let newer = br#"{"magic": "sketchfind-gallery", "format": 7, "shape": "unheard of"}"#;
    std::fs::write(path.join("gallery.json"), newer).unwrap();
    assert_says(Gallery::open(&path).unwrap_err(), &["gallery.json", "format 7", "reads 2 to 6", "Update"]);
    std::fs::write(path.join("gallery.json"), br#"{"magic": "other", "format": 1}"#).unwrap();
    assert_says(Gallery::open(&path).unwrap_err(), &["'other'", "sketchfind-gallery"]);
    std::fs::remove_file(path.join("gallery.json")).unwrap();
    assert_says(Gallery::open(&path).unwrap_err(), &["no gallery", "gallery.json"]);
    assert_says(Gallery::open(Path::new("/nowhere")).unwrap_err(), &["/nowhere/gallery.json"]);
}
