//! Folders that products and people take along, which can be moved anywhere: what they share.

mod glibc;
mod library;
pub(crate) mod licences;
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{checkout, provision, say};

pub(crate) use library::library;
pub(crate) use program::{program, system};

/// The released model that comes along.
const MODEL: &str = "general-mobilenet_v2";

/// Makes the folder `out`, which is not there yet, whole or not at all, and says where it is: `fill` fills it.
pub(crate) fn folder(out: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!(
            "these folders are made on Linux alone so far: elsewhere libraries have other names and other paths"
        );
    }
    let out = std::path::absolute(out)?;
    if out.exists() {
        bail!("'{}' is there already; remove it first, or name another folder", out.display());
    }
    let parent = out.parent().context("the folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create '{}'", parent.display()))?;
    let partial = tempfile::Builder::new()
        .prefix(".partial-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot write to '{}'", parent.display()))?;
    let new = partial.path().join("new");
    fill(&new)?;
    fs::rename(&new, &out).with_context(|| format!("cannot write '{}'", out.display()))?;
    say::result(&out.display().to_string());
    Ok(())
}

/// The file `made` of a package: the one that is `given`, or else it is built as it is released.
fn built(package: &str, made: &str, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let mut cargo = checkout::cargo();
    cargo.args(["build", "--quiet", "--release", "--package", package]);
    checkout::run(&mut cargo).with_context(|| format!("cannot build {package}"))?;
    Ok(checkout::target("release").join(made))
}

/// Puts ONNX Runtime into the folder `lib`, and returns its file there.
fn onnx_runtime(lib: &Path) -> Result<PathBuf> {
    provision::onnxruntime()?;
    let set = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = set.unwrap_or_else(|| checkout::provisioned("onnxruntime/lib/libonnxruntime.so"));
    let path =
        path.canonicalize().with_context(|| format!("there is no ONNX Runtime at '{}'", path.display()))?;
    let name = path.file_name().context("a library is a file")?.to_string_lossy().into_owned();
    copy(&path, &lib.join(&name))?;
    if name != "libonnxruntime.so" {
        provision::link(&name, &lib.join("libonnxruntime.so"))?;
    }
    Ok(lib.join(name))
}

/// Puts the released model into the folder `share`.
pub(crate) fn model(share: &Path) -> Result<()> {
    copy_folder(&checkout::root().join("models/zoo").join(MODEL), &share.join("sketchfind/model"))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy '{}' to '{}'", from.display(), to.display()))?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read '{}'", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)
        } else {
            copy(&entry.path(), &target)
        }?;
    }
    Ok(())
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text).with_context(|| format!("cannot write '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_there_stays_as_it_is() {
        let there = tempfile::tempdir().unwrap();
        fs::write(there.path().join("mine"), "kept").unwrap();
        let message = folder(there.path(), |_| Ok(())).unwrap_err().to_string();
        assert!(message.contains("is there already"), "{message}");
        assert_eq!(fs::read_to_string(there.path().join("mine")).unwrap(), "kept");
    }

    #[test]
    fn a_folder_that_cannot_be_filled_is_not_there() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("new/here");
        folder(&out, |new| {
            write(&new.join("a"), "half")?;
            bail!("the rest is not there")
        })
        .unwrap_err();
        assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 0);
    }
}
