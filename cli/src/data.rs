//! `sketchfind data check`.

use std::path::Path;

use anyhow::Result;
use sketchfind_core::dataset::Dataset;
use sketchfind_core::image::DecodeLimits;

use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::output;
use crate::progress::{Bar, say};

pub(crate) fn check(data: &Path) -> Result<Exit> {
    let dataset = Dataset::load(data)?;
    let interrupt = Interrupt::listen()?;
    let bar = Bar::new(dataset.photos().len() + dataset.sketches().len(), "checking images");
    let broken =
        dataset.check_images(DecodeLimits::ORDINARY, &|n_done| bar.set(n_done), &|| interrupt.is_set());
    if interrupt.is_set() {
        return Ok(Exit::Interrupted);
    }
    bar.finish();
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
        say(&format!("warning: the photos {} are the same file: {effect}", same.ids.join(", ")));
    }
    if broken.is_empty() {
        return Ok(Exit::Success);
    }
    for file in &broken {
        say(&format!("broken: {}: {}", file.id, file.reason));
    }
    say(&format!("{} images are broken", broken.len()));
    Ok(Exit::CheckFailed)
}
