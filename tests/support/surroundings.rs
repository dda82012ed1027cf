//! What a machine may or may not have. A test that needs something that is absent says so and passes over; `cargo xtask test`
//! counts that, and on a CI machine nothing that it provides may be absent.

use std::path::{Path, PathBuf};

/// The checkout's folder.
pub fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A path that `cargo xtask` provisions, or nothing where it has not.
pub fn provisioned(relative: &str) -> Option<PathBuf> {
    there(checkout().join(".provision").join(relative), MISSING, "cargo xtask test provides it")
}

/// A released model of `models/zoo`.
pub fn released(model: &str) -> Option<PathBuf> {
    there(checkout().join("models/zoo").join(model), MISSING, "it is part of the repository")
}

/// Real sketch-photo sets beside the checkout, or in the folder that `SKETCHFIND_SHARED_DATA` names.
pub fn shared_data(relative: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SKETCHFIND_SHARED_DATA")
        .map_or_else(|| checkout().join("../shared/data"), PathBuf::from);
    there(folder.join(relative), NOT_ASKED_FOR, "SKETCHFIND_SHARED_DATA names its folder")
}

/// A Python with NumPy and onnx, which `cargo xtask test` provides.
pub fn python() -> Option<PathBuf> {
    match std::env::var_os("SKETCHFIND_PYTHON") {
        Some(python) => Some(PathBuf::from(python)),
        None => skip(MISSING, "SKETCHFIND_PYTHON is not set (cargo xtask test sets it)"),
    }
}

/// A Python that has the wheel, which `cargo xtask test` provides.
pub fn python_with_wheel() -> Option<PathBuf> {
    named("SKETCHFIND_WHEEL_PYTHON")
}

/// A Python that has the wheel and Ray Data, which `cargo xtask test` provides.
pub fn python_with_ray() -> Option<PathBuf> {
    named("SKETCHFIND_RAY_PYTHON")
}

/// The drawing page's tools (a folder with `node_modules`), which `cargo xtask test` provides, and a Chromium.
pub fn browser() -> Option<(PathBuf, PathBuf)> {
    Some((named("SKETCHFIND_WEB")?, chromium()?))
}

/// schemathesis, which tests an HTTP API against its description; `cargo xtask test` provides it for slow tests.
pub fn schemathesis() -> Option<PathBuf> {
    named("SKETCHFIND_SCHEMATHESIS")
}

fn named(variable: &str) -> Option<PathBuf> {
    match std::env::var_os(variable).filter(|value| !value.is_empty()) {
        Some(value) => Some(PathBuf::from(value)),
        None => skip(MISSING, &format!("{variable} is not set (cargo xtask test sets it)")),
    }
}

/// A Chromium that runs without a screen: the one that `SKETCHFIND_CHROMIUM` names, or the system's.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("SKETCHFIND_CHROMIUM").filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|path| path.is_file());
    if found.is_none() {
        skip::<()>(
            MISSING,
            "there is no browser (SKETCHFIND_CHROMIUM names one; on Debian: apt-get install chromium)",
        );
    }
    found
}

/// Whether slow tests are asked for.
pub fn is_slow_asked_for() -> bool {
    let asked = std::env::var_os("SKETCHFIND_SLOW_TESTS").is_some_and(|value| value == "1");
    if !asked {
        skip::<()>(NOT_ASKED_FOR, "SKETCHFIND_SLOW_TESTS is not 1");
    }
    asked
}

/// Whether this machine has a tool that only some machines have.
pub fn is_installed(program: &str) -> bool {
    let there = std::process::Command::new(program).arg("--version").output().is_ok();
    if !there {
        skip::<()>(NOT_ASKED_FOR, &format!("{program} is not installed"));
    }
    there
}

/// Whether times are asked for, which are worth something only where nothing else runs: `cargo xtask bench` does.
pub fn is_measuring() -> bool {
    let asked = std::env::var_os("SKETCHFIND_MEASURE").is_some_and(|value| value == "1");
    if !asked {
        skip::<()>(NOT_ASKED_FOR, "SKETCHFIND_MEASURE is not 1 (cargo xtask bench sets it)");
    }
    asked
}

fn there(path: PathBuf, kind: &str, hint: &str) -> Option<PathBuf> {
    if path.exists() {
        Some(path)
    } else {
        skip(kind, &format!("'{}' is not there ({hint})", path.display()))
    }
}

/// What a machine should have.
const MISSING: &str = "missing";
/// What is left out unless somebody wants it, or has it.
const NOT_ASKED_FOR: &str = "not asked for";

/// Says that a test is passed over, also in the file that `SKETCHFIND_SKIPPED` names, a line each.
#[allow(clippy::print_stderr, reason = "a skipped test says so where test output goes")]
fn skip<T>(kind: &str, reason: &str) -> Option<T> {
    eprintln!("skipped: {reason}");
    if let Some(list) = std::env::var_os("SKETCHFIND_SKIPPED") {
        let line = format!("{kind}: {reason}\n");
        let open = std::fs::OpenOptions::new().append(true).create(true).open(list);
        let written = open.and_then(|mut list| std::io::Write::write_all(&mut list, line.as_bytes()));
        assert!(written.is_ok(), "{written:?}");
    }
    None
}
