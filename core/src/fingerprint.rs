//! SHA-256 fingerprints: which bytes a result was made from.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
///
/// ```
/// use sketchfind_core::fingerprint::of_bytes;
/// assert!(of_bytes(b"abc").starts_with("ba7816bf8f01cfea"));
/// ```
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of `bytes`.
pub fn raw_of_bytes(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The SHA-256 of a file's bytes as 64 lower-case hexadecimal digits.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    sha256_of_file(path).map(|bytes| hex(&bytes))
}

/// The SHA-256 of a file's bytes.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<[u8; 32]> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hasher.finalize().into()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Bytes as lower-case hexadecimal digits, two each.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The 32 bytes that 64 hexadecimal digits of either case write.
pub fn of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_and_their_digits_are_one_to_one() {
        let bytes: [u8; 32] = std::array::from_fn(|i| (i * 7 + 1) as u8);
        assert_eq!(of_hex(&hex(&bytes)), Some(bytes));
        let long = "0".repeat(65);
        let signed = format!("+1{}", "0".repeat(62));
        for bad in ["", "00", &long, &signed, &"x".repeat(64), &"\u{e9}".repeat(32)] {
            assert_eq!(of_hex(bad), None, "{bad}");
        }
    }
}
