//! The file of a segment, `segments/<number>.rows`: written once, checked when it is opened, mapped while it is read.
//!
//! ```text
//! 0       "SKFNDSEG", format u32, block u32, width u32, n u64, bytes of photos u64, number u64,
//!         SHA-256 of the model, CRC-32C of all before it; zeros up to 4096
//! 4096    the matrix, n x width float32
//! then    CRC-32C u32 of each block of the matrix
//! then    the photos: id, labels, path, SHA-256 of the file, product
//! last    CRC-32C u32 of the checksums and the photos
//! ```
//!
//! Numbers are little-endian.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use sketchfind_core::{Error as CoreError, atomic, fingerprint};
use sketchfind_index::{Matrix, Rows};

use super::codec::{self, Reader};
use super::map::{Map, MappedRows};
use super::segment::Segment;

use crate::process;
use crate::{Error, Photo, Result};

/// The folder of these files in a gallery's folder.
pub(super) const FOLDER: &str = "segments";
const MAGIC: &[u8; 8] = b"SKFNDSEG";
const FORMAT: u32 = 2;
/// Where the matrix begins: at a page, so that its numbers lie where numbers may.
const MATRIX: usize = 4096;
/// Bytes of the matrix under one checksum.
const BLOCK: usize = 1 << 18;
const HEADER: usize = 8 + 4 * 3 + 8 * 3 + 32;

/// The file of segment `number`.
pub(super) fn path_of(gallery: &Path, number: u64) -> PathBuf {
    gallery.join(FOLDER).join(format!("{number:08}.rows"))
}

/// What a segment's file has to agree with.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    /// The SHA-256 of the gallery's model.
    pub(super) model: &'a [u8; 32],
    /// The width of an embedding.
    pub(super) width: usize,
}

/// Writes the segment `number` of `n` photos with their embeddings, sorted by id.
///
/// # Errors
/// [`Error::Core`] where the file cannot be written; there is then no such file.
pub(super) fn write<'p>(
    gallery: &Path,
    number: u64,
    n: usize,
    rows: impl Iterator<Item = (&'p Photo, &'p [f32])>,
    expected: Expected<'_>,
) -> Result<()> {
    let path = path_of(gallery, number);
    let failed = |e| Error::Core(CoreError::io("write", &path)(e));
    // The length of the photos stands in the header and is known last: they are gathered first.
    let rows: Vec<(&Photo, &[f32])> = rows.collect();
    let mut photos = Vec::new();
    rows.iter().for_each(|(photo, _)| codec::put_photo(&mut photos, photo));
    atomic::write_file(&path, |out| -> Result<()> {
        let mut header = Vec::with_capacity(MATRIX);
        header.extend_from_slice(MAGIC);
        for value in [FORMAT, BLOCK as u32, expected.width as u32] {
            header.extend_from_slice(&value.to_le_bytes());
        }
        for value in [n as u64, photos.len() as u64, number] {
            header.extend_from_slice(&value.to_le_bytes());
        }
        header.extend_from_slice(expected.model);
        let checksum = crc32c::crc32c(&header);
        header.extend_from_slice(&checksum.to_le_bytes());
        header.resize(MATRIX, 0);
        out.write_all(&header).map_err(failed)?;

        let mut blocks = Blocks { checksums: Vec::new(), current: 0, n_in_block: 0 };
        let mut bytes = Vec::with_capacity(expected.width * 4);
        for (_, row) in &rows {
            bytes.clear();
            row.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
            blocks.add(&bytes);
            out.write_all(&bytes).map_err(failed)?;
        }
        let mut end = blocks.finish();
        end.extend_from_slice(&photos);
        let checksum = crc32c::crc32c(&end);
        end.extend_from_slice(&checksum.to_le_bytes());
        out.write_all(&end).map_err(failed)
    })
}

/// Checksums of blocks of bytes that come in pieces.
struct Blocks {
    checksums: Vec<u8>,
    current: u32,
    n_in_block: usize,
}

impl Blocks {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.n_in_block));
            self.current = crc32c::crc32c_append(self.current, now);
            self.n_in_block += now.len();
            bytes = rest;
            if self.n_in_block == BLOCK {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        self.checksums.extend_from_slice(&self.current.to_le_bytes());
        (self.current, self.n_in_block) = (0, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.n_in_block > 0 {
            self.end_block();
        }
        self.checksums
    }
}

