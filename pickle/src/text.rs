//! The text forms of values: what protocol 0 writes, a line each.

use std::rc::Rc;

use super::{PickleResult, Value};

/// A line as text in ASCII.
fn ascii(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line).ok().filter(|text| text.is_ascii()).map(str::trim)
}

/// INT: a decimal number, or `00` and `01`, which are false and true.
pub(super) fn int(line: &[u8]) -> PickleResult<Value> {
    match ascii(line) {
        Some("00") => Ok(Value::Bool(false)),
        Some("01") => Ok(Value::Bool(true)),
        _ => long(line),
    }
}

/// LONG: a decimal number, with an `L` behind it or not.
pub(super) fn long(line: &[u8]) -> PickleResult<Value> {
    let digits = ascii(line).map(|text| text.strip_suffix('L').unwrap_or(text));
    let value = digits.and_then(|digits| digits.parse().ok());
    value.map(Value::Int).ok_or_else(|| wrong(line, "a whole number of at most 64 bits"))
}

/// FLOAT: a number as Python's `repr` writes it.
pub(super) fn float(line: &[u8]) -> PickleResult<Value> {
    let value = ascii(line).and_then(|text| text.parse().ok());
    value.map(Value::Float).ok_or_else(|| wrong(line, "a number"))
}

/// The place in the memo of PUT and GET.
pub(super) fn place(line: &[u8]) -> PickleResult<u32> {
    let value = ascii(line).and_then(|text| text.parse().ok());
    value.ok_or_else(|| wrong(line, "a place in the memo"))
}

/// STRING: bytes of Python 2 in quotes, with the escapes of its `repr`.
pub(super) fn string(line: &[u8]) -> PickleResult<Value> {
    let line = line.trim_ascii();
    let quoted = match line {
        [quote @ (b'\'' | b'"'), inner @ .., last] if quote == last => unescaped(inner),
        _ => None,
    };
    quoted.map(text_or_bytes).ok_or_else(|| wrong(line, "a text in quotes"))
}

/// What Python 2 calls a string: text where it is UTF-8, else bytes. Its reader knows which is meant.
pub(super) fn text_or_bytes(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => Value::Text(text.into()),
        Err(no_text) => Value::Bytes(no_text.into_bytes().into()),
    }
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first()?;
        rest = after;
        match kind {
            b'\\' | b'\'' | b'"' => out.push(kind),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'v' => out.push(11),
            b'f' => out.push(12),
            b'r' => out.push(b'\r'),
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                out.push(hexadecimal(digits)? as u8);
                rest = after;
            }
            b'0'..=b'7' => {
                let n_more = rest.iter().take(2).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
                let (more, after) = rest.split_at(n_more);
                let digits = std::iter::once(&kind).chain(more);
                out.push(digits.fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0')) as u8);
                rest = after;
            }
            // As in Python: what is no escape stands for itself.
            other => out.extend([b'\\', other]),
        }
    }
    Some(out)
}

/// UNICODE: a line of Latin-1 in which `\u` and four digits, or `\U` and eight, are other characters, or halves of them.
pub(super) fn unicode(line: &[u8]) -> PickleResult<Value> {
    let mut units: Vec<u16> = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let n_digits = match rest {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            _ => {
                units.push(u16::from(byte));
                rest = after;
                continue;
            }
        };
        let digits = rest.get(2..2 + n_digits).and_then(hexadecimal);
        let Some(value) = digits else {
            return Err(wrong(line, "escapes of four or eight digits"));
        };
        match (u16::try_from(value), char::from_u32(value)) {
            (Ok(unit), _) => units.push(unit),
            (_, Some(character)) => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
            _ => return Err(wrong(line, "characters that there are")),
        }
        rest = &rest[2 + n_digits..];
    }
    let text = String::from_utf16(&units).map_err(|_half| wrong(line, "whole characters"))?;
    Ok(Value::Text(Rc::from(text)))
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

fn wrong(line: &[u8], expected: &str) -> String {
    let start = String::from_utf8_lossy(&line[..line.len().min(40)]);
    format!("'{}' stands where {expected} is expected", start.escape_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert!(matches!(int(b"-12").unwrap(), Value::Int(-12)));
        assert!(matches!(int(b"01").unwrap(), Value::Bool(true)));
        assert!(matches!(int(b"00").unwrap(), Value::Bool(false)));
        assert!(matches!(long(b"9000000000L").unwrap(), Value::Int(9_000_000_000)));
        assert!(matches!(float(b"-1e-05").unwrap(), Value::Float(value) if value == -1e-5));
        assert_eq!(place(b"7").unwrap(), 7);
        for line in [&b"x"[..], b"", b"1.5", b"99999999999999999999", b"\xff"] {
            assert!(int(line).is_err() && place(line).is_err(), "{line:?}");
        }
        assert!(float(b"nothing").is_err());
    }

    #[test]
    fn strings_of_python_2() {
        let bytes = |line: &[u8]| match string(line).unwrap() {
            Value::Text(text) => text.as_bytes().to_vec(),
            Value::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(bytes(br"'a\'b\\c'"), br"a'b\c");
        assert_eq!(bytes(br#""it's""#), b"it's");
        assert_eq!(bytes(br"'\x00\xff\n\t\r\101\0z\q'"), b"\x00\xff\n\t\rA\0z\\q");
        for line in [&b"'a"[..], b"a", b"'\\'", b"'\\x1'", b"'\\xzz'", b"", b"'"] {
            assert!(string(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn unicode_of_any_python() {
        let text = |line: &[u8]| match unicode(line).unwrap() {
            Value::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(br"a\u005cn\u20ac"), "a\\n\u{20ac}");
        // Latin-1, a pair of halves as narrow Pythons write it, and eight digits as wide ones do.
        assert_eq!(text(b"k\xe4se \\ud83d\\ude00 \\U0001f600"), "käse \u{1f600} \u{1f600}");
        for line in [&b"\\u12"[..], b"\\ud83d", b"\\Uffffffff", b"\\uzzzz"] {
            assert!(unicode(line).is_err(), "{line:?}");
        }
    }
}
