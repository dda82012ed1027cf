//! Embeddings as files: what goes out comes in again, what is wrong is refused before anything is changed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sketchfind::{
    Access, Cancel, Distance, EmbeddingFiles, EmbeddingSpace, Error, Gallery, GalleryOptions, ImportOptions,
    Imported, Photo, Progress,
};
use sketchfind_core::embeddings::Embeddings;

use crate::store::{Model, embedding, id};
use crate::{assert_says, fixture};

fn create(path: &Path, width: usize) -> Gallery {
    let space = EmbeddingSpace::new(width, Distance::Mse);
    Gallery::create_without_model(path, &space, &GalleryOptions::exact("test")).unwrap();
    Gallery::open_with(path, Access::Write).unwrap()
}

fn open(path: &Path) -> sketchfind::Result<EmbeddingFiles> {
    EmbeddingFiles::open(path, Cancel::default())
}

fn import(gallery: &Gallery, path: &Path, options: ImportOptions) -> sketchfind::Result<Imported> {
    gallery.import(&open(path)?, options, Progress::default(), Cancel::default())
}

fn counts(done: Imported) -> (usize, usize, usize) {
    (done.n_added, done.n_replaced, done.n_unchanged)
}

fn npy(path: PathBuf, numbers: std::ops::Range<usize>) -> PathBuf {
    let values = numbers.clone().flat_map(embedding).collect();
    Embeddings::new(numbers.map(id).collect(), 3, values).unwrap().save(&path).unwrap();
    path
}

#[test]
fn a_matrix_goes_out_and_comes_in() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| create(&folder.path().join(name), 3));
    let (file, again) = (npy(folder.path().join("a.npy"), 0..50), folder.path().join("b.npy"));
    assert_eq!(counts(import(&first, &file, ImportOptions::default()).unwrap()), (50, 0, 0));
    let exported = first.export(&again, Progress::default(), Cancel::default()).unwrap();
    assert_eq!(exported.n_photos, 50);
    for ending in ["npy", "csv"] {
        let read = |name: &str| std::fs::read(folder.path().join(name).with_extension(ending)).unwrap();
        assert_eq!(read("a"), read("b"), "{ending}");
    }
    import(&second, &again, ImportOptions::default()).unwrap();
    assert_eq!(second.snapshot().embeddings().unwrap(), first.snapshot().embeddings().unwrap());
    // A gallery with a model takes what its model made.
    let with_model = folder.path().join("with model");
    Gallery::create_empty(&with_model, fixture("mean8"), &GalleryOptions::exact("test")).unwrap();
    let with_model = Gallery::open_with(&with_model, Access::Write).unwrap();
    assert_eq!(counts(import(&with_model, &again, ImportOptions::default()).unwrap()), (50, 0, 0));
}

#[test]
fn an_import_may_be_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = create(&folder.path().join("gallery"), 3);
    let photo = Photo::new(id(0)).with_labels(["kept"]).with_source("shop/0.jpg").with_content([7; 32]);
    gallery.add(vec![photo.clone(), Photo::new("own")], [embedding(0), embedding(99)].concat()).unwrap();
    let file = npy(folder.path().join("a.npy"), 0..10);
    assert_eq!(counts(import(&gallery, &file, ImportOptions::default()).unwrap()), (9, 0, 1));
    assert_eq!(counts(import(&gallery, &file, ImportOptions::default()).unwrap()), (0, 0, 10));
    // What a matrix does not say of a photo stays.
    assert_eq!(gallery.snapshot().photo(&id(0)), Some(&photo));
    assert!(gallery.snapshot().photo("own").is_some());

    // Other embeddings of the same ids are no accident to be passed over in silence.
    let values = (5..15).flat_map(|number| embedding(number + 1)).collect();
    Embeddings::new((5..15).map(id).collect(), 3, values).unwrap().save(&file).unwrap();
    let error = import(&gallery, &file, ImportOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::PhotoExists { id: there } if *there == id(5)), "{error}");
    assert_eq!(gallery.len(), 11, "nothing was changed");
    assert_eq!(counts(import(&gallery, &file, ImportOptions::default().replacing()).unwrap()), (5, 5, 0));
    assert_eq!(gallery.snapshot().embedding(&id(5)), Some(&embedding(6)[..]));
}

