//! Standard output: data, and nothing else. Lines for people have no control characters; CSV and JSON are formats of their
//! own, and keep what they are given.

use std::io::Write;

use anyhow::{Context, Result};
use sketchfind_core::terminal::one_line;

/// Writes lines for people to standard output. Where nobody reads them any more, such as behind `head`, that is no failure, and
/// no success either: the exit code says what was found.
///
/// # Errors
/// Where it is full.
pub(crate) fn lines<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Result<()> {
    let lines: Vec<_> = lines.into_iter().map(|line| one_line(line.as_ref()).into_owned() + "\n").collect();
    or_nobody_reads(stream(lines.concat().as_bytes()))
}

/// Writes a text in a format of its own to standard output as it is, and ends its line; otherwise as [`lines`].
///
/// # Errors
/// Where it is full.
pub(crate) fn raw(text: impl AsRef<[u8]>) -> Result<()> {
    or_nobody_reads(stream(&[text.as_ref().trim_ascii_end(), b"\n"].concat()))
}

/// Writes a part of an answer to standard output as it is, where somebody may be waiting for it.
///
/// # Errors
/// Where it is full, or nobody reads it any more: then the rest need not be computed.
pub(crate) fn stream(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context("cannot write to standard output")
}

fn or_nobody_reads(written: Result<()>) -> Result<()> {
    match written {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        other => other,
    }
}

/// Whether an error is that nobody reads standard output any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Aligned columns: the first row is the header; a column of numbers, as its name in `right` says, ends flush.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> Vec<String> {
    // As they will be written, so that the columns stay where they are.
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(|width| width.unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = widths[column];
                if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["id", "rank"], ["käse", "1"], ["x", "10"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, &[1]), ["id    rank", "käse     1", "x       10"]);
        let rows = [["\u{1b}[2J", "1"], ["x", "2"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, &[1]), [r"\u{1b}[2J  1", "x          2"]);
    }
}
