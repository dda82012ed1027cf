//! The example runs, as a program of its own that finds ONNX Runtime by itself.

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

    // With nothing exported it finds the checkout's own library, where it was built into the checkout.
    let root = example.ancestors().nth(4).unwrap();
    if root.join(".provision/onnxruntime/lib/libonnxruntime.so").exists() {
        assert_eq!(run("photos/red.png", Some("")), (true, stdout, stderr));
    } else {
        eprintln!("not tested: the target folder is not in a provisioned checkout");
    }

    let (success, stdout, stderr) = run("photos/red.png", Some("/nowhere/libonnxruntime.so"));
    assert!(!success && stdout.is_empty());
    assert!(stderr.contains("OrtMissing") && stderr.contains("/nowhere/libonnxruntime.so"), "{stderr}");
}