#[test]
fn a_cancelled_import_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let gallery = create(&path, 3);
    // Three pieces of 4,096 rows at most.
    let file = npy(folder.path().join("a.npy"), 0..10_000);
    let files = open(&file).unwrap();
    let n_told = AtomicUsize::new(0);
    let tell = |n| n_told.store(n, Ordering::Relaxed);
    let is_cancelled = || n_told.load(Ordering::Relaxed) > 0;
    let cancelled =
        gallery.import(&files, ImportOptions::default(), Progress::new(&tell), Cancel::new(&is_cancelled));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    let n_first = gallery.len();
    assert!(n_first == n_told.load(Ordering::Relaxed) && (1..10_000).contains(&n_first), "{n_first}");
    drop(gallery);
    // Another process goes on with what was acknowledged.
    let gallery = Gallery::open_with(&path, Access::Write).unwrap();
    let done = import(&gallery, &file, ImportOptions::default()).unwrap();
    assert_eq!(counts(done), (10_000 - n_first, 0, n_first));
    let mut model = Model::default();
    (0..10_000).for_each(|n| drop(model.0.insert(id(n), (Photo::new(id(n)), embedding(n)))));
    model.assert_is(&gallery);
    assert!(matches!(EmbeddingFiles::open(&file, Cancel::new(&|| true)), Err(Error::Cancelled)));
}

#[test]
fn a_folder_of_files_is_one_import() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    assert_says(open(&parts).unwrap_err(), &["parts", "no file in it", ".npy or .parquet"]);
    npy(parts.join("1.npy"), 0..5);
    npy(parts.join("2.npy"), 5..9);
    std::fs::write(parts.join("notes.txt"), "none of it").unwrap();
    let files = open(&parts).unwrap();
    assert_eq!((files.len(), files.width(), files.model_sha256()), (9, Some(3), None));
    assert_eq!(files.embeddings().unwrap().unwrap().len(), 9);
    npy(parts.join("3.npy"), 8..9);
    assert_says(open(&parts).unwrap_err(), &[&id(8), "stands twice", "2.npy", "3.npy"]);
    let wide = Embeddings::new(vec!["wide".into()], 4, vec![0.0; 4]).unwrap();
    wide.save(&parts.join("3.npy")).unwrap();
    assert_says(open(&parts).unwrap_err(), &["3.npy", "4 wide", "those before 3"]);
}

#[test]
fn a_matrix_that_is_wrong_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let refused = |parts: &[&str]| assert_says(open(&path).unwrap_err(), parts);
    refused(&["cannot read", "a.npy"]);
    std::fs::write(&path, "no matrix").unwrap();
    refused(&["a.npy", "not a float32 matrix"]);
    npy(path.clone(), 0..4);
    let csv = folder.path().join("a.csv");
    let ids = std::fs::read_to_string(&csv).unwrap();
    std::fs::write(&csv, ids.replace(&id(1), &id(0))).unwrap();
    refused(&[&id(0), "twice"]);
    std::fs::write(&csv, ids.replace(&id(1), &"x".repeat(5000))).unwrap();
    refused(&["a photo's id", "5000 bytes"]);
    std::fs::write(&csv, &ids).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    refused(&["not finite", "row 3"]);
    assert_says(open(&folder.path().join("a.txt")).unwrap_err(), &["a.txt", "ends in .npy or .parquet"]);

    npy(path.clone(), 0..4);
    let gallery = create(&folder.path().join("gallery"), 4);
    let error = import(&gallery, &path, ImportOptions::default()).unwrap_err();
    assert_says(error, &["gallery", "4 wide", "a.npy' 3"]);
    let to = |name: &str| gallery.export(folder.path().join(name), Progress::default(), Cancel::default());
    assert_says(to("x.csv").unwrap_err(), &["x.csv", "ends in .npy or .parquet"]);
    assert!(gallery.is_empty());
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_the_feature_a_parquet_file_is_refused_by_that_name() {
    assert_says(open(Path::new("x.parquet")).unwrap_err(), &["x.parquet", "feature 'parquet'"]);
}

