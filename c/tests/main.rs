//! The header, the library, and programs in C and C++ that use them.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expected by failing there")]

use std::collections::BTreeSet;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind::{Calibration, Card, Embeddings};
use sketchfind_core::card::{MODEL, PROBE_EMBEDDINGS, SKETCH_MODEL, SKETCH_PROBE_EMBEDDINGS, SketchSide};
use sketchfind_core::image::Preprocess;
use sketchfind_tests::folders;
use sketchfind_tests::surroundings::{self, is_installed, is_slow_asked_for};

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_header_is_what_cbindgen_makes() {
    let config = cbindgen::Config::from_file(manifest_dir().join("cbindgen.toml")).unwrap();
    // In the order in which they are read best.
    let files = [
        "version",
        "status",
        "border",
        "retriever",
        "space",
        "work",
        "picture",
        "photos",
        "ingest",
        "exchange",
        "list",
        "filter",
        "search_options",
        "query",
        "matches",
        "embed",
        "upkeep",
        "verify",
    ];
    let folder = manifest_dir().join("src");
    let mut there: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    there.sort();
    there.retain(|file| !file.ends_with("lib.rs"));
    let mut named = files.map(|name| folder.join(name).with_extension("rs"));
    let builder = cbindgen::Builder::new().with_config(config);
    let builder = named.iter().fold(builder, |builder, file| builder.with_src(file));
    named.sort();
    assert_eq!(there, named, "the header is made of every file");
    let bindings = builder.generate().unwrap();
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

/// The shared library, which cargo has built beside this test.
fn library() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let name = format!("{DLL_PREFIX}sketchfind_c{DLL_SUFFIX}");
    let library = this.parent().unwrap().join(name);
    assert!(library.is_file(), "{}", library.display());
    library
}

/// A file or folder of the runtime's fixtures.
fn fixture(name: &str) -> PathBuf {
    surroundings::checkout().join("runtime/tests/fixtures").join(name)
}

/// The name that a program looks for when it starts.
#[cfg(target_os = "linux")]
const SONAME: &str = "libsketchfind.so.0";

/// The library under that name, as a link in `folder`.
#[cfg(target_os = "linux")]
fn under_its_soname(library: &Path, folder: &Path) {
    std::os::unix::fs::symlink(library, folder.join(SONAME)).unwrap();
}

/// Compiles a program of `tests/programs` against the library, which it finds in `folder`.
#[cfg(target_os = "linux")]
fn compiled(compiler: &str, standard: &str, source: &str, library: &Path, folder: &Path) -> PathBuf {
    let program = folder.join("program");
    let mut command = Command::new(compiler);
    command.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-I"]);
    command.arg(manifest_dir().join("include")).arg(manifest_dir().join("tests/programs").join(source));
    command.arg("-o").arg(&program).arg(library).arg(format!("-Wl,-rpath,{}", folder.display()));
    let output = command.args(["-lm", "-lpthread"]).output().unwrap();
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Runs a program with the fixtures and a fresh folder in which is what the programs ask for; with `valgrind` under it.
#[cfg(target_os = "linux")]
fn all_is_well(program: &Path, valgrind: bool) {
    let library_of_onnx_runtime = &sketchfind::native::init(None).unwrap().path;
    let mut command = Command::new(program);
    if valgrind {
        command = Command::new("valgrind");
        command.args([
            "--error-exitcode=9",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect",
        ]);
        command.arg("--suppressions=tests/programs/valgrind.supp").current_dir(manifest_dir()).arg(program);
    }
    let folder = tempfile::tempdir().unwrap();
    calibrations(folder.path());
    models(folder.path());
    // What a developer or a CI machine has set stays out.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("ORT_DYLIB_PATH", library_of_onnx_runtime);
    let output = command.arg(fixture("")).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said == "all is well\n", "{}: {said}{errors}", program.display());
}

/// `calibration.json` of the model mean8, and `other.json` of another.
#[cfg(target_os = "linux")]
fn calibrations(folder: &Path) {
    let mut calibration = Calibration::load(fixture("calibration.json")).unwrap();
    calibration.save(folder.join("calibration.json")).unwrap();
    calibration.model_sha256 = "1".repeat(64);
    calibration.save(folder.join("other.json")).unwrap();
}

