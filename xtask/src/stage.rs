//! Things that are made once and kept: each has a key, the hash of all that it was made from.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{checkout, say};

/// The key's file in a folder.
const KEY: &str = ".key";

/// The key of a thing: the hash of the texts that decide what it is.
pub(crate) fn key(parts: &[&str]) -> String {
    checkout::sha256(parts.join("\n").as_bytes())
}

/// Whether the folder at `path` was made with `key`.
pub(crate) fn is_current(path: &Path, key: &str) -> bool {
    fs::read_to_string(path.join(KEY)).is_ok_and(|found| found == key)
}

/// Makes the folder at `path` unless it is there with this `key`: `make` fills a folder beside it, which then takes
/// its place, so that a killed run leaves nothing half-made.
pub(crate) fn folder(
    path: &Path,
    key: &str,
    what: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if is_current(path, key) {
        return Ok(());
    }
    say::line(&format!("== {what}"));
    let started = Instant::now();
    let parent = path.parent().context("a provisioned folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create '{}'", parent.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    sweep(parent, &format!(".partial-{name}-"))?;
    let partial = tempfile::Builder::new()
        .prefix(&format!(".partial-{name}-"))
        .tempdir_in(parent)
        .with_context(|| format!("cannot write to '{}'", parent.display()))?;
    let new = partial.path().join("new");
    fs::create_dir(&new)?;
    make(&new)?;
    fs::write(new.join(KEY), key)?;
    if path.exists() {
        fs::rename(path, partial.path().join("old"))
            .with_context(|| format!("cannot replace '{}'", path.display()))?;
    }
    fs::rename(&new, path).with_context(|| format!("cannot write '{}'", path.display()))?;
    say::line(&format!("   {what}: {}", say::duration(started.elapsed().as_secs_f64())));
    Ok(())
}

/// Removes what killed runs have left: folders in `parent` whose names begin with `prefix`.
pub(crate) fn sweep(parent: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove '{}'", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_once_a_key_and_failure_keeps_the_old() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("thing");
        let make = |text: &'static str| move |new: &Path| Ok(fs::write(new.join("text"), text)?);
        let text = || fs::read_to_string(path.join("text")).unwrap();
        folder(&path, "a", "thing", make("one")).unwrap();
        folder(&path, "a", "thing", make("two")).unwrap();
        assert_eq!(text(), "one");
        assert!(folder(&path, "b", "thing", |_| anyhow::bail!("no")).is_err());
        assert_eq!(text(), "one");
        // What a killed run leaves is swept away by the next.
        fs::create_dir(parent.path().join(".partial-thing-killed")).unwrap();
        folder(&path, "b", "thing", make("three")).unwrap();
        assert_eq!(text(), "three");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
