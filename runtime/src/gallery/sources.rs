//! `photos.csv` of the first format: where the photos of a gallery are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    path: String,
}

/// Reads the list.
///
/// # Errors
/// In words that name the file and line.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let malformed = |e: csv::Error| format!("'{}': {e}", path.display());
    let mut reader = csv::Reader::from_path(path).map_err(malformed)?;
    let mut sources = BTreeMap::new();
    for row in reader.deserialize() {
        let Row { id, path: source } = row.map_err(malformed)?;
        if sources.insert(id.clone(), PathBuf::from(source)).is_some() {
            return Err(format!("'{}': the photo '{id}' stands there twice", path.display()));
        }
    }
    Ok(sources)
}
