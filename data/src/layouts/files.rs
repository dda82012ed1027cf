//! What lies in a download's folder, by name in any case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sketchfind_core::photo_files::id_of;

use super::broken;
use crate::{Error, Result};

/// The folders in `dir`, without those that an archive tool of macOS adds, which are copies without content.
pub(super) fn folders_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = children(dir)?;
    folders.retain(|path| path.is_dir() && name_of(path) != "__MACOSX");
    Ok(folders)
}

/// The folders and files in `dir`, sorted by name; hidden ones are left out.
pub(super) fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let path = entry.map_err(Error::io("read", dir))?.path();
        if !name_of(&path).starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first of some folders that is there, in any case.
pub(super) fn folder(dir: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().filter_map(|name| in_any_case(dir, name)).find(|path| path.is_dir())
}

/// The file called `name`, in any case.
pub(super) fn file(dir: &Path, name: &str) -> Option<PathBuf> {
    in_any_case(dir, name).filter(|path| path.is_file())
}

/// What is called `name` in `dir`, or else the one entry that is called so in another case.
fn in_any_case(dir: &Path, name: &str) -> Option<PathBuf> {
    let path = dir.join(name);
    if path.exists() {
        return Some(path);
    }
    let mut found = children(dir).unwrap_or_default();
    found.retain(|path| name_of(path).eq_ignore_ascii_case(name));
    if found.len() == 1 { found.pop() } else { None }
}

/// Image files below `dir` by name: the path relative to it, without ending. Two files of one name are an error.
pub(super) fn images(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for file in sketchfind_core::dataset::image_files(dir)? {
        let name = id_of(&file.with_extension(""));
        if let Some(other) = found.insert(name.clone(), dir.join(&file)) {
            let (a, b) = (other.display(), dir.join(&file));
            return Err(broken(dir, format!("'{name}' is there twice: '{a}' and '{}'", b.display())));
        }
    }
    Ok(found)
}
