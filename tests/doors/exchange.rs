//! `sketchfind index copy`, `list`, `recall`, `export`, `import`, and queries that are embeddings.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sketchfind::{
    Access, Distance, EmbeddingSpace, Gallery, GalleryOptions, HnswParameters, IndexSpec, Photo,
};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::random::Stream;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::surroundings::checkout;

fn sketchfind(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.args(arguments);
    command
}

fn index(verb: &str, gallery: &Path) -> Command {
    let mut command = sketchfind(&["index", verb, "--gallery"]);
    command.arg(gallery);
    command
}

/// Rows by a seed: the same for the same number.
fn row(number: usize) -> Vec<f32> {
    let mut stream = Stream::new(9, "exchange", &[number as u64]);
    (0..4).map(|_| stream.unit() as f32).collect()
}

fn id(number: usize) -> String {
    format!("photo {number:04}")
}

/// A gallery without a model that holds the rows of `numbers`.
fn filled(path: &Path, numbers: std::ops::Range<usize>) -> Gallery {
    let space = EmbeddingSpace::new(4, Distance::Mse);
    Gallery::create_without_model(path, &space, &GalleryOptions::exact("test")).unwrap();
    let gallery = Gallery::open_with(path, Access::Write).unwrap();
    gallery.add(numbers.clone().map(id).map(Photo::new).collect(), numbers.flat_map(row).collect()).unwrap();
    gallery
}

fn npy(path: PathBuf, numbers: std::ops::Range<usize>) -> PathBuf {
    let values = numbers.clone().flat_map(row).collect();
    Embeddings::new(numbers.map(id).collect(), 4, values).unwrap().save(&path).unwrap();
    path
}

fn mean8() -> PathBuf {
    checkout().join("runtime/tests/fixtures/mean8")
}

