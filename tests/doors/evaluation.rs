//! `sketchfind eval` with all that it can measure, on a small model and drawn data: its files, their agreement with each
//! other and with others' readers, and the page in a browser.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::random::Stream;
use sketchfind_eval::Bootstrap;
use sketchfind_eval::report::Report;
use sketchfind_eval::trec::read_qrels;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::toy;

use crate::page::browser_test;
use crate::refusals::small_model;

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    /// A data set of 24 test photos with 36 sketches, two models, labels, what people said, and vector sketches.
    fn new() -> Scene {
        let scene = Scene { folder: tempfile::tempdir().unwrap() };
        toy::dataset(&scene.path("data"), 2, 24, 5).unwrap();
        small_model(&scene.path("model"), 1);
        small_model(&scene.path("reference"), 2);
        let test = || (2..26).map(|number| format!("{number:03}"));
        let mut labels = String::from("id,corners,artist\n");
        let mut triplets = String::from("split,sketch,nearer,farther\ntrain,000,000,001\n");
        let mut qrels = String::new();
        std::fs::create_dir_all(scene.path("strokes")).unwrap();
        let mut stream = Stream::new(1, "scene", &[]);
        for (index, name) in test().enumerate() {
            labels.push_str(&format!("photo/{name},{},\n", index % 3));
            let other = |step: usize| format!("{:03}", 2 + (index + step) % 24);
            triplets.push_str(&format!("test,sketch/{name}-1,{},{}\n", name, other(5)));
            triplets.push_str(&format!("test,sketch/{name}-1,{},{}\n", other(1), other(7)));
            for number in 1..=(2 + index) % 2 + 1 {
                labels.push_str(&format!("sketch/{name}-{number},,{}\n", ["anna", "ben"][number - 1]));
                qrels.push_str(&format!("sketch/{name}-{number} 0 photo/{} 1\n", other(3)));
                qrels.push_str(&format!("sketch/{name}-{number} 0 photo/{name} 1\n"));
                let svg = scene.path("strokes").join(format!("{name}-{number}.svg"));
                let mut coordinate = || 4 + stream.below(40);
                let lines: Vec<String> = (0..5)
                    .map(|_| {
                        let [a, b, c, d] = [(); 4].map(|()| coordinate());
                        format!("<path d='M{a} {b} L{c} {d}' stroke='black' fill='none'/>")
                    })
                    .collect();
                let text = format!(
                    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 48 48'>{}</svg>",
                    lines.concat()
                );
                std::fs::write(svg, text).unwrap();
            }
        }
        std::fs::write(scene.path("data/labels.csv"), labels).unwrap();
        std::fs::write(scene.path("human.csv"), triplets).unwrap();
        std::fs::write(scene.path("several.qrels"), qrels).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn eval(&self, out: &str) -> Command {
        let mut eval = program("sketchfind");
        eval.args(["eval", "--samples", "500", "--model"]).arg(self.path("model"));
        eval.arg("--data").arg(self.path("data")).arg("--out").arg(self.path(out));
        eval
    }
}

fn rows(path: &Path) -> Vec<csv::StringRecord> {
    csv::Reader::from_path(path).unwrap().records().map(|row| row.unwrap()).collect()
}

