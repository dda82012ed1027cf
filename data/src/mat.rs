//! MATLAB arrays: version 5 files (`MAT-File Format`, The MathWorks), as MATLAB's `save -v7` and SciPy's `savemat` write
//! them, plain or compressed. Only what image arrays need: numeric arrays without imaginary part, whole numbers of 8
//! bits. Version 7.3 files are HDF5; they are refused with the way to convert them.

use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// An array of 8-bit numbers in MATLAB's order: the first index runs fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteArray {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers, the first index running fastest.
    pub values: Vec<u8>,
}

/// The most bytes that one array may unfold to: a compressed one may be small.
const MAX_ARRAY: u64 = 4 << 30;

const MI_INT8: u32 = 1;
const MI_UINT8: u32 = 2;
const MI_INT32: u32 = 5;
const MI_UINT32: u32 = 6;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;
/// Bits of an array's flags.
const COMPLEX: u32 = 0x0800;

impl ByteArray {
    /// Reads the array called `name` of a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] where it is no such file, is damaged, or has no such array of 8-bit numbers.
    pub fn read(path: &Path, name: &str) -> Result<ByteArray> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        parse(&bytes, name).map_err(|reason| Error::malformed(path, format!("MATLAB file: {reason}")))
    }
}

fn parse(bytes: &[u8], name: &str) -> std::result::Result<ByteArray, String> {
    if bytes.starts_with(b"MATLAB 7.3") || bytes.get(..8) == Some(&b"\x89HDF\r\n\x1a\n"[..]) {
        return Err("it is of version 7.3 (HDF5), expected version 5; in MATLAB: x = load(FILE); \
                    save(FILE, '-struct', 'x', '-v7')"
            .into());
    }
    if bytes.len() < 128 || bytes.get(126..128) != Some(b"IM") {
        return Err("it has no header of a little-endian version 5 file".into());
    }
    let mut rest = &bytes[128..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (kind, data, behind) = element(rest)?;
        rest = behind;
        let unfolded;
        let (kind, data) = if kind == MI_COMPRESSED {
            let mut out = Vec::new();
            let reader = flate2::read::ZlibDecoder::new(data);
            reader.take(MAX_ARRAY).read_to_end(&mut out).map_err(|e| format!("a compressed array: {e}"))?;
            unfolded = out;
            let (kind, data, _) = element(&unfolded)?;
            (kind, data)
        } else {
            (kind, data)
        };
        if kind != MI_MATRIX {
            continue;
        }
        match matrix(data, name)? {
            Ok(array) => return Ok(array),
            Err(other) => found.push(other),
        }
    }
    Err(format!("it has no array '{name}'; it has: {}", found.join(", ")))
}

/// Parts `bytes` into the first element's type and data, and what is behind it.
fn element(bytes: &[u8]) -> std::result::Result<(u32, &[u8], &[u8]), String> {
    let cut = || "it is cut off".to_owned();
    let (tag, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
    let [first, second] = [&tag[..4], &tag[4..]].map(|part| {
        let mut word = [0; 4];
        word.copy_from_slice(part);
        u32::from_le_bytes(word)
    });
    // The small form: type and length in one word, up to four bytes of data in the other.
    if first >> 16 != 0 {
        let length = (first >> 16) as usize;
        let data = bytes.get(4..4 + length).filter(|_| length <= 4).ok_or_else(cut)?;
        return Ok((first & 0xffff, data, rest));
    }
    let length = second as usize;
    let data = rest.get(..length).ok_or_else(cut)?;
    // Elements begin at multiples of eight bytes, but for compressed ones.
    let padded = if first == MI_COMPRESSED { length } else { length.next_multiple_of(8) };
    Ok((first, data, rest.get(padded..).unwrap_or_default()))
}

/// The array of a matrix element if it is called `wanted`; its own name otherwise.
fn matrix(data: &[u8], wanted: &str) -> std::result::Result<std::result::Result<ByteArray, String>, String> {
    let (kind, flags, rest) = element(data)?;
    let flags = match (kind, flags.first_chunk::<4>()) {
        (MI_UINT32, Some(word)) => u32::from_le_bytes(*word),
        _ => return Err("an array has no flags".into()),
    };
    let (kind, sizes, rest) = element(rest)?;
    let (sizes, is_whole) = match (kind, sizes.as_chunks::<4>()) {
        (MI_INT32, (words, rest)) => (words, rest.is_empty()),
        _ => return Err("an array has no sizes".into()),
    };
    let shape: Option<Vec<usize>> =
        sizes.iter().map(|word| usize::try_from(i32::from_le_bytes(*word)).ok()).collect();
    let shape = shape.filter(|_| is_whole).ok_or("an array's sizes are not whole numbers from 0")?;
    let (kind, name, rest) = element(rest)?;
    if kind != MI_INT8 {
        return Err("an array has no name".into());
    }
    let name = String::from_utf8_lossy(name).into_owned();
    if name != wanted {
        return Ok(Err(name));
    }
    if flags & COMPLEX != 0 {
        return Err(format!("the array '{name}' is complex, expected 8-bit numbers"));
    }
    let (kind, values, _) = element(rest)?;
    if kind != MI_UINT8 {
        return Err(format!("the array '{name}' is stored as type {kind}, expected 8-bit numbers (type 2)"));
    }
    let n_values = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if n_values != Some(values.len()) {
        return Err(format!("the array '{name}' of sizes {shape:?} has {} numbers", values.len()));
    }
    Ok(Ok(ByteArray { shape, values: values.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sketchfind_core::random::Stream;

    /// `data[i, j, k] = 100 * i + 10 * j + k` of shape [2, 3, 4], and another array before it; written by
    /// tests/fixtures/make_mat.py with SciPy.
    const PLAIN: &[u8] = include_bytes!("../tests/fixtures/small_plain.mat");
    const COMPRESSED: &[u8] = include_bytes!("../tests/fixtures/small_compressed.mat");

    #[test]
    fn reads_what_scipy_wrote() {
        for bytes in [PLAIN, COMPRESSED] {
            let array = parse(bytes, "data").unwrap();
            assert_eq!(array.shape, [2, 3, 4]);
            for (i, j, k) in [(0, 0, 0), (1, 0, 0), (0, 2, 0), (1, 2, 3)] {
                assert_eq!(usize::from(array.values[i + 2 * (j + 3 * k)]), 100 * i + 10 * j + k);
            }
            assert!(parse(bytes, "other").unwrap_err().contains("it has: "));
        }
    }

    #[test]
    fn damage_is_refused_and_never_panics() {
        let mut stream = Stream::new(1, "mutations", &[]);
        for whole in [PLAIN, COMPRESSED] {
            for end in 0..whole.len() - 8 {
                assert!(parse(&whole[..end], "data").is_err(), "cut at {end}");
            }
            for _ in 0..5_000 {
                let mut bytes = whole.to_vec();
                for _ in 0..=stream.below(3) {
                    let position = stream.below(bytes.len());
                    bytes[position] = stream.bits() as u8;
                }
                let _ = parse(&bytes, "data");
            }
        }
        assert!(parse(b"MATLAB 7.3 MAT-file, ...", "data").unwrap_err().contains("-v7"));
    }
}
