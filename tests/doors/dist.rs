//! Folders that can be moved: made, moved to another place, and used there by a person who has nothing else. This one has the
//! program; that for programs in C and C++ is in `library.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind_tests::programs::{as_a_person_has_it, program, succeed};
use sketchfind_tests::surroundings;

/// A folder that `cargo xtask dist` makes of a file that is `built`, far from where it was made. Nothing in it knows where that
/// was: no text, and no link.
pub(crate) fn moved(what: &str, built: &Path, parent: &Path) -> PathBuf {
    let made = parent.join("made/here");
    // The one that is built already: cargo would build it anew for itself alone.
    let mut xtask = Command::new(program("xtask").get_program());
    xtask.args(["dist", what, "--out"]).arg(&made).arg("--built").arg(built);
    let said = succeed(xtask.current_dir(surroundings::checkout()));
    assert_eq!(said.trim_end(), made.display().to_string());
    let folder = parent.join("far away").join("sketchfind");
    std::fs::create_dir(folder.parent().unwrap()).unwrap();
    std::fs::rename(&made, &folder).unwrap();

    let mut files = Vec::new();
    below(&folder, &mut files);
    let checkout = surroundings::checkout().canonicalize().unwrap().display().to_string();
    let made = parent.join("made").display().to_string();
    for file in &files {
        if let Ok(target) = std::fs::read_link(file) {
            assert!(target.is_relative() && file.exists(), "{} -> {}", file.display(), target.display());
        } else if let Ok(text) = std::fs::read_to_string(file) {
            assert!(!text.contains(&checkout) && !text.contains(&made), "{}", file.display());
        }
    }
    folder
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
fn the_program_runs_wherever_its_folder_lies() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let folder = moved("program", Path::new(program("sketchfind").get_program()), place.path());
    let (home, work) = (place.path().join("home"), place.path().join("work"));
    for folder in [&home, &work] {
        std::fs::create_dir(folder).unwrap();
    }
    // Through a link, as from a folder of the path.
    let link = place.path().join("sf");
    std::os::unix::fs::symlink(folder.join("bin/sketchfind"), &link).unwrap();
    let alone = || {
        let mut command = Command::new(&link);
        as_a_person_has_it(&mut command).env_remove("ORT_DYLIB_PATH").env("HOME", &home).current_dir(&work);
        command
    };
    let photos = surroundings::checkout().join("runtime/tests/fixtures/photos");
    succeed(alone().args(["index", "build", "--out", "shop", "--photos"]).arg(&photos));
    let found = succeed(
        alone().args(["query", "--gallery", "shop", "--frame", "off", "-k", "1"]).arg(photos.join("red.png")),
    );
    assert!(found.contains("red.png"), "{found}");
    // The model that lies in the folder was taken, and not the one inside of the program, which is written to a cache.
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
    let library = folder.join("lib/libonnxruntime.so").canonicalize().unwrap().display().to_string();
    let told = succeed(alone().arg("info"));
    assert!(told.contains(&library), "{told}");

    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let glibc = readme.split("glibc ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let numbers = |version: &str| version.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
    let ours = succeed(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    assert!(numbers(glibc) <= numbers(ours.trim().trim_start_matches("glibc ")), "{glibc}, {ours}");

    let share = folder.join("share");
    let page = std::fs::read_to_string(share.join("man/man1/sketchfind-index-build.1")).unwrap();
    assert!(page.contains("photos"), "{page}");
    let completions = share.join("bash-completion/completions/sketchfind");
    succeed(
        Command::new("bash")
            .arg("-c")
            .arg(format!("source '{}' && complete -p sketchfind", completions.display())),
    );
    for name in ["zsh/site-functions/_sketchfind", "fish/vendor_completions.d/sketchfind.fish"] {
        assert!(std::fs::read_to_string(share.join(name)).unwrap().contains("sketchfind"), "{name}");
    }
    for name in ["LICENSE-MIT", "onnxruntime/LICENSE", "README.md"] {
        assert!(folder.join("licences").join(name).is_file(), "{name}");
    }
}
