//! Human triplets for `sketchfind eval --human`.

use std::path::Path;

use anyhow::Result;
use sketchfind_core::Error;
use sketchfind_core::dataset::{Dataset, Photo, Sketch, Split};
use sketchfind_eval::human::HumanTriplet;

use crate::progress::say;

/// Reads the triplets of one split. A name is an id or an instance; an instance of several sketches names none of them.
pub(super) fn read(path: &Path, dataset: &Dataset, split: Split) -> Result<Vec<HumanTriplet>> {
    let mut reader = csv::Reader::from_path(path).map_err(|e| match e.kind() {
        csv::ErrorKind::Io(io) => Error::io("read", path)(std::io::Error::new(io.kind(), io.to_string())),
        _ => Error::malformed(path, e.to_string()),
    })?;
    let sketches: Vec<&Sketch> = dataset.sketches_in(split).collect();
    let photos: Vec<&Photo> = dataset.photos_in(split).collect();
    let (mut triplets, mut n_other) = (Vec::new(), 0_usize);
    for (index, row) in reader.deserialize::<sketchfind_data::HumanTriplet>().enumerate() {
        let line = index + 2;
        let row = row.map_err(|e| Error::malformed(path, e.to_string()))?;
        if row.split != split {
            n_other += 1;
            continue;
        }
        let unknown = |what: &str, name: &str, why: &str| {
            Error::malformed(path, format!("line {line}: {why} {what} '{name}' in the {split} split"))
        };
        let photo = |name: &str| -> Result<String> {
            let found = photos.iter().find(|photo| photo.id == name || photo.instance == name);
            Ok(found.ok_or_else(|| unknown("photo", name, "there is no"))?.id.clone())
        };
        let depicts = |sketch: &&&Sketch| dataset.photo_of(sketch).instance == row.sketch;
        let sketch = match sketches.iter().find(|sketch| sketch.id == row.sketch) {
            Some(sketch) => sketch.id.clone(),
            None => match sketches.iter().filter(depicts).collect::<Vec<_>>()[..] {
                [sketch] => sketch.id.clone(),
                [] => return Err(unknown("sketch", &row.sketch, "there is no").into()),
                _ => return Err(unknown("sketch of instance", &row.sketch, "there is more than one").into()),
            },
        };
        triplets.push(HumanTriplet { sketch, nearer: photo(&row.nearer)?, farther: photo(&row.farther)? });
    }
    if triplets.is_empty() {
        let reason = format!("it holds no triplet of the {split} split ({n_other} of the other)");
        return Err(Error::malformed(path, reason).into());
    }
    say(&format!("{} human triplets of the {split} split; {n_other} are of the other", triplets.len()));
    Ok(triplets)
}
