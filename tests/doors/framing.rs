//! Drawings and photos as people have them: anywhere on a page, on any ground.

use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind::{Embedder, EmbedderOptions};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::frame;
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::random::Stream;
use sketchfind_data::pages::Page;
use sketchfind_tests::http::Server;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::surroundings;

use crate::serve::{JSON, PNG, refused, serve};

/// The released model, whose card states a frame.
fn model() -> PathBuf {
    surroundings::checkout().join("models/zoo/general-mobilenet_v2")
}

fn probe(name: &str) -> Image {
    Image::open(model().join("probe").join(name), DecodeLimits::default()).unwrap()
}

fn on(page: Page, image: &Image) -> Image {
    page.of(image, &mut Stream::new(1, "framing", &[])).unwrap()
}

fn write(image: &Image, path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, image.to_png().unwrap()).unwrap();
}

fn build(photos: &Path, gallery: &Path, more: &[&str]) -> Command {
    let mut build = program("sketchfind");
    build.args(["index", "build", "--model"]).arg(model()).arg("--photos").arg(photos);
    build.arg("--out").arg(gallery).args(more);
    build
}

/// A gallery of the probe's photos as `page` makes them.
fn gallery(folder: &Path, page: Option<Page>, more: &[&str]) -> PathBuf {
    let (photos, gallery) = (folder.join("photos"), folder.join("gallery"));
    for number in 1..=4 {
        let photo = probe(&format!("photo-{number}.png"));
        let photo = page.map_or(photo.clone(), |page| on(page, &photo));
        write(&photo, &photos.join(format!("{number}.png")));
    }
    succeed(&mut build(&photos, &gallery, more));
    gallery
}

fn query(gallery: &Path, sketch: &Path, more: &[&str]) -> Command {
    let mut query = program("sketchfind");
    query.args(["query", "--format", "csv", "-k", "4", "--gallery"]).arg(gallery).arg(sketch).args(more);
    query
}

/// The distance of each photo, by its id.
fn distances(answer: &str) -> Vec<(String, f64)> {
    let mut reader = csv::Reader::from_reader(answer.as_bytes());
    let mut rows: Vec<(String, f64)> = reader
        .records()
        .map(|row| row.unwrap())
        .map(|row| (row[2].to_owned(), row[3].parse().unwrap()))
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

fn furthest(a: &[(String, f64)], b: &[(String, f64)]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a.1 - b.1).abs()).fold(0.0, f64::max)
}

#[test]
fn a_drawing_is_found_wherever_it_lies_on_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = gallery(folder.path(), None, &[]);
    for number in 1..=4 {
        let drawing = probe(&format!("sketch-{number}.png"));
        let path = folder.path().join("sketch.png");
        write(&drawing, &path);
        let expected = distances(&succeed(&mut query(&gallery, &path, &[])));
        for page in Page::PLACES.into_iter().chain([Page::DarkGround, Page::ShadowedPencil, Page::Red]) {
            write(&on(page, &drawing), &path);
            let framed = distances(&succeed(&mut query(&gallery, &path, &[])));
            let off = distances(&succeed(&mut query(&gallery, &path, &["--frame", "off"])));
            let moved = furthest(&framed, &expected);
            assert!(moved < 0.12, "{page:?} of sketch-{number}: {framed:?}, expected {expected:?}");
            if page == Page::LargePage {
                assert!(furthest(&off, &expected) > 2.0 * moved, "the page makes no difference");
            }
        }
    }
    let path = model().join("probe/sketch-1.png");
    fail(&mut query(&gallery, &path, &["--frame", "2"]), 2, &["'2'", "0.2 to 1"]);
    // A share of one's own is another frame than the card's.
    let [card, own] =
        [&[][..], &["--frame", "0.4"]].map(|frame| distances(&succeed(&mut query(&gallery, &path, frame))));
    assert!(furthest(&card, &own) > 0.01);
}