#[test]
fn all_that_is_measured_is_written() {
    let scene = Scene::new();
    succeed(&mut scene.eval("plain"));
    let mut all = scene.eval("all");
    all.args(["-k", "1,3", "--label", "corners", "--label", "artist", "--trec", "--on-the-fly", "4"]);
    all.args(["--robustness", "2"]).arg("--reference").arg(scene.path("reference"));
    all.arg("--human").arg(scene.path("human.csv")).arg("--strokes").arg(scene.path("strokes"));
    let said = succeed(all.arg("--against").arg(scene.path("plain")));
    assert!(said.contains("human_agreement") && said.contains("sketch triplet_agreement"), "{said}");
    let file = |name: &str| scene.path("all").join(name);
    // 24 photos and 36 sketches are anchors.
    assert_eq!(rows(&file("anchors.csv")).len(), 24 + 36);
    assert_eq!(rows(&file("early.csv")).len(), 4);
    assert_eq!(rows(&file("robustness.csv")).len(), 10);
    assert_eq!(rows(&file("gallery.csv")).len(), 24);
    let summary = rows(&file("summary.csv"));
    let find = |metric: &str, label: &str| {
        let found = summary.iter().find(|row| &row[1] == metric && &row[16] == label);
        found.unwrap_or_else(|| panic!("{metric} {label}")).clone()
    };
    assert_eq!((&find("human_agreement", "")[5], &find("human_agreement", "")[9]), ("48", "sketches"));
    assert_eq!(&find("acc@3", "anna")[5], "24");
    assert_eq!(&find("acc@3", "ben")[5], "12");
    assert_eq!(&find("acc@1", "0")[5], "12");
    assert_eq!(&find("mrr", "")[9], "photos");
    // Figures by label are means that make up the whole.
    let value = |metric: &str, label: &str| find(metric, label)[2].parse::<f64>().unwrap();
    let mixed = (24.0 * value("mrr", "anna") + 12.0 * value("mrr", "ben")) / 36.0;
    assert!((mixed - value("mrr", "")).abs() < 1e-12);
    let page = std::fs::read_to_string(file("report.html")).unwrap();
    for part in [
        "Neighbours kept",
        "While the sketch is drawn",
        "When the sketch is changed",
        "Side by side",
        "Map of",
    ] {
        assert!(page.contains(part), "no '{part}'");
    }
    assert!(page.matches("<img ").count() > 50 && page.len() < 3_000_000);
    // The same again, to the byte: every draw has its seed.
    let csv = std::fs::read(file("robustness.csv")).unwrap();
    let before = std::fs::read(file("report.html")).unwrap();
    succeed(&mut all);
    assert!(csv == std::fs::read(file("robustness.csv")).unwrap());
    assert!(before == std::fs::read(file("report.html")).unwrap());
    in_a_browser(&file("report.html"));
}

/// Ranks by product are counted again from the whole ranking of photos.
#[test]
fn products_are_ranked_by_their_nearest_photos() {
    let scene = Scene::new();
    fail(scene.eval("never").arg("--by-product"), 3, &["manifest.csv", "test split", "column 'product'"]);
    let manifest = scene.path("data/manifest.csv");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut lines = text.lines();
    let mut with_products = format!("{},product\n", lines.next().unwrap());
    // Threes of photos, the last six alone.
    let number = |id: &str| id["photo/".len()..].parse::<usize>().unwrap() - 2;
    let product = |id: &str| match number(id) {
        number if number < 18 => format!("product {}", number / 3),
        _ => String::new(),
    };
    for line in lines {
        let id = line.split(',').next().unwrap();
        let is_test_photo = id.starts_with("photo/") && line.contains(",test,");
        let product = if is_test_photo { product(id) } else { String::new() };
        with_products.push_str(&format!("{line},{product}\n"));
    }
    std::fs::write(&manifest, with_products).unwrap();
    succeed(scene.eval("photos").args(["--trec", "24"]));
    let said = succeed(scene.eval("products").arg("--by-product"));
    assert!(said.contains("on test, by product: 36 sketches of 12 photos, gallery of 12"), "{said}");
    assert_eq!(rows(&scene.path("products/gallery.csv")).len(), 12);
    let run = std::fs::read_to_string(scene.path("photos/run.trec")).unwrap();
    let mut ranked: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in run.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let product = product(fields[2]);
        let name = if product.is_empty() { fields[2].to_owned() } else { product };
        let products = ranked.entry(fields[0]).or_default();
        if !products.contains(&name) {
            products.push(name);
        }
    }
    let mut reader = csv::Reader::from_path(scene.path("products/queries.csv")).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let mut n = 0;
    for row in reader.records().map(|row| row.unwrap()) {
        let query = &row[column("query_id")];
        let photo = format!("photo/{}", &query["sketch/".len()..query.len() - 2]);
        let own = Some(product(&photo)).filter(|product| !product.is_empty()).unwrap_or(photo);
        let rank = ranked[query].iter().position(|name| *name == own).unwrap() + 1;
        assert_eq!(row[column("rank")], rank.to_string(), "{query}");
        n += 1;
    }
    assert_eq!(n, 36);
    // Other questions than those by photo.
    let mut compare = program("sketchfind");
    compare.arg("compare").arg(scene.path("photos")).arg(scene.path("products"));
    fail(&mut compare, 3, &["their splits differ", "test, by product"]);
}

