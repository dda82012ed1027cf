//! The pictures of figures in the documents: drawn from the CSV files of studies, and from the tables of the pages, which hold what was
//! measured.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::chart::{Axis, Estimate, Series, estimates, lines};
use crate::{checkout, say};

/// Draws all pictures into `docs/plots`.
pub(crate) fn draw() -> Result<()> {
    for (name, svg) in all()? {
        let path = path(name);
        fs::create_dir_all(path.parent().context("a picture has a folder")?)?;
        fs::write(&path, svg).with_context(|| format!("cannot write '{}'", path.display()))?;
        say::line(&path.display().to_string());
    }
    Ok(())
}

/// The pictures that are not what their figures give now.
pub(crate) fn faults() -> Result<Vec<String>> {
    let is_stale = |name: &str, svg: &str| fs::read_to_string(path(name)).map_or(true, |kept| kept != svg);
    let stale = all()?.into_iter().filter(|(name, svg)| is_stale(name, svg));
    Ok(stale
        .map(|(name, _)| format!("docs/plots/{name}.svg is not what its figures give: cargo xtask plots"))
        .collect())
}

fn path(name: &str) -> PathBuf {
    checkout::root().join("docs/plots").join(name).with_extension("svg")
}

fn all() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("accuracy", accuracy()?),
        ("ingredients", ingredients()?),
        ("methods", methods()?),
        ("on-the-fly", on_the_fly()?),
        (
            "recall-100000",
            recall("100000 x 512", &FAST, "100,000 photos of 512 numbers: recall against speed, one thread")?,
        ),
        (
            "recall-20000",
            recall(
                "20000 x 2048",
                &SLOW,
                "20,000 photos of 2,048 numbers: recall against speed, one thread",
            )?,
        ),
        ("growth", growth()?),
    ])
}

/// Data sets of the studies, with their names for people.
const SETS: [(&str, &str); 3] =
    [("chair-v1", "QMUL-Chair-V1"), ("shoe-v1", "QMUL-Shoe-V1"), ("shoe-photos-304", "304 shoe photos")];

fn accuracy() -> Result<String> {
    let [unseen, trained] = [summary("general")?, summary("pairs")?];
    let mut rows = Vec::new();
    for (set, name) in SETS {
        for (kind, (study, method)) in [(&unseen, "general"), (&trained, "recipe")].into_iter().enumerate() {
            let row = find(study, set, method)?;
            rows.push(Estimate { name: format!("{name}, n = {}", row.n_queries), kind, value: row.acc1 });
        }
    }
    let legend = ["never saw the kind", "trained by the recipe for pairs"];
    Ok(estimates("acc@1, means of three seeds, 95 % intervals", &legend, &rows))
}

fn ingredients() -> Result<String> {
    let study = summary("ingredients")?;
    let changes = [
        ("recipe", "the recipe"),
        ("no-pseudo-sketches", "no pseudo-sketches"),
        ("average-pooling", "average pooling"),
        ("no-average", "no average of the weights"),
        ("no-augmentation", "no augmentation but mirroring"),
        ("imagenet-start", "begins with ImageNet's weights"),
        ("triplet-random", "triplet loss"),
        ("pixels-128", "128 pixels in place of 320"),
    ];
    if study.iter().filter(|row| row.checkpoint == "last").count() != changes.len() {
        bail!("docs/studies/ingredients has other methods than its picture");
    }
    let rows = changes.iter().map(|&(method, name)| {
        let kind = usize::from(method != "recipe");
        Ok(Estimate { name: name.into(), kind, value: find(&study, "chair-v1", method)?.acc1 })
    });
    let rows: Vec<Estimate> = rows.collect::<Result<_>>()?;
    Ok(estimates("QMUL-Chair-V1: acc@1 with one part of the recipe changed, n = 97 x 3 seeds", &[], &rows))
}

fn methods() -> Result<String> {
    let names = [
        ("baseline", "baseline, rate 0.001"),
        ("baseline-0.003", "baseline, 0.003"),
        ("multitask", "multi-task, 0.003"),
        ("meta", "meta, 0.003"),
    ];
    let mut rows = Vec::new();
    for (kind, (study, network)) in
        [("proportion", "MobileNetV2"), ("resnet50", "ResNet50")].into_iter().enumerate()
    {
        let study = summary(study)?;
        for (method, name) in names {
            let value = find(&study, "all", method)?.acc1;
            rows.push(Estimate { name: format!("{network}, {name}"), kind, value });
        }
    }
    let title = "The methods of the paper: acc@1, mean of three sets, n = 524 x 3 seeds";
    Ok(estimates(title, &["MobileNetV2, 9 to 15 epochs", "ResNet50, a hundred steps"], &rows))
}

