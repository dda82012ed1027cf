//! Text for a terminal. Ids, labels, paths and what decoders say come from files of strangers; what a terminal takes for a
//! command must not reach it: it could change colours and titles, move the cursor over earlier lines, or forge them.

use std::borrow::Cow;

/// One line of text in which control characters stand as Rust writes them, such as `\u{1b}` for escape; and so do those that
/// change the direction of writing, by which `gpj.exe` is shown as `exe.jpg`. All else stays as it is.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_command)
}

/// As [`one_line`], but the lines of a text of several stay lines; those behind the first are set in, so that none of them looks
/// like one that a program says by itself.
pub fn lines(text: &str) -> Cow<'_, str> {
    match escaped(text, |char| char != '\n' && is_command(char)) {
        text if text.contains('\n') => {
            let lines: Vec<&str> = text.split('\n').collect();
            // What is set in already stays where it is.
            let rest = lines.iter().skip(1).map(|line| match line {
                line if line.is_empty() || line.starts_with("  ") => (*line).to_owned(),
                line => format!("  {line}"),
            });
            let first = lines.first().map(|line| (*line).to_owned());
            Cow::Owned(first.into_iter().chain(rest).collect::<Vec<_>>().join("\n"))
        }
        text => text,
    }
}

/// Whether a text would be shown otherwise by [`one_line`].
pub fn has_commands(text: &str) -> bool {
    text.chars().any(is_command)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_escaped(char) {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

/// Control characters (C0, delete, C1), separators of lines, and marks of direction.
fn is_command(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_stays() {
        assert_eq!(one_line("käse 一 'a\\b'"), "käse 一 'a\\b'");
        assert!(!has_commands("käse 一 'a\\b'") && has_commands("a\nb"));
        assert_eq!(one_line("\u{1b}[31mred\n\u{202e}gpj"), r"\u{1b}[31mred\n\u{202e}gpj");
        assert_eq!(lines("two faults:\nerror: none\r"), "two faults:\n  error: none\\r");
        assert_eq!(lines("a\n  b\n\nc"), "a\n  b\n\n  c");
    }

    #[test]
    fn no_command_is_left() {
        let all: String = ('\0'..='\u{2100}').collect();
        for text in [one_line(&all), lines(&all)] {
            assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
            assert!(!text.contains(['\u{200f}', '\u{2028}', '\u{202e}', '\u{2067}', '\u{9b}']), "{text:?}");
            assert!(text.contains('\u{200b}') && text.contains("xyz{|}~") && text.contains("äåæ"));
        }
        assert!(!one_line(&all).contains('\n') && lines(&all).contains('\n'));
        // Once is enough: what is escaped is not escaped again.
        let once = one_line("\u{7}");
        assert_eq!(one_line(&once), once);
    }
}