#[test]
fn a_gallery_is_copied_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["shop", "backup"].map(|name| folder.path().join(name));
    let gallery = filled(&path, 0..3);
    let photo =
        Photo::new("caf\u{e9}, \"new\"").with_labels(["in, stock", "boots"]).with_source("shop/a b.jpg");
    gallery.add(vec![photo.with_content([0xab; 32]).with_product("a, b")], row(9)).unwrap();
    // It is open for writing here, and copied all the same.
    let copying = |extra: &[&str]| {
        let mut command = sketchfind(&["index", "copy"]);
        command.arg(&path).arg(&copy).args(extra);
        command
    };
    let said = run(&mut copying(&[]));
    assert!(said.code == Some(0) && said.err.contains("4 photos copied"), "{}", said.err);
    fail(&mut copying(&[]), 3, &["backup", "is there already", "--replace"]);
    gallery.remove(&[id(0)]).unwrap();
    succeed(&mut copying(&["--replace"]));
    fail(sketchfind(&["index", "copy"]).arg(&path).arg(path.join("copy")), 3, &["cannot lie in the gallery"]);

    let expected = format!(
        "id,labels,product,source,sha256\n\"caf\u{e9}, \"\"new\"\"\",\"[\"\"boots\"\",\"\"in, stock\"\"]\",\"a, b\",shop/a b.jpg,{}\n\
         {},[],,,\n{},[],,,\n",
        "ab".repeat(32),
        id(1),
        id(2)
    );
    assert_eq!(succeed(&mut index("list", &copy)), expected);
    let json = succeed(index("list", &copy).args(["--format", "json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3);
    assert_eq!(json[0]["labels"], serde_json::json!(["boots", "in, stock"]));
    assert_eq!((&json[0]["source"], &json[1]["source"]), (&"shop/a b.jpg".into(), &serde_json::Value::Null));
    let table = succeed(index("list", &copy).args(["--format", "table"]));
    assert!(table.lines().count() == 4 && table.starts_with("id "), "{table}");
    drop(gallery);
    let empty = folder.path().join("empty");
    drop(filled(&empty, 0..0));
    assert_eq!(succeed(&mut index("list", &empty)), "id,labels,product,source,sha256\n");
    assert_eq!(succeed(index("list", &empty).args(["--format", "json"])), "[]\n");
    fail(&mut index("list", folder.path()), 3, &["it is no gallery"]);
}

#[test]
fn a_list_ends_where_nobody_reads_it_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop");
    // More than a pipe holds.
    drop(filled(&path, 0..9_999));
    for format in ["csv", "json"] {
        let mut list = index("list", &path);
        list.args(["--format", format]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = list.spawn().unwrap();
        let mut some = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn recall_is_measured_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop");
    let gallery = filled(&path, 0..2000);
    let said = run(&mut index("recall", &path));
    assert!(said.code == Some(0) && said.err.contains("there is no graph"), "{}", said.err);
    assert_eq!(succeed(index("recall", &path).args(["--format", "json"])), "[]\n");
    gallery.set_index(IndexSpec::Hnsw(HnswParameters { m: 2, ef_construction: 4, ef_search: 1 })).unwrap();
    gallery.compact(Default::default(), Default::default()).unwrap();
    drop(gallery);
    assert!(succeed(&mut index("recall", &path)).starts_with("recall@10 "));
    let csv = succeed(index("recall", &path).args(["--format", "csv"]));
    assert!(csv.starts_with("k,n_queries,n_photos,n_nearest,n_found,recall\n10,200,2000,2000,"), "{csv}");
    let recall: f64 = csv.trim().rsplit(',').next().unwrap().parse().unwrap();
    assert!(recall < 0.999, "a graph of so few neighbours misses some: {recall}");
    assert!(!succeed(sketchfind(&["info"]).arg(&path)).contains("recall@10"));
    succeed(index("recall", &path).arg("--keep"));
    assert!(succeed(sketchfind(&["info"]).arg(&path)).contains("recall@10"));

    // More candidates find what these miss.
    let queries = npy(folder.path().join("q.npy"), 5000..5100);
    let ask = |extra: &[&str]| {
        let mut query = sketchfind(&["query", "--format", "csv", "--gallery"]);
        succeed(query.arg(&path).arg("--embeddings").arg(&queries).args(extra))
    };
    let exact = folder.path().join("exact");
    drop(filled(&exact, 0..2000));
    let mut query = sketchfind(&["query", "--format", "csv", "--gallery"]);
    let truth = succeed(query.arg(&exact).arg("--embeddings").arg(&queries));
    assert_ne!(ask(&[]), truth);
    assert_eq!(ask(&["--ef", "1500"]), truth);
    for bad in ["0", "100001", "many"] {
        let mut query = sketchfind(&["query", "--ef", bad, "--gallery"]);
        fail(query.arg(&path).arg("--embeddings").arg(&queries), 2, &["--ef", bad]);
    }
}

#[test]
fn embeddings_go_out_come_in_and_are_asked_without_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let [shop, other] = ["shop", "other"].map(|name| folder.path().join(name));
    let file = npy(folder.path().join("photos.npy"), 0..40);
    let import = |gallery: &Path, file: &Path, extra: &[&str]| {
        let mut command = index("import", gallery);
        command.arg(file).args(extra);
        command
    };
    fail(&mut import(&shop, &file, &[]), 3, &["shop", "it is not there", "--distance", "--model"]);
    let said = run(&mut import(&shop, &file, &["--distance", "cosine"]));
    assert!(said.code == Some(0) && said.err.contains("40 photos added"), "{}", said.err);
    let info = succeed(sketchfind(&["info"]).arg(&shop));
    assert!(info.contains("model          none") && info.contains("4 numbers, compared by cosine"), "{info}");
    let said = run(&mut import(&shop, &file, &["--distance", "cosine"]));
    assert!(said.err.contains("0 photos added, 0 replaced, 40 there already"), "{}", said.err);
    fail(&mut import(&shop, &file, &["--distance", "mse"]), 3, &["compares by cosine", "mse was asked for"]);
    // Nothing is left beside it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);

    for name in ["out.npy", "out.parquet"] {
        let out = folder.path().join(name);
        succeed(index("export", &shop).arg("--out").arg(&out));
        let _ = std::fs::remove_dir_all(&other);
        succeed(&mut import(&other, &out, &["--distance", "cosine"]));
        assert_eq!(succeed(&mut index("list", &other)), succeed(&mut index("list", &shop)), "{name}");
        let embeddings = |path: &Path| Gallery::open(path).unwrap().snapshot().embeddings().unwrap();
        assert_eq!(embeddings(&other), embeddings(&shop));
        let mut query = sketchfind(&["query", "--format", "csv", "-k", "1", "--gallery"]);
        let found = succeed(query.arg(&shop).arg("--embeddings").arg(&out));
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!((lines[0], lines.len()), ("sketch,rank,id,distance,path,labels,product", 41));
        for (number, line) in lines.iter().skip(1).enumerate() {
            assert!(line.starts_with(&format!("{0},1,{0},", id(number))), "{line}");
        }
    }
    let mut query = sketchfind(&["query", "--format", "csv", "-k", "1", "--gallery"]);
    query
        .arg(&shop)
        .args(["--without-id", &id(3), "--embeddings"])
        .arg(npy(folder.path().join("3.npy"), 3..4));
    assert!(!succeed(&mut query).contains(&format!(",{},", id(3))));

    // Rows that failed are named, and left out.
    let failed = checkout().join("runtime/tests/fixtures/embeddings/full.parquet");
    let third = folder.path().join("third");
    let said = run(&mut import(&third, &failed, &["--distance", "mse"]));
    assert_eq!(said.code, Some(5), "{}", said.err);
    for part in ["3 photos added", "'broken': cannot decode", "1 rows have an error", "not read: price"] {
        assert!(said.err.contains(part), "{}", said.err);
    }
    assert!(succeed(sketchfind(&["info"]).arg(&third)).contains("1234567890abcdef"));

    // What needs a model is refused by name.
    let picture = checkout().join("runtime/tests/fixtures/photos/red.png");
    let no_model = ["shop", "has no model"];
    fail(sketchfind(&["query", "--gallery"]).arg(&shop).arg(&picture), 3, &no_model);
    let photos = picture.parent().unwrap();
    fail(index("add", &shop).arg("--photos").arg(photos), 3, &no_model);
    fail(index("sync", &shop).arg("--photos").arg(photos), 3, &no_model);
    fail(sketchfind(&["serve", "--address", "127.0.0.1:0", "--gallery"]).arg(&shop), 3, &no_model);

    // A space is one space.
    let wide = folder.path().join("wide.npy");
    Embeddings::new(vec!["a".into()], 5, vec![0.5; 5]).unwrap().save(&wide).unwrap();
    fail(&mut import(&shop, &wide, &[]), 3, &["shop", "4 wide", "wide.npy' 5"]);
    fail(sketchfind(&["query", "--embeddings"]).arg(&wide).arg("--gallery").arg(&shop), 3, &["4 wide"]);
    fail(
        sketchfind(&["query", "--embeddings"]).arg(&wide).arg("--gallery").arg(&shop).arg(&picture),
        2,
        &["cannot be used with"],
    );
    Embeddings::new(vec![id(3)], 4, row(4)).unwrap().save(&wide).unwrap();
    fail(&mut import(&shop, &wide, &[]), 3, &[&id(3), "there already", "--replace", "nothing was changed"]);
    succeed(&mut import(&shop, &wide, &["--replace"]));
    assert_eq!(Gallery::open(&shop).unwrap().snapshot().embedding(&id(3)), Some(&row(4)[..]));
    fail(index("export", &shop).args(["--out", "x.csv"]), 3, &["x.csv", ".npy or .parquet"]);

    // With the model that made them, pictures can be asked for too.
    let colours = folder.path().join("colours.npy");
    let ids = ["blue", "red"].map(str::to_owned).to_vec();
    Embeddings::new(ids, 3, vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0]).unwrap().save(&colours).unwrap();
    let model = mean8().display().to_string();
    let with_model = folder.path().join("with model");
    succeed(&mut import(&with_model, &colours, &["--model", &model]));
    let found =
        succeed(sketchfind(&["query", "--format", "csv", "--gallery"]).arg(&with_model).arg(&picture));
    assert!(found.lines().nth(1).unwrap().contains(",1,red,"), "{found}");
}