/// Opens the segment `number` and checks every byte of it.
///
/// # Errors
/// [`Error::Core`] where the file cannot be opened; [`Error::Gallery`] with the file and place that are damaged.
pub(super) fn open(gallery: &Path, number: u64, expected: Expected<'_>) -> Result<Segment> {
    let path = path_of(gallery, number);
    let map = Map::open(&path).map_err(|error| super::unreadable(gallery, &path, error))?;
    process::on_live_threads(|| read(map, number, expected))?.map_err(|reason| Error::Gallery {
        path: gallery.to_owned(),
        reason: format!("'{FOLDER}/{number:08}.rows' is damaged or was changed: {reason}"),
    })
}

fn read(map: Map, number: u64, expected: Expected<'_>) -> codec::Result<Segment> {
    let identity = map.identity();
    let bytes = map.bytes();
    let header = bytes
        .get(..HEADER + 4)
        .ok_or_else(|| format!("it has {} bytes, where its header alone has {MATRIX}", bytes.len()))?;
    let mut reader = Reader::new(header);
    if reader.bytes(8)? != MAGIC {
        return Err("it does not begin as a segment does".into());
    }
    let (format, block, width) = (reader.u32()?, reader.u32()?, reader.u32()? as usize);
    let (n, n_photo_bytes, own_number) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let model = reader.bytes(32)?;
    if crc32c::crc32c(&header[..HEADER]) != reader.u32()? {
        return Err("its header's checksum is wrong".into());
    }
    if format != FORMAT || block as usize != BLOCK {
        return Err(format!(
            "it is of format {format} with blocks of {block} bytes, expected {FORMAT} and {BLOCK}"
        ));
    }
    if width != expected.width || own_number != number || model != expected.model {
        return Err("it belongs to another gallery or was renamed".into());
    }
    let sizes = || {
        let n = usize::try_from(n).ok().filter(|&n| n < u32::MAX as usize)?;
        let matrix = n.checked_mul(width)?.checked_mul(4)?;
        let checksums = matrix.div_ceil(BLOCK).checked_mul(4)?;
        let photos = usize::try_from(n_photo_bytes).ok()?;
        let end = checksums.checked_add(photos)?.checked_add(4)?;
        Some((
            n,
            matrix,
            checksums,
            MATRIX.checked_add(matrix)?,
            MATRIX.checked_add(matrix)?.checked_add(end)?,
        ))
    };
    let (n, n_matrix, n_checksums, end_start, n_bytes) = sizes().ok_or("its header is out of range")?;
    if bytes.len() != n_bytes {
        return Err(format!("it has {} bytes, expected {n_bytes}", bytes.len()));
    }
    if bytes[HEADER + 4..MATRIX].iter().any(|&byte| byte != 0) {
        return Err("its header is not followed by zeros".into());
    }
    let end = &bytes[end_start..];
    let (checked, checksum) = end.split_at(end.len() - 4);
    if crc32c::crc32c(checked).to_le_bytes() != checksum {
        return Err("the checksum of its photos is wrong".into());
    }
    let (checksums, photo_bytes) = checked.split_at(n_checksums);
    let bad = bytes[MATRIX..end_start]
        .par_chunks(BLOCK)
        .zip(checksums.par_chunks(4))
        .position_first(|(block, checksum)| crc32c::crc32c(block).to_le_bytes() != checksum);
    if let Some(block) = bad {
        let row_of = |byte: usize| (byte / 4).checked_div(width).unwrap_or(0);
        return Err(format!(
            "the checksum of block {block} of its matrix is wrong (rows {} to {} of {n})",
            row_of(block * BLOCK),
            row_of(((block + 1) * BLOCK).min(n_matrix) - 1)
        ));
    }
    let mut reader = Reader::new(photo_bytes);
    // A photo takes ten bytes at least: no more is allocated than the file has room for.
    let mut photos = Vec::with_capacity(n.min(photo_bytes.len() / 10));
    for _ in 0..n {
        photos.push(reader.photo()?);
    }
    reader.end()?;
    if !photos.is_sorted_by(|a, b| a.id() < b.id()) {
        return Err("its photos are not sorted by id".into());
    }
    // The checksums, which agree with the matrix, stand for it.
    let sha256 = fingerprint::of_bytes(&[header, checksums].concat());
    let rows = MappedRows::new(map, MATRIX, n, width).ok_or("its matrix is not where numbers may be")?;
    if rows.values().par_chunks(BLOCK / 4).any(|block| block.iter().any(|value| !value.is_finite())) {
        return Err("its matrix holds a number that is not finite".into());
    }
    let segment = Segment::sorted(photos, Matrix::of(Arc::new(rows)), Some((number, sha256)));
    Ok(segment.of_file(identity))
}