#[test]
fn a_blank_drawing_is_refused_by_every_door() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = gallery(folder.path(), None, &[]);
    let flat = |value: u8| Image::new(200, 100, vec![value; 200 * 100 * 3]).unwrap();
    let mut dot = vec![255; 200 * 200 * 3];
    dot[3 * (100 * 200 + 100)..][..9].fill(0);
    let pages = [flat(255), flat(0), flat(128), Image::new(200, 200, dot).unwrap()];
    let server = Server::start(&mut serve(&gallery));
    for (number, page) in pages.iter().enumerate() {
        let path = folder.path().join(format!("blank-{number}.png"));
        write(page, &path);
        fail(&mut query(&gallery, &path, &[]), 3, &["nothing is drawn", &format!("blank-{number}.png")]);
        let drawn = model().join("probe/sketch-1.png");
        let said = run(query(&gallery, &path, &["--skip-broken"]).arg(&drawn));
        assert_eq!((said.code, said.out.lines().count()), (Some(5), 5), "{}", said.err);
        succeed(&mut query(&gallery, &path, &["--frame", "off"]));
        refused(&server.ask("POST", "/api/v1/query", &[PNG], &std::fs::read(&path).unwrap()), 422, "blank");
    }
    let speck = br#"{"strokes": {"canvas": [400, 400], "polylines": [[[200, 200], [201, 201]]]}}"#;
    refused(&server.ask("POST", "/api/v1/query", &[JSON], speck), 422, "blank");
}

#[test]
fn small_products_in_large_photos_are_cut_out() {
    let sketch = model().join("probe/sketch-1.png");
    let of = |page, more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let gallery = gallery(folder.path(), page, more);
        distances(&succeed(&mut query(&gallery, &sketch, &[])))
    };
    let expected = of(None, &["--frame", "off"]);
    assert!(furthest(&of(None, &[]), &expected) < 0.12, "photos as in training stay nearly as they are");
    let framed = of(Some(Page::HalfSize), &[]);
    let off = of(Some(Page::HalfSize), &["--frame", "off"]);
    assert!(furthest(&framed, &expected) < 0.15, "{framed:?}, expected {expected:?}");
    assert!(furthest(&off, &expected) > 2.0 * furthest(&framed, &expected), "{off:?}");
}

#[test]
fn a_file_of_labels_says_where_the_product_is() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, shop, boxes) =
        (folder.path().join("photos"), folder.path().join("shop"), folder.path().join("boxes.csv"));
    // A ground that shows nothing: stripes.
    let photo = probe("photo-1.png");
    let side = photo.width();
    let pixels = (0..4 * side * side).flat_map(|at| {
        let (x, y) = (at % (2 * side), at / (2 * side));
        if x < side && y < side {
            let at = 3 * (y * side + x) as usize;
            [photo.pixels()[at], photo.pixels()[at + 1], photo.pixels()[at + 2]]
        } else {
            [if (x / 4 + y / 4) % 2 == 0 { 20 } else { 230 }; 3]
        }
    });
    write(&Image::new(2 * side, 2 * side, pixels.collect()).unwrap(), &photos.join("1.png"));
    let sketch = model().join("probe/sketch-1.png");
    let of = |rows: &str| {
        std::fs::write(&boxes, rows).unwrap();
        succeed(build(&photos, &shop, &["--fresh"]).arg("--labels").arg(&boxes));
        distances(&succeed(&mut query(&shop, &sketch, &[])))[0].1
    };
    let whole = of("id,label\n1.png,red\n");
    let part = of(&format!("id,left,top,width,height\n1.png,0,0,{side},{side}\n"));
    assert!(part < whole - 0.05, "{part} with its box, {whole} without");
    // Another box of the same file is another picture, and a label beside it is kept.
    let mut add = program("sketchfind");
    add.args(["index", "add", "--gallery"])
        .arg(&shop)
        .arg("--photos")
        .arg(&photos)
        .arg("--labels")
        .arg(&boxes);
    std::fs::write(&boxes, format!("id,label,left,top,width,height\n1.png,blue,0,0,{},{side}\n", side / 2))
        .unwrap();
    assert!(run(&mut add).err.contains("1 replaced"));
    let answer = succeed(&mut query(&shop, &sketch, &["--any-label", "blue"]));
    assert!((distances(&answer)[0].1 - part).abs() > 0.001);
    for (rows, reason) in [
        ("id,left,top,width,height\n1.png,0,0,9\n".to_owned(), "boxes.csv"),
        ("id,left,top,width,height\n1.png,0,0,9,\n".to_owned(), "lacks one"),
        ("id,colour\n1.png,red\n".to_owned(), "column label"),
        ("id,left,top,width,height\n1.png,0,0,9,9\n1.png,0,0,8,8\n".to_owned(), "two boxes"),
        (format!("id,left,top,width,height\n1.png,0,0,9,{}\n", 3 * side), "a part of its"),
    ] {
        std::fs::write(&boxes, rows).unwrap();
        fail(&mut add, 3, &[reason]);
    }
    // A gallery that takes photos as they are has no use for a box.
    std::fs::write(&boxes, "id,left,top,width,height\n1.png,0,0,9,9\n").unwrap();
    fail(
        build(&photos, &shop, &["--fresh", "--frame", "off"]).arg("--labels").arg(&boxes),
        3,
        &["as they are"],
    );
}

