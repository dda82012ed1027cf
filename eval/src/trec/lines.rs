//! Lines whose fields are parted by white space, and where in a file one stands.

use std::path::Path;

use crate::{Error, Result};

/// A line that is not empty.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    text: &'a str,
}

/// A field of a line.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) text: &'a str,
    /// The place of its first character in the line, from 1.
    column: usize,
}

/// The text of a file.
///
/// # Errors
/// [`Error::Core`] where it cannot be read; [`Error::ReportFile`] with the line and column where it is no text.
pub(super) fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
    String::from_utf8(bytes).map_err(|e| {
        let before = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
        let (line, column) =
            (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count());
        Error::report_file(path, format!("line {line}, column {}: it is not UTF-8", column + 1))
    })
}

/// The lines that are not empty. The mark that some editors begin a file with is no part of the first.
pub(super) fn of(text: &str) -> impl Iterator<Item = Line<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().zip(1..).map(|(text, number)| Line { number, text });
    lines.filter(|line| !line.text.trim().is_empty())
}

impl<'a> Line<'a> {
    /// The fields, exactly as many as `form` names.
    ///
    /// # Errors
    /// [`Error::ReportFile`] at the first field that is too many, or behind the last.
    pub(super) fn fields<const N: usize>(&self, path: &Path, form: &str) -> Result<[Field<'a>; N]> {
        let mut fields = Vec::with_capacity(N);
        let mut column = 0;
        let (mut is_within, mut begin) = (false, 0);
        for (at, character) in self.text.char_indices().chain([(self.text.len(), ' ')]) {
            column += 1;
            match (is_within, character.is_whitespace()) {
                (false, false) => {
                    (is_within, begin) = (true, at);
                    fields.push(Field { text: "", column });
                }
                (true, true) => {
                    is_within = false;
                    if let Some(field) = fields.last_mut() {
                        field.text = &self.text[begin..at];
                    }
                }
                _ => {}
            }
        }
        let n = fields.len();
        let end = Field { text: "", column };
        let wrong = fields.get(N).copied().unwrap_or(end);
        fields
            .try_into()
            .map_err(|_count| self.broken(path, wrong, format!("it has {n} fields, expected {N}, '{form}'")))
    }

    /// An error at a field.
    pub(super) fn broken(&self, path: &Path, at: Field<'_>, reason: impl std::fmt::Display) -> Error {
        Error::report_file(path, format!("line {}, column {}: {reason}", self.number, at.column))
    }
}