/// Photos without sketches: what `neighbours` says of them is what `eval` says of its photo anchors.
#[test]
fn neighbours_of_photos_alone_are_those_of_an_evaluation() {
    let scene = Scene::new();
    succeed(scene.eval("whole").arg("--reference").arg(scene.path("reference")));
    let neighbours = |out: &str| {
        let mut command = program("sketchfind");
        command
            .args(["neighbours", "--samples", "500", "--split", "test", "--model"])
            .arg(scene.path("model"));
        command.arg("--reference").arg(scene.path("reference"));
        command.arg("--photos").arg(scene.path("data/manifest.csv")).arg("--out").arg(scene.path(out));
        command
    };
    let said = succeed(&mut neighbours("alone"));
    assert!(said.contains("photo kendall_tau_b") && !said.contains("sketch kendall"), "{said}");
    for (name, kind) in [("neighbours.csv", 2), ("anchors.csv", 1)] {
        let photos = |folder: &str| {
            let rows = rows(&scene.path(folder).join(name));
            let photos = rows.iter().filter(|row| &row[kind] != "sketch");
            // The data sets' fingerprints differ: the one is of photos alone.
            photos.map(|row| row.iter().take(17).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
        };
        assert!(photos("alone").len() > 9);
        assert_eq!(photos("alone"), photos("whole"), "{name}");
    }
    succeed(&mut neighbours("alone"));
    // A report holds more than these two files.
    fail(&mut neighbours("whole"), 3, &["is there and holds something else"]);
    std::fs::remove_file(scene.path("data/photo/007.png")).unwrap();
    fail(&mut neighbours("new"), 3, &["photo/007.png"]);
    assert!(!scene.path("new").exists());
}

/// A run and its qrels say what queries.csv says, read by their format's rules.
#[test]
fn a_run_scores_as_the_report_does_with_several_matches() {
    let scene = Scene::new();
    let mut eval = scene.eval("several");
    let said = succeed(eval.arg("--qrels").arg(scene.path("several.qrels")).arg("--trec"));
    assert!(said.contains("\nmap "), "{said}");
    let report = Report::read(&scene.path("several"), &Bootstrap::default()).unwrap();
    let truth = read_qrels(&scene.path("several/qrels.trec")).unwrap();
    let run = std::fs::read_to_string(scene.path("several/run.trec")).unwrap();
    for result in report.results() {
        let mut lines: Vec<(f64, &str)> = run
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|fields| fields[0] == result.query_id)
            .map(|fields| (fields[4].parse().unwrap(), fields[2]))
            .collect();
        lines.sort_by(|a, b| b.0.total_cmp(&a.0));
        assert_eq!(lines.len(), 24);
        let matches = &truth[&result.query_id];
        let places: Vec<usize> =
            (1..=24).filter(|&place| matches.iter().any(|id| id == lines[place - 1].1)).collect();
        assert_eq!((places[0], places.len()), (result.rank, 2), "{}", result.query_id);
        let precision = (1.0 / places[0] as f64 + 2.0 / places[1] as f64) / 2.0;
        assert!((precision - result.average_precision).abs() < 1e-12);
        // The photo that is depicted stands first among the matches, and clusters the queries.
        assert_eq!(result.truth_id, result.query_id.replace("sketch/", "photo/").split('-').next().unwrap());
    }
}

