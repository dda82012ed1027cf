//! The project's programs as processes.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::surroundings::checkout;

/// A program of ours, as built by `cargo build`; the tests do not build it.
///
/// # Panics
/// Where it has not been built.
pub fn program(name: &str) -> Command {
    let folder =
        std::env::var_os("SKETCHFIND_BIN_DIR").map_or_else(|| checkout().join("target/debug"), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "'{}' is not built: cargo build --package sketchfind --package sketchfind-trainer",
        path.display()
    );
    let mut command = Command::new(path);
    // Tests see what a user without cargo sees; progress and libraries do not depend on the developer's variables.
    command.env_remove("LIBTORCH").env_remove("LD_LIBRARY_PATH");
    command
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a program to its end.
///
/// # Panics
/// Where it cannot be started.
pub fn run(command: &mut Command) -> Said {
    match command.output() {
        Ok(Output { status, stdout, stderr }) => Said {
            code: status.code(),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        },
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// Runs a program that must succeed and returns its standard output.
///
/// # Panics
/// Where it fails.
pub fn succeed(command: &mut Command) -> String {
    let said = run(command);
    assert_eq!(said.code, Some(0), "{command:?}\n{}\n{}", said.out, said.err);
    said.out
}

/// Runs a program that must fail with `code` and one clear error that holds every part of `parts`.
///
/// # Panics
/// Where it does otherwise.
pub fn fail(command: &mut Command, code: i32, parts: &[&str]) {
    let said = run(command);
    assert_eq!(said.code, Some(code), "{command:?}\n{}\n{}", said.out, said.err);
    assert!(!said.err.contains("panicked"), "{command:?}\n{}", said.err);
    for part in parts {
        assert!(said.err.contains(part), "{command:?}: no '{part}' in\n{}", said.err);
    }
}
