//! The manifest's file: its rows, with every fault of their form.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Modality, Split};
use crate::{Error, Result, atomic};

/// The columns that every manifest has.
const COLUMNS: [&str; 5] = ["id", "modality", "instance", "split", "path"];

/// The further column whose values are labels as they stand.
const LABEL: &str = "label";

/// The further column that says which product an image shows.
const PRODUCT: &str = "product";

/// One row of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRow {
    /// Unique name of the image.
    pub id: String,
    /// Photo or sketch.
    pub modality: Modality,
    /// The object that is depicted.
    pub instance: String,
    /// The part of the data set.
    pub split: Split,
    /// The image file, relative to the manifest's folder.
    pub path: PathBuf,
    /// What further columns say of it: their names and values, without the empty ones.
    #[serde(skip)]
    pub further: Vec<(String, String)>,
}

impl ManifestRow {
    /// What the further columns say, as labels: `column=value`, or the value alone of a column called `label`; without the
    /// column `product`.
    pub fn labels(&self) -> Vec<String> {
        let label = |(column, value): &(String, String)| match column.as_str() {
            PRODUCT => None,
            LABEL => Some(value.clone()),
            column => Some(format!("{column}={value}")),
        };
        self.further.iter().filter_map(label).collect()
    }

    /// What the column `product` says, which several images may share.
    pub fn product(&self) -> Option<&str> {
        self.further.iter().find(|(column, _)| column == PRODUCT).map(|(_, value)| value.as_str())
    }
}

/// Reads the rows of a manifest as they stand, without applying the laws of a data set. The five columns may stand in any
/// order, and others beside them.
///
/// # Errors
/// [`Error::Io`] and [`Error::Malformed`] with the line.
pub fn read_manifest(manifest: &Path) -> Result<Vec<ManifestRow>> {
    let (rows, faults) = read_rows(manifest)?;
    match faults.into_iter().next() {
        Some(fault) => Err(Error::malformed(manifest, fault)),
        None => Ok(rows),
    }
}

/// The rows that can be read, and what is wrong with the lines of the others.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] where the first line is not a manifest's.
pub(super) fn read_rows(manifest: &Path) -> Result<(Vec<ManifestRow>, Vec<String>)> {
    let file = std::fs::File::open(manifest).map_err(Error::io("read", manifest))?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(std::io::BufReader::new(file));
    let unreadable = |e: csv::Error| Error::malformed(manifest, e.to_string());
    let names: Vec<String> =
        reader.headers().map_err(unreadable)?.iter().map(|name| name.trim().to_owned()).collect();
    let columns = columns_of(&names).map_err(|reason| Error::malformed(manifest, reason))?;
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        let line = record.position().map_or(0, csv::Position::line);
        match row_of(&record, &names, columns) {
            Ok(row) => rows.push(row),
            Err(reason) => faults.push(format!("line {line}: {reason}")),
        }
    }
    Ok((rows, faults))
}

/// Where the five columns stand.
fn columns_of(names: &[String]) -> std::result::Result<[usize; 5], String> {
    let mut columns = [0; 5];
    for (column, name) in columns.iter_mut().zip(COLUMNS) {
        *column = names.iter().position(|found| found == name).ok_or_else(|| {
            let got = names.join(",");
            let hint = if names.len() == 1 && got.contains([';', '\t']) {
                "; its columns are parted otherwise than by commas"
            } else {
                ""
            };
            format!("the first line is '{got}', expected 'id,modality,instance,split,path'{hint}")
        })?;
    }
    let is_twice = |(at, name): &(usize, &String)| !name.is_empty() && names[..*at].contains(*name);
    match names.iter().enumerate().find(is_twice) {
        Some((_, name)) => Err(format!("the column '{name}' stands in the first line twice")),
        None => Ok(columns),
    }
}

fn row_of(
    record: &csv::ByteRecord,
    names: &[String],
    columns: [usize; 5],
) -> std::result::Result<ManifestRow, String> {
    if record.len() != names.len() {
        return Err(format!("it has {} fields, expected {}", record.len(), names.len()));
    }
    let field = |column: usize| {
        std::str::from_utf8(&record[column])
            .map_err(|_not_utf8| format!("the column '{}' is not UTF-8", names[column]))
    };
    let [id, modality, instance, split, path] = columns;
    let modality = match field(modality)? {
        "photo" => Modality::Photo,
        "sketch" => Modality::Sketch,
        other => return Err(format!("the modality is '{other}', expected 'photo' or 'sketch'")),
    };
    let mut further = Vec::new();
    for (column, name) in names.iter().enumerate().filter(|(column, _)| !columns.contains(column)) {
        match (field(column)?.trim(), name.as_str()) {
            ("", _) => {}
            (value, "") => return Err(format!("'{value}' stands in a column without a name")),
            (value, name) => further.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok(ManifestRow {
        id: field(id)?.to_owned(),
        modality,
        instance: field(instance)?.to_owned(),
        split: field(split)?.parse().map_err(|error: Error| error.to_string())?,
        path: field(path)?.into(),
        further,
    })
}

/// Writes a manifest, sorted by id, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write_manifest(manifest: &Path, rows: &[ManifestRow]) -> Result<()> {
    let mut rows: Vec<&ManifestRow> = rows.iter().collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    let further: std::collections::BTreeSet<&str> =
        rows.iter().flat_map(|row| row.further.iter().map(|(name, _)| name.as_str())).collect();
    atomic::write_file(manifest, |out| {
        let mut writer = csv::Writer::from_writer(out);
        let failed = |e: csv::Error| Error::malformed(manifest, e.to_string());
        writer.write_record(COLUMNS.iter().chain(&further)).map_err(failed)?;
        for row in rows {
            let path = row.path.to_str().ok_or_else(|| {
                let reason = format!("the path of '{}' is not UTF-8, which a manifest cannot hold", row.id);
                Error::malformed(manifest, reason)
            })?;
            let value = |name: &str| {
                row.further.iter().find(|(column, _)| column == name).map_or("", |(_, value)| value.as_str())
            };
            let own = [&row.id, row.modality.name(), &row.instance, row.split.name(), path];
            writer
                .write_record(own.into_iter().chain(further.iter().map(|name| value(name))))
                .map_err(failed)?;
        }
        writer.flush().map_err(Error::io("write", manifest))
    })
}