#[test]
fn three_reports_are_compared_and_different_ones_refused() {
    let scene = Scene::new();
    let reference = scene.path("reference");
    for (out, model) in [("a", "model"), ("b", "reference"), ("c", "model")] {
        let mut eval = program("sketchfind");
        eval.args(["eval", "--samples", "500", "--model"]).arg(scene.path(model)).arg("--data");
        eval.arg(scene.path("data")).arg("--out").arg(scene.path(out)).arg("--reference").arg(&reference);
        succeed(&mut eval);
    }
    let compare = |names: &[&str]| {
        let mut compare = program("sketchfind");
        compare.args(["compare", "--samples", "500"]).args(names.iter().map(|name| scene.path(name)));
        compare
    };
    let said = succeed(&mut compare(&["a", "b", "c"]));
    assert!(said.contains("Holm's for 3 comparisons") && said.contains("C - B"), "{said}");
    succeed(compare(&["a", "b"]).arg("--out").arg(scene.path("out")));
    assert_eq!(rows(&scene.path("out/comparison.csv")).len(), 4);
    let blamed = rows(&scene.path("out/attribution.csv"));
    let report = Report::read(&scene.path("b"), &Bootstrap::default()).unwrap();
    assert_eq!(blamed.len(), report.results().iter().filter(|result| result.rank > 1).count());
    assert_eq!(run(&mut compare(&["a"])).code, Some(2));
    // Another gallery, other queries.
    let mut other = program("sketchfind");
    toy::dataset(&scene.path("other"), 2, 23, 5).unwrap();
    other.args(["eval", "--model"]).arg(scene.path("model")).arg("--data").arg(scene.path("other"));
    succeed(other.arg("--out").arg(scene.path("d")));
    fail(&mut compare(&["a", "d"]), 3, &["queries only in the first: 2", "sketch/025-1"]);
    // The same ids of other pictures.
    toy::dataset(&scene.path("data"), 2, 24, 6).unwrap();
    succeed(&mut scene.eval("e"));
    fail(&mut compare(&["a", "e"]), 3, &["data sets differ in what images show"]);
}

#[test]
fn each_bad_input_has_one_error_and_nothing_is_written() {
    let scene = Scene::new();
    let refused = |change: &dyn Fn(&mut Command), parts: &[&str]| {
        let mut eval = scene.eval("bad");
        change(&mut eval);
        fail(&mut eval, 3, parts);
        assert!(!scene.path("bad").exists());
    };
    let write = |name: &str, text: &str| {
        std::fs::write(scene.path(name), text).unwrap();
        scene.path(name)
    };
    refused(
        &|eval| {
            eval.args(["-k", "0"]);
        },
        &["k of acc@k is 0"],
    );
    refused(
        &|eval| {
            eval.args(["--label", "style"]);
        },
        &["no column 'style'", "corners, artist"],
    );
    let labels = write("labels.csv", "id,style\nsketch/002-1,x\n");
    refused(
        &|eval| {
            eval.args(["--label", "style", "--labels"]).arg(&labels);
        },
        &["'sketch/003-1' has no label in the column 'style'"],
    );
    for (text, part) in [
        ("split,sketch,nearer,farther\ntest,002,003,999\n", "photo '999'"),
        ("split,sketch,nearer,farther\ntest,003,003,004\n", "more than one sketch of instance '003'"),
        ("split,sketch,nearer,farther\ntrain,000,000,001\n", "no triplet of the test split (1"),
        ("sketch,nearer\n002,003\n", "human-bad.csv"),
    ] {
        let path = write("human-bad.csv", text);
        refused(
            &|eval| {
                eval.arg("--human").arg(&path);
            },
            &[part],
        );
    }
    for (text, part) in [
        ("sketch/002-1 0 photo/002 1\n", "'sketch/003-1' has no match"),
        ("nobody 0 photo/002 1\n", "'nobody'"),
        ("one two\n", "line 1"),
    ] {
        let path = write("bad.qrels", text);
        refused(
            &|eval| {
                eval.arg("--qrels").arg(&path);
            },
            &[part],
        );
    }
    std::fs::remove_file(scene.path("strokes/004-1.svg")).unwrap();
    let strokes = scene.path("strokes");
    refused(
        &|eval| {
            eval.arg("--on-the-fly").arg("--strokes").arg(&strokes);
        },
        &["1 sketches of the test split are not in it", "sketch/004-1"],
    );
    refused(
        &|eval| {
            eval.arg("--against").arg(scene.path("nowhere"));
        },
        &["nowhere"],
    );
    refused(
        &|eval| {
            eval.arg("--reference").arg(scene.path("nowhere"));
        },
        &["card.json"],
    );
    assert_eq!(run(scene.eval("bad").arg("--on-the-fly")).code, Some(2));
}

