//! Every test, doctest, lint and check. What is missing is provisioned first.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::check::{self, step};
use crate::weights::{Known, Profile};
use crate::{checkout, emoji, fetch, provision, say, skipped, slowest, targets, web, weights, wheel};

/// Runs everything and stops at the first failure.
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    step("provisioning", || {
        fetch::check_machine()?;
        provision::libtorch()?;
        provision::onnxruntime()?;
        provision::photographs()?;
        provision::postgres()
    })?;
    let python = provision::python()?;
    check::formatting()?;
    check::rules()?;
    check::lints(&[])?;
    // All at once: built apart, each part would have its dependencies with other features, and compile them again.
    step("building programs and tests", || {
        checkout::run(checkout::cargo().args(["build", "--workspace", "--all-targets"]))
    })?;
    step("weights and data", || {
        weights::provide(Known::MobilenetV2, Profile::Dev)?;
        weights::provide(Known::Resnet50, Profile::Dev)?;
        weights::provide(Known::EfficientnetLite0, Profile::Dev)?;
        weights::provide(Known::EfficientnetLite1, Profile::Dev)?;
        weights::provide(Known::EfficientnetLite2, Profile::Dev)?;
        emoji::provide().map(drop)
    })?;
    step("the drawing page", web::check)?;
    let mut with_wheel = None;
    step("building the Python wheel", || {
        with_wheel = Some(wheel::install()?);
        Ok(())
    })?;
    step("tests", || {
        let mut tests = checkout::cargo();
        with_surroundings(&mut tests, &python);
        if let Some(installed) = &with_wheel {
            tests.envs(installed.plain.first().map(|python| ("SKETCHFIND_WHEEL_PYTHON", python)));
            tests.env("SKETCHFIND_RAY_PYTHON", &installed.with_ray);
        }
        let skipped = skipped::List::begin(checkout::target("skipped.txt"))?;
        tests.env("SKETCHFIND_SKIPPED", skipped.path());
        tests.args(slowest::RUNNER).args([
            "test",
            "--workspace",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
        ]);
        let passed = slowest::told(tests.arg("--").args(slowest::REPORT));
        skipped.tell(is_ci()).and(passed)
    })?;
    step("examples in the documentation", || {
        checkout::run(checkout::cargo().args(["test", "--workspace", "--no-fail-fast", "--doc"]))
    })?;
    if is_slow_asked_for() {
        step("other systems", targets::run)?;
    }
    step("the Python wheel", || with_wheel.as_ref().map_or(Ok(()), wheel::test))?;
    step("documentation", || {
        let mut docs = checkout::cargo();
        docs.env("RUSTDOCFLAGS", "--deny warnings");
        checkout::run(docs.args(["doc", "--workspace", "--no-deps", "--quiet"]))
    })?;
    say::line(&format!("all is well: {}", say::duration(started.elapsed().as_secs_f64())));
    Ok(())
}

/// What tests are told of their surroundings. On a CI machine the slow ones run too.
fn with_surroundings(tests: &mut Command, python: &std::path::Path) {
    tests.env("SKETCHFIND_PYTHON", python);
    tests.env("SKETCHFIND_BIN_DIR", checkout::target("debug"));
    tests.envs(web::surroundings(is_ci()));
    if is_ci() {
        tests.env("SKETCHFIND_SLOW_TESTS", "1");
    }
}

/// On a CI machine, and where somebody asks.
fn is_slow_asked_for() -> bool {
    is_ci() || std::env::var_os("SKETCHFIND_SLOW_TESTS").is_some_and(|value| value == "1")
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}
