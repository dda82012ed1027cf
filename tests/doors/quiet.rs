//! What programs leave behind, and whom they talk to: nothing that was not asked for, and nobody. Each runs in a fresh home
//! with the environment that a person has: ONNX Runtime's telemetry, which is what this is about, keeps still on CI machines.
//! The trainer is not among them, because it does not load ONNX Runtime, which `cargo xtask tidy` checks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sketchfind_tests::http::Server;
use sketchfind_tests::programs::{as_a_person_has_it, c_library, fail, program, run, succeed};
use sketchfind_tests::witness::{Sockets, Witness};
use sketchfind_tests::{surroundings, toy};

use crate::serve::{Scene, png, serve};

fn fixtures() -> PathBuf {
    surroundings::checkout().join("runtime/tests/fixtures")
}

/// An example of the runtime, which `cargo build --all-targets` builds.
fn example(name: &str) -> Command {
    let built = program("sketchfind").get_program().to_owned();
    let example = Path::new(&built).with_file_name("examples").join(name);
    assert!(example.is_file(), "'{}' is not built: cargo build --workspace --all-targets", example.display());
    let mut command = Command::new(example);
    as_a_person_has_it(&mut command);
    command
}

/// Runs a program that must succeed, and write nowhere but under `written`, a name in the folder where it works.
fn quietly(witness: &Witness, command: &Command, written: Option<&str>) -> String {
    let said = succeed(&mut witness.watch(command));
    let written = written.map(|name| witness.work().join(name));
    let written: Vec<&Path> = written.iter().map(PathBuf::as_path).collect();
    witness.saw_nothing_else(&written, Sockets::None);
    said
}

#[test]
fn the_command_line_leaves_what_was_asked_for_and_talks_to_nobody() {
    let witness = Witness::new();
    let data = tempfile::tempdir().unwrap();
    toy::dataset(data.path(), 4, 4, 1).unwrap();
    let (model, photos) = (fixtures().join("mean8"), fixtures().join("photos"));
    let sketchfind = |arguments: &[&str]| {
        let mut command = program("sketchfind");
        command.args(arguments);
        command
    };
    assert!(quietly(&witness, &sketchfind(&["info"]), None).contains("ONNX Runtime   1."));
    quietly(&witness, sketchfind(&["verify"]).arg(&model), None);
    let mut build = sketchfind(&["index", "build", "--out", "made/gallery", "--model"]);
    std::fs::create_dir(witness.work().join("made")).unwrap();
    quietly(&witness, build.arg(&model).arg("--photos").arg(&photos), Some("made"));
    let mut add = sketchfind(&["index", "add", "--gallery", "made/gallery", "--photos"]);
    quietly(&witness, add.arg(data.path().join("photo")), Some("made"));
    let mut query = sketchfind(&["query", "--gallery", "made/gallery", "-k", "1", "--format", "csv"]);
    assert!(quietly(&witness, query.arg(photos.join("red.png")), None).contains("red.png"));
    let mut embed = sketchfind(&["embed", "--out", "made/test.npy", "--model"]);
    quietly(&witness, embed.arg(&model).arg("--data").arg(data.path()), Some("made"));
    let mut eval = sketchfind(&["eval", "--samples", "100", "--out", "made/report", "--model"]);
    quietly(&witness, eval.arg(&model).arg("--data").arg(data.path()), Some("made"));
}

#[test]
fn the_examples_leave_nothing_and_talk_to_nobody() {
    let witness = Witness::new();
    let mut query = example("query");
    query.arg(fixtures().join("gallery-v4")).arg(fixtures().join("photos/red.png"));
    assert!(quietly(&witness, &query, None).starts_with("1\t0.000000\tred"));
    quietly(&witness, example("precision").arg(fixtures().join("pixels8")), None);
}

