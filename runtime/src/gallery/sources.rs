//! `photos.csv`: where the photos of a gallery are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sketchfind_core::{Error as CoreError, atomic};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    path: String,
}

/// Writes the list, sorted by id; an empty one has its header only.
///
/// # Errors
/// In words that name the file or the photo.
pub(super) fn write(path: &Path, sources: &BTreeMap<String, PathBuf>) -> Result<(), String> {
    let mut rows = Vec::with_capacity(sources.len());
    for (id, source) in sources {
        let source = source
            .to_str()
            .ok_or_else(|| format!("the path of the photo '{id}' is not UTF-8: '{}'", source.display()))?;
        rows.push(Row { id: id.clone(), path: source.to_owned() });
    }
    atomic::write_file(path, |out| -> sketchfind_core::Result<()> {
        // The header by hand, so that it is there without rows too.
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        let malformed = |e: csv::Error| CoreError::malformed(path, e.to_string());
        writer.write_record(["id", "path"]).map_err(malformed)?;
        for row in &rows {
            writer.serialize(row).map_err(malformed)?;
        }
        writer.flush().map_err(CoreError::io("write", path))
    })
    .map_err(|e| e.to_string())
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
