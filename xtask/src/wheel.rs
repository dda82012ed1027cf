//! The Python wheel: built by maturin, installed into a fresh virtual environment, and tested there.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{checkout, provision};

/// Builds the wheel and returns its file.
pub(crate) fn build(release: bool) -> Result<PathBuf> {
    let tools = provision::wheel_tools()?;
    let wheels = checkout::target("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels)?;
    }
    let mut maturin = checkout::command(&tools);
    maturin
        .args(["-m", "maturin", "build", "--quiet", "--manifest-path", "python/Cargo.toml", "--out"])
        .arg(&wheels);
    // As the other tests are built, so that they share what is compiled.
    maturin.args(["--profile", if release { "release" } else { "dev" }]);
    // The wheel is for machines as new as this one; for older ones it is built in a manylinux image.
    maturin.args(["--compatibility", "linux"]).arg("--interpreter").arg(&tools);
    checkout::run(&mut maturin).context("cannot build the Python wheel")?;
    let files: Vec<PathBuf> = fs::read_dir(&wheels)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    match files.as_slice() {
        [wheel] => Ok(wheel.clone()),
        other => bail!("maturin made {} files in '{}', expected one wheel", other.len(), wheels.display()),
    }
}

/// Tests the wheel in an environment that has nothing else but what it asks for.
pub(crate) fn test() -> Result<()> {
    let wheel = build(false)?;
    let python = provision::wheel_test_python()?;
    let mut install = checkout::command(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--force-reinstall",
    ]);
    checkout::run(install.arg(&wheel))?;
    let mut tests = checkout::command(&python);
    // Its own ONNX Runtime, from the package that it depends on.
    tests.arg("python/tests/test_sketchfind.py").arg("runtime/tests/fixtures").env_remove("ORT_DYLIB_PATH");
    checkout::run(&mut tests)?;
    // The stubs say of each name what the wheel has.
    let mut stubs = checkout::command(&python);
    checkout::run(stubs.args(["-m", "mypy.stubtest", "sketchfind"]).env_remove("ORT_DYLIB_PATH"))
}
