//! Progress and messages on standard error.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};

/// Writes a line to standard error. One that is closed is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A bar of `n` things on a terminal; elsewhere two lines, so that a log stays readable.
pub(crate) struct Bar {
    bar: ProgressBar,
    what: String,
}

impl Bar {
    pub(crate) fn new(n: usize, what: &str) -> Bar {
        let bar = ProgressBar::new(n as u64);
        // The template is a constant; with a mistake in it the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {per_sec} {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        if bar.is_hidden() {
            say(&format!("{what}: {n}"));
        }
        Bar { bar, what: what.to_owned() }
    }

    pub(crate) fn set(&self, n_done: usize) {
        self.bar.set_position(n_done as u64);
    }

    pub(crate) fn finish(self) {
        let elapsed = self.bar.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        let n = self.bar.length().unwrap_or(0);
        let rate = n as f64 / elapsed.max(1e-9);
        say(&format!("{}: {n} done in {elapsed:.1} s ({rate:.1} a second)", self.what));
    }
}
