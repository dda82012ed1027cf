//! Messages on standard error, and on standard output what a chore is for.

use std::io::Write;

/// Writes a line to standard error.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes the result of a chore to standard output.
pub(crate) fn result(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// `83 s` as `1 min 23 s`.
pub(crate) fn duration(secs: f64) -> String {
    if secs < 60.0 {
        format!("{secs:.1} s")
    } else {
        format!("{} min {:02} s", secs as u64 / 60, secs as u64 % 60)
    }
}
