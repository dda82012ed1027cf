//! The write-ahead log, `log/<number>.log`: the changes since the segments were written, in order.
//!
//! ```text
//! 0       "SKFNDLOG", format u32, width u32, number u64, SHA-256 of the model, CRC-32C of all before it
//! 512     the tip: length u64 up to which records are acknowledged, CRC-32C
//! 4096    records: bytes of the payload u32, CRC-32C, sequence u64, payload
//! ```
//!
//! A change is acknowledged once its record is on the disk (`fdatasync`); then the tip moves behind it. So what a reader
//! finds beyond the tip and cannot read is a record that was being written when its writer died, and is left out; what
//! it cannot read before the tip was acknowledged and has been damaged since, and is an error. The tip itself is not
//! synced: after a power failure it may stand too early, which only makes that check weaker, and a whole record beyond
//! it counts as any other. Where the tip cannot be read, an unreadable record with a readable one behind it is damage.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sketchfind_core::Error as CoreError;

use super::codec::{self, Reader};
use super::segment_file::Expected;
use super::snapshot::Batch;
use crate::{Error, Result};

/// The folder of these files in a gallery's folder.
pub(super) const FOLDER: &str = "log";
const MAGIC: &[u8; 8] = b"SKFNDLOG";
const FORMAT: u32 = 2;
const HEADER: usize = 8 + 4 * 2 + 8 + 32;
const TIP: usize = 512;
/// Where records begin.
pub(super) const RECORDS: u64 = 4096;
const RECORD_HEADER: usize = 4 + 4 + 8;
/// The most bytes of one record: 1 GiB.
pub(super) const LARGEST_RECORD: usize = 1 << 30;

/// The file of log `number`.
pub(super) fn path_of(gallery: &Path, number: u64) -> PathBuf {
    gallery.join(FOLDER).join(format!("{number:08}.log"))
}

/// What a log holds.
pub(super) struct Replay {
    /// The changes, oldest first.
    pub(super) batches: Vec<Batch>,
    /// The file's length up to the last whole record.
    pub(super) n_good: u64,
}

/// Reads a log whose first record has the sequence `first`.
///
/// # Errors
/// [`Error::Core`] where it cannot be read; [`Error::Gallery`] where something acknowledged is damaged.
pub(super) fn read(gallery: &Path, number: u64, first: u64, expected: Expected<'_>) -> Result<Replay> {
    let path = path_of(gallery, number);
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|error| super::unreadable(gallery, &path, error))?;
    parse(&bytes, number, first, expected).map_err(|reason| Error::Gallery {
        path: gallery.to_owned(),
        reason: format!("'{FOLDER}/{number:08}.log' is damaged or was changed: {reason}"),
    })
}

/// Reads the bytes of a log.
///
/// # Errors
/// In words.
pub(super) fn parse(bytes: &[u8], number: u64, first: u64, expected: Expected<'_>) -> codec::Result<Replay> {
    let header = bytes
        .get(..RECORDS as usize)
        .ok_or_else(|| format!("it has {} bytes, where its header alone has {RECORDS}", bytes.len()))?;
    let mut reader = Reader::new(header);
    if reader.bytes(8)? != MAGIC {
        return Err("it does not begin as a log does".into());
    }
    let (format, width, own_number) = (reader.u32()?, reader.u32()? as usize, reader.u64()?);
    let model = reader.bytes(32)?;
    if crc32c::crc32c(&header[..HEADER]) != reader.u32()? {
        return Err("its header's checksum is wrong".into());
    }
    if format != FORMAT {
        return Err(format!("it is of format {format}, expected {FORMAT}"));
    }
    if width != expected.width || own_number != number || model != expected.model {
        return Err("it belongs to another gallery or was renamed".into());
    }
    let (before_tip, behind_tip) = (&header[HEADER + 4..TIP], &header[TIP + 12..]);
    if before_tip.iter().chain(behind_tip).any(|&byte| byte != 0) {
        return Err("its header is not followed by zeros".into());
    }
    let tip = tip(&header[TIP..]);
    if let Some(tip) = tip.filter(|&tip| tip > bytes.len() as u64) {
        return Err(format!(
            "it has {} bytes, where {tip} were acknowledged: photos that were added are missing",
            bytes.len()
        ));
    }
    let mut batches = Vec::new();
    let (mut position, mut sequence) = (RECORDS as usize, first);
    while let Some((payload, next)) = record(bytes, position, sequence) {
        // Its checksum is right, so it is as it was written: what does not fit was not written by this code.
        let batch =
            batch(payload, width).map_err(|reason| format!("the record at byte {position}: {reason}"))?;
        batches.push(batch);
        (position, sequence) = (next, sequence + 1);
    }
    if position < bytes.len() {
        let acknowledged = match tip {
            Some(tip) => (position as u64) < tip,
            None => has_later_record(bytes, position, sequence),
        };
        if acknowledged {
            return Err(format!("the record at byte {position} cannot be read, and it was acknowledged"));
        }
    }
    Ok(Replay { batches, n_good: position as u64 })
}

