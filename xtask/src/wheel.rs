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

/// Pythons that have the wheel.
pub(crate) struct Installed {
    /// One of each version that it is for, with nothing else but what it asks for and what the tests need; the first is of the
    /// version that `python3` is.
    pub(crate) plain: Vec<PathBuf>,
    /// One with Ray Data.
    pub(crate) with_ray: PathBuf,
}

/// Installs the wheel into an environment of each Python that it is for, and into one with Ray Data.
pub(crate) fn install() -> Result<Installed> {
    let wheel = build(false)?;
    let mut audit = checkout::command(provision::wheel_audit()?.with_file_name("abi3audit"));
    checkout::run(audit.args(["--strict", "--summary"]).arg(&wheel))
        .context("the wheel uses more of Python than the stable interface that its name promises")?;
    let installed = Installed { plain: provision::wheel_test_pythons()?, with_ray: provision::ray_python()? };
    for python in installed.plain.iter().chain([&installed.with_ray]) {
        install_into(&wheel, python)?;
    }
    Ok(installed)
}

/// Installs a wheel into the environment of a Python.
pub(crate) fn install_into(wheel: &Path, python: &Path) -> Result<()> {
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
    checkout::run(install.arg(wheel))
}

/// Tests the wheel that [`install`] has installed, with each of its Pythons.
pub(crate) fn test(installed: &Installed) -> Result<()> {
    // One after another: they say how soon a call ends.
    for python in &installed.plain {
        checkout::run(&mut unittest(python, "python/tests"))?;
    }
    // They compare with galleries of the program, which the other tests have built: so, and not alone with other features.
    checkout::run(checkout::cargo().args(["build", "--quiet", "--workspace"]))?;
    let mut with_ray = unittest(&installed.with_ray, "python/tests/ray");
    checkout::run(with_ray.env("SKETCHFIND_PROGRAM", checkout::target("debug").join("sketchfind")))?;
    // The stubs say of each name what the wheel has, and let strict programs through. Where Ray is, every module can be imported.
    let typed_use = |name: &str| checkout::root().join("python/tests").join(name).display().to_string();
    let (plain, ray) = (typed_use("typed_use.py"), typed_use("ray/typed_use.py"));
    for check in [
        &["mypy.stubtest", "sketchfind"][..],
        &["mypy", "--strict", &plain],
        &["mypy", "--strict", "--package", "sketchfind.ray"],
        &["mypy", "--strict", &ray],
    ] {
        let mut types = as_a_person_has_it(&installed.with_ray);
        // Where they leave a cache.
        types.current_dir(checkout::target(""));
        checkout::run(types.arg("-m").args(check))?;
    }
    Ok(())
}

/// The tests of a folder.
fn unittest(python: &Path, folder: &str) -> Command {
    let mut tests = as_a_person_has_it(python);
    tests.args(["-m", "unittest", "discover", "--quiet", "--start-directory", folder]);
    tests
}

/// Without the variables of cargo, so that the wheel has its own ONNX Runtime, from the package that it depends on; and without
/// those by which libraries know a CI machine and change what they do.
fn as_a_person_has_it(python: &Path) -> Command {
    let mut command = checkout::command(python);
    let kept = ["PATH", "HOME", "TMPDIR", "USER", "LANG"];
    command.env_clear().envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}
