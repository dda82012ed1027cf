//! Whether what products get compiles for other systems. It is not run there.

use anyhow::{Context, Result};

use crate::{checkout, say};

/// The library, the server and the program. The trainer links libtorch of this machine.
const PACKAGES: [&str; 3] = ["sketchfind", "sketchfind-serve", "sketchfind-cli"];

/// Checks the packages for each target that is installed, but for this machine's own.
pub(crate) fn run() -> Result<()> {
    let others = others()?;
    if others.is_empty() {
        say::line("rustup has no target besides this machine's own: nothing to check");
    }
    for target in others {
        let mut check = checkout::cargo();
        check.args(["check", "--quiet", "--target", &target]);
        check.args(PACKAGES.iter().flat_map(|name| ["--package", name]));
        // Apart: checks of other features would be made anew each time.
        check.arg("--target-dir").arg(checkout::target("targets"));
        checkout::run(&mut check).with_context(|| format!("{target} does not compile"))?;
        say::line(&format!("{target}: compiles"));
    }
    Ok(())
}

/// The targets that rustup has, but for this machine's own; none where there is no rustup.
fn others() -> Result<Vec<String>> {
    let version = checkout::output(checkout::command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let Ok(listed) = checkout::output(checkout::command("rustup").args(["target", "list", "--installed"]))
    else {
        return Ok(Vec::new());
    };
    Ok(listed.lines().filter(|target| *target != host).map(str::to_owned).collect())
}
