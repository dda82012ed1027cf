//! The cache of a segment's graph, `graphs/<number>.graph`. The matrix is the truth: a cache that is missing, damaged, cut
//! short, of another version or of anything else than exactly this matrix, distance and parameters is as good as none, and
//! the graph is built anew. That a cache cannot be written, on a full disk or where one may only read, costs only the time
//! to build it. `graphs/building` is locked by the one who builds.
//!
//! ```text
//! 0       "SKFNDGRF", version u32, 1 where it was built of rows in float32 and 0 where in 8 bits u32,
//!         key: SHA-256 of what the graph is made from
//! then    lists: length u64, numbers; layers' starts u64 and neighbours u32, points' starts u64 and rows u32,
//!         lost points u32, rows apart u32
//! last    SHA-256 of all before it
//! ```
//!
//! Numbers are little-endian. Even where the checksum is right nothing is believed that a search would stumble over: the index looks at it once more.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use sketchfind_core::distance::Distance;
use sketchfind_core::{Error as CoreError, atomic, fingerprint};
use sketchfind_index::{BuiltGraph, Graph, Layer, RowFormat};

use super::codec::{Reader, Result as CodecResult};
use super::segment::Segment;
use crate::process::NotForChildren;
use crate::{HnswParameters, Result};

/// The folder of these files in a gallery's folder.
pub(super) const FOLDER: &str = "graphs";
const MAGIC: &[u8; 8] = b"SKFNDGRF";
/// Raised whenever graphs are built or written otherwise.
const VERSION: u32 = 2;
const HEADER: usize = 8 + 4 + 4 + 64;
const CHECKSUM: usize = 64;

/// The file of the graph of segment `number`.
pub(super) fn path_of(gallery: &Path, number: u64) -> PathBuf {
    gallery.join(FOLDER).join(format!("{number:08}.graph"))
}

/// What a graph is made from, as a fingerprint.
fn key(matrix_sha256: &str, distance: Distance, parameters: HnswParameters) -> String {
    let HnswParameters { m, ef_construction, ef_search } = parameters;
    let text = format!("{matrix_sha256} {distance} m {m} efc {ef_construction} efs {ef_search}");
    fingerprint::of_bytes(text.as_bytes())
}

/// The graph of a segment, where its cache is there and good.
pub(super) fn load(
    gallery: &Path,
    segment: &Segment,
    distance: Distance,
    parameters: HnswParameters,
) -> Option<BuiltGraph> {
    let (number, matrix_sha256) = segment.file()?;
    let bytes = std::fs::read(path_of(gallery, number)).ok()?;
    decode(&bytes, &key(matrix_sha256, distance, parameters)).ok()
}

/// Writes the graph of a segment that has a file.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) where it cannot be written.
pub(super) fn save(
    gallery: &Path,
    segment: &Segment,
    distance: Distance,
    parameters: HnswParameters,
    built: &BuiltGraph,
) -> Result<()> {
    let Some((number, matrix_sha256)) = segment.file() else {
        return Ok(());
    };
    let path = path_of(gallery, number);
    let bytes = encode(built, &key(matrix_sha256, distance, parameters));
    atomic::write_file(&path, |out| Ok(out.write_all(&bytes).map_err(CoreError::io("write", &path))?))
}

/// The right to build graphs of a gallery, which one process has at a time; nothing where another one has it. Where there is no
/// telling, as where one may only read, everybody has it.
pub(super) fn turn(gallery: &Path) -> Option<Turn> {
    let folder = gallery.join(FOLDER);
    let _ = std::fs::create_dir(&folder);
    let Ok(file) = File::create(folder.join("building")) else { return Some(Turn { _file: None }) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => None,
        Ok(()) | Err(TryLockError::Error(_)) => Some(Turn { _file: Some(NotForChildren::new(file)) }),
    }
}

/// Held while a graph is built.
pub(super) struct Turn {
    _file: Option<NotForChildren>,
}

fn encode(built: &BuiltGraph, key: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&u32::from(built.row_format == RowFormat::Float32).to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    let put_count = |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&(n as u64).to_le_bytes());
    let put_long = |out: &mut Vec<u8>, numbers: &[u64]| {
        put_count(out, numbers.len());
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    };
    let put = |out: &mut Vec<u8>, numbers: &[u32]| {
        put_count(out, numbers.len());
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    };
    put_count(&mut out, built.graph.layers.len());
    for layer in &built.graph.layers {
        put_long(&mut out, &layer.starts);
        put(&mut out, &layer.neighbours);
    }
    put_long(&mut out, &built.starts);
    put(&mut out, &built.rows);
    put(&mut out, &built.lost);
    put(&mut out, &built.apart);
    let checksum = fingerprint::of_bytes(&out);
    out.extend_from_slice(checksum.as_bytes());
    out
}

fn decode(bytes: &[u8], key: &str) -> CodecResult<BuiltGraph> {
    if bytes.len() < HEADER + CHECKSUM {
        return Err("it is too short".into());
    }
    let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    let mut reader = Reader::new(body);
    if reader.bytes(8)? != MAGIC || reader.u32()? != VERSION {
        return Err("it is no graph of this version".into());
    }
    let row_format = match reader.u32()? {
        0 => RowFormat::Int8,
        1 => RowFormat::Float32,
        _ => return Err("it is no graph of this version".into()),
    };
    if reader.bytes(64)? != key.as_bytes() {
        return Err("it is of another matrix".into());
    }
    if fingerprint::of_bytes(body).as_bytes() != checksum {
        return Err("its checksum is wrong".into());
    }
    let n_layers = reader.u64()?;
    let mut layers = Vec::new();
    for _ in 0..n_layers {
        layers.push(Layer { starts: long_numbers(&mut reader)?, neighbours: numbers(&mut reader)? });
    }
    let built = BuiltGraph {
        row_format,
        graph: Graph { layers },
        starts: long_numbers(&mut reader)?,
        rows: numbers(&mut reader)?,
        lost: numbers(&mut reader)?,
        apart: numbers(&mut reader)?,
    };
    reader.end()?;
    Ok(built)
}

fn count(reader: &mut Reader<'_>, size: usize) -> CodecResult<usize> {
    let n = usize::try_from(reader.u64()?).ok().and_then(|n| n.checked_mul(size));
    n.ok_or_else(|| "a list is longer than memory".into())
}

fn long_numbers(reader: &mut Reader<'_>) -> CodecResult<Vec<u64>> {
    let n_bytes = count(reader, 8)?;
    let (numbers, _) = reader.bytes(n_bytes)?.as_chunks::<8>();
    Ok(numbers.iter().map(|&number| u64::from_le_bytes(number)).collect())
}

fn numbers(reader: &mut Reader<'_>) -> CodecResult<Vec<u32>> {
    let n_bytes = count(reader, 4)?;
    let (numbers, _) = reader.bytes(n_bytes)?.as_chunks::<4>();
    Ok(numbers.iter().map(|&number| u32::from_le_bytes(number)).collect())
}
