//! Whether the libraries that products use still keep what an earlier commit promised.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::checkout;

/// The commit that libraries are compared with unless another is named: the first in which the house is as it stands.
pub(crate) const BASELINE: &str = "4b6820dc133e8d95dab93b1240bed634782385c6";

/// Compares every published library with `baseline`, a commit, a branch or a tag.
pub(crate) fn run(baseline: &str) -> Result<()> {
    let mut version = checkout::cargo();
    version.args(["semver-checks", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        bail!("cargo-semver-checks is not installed: cargo install cargo-semver-checks --locked");
    }
    let mut checks = checkout::cargo();
    checks.args(["semver-checks", "--baseline-rev", baseline]);
    for name in published_libraries()? {
        checks.args(["--package", &name]);
    }
    checkout::run(&mut checks)
}

/// The packages that have a library and may be published.
fn published_libraries() -> Result<Vec<String>> {
    let mut libraries = Vec::new();
    for package in checkout::metadata()?["packages"].as_array().context("cargo metadata has no packages")? {
        // `publish = false` is an empty list of registries.
        let is_published = package["publish"].is_null();
        let targets = package["targets"].as_array().into_iter().flatten();
        let has_library =
            targets.flat_map(|target| target["kind"].as_array()).flatten().any(|kind| kind == "lib");
        if is_published && has_library {
            libraries.push(package["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_products_use_is_published_and_what_tests_use_is_not() {
        let libraries = super::published_libraries().unwrap();
        assert!(libraries.iter().any(|name| name == "sketchfind"), "{libraries:?}");
        for ours in ["sketchfind-tests", "sketchfind-python", "sketchfind-cli", "xtask"] {
            assert!(!libraries.iter().any(|name| name == ours), "{ours}");
        }
    }
}
