//! Labels of sketches for `sketchfind eval --label`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use sketchfind_core::Error;
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::unicode::{Meant, Names};

/// For each column that is asked for, the label of every sketch of the split: its own, or else that of its photo. A label
/// is text of any kind; one that is empty counts as none.
pub(super) fn read(
    asked: &[String],
    file: Option<&Path>,
    dataset: &Dataset,
    split: Split,
) -> Result<Vec<(String, BTreeMap<String, String>)>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let beside = || dataset.manifest().with_file_name("labels.csv");
    let path = file.map_or_else(beside, Path::to_owned);
    let broken = |reason: String| Error::malformed(&path, reason);
    let file = std::fs::File::open(&path).map_err(Error::io("read", &path))?;
    let mut reader = csv::Reader::from_reader(file);
    let headers = reader.headers().map_err(|e| broken(e.to_string()))?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|header| header == name);
        found.ok_or_else(|| {
            let columns = headers.iter().collect::<Vec<_>>().join(", ");
            broken(format!("it has no column '{name}'; its columns are {columns}"))
        })
    };
    let id_column = column("id")?;
    let columns: Vec<usize> = asked.iter().map(|name| column(name)).collect::<Result<_, _>>()?;
    let mut of_id: BTreeMap<String, csv::StringRecord> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|e| broken(e.to_string()))?;
        let id = record.get(id_column).unwrap_or_default().to_owned();
        if of_id.insert(id.clone(), record).is_some() {
            return Err(broken(format!("the id '{id}' stands there twice")).into());
        }
    }
    let names = Names::new(of_id.keys().map(String::as_str));
    let label_of = |id: &str, column: usize| {
        let Meant::One(id) = names.meant_by(id) else {
            return None;
        };
        of_id.get(id).and_then(|record| record.get(column)).filter(|label| !label.is_empty())
    };
    let labels = asked.iter().zip(columns).map(|(name, column)| {
        let of_sketches = dataset
            .sketches_in(split)
            .filter_map(|sketch| {
                let own = label_of(&sketch.id, column);
                let label = own.or_else(|| label_of(&dataset.photo_of(sketch).id, column))?;
                Some((sketch.id.clone(), label.to_owned()))
            })
            .collect();
        (name.clone(), of_sketches)
    });
    Ok(labels.collect())
}
