//! Times the neighbourhood-ranking statistics as the number of photos grows, and against SciPy.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{checkout, provision, say};

/// Photos; the peer takes the first two only.
const SIZES: [&str; 4] = ["1000", "2000", "4000", "8000"];
const N_PEER: usize = 2;

/// Prints a table of our times and one of the peer's.
pub(crate) fn run() -> Result<()> {
    let example = ["--release", "--package", "sketchfind-eval", "--example", "neighbours"];
    checkout::run(checkout::cargo().arg("build").args(example))?;
    let python = provision::scipy_python()?;
    let ours = checkout::target("release").join("examples/neighbours");
    let started = Instant::now();
    say::result(checkout::output(checkout::command(&ours).args(SIZES))?.trim_end());
    say::line(&format!("in {:.1} s", started.elapsed().as_secs_f64()));
    let mut table = vec!["| photos | SciPy's Kendall tau of every row |".to_owned(), "| --- | --- |".into()];
    for size in &SIZES[..N_PEER] {
        let said = checkout::output(checkout::command(&python).arg("benches/neighbours.py").arg(size))?;
        let seconds: f64 = said.trim().parse().with_context(|| format!("the peer said '{said}'"))?;
        table.push(format!("| {size} | {seconds:.2} s |"));
    }
    say::result(&table.join("\n"));
    Ok(())
}