#[test]
fn an_evaluation_tells_what_pages_cost() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut manifest = String::from("id,modality,instance,split,path\n");
    for number in 1..=4 {
        for kind in ["photo", "sketch"] {
            write(&probe(&format!("{kind}-{number}.png")), &data.join(format!("{kind}/{number}.png")));
            manifest.push_str(&format!("{kind}/{number},{kind},{number},test,{kind}/{number}.png\n"));
        }
    }
    std::fs::write(data.join("manifest.csv"), manifest).unwrap();
    let report = folder.path().join("report");
    let eval = |model: &Path| {
        let mut eval = program("sketchfind");
        eval.args(["eval", "--pages", "--samples", "100", "--model"]).arg(model).arg("--data").arg(&data);
        eval.arg("--out").arg(&report);
        eval
    };
    let said = succeed(&mut eval(&model()));
    assert!(said.contains("sketch half_size") && said.contains("photo large_page"), "{said}");
    let mut reader = csv::Reader::from_path(report.join("pages.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    // Twelve pages for sketches and five for photos, as they are and framed, each with three figures.
    assert_eq!(rows.len(), (12 + 5) * 2 * 3);
    let acc1 = |page: &str, framed: &str| -> f64 {
        let is_it = |row: &&csv::StringRecord| &row[1] == "sketch" && &row[2] == page && &row[3] == framed;
        rows.iter().filter(is_it).find(|row| &row[4] == "acc@1").unwrap()[5].parse().unwrap()
    };
    assert!(acc1("large_page", "true") >= acc1("own", "false"), "{said}");
    // A model without a frame cannot be asked for it.
    let fixture = surroundings::checkout().join("runtime/tests/fixtures/mean8");
    fail(&mut eval(&fixture), 3, &["states no frame"]);
}

/// Measured without a frame unless it is asked for, and then as queries are framed.
#[test]
fn measurements_frame_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut manifest = String::from("id,modality,instance,split,path\n");
    for number in 1..=4 {
        write(&probe(&format!("photo-{number}.png")), &data.join(format!("photo/{number}.png")));
        let sketch = probe(&format!("sketch-{number}.png"));
        write(&on(Page::HalfSize, &sketch), &data.join(format!("sketch/{number}.png")));
        for kind in ["photo", "sketch"] {
            manifest.push_str(&format!("{kind}/{number},{kind},{number},test,{kind}/{number}.png\n"));
        }
    }
    std::fs::write(data.join("manifest.csv"), manifest).unwrap();
    let embed = |name: &str, arguments: &[&str]| -> Vec<f32> {
        let out = folder.path().join(name);
        let mut embed = program("sketchfind");
        embed.args(["embed", "--modality", "sketches", "--model"]).arg(model()).arg("--data").arg(&data);
        succeed(embed.args(arguments).arg("--out").arg(&out));
        Embeddings::load(&out).unwrap().rows().flatten().copied().collect()
    };
    let (as_they_are, off) = (embed("plain.npy", &[]), embed("off.npy", &["--frame", "off"]));
    assert_eq!(as_they_are, off);
    let framed = embed("framed.npy", &["--frame", "card"]);
    assert_ne!(as_they_are, framed);
    let mut embedder = Embedder::open(model(), EmbedderOptions::cpu()).unwrap();
    let share = embedder.card().frame.unwrap().sketch;
    let pictures: Vec<Image> = (1..=4)
        .map(|number| {
            let file = data.join(format!("sketch/{number}.png"));
            frame::sketch(&frame::open_sketch(&file, DecodeLimits::default()).unwrap(), share).unwrap()
        })
        .collect();
    assert_eq!(framed, embedder.embed(&pictures).unwrap());
    let eval = |name: &str, arguments: &[&str]| {
        let mut eval = program("sketchfind");
        eval.args(["eval", "--samples", "100", "--model"]).arg(model()).arg("--data").arg(&data);
        eval.args(arguments).arg("--out").arg(folder.path().join(name));
        eval
    };
    let said = succeed(&mut eval("report", &["--frame", "card"]));
    assert!(said.contains("pictures framed (card)"), "{said}");
    assert!(!succeed(&mut eval("plain", &[])).contains("framed"));
    fail(&mut eval("both", &["--frame", "card", "--pages"]), 2, &["--pages", "--frame"]);
}
