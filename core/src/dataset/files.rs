//! The files that a manifest names.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::ManifestRow;
use crate::unicode::nfc;

/// Looks for files below a manifest's folder.
pub(super) struct Files<'m> {
    folder: &'m Path,
    /// For each folder that a file was not found in, its names by their lower-case forms.
    names: HashMap<PathBuf, BTreeMap<String, String>>,
}

impl<'m> Files<'m> {
    pub(super) fn of(manifest: &'m Path) -> Files<'m> {
        Files { folder: manifest.parent().unwrap_or(Path::new("")), names: HashMap::new() }
    }

    /// The file of a row as it can be opened from here.
    ///
    /// # Errors
    /// That it is missing, with what may be meant.
    pub(super) fn existing(&mut self, row: &ManifestRow) -> Result<PathBuf, String> {
        let path = self.folder.join(&row.path);
        if path.is_file() {
            return Ok(path);
        }
        if let Some(path) = in_another_form(self.folder, &row.path).filter(|path| path.is_file()) {
            return Ok(path);
        }
        let hint = match self.in_another_case(&path) {
            _ if path.is_dir() => "; a folder is there".to_owned(),
            Some(name) => format!("; '{name}' is there, in another case"),
            None => String::new(),
        };
        Err(format!("the file of '{}' is missing: '{}'{hint}", row.id, path.display()))
    }

    /// The name of a file in the same folder that differs in case alone.
    fn in_another_case(&mut self, path: &Path) -> Option<String> {
        let folder = path.parent()?;
        let names = self.names.entry(folder.to_owned()).or_insert_with(|| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names.map(|name| (name.to_lowercase(), name)).collect()
        });
        names.get(&path.file_name()?.to_str()?.to_lowercase()).cloned()
    }
}

/// The path whose names are those of `relative` in another form of Unicode, where there is one and no other: systems change
/// the form of names when files are copied.
fn in_another_form(folder: &Path, relative: &Path) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for name in relative.iter() {
        if path.join(name).exists() {
            path.push(name);
            continue;
        }
        let wanted = nfc(name.to_str()?);
        let entries = std::fs::read_dir(&path).ok()?.filter_map(|entry| Some(entry.ok()?.file_name()));
        let mut same = entries.filter(|entry| entry.to_str().is_some_and(|entry| nfc(entry) == wanted));
        let (found, None) = (same.next()?, same.next()) else {
            return None;
        };
        path.push(found);
    }
    Some(path)
}
