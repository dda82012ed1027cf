//! Changing a gallery: through the log, and now and then into a new segment.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::known::{HeldFiles, Known};
use super::lock::Lock;
use super::log::{self, Log};
use super::manifest::{self, FIRST_WITH_PRODUCTS, FORMAT, MANIFEST, Manifest};
use super::segment::LiveSegment;
use super::segment_file::{self, Expected};
use super::snapshot::{Batch, Snapshot, photo_and_row, sorted_rows};
use super::{Access, Gallery, fingerprint_bytes, graph_file};
use crate::{Cancel, Costs, Error, IndexSpec, Photo, Progress, Recall, Result};

/// Bytes of records after which the log is written as a segment: enough that this is rare, few enough that opening a
/// gallery, which reads the log, takes well below a second.
const LONGEST_LOG: u64 = 64 << 20;

/// What the one writer of a gallery holds.
pub(super) struct Writer {
    path: PathBuf,
    manifest: Manifest,
    model: [u8; 32],
    log: Log,
    /// The number of the next segment's file.
    next_segment: u64,
    /// The log's length at which it is written as a segment.
    checkpoint_at: u64,
    /// Why nothing more may be written, once that is so.
    broken: Option<String>,
    #[expect(dead_code, reason = "held while the writer lives")]
    lock: Lock,
}

/// The right to write: that which a gallery keeps, or one that is taken for a change and given back after it.
pub(super) enum Turn<'g> {
    Kept(MutexGuard<'g, Writer>),
    Own {
        gallery: &'g Gallery,
        /// Held, so that nobody looks for what is new while this is made.
        known: MutexGuard<'g, Option<Known>>,
        writer: Box<Writer>,
    },
}

impl Deref for Turn<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        match self {
            Turn::Kept(writer) => writer,
            Turn::Own { writer, .. } => writer,
        }
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        match self {
            Turn::Kept(writer) => writer,
            Turn::Own { writer, .. } => writer,
        }
    }
}

impl Drop for Turn<'_> {
    /// What was written is what is known. The lock goes after this, with the writer.
    fn drop(&mut self) {
        if let Turn::Own { gallery, known, writer } = self {
            **known = writer.known();
            gallery.set_manifest(writer.manifest.clone());
        }
    }
}

impl Gallery {
    /// Adds `photos`, all of them or none.
    ///
    /// # Shapes
    /// `embeddings`: `[photos, D]`, row-major.
    ///
    /// # Errors
    /// [`Error::PhotoExists`] where an id is there already or stands twice in the list; [`Error::ReadOnly`];
    /// [`Error::Core`] where a photo or an embedding is not what it should be, or the disk is full or fails;
    /// [`Error::Gallery`] where an earlier failure left it unclear what is on the disk. Nothing is changed then, but in
    /// the last case opening the gallery anew shows whether this change has happened.
    pub fn add(&self, photos: Vec<Photo>, embeddings: Vec<f32>) -> Result<()> {
        let writer = self.writer()?;
        self.change(writer, Batch { photos, values: embeddings, ..Batch::default() })
    }

    /// Adds `photos` in the place of those that have their ids, where there are such; all of them or none. Labels and a path
    /// that a photo was not given stay as they are.
    ///
    /// # Shapes
    /// `embeddings`: `[photos, D]`, row-major.
    ///
    /// # Errors
    /// Those of [`Gallery::add`]; [`Error::PhotoExists`] only where an id stands twice in the list.
    pub fn replace(&self, photos: Vec<Photo>, embeddings: Vec<f32>) -> Result<()> {
        let writer = self.writer()?;
        let now = self.snapshot();
        let there = photos.iter().map(Photo::id).filter(|id| now.photo(id).is_some());
        let mut removed: Vec<String> = there.map(str::to_owned).collect();
        removed.sort_unstable();
        removed.dedup();
        let kept = |photo: Photo| match now.photo(photo.id()) {
            Some(before) => photo.in_place_of(before),
            None => photo,
        };
        let photos = photos.into_iter().map(kept).collect();
        self.change(writer, Batch { removed, photos, values: embeddings, ..Batch::default() })
    }