#[cfg(feature = "parquet")]
mod parquet {
    use super::*;
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder};
    use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};

    const MODEL: &str = "1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef";

    /// Columns and their names.
    type Columns<'a> = Vec<(&'a str, ArrayRef)>;

    /// Writes columns to a file.
    fn write(path: &Path, columns: Columns<'_>) -> PathBuf {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path.to_owned()
    }

    fn texts(texts: &[Option<&str>]) -> ArrayRef {
        Arc::new(texts.iter().copied().collect::<StringArray>())
    }

    /// Lists of the lengths that they have, null where there is none.
    fn vectors(rows: &[Option<&[f32]>]) -> ArrayRef {
        let mut lists = ListBuilder::new(Float32Builder::new());
        for row in rows {
            lists.values().append_slice(row.unwrap_or_default());
            lists.append(row.is_some());
        }
        Arc::new(lists.finish())
    }

    #[test]
    fn everything_that_is_known_of_photos_goes_out_and_comes_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.parquet");
        let space = EmbeddingSpace::new(3, Distance::Cosine).with_model(MODEL);
        let [first, second] = ["first", "second"].map(|name| {
            let path = folder.path().join(name);
            Gallery::create_without_model(&path, &space, &GalleryOptions::exact("test")).unwrap();
            Gallery::open_with(&path, Access::Write).unwrap()
        });
        let photo = |number: usize| match number % 4 {
            0 => Photo::new(id(number)),
            1 => Photo::new(id(number)).with_labels(["boots", "\"in, stock\"", "caf\u{e9}"]),
            2 => Photo::new(id(number)).with_source("shop/17.jpg").with_content([number as u8; 32]),
            _ => Photo::new(id(number)).with_labels(["one"]).with_source("a b.jpg").with_product("boot"),
        };
        // More than one group of rows.
        let (photos, values) = ((0..9000).map(photo).collect(), (0..9000).flat_map(embedding).collect());
        first.add(photos, values).unwrap();
        let exported = first.export(&file, Progress::default(), Cancel::default()).unwrap();
        assert_eq!((exported.n_photos, exported.without_source.len()), (9000, 0));
        let files = open(&file).unwrap();
        assert_eq!((files.len(), files.width(), files.model_sha256()), (9000, Some(3), Some(MODEL)));
        assert!(files.failed().is_empty() && files.unread_columns().is_empty());
        assert_eq!(counts(import(&second, &file, ImportOptions::default()).unwrap()), (9000, 0, 0));
        let all = |gallery: &Gallery| -> Vec<(Photo, Vec<f32>)> {
            let snapshot = gallery.snapshot();
            snapshot.photos().map(|(photo, row)| (photo.clone(), row.to_vec())).collect()
        };
        assert_eq!(all(&second), all(&first));
        assert_eq!(counts(import(&second, &file, ImportOptions::default()).unwrap()), (0, 0, 9000));
        // A file that says less takes nothing away, and one that gives no labels does.
        let [ids, rows] = [texts(&[Some(&id(1))]), vectors(&[Some(&embedding(1))])];
        let less = write(
            &folder.path().join("less.parquet"),
            vec![("id", ids.clone()), ("embedding", rows.clone())],
        );
        assert_eq!(counts(import(&second, &less, ImportOptions::default()).unwrap()), (0, 0, 1));
        let mut none = ListBuilder::new(StringBuilder::new());
        none.append(true);
        let columns = vec![("id", ids), ("embedding", rows), ("labels", Arc::new(none.finish()) as ArrayRef)];
        let none = write(&folder.path().join("none.parquet"), columns);
        assert_eq!(counts(import(&second, &none, ImportOptions::default()).unwrap()), (0, 1, 0));
        assert!(second.snapshot().photo(&id(1)).unwrap().labels().is_empty());
        // Cancelled, it leaves no file.
        let never = folder.path().join("never.parquet");
        assert!(first.export(&never, Progress::default(), Cancel::new(&|| true)).is_err() && !never.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_left_out_and_said() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let (gallery, file) = (create(&folder.path().join("gallery"), 1), folder.path().join("a.parquet"));
        let path = std::ffi::OsStr::from_bytes(b"\xff.jpg");
        gallery.add(vec![Photo::new("a").with_source(path), Photo::new("b")], vec![1.0, 2.0]).unwrap();
        let exported = gallery.export(&file, Progress::default(), Cancel::default()).unwrap();
        assert_eq!((exported.n_photos, exported.without_source), (2, vec!["a".to_owned()]));
        assert_eq!(counts(import(&gallery, &file, ImportOptions::default()).unwrap()), (0, 0, 2));
    }

    /// Files that pyarrow wrote, beside the script that made them.
    #[test]
    fn what_pyarrow_writes_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = fixture("embeddings");
        for (name, error_rows) in [("full.parquet", 1), ("large.parquet", 0), ("nulls.parquet", 0)] {
            let files = open(&path.join(name)).unwrap();
            assert_eq!(
                (files.len(), files.width(), files.failed().len()),
                (3, Some(2), error_rows),
                "{name}"
            );
            let gallery = create(&folder.path().join(name), 2);
            import(&gallery, &path.join(name), ImportOptions::default()).unwrap();
            let snapshot = gallery.snapshot();
            assert_eq!(snapshot.embedding("a"), Some(&[1.0, 2.0][..]), "{name}");
            assert_eq!(snapshot.embedding("caf\u{e9}"), Some(&[-0.5, 1e-30][..]), "{name}");
        }
        let files = open(&path.join("full.parquet")).unwrap();
        assert_eq!(files.model_sha256(), Some(MODEL));
        assert_eq!(files.unread_columns(), ["price"]);
        let failed = &files.failed()[0];
        assert_eq!((failed.id.as_str(), failed.error.as_str()), ("broken", "cannot decode"));
        let snapshot = Gallery::open(folder.path().join("full.parquet")).unwrap().snapshot();
        let a = snapshot.photo("a").unwrap();
        assert!(a.labels().iter().eq(["boots", "new"]) && a.source() == Some(Path::new("shop/a.jpg")));
        assert_eq!(a.content(), Some(&[0xab; 32]));
        assert_eq!(snapshot.photo("b").unwrap(), &Photo::new("b"));
        // What a codec needs that is not built is said by its name.
        assert_says(open(&path.join("zstd.parquet")).unwrap_err(), &["zstd.parquet", "ZSTD"]);
    }

    #[test]
    fn a_table_that_is_wrong_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let gallery = create(&folder.path().join("gallery"), 2);
        let file = folder.path().join("bad.parquet");
        let (one, two): (&[f32], &[f32]) = (&[1.0, 2.0], &[3.0, 4.0]);
        let ids = || ("id", texts(&[Some("a"), Some("b")]));
        let rows = || ("embedding", vectors(&[Some(one), Some(two)]));
        let ints = |n: usize| Arc::new(Int32Array::from(vec![1; n])) as ArrayRef;
        let nan: &[f32] = &[f32::NAN, 0.0];
        let wide: &[f32] = &[1.0, 2.0, 3.0];
        let empty: &[f32] = &[];
        let mut null_inside = FixedSizeListBuilder::new(Float32Builder::new(), 2);
        null_inside.values().append_slice(one);
        null_inside.append(true);
        null_inside.values().append_value(1.0);
        null_inside.values().append_null();
        null_inside.append(true);
        let doubles = Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef;
        let cases: Vec<(Columns<'_>, &[&str])> = vec![
            (vec![rows()], &["no column 'id'", "'embedding'"]),
            (vec![ids()], &["no column 'embedding'", "'id'"]),
            (vec![("id", ints(2)), rows()], &["column 'id'", "Int32", "expected string"]),
            (vec![ids(), ("embedding", doubles)], &["column 'embedding'", "Float64", "list of float32"]),
            (
                vec![ids(), rows(), ("labels", texts(&[Some("x"), None]))],
                &["column 'labels'", "list of string"],
            ),
            (vec![ids(), rows(), ("error", ints(2))], &["column 'error'", "Int32"]),
            (vec![("id", texts(&[Some("a"), None])), rows()], &["row 1 has no id"]),
            (vec![("id", texts(&[Some("a"), Some("")])), rows()], &["a photo's id is empty"]),
            (vec![("id", texts(&[Some("a"), Some("a")])), rows()], &["'a' stands twice", "bad.parquet"]),
            (vec![ids(), ("embedding", vectors(&[Some(one), Some(nan)]))], &["'b'", "not finite (NaN)"]),
            (vec![ids(), ("embedding", vectors(&[Some(one), Some(wide)]))], &["'b'", "3 wide, expected 2"]),
            (vec![ids(), ("embedding", vectors(&[Some(empty), Some(one)]))], &["'a'", "0 wide"]),
            (
                vec![ids(), ("embedding", vectors(&[Some(one), None]))],
                &["'b'", "neither embedding nor error"],
            ),
            (vec![ids(), ("embedding", Arc::new(null_inside.finish()))], &["'b'", "a number that is null"]),
            (vec![ids(), rows(), ("sha256", texts(&[Some("ab"), None]))], &["'a'", "sha256 is 'ab'", "64"]),
            (vec![ids(), rows(), ("model", texts(&[Some("resnet"), None]))], &["'a'", "model is 'resnet'"]),
            (
                vec![ids(), rows(), ("model", texts(&[Some(MODEL), Some(&MODEL.replace('1', "2"))]))],
                &["'b'", "by the model 2234", "others by 1234"],
            ),
        ];
        for (columns, parts) in cases {
            write(&file, columns);
            assert_says(open(&file).unwrap_err(), parts);
        }
        // Right in itself, and not this gallery's.
        write(&file, vec![ids(), ("embedding", vectors(&[Some(wide), Some(wide)]))]);
        assert_says(
            import(&gallery, &file, ImportOptions::default()).unwrap_err(),
            &["2 wide", "bad.parquet' 3"],
        );
        let other = folder.path().join("other");
        let space = EmbeddingSpace::new(2, Distance::Mse).with_model("ff".repeat(32));
        Gallery::create_without_model(&other, &space, &GalleryOptions::exact("test")).unwrap();
        let other = Gallery::open_with(&other, Access::Write).unwrap();
        write(&file, vec![ids(), rows(), ("model", texts(&[None, Some(MODEL)]))]);
        let error = import(&other, &file, ImportOptions::default()).unwrap_err();
        assert_says(error, &["by the model ffff", "bad.parquet' by 1234"]);
        assert!(gallery.is_empty() && other.is_empty());
        // Only errors: nothing to import, all of them named.
        let errors = ("error", texts(&[Some("x"), Some("y")]));
        write(&file, vec![ids(), ("embedding", vectors(&[None, None])), errors]);
        let files = open(&file).unwrap();
        assert_eq!((files.len(), files.width(), files.failed().len()), (0, None, 2));
        assert_eq!(counts(import(&gallery, &file, ImportOptions::default()).unwrap()), (0, 0, 0));
    }

    /// A file that was cut or changed is an error or right, and never a panic.
    #[test]
    fn a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (gallery, file) = (create(&folder.path().join("gallery"), 3), folder.path().join("a.parquet"));
        let photos = (0..20).map(|number| Photo::new(id(number)).with_labels(["x"]).with_source("y.jpg"));
        gallery.add(photos.collect(), (0..20).flat_map(embedding).collect()).unwrap();
        gallery.export(&file, Progress::default(), Cancel::default()).unwrap();
        let whole = std::fs::read(&file).unwrap();
        let mut n_refused = 0;
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            match place % 3 {
                0 => bytes.truncate(place),
                1 => bytes[place] ^= 0xff,
                _ => bytes[place] ^= 1 << (place / 3 % 8),
            }
            std::fs::write(&file, bytes).unwrap();
            n_refused += usize::from(open(&file).is_err());
        }
        assert!(n_refused > whole.len() / 3, "{n_refused} of {}", whole.len());
    }
}
