//! The C interface: its header, and a C program that uses it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture;

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_header_is_what_cbindgen_makes() {
    let config = cbindgen::Config::from_file(manifest_dir().join("cbindgen.toml")).unwrap();
    let source = manifest_dir().join("src/capi.rs");
    let bindings = cbindgen::Builder::new().with_config(config).with_src(source).generate().unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    let path = manifest_dir().join("include/sketchfind.h");
    if std::env::var_os("SKETCHFIND_WRITE_FIXTURES").is_some_and(|value| !value.is_empty()) {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_default();
    assert!(
        kept == made,
        "run this test with SKETCHFIND_WRITE_FIXTURES=1 to write include/sketchfind.h anew"
    );
}

/// Builds the shared library beside the programs of this profile.
fn library() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let deps = std::env::current_exe().unwrap();
    let profile = deps.parent().unwrap().parent().unwrap();
    let target = profile.parent().unwrap();
    let mut build = Command::new(cargo);
    build.args(["rustc", "--package", "sketchfind", "--features", "capi", "--crate-type", "cdylib"]);
    // It is there for the times of tests alone; cargo would compile everything anew for it.
    build.env_remove("RUSTC_BOOTSTRAP");
    let output = build.arg("--target-dir").arg(target).current_dir(manifest_dir()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let library = target.join("debug/libsketchfind.so");
    assert!(library.is_file(), "{}", library.display());
    library
}

#[cfg(target_os = "linux")]
#[test]
fn a_c_program_goes_the_whole_way_and_leaks_nothing() {
    if std::env::var_os("SKETCHFIND_SLOW_TESTS").is_none_or(|value| value != "1") {
        eprintln!("not run: set SKETCHFIND_SLOW_TESTS=1");
        return;
    }
    let library = library();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("main");
    let mut compiler = Command::new("gcc");
    compiler
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-g", "-I"])
        .arg(manifest_dir().join("include"));
    compiler.arg(manifest_dir().join("tests/capi/main.c")).arg("-o").arg(&program).arg(&library);
    compiler.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let library_of_onnx_runtime = &sketchfind::native::init(None).unwrap().path;
    let run = |command: &mut Command| {
        let gallery = tempfile::tempdir().unwrap();
        // As a person has it: what a developer or a CI machine has set stays out.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("ORT_DYLIB_PATH", library_of_onnx_runtime).arg(fixture("")).arg(gallery.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said == "all is well\n", "{said}{errors}");
    };
    run(&mut Command::new(&program));
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is not installed: the C program ran without it");
        return;
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect"]);
    valgrind.arg("--suppressions=tests/capi/valgrind.supp").current_dir(manifest_dir());
    run(valgrind.arg(&program));
}
