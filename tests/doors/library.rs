//! The folder for programs in C and C++: made, moved to another place, and built against there as a person does who has
//! nothing else.

use std::path::Path;
use std::process::Command;

use sketchfind_tests::programs::{as_a_person_has_it, c_library, succeed};
use sketchfind_tests::surroundings;

use crate::dist::moved;

/// A command as a person runs it who knows of no checkout, in an empty folder.
fn alone(name: impl AsRef<std::ffi::OsStr>, work: &Path) -> Command {
    let mut command = Command::new(name);
    as_a_person_has_it(&mut command)
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("LD_LIBRARY_PATH")
        .current_dir(work);
    command
}

#[test]
fn programs_are_built_from_the_folder_alone_wherever_it_lies() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let folder = moved("library", &c_library(), place.path());
    let (include, lib) = (folder.join("include"), folder.join("lib"));
    let model = folder.join("share/sketchfind/model");
    let work = place.path().join("work");
    std::fs::create_dir(&work).unwrap();

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
