//! What is answered in minutes and asks nobody: formatting, rules of the house, lints, unit tests.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{checkout, say, skipped, tidy};

/// The package that links libtorch.
const TRAINER: &str = "sketchfind-trainer";

/// Runs everything and stops at the first failure. Nothing is provisioned: what a machine has not is left out, and said.
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    let left_out = if has_libtorch() { &[][..] } else { &["--exclude", TRAINER] };
    formatting()?;
    rules()?;
    lints(left_out)?;
    step("unit tests", || {
        let mut tests = checkout::cargo();
        let skipped = skipped::List::begin(checkout::target("skipped.txt"))?;
        tests.env("SKETCHFIND_SKIPPED", skipped.path());
        tests.args(["test", "--workspace", "--lib", "--bins", "--quiet", "--no-fail-fast"]).args(left_out);
        let passed = checkout::run(&mut tests);
        skipped.tell(false).and(passed)
    })?;
    if !left_out.is_empty() {
        say::line(&format!(
            "{TRAINER} was left out: libtorch is not there; `cargo xtask provision libtorch` fetches it"
        ));
    }
    let duration = say::duration(started.elapsed().as_secs_f64());
    say::line(&format!("all is well so far: {duration}; `cargo xtask test` tests the rest"));
    Ok(())
}

/// Whether the trainer can be linked here.
fn has_libtorch() -> bool {
    let named = std::env::var_os("LIBTORCH").map(|folder| checkout::root().join(folder));
    let folder: PathBuf = named.unwrap_or_else(|| checkout::provisioned("libtorch"));
    folder.join("lib").is_dir()
}

/// Checks the formatting.
pub(crate) fn formatting() -> Result<()> {
    step("formatting", || checkout::run(checkout::cargo().args(["fmt", "--all", "--check"])))
}

/// Checks the rules of the house.
pub(crate) fn rules() -> Result<()> {
    step("rules of the house", tidy::run)
}

/// Checks the lints of all packages but those that cargo's arguments `left_out` exclude.
pub(crate) fn lints(left_out: &[&str]) -> Result<()> {
    step("lints", || {
        let mut clippy: Command = checkout::cargo();
        clippy.args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "sketchfind-fuzz/fuzzing",
            "--quiet",
        ]);
        clippy.args(left_out);
        checkout::run(clippy.args(["--", "--deny", "warnings"]))
    })
}

/// Does a part of a chore, and says what it is, that it failed, and how long it took.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    say::line(&format!("== {name}"));
    let started = Instant::now();
    work().with_context(|| format!("{name} failed"))?;
    say::line(&format!("   {name}: {}", say::duration(started.elapsed().as_secs_f64())));
    Ok(())
}
