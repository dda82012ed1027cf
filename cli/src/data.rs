//! `sketchfind data`: check, stats, import.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use sketchfind_core::dataset::{Checked, Dataset, Split};
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_data::Layout;

use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::progress::{Bar, say, warn};
use crate::{Format, output};

/// The paragraph of `data import --help` that lists the layouts.
pub(crate) const LAYOUTS: &str = "\
Layouts:
  plain            folders photo/ and sketch/; a sketch is called as its photo, or that and -N or _N;
                   splits are folders train/ and test/ in both, or lists train.txt and test.txt, or drawn
  manifest         a manifest.csv of id,modality,instance,split,path; files are gathered
  qmul-v1          QMUL-Shoe-V1, Chair-V1, Handbag: train/ and test/, each with images/ and sketches/
  qmul-v1-arrays   the same as MATLAB arrays: SET_sketch_db_train.mat, SET_image_db_train.mat, ...
  qmul-v2          QMUL-Shoe-V2, Chair-V2: *_photo/, *_sketch/, photo_train.txt, photo_test.txt
  qmul-v2-strokes  the same with a coordinate file, *_Coordinate, whose sketches are drawn
  sketchy          photo/tx_*/CATEGORY/ and sketch/tx_*/CATEGORY/, info/testset.txt";

/// Turns a download into a data set.
pub(crate) fn import(
    layout: &str,
    from: &Path,
    out: &Path,
    options: &sketchfind_data::Options,
) -> Result<Exit> {
    let layout = if layout == "auto" { None } else { Some(layout.parse::<Layout>()?) };
    let interrupt = Interrupt::listen()?;
    let found = sketchfind_data::find(from, layout, options)?;
    say(&format!("layout {}: {}", found.layout, found.counts()));
    found.notes.iter().for_each(|note| say(&format!("note: {note}")));
    let bar = Bar::new(found.entries.len(), "writing images");
    let dataset =
        found.write(out, Progress::new(&|n_done| bar.set(n_done)), Cancel::new(&|| interrupt.is_set()))?;
    let Some(dataset) = dataset else {
        say("interrupted: nothing was written");
        return Ok(Exit::Interrupted);
    };
    bar.finish();
    if !found.triplets.is_empty() {
        say(&format!("{} human triplets: human_triplets.csv", found.triplets.len()));
    }
    say(&format!("data set: '{}'", dataset.manifest().display()));
    Ok(Exit::Success)
}

/// One number of a data set.
#[derive(Serialize)]
struct StatRow {
    split: Split,
    what: String,
    n: usize,
}

/// Tells a data set's numbers.
pub(crate) fn stats(data: &Path, format: Format) -> Result<Exit> {
    let dataset = Dataset::load(data)?;
    let interrupt = Interrupt::listen()?;
    let mut rows = Vec::new();
    for split in [Split::Train, Split::Test] {
        let mut add = |what: String, n: usize| rows.push(StatRow { split, what, n });
        let photos: Vec<_> = dataset.photos_in(split).collect();
        let sketches: Vec<_> = dataset.sketches_in(split).collect();
        add("photos".into(), photos.len());
        add("sketches".into(), sketches.len());
        let mut per_photo: BTreeMap<&str, usize> =
            photos.iter().map(|photo| (photo.id.as_str(), 0)).collect();
        for sketch in &sketches {
            *per_photo.entry(&dataset.photo_of(sketch).id).or_default() += 1;
        }
        let mut of_count: BTreeMap<usize, usize> = BTreeMap::new();
        per_photo.values().for_each(|&count| *of_count.entry(count).or_default() += 1);
        for (count, n) in of_count {
            let word = if count == 1 { "sketch" } else { "sketches" };
            add(format!("photos with {count} {word}"), n);
        }
        let files = [
            ("photo", photos.iter().map(|photo| &photo.path).collect::<Vec<_>>()),
            ("sketch", sketches.iter().map(|sketch| &sketch.path).collect()),
        ];
        for (kind, paths) in files {
            let bar = Bar::new(paths.len(), &format!("reading images of {kind} files, {split}"));
            let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
            for (n_done, path) in paths.iter().enumerate() {
                if interrupt.is_set() {
                    return Ok(Exit::Interrupted);
                }
                let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
                let what = match Image::open(path, DecodeLimits::default()) {
                    Ok(image) => format!("{kind} {ending} {} x {}", image.width(), image.height()),
                    Err(_) => format!("{kind} {ending} broken"),
                };
                *kinds.entry(what).or_default() += 1;
                bar.set(n_done + 1);
            }
            bar.finish();
            kinds.into_iter().for_each(|(what, n)| add(what, n));
        }
    }
    let same = dataset.stats()?.same_photos;
    for photos in &same {
        let split = if photos.is_across_splits { "both splits" } else { "one split" };
        warn(&format!("warning: the photos {} are the same file, in {split}", photos.ids.join(", ")));
    }
    match format {
        Format::Table => {
            let mut table = vec![["split", "what", "n"].map(str::to_owned).to_vec()];
            table.extend(
                rows.iter().map(|row| vec![row.split.to_string(), row.what.clone(), row.n.to_string()]),
            );
            output::lines(output::table(&table, &[2]))?;
        }
        Format::Json => output::raw(serde_json::to_string_pretty(&rows)?)?,
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for row in &rows {
                writer.serialize(row)?;
            }
            output::raw(writer.into_inner().map_err(|e| e.into_error())?)?;
        }
    }
    Ok(Exit::Success)
}

pub(crate) fn check(data: &Path) -> Result<Exit> {
    let Checked { sound: dataset, faults } = Dataset::check(data)?;
    for fault in &faults {
        say(&format!("fault: {fault}"));
    }
    let interrupt = Interrupt::listen()?;
    let bar = Bar::new(dataset.photos().len() + dataset.sketches().len(), "checking images");
    let broken = dataset.check_images(
        DecodeLimits::default(),
        Progress::new(&|n_done| bar.set(n_done)),
        Cancel::new(&|| interrupt.is_set()),
    );
    if interrupt.is_set() {
        return Ok(Exit::Interrupted);
    }
    bar.finish();
    for file in &broken {
        say(&format!("broken: {}: {}", file.id, file.reason));
    }
    if !broken.is_empty() {
        say(&format!("{} images are broken", broken.len()));
    }
    if !faults.is_empty() {
        // Numbers of what is sound would look like those of the data set.
        say(&format!("{} faults in '{}'", faults.len(), dataset.manifest().display()));
        return Ok(Exit::BadInput);
    }
    let stats = dataset.stats()?;
    let mut rows = vec![
        ["split", "photos", "sketches", "photos without sketch", "most sketches of a photo"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for split in &stats.splits {
        let counts =
            [split.n_photos, split.n_sketches, split.n_photos_without_sketch, split.max_sketches_per_photo];
        let counts = counts.map(|count| count.to_string());
        rows.push(std::iter::once(split.split.to_string()).chain(counts).collect());
    }
    output::lines(output::table(&rows, &[1, 2, 3, 4]))?;
    for same in &stats.same_photos {
        let effect = if same.is_across_splits {
            "training sees a test photo"
        } else {
            "a sketch of one cannot tell it from the other"
        };
        warn(&format!("warning: the photos {} are the same file: {effect}", same.ids.join(", ")));
    }
    Ok(if broken.is_empty() { Exit::Success } else { Exit::CheckFailed })
}
