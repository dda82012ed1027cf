//! Progress and messages on standard error.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sketchfind_core::terminal;

/// Whether `--quiet` was given: no progress, and nothing of what went well.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Says from now on only what is wrong.
pub(crate) fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Tells on standard error what is going on, unless that is not wanted.
pub(crate) fn say(line: &str) {
    if !is_quiet() {
        warn(line);
    }
}

/// Tells on standard error what is wrong: what was left out, what failed. One that is closed is no reason to stop.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", terminal::lines(line));
}

/// A bar of `n` things on a terminal; elsewhere two lines, so that a log stays readable.
pub(crate) struct Bar {
    bar: ProgressBar,
    what: String,
}

impl Bar {
    pub(crate) fn new(n: usize, what: &str) -> Bar {
        let bar = ProgressBar::new(n as u64);
        if is_quiet() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
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
