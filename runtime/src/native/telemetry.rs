//! ONNX Runtime's telemetry, off before it begins.
//!
//! From 1.29 on ONNX Runtime's own builds for Linux and macOS report to their maker. While its environment is made it keeps a
//! device id and a database of events under the user's cache, opens a log in the temporary folder under a name that can be
//! guessed, through links, and takes the process's command line apart with a regular expression that overflows the stack on
//! a long one; seconds later it looks up a collector's name. The function of its interface that switches telemetry off takes
//! that environment, so it comes too late. The variable `ORT_DISABLE_TELEMETRY`, read while the environment is made, stops all
//! of it.
//!
//! To set a variable while another thread reads one is undefined behaviour. So it is set where there is no other thread:
//! before `main`, when the system's loader runs the initialisers of the program or shared library that holds this crate; or,
//! where threads were there already (a library that is loaded late), when ONNX Runtime is loaded, should they be gone by
//! then. Otherwise setting it is the duty of whoever started the process, and ONNX Runtime is refused until it is done.

use std::ffi::OsString;
use std::path::Path;

use crate::{Error, Result};

/// The environment variable that ONNX Runtime asks.
pub(crate) const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
/// Its value for no telemetry at all. Newer and older versions differ in which other words they take.
pub(crate) const OFF: &str = "1";

/// What the system's loader calls before `main`, or while it loads a shared library.
// A section is named by an attribute that counts as unsafe.
#[allow(unsafe_code)]
// SAFETY: the section holds pointers to functions that the loader calls once each; it passes arguments that this one does not
// look at, and expects nothing back.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

#[cfg(target_os = "linux")]
extern "C" fn at_load() {
    // Where it cannot be done, `check` says so, and only to those who load ONNX Runtime.
    switch_off();
}

/// Switches telemetry off, unless it is off or other threads may be reading the environment. Returns whether it is off.
pub(super) fn switch_off() -> bool {
    let is_off = std::env::var_os(VARIABLE).is_some_and(|value| value == OFF);
    if !is_off && is_only_thread() {
        set();
        return true;
    }
    is_off
}

/// # Errors
/// [`Error::OrtTelemetry`] where telemetry is not off and `library` has some.
pub(super) fn check(is_off: bool, library: &Path) -> Result<()> {
    if is_off || !has_telemetry(library) {
        return Ok(());
    }
    Err(Error::OrtTelemetry { path: library.to_owned(), value: std::env::var_os(VARIABLE) })
}

/// Whether this thread is the process's only one; `false` where the system does not tell.
fn is_only_thread() -> bool {
    // The kernel's list. Nobody but this thread could start another one meanwhile.
    cfg!(target_os = "linux") && std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

// Changing the environment is unsafe because of other threads.
#[allow(unsafe_code)]
fn set() {
    debug_assert!(is_only_thread());
    // SAFETY: the caller has seen that there is no other thread, and only this one could start one.
    unsafe { std::env::set_var(VARIABLE, OFF) };
}

/// Whether a library asks for the variable at all: builds before 1.29 do not, nor do those without telemetry. One that
/// cannot be read, because only the system's loader knows where it is, is taken to.
fn has_telemetry(library: &Path) -> bool {
    let name = VARIABLE.as_bytes();
    std::fs::read(library).map_or(true, |bytes| bytes.windows(name.len()).any(|part| part == name))
}

/// The variable's value as an error tells it.
pub(crate) fn told(value: Option<&OsString>) -> String {
    value.map_or_else(|| "not set".into(), |value| format!("'{}'", value.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_off_before_the_first_line_of_a_program() {
        assert_eq!(std::env::var_os(VARIABLE), Some(OFF.into()));
        assert!(switch_off());
    }

    #[test]
    fn nothing_is_set_beside_other_threads() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || ended.recv());
        assert!(!is_only_thread());
        drop(end);
        assert!(other.join().unwrap().is_err());
    }

    #[test]
    fn only_a_library_with_telemetry_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [with, without] = ["with.so", "without.so"].map(|name| folder.path().join(name));
        std::fs::write(&with, b"\x7fELF...\0ORT_DISABLE_TELEMETRY\0...").unwrap();
        std::fs::write(&without, b"\x7fELF...\0ORT_LOG\0...").unwrap();
        check(false, &without).unwrap();
        for library in [with.as_path(), Path::new("libonnxruntime.so")] {
            check(true, library).unwrap();
            let message = check(false, library).unwrap_err().to_string();
            for part in [&library.display().to_string(), "ORT_DISABLE_TELEMETRY", "expected '1'", "before"] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
        assert_eq!((told(None), told(Some(&"0".into()))), ("not set".into(), "'0'".into()));
    }
}
