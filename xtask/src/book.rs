//! The book: mdBook over the pages of `docs`, and over those outside of it that its table of contents names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{checkout, pages, say, stage, tidy};

/// The version of mdBook. Its licence, MPL-2.0, is that of a tool which is not shipped; the style of its pages stays under it.
const VERSION: &str = "0.5.4";

/// Builds the book into `target/book` and says where it begins.
pub(crate) fn build() -> Result<()> {
    let files = tidy::tracked_files()?;
    let (source, book) = (checkout::target("book-source"), checkout::target("book"));
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    lay_out(&files, &source)?;
    let mut mdbook = checkout::command(mdbook()?);
    checkout::run(mdbook.arg("build").arg(&source).arg("--dest-dir").arg(&book).stdout(std::io::stderr()))?;
    say::result(&book.join("index.html").display().to_string());
    Ok(())
}

/// mdBook, compiled into the checkout once.
fn mdbook() -> Result<PathBuf> {
    let folder = checkout::provisioned("mdbook");
    stage::folder(
        &folder,
        &stage::key(&["mdbook", VERSION]),
        "mdBook (crates.io, MPL-2.0; some minutes)",
        |new| {
            let mut install = checkout::cargo();
            install.args(["install", "mdbook", "--locked", "--version", &format!("={VERSION}")]);
            install.args(["--no-default-features", "--features", "search", "--root"]);
            checkout::run(install.arg(new))
        },
    )?;
    Ok(folder.join("bin/mdbook"))
}

/// Lays the book's pages, and what they link to, where they lie in the repository, so that links need no change; the table of
/// contents is then above them.
fn lay_out(files: &[String], source: &Path) -> Result<()> {
    let all = pages::read(files)?;
    let contents = fs::read_to_string(checkout::root().join(pages::CONTENTS))?;
    let of = |file: &str| all.get(file).into_iter().flat_map(|page| &page.links);
    let targets = |from: &str| -> Vec<String> {
        of(from).filter_map(|(_, link)| pages::target(from, link)).map(|(path, _)| path).collect()
    };
    let listed = targets(pages::CONTENTS);
    let linked = listed.iter().flat_map(|page| targets(page)).filter(|file| !file.ends_with(".md"));
    for file in linked.chain(listed.iter().cloned()) {
        let to = source.join("src").join(&file);
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(checkout::root().join(&file), &to).with_context(|| format!("cannot copy '{file}'"))?;
    }
    fs::copy(checkout::root().join(pages::FOLDER).join("book.toml"), source.join("book.toml"))?;
    Ok(fs::write(source.join("src/SUMMARY.md"), from_above(&contents))?)
}

/// The table of contents of a folder that is above `docs`.
fn from_above(contents: &str) -> String {
    let mut parts = contents.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("](");
        match part.strip_prefix("../") {
            Some(outside) => text.push_str(outside),
            None => text.extend([pages::FOLDER, part]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_of_contents_is_seen_from_above() {
        let contents = "[s](../README.md)\n- [a](a.md)\n    - [b](b/c.md)\n";
        let expected = "[s](README.md)\n- [a](docs/a.md)\n    - [b](docs/b/c.md)\n";
        assert_eq!(super::from_above(contents), expected);
    }
}
