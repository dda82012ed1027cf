//! The folder for programs in C and C++: made, moved to another place, and built against there as a person does who has
//! nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind_tests::programs::{as_a_person_has_it, c_library, program, succeed};
use sketchfind_tests::surroundings;

/// The folder, far from where it was made.
fn moved(parent: &Path) -> PathBuf {
    let made = parent.join("made/here");
    let mut xtask = Command::new(program("xtask").get_program());
    xtask.args(["dist", "library", "--out"]).arg(&made).arg("--built").arg(c_library());
    xtask.current_dir(surroundings::checkout());
    let said = succeed(&mut xtask);
    assert_eq!(said.trim_end(), made.display().to_string());
    let elsewhere = parent.join("far away");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::rename(&made, elsewhere.join("sketchfind")).unwrap();
    elsewhere.join("sketchfind")
}

/// A command as a person runs it who knows of no checkout, in an empty folder.
fn alone(name: impl AsRef<std::ffi::OsStr>, work: &Path) -> Command {
    let mut command = Command::new(name);
    as_a_person_has_it(&mut command)
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("LD_LIBRARY_PATH")
        .current_dir(work);
    command
}

/// Every file below a folder, and every link.
fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            below(&entry.path(), found)
        } else {
            found.push(entry.path())
        }
    }
}

#[test]
fn programs_are_built_from_the_folder_alone_wherever_it_lies() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let folder = moved(place.path());
    let (include, lib) = (folder.join("include"), folder.join("lib"));
    let model = folder.join("share/sketchfind/model");
    let work = place.path().join("work");
    std::fs::create_dir(&work).unwrap();

    // Nothing in it knows where it was made: no text, and no link.
    let mut files = Vec::new();
    below(&folder, &mut files);
    let checkout = surroundings::checkout().canonicalize().unwrap().display().to_string();
    let made = place.path().join("made").display().to_string();
    for file in &files {
        if let Ok(target) = std::fs::read_link(file) {
            assert!(target.is_relative() && file.exists(), "{} -> {}", file.display(), target.display());
        } else if let Ok(text) = std::fs::read_to_string(file) {
            assert!(!text.contains(&checkout) && !text.contains(&made), "{}", file.display());
        }
    }
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"]
    {
        assert!(folder.join("licences").join(name).is_file(), "{name}");
    }
    let crates = std::fs::read_to_string(folder.join("licences/README.md")).unwrap();
    for name in ["ort", "image", "tiny-skia", "rayon"] {
        let row = crates.lines().find(|line| line.starts_with(&format!("| {name} | "))).unwrap();
        let version = row.split(" | ").nth(1).unwrap();
        let texts = std::fs::read_dir(folder.join(format!("licences/{name}-{version}"))).unwrap();
        assert!(texts.count() > 0, "{name}");
    }

    // With plain flags, C++: the released model, beside which lies ONNX Runtime, finds what is drawn.
    let strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-g"];
    let rpath = format!("-Wl,-rpath,{}", lib.display());
    let mut compiler = alone("g++", &work);
    compiler
        .arg("-std=c++17")
        .args(strict)
        .arg(folder.join("examples/cpp/shop.cpp"))
        .args(["-o", "shop", "-I"]);
    compiler.arg(&include).arg("-L").arg(&lib).args(["-lsketchfind", &rpath]);
    succeed(&mut compiler);
    let asked = "4 products\n\
                 drawn triangle: triangle\n\
                 drawn ring, among what is blue: blue-ring\n\
                 drawn ring, among what is golden: nothing, because no photo has the label 'golden'\n";
    assert_eq!(succeed(alone(work.join("shop"), &work).arg(&model).arg("gallery")), asked);

    // By pkg-config, C.
    if surroundings::is_installed("pkg-config") {
        let flags = |option: &str| {
            let mut ask = alone("pkg-config", &work);
            ask.env("PKG_CONFIG_PATH", lib.join("pkgconfig"));
            // A folder with a space in its name is told with a backslash before it, as a shell reads it.
            succeed(ask.arg(option).arg("sketchfind")).trim_end().to_owned()
        };
        assert_eq!(flags("--modversion"), env!("CARGO_PKG_VERSION"));
        let line = format!(
            "gcc -std=c11 {} '{}' -o find {} {} '{rpath}'",
            strict.join(" "),
            folder.join("examples/c/find.c").display(),
            flags("--cflags"),
            flags("--libs")
        );
        succeed(alone("sh", &work).arg("-c").arg(line));
        let fixtures = surroundings::checkout().join("runtime/tests/fixtures");
        let (mean, photos) = (fixtures.join("mean8"), fixtures.join("photos"));
        let find = |command: &mut Command, gallery: &str| {
            let command = command.arg(&mean).arg(&photos).arg(gallery).arg(photos.join("red.png"));
            assert!(succeed(command).starts_with(" 1  0.0000  red.png\n"));
        };
        // Made, and found there by the next run.
        find(&mut alone(work.join("find"), &work), "found");
        find(&mut alone(work.join("find"), &work), "found");
        if surroundings::is_installed("valgrind") {
            let valgrind = || {
                let mut valgrind = alone("valgrind", &work);
                valgrind.args([
                    "--error-exitcode=9",
                    "--leak-check=full",
                    "--errors-for-leak-kinds=definite,indirect",
                ]);
                let known = surroundings::checkout().join("c/tests/programs/valgrind.supp");
                valgrind.arg(format!("--suppressions={}", known.display()));
                valgrind
            };
            find(valgrind().arg("./find"), "found");
            find(valgrind().arg("./find"), "made");
            // The means of colours find what they find; nothing is lost, which is what is asked.
            assert!(succeed(valgrind().arg("./shop").arg(&mean).arg("means")).starts_with("4 products\n"));
        }
    }

    // By CMake, C++.
    if surroundings::is_installed("cmake") {
        let mut cmake = alone("cmake", &work);
        cmake.arg("-S").arg(folder.join("examples/cpp")).args(["-B", "build"]);
        succeed(cmake.arg(format!("-DCMAKE_PREFIX_PATH={}", folder.display())));
        succeed(alone("cmake", &work).args(["--build", "build"]));
        assert_eq!(succeed(alone(work.join("build/shop"), &work).arg(&model).arg("gallery")), asked);
    }
}