fn on_the_fly() -> Result<String> {
    let table = table("docs/results/strokes.md", "share drawn")?;
    let (shares, rows) = table.split_first().context("the table has a head")?;
    let shares = numbers(&shares[1..])?;
    let series = rows.iter().map(|row| {
        let points = shares.iter().copied().zip(numbers(&row[1..])?).collect();
        Ok(Series { name: row[0].trim_end_matches(", B").to_owned(), points })
    });
    let across = Axis {
        name: "share of the strokes that is drawn",
        low: 0.0,
        high: 1.0,
        is_log: false,
        ticks: &[(0.2, "20 %"), (0.4, "40 %"), (0.6, "60 %"), (0.8, "80 %"), (1.0, "100 %")],
    };
    let up = Axis {
        name: "",
        low: 0.0,
        high: 1.0,
        is_log: false,
        ticks: &[(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")],
    };
    let series: Vec<Series> = series.collect::<Result<_>>()?;
    Ok(lines("While a sketch is drawn: 223 sketches of 100 chairs, one seed", &across, &up, &series))
}

const FAST: [(f64, &str); 4] = [(0.0, "0"), (4000.0, "4,000"), (8000.0, "8,000"), (12000.0, "12,000")];
const SLOW: [(f64, &str); 5] =
    [(0.0, "0"), (2000.0, "2,000"), (4000.0, "4,000"), (6000.0, "6,000"), (8000.0, "8,000")];

fn recall(matrix: &str, ticks: &'static [(f64, &'static str)], title: &str) -> Result<String> {
    let table = table("docs/benchmarks.md", "recall@10")?;
    let column = |name: &str| {
        let place = table[0].iter().position(|head| head == name);
        place.with_context(|| format!("docs/benchmarks.md: the table of graphs has no column '{name}'"))
    };
    let (index, recall, speed) = (column("index")?, column("recall@10")?, column("one thread, queries / s")?);
    let mut series: Vec<Series> = Vec::new();
    for row in table[1..].iter().filter(|row| row[0] == matrix) {
        let [found, asked] = numbers(&[row[recall].clone(), row[speed].clone()])?[..] else {
            bail!("two numbers")
        };
        match series.iter_mut().find(|series| series.name == row[index]) {
            Some(series) => series.points.push((found, asked)),
            None => series.push(Series { name: row[index].clone(), points: vec![(found, asked)] }),
        }
    }
    let across = Axis {
        name: "recall@10",
        low: 0.945,
        high: 0.995,
        is_log: false,
        ticks: &[(0.95, "0.95"), (0.96, "0.96"), (0.97, "0.97"), (0.98, "0.98"), (0.99, "0.99")],
    };
    let high = ticks.last().context("an axis has ticks")?.0;
    let up = Axis { name: "queries / s", low: 0.0, high, is_log: false, ticks };
    Ok(lines(title, &across, &up, &series))
}

fn growth() -> Result<String> {
    let table = table("docs/benchmarks.md", "photos as anchors")?;
    let mut series: Vec<Series> =
        table[0][2..5].iter().map(|name| Series { name: name.clone(), points: Vec::new() }).collect();
    for row in &table[1..] {
        let photos = numbers(&row[..1])?[0];
        for (series, secs) in series.iter_mut().zip(numbers(&row[2..5])?) {
            series.points.push((photos, secs));
        }
    }
    let across = Axis {
        name: "photos",
        low: 900.0,
        high: 22_000.0,
        is_log: true,
        ticks: &[(1e3, "1,000"), (2e3, "2,000"), (4e3, "4,000"), (8e3, "8,000"), (2e4, "20,000")],
    };
    let up = Axis {
        name: "seconds",
        low: 0.1,
        high: 100.0,
        is_log: true,
        ticks: &[(0.1, "0.1"), (1.0, "1"), (10.0, "10"), (100.0, "100")],
    };
    Ok(lines("Statistics of all triplets of photos: time by their number", &across, &up, &series))
}

