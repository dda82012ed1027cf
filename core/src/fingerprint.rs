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

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
