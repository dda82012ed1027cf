//! What of the disk a snapshot shows, so that the next refresh tells whether there is anything new and reads only that.

use std::fs::{File, Metadata};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::identity::Identity;
use super::manifest::{MANIFEST, Manifest};
use super::segment::Segment;
use super::snapshot::Snapshot;
use super::{log, segment_file};

/// A file as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    identity: Option<Identity>,
    n_bytes: u64,
    changed: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        let (n_bytes, changed) = (metadata.len(), metadata.modified().ok());
        Stamp { identity: Identity::of(metadata), n_bytes, changed }
    }
}

/// A file that is held open, so that no other one gets its identity, and what it was like when it was opened.
struct Held {
    stamp: Stamp,
    _file: File,
}

impl Held {
    fn open(path: &Path) -> Option<Held> {
        let file = File::open(path).ok()?;
        Some(Held { stamp: Stamp::of(&file.metadata().ok()?), _file: file })
    }

    fn is_as_it_was(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
    }

    /// Whether the file at `path` is this one, whatever has happened to its bytes.
    fn is_at(&self, path: &Path) -> bool {
        let there = std::fs::metadata(path).ok().and_then(|metadata| Identity::of(&metadata));
        there.is_some() && there == self.stamp.identity
    }
}

/// `gallery.json` and the log, each as it was before it was read: what happens to it while it is read, the next refresh finds.
pub(super) struct HeldFiles {
    manifest: Held,
    log: Option<Held>,
}

impl HeldFiles {
    /// Holds the `gallery.json` in the folder `path`, which is read after this.
    pub(super) fn at(path: &Path) -> Option<HeldFiles> {
        Some(HeldFiles { manifest: Held::open(&path.join(MANIFEST))?, log: None })
    }

    /// Holds the log `number` too, which is read after this.
    pub(super) fn with_log(self, path: &Path, number: u64) -> Option<HeldFiles> {
        Some(HeldFiles { log: Some(Held::open(&log::path_of(path, number))?), ..self })
    }
}

/// What of the disk a snapshot shows.
pub(super) struct Known {
    held: HeldFiles,
    manifest: Arc<Manifest>,
    /// The log's length up to its last whole record, and the sequence of the next.
    log_end: (u64, u64),
}

impl Known {
    pub(super) fn new(held: HeldFiles, manifest: Arc<Manifest>, log_end: (u64, u64)) -> Known {
        Known { held, manifest, log_end }
    }

    pub(super) fn log_end(&self) -> (u64, u64) {
        self.log_end
    }

    /// Whether the gallery in the folder `path` is as it was when this was read.
    pub(super) fn is_all(&self, path: &Path) -> bool {
        let log_path = log::path_of(path, self.manifest.log);
        self.held.manifest.is_as_it_was(&path.join(MANIFEST))
            && self.held.log.as_ref().is_none_or(|log| log.is_as_it_was(&log_path))
    }

    /// The sequence of the first record that is new, where the gallery differs by records of its log alone.
    pub(super) fn first_new_record(&self, path: &Path, manifest: &Manifest) -> Option<u64> {
        let log = self.held.log.as_ref()?;
        let is_same = *manifest == *self.manifest && log.is_at(&log::path_of(path, manifest.log));
        is_same.then_some(self.log_end.1)
    }
}

/// The segment of `number` in a gallery's folder, if `snapshot` has that very file open: with its graph and all that makes
/// searches fast.
pub(super) fn segment_in(snapshot: &Snapshot, path: &Path, number: u64) -> Option<Arc<Segment>> {
    let metadata = std::fs::metadata(segment_file::path_of(path, number)).ok()?;
    let identity = Identity::of(&metadata)?;
    let mut segments = snapshot.parts().iter().map(|part| &part.segment);
    segments.find(|segment| segment.identity() == Some(identity)).map(Arc::clone)
}
