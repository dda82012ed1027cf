//! The project's programs as processes.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::surroundings::checkout;

/// A program of ours, as built by `cargo build`; the tests do not build it.
///
/// # Panics
/// Where it has not been built.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(built(name));
    as_a_person_has_it(&mut command);
    command
}

/// The library for C, as built by `cargo build`.
///
/// # Panics
/// Where it has not been built.
pub fn c_library() -> PathBuf {
    built(&format!("{DLL_PREFIX}sketchfind_c{DLL_SUFFIX}"))
}

fn built(name: &str) -> PathBuf {
    let folder =
        std::env::var_os("SKETCHFIND_BIN_DIR").map_or_else(|| checkout().join("target/debug"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.is_file(), "'{}' is not built: cargo build --workspace", path.display());
    path
}

/// What a person's shell passes on, and where cargo's configuration says that ONNX Runtime is.
const KEPT: [&str; 6] = ["PATH", "HOME", "TMPDIR", "USER", "LANG", "ORT_DYLIB_PATH"];

/// Gives a program the environment that a person without cargo has. The variables of a developer, and those by which programs
/// know a CI machine and change what they do, would hide what everybody else meets.
pub fn as_a_person_has_it(command: &mut Command) -> &mut Command {
    command.env_clear();
    command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
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

/// More than any program here needs. One that hangs fails its own test by name, not the whole run by its time.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs a program to its end.
///
/// # Panics
/// Where it cannot be started, or has not ended after 20 minutes.
pub fn run(command: &mut Command) -> Said {
    run_within(command, LIMIT)
}

fn run_within(command: &mut Command, limit: Duration) -> Said {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let id = child.id().to_string();
    let (ended, end) = channel::<()>();
    let watch = thread::spawn(move || {
        let is_late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        is_late && Command::new("kill").args(["-KILL", &id]).status().is_ok()
    });
    let output = child.wait_with_output();
    drop(ended);
    let was_late = watch.join().unwrap_or_default();
    match output {
        Ok(Output { status, stdout, stderr }) => {
            let [out, err] = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
            assert!(!was_late, "{command:?} did not end within {limit:?}\n{out}\n{err}");
            Said { code: status.code(), out, err }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "did not end within 200ms")]
    fn a_program_that_hangs_is_stopped_and_named() {
        run_within(Command::new("sleep").arg("600"), Duration::from_millis(200));
    }

    #[test]
    fn a_program_sees_no_more_than_at_a_persons() {
        let said = {
            let mut env = Command::new("env");
            succeed(as_a_person_has_it(env.env("CI", "true")))
        };
        let names: Vec<&str> = said.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.contains(&"PATH") && names.iter().all(|name| KEPT.contains(name)), "{said}");
    }

    #[test]
    fn what_a_program_says_is_kept() {
        let said = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(3), "out\n", "err\n"));
    }
}
