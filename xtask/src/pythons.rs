//! Which Pythons of this machine the wheel is for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Result;

use crate::checkout;

/// The oldest minor version of Python 3 that the wheel is for, as `python/pyproject.toml` has it.
const OLDEST: u32 = 11;
/// Newer ones than there are, so that the next is found.
const NEWEST: u32 = 20;

/// The Pythons that the wheel is for, by version such as `3.12`, but for that which `python3` is: those on the path, and those
/// of pyenv.
pub(crate) fn others() -> Result<BTreeMap<String, PathBuf>> {
    let ordinary = minor_version(Path::new("python3"));
    let mut found = BTreeMap::new();
    for minor in OLDEST..=NEWEST {
        let name = format!("python3.{minor}");
        let of_pyenv = pyenv_versions()?.into_iter().map(|folder| folder.join("bin").join(&name));
        let python = std::iter::once(PathBuf::from(&name))
            .chain(of_pyenv)
            // A shim of pyenv is on the path, and starts nothing unless its version was chosen.
            .find(|python| minor_version(python) == Some(minor));
        if let Some(python) = python.filter(|_| ordinary != Some(minor)) {
            found.insert(format!("3.{minor}"), python);
        }
    }
    Ok(found)
}

/// The minor version of a Python 3, if it starts.
fn minor_version(python: &Path) -> Option<u32> {
    let mut command = checkout::command(python);
    command.args(["-c", "import sys; print(*sys.version_info[:2])"]).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.trim().strip_prefix("3 ")?.parse().ok()
}

/// The folders of Pythons that pyenv has made, in order.
fn pyenv_versions() -> Result<Vec<PathBuf>> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    let Some(versions) = root.or_else(home).map(|root| root.join("versions")).filter(|path| path.is_dir())
    else {
        return Ok(Vec::new());
    };
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(versions)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    folders.sort();
    Ok(folders)
}
