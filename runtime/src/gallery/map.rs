//! A file of rows in memory as the system maps it: pages come in when they are read, and leave when memory is short.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use sketchfind_index::Rows;

use super::identity::Identity;

// The rows lie in the file as little-endian numbers and are read where they lie.
#[cfg(target_endian = "big")]
compile_error!("galleries are mapped as little-endian numbers; this target is big-endian");

/// A file that is mapped for reading.
#[derive(Debug)]
pub(super) struct Map {
    bytes: Mmap,
    identity: Option<Identity>,
}

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// What the system said.
    // A mapping is memory that another program can change, so that making one is unsafe by its nature.
    #[allow(unsafe_code)]
    pub(super) fn open(path: &Path) -> std::io::Result<Map> {
        let file = File::open(path)?;
        let identity = Identity::of(&file.metadata()?);
        // SAFETY: the bytes must not change while they are borrowed. Files that are mapped here are written under
        // another name, renamed when they are whole, and never written again: this crate only ever removes them, which
        // leaves a mapping as it is. A program that is not ours and cuts such a file short makes the system end this
        // process when it reads beyond the end, as it does to every user of mapped files (git, LMDB, SQLite's mapped
        // mode).
        let bytes = unsafe { Mmap::map(&file) }?;
        Ok(Map { bytes, identity })
    }

    /// The file's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Which file it is. While it is mapped no other has its identity.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }
}

/// Rows of numbers inside a mapped file.
#[derive(Debug)]
pub(crate) struct MappedRows {
    map: Map,
    start: usize,
    n_bytes: usize,
    width: usize,
}

impl MappedRows {
    /// The `n` rows of `width` numbers that begin at the byte `start`, or nothing where the file is too short or the
    /// place is not one where numbers may begin.
    pub(super) fn new(map: Map, start: usize, n: usize, width: usize) -> Option<MappedRows> {
        let n_bytes = n.checked_mul(width)?.checked_mul(4)?;
        let bytes = map.bytes().get(start..start.checked_add(n_bytes)?)?;
        bytemuck::try_cast_slice::<u8, f32>(bytes).ok()?;
        (width > 0).then_some(MappedRows { map, start, n_bytes, width })
    }
}

impl Rows for MappedRows {
    fn width(&self) -> usize {
        self.width
    }

    fn values(&self) -> &[f32] {
        // Both were checked when this was made, and neither changes.
        let bytes = self.map.bytes().get(self.start..self.start + self.n_bytes).unwrap_or_default();
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }
}
