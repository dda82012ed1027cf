//! How fast the server is: the tests of `tests/doors/load.rs`, alone, against the release build.

use anyhow::Result;

use crate::checkout;
use crate::weights::{Known, Profile};
use crate::{emoji, fetch, provision, web, weights};

/// Runs them and prints what they measured.
pub(crate) fn run() -> Result<()> {
    fetch::check_machine()?;
    provision::libtorch()?;
    provision::onnxruntime()?;
    weights::provide(Known::MobilenetV2, Profile::Release)?;
    emoji::provide()?;
    checkout::run(checkout::cargo().args(["build", "--release", "--package", "sketchfind-cli"]))?;
    let mut tests = checkout::cargo();
    tests.envs(web::surroundings(false)).env("SKETCHFIND_MEASURE", "1");
    tests.env("SKETCHFIND_BIN_DIR", checkout::target("release"));
    // One after the other: each measures the whole machine.
    let load =
        ["test", "--workspace", "--test", "doors", "load::", "--", "--nocapture", "--test-threads", "1"];
    checkout::run(tests.args(load))
}
