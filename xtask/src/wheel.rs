//! The Python wheel: built by maturin, installed into a fresh virtual environment, and tested there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::dist::licences;
use crate::{checkout, provision};

/// Builds the wheel and returns its file.
pub(crate) fn build(release: bool) -> Result<PathBuf> {
    let tools = provision::wheel_tools()?;
    let wheels = checkout::target("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels)?;
    }
    // Of this build alone: what an earlier one has linked may not be in this one.
    let notices = checkout::root().join("python/sketchfind/licences");
    if notices.exists() {
        fs::remove_dir_all(&notices)?;
    }
    licences::of_crates(&notices, "sketchfind-python", "sketchfind/_native")?;
    let mut maturin = checkout::command(&tools);
    maturin
        .args(["-m", "maturin", "build", "--quiet", "--manifest-path", "python/Cargo.toml", "--out"])
        .arg(&wheels);
    // As the other tests are built, so that they share what is compiled.
    maturin.args(["--profile", if release { "release" } else { "dev" }]);
    // Its name says how old a system may be that it is for, which maturin sees by what it needs of the system's libraries; for
    // older ones it is built in a manylinux image.
    maturin.args(["--auditwheel", "check"]).arg("--interpreter").arg(&tools);
    checkout::run(&mut maturin).context("cannot build the Python wheel")?;
    let files: Vec<PathBuf> = fs::read_dir(&wheels)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    match files.as_slice() {
        [wheel] => Ok(wheel.clone()),
        other => bail!("maturin made {} files in '{}', expected one wheel", other.len(), wheels.display()),
    }
}

/// Installs the wheel into an environment of each Python that it is for, which has nothing else but what it asks for and what
/// the tests need. Returns their Pythons; the first is of the version that `python3` is.
pub(crate) fn install() -> Result<Vec<PathBuf>> {
    let wheel = build(false)?;
    let mut audit = checkout::command(provision::wheel_audit()?.with_file_name("abi3audit"));
    checkout::run(audit.args(["--strict", "--summary"]).arg(&wheel))
        .context("the wheel uses more of Python than the stable interface that its name promises")?;
    let pythons = provision::wheel_test_pythons()?;
    for python in &pythons {
        let mut install = checkout::command(python);
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
    }
    Ok(pythons)
}

/// Tests the wheel that [`install`] has installed, with each of its Pythons.
pub(crate) fn test(pythons: &[PathBuf]) -> Result<()> {
    for python in pythons {
        let mut tests = as_a_person_has_it(python);
        checkout::run(tests.args([
            "-m",
            "unittest",
            "discover",
            "--quiet",
            "--start-directory",
            "python/tests",
        ]))?;
    }
    let Some(python) = pythons.first() else { bail!("there is no Python to test the wheel with") };
    // The stubs say of each name what the wheel has, and let a strict program through.
    let typed_use = checkout::root().join("python/tests/typed_use.py").display().to_string();
    for check in [&["mypy.stubtest", "sketchfind"][..], &["mypy", "--strict", &typed_use]] {
        let mut types = as_a_person_has_it(python);
        // Where they leave a cache.
        types.current_dir(checkout::target(""));
        checkout::run(types.arg("-m").args(check))?;
    }
    Ok(())
}

/// Without the variables of cargo, so that the wheel has its own ONNX Runtime, from the package that it depends on; and without
/// those by which libraries know a CI machine and change what they do.
fn as_a_person_has_it(python: &Path) -> Command {
    let mut command = checkout::command(python);
    let kept = ["PATH", "HOME", "TMPDIR", "USER", "LANG"];
    command.env_clear().envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}