    /// Removes the photos of `ids`, all in one step, and returns how many of them were there.
    ///
    /// # Errors
    /// Those of [`Gallery::add`].
    pub fn remove<S: AsRef<str>>(&self, ids: &[S]) -> Result<usize> {
        let writer = self.writer()?;
        let now = self.snapshot();
        let there = ids.iter().map(AsRef::as_ref).filter(|id| now.photo(id).is_some());
        let mut removed: Vec<String> = there.map(str::to_owned).collect();
        removed.sort_unstable();
        removed.dedup();
        let n = removed.len();
        if n > 0 {
            self.change(writer, Batch { removed, ..Batch::default() })?;
        }
        Ok(n)
    }

    /// Writes everything anew into one segment without the photos that were removed, and builds the graph that the
    /// gallery asks for. Readers go on meanwhile; writers wait, but not for the graph. Where it is cancelled the graph is not
    /// built, and the rest is done.
    ///
    /// # Errors
    /// Those of [`Gallery::add`] and [`Gallery::build_index`].
    pub fn compact(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<()> {
        self.write_segment(true)?;
        self.build_index(progress, cancel).map(drop)
    }

    /// [`Gallery::compact`] without building a graph, which is [`Gallery::build_index`].
    ///
    /// # Errors
    /// Those of [`Gallery::add`].
    pub fn compact_files(&self) -> Result<()> {
        self.write_segment(true)
    }

    /// Writes the log as a segment, so that the gallery opens faster. This happens by itself when the log is long.
    ///
    /// # Errors
    /// Those of [`Gallery::add`].
    pub fn checkpoint(&self) -> Result<()> {
        self.write_segment(false)
    }

    /// Chooses another index, from the next opening or compaction on.
    ///
    /// # Errors
    /// Those of [`Gallery::add`]; [`Error::Core`] where a parameter is out of range.
    pub fn set_index(&self, index: IndexSpec) -> Result<()> {
        index.check()?;
        let mut writer = self.writer()?;
        let manifest = Manifest { index, recall: None, ..writer.manifest.clone() };
        writer.replace_manifest(manifest)
    }

    /// Writes down what embedding and exact search cost here, from which the index `auto` chooses.
    ///
    /// # Errors
    /// Those of [`Gallery::add`].
    pub fn set_costs(&self, costs: Costs) -> Result<()> {
        let mut writer = self.writer()?;
        let manifest = Manifest { costs: Some(costs), ..writer.manifest.clone() };
        writer.replace_manifest(manifest)
    }

    pub(super) fn set_recall(&self, recall: Option<Recall>) -> Result<()> {
        let mut writer = self.writer()?;
        let manifest = Manifest { recall, ..writer.manifest.clone() };
        writer.replace_manifest(manifest)
    }

    fn write_segment(&self, all: bool) -> Result<()> {
        let mut writer = self.writer()?;
        let now = self.snapshot();
        let after = writer.checkpoint(&now, all)?;
        self.publish(after);
        Ok(())
    }

    /// The writer that this gallery keeps, where it is open for writing all the time.
    pub(super) fn kept_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        let writer: &Mutex<Writer> = self.writer.as_ref()?;
        Some(writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn writer(&self) -> Result<Turn<'_>> {
        self.check_process()?;
        if let Some(writer) = self.kept_writer() {
            return Ok(Turn::Kept(writer));
        }
        if self.access == Access::Read {
            return Err(Error::ReadOnly { path: self.path.clone() });
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = Lock::take(&self.path)?;
        // What others have written in their turns.
        self.catch_up(&mut known)?;
        let manifest = self.manifest();
        let model = fingerprint_bytes(&self.path, manifest.model_sha256.as_deref())?;
        let Some(log_end) = known.as_ref().map(Known::log_end) else {
            let reason = "its files were replaced while they were read; try again".to_owned();
            return Err(Error::Gallery { path: self.path.clone(), reason });
        };
        let writer = Box::new(Writer::open(&self.path, &manifest, &model, log_end, lock)?);
        Ok(Turn::Own { gallery: self, known, writer })
    }

    fn change(&self, mut writer: Turn<'_>, batch: Batch) -> Result<()> {
        if batch.photos.is_empty() && batch.removed.is_empty() && batch.values.is_empty() {
            return Ok(());
        }
        // Nobody else publishes while the writer is held.
        let now = self.snapshot();
        now.check(&batch)?;
        writer.append(&batch)?;
        let after = now.after(batch).map_err(|reason| {
            writer.broken = Some(reason.clone());
            Error::Gallery { path: self.path.clone(), reason }
        })?;
        self.publish(after);
        if writer.log.n_bytes() > writer.checkpoint_at {
            // The change is on the disk whether this succeeds or not; a disk too full for it is told to whoever asks
            // for it, and it is tried again when the log has grown by as much again.
            match writer.checkpoint(&self.snapshot(), false) {
                Ok(after) => self.publish(after),
                Err(_will_be_tried_again) => writer.checkpoint_at = writer.log.n_bytes() + LONGEST_LOG,
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Opens a gallery that was read for writing.
    pub(super) fn open(
        path: &Path,
        manifest: &Manifest,
        model: &[u8; 32],
        (n_good, next): (u64, u64),
        lock: Lock,
    ) -> Result<Writer> {
        let writer = Writer {
            path: path.to_owned(),
            manifest: manifest.clone(),
            model: *model,
            log: Log::open(path, manifest.log, n_good, next)?,
            next_segment: manifest.segments.iter().max().map_or(1, |last| last + 1),
            checkpoint_at: LONGEST_LOG,
            broken: None,
            lock,
        };
        writer.sweep();
        Ok(writer)
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is on the disk as this writer has written it; nothing where that is not sure, so that all is read again.
    fn known(&self) -> Option<Known> {
        if self.broken.is_some() {
            return None;
        }
        let held = HeldFiles::at(&self.path)?.with_log(&self.path, self.manifest.log)?;
        Some(Known::new(held, Arc::new(self.manifest.clone()), self.log.end()?))
    }

    /// Puts another manifest of the same files in the place of the one that is there.
    fn replace_manifest(&mut self, manifest: Manifest) -> Result<()> {
        self.refuse_if_broken()?;
        let manifest = Manifest { format: FORMAT, ..manifest };
        if let Err(error) = manifest.save(&self.path) {
            self.broken = Some(format!("'{MANIFEST}' could not be replaced: {error}"));
            return Err(error);
        }
        self.manifest = manifest;
        Ok(())
    }

    fn append(&mut self, batch: &Batch) -> Result<()> {
        self.refuse_if_broken()?;
        let is_new = batch.photos.iter().any(|photo| photo.product().is_some());
        if is_new && self.manifest.format < FIRST_WITH_PRODUCTS {
            // A program that does not know products shall say that the gallery is newer, and not that it is damaged.
            self.replace_manifest(self.manifest.clone())?;
        }
        self.log.append(batch)
    }

    fn refuse_if_broken(&self) -> Result<()> {
        let Some(reason) = &self.broken else {
            return Ok(());
        };
        let reason = format!("it cannot be written until it is opened anew: {reason}");
        Err(Error::Gallery { path: self.path.clone(), reason })
    }

    /// Writes what the log holds, or everything, as a segment, and begins a new log.
    fn checkpoint(&mut self, now: &Snapshot, all: bool) -> Result<Snapshot> {
        self.refuse_if_broken()?;
        let parts = now.parts();
        let from = if all { 0 } else { first_to_merge(parts) };
        let (kept, merged) = parts.split_at(from);
        let kept: Vec<LiveSegment> = kept.iter().filter(|part| part.n_live() > 0).cloned().collect();
        let is_one_file = |part: &LiveSegment| part.segment.number().is_some() && part.n_dead() == 0;
        let merged_is_done = merged.is_empty() || matches!(merged, [one] if is_one_file(one));
        if merged_is_done && kept.len() == from && self.log.n_bytes() == 0 && self.manifest.format == FORMAT {
            return Ok(Snapshot::new(now.distance(), now.width(), parts.to_vec()));
        }
        let expected = Expected { model: &self.model, width: now.width() };
        let mut parts = kept;
        let (number, log_number) = (self.next_segment, self.manifest.log + 1);
        // Used up even where this fails, so that nothing is ever written over.
        self.next_segment += 1;
        let made = (|| -> Result<(Vec<LiveSegment>, Manifest, Log)> {
            if merged_is_done {
                parts.extend(merged.iter().cloned());
            } else {
                let rows = sorted_rows(merged);
                if !rows.is_empty() {
                    let (n, rows) = (rows.len(), rows.into_iter());
                    let rows = rows.map(|(part, row)| photo_and_row(merged, part, row));
                    segment_file::write(&self.path, number, n, rows, expected)?;
                    parts.push(LiveSegment::new(segment_file::open(&self.path, number, expected)?));
                }
            }
            let sequence = self.log.next();
            let log = Log::create(&self.path, log_number, sequence, expected, &removed_rows(&parts))?;
            let manifest = Manifest {
                format: FORMAT,
                segments: parts.iter().filter_map(|part| part.segment.number()).collect(),
                log: log_number,
                sequence,
                ..self.manifest.clone()
            };
            Ok((parts, manifest, log))
        })();
        let (parts, manifest, log) = made.inspect_err(|_| self.remove_unnamed(number, log_number))?;
        if let Err(error) = manifest.save(&self.path) {
            match manifest::load(&self.path) {
                // The old one stands: nothing has happened.
                Ok(there) if there == self.manifest => self.remove_unnamed(number, log_number),
                _ => self.broken = Some(format!("'{MANIFEST}' could not be replaced: {error}")),
            }
            return Err(error);
        }
        (self.manifest, self.log, self.checkpoint_at) = (manifest, log, LONGEST_LOG);
        self.sweep();
        Ok(Snapshot::new(now.distance(), now.width(), parts))
    }

    fn remove_unnamed(&self, segment: u64, log: u64) {
        // What cannot be removed now is swept when the gallery is opened.
        let _ = std::fs::remove_file(segment_file::path_of(&self.path, segment));
        let _ = std::fs::remove_file(log::path_of(&self.path, log));
    }

    /// Removes files that the manifest does not name: what an earlier checkpoint left, or a crash. What
    /// cannot be removed does no harm.
    fn sweep(&self) {
        let mut named: Vec<PathBuf> =
            self.manifest.segments.iter().map(|&number| segment_file::path_of(&self.path, number)).collect();
        named.extend(self.manifest.segments.iter().map(|&number| graph_file::path_of(&self.path, number)));
        named.push(log::path_of(&self.path, self.manifest.log));
        let folders = [(segment_file::FOLDER, "rows"), (log::FOLDER, "log"), (graph_file::FOLDER, "graph")];
        for (folder, ending) in folders {
            let Ok(entries) = std::fs::read_dir(self.path.join(folder)) else {
                continue;
            };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let is_ours =
                    path.extension().is_some_and(|own| own == ending) || name.starts_with(".partial-");
                if is_ours && !named.contains(&path) {
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }
}

/// The first part that goes into the next segment: those in memory, and files before them that are not much longer, so
/// that the number of files grows as the logarithm of the photos. What has a graph keeps it.
fn first_to_merge(parts: &[LiveSegment]) -> usize {
    let in_memory = |part: &LiveSegment| part.segment.number().is_none();
    let mut from = parts.iter().position(in_memory).unwrap_or(parts.len());
    if from == parts.len() {
        return from;
    }
    let mut n: usize = parts[from..].iter().map(LiveSegment::n_live).sum();
    while from > 0 && parts[from - 1].segment.graph().is_none() && parts[from - 1].n_live() <= 2 * n {
        from -= 1;
        n += parts[from].n_live();
    }
    from
}

/// What a new log begins with: the rows of kept segments that were removed.
fn removed_rows(parts: &[LiveSegment]) -> Vec<Batch> {
    let rows = parts
        .iter()
        .filter_map(|part| Some((part.segment.number()?, part)))
        .flat_map(|(number, part)| part.dead_rows().map(move |row| (number, row as u32)));
    let removed_rows: Vec<(u64, u32)> = rows.collect();
    if removed_rows.is_empty() { vec![] } else { vec![Batch { removed_rows, ..Batch::default() }] }
}