/// `two-networks`, of which sketches have twice the embedding that photos have, and `changed`, which does not give what its probe
/// says.
#[cfg(target_os = "linux")]
fn models(folder: &Path) {
    let [two, changed] = ["two-networks", "changed"].map(|name| folder.join(name));
    for model in [&two, &changed] {
        folders::copy(&fixture("mean8"), model).unwrap();
    }
    let with = |change: fn(f32) -> f32| {
        let probe = Embeddings::load(&fixture("mean8").join(PROBE_EMBEDDINGS)).unwrap();
        let values = probe.values().iter().copied().map(change).collect();
        Embeddings::new(probe.ids().to_vec(), probe.width(), values).unwrap()
    };
    with(|value| value + 1.0).save(&changed.join(PROBE_EMBEDDINGS)).unwrap();
    with(|value| value * 2.0).save(&two.join(SKETCH_PROBE_EMBEDDINGS)).unwrap();
    std::fs::copy(two.join(MODEL), two.join(SKETCH_MODEL)).unwrap();
    let mut card = Card::load(&two).unwrap();
    let preprocess = Preprocess { std: [0.5; 3], ..card.preprocess.clone() };
    card.sketch = Some(SketchSide { preprocess, onnx: card.onnx.clone() });
    card.save(&two).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn c_and_cpp_programs_go_the_whole_way_and_leak_nothing() {
    if !is_slow_asked_for() {
        return;
    }
    let library = library();
    let has_valgrind = is_installed("valgrind");
    let programs = [
        ("gcc", "-std=c11", "main.c"),
        ("gcc", "-std=c11", "pictures.c"),
        ("gcc", "-std=c11", "many.c"),
        ("gcc", "-std=c11", "answers.c"),
        ("gcc", "-std=c11", "ready.c"),
        ("g++", "-std=c++17", "wrapper.cpp"),
        ("g++", "-std=c++17", "ready.cpp"),
    ];
    // Valgrind runs one thread at a time: two programs take no longer than one.
    let rest = std::sync::Mutex::new(programs.into_iter());
    let next = || rest.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((compiler, standard, source)) = next() {
                    let folder = tempfile::tempdir().unwrap();
                    under_its_soname(&library, folder.path());
                    let program = compiled(compiler, standard, source, &library, folder.path());
                    all_is_well(&program, false);
                    if has_valgrind {
                        all_is_well(&program, true);
                    }
                }
            });
        }
    });
}

/// What a tool of binutils says of a library.
#[cfg(target_os = "linux")]
fn said_of(tool: &str, option: &str, library: &Path) -> String {
    let output = Command::new(tool).arg(option).arg(library).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What crates export for themselves would be taken for another library's, and the other way round.
#[cfg(target_os = "linux")]
#[test]
fn the_library_exports_what_is_in_the_header_and_nothing_else() {
    if !is_slow_asked_for() {
        return;
    }
    let library = &library();
    let symbols = said_of("nm", "-D", library);
    let defined =
        symbols.lines().filter(|line| !matches!(line.split_whitespace().rev().nth(1), Some("U" | "w")));
    let exported: BTreeSet<&str> = defined.filter_map(|line| line.split_whitespace().last()).collect();
    let header = std::fs::read_to_string(manifest_dir().join("include/sketchfind.h")).unwrap();
    let declared = header
        .lines()
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.split(['(', ' ', '*', ',']));
    let functions = |name: &&str| header.contains(&format!("{name}(")) && name.starts_with("skf_");
    let declared: BTreeSet<&str> = declared.filter(functions).collect();
    assert!(declared.len() > 30 && declared.contains("skf_query"), "{declared:?}");
    assert_eq!(exported, declared);

    let dynamic = said_of("readelf", "-d", library);
    let name = format!("Library soname: [libsketchfind.so.{}]", abi_of(&header));
    for part in [name.as_str(), "[$ORIGIN]"] {
        assert!(dynamic.contains(part), "{part} is not in {dynamic}");
    }
    assert!(!dynamic.contains("libonnxruntime"), "{dynamic}");
}

#[cfg(target_os = "linux")]
fn abi_of(header: &str) -> &str {
    header.lines().find_map(|line| line.strip_prefix("#define SKF_ABI ")).unwrap()
}
