//! Runs tests and tells which were slow.
//!
//! The time of each test is known to libtest alone, which tells it with `--report-time`. A stable compiler's libtest takes that
//! option where `RUSTC_BOOTSTRAP` is set when the test runs. Cargo's runner sets it there and nowhere else: nothing is compiled
//! otherwise than without it.

use std::io::{BufRead, BufReader};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::say;

/// Tests that are told.
const N_TOLD: usize = 15;
/// Seconds; a faster test is none to tell of.
const LEAST: f64 = 1.0;

/// What cargo is told before `test`.
pub(crate) const RUNNER: [&str; 2] = ["--config", "target.'cfg(all())'.runner=['env','RUSTC_BOOTSTRAP=1']"];
/// What the tests are told, behind cargo's `--`.
pub(crate) const REPORT: [&str; 2] = ["-Zunstable-options", "--report-time"];

/// Runs a `cargo test` that has [`RUNNER`] and [`REPORT`], its output passed through, and tells the slowest of its tests.
pub(crate) fn told(tests: &mut Command) -> Result<()> {
    // Both streams through one pipe: cargo names a binary on one, its tests answer on the other.
    let (output, input) = std::io::pipe().context("cannot make a pipe")?;
    tests.stdout(input.try_clone()?).stderr(input).env("CARGO_TERM_COLOR", "never");
    let mut child = tests.spawn().context("cannot start the tests")?;
    // The command holds the pipe's other end, which must be closed for the output to end.
    tests.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut times = Times::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        say::line(&line);
        times.read(&line);
    }
    let status = child.wait()?;
    say::line("   the slowest tests:");
    times.slowest().for_each(|(secs, name)| say::line(&format!("{secs:10.1} s  {name}")));
    if !status.success() {
        bail!("the tests failed: {status}");
    }
    Ok(())
}

/// The tests of an output with their times.
#[derive(Default)]
struct Times {
    /// The test binary that runs now.
    binary: String,
    tests: Vec<(f64, String)>,
}

impl Times {
    fn read(&mut self, line: &str) {
        if let Some(name) = binary_of(line) {
            self.binary = name.to_owned();
        } else if let Some((name, secs)) = test_of(line) {
            self.tests.push((secs, format!("{} {name}", self.binary)));
        }
    }

    fn slowest(&mut self) -> impl Iterator<Item = &(f64, String)> {
        self.tests.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.tests.iter().take(N_TOLD).filter(|(secs, _)| *secs >= LEAST)
    }
}

/// `Running tests/main.rs (target/debug/deps/runtime-0123abc)` is of `runtime`.
fn binary_of(line: &str) -> Option<&str> {
    let (_, path) = line.trim_start().strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?;
    Some(path.rsplit('/').next()?.rsplit_once('-')?.0)
}

/// `test index::finds ... ok <0.123s>` is `index::finds` and 0.123.
fn test_of(line: &str) -> Option<(&str, f64)> {
    let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name, end.strip_suffix("s>")?.rsplit_once('<')?.1.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_with_their_binaries_and_times() {
        let mut times = Times::default();
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/sketchfind_core-0f1e)",
            "running 4 tests",
            "test image::a_picture ... ok <1.500s>",
            "test image::another ... FAILED <2.000s>",
            "test image::fast ... ok <0.001s>",
            "test image::untimed ... ok",
            "     Running doors/main.rs (target/debug/deps/doors-12)",
            "test serve::slow - should panic ... ok <12.250s>",
            "test result: ok. 1 passed; 0 failed; finished in 12.25s",
        ] {
            times.read(line);
        }
        let slowest: Vec<String> = times.slowest().map(|(secs, name)| format!("{secs} {name}")).collect();
        let expected = [
            "12.25 doors serve::slow - should panic",
            "2 sketchfind_core image::another",
            "1.5 sketchfind_core image::a_picture",
        ];
        assert_eq!(slowest, expected);
    }
}
