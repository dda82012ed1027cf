//! The Python wheel: built by maturin, installed into a fresh virtual environment, and tested there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Installs the wheel into an environment that has nothing else but what it asks for. Returns its Python.
pub(crate) fn install() -> Result<PathBuf> {
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
    Ok(python)
}

/// Tests the wheel that [`install`] has installed.
pub(crate) fn test(python: &Path) -> Result<()> {
    let mut tests = as_a_person_has_it(python);
    checkout::run(tests.arg("python/tests/test_sketchfind.py").arg("runtime/tests/fixtures"))?;
    // The stubs say of each name what the wheel has.
    checkout::run(as_a_person_has_it(python).args(["-m", "mypy.stubtest", "sketchfind"]))
}

/// Without the variables of cargo, so that the wheel has its own ONNX Runtime, from the package that it depends on; and without
/// those by which libraries know a CI machine and change what they do.
fn as_a_person_has_it(python: &Path) -> Command {
    let mut command = checkout::command(python);
    let kept = ["PATH", "HOME", "TMPDIR", "USER", "LANG"];
    command.env_clear().envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}