/// Embeddings that `embed` wrote, taken in the model's place: the same figures, to the bit.
#[test]
fn ready_embeddings_have_the_report_of_their_model() {
    let scene = Scene::new();
    let embed = |modality: &str, out: &str| {
        let mut embed = program("sketchfind");
        embed.args(["embed", "--modality", modality, "--model"]).arg(scene.path("model"));
        succeed(embed.arg("--data").arg(scene.path("data")).arg("--out").arg(scene.path(out)));
    };
    embed("sketches", "s.npy");
    embed("photos", "p.npy");
    let ready = |out: &str| {
        let mut eval = program("sketchfind");
        eval.args(["eval", "--samples", "500", "--distance", "mse", "--embeddings"]);
        eval.arg(scene.path("s.npy")).arg(scene.path("p.npy"));
        eval.arg("--manifest").arg(scene.path("data/manifest.csv")).arg("--out").arg(scene.path(out));
        eval
    };
    let more = |eval: &mut Command| {
        eval.args(["--trec", "-k", "1,3", "--label", "corners", "--reference"]).arg(scene.path("reference"));
        eval.arg("--human").arg(scene.path("human.csv")).arg("--qrels").arg(scene.path("several.qrels"));
        succeed(eval)
    };
    let said = more(&mut scene.eval("by-model"));
    let of_ready = more(ready("by-file").args(["--name", "two words"]));
    // What it is called is the one difference, on the first line.
    assert!(of_ready.starts_with("two words on test: 36 sketches"), "{of_ready}");
    assert_eq!(said.split_once('\n').unwrap().1, of_ready.split_once('\n').unwrap().1);
    let files = |folder: &str| {
        let entries = std::fs::read_dir(scene.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(files("by-model"), files("by-file"));
    let mut n_tables = 0;
    for name in files("by-file").iter().filter(|name| name.ends_with(".csv")) {
        let table = |folder: &str| {
            let mut reader = csv::Reader::from_path(scene.path(folder).join(name)).unwrap();
            let is_of_model = |column: &str| ["model", "model_sha256"].contains(&column);
            let kept: Vec<bool> = reader.headers().unwrap().iter().map(|name| !is_of_model(name)).collect();
            let row = |row: csv::StringRecord| {
                row.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(cell, _)| cell.to_owned()).collect()
            };
            reader.records().map(|record| row(record.unwrap())).collect::<Vec<Vec<String>>>()
        };
        assert_eq!(table("by-model"), table("by-file"), "{name}");
        n_tables += 1;
    }
    assert_eq!(n_tables, 5);
    let text = |name: &str| std::fs::read_to_string(scene.path(name)).unwrap();
    assert_eq!(text("by-model/qrels.trec"), text("by-file/qrels.trec"));
    let without_tag = |name: &str| {
        text(name).lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(without_tag("by-model/run.trec"), without_tag("by-file/run.trec"));
    // Both may be compared.
    let mut compare = program("sketchfind");
    let said = succeed(
        compare.args(["compare", "--samples", "500"]).args([scene.path("by-model"), scene.path("by-file")]),
    );
    assert!(said.contains("only A right 0, only B right 0"), "{said}");
}

#[test]
fn ready_embeddings_that_do_not_fit_are_refused() {
    use sketchfind_core::embeddings::Embeddings;
    let scene = Scene::new();
    let data = sketchfind_core::dataset::Dataset::load(&scene.path("data")).unwrap();
    let test = sketchfind_core::dataset::Split::Test;
    let sketches: Vec<String> = data.sketches_in(test).map(|sketch| sketch.id.clone()).collect();
    let photos: Vec<String> = data.photos_in(test).map(|photo| photo.id.clone()).collect();
    let write = |name: &str, ids: &[String], width: usize| {
        let values = (0..ids.len() * width).map(|value| (value * 37 % 101) as f32).collect();
        Embeddings::new(ids.to_vec(), width, values).unwrap().save(&scene.path(name)).unwrap();
    };
    write("s.npy", &sketches, 3);
    write("p.npy", &photos, 3);
    let eval = |sketches: &str, photos: &str| {
        let mut eval = program("sketchfind");
        eval.args(["eval", "--distance", "cosine", "--data"]).arg(scene.path("data")).arg("--embeddings");
        eval.arg(scene.path(sketches)).arg(scene.path(photos)).arg("--out").arg(scene.path("out"));
        eval
    };
    // One that is missing, one too many, another width, no number, other ids than rows, no such file.
    write("fewer.npy", &sketches[1..], 3);
    fail(&mut eval("fewer.npy", "p.npy"), 3, &["fewer.npy", "1 of the 36 sketches (sketch/002-1)"]);
    write("fewer-photos.npy", &photos[..20], 3);
    fail(&mut eval("s.npy", "fewer-photos.npy"), 3, &["fewer-photos.npy", "4 of the 24 photos"]);
    write("more.npy", &[photos.clone(), sketches.clone()].concat(), 3);
    fail(&mut eval("s.npy", "more.npy"), 3, &["more.npy", "36 of its 60 ids are none of the photos"]);
    write("wide.npy", &photos, 4);
    fail(&mut eval("s.npy", "wide.npy"), 3, &["wide.npy", "4 wide", "s.npy' 3"]);
    std::fs::copy(scene.path("s.csv"), scene.path("nan.csv")).unwrap();
    let mut bytes = std::fs::read(scene.path("s.npy")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(scene.path("nan.npy"), bytes).unwrap();
    fail(&mut eval("nan.npy", "p.npy"), 3, &["nan.npy", "not finite (NaN) in row 35"]);
    std::fs::copy(scene.path("p.csv"), scene.path("nan.csv")).unwrap();
    fail(&mut eval("nan.npy", "p.npy"), 3, &["nan.csv", "24 ids for the 36 rows"]);
    fail(&mut eval("nowhere.npy", "p.npy"), 3, &["nowhere.npy"]);
    assert!(!scene.path("out").exists());
    // Usage: a distance is told, and what needs a network is not asked of a file.
    for wrong in [&["--model", "m"][..], &["--pages"], &["--frame", "card"], &["--distance", "l2"]] {
        assert_eq!(run(eval("s.npy", "p.npy").args(wrong)).code, Some(2), "{wrong:?}");
    }
    let mut without = program("sketchfind");
    without.args(["eval", "--data", "d", "--out", "o", "--embeddings", "s.npy", "p.npy"]);
    assert_eq!(run(&mut without).code, Some(2));
    succeed(&mut eval("s.npy", "p.npy"));
}

/// Runs that `eval` wrote, compared: the numbers of the reports, to the last digit that is written.
#[test]
fn runs_are_compared_as_their_reports_are() {
    let scene = Scene::new();
    for (out, model) in [("a", "model"), ("b", "reference")] {
        let mut eval = program("sketchfind");
        eval.args(["eval", "--samples", "500", "-k", "1,3", "--trec", "--model"]).arg(scene.path(model));
        eval.arg("--data").arg(scene.path("data")).arg("--out").arg(scene.path(out));
        succeed(eval.arg("--qrels").arg(scene.path("several.qrels")));
    }
    let runs = |names: [&str; 2], qrels: &str| {
        let mut compare = program("sketchfind");
        compare.args(["compare", "--samples", "500", "-k", "1,3", "--qrels"]).arg(scene.path(qrels));
        compare.arg("--out").arg(scene.path("of-runs")).arg("--run").args(names.map(|name| scene.path(name)));
        compare
    };
    let mut reports = program("sketchfind");
    reports.args(["compare", "--samples", "500"]).args([scene.path("a"), scene.path("b")]);
    let said = succeed(reports.arg("--out").arg(scene.path("of-reports")));
    let of_runs = succeed(&mut runs(["a/run.trec", "b/run.trec"], "a/qrels.trec"));
    // Models and runs have names of their own, on the first two lines.
    let figures = |said: &str| said.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(figures(&of_runs), figures(&said));
    let numbers = |folder: &str| {
        let rows = rows(&scene.path(folder).join("comparison.csv"));
        rows.iter().map(|row| row.iter().take(18).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
    };
    assert_eq!(numbers("of-reports").len(), 3);
    assert_eq!(numbers("of-reports"), numbers("of-runs"));

    // A run that is cut off: what it does not hold counts as not found, and is said.
    let cut = |from: &str, to: &str| {
        let text = std::fs::read_to_string(scene.path(from)).unwrap();
        let is_kept = |line: &&str| line.split(' ').nth(3).unwrap().parse::<usize>().unwrap() <= 2;
        let kept: Vec<&str> = text.lines().filter(is_kept).collect();
        std::fs::write(scene.path(to), kept.join("\n")).unwrap();
    };
    cut("a/run.trec", "cut.trec");
    let said = run(&mut runs(["cut.trec", "b/run.trec"], "a/qrels.trec"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.err.contains("cut.trec' holds no match of") && said.err.contains("of 36 queries"),
        "{said:?}"
    );

    // What does not fit together is refused with its place.
    let text = std::fs::read_to_string(scene.path("b/run.trec")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(scene.path(name), text).unwrap();
    let refused = |parts: &[&str]| fail(&mut runs(["a/run.trec", "bad.trec"], "a/qrels.trec"), 3, parts);
    write("bad.trec", &text.lines().skip(24).collect::<Vec<_>>().join("\n"));
    refused(&["bad.trec", "no line for 1 of the 36 queries"]);
    write(
        "bad.trec",
        &format!("{text}nobody Q0 photo/002 1 1 {}\n", text.trim_end().rsplit_once(' ').unwrap().1),
    );
    refused(&["bad.trec", "line 865: the qrels have no query 'nobody'"]);
    write("bad.trec", &text.replacen(" 24 ", " many ", 1));
    refused(&["bad.trec", "line 1, column", "'many'"]);
    write("bad.trec", &text.replace("photo/025", "photo/999"));
    refused(&["only in the second: 1 (photo/999)"]);
    write("bad.qrels", "sketch/002-1 0 photo/002\n");
    fail(&mut runs(["a/run.trec", "b/run.trec"], "bad.qrels"), 3, &["bad.qrels", "line 1, column 25"]);
    let mut wrong = program("sketchfind");
    assert_eq!(run(wrong.args(["compare", "--run", "a", "b"])).code, Some(2));
    let mut wrong = program("sketchfind");
    assert_eq!(run(wrong.args(["compare", "a", "b", "--run", "c", "d", "--qrels", "e"])).code, Some(2));
    let mut wrong = program("sketchfind");
    assert_eq!(run(wrong.args(["compare", "a", "b", "-k", "1"])).code, Some(2));
}

/// `docs/reading.md` has the columns and types of every file, in order.
#[test]
fn the_page_on_reading_says_what_the_files_hold() {
    let scene = Scene::new();
    for (out, model) in [("report", "model"), ("baseline", "reference")] {
        let mut eval = program("sketchfind");
        eval.args([
            "eval",
            "--samples",
            "100",
            "--on-the-fly",
            "2",
            "--robustness",
            "1",
            "--label",
            "corners",
        ]);
        eval.arg("--model").arg(scene.path(model)).arg("--data").arg(scene.path("data"));
        eval.arg("--reference").arg(scene.path("reference")).arg("--strokes").arg(scene.path("strokes"));
        succeed(eval.arg("--out").arg(scene.path(out)));
    }
    let mut compare = program("sketchfind");
    compare.args(["compare", "--samples", "100"]).args([scene.path("baseline"), scene.path("report")]);
    succeed(compare.arg("--out").arg(scene.path("compared")));
    let mut calibrate = program("sketchfind");
    let model = sketchfind_tests::surroundings::checkout().join("models/zoo/general-mobilenet_v2");
    calibrate.args(["calibrate", "--samples", "100", "--folds", "3", "--false-answers", "0.3"]);
    calibrate.arg("--model").arg(model).arg("--data").arg(scene.path("data"));
    calibrate.arg("--out").arg(scene.path("c.json"));
    succeed(calibrate.arg("--report").arg(scene.path("calibrated")));

    let page = include_str!("../../docs/reading.md");
    let columns = page.split_once("## Columns").unwrap().1.split_once("Files without a header").unwrap().0;
    let mut n_files = 0;
    for line in columns.lines().filter(|line| line.starts_with("| `")) {
        let [_, file, columns, _] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let file = file.trim().trim_matches('`');
        // It needs a model with a frame; a test of its own has its columns.
        if file == "pages.csv" {
            continue;
        }
        let said: Vec<(&str, &str)> = columns
            .split(", ")
            .map(|column| column.trim().trim_start_matches('`').split_once("` ").unwrap())
            .collect();
        let folders = ["report", "compared", "calibrated"].map(|folder| scene.path(folder).join(file));
        let path = folders.iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("no {file}"));
        let mut reader = csv::Reader::from_path(path).unwrap();
        let names: Vec<&str> = said.iter().map(|(name, _)| *name).collect();
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), names, "{file}");
        let mut n_rows = 0;
        for record in reader.records() {
            for (cell, (name, kind)) in record.unwrap().iter().zip(&said) {
                let is_of = match kind.trim_end_matches('?') {
                    "int" => cell.parse::<i64>().is_ok(),
                    "float" => cell.parse::<f64>().is_ok_and(f64::is_finite),
                    "bool" => cell.parse::<bool>().is_ok(),
                    "str" => !cell.is_empty(),
                    other => panic!("{file}: {name} is {other}"),
                };
                assert!(is_of || (kind.ends_with('?') && cell.is_empty()), "{file}: {name} {kind}: '{cell}'");
            }
            n_rows += 1;
        }
        assert!(n_rows > 0, "{file}");
        n_files += 1;
    }
    // As many as report-files.md has, but for that of pages.
    let known = include_str!("../../docs/report-files.md");
    let table = known.split_once("| file | a row is").unwrap().1.split_once("\n\n").unwrap().0;
    assert_eq!(n_files + 1, table.matches(".csv`").count());
}

/// The page is laid out by a browser without reaching for anything, and fits a phone.
fn in_a_browser(page: &Path) {
    let pictures = tempfile::tempdir().unwrap();
    let Some(mut node) = browser_test("tests/doors/report.mjs") else { return };
    let text = succeed(node.arg(page).arg(pictures.path()));
    assert!(text.contains("Best, typical and worst queries") && text.contains("✓ true"), "{text:.300}");
    for (width, height) in [(1000, 1400), (500, 1400)] {
        let picture = pictures.path().join(format!("{width}.png"));
        let image = Image::open(&picture, DecodeLimits::default()).unwrap();
        assert_eq!((image.width(), image.height()), (width, height));
        // Something is drawn, on the left and in the middle, from top to bottom; nothing runs over the right edge, where
        // the page has its margin.
        let ink = |columns: std::ops::Range<u32>, rows: std::ops::Range<u32>| {
            rows.flat_map(|y| columns.clone().map(move |x| (x, y)))
                .filter(|&(x, y)| image.pixels()[((y * width + x) * 3) as usize] < 160)
                .count()
        };
        for band in 0..4 {
            let top = band * height / 4;
            assert!(ink(0..width / 2, top..top + height / 4) > 100, "nothing in band {band} at {width}");
        }
        assert_eq!(ink(width - 12..width, 0..height), 0, "something runs over the right edge at {width}");
    }
}