/// Cuts the bytes of a log behind its last whole record, all of which are acknowledged from then on.
///
/// # Errors
/// In words, where something that was acknowledged is damaged.
pub(super) fn whole_records(
    bytes: &mut Vec<u8>,
    number: u64,
    first: u64,
    expected: Expected<'_>,
) -> codec::Result<()> {
    let n_good = parse(bytes, number, first, expected)?.n_good;
    bytes.truncate(n_good as usize);
    let tip = tip_at(n_good);
    bytes[TIP..TIP + tip.len()].copy_from_slice(&tip);
    Ok(())
}

/// The tip that says that everything up to `length` is acknowledged.
fn tip_at(length: u64) -> [u8; 12] {
    let mut tip = [0; 12];
    tip[..8].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c(&tip[..8]);
    tip[8..].copy_from_slice(&checksum.to_le_bytes());
    tip
}

/// The length up to which records are acknowledged, where it can be read.
fn tip(bytes: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(bytes);
    let (length, checksum) = (reader.u64().ok()?, reader.u32().ok()?);
    (crc32c::crc32c(&length.to_le_bytes()) == checksum && length >= RECORDS).then_some(length)
}

/// The payload of the record at `position` and where the next one begins, if it is whole.
fn record(bytes: &[u8], position: usize, sequence: u64) -> Option<(&[u8], usize)> {
    let mut reader = Reader::new(bytes.get(position..)?);
    let (n, checksum, own_sequence) = (reader.u32().ok()?, reader.u32().ok()?, reader.u64().ok()?);
    if own_sequence != sequence || n as usize > LARGEST_RECORD {
        return None;
    }
    let payload = reader.bytes(n as usize).ok()?;
    (record_checksum(payload, sequence) == checksum)
        .then_some((payload, position + RECORD_HEADER + payload.len()))
}

fn record_checksum(payload: &[u8], sequence: u64) -> u32 {
    let mut head = [0; 12];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&sequence.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

/// Whether a record that comes after `sequence` stands anywhere behind `position`.
fn has_later_record(bytes: &[u8], position: usize, sequence: u64) -> bool {
    // A sequence is found by its bytes first: a checksum of everything at every place would take hours.
    (position + 1..bytes.len().saturating_sub(RECORD_HEADER)).any(|at| {
        let own = Reader::new(&bytes[at + 8..]).u64();
        own.is_ok_and(|own| own > sequence && own - sequence < 1 << 20 && record(bytes, at, own).is_some())
    })
}

fn batch(payload: &[u8], width: usize) -> codec::Result<Batch> {
    let mut reader = Reader::new(payload);
    let mut batch = Batch::default();
    for _ in 0..reader.count(4)? {
        batch.removed.push(reader.text()?.to_owned());
    }
    for _ in 0..reader.count(12)? {
        batch.removed_rows.push((reader.u64()?, reader.u32()?));
    }
    let n = reader.count(4 * width.max(1))?;
    for _ in 0..n {
        batch.photos.push(reader.photo()?);
    }
    reader.floats(n.checked_mul(width).ok_or("too many numbers")?, &mut batch.values)?;
    reader.end()?;
    Ok(batch)
}

fn payload(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.values.len() * 4 + batch.photos.len() * 64 + 12);
    let put_count = |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&(n as u32).to_le_bytes());
    put_count(&mut out, batch.removed.len());
    batch.removed.iter().for_each(|id| codec::put_text(&mut out, id));
    put_count(&mut out, batch.removed_rows.len());
    for (number, row) in &batch.removed_rows {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&row.to_le_bytes());
    }
    put_count(&mut out, batch.photos.len());
    batch.photos.iter().for_each(|photo| codec::put_photo(&mut out, photo));
    batch.values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    out
}

/// A log that is written.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// The length up to which everything is acknowledged.
    n_good: u64,
    /// The sequence of the next record.
    next: u64,
    /// Why nothing more may be written, once that is so.
    broken: Option<String>,
}

