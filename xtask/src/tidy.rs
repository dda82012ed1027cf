//! The rules of the house that no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::{checkout, circles, pages, plots, say};

/// What a package may never depend on, however far away.
const FORBIDDEN: [(&str, &[&str]); 11] = [
    (
        "sketchfind-core",
        &["tch", "ort", "hnsw_rs", "sketchfind-data", "sketchfind-models", "sketchfind-eval", "sketchfind"],
    ),
    (
        "sketchfind-pickle",
        &["tch", "ort", "hnsw_rs", "sketchfind-core", "sketchfind-data", "sketchfind-models"],
    ),
    ("sketchfind-data", &["tch", "ort", "hnsw_rs", "sketchfind-models", "sketchfind-eval", "sketchfind"]),
    ("sketchfind-models", &["tch", "ort", "hnsw_rs", "sketchfind-eval", "sketchfind"]),
    ("sketchfind-eval", &["tch", "ort", "hnsw_rs", "sketchfind-models", "sketchfind"]),
    (
        "sketchfind-index",
        &["tch", "ort", "sketchfind-data", "sketchfind-models", "sketchfind-eval", "sketchfind"],
    ),
    ("sketchfind", &["tch", "sketchfind-data", "sketchfind-models", "sketchfind-eval"]),
    ("sketchfind-serve", &["tch", "sketchfind-trainer", "sketchfind-models", "sketchfind-eval"]),
    ("sketchfind-trainer", &["ort", "hnsw_rs", "sketchfind"]),
    ("sketchfind-cli", &["tch", "sketchfind-trainer"]),
    ("xtask", &["tch", "ort", "sketchfind-core", "sketchfind-models", "sketchfind-eval", "sketchfind"]),
];

/// The largest file that may be tracked, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// And the largest of a released model.
const MAX_ZOO_FILE: u64 = 8 << 20;

/// Runs every check and lists all that is wrong.
pub(crate) fn run() -> Result<()> {
    let mut wrong = dependency_edges()?;
    let files = tracked_files()?;
    wrong.extend(pages::faults(&files)?);
    wrong.extend(plots::faults()?);
    for file in files {
        let path = checkout::root().join(&file);
        let Ok(metadata) = fs::metadata(&path) else {
            continue; // deleted, not yet committed
        };
        let most = if file.starts_with("models/zoo/") { MAX_ZOO_FILE } else { MAX_FILE };
        if metadata.len() > most {
            wrong.push(format!("{file}: {} bytes, at most {most} are allowed", metadata.len()));
        }
        if let Ok(text) = fs::read_to_string(&path) {
            wrong.extend(text_rules(&file, &text));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.iter().for_each(|line| say::line(line));
    bail!("{} rules are broken", wrong.len())
}

/// Direct and indirect dependencies, as cargo resolves them for normal and build use.
fn dependency_edges() -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (package, forbidden) in FORBIDDEN {
        let tree = checkout::packages(&["--package", package, "--edges", "normal,build"], "{p}")?;
        let names: BTreeSet<&str> = tree.iter().filter_map(|line| line.split(' ').next()).collect();
        for name in forbidden {
            if names.contains(name) {
                wrong.push(format!("{package} depends on {name}, which ARCHITECTURE.md forbids"));
            }
        }
    }
    wrong.extend(other_builds()?);
    for package in checkout::metadata()?["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["name"] == "sketchfind-cli" {
                wrong.push(format!("{name} depends on the command line, on which nothing may"));
            }
        }
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        if !fs::read_to_string(manifest)?.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{manifest}: it does not take the workspace's lints"));
        }
        if let Some(folder) = Path::new(manifest).parent() {
            wrong.extend(circles::of_crate(folder)?);
        }
    }
    Ok(wrong)
}

/// What the wheel would be built of that the workspace's tests have with other features, and so have not built.
fn other_builds() -> Result<Vec<String>> {
    const WITH_FEATURES: &str = "{p} {f}";
    let built = checkout::packages(&["--workspace", "--edges", "normal,build,dev"], WITH_FEATURES)?;
    let wheel =
        checkout::packages(&["--package", "sketchfind-python", "--edges", "normal,build"], WITH_FEATURES)?;
    let other = wheel.difference(&built);
    Ok(other
        .map(|line| {
            format!(
                "python/Cargo.toml: the workspace has other features of this, which would be compiled twice: {line}"
            )
        })
        .collect())
}

/// What git tracks, and what it would track if it were added.
pub(crate) fn tracked_files() -> Result<Vec<String>> {
    let mut list = checkout::command("git");
    let list = checkout::output(list.args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// The rules that a file's own text can break.
fn text_rules(file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if file.ends_with(".rs") {
        if !text.starts_with("//!") {
            wrong.push(format!("{file}:1: it does not begin with a line that says what it is (//!)"));
        }
        let name = file.rsplit('/').next().unwrap_or(file);
        if ["utils.rs", "util.rs", "common.rs", "helpers.rs", "base.rs", "misc.rs"].contains(&name) {
            wrong.push(format!("{file}: a file is named for its noun"));
        }
        for (number, line) in text.lines().enumerate() {
            for (word, reason) in unfinished_words() {
                if line.contains(&word) {
                    wrong.push(format!("{file}:{}: '{word}' {reason}", number + 1));
                }
            }
        }
    }
    wrong
}

/// Words of unfinished work, put together here so that this file does not hold them.
fn unfinished_words() -> BTreeMap<String, &'static str> {
    let join = |a: &str, b: &str| format!("{a}{b}");
    BTreeMap::from([
        (join("#[ig", "nore"), "hides a test; a slow one asks SKETCHFIND_SLOW_TESTS"),
        (join("to", "do!("), "is not finished"),
        (join("unimple", "mented!("), "is not finished"),
        (join("db", "g!("), "is for debugging"),
        (join("// TO", "DO"), "is not finished"),
        (join("FIX", "ME"), "is not finished"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_what_it_is_for() {
        let finds = |file: &str, text: &str| text_rules(file, text).len();
        assert_eq!(finds("a/b.rs", "//! Fine.\nfn x() {}\n"), 0);
        assert_eq!(finds("a/b.rs", "fn x() {}\n"), 1);
        assert_eq!(finds("a/utils.rs", "//! Fine.\n"), 1);
        assert_eq!(finds("a/b.rs", &format!("//! Fine.\n{}]\n", "#[ig".to_owned() + "nore")), 1);
    }
}