/// A row of a study's `summary.csv`.
struct Row {
    dataset: String,
    method: String,
    checkpoint: String,
    n_queries: String,
    acc1: [f64; 3],
}

fn summary(study: &str) -> Result<Vec<Row>> {
    let path = checkout::root().join("docs/studies").join(study).join("summary.csv");
    let of_file = || format!("cannot read '{}'", path.display());
    let mut reader = csv::Reader::from_path(&path).with_context(of_file)?;
    let heads = reader.headers().with_context(of_file)?.clone();
    let rows = reader.records().map(|record| {
        let record = record.with_context(of_file)?;
        let cell = |name: &str| {
            let place = heads.iter().position(|head| head == name);
            let cell = place.and_then(|place| record.get(place));
            cell.map(str::to_owned).with_context(|| format!("'{}' has no column '{name}'", path.display()))
        };
        let number = |name: &str| -> Result<f64> {
            let cell = cell(name)?;
            cell.parse().with_context(|| format!("'{}': {name} is '{cell}'", path.display()))
        };
        Ok(Row {
            dataset: cell("dataset")?,
            method: cell("method")?,
            checkpoint: cell("checkpoint")?,
            n_queries: cell("n_queries")?,
            acc1: [number("acc1")?, number("acc1_low")?, number("acc1_high")?],
        })
    });
    rows.collect()
}

/// What a method found on a data set at the last epoch.
fn find<'a>(rows: &'a [Row], dataset: &str, method: &str) -> Result<&'a Row> {
    let mut of_last = rows.iter().filter(|row| row.checkpoint == "last");
    let found = of_last.find(|row| row.dataset == dataset && row.method == method);
    found.with_context(|| format!("no summary has '{method}' on '{dataset}' at the last epoch"))
}

/// The first table of a page whose head has `head`: its rows, the head first.
fn table(page: &str, head: &str) -> Result<Vec<Vec<String>>> {
    let text =
        fs::read_to_string(checkout::root().join(page)).with_context(|| format!("cannot read '{page}'"))?;
    let found = tables(&text)
        .into_iter()
        .find(|table| table.first().is_some_and(|row| row.iter().any(|cell| cell == head)));
    found.with_context(|| format!("{page} has no table with '{head}' in its head"))
}

fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    let mut cell: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Table(_)) => tables.push(Vec::new()),
            Event::Start(Tag::TableHead | Tag::TableRow) => {
                tables.iter_mut().last().into_iter().for_each(|table| table.push(Vec::new()))
            }
            Event::Start(Tag::TableCell) => cell = Some(String::new()),
            Event::End(TagEnd::TableCell) => {
                let row = tables.iter_mut().last().and_then(|table| table.last_mut());
                row.into_iter().for_each(|row| row.extend(cell.take()));
            }
            Event::Text(words) | Event::Code(words) => cell.iter_mut().for_each(|cell| cell.push_str(&words)),
            _ => {}
        }
    }
    tables
}

/// The numbers that cells begin with, without what parts thousands and without their unit.
fn numbers(cells: &[String]) -> Result<Vec<f64>> {
    let number = |cell: &String| {
        let digits = cell.split(' ').next().unwrap_or_default().replace(',', "");
        digits.parse().with_context(|| format!("'{cell}' is no number"))
    };
    cells.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_page_are_read_with_their_heads() {
        let text = "| a | `b` |\n| --- | --- |\n| 1,000 | 2.5 s |\n\nwords\n\n| c |\n| --- |\n";
        let expected = [vec![vec!["a", "b"], vec!["1,000", "2.5 s"]], vec![vec!["c"]]];
        assert_eq!(tables(text), expected);
        assert_eq!(numbers(&tables(text)[0][1]).unwrap(), [1000.0, 2.5]);
        assert!(numbers(&["x".into()]).is_err());
    }

    #[test]
    fn the_pictures_are_what_their_figures_give() {
        assert_eq!(faults().unwrap(), Vec::<String>::new());
        let pictures = all().unwrap();
        let (_, accuracy) = pictures.iter().find(|(name, _)| *name == "accuracy").unwrap();
        assert!(accuracy.contains("81.1 %") && accuracy.contains("n = 312"), "{accuracy}");
        let (_, recall) = pictures.iter().find(|(name, _)| *name == "recall-20000").unwrap();
        assert_eq!(recall.matches("<polyline").count(), 4);
    }
}