/// The name of a collector was looked up ten seconds after the start: the slow run waits for longer than that.
#[test]
fn the_server_listens_and_talks_to_nobody() {
    let (witness, scene) = (Witness::new(), Scene::new());
    let mut server = Server::start(&mut witness.watch(&serve(&scene.path("gallery"))));
    let answer =
        server.ask("POST", "/api/v1/query?k=1", &["Content-Type: image/png"], &png(9, 9, [200, 0, 0]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let wait = if surroundings::is_slow_asked_for() { 20 } else { 0 };
    std::thread::sleep(Duration::from_secs(wait));
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    witness.saw_nothing_else(&[], Sockets::Server);
}

#[test]
fn the_wheel_leaves_what_was_asked_for_and_talks_to_nobody() {
    let Some(python) = surroundings::python_with_wheel() else { return };
    // NumPy, and threads, are there before it, as in a notebook.
    let script = "
import pathlib, sys, threading
import numpy as np
threading.Thread(target=threading.Event().wait, daemon=True).start()
import sketchfind
model = pathlib.Path(sys.argv[1])
assert sketchfind.verify(model)
sketchfind.create('made/gallery', model)
with sketchfind.Retriever('made/gallery', writable=True) as shop:
    shop.add('red', np.full((4, 5, 3), (255, 0, 0), dtype=np.uint8))
    print(shop.query(np.full((4, 5, 3), (200, 0, 0), dtype=np.uint8), k=1)[0].id)
";
    let witness = Witness::new();
    std::fs::create_dir(witness.work().join("made")).unwrap();
    let mut command = Command::new(python);
    as_a_person_has_it(&mut command).env_remove("ORT_DYLIB_PATH");
    command.arg("-c").arg(script).arg(fixtures().join("mean8"));
    assert_eq!(quietly(&witness, &command, Some("made")), "red\n");
}

/// A C program that is compiled here against the shared library.
fn c_program(folder: &Path, source: &str, is_linked: bool) -> (PathBuf, PathBuf) {
    let root = surroundings::checkout();
    let library = c_library();
    let compiled = folder.join("program");
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"]).arg(root.join("c/include"));
    compiler.arg(root.join("c/tests/programs").join(source)).arg("-o").arg(&compiled);
    if is_linked {
        // The program looks for it under the name that it has where it is installed.
        std::os::unix::fs::symlink(&library, folder.join("libsketchfind.so.0")).unwrap();
        compiler.arg(&library).arg(format!("-Wl,-rpath,{}", folder.display()));
    }
    succeed(compiler.args(["-ldl", "-lpthread"]));
    (compiled, library)
}

#[test]
fn a_c_program_leaves_what_was_asked_for_and_talks_to_nobody() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (compiled, library) = c_program(folder.path(), "main.c", true);
    let witness = Witness::new();
    std::fs::create_dir(witness.work().join("made")).unwrap();
    let mut command = Command::new(compiled);
    // Neither program lies in the checkout, where ONNX Runtime is found.
    let onnx_runtime = &sketchfind::native::init(None).unwrap().path;
    as_a_person_has_it(&mut command).env("ORT_DYLIB_PATH", onnx_runtime).arg(fixtures()).arg("made");
    assert_eq!(quietly(&witness, &command, Some("made")), "all is well\n");

    // A program that has threads before it loads the library has to set the variable, and is told so.
    let (compiled, _) = c_program(folder.path(), "late.c", false);
    let late = || {
        let mut command = Command::new(&compiled);
        as_a_person_has_it(&mut command).env("ORT_DYLIB_PATH", onnx_runtime);
        command.arg(&library).arg(fixtures().join("gallery-v4"));
        command
    };
    fail(
        &mut witness.watch(&late()),
        5,
        &["ORT_DISABLE_TELEMETRY is not set, expected '1'", "before its first thread"],
    );
    witness.saw_nothing_else(&[], Sockets::None);
    fail(late().env("ORT_DISABLE_TELEMETRY", "0"), 5, &["ORT_DISABLE_TELEMETRY is '0', expected '1'"]);
    quietly(&witness, late().env("ORT_DISABLE_TELEMETRY", "1"), None);
}

/// Telemetry took the command line apart with a regular expression, one level of the stack for each character.
#[test]
fn a_command_line_may_be_long_and_the_stack_small() {
    let scene = Scene::new();
    let folder = scene.path("x".repeat(100).as_str());
    std::fs::create_dir(&folder).unwrap();
    let sketches: Vec<PathBuf> =
        (0..2_500).map(|number| folder.join(format!("sketch-{number}.png"))).collect();
    for sketch in &sketches {
        std::fs::write(sketch, png(3, 3, [255, 0, 0])).unwrap();
    }
    let query = |sketches: &[PathBuf]| {
        let mut query = program("sketchfind");
        query.args(["query", "-k", "1", "--format", "csv", "--gallery"]).arg(scene.path("gallery"));
        query.args(sketches);
        query
    };
    let answer = succeed(&mut query(&sketches));
    assert_eq!(answer.lines().filter(|line| line.contains("red.png")).count(), 2_500);
    let few = query(&sketches[..100]);
    let mut shell = Command::new("/bin/sh");
    as_a_person_has_it(&mut shell).args(["-c", "ulimit -s 1024 && exec \"$0\" \"$@\""]);
    let said = run(shell.arg(few.get_program()).args(few.get_args()));
    assert_eq!((said.code, said.out.lines().count()), (Some(0), 101), "{}", said.err);
}
