//! The licences of all that such a folder holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{copy, write};
use crate::{checkout, fetch};

/// Writes the licences of all that is in such a folder: ours, ONNX Runtime's, and [those of the crates](of_crates).
pub(super) fn of_all(folder: &Path, package: &str, made: &str) -> Result<()> {
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&checkout::root().join(name), &folder.join(name))?;
    }
    fetch::package("onnxruntime")?.unpack(folder, |member| match member {
        "onnxruntime/LICENSE" | "onnxruntime/ThirdPartyNotices.txt" => Some(PathBuf::from(member)),
        _ => None,
    })?;
    of_crates(folder, package, made)
}

/// Writes the licences of the crates that are linked into the file `made` of a package.
pub(crate) fn of_crates(folder: &Path, package: &str, made: &str) -> Result<()> {
    let mut table = format!(
        "# What is linked into {made}\n\nEach with its licence; the texts that it comes with are in the folder of its name. \
         Besides these, Rust's standard library (MIT OR Apache-2.0).\n\n| crate | version | licence |\n| --- | --- | --- |\n"
    );
    let metadata =
        checkout::output(checkout::cargo().args(["metadata", "--quiet", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let linked: BTreeSet<String> = checkout::packages(&["--package", package, "--edges", "normal"], "{p}")?
        .iter()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let mut n_found = 0;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        // Ours are under the licences above.
        if !linked.contains(&format!("{name} v{version}")) || package["source"].is_null() {
            continue;
        }
        n_found += 1;
        table.push_str(&format!("| {name} | {version} | {} |\n", text("license")));
        let source = Path::new(text("manifest_path")).parent().context("a manifest lies in a folder")?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            if entry.path().is_file() && is_licence(&entry.file_name().to_string_lossy()) {
                copy(&entry.path(), &folder.join(format!("{name}-{version}")).join(entry.file_name()))?;
            }
        }
    }
    if n_found < 10 {
        bail!("only {n_found} crates of `cargo tree` are in `cargo metadata`");
    }
    write(&folder.join("README.md"), &table)
}

fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["licen", "unlicen", "copying", "copyright", "notice"].iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_known_by_their_names() {
        for name in [
            "LICENSE",
            "LICENSE-MIT",
            "license.txt",
            "LICENCE.md",
            "COPYING",
            "UNLICENSE",
            "NOTICE",
            "COPYRIGHT",
        ] {
            assert!(is_licence(name), "{name}");
        }
        for name in ["README.md", "Cargo.toml", "src", "lib.rs", "CHANGELOG.md"] {
            assert!(!is_licence(name), "{name}");
        }
    }
}