impl Log {
    /// Makes the log `number`, whose first record has the sequence `first`, and writes `batches` into it.
    ///
    /// # Errors
    /// [`Error::Core`] where it cannot be written; the file may then be there, and nobody's.
    pub(super) fn create(
        gallery: &Path,
        number: u64,
        first: u64,
        expected: Expected<'_>,
        batches: &[Batch],
    ) -> Result<Log> {
        let path = path_of(gallery, number);
        let folder = gallery.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(CoreError::io("create", &folder))?;
        let mut header = Vec::with_capacity(RECORDS as usize);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&(expected.width as u32).to_le_bytes());
        header.extend_from_slice(&number.to_le_bytes());
        header.extend_from_slice(expected.model);
        let checksum = crc32c::crc32c(&header);
        header.extend_from_slice(&checksum.to_le_bytes());
        header.resize(RECORDS as usize, 0);
        let make = || -> std::io::Result<File> {
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
            file.write_all(&header)?;
            file.sync_all()?;
            File::open(&folder)?.sync_all()?;
            Ok(file)
        };
        let file = make().map_err(CoreError::io("write", &path))?;
        let mut log = Log { path, file, n_good: RECORDS, next: first, broken: None };
        log.move_tip();
        batches.iter().try_for_each(|batch| log.append(batch))?;
        Ok(log)
    }

    /// Opens a log to write on behind what [`read`] found; an unfinished record there is cut off.
    pub(super) fn open(gallery: &Path, number: u64, n_good: u64, next: u64) -> Result<Log> {
        let path = path_of(gallery, number);
        let open = || -> std::io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            if file.metadata()?.len() > n_good {
                file.set_len(n_good)?;
                file.sync_all()?;
            }
            Ok(file)
        };
        let file = open().map_err(CoreError::io("write", &path))?;
        let mut log = Log { path, file, n_good, next, broken: None };
        // What was read is acknowledged from now on: somebody may see it.
        log.move_tip();
        Ok(log)
    }

    /// The bytes of records.
    pub(super) fn n_bytes(&self) -> u64 {
        self.n_good - RECORDS
    }

    /// The length up to which everything is acknowledged and the sequence of the next record, where that is sure.
    pub(super) fn end(&self) -> Option<(u64, u64)> {
        self.broken.is_none().then_some((self.n_good, self.next))
    }

    /// The sequence of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Appends a change; when this returns it is on the disk.
    ///
    /// # Errors
    /// [`Error::Core`] where the disk is full or fails: the change has not happened. Where not even that can be made
    /// sure, every later call is an [`Error::Gallery`] until the gallery is opened anew.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<()> {
        if let Some(reason) = &self.broken {
            let reason = format!("it cannot be written until it is opened anew: {reason}");
            return Err(Error::Gallery { path: self.path.clone(), reason });
        }
        let payload = payload(batch);
        if payload.len() > LARGEST_RECORD {
            let (value, expected) = (payload.len().to_string(), format!("at most {LARGEST_RECORD} bytes"));
            return Err(CoreError::OutOfRange { what: "size of one change", value, expected }.into());
        }
        let mut record = Vec::with_capacity(RECORD_HEADER + payload.len());
        record.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        record.extend_from_slice(&record_checksum(&payload, self.next).to_le_bytes());
        record.extend_from_slice(&self.next.to_le_bytes());
        record.extend_from_slice(&payload);
        let written = self.file.seek(SeekFrom::Start(self.n_good)).and_then(|_| self.file.write_all(&record));
        if let Err(error) = written {
            // A full disk: what was written of the record is taken back.
            if let Err(second) = self.file.set_len(self.n_good) {
                self.broken = Some(format!("{error}; and then {second}"));
            }
            return Err(CoreError::io("write", &self.path)(error).into());
        }
        if let Err(error) = self.file.sync_data() {
            // The system may have dropped what it could not write, so that trying again would prove nothing.
            self.broken = Some(error.to_string());
            return Err(CoreError::io("sync", &self.path)(error).into());
        }
        self.n_good += record.len() as u64;
        self.next += 1;
        self.move_tip();
        Ok(())
    }

    /// Says in the file that everything up to here is acknowledged. A failure only makes the check weaker.
    fn move_tip(&mut self) {
        let tip = tip_at(self.n_good);
        let _ = self.file.seek(SeekFrom::Start(TIP as u64)).and_then(|_| self.file.write_all(&tip));
    }
}
