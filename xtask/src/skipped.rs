//! Tests that were passed over, and for want of what. They say so in a list (`tests/support/surroundings.rs`), a line each,
//! which begins with whether that is as it should be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::say;

/// How a line begins whose test wants something that `cargo xtask test` provides.
const MISSING: &str = "missing: ";

/// The list, while tests run.
pub(crate) struct List(PathBuf);

impl List {
    /// An empty one.
    pub(crate) fn begin(path: PathBuf) -> Result<List> {
        fs::write(&path, "").with_context(|| format!("cannot write '{}'", path.display()))?;
        Ok(List(path))
    }

    /// For the environment of tests.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Says what was passed over, each reason once with its number. On a CI machine that misses something, that is a failure:
    /// a green run would say more than it saw.
    pub(crate) fn tell(self, is_ci: bool) -> Result<()> {
        let text =
            fs::read_to_string(&self.0).with_context(|| format!("cannot read '{}'", self.0.display()))?;
        let reasons = counted(&text);
        for (reason, n) in &reasons {
            say::line(&format!("   passed over {n} times, {reason}"));
        }
        let n_missing: usize =
            reasons.iter().filter(|(reason, _)| reason.starts_with(MISSING)).map(|(_, n)| n).sum();
        if is_ci && n_missing > 0 {
            bail!("{n_missing} checks were passed over for want of what this machine should have");
        }
        Ok(())
    }
}

fn counted(text: &str) -> BTreeMap<&str, usize> {
    let mut reasons = BTreeMap::new();
    text.lines().for_each(|line| *reasons.entry(line).or_default() += 1);
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_fails_a_ci_machine_alone() {
        let folder = tempfile::tempdir().unwrap();
        let list = |text: &str| {
            let list = List::begin(folder.path().join("skipped.txt")).unwrap();
            fs::write(list.path(), text).unwrap();
            list
        };
        let both = "missing: a browser\nnot asked for: slow\nmissing: a browser\n";
        assert_eq!(counted(both), BTreeMap::from([("missing: a browser", 2), ("not asked for: slow", 1)]));
        list(both).tell(false).unwrap();
        let message = list(both).tell(true).unwrap_err().to_string();
        assert!(message.starts_with("2 checks"), "{message}");
        list("not asked for: slow\n").tell(true).unwrap();
        list("").tell(true).unwrap();
    }
}
