//! Which system files want, read off the files.

use std::path::Path;

use anyhow::{Context, Result};

use crate::checkout;

/// The newest version of the C library (`GLIBC_`) or of the C++ library (`GLIBCXX_`) that any of these files asks for, as
/// numbers such as 2.35; nothing where none asks for one.
pub(super) fn newest(files: &[&Path], of: &str) -> Result<Option<String>> {
    let mut newest: Option<Vec<u32>> = None;
    for file in files {
        let mut readelf = checkout::command("readelf");
        let said = checkout::output(readelf.args(["--version-info", "--wide"]).arg(file));
        let said = said.with_context(|| format!("cannot tell what '{}' asks for", file.display()))?;
        newest = newest.max(newest_in(&said, of));
    }
    Ok(newest.map(|numbers| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")))
}

/// The newest version of that name in what readelf says.
fn newest_in(said: &str, of: &str) -> Option<Vec<u32>> {
    let versions = said.split_whitespace().filter_map(|word| word.strip_prefix(of));
    versions.filter_map(|version| version.split('.').map(|part| part.parse().ok()).collect()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_by_number() {
        let said = "  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 5\n  Name: GLIBC_2.34 Flags: none\n\
                    Name: GLIBC_PRIVATE GLIBC_2.4  Name: GLIBCXX_3.4.22 GLIBC_ABI_DT_RELR";
        assert_eq!(newest_in(said, "GLIBC_"), Some(vec![2, 34]));
        assert_eq!(newest_in(said, "GLIBCXX_"), Some(vec![3, 4, 22]));
        assert_eq!(newest_in(said, "CXXABI_"), None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("no-program");
        let message = format!("{:#}", newest(&[&file], "GLIBC_").unwrap_err());
        assert!(message.contains("no-program"), "{message}");
    }
}
