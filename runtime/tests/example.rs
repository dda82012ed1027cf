//! The example runs, as a program of its own that finds ONNX Runtime by itself.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::process::Command;

use crate::fixture;

#[test]
fn the_example_finds_the_red_photo() {
    // Cargo builds examples with the tests, into a folder beside theirs.
    let deps = std::env::current_exe().unwrap();
    let example = deps.parent().unwrap().parent().unwrap().join("examples/query");
    assert!(example.exists(), "build it with `cargo build -p sketchfind --examples`");
    let run = |sketch: &str, library: Option<&str>| {
        let mut command = Command::new(&example);
        command.args([fixture("gallery-v4"), fixture(sketch)]);
        // As a person has it, but for the library: what a developer or a CI machine has set stays out.
        let library = library.map(OsString::from).or_else(|| std::env::var_os("ORT_DYLIB_PATH"));
        command.env_clear().envs(library.map(|path| ("ORT_DYLIB_PATH", path)));
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (success, stdout, stderr) = run("photos/red.png", None);
    assert!(success, "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines, ["1\t0.000000\tred, bright", "2\t0.250000\tgrey", "3\t0.666667\tblue"]);
    assert_eq!(stderr, "");

    // With nothing exported it finds the library that lies in `../lib` of its folder, as a product is shipped.
    let shipped = tempfile::tempdir().unwrap();
    let (bin, lib) = (shipped.path().join("bin"), shipped.path().join("lib"));
    let own = &sketchfind::native::init(None).unwrap().path;
    let library = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
    for (from, folder, name) in [(&example, &bin, "query"), (own, &lib, library.as_str())] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::copy(from, folder.join(name)).unwrap();
    }
    let mut command = Command::new(bin.join("query"));
    let output =
        command.args([fixture("gallery-v4"), fixture("photos/red.png")]).env_clear().output().unwrap();
    assert_eq!((output.status.success(), String::from_utf8(output.stdout).unwrap()), (true, stdout));

    let (success, stdout, stderr) = run("photos/red.png", Some("/nowhere/libonnxruntime.so"));
    assert!(!success && stdout.is_empty());
    assert!(stderr.contains("OrtMissing") && stderr.contains("/nowhere/libonnxruntime.so"), "{stderr}");
}
