//! Files of galleries with checksums that are right whatever they hold, so that what is behind the checksums is searched.
//! `fuzz/fuzz_targets/gallery.rs` takes this file as it is.

use std::path::Path;

use sketchfind::Gallery;
use sketchfind::gallery::Manifest;
use sketchfind_core::fingerprint;

/// Where a log's records begin, and where its tip stands.
const RECORDS: usize = 4096;
const TIP: usize = 512;
/// Bytes of a log's header and of a segment's that its checksum is of.
const LOG_HEADER: usize = 56;
const SEGMENT_HEADER: usize = 76;
/// Bytes of a segment's matrix under one checksum.
const BLOCK: usize = 1 << 18;

/// A log with the header of `log` and a record for each of `payloads`, the first with the sequence `first`.
pub(crate) fn log(log: &[u8], payloads: &[&[u8]], first: u64) -> Vec<u8> {
    let mut bytes = log.to_vec();
    // Its own records go.
    bytes.resize(RECORDS, 0);
    put(&mut bytes, LOG_HEADER, |bytes| &bytes[..LOG_HEADER]);
    for (payload, sequence) in payloads.iter().zip(first..) {
        let mut head = (payload.len() as u32).to_le_bytes().to_vec();
        head.extend_from_slice(&sequence.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), payload);
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    let length = (bytes.len() as u64).to_le_bytes();
    bytes[TIP..TIP + 8].copy_from_slice(&length);
    put(&mut bytes, TIP + 8, |bytes| &bytes[TIP..TIP + 8]);
    bytes
}

/// The payloads of a log's records, as far as their lengths lead.
pub(crate) fn payloads(log: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut rest) = (Vec::new(), log.get(RECORDS..).unwrap_or_default());
    while let Some((head, behind)) = rest.split_at_checked(16) {
        let n = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((payload, next)) = behind.split_at_checked(n) else { break };
        found.push(payload);
        rest = next;
    }
    found
}

/// The bytes of a segment with right checksums, as far as its header says where they stand.
pub(crate) fn segment(segment: &[u8]) -> Vec<u8> {
    let mut bytes = segment.to_vec();
    if bytes.len() < RECORDS {
        return bytes;
    }
    put(&mut bytes, SEGMENT_HEADER, |bytes| &bytes[..SEGMENT_HEADER]);
    let number = |at: usize, n: usize| {
        bytes[at..at + n].iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
    };
    let (width, n) = (number(16, 4), number(20, 8));
    let n_matrix = usize::try_from(n.saturating_mul(width).saturating_mul(4)).unwrap_or(usize::MAX);
    let checksums = RECORDS.saturating_add(n_matrix);
    let n_checksums = n_matrix.div_ceil(BLOCK).saturating_mul(4);
    if checksums.saturating_add(n_checksums).saturating_add(4) > bytes.len() {
        return bytes;
    }
    for block in 0..n_checksums / 4 {
        let start = RECORDS + block * BLOCK;
        let end = (start + BLOCK).min(checksums);
        put(&mut bytes, checksums + 4 * block, |bytes| &bytes[start..end]);
    }
    let last = bytes.len() - 4;
    put(&mut bytes, last, |bytes| &bytes[checksums..last]);
    bytes
}

/// A `gallery.json` with the checksum that belongs to what it says, where it says what a manifest may say.
pub(crate) fn manifest(json: &[u8]) -> Vec<u8> {
    let forged = || -> Option<Vec<u8>> {
        let mut document: serde_json::Value = serde_json::from_slice(json).ok()?;
        // Through the type, which keeps the order of fields.
        let manifest: Manifest = serde_json::from_value(document.get("gallery")?.clone()).ok()?;
        let checksum = fingerprint::of_bytes(&serde_json::to_vec(&manifest).ok()?);
        *document.get_mut("sha256")? = checksum.into();
        serde_json::to_vec(&document).ok()
    };
    forged().unwrap_or_else(|| json.to_vec())
}

/// The files of a gallery that are searched, and the sequence of the first record of its log.
pub(crate) const MANIFEST: &str = "gallery.json";
pub(crate) const SEGMENT: &str = "segments/00000001.rows";
pub(crate) const LOG: &str = "log/00000001.log";
pub(crate) const SEQUENCE: u64 = 1;

/// Copies the gallery of the present format that the runtime's tests keep to a folder that is not there.
///
/// # Panics
/// Where that fails.
pub(crate) fn copy_gallery(checkout: &Path, to: &Path) {
    copy(&checkout.join("runtime/tests/fixtures/gallery-v2"), to);
}

fn copy(from: &Path, to: &Path) {
    let failed = |error: std::io::Error| -> ! { panic!("'{}': {error}", from.display()) };
    std::fs::create_dir_all(to).unwrap_or_else(|error| failed(error));
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| failed(error)) {
        let entry = entry.unwrap_or_else(|error| failed(error));
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Bytes only: what is made may be written, whatever the original may be.
            let bytes = std::fs::read(entry.path()).unwrap_or_else(|error| failed(error));
            std::fs::write(to, bytes).unwrap_or_else(|error| failed(error));
        }
    }
}

/// Opens the gallery with `bytes` in the place of its file `name`, and reads it whole where it opens. Says whether it did.
///
/// # Panics
/// Where the file cannot be written, or a gallery that opens is not whole.
pub(crate) fn opens_with(gallery: &Path, name: &str, bytes: &[u8]) -> bool {
    if let Err(error) = std::fs::write(gallery.join(name), bytes) {
        panic!("'{}': {error}", gallery.join(name).display());
    }
    let Ok(gallery) = Gallery::open(gallery) else {
        return false;
    };
    let snapshot = gallery.snapshot();
    let n = snapshot.photos().filter(|(_, row)| row.iter().all(|value| value.is_finite())).count();
    assert_eq!(n, snapshot.len());
    true
}

/// Writes the CRC-32C of a part of `bytes` at a place.
fn put(bytes: &mut [u8], at: usize, part: impl Fn(&[u8]) -> &[u8]) {
    let checksum = crc32c::crc32c(part(bytes)).to_le_bytes();
    bytes[at..at + 4].copy_from_slice(&checksum);
}
