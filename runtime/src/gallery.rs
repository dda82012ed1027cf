//! The gallery: photos with their embeddings and their model, in one folder that a product ships or keeps and that
//! loses nothing.
//!
//! ```text
//! gallery.json     magic, format, fingerprints of the model's files, distance, index, numbers of the files below
//! segments/        the photos and the matrix [N, D], float32, in files that never change
//! log/             the changes since
//! graphs/          graphs of the matrix, which can be built anew where they are missing or do not fit
//! model/           card.json, model.onnx and the probe: all that a query needs; not there where embeddings are given
//! lock             held by the one writer
//! ```
//!
//! **What is promised.** When [`Gallery::add`], [`Gallery::replace`] or [`Gallery::remove`] return, the change is on the
//! disk, and it is found there after the process is killed or the power fails; until they return it has happened wholly
//! or not at all. A change first goes into the log ([`log`](self) has its form in `log.rs`), where a record that was not
//! finished is told from one that was and is damaged. When the log is long it is written as a segment beside it; the new
//! `gallery.json` that names the new files replaces the old one in one step, and only then are the old files removed.
//! So at any moment `gallery.json` names files that are whole. Every byte that is read is checked: CRC-32C of the log's
//! records and of blocks of the matrix, SHA-256 of the model. A damaged gallery is an error that names file and place,
//! and opening one changes nothing.
//!
//! **Growing.** Each segment has its own graph, and never loses it while it is there. Photos that were added since are
//! looked at one by one, and so are those of segments that a running writer made out of its log, until the gallery is
//! opened anew or [compacted](Gallery::compact): what was added is found exactly, and costs time, not recall
//! ([`Snapshot::n_without_graph`] says how much).
//!
//! **Who may do what.** Any number of processes and threads read, one writes: a second writer is refused by a lock, which
//! is held as long as the gallery is open, or for each change ([`Access::Turns`]). A reader sees a [`Snapshot`], which never
//! changes; a reader in another process sees the gallery as it was opened or [refreshed](Gallery::refresh). A child that was made
//! by fork is another process: what its parent had opened it can neither search nor change ([`Error::Forked`]), it holds no lock
//! of the parent's, and closing it there changes nothing for the parent.

mod codec;
mod copy;
mod folder;
mod graph_file;
mod identity;
mod known;
mod lock;
mod log;
mod manifest;
mod map;
mod nothing;
mod segment;
mod segment_file;
mod snapshot;
mod space;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sketchfind_core::card::{CARD, Card, MODEL, PROBE_EMBEDDINGS, PROBE_IMAGES, SKETCH_PROBE_EMBEDDINGS};
use sketchfind_core::embeddings::{Embeddings, ids_path};
use sketchfind_core::frame::PhotoFrame;
use sketchfind_core::random::Stream;
use sketchfind_core::{Error as CoreError, atomic, fingerprint};

pub use copy::{Copied, OnExisting};
pub use manifest::{FORMAT, MAGIC, MANIFEST, Manifest};
pub use nothing::Nothing;
pub use snapshot::{Match, Place, Snapshot};
#[cfg(feature = "postgres")]
pub(crate) use snapshot::{check_photos, nearest_products};
pub use space::EmbeddingSpace;
#[cfg(feature = "parquet")]
pub(crate) use space::WIDEST;

use sketchfind_index::HnswIndex;

use self::known::{HeldFiles, Known};
use self::lock::Lock;
use self::log::Log;
use self::segment::{LiveSegment, Segment};
use self::segment_file::Expected;
use self::writer::Writer;
use crate::home::Row;
use crate::process::{self, Process};
use crate::recall;
use crate::{Cancel, Costs, Error, IndexKind, IndexSpec, Photo, Progress, Recall, Result};

/// The model's folder in a gallery's folder.
pub const MODEL_DIR: &str = "model";

/// How a gallery is made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GalleryOptions {
    /// The index to search it with.
    pub index: IndexSpec,
    /// The program and version that makes it, such as `sketchfind 0.1.0`.
    pub tool: String,
    /// How photos are framed before they are embedded, from now on ([`sketchfind_core::frame::photo`]); nothing where they
    /// are taken as they are.
    pub photo_frame: Option<PhotoFrame>,
}

impl GalleryOptions {
    /// The index that the size calls for, see [`choose`](crate::choose); made by `tool`.
    pub fn auto(tool: &str) -> GalleryOptions {
        GalleryOptions::with_index(IndexSpec::Auto, tool)
    }

    /// Exact search; made by `tool`.
    pub fn exact(tool: &str) -> GalleryOptions {
        GalleryOptions::with_index(IndexSpec::from(IndexKind::Exact), tool)
    }

    /// Approximate search with default parameters; made by `tool`.
    pub fn hnsw(tool: &str) -> GalleryOptions {
        GalleryOptions::with_index(IndexSpec::from(IndexKind::Hnsw), tool)
    }

    /// The index `index`; made by `tool`; photos as they are.
    pub fn with_index(index: IndexSpec, tool: &str) -> GalleryOptions {
        GalleryOptions { index, tool: tool.to_owned(), photo_frame: None }
    }

    /// The same with photos framed.
    #[must_use]
    pub fn with_photo_frame(mut self, photo_frame: Option<PhotoFrame>) -> GalleryOptions {
        self.photo_frame = photo_frame;
        self
    }

    /// Refuses to frame photos where there is no model, whose matter that is.
    pub(crate) fn refuse_frame_without_model(&self) -> Result<()> {
        if self.photo_frame.is_none() {
            return Ok(());
        }
        let (value, expected) = ("given".to_owned(), "none where there is no model".to_owned());
        Err(CoreError::OutOfRange { what: "photo_frame", value, expected }.into())
    }
}

/// What may be done with a gallery that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is read; any number of readers may, beside a writer too.
    Read,
    /// It is read and changed; one at a time may.
    Write,
    /// It is read and changed, and the lock is held only while a change is made: others write in between, and each change
    /// begins with what they have written. [`Error::Locked`] where somebody else is writing right then.
    Turns,
}

/// What came of building graphs.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct BuiltGraphs {
    /// The number of photos in graphs that were built, and not read.
    pub n_photos: usize,
    /// Why a graph could not be kept, where one could not: whoever opens the gallery next builds it anew.
    pub not_kept: Option<Error>,
}

/// A gallery that is open. All methods take `&self`: threads share it.
pub struct Gallery {
    path: PathBuf,
    /// Of the model, where there is one.
    card: Option<Card>,
    access: Access,
    process: Process,
    manifest: RwLock<Arc<Manifest>>,
    /// Replaced by each change; readers clone the `Arc` and hold no lock while they search.
    snapshot: RwLock<Arc<Snapshot>>,
    /// What of the disk the snapshot shows; nothing where that is not known. Held by the one who looks for what is new.
    known: Mutex<Option<Known>>,
    writer: Option<Mutex<Writer>>,
}

impl std::fmt::Debug for Gallery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gallery")
            .field("path", &self.path)
            .field("snapshot", &self.snapshot())
            .field("access", &self.access())
            .finish_non_exhaustive()
    }
}

/// Where a new gallery's embeddings come from.
#[derive(Clone, Copy)]
enum Origin<'a> {
    /// From a model, which is copied into the gallery; they are this wide.
    Model { folder: &'a Path, width: usize },
    /// From elsewhere.
    Given(&'a EmbeddingSpace),
}

/// What is on the disk.
struct State {
    manifest: Manifest,
    snapshot: Snapshot,
    /// The length of the log up to its last whole record, and the sequence of the next.
    log_end: (u64, u64),
    /// The files that it was read from.
    held: Option<HeldFiles>,
}

impl Gallery {
    /// Writes a gallery of `embeddings` by the model in `model_dir` to the folder `path`, whole or not at
    /// all. A gallery that is there is replaced; another folder or file is not. `sources` names the files of
    /// photos by their ids, as they shall be found by whoever opens the gallery.
    ///
    /// # Errors
    /// [`Error::Gallery`] where `path` is something else, the embeddings do not fit the model, or a source
    /// has no embedding; [`Error::Locked`] where somebody writes the gallery that is there; [`Error::Core`] where the
    /// model cannot be read, a file not be written, or a path is not UTF-8.
    pub fn create(
        path: impl AsRef<Path>,
        model_dir: impl AsRef<Path>,
        embeddings: &Embeddings,
        sources: Option<&BTreeMap<String, PathBuf>>,
        options: &GalleryOptions,
    ) -> Result<()> {
        let (path, model_dir) = (path.as_ref(), model_dir.as_ref());
        let refused = |reason: String| Error::Gallery { path: path.to_owned(), reason };
        let empty = BTreeMap::new();
        let sources = sources.unwrap_or(&empty);
        if let Some(id) = sources.keys().find(|id| embeddings.find(id).is_none()) {
            return Err(refused(format!("the photo '{id}' has a file but no embedding")));
        }
        let mut photos = Vec::with_capacity(embeddings.len());
        for id in embeddings.ids() {
            let photo = Photo::new(id);
            let photo = match sources.get(id) {
                Some(source) => photo.with_source(source),
                None => photo,
            };
            photo.check()?;
            photos.push(photo);
        }
        let origin = Origin::Model { folder: model_dir, width: embeddings.width() };
        Gallery::create_of(path, origin, photos.len(), photos.iter().zip(embeddings.rows()), options)
    }

    /// Writes a gallery without photos, otherwise as [`Gallery::create`] does.
    ///
    /// # Errors
    /// Those of [`Gallery::create`].
    pub fn create_empty(
        path: impl AsRef<Path>,
        model_dir: impl AsRef<Path>,
        options: &GalleryOptions,
    ) -> Result<()> {
        let (path, model_dir) = (path.as_ref(), model_dir.as_ref());
        let width = Card::load(model_dir)?.embedding_width;
        let origin = Origin::Model { folder: model_dir, width };
        Gallery::create_of(path, origin, 0, std::iter::empty(), options)
    }

    /// Writes a gallery without photos and without a model, otherwise as [`Gallery::create`] does: its photos are embeddings
    /// of `space` that are given, and so are its queries.
    ///
    /// ```
    /// use sketchfind::{Access, Distance, EmbeddingSpace, Filter, Gallery, GalleryOptions, Photo};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("gallery");
    /// let space = EmbeddingSpace::new(2, Distance::Cosine);
    /// Gallery::create_without_model(&path, &space, &GalleryOptions::auto("docs 1.0"))?;
    /// let gallery = Gallery::open_with(&path, Access::Write)?;
    /// gallery.add(vec![Photo::new("up"), Photo::new("right")], vec![0.0, 1.0, 1.0, 0.0])?;
    /// let found = gallery.snapshot().search(&[0.1, 5.0], 1, &Filter::everything())?;
    /// assert_eq!(found[0].id, "up");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Gallery::create`]; [`Error::Core`] where the space is none, or the options frame photos, which is a
    /// model's matter.
    pub fn create_without_model(
        path: impl AsRef<Path>,
        space: &EmbeddingSpace,
        options: &GalleryOptions,
    ) -> Result<()> {
        space.check()?;
        options.refuse_frame_without_model()?;
        Gallery::create_of(path.as_ref(), Origin::Given(space), 0, std::iter::empty(), options)
    }

    fn create_of<'p>(
        path: &Path,
        origin: Origin<'_>,
        n: usize,
        rows: impl Iterator<Item = (&'p Photo, &'p [f32])>,
        options: &GalleryOptions,
    ) -> Result<()> {
        let refused = |reason: String| Error::Gallery { path: path.to_owned(), reason };
        refuse_other_things(path)?;
        options.index.check()?;
        let space = match origin {
            Origin::Given(space) => space.clone(),
            Origin::Model { folder, width } => {
                let card = Card::load_with_model(folder)?;
                if width != card.embedding_width {
                    return Err(refused(format!(
                        "its embeddings are {} wide, those of the model in '{}' {}",
                        width,
                        folder.display(),
                        card.embedding_width
                    )));
                }
                EmbeddingSpace::new(width, card.distance).with_model(card.fingerprint())
            }
        };
        let EmbeddingSpace { width, distance, model_sha256 } = space;
        let model = fingerprint_bytes(path, model_sha256.as_deref())?;
        // Whoever writes the gallery that is there would go on writing into what is thrown away.
        let lock = if manifest::is_ours(path) { Some(Lock::take_soon(path)?) } else { None };
        atomic::write_folder(path, |new| {
            if let Origin::Model { folder, .. } = origin {
                copy_model(folder, &new.join(MODEL_DIR))?;
            }
            let mut files = BTreeMap::new();
            fingerprint_files(new, Path::new(""), &mut files)?;
            let expected = Expected { model: &model, width };
            let segments = if n == 0 { vec![] } else { vec![1] };
            if n > 0 {
                segment_file::write(new, 1, n, rows, expected)?;
            }
            Log::create(new, 1, 1, expected, &[])?;
            Manifest {
                format: FORMAT,
                tool: options.tool.clone(),
                model_sha256,
                distance,
                width,
                index: options.index,
                files,
                segments,
                log: 1,
                sequence: 1,
                photo_frame: options.photo_frame,
                costs: None,
                recall: None,
            }
            .save(new)
        })?;
        drop(lock);
        Ok(())
    }

    /// Opens the gallery in the folder `path` for reading and checks it: every file against its checksums, the matrix
    /// and its model against each other. Nothing is changed, and a writer may be at work. Graphs that are kept are read, and
    /// none is built: [`Gallery::n_lacking_graph`] says of how many photos there is none, which are searched one by one until
    /// [`Gallery::build_index`] is done.
    ///
    /// Galleries of every earlier format that was released are read.
    ///
    /// # Errors
    /// [`Error::Gallery`] with the file that is missing, damaged, or of a newer version; [`Error::Core`].
    pub fn open(path: impl AsRef<Path>) -> Result<Gallery> {
        Gallery::open_with(path, Access::Read)
    }

    /// Opens the gallery as [`Gallery::open`] does, for reading or for writing. A gallery of an earlier format becomes one of
    /// the present format when its `gallery.json` is next written.
    ///
    /// # Errors
    /// Those of [`Gallery::open`]; [`Error::Locked`] where another writer has it.
    pub fn open_with(path: impl AsRef<Path>, access: Access) -> Result<Gallery> {
        let path = path.as_ref();
        // Of anything but a gallery nothing is wanted, no lock either.
        manifest::load(path)?;
        let lock = match access {
            Access::Read | Access::Turns => None,
            Access::Write => Some(Lock::take_soon(path)?),
        };
        let state = read_consistent(path, None)?;
        let card = read_model(path, &state.manifest)?;
        let model = fingerprint_bytes(path, state.manifest.model_sha256.as_deref())?;
        let manifest = Arc::new(state.manifest);
        let writer =
            lock.map(|lock| Writer::open(path, &manifest, &model, state.log_end, lock)).transpose()?;
        // Who keeps the lock has nothing to look for.
        let held = state.held.filter(|_| access != Access::Write);
        let known = held.map(|held| Known::new(held, Arc::clone(&manifest), state.log_end));
        let gallery = Gallery {
            path: path.to_owned(),
            card,
            access,
            process: Process::current(),
            manifest: RwLock::new(manifest),
            snapshot: RwLock::new(Arc::new(state.snapshot)),
            known: Mutex::new(known),
            writer: writer.map(Mutex::new),
        };
        gallery.load_graphs();
        Ok(gallery)
    }

    /// The gallery's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `gallery.json` said when the gallery was opened, or was last [refreshed](Gallery::refresh) or changed by turns.
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The folder of the model inside the gallery, where it has one.
    pub fn model_dir(&self) -> Option<PathBuf> {
        self.card.is_some().then(|| self.path.join(MODEL_DIR))
    }

    /// The card of the model inside the gallery, where it has one.
    pub fn card(&self) -> Option<&Card> {
        self.card.as_ref()
    }

    /// The space of its embeddings.
    pub fn space(&self) -> EmbeddingSpace {
        let manifest = self.manifest();
        let (width, distance) = (manifest.width, manifest.distance);
        EmbeddingSpace { width, distance, model_sha256: manifest.model_sha256.clone() }
    }

    /// How photos are framed before they are embedded.
    pub fn photo_frame(&self) -> Option<PhotoFrame> {
        self.manifest().photo_frame
    }

    /// What may be done with it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// All photos as they are now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of photos.
    pub fn len(&self) -> usize {
        self.snapshot().len()
    }

    /// Whether there is no photo.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sees what another process has written since this one opened the gallery, also where it has put another gallery of
    /// the same model in its place; whether there was anything. Where nothing is new this costs two questions to the file
    /// system; otherwise only what is new is read. A gallery that is open with [`Access::Write`] is always up to date.
    ///
    /// # Errors
    /// [`Error::OtherModel`] where the gallery is one of another model now, which has to be opened anew; those of
    /// [`Gallery::open`]. The snapshot then stays as it was.
    pub fn refresh(&self) -> Result<bool> {
        self.check_process()?;
        if self.access == Access::Write {
            return Ok(false);
        }
        let is_new = self.catch_up(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))?;
        if is_new {
            self.load_graphs();
        }
        Ok(is_new)
    }

    /// Publishes what is new on the disk; whether there was anything.
    fn catch_up(&self, known: &mut Option<Known>) -> Result<bool> {
        if known.as_ref().is_some_and(|known| known.is_all(&self.path)) {
            return Ok(false);
        }
        let snapshot = self.snapshot();
        let before = Before { known: known.as_ref(), snapshot: &snapshot };
        let state = read_consistent(&self.path, Some(before))?;
        let own = self.manifest();
        let model = |manifest: &Manifest| {
            let files = [CARD, MODEL].map(|name| manifest.files.get(&format!("{MODEL_DIR}/{name}")).cloned());
            (manifest.model_sha256.clone(), manifest.width, manifest.distance, files)
        };
        if model(&state.manifest) != model(&own) {
            return Err(Error::OtherModel { path: self.path.clone() });
        }
        let manifest = Arc::new(state.manifest);
        *known = state.held.map(|held| Known::new(held, Arc::clone(&manifest), state.log_end));
        *self.manifest.write().unwrap_or_else(PoisonError::into_inner) = manifest;
        self.publish(state.snapshot);
        Ok(true)
    }

    fn set_manifest(&self, manifest: Manifest) {
        *self.manifest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(manifest);
    }

    /// The index that the gallery asks for.
    pub fn index(&self) -> IndexSpec {
        self.kept_writer().map_or_else(|| self.manifest().index, |writer| writer.manifest().index)
    }

    /// Moves the gallery in the folder `from` to `to` on the same file system, where it takes the place of a gallery that
    /// is there, in one step.
    ///
    /// # Errors
    /// [`Error::Gallery`] where `from` is no gallery or `to` is something else; [`Error::Locked`] where somebody writes
    /// one of them; [`Error::Core`].
    pub fn install(from: &Path, to: &Path) -> Result<()> {
        Gallery::install_if(from, to, || Ok(true)).map(drop)
    }

    /// [`Gallery::install`] in the place of `before`, which is open for reading, unless somebody has changed it since it was
    /// opened or last [refreshed](Gallery::refresh): then it is refreshed, and nothing is moved. Whether it was moved.
    ///
    /// # Errors
    /// Those of [`Gallery::install`] and [`Gallery::refresh`].
    pub fn install_over(from: &Path, before: &Gallery) -> Result<bool> {
        Gallery::install_if(from, &before.path, || Ok(!before.refresh()?))
    }

    /// Moves the gallery where, once nobody else writes either, `is_wanted`.
    fn install_if(from: &Path, to: &Path, is_wanted: impl FnOnce() -> Result<bool>) -> Result<bool> {
        manifest::load(from)?;
        refuse_other_things(to)?;
        let own = Lock::take_soon(from)?;
        let other = if manifest::is_ours(to) { Some(Lock::take_soon(to)?) } else { None };
        if !is_wanted()? {
            return Ok(false);
        }
        if other.is_none() && to.exists() {
            std::fs::remove_dir(to).map_err(CoreError::io("replace", to))?;
        }
        atomic::move_folder(from, to)?;
        drop((own, other));
        Ok(true)
    }

    fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }

    /// Refuses what only the process that opened the gallery may do.
    pub(crate) fn check_process(&self) -> Result<()> {
        self.process.check(|| format!("the gallery '{}'", self.path.display()))
    }

    /// What embedding and exact search cost where the gallery was built, where that was measured.
    pub fn costs(&self) -> Option<Costs> {
        self.kept_writer().map_or_else(|| self.manifest().costs, |writer| writer.manifest().costs)
    }

    /// The kind of index that the gallery asks for at its present size.
    pub fn kind(&self) -> IndexKind {
        let snapshot = self.snapshot();
        let n_numbers = (snapshot.len() as u64).saturating_mul(snapshot.width() as u64);
        self.index().kind(self.costs(), n_numbers)
    }

    /// The number of photos that are to be in a graph and are in none, because it was not built or could not be kept: they are
    /// looked at one by one until [`Gallery::build_index`] builds it.
    pub fn n_lacking_graph(&self) -> usize {
        self.segments_lacking_graph().iter().map(|segment| segment.len()).sum()
    }

    fn segments_lacking_graph(&self) -> Vec<Arc<Segment>> {
        if self.kind() == IndexKind::Exact {
            return vec![];
        }
        let snapshot = self.snapshot();
        let segments = snapshot.parts().iter().map(|part| &part.segment);
        let lacking =
            segments.filter(|segment| segment.len() >= LEAST_FOR_GRAPH && segment.graph().is_none());
        lacking.map(Arc::clone).collect()
    }

    /// Reads the graphs that are kept.
    fn load_graphs(&self) {
        for segment in self.segments_lacking_graph() {
            self.load_graph(&segment);
        }
    }

    /// Whether the graph of `segment` is kept; it is read then.
    fn load_graph(&self, segment: &Segment) -> bool {
        let (distance, parameters) = (self.manifest().distance, self.index().parameters());
        let load = || {
            let built = graph_file::load(&self.path, segment, distance, parameters)?;
            HnswIndex::of_built_graph(segment.matrix().clone(), distance, parameters, built)
        };
        let graph = process::on_live_threads(load).ok().flatten();
        let is_kept = graph.is_some();
        graph.into_iter().for_each(|graph| segment.set_graph(graph));
        is_kept
    }

    /// Builds the graphs that the gallery asks for and that are not kept, and keeps them beside the matrix where that is
    /// possible. Until it is done the photos are searched one by one, exactly. Of several processes one builds, and the others wait for what it keeps.
    ///
    /// `progress` is told rows of a graph; `cancel` is asked between them.
    ///
    /// # Errors
    /// Those of [`HnswIndex::build_with`]; [`Error::Forked`]. That a graph cannot be kept is no error, but told in the result.
    pub fn build_index(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<BuiltGraphs> {
        self.check_process()?;
        let (distance, parameters) = (self.manifest().distance, self.index().parameters());
        let mut built = BuiltGraphs::default();
        for segment in self.segments_lacking_graph() {
            let _turn = loop {
                match graph_file::turn(&self.path) {
                    Some(turn) => break turn,
                    None if cancel.is_cancelled() => return Err(Error::Cancelled),
                    None => std::thread::sleep(Duration::from_millis(100)),
                }
            };
            // Whoever had the turn before may have built it.
            if self.load_graph(&segment) {
                continue;
            }
            let matrix = segment.matrix().clone();
            let index = process::on_live_threads(|| {
                HnswIndex::build_with(matrix, distance, parameters, progress, cancel)
            })??;
            built.n_photos += segment.len();
            if let Err(error) = graph_file::save(&self.path, &segment, distance, parameters, index.built()) {
                built.not_kept = Some(error);
            }
            segment.set_graph(index);
        }
        Ok(built)
    }

    /// How many of the ten nearest the graphs find, on a sample of photos that a seed draws; nothing where there is no
    /// graph. A gallery that is open for writing writes it down. `progress` is told photos of the sample; `cancel` is asked
    /// between a few of them.
    ///
    /// # Errors
    /// Those of [`Snapshot::search`], and of [`Gallery::set_index`] where it cannot be written down; [`Error::Cancelled`].
    pub fn measure_recall(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<Option<Recall>> {
        self.check_process()?;
        let snapshot = self.snapshot();
        if snapshot.n_without_graph() == snapshot.len() {
            return Ok(None);
        }
        let mut places = snapshot.places();
        Stream::new(0, "sample of recall", &[]).shuffle(&mut places);
        places.truncate(MOST_IN_SAMPLE);
        let row = |place: Place| {
            let (photo, row) = snapshot.at(place)?;
            Some(Row { photo: photo.clone(), embedding: row.to_vec() })
        };
        let sample: Vec<Row> = places.into_iter().filter_map(row).collect();
        let recall = recall::measured(snapshot.as_ref(), &sample, progress, cancel)?;
        if self.access != Access::Read {
            self.set_recall(Some(recall))?;
        }
        Ok(Some(recall))
    }
}

/// The most photos of the sample on which recall is measured.
pub const MOST_IN_SAMPLE: usize = 200;

/// Rows below which a graph gains nothing: looking at all of them is as fast.
const LEAST_FOR_GRAPH: usize = 1024;

/// What is known of a gallery already.
#[derive(Clone, Copy)]
struct Before<'s> {
    known: Option<&'s Known>,
    snapshot: &'s Snapshot,
}

/// Reads a gallery that another process may be writing; of what is known `before`, only what is new.
fn read_consistent(path: &Path, before: Option<Before<'_>>) -> Result<State> {
    // A writer removes files that its new manifest no longer names, perhaps between our reading the one and opening
    // the other.
    const N_TRIES: usize = 10;
    let mut tries = 0;
    loop {
        tries += 1;
        let held = HeldFiles::at(path);
        let manifest = manifest::load(path)?;
        let result = read(path, &manifest, held, before);
        let Err(error) = result else {
            return result;
        };
        if manifest == manifest::load(path)? || tries == N_TRIES {
            return Err(error);
        }
    }
}

fn read(
    path: &Path,
    manifest: &Manifest,
    held: Option<HeldFiles>,
    before: Option<Before<'_>>,
) -> Result<State> {
    let held = held.and_then(|held| held.with_log(path, manifest.log));
    let model = fingerprint_bytes(path, manifest.model_sha256.as_deref())?;
    let expected = Expected { model: &model, width: manifest.width };
    let first_new = before
        .and_then(|before| Some((before, before.known?.first_new_record(path, manifest)?)))
        .filter(|&(_, first)| first >= manifest.sequence);
    let (mut snapshot, first) = match first_new {
        Some((before, first)) => {
            let parts = before.snapshot.parts().to_vec();
            (Snapshot::new(manifest.distance, manifest.width, parts), first)
        }
        None => {
            let mut parts = Vec::with_capacity(manifest.segments.len());
            for &number in &manifest.segments {
                let known = before.and_then(|before| known::segment_in(before.snapshot, path, number));
                parts.push(match known.filter(|segment| segment.number() == Some(number)) {
                    Some(segment) => LiveSegment::new(segment),
                    None => LiveSegment::new(segment_file::open(path, number, expected)?),
                });
            }
            (Snapshot::new(manifest.distance, manifest.width, parts), manifest.sequence)
        }
    };
    let replay = log::read(path, manifest.log, manifest.sequence, expected)?;
    let next = manifest.sequence + replay.batches.len() as u64;
    if first > next {
        // Records that were read are gone, as after a power failure of the machine that has the disk: what is there counts.
        return read(path, manifest, held, before.map(|before| Before { known: None, ..before }));
    }
    for batch in replay.batches.into_iter().skip((first - manifest.sequence) as usize) {
        snapshot = snapshot.after(batch).map_err(|reason| Error::Gallery {
            path: path.to_owned(),
            reason: format!("its log {:08} does not fit its segments: {reason}", manifest.log),
        })?;
    }
    Ok(State { manifest: manifest.clone(), snapshot, log_end: (replay.n_good, next), held })
}

/// What is said of a file that `gallery.json` names and that cannot be opened.
fn unreadable(gallery: &Path, file: &Path, error: std::io::Error) -> Error {
    if error.kind() != std::io::ErrorKind::NotFound {
        return CoreError::io("read", file)(error).into();
    }
    let name = file.strip_prefix(gallery).unwrap_or(file).display();
    let reason = format!(
        "'{name}' is missing, which its '{MANIFEST}' names. If this is a copy that was made while somebody wrote the gallery, \
         copy it again with `sketchfind index copy`, which gives a whole one"
    );
    Error::Gallery { path: gallery.to_owned(), reason }
}

/// Checks the model's files and reads its card, where the gallery has a model.
fn read_model(path: &Path, manifest: &Manifest) -> Result<Option<Card>> {
    if !manifest.has_model() {
        return Ok(None);
    }
    let damaged = |reason: String| Error::Gallery { path: path.to_owned(), reason };
    let model = format!("{MODEL_DIR}/{MODEL}");
    for needed in [&model, &format!("{MODEL_DIR}/{CARD}")] {
        if !manifest.files.contains_key(needed) {
            return Err(damaged(format!("its {MANIFEST} does not list '{needed}'")));
        }
    }
    check_file(path, &format!("{MODEL_DIR}/{CARD}"), &manifest.files)?;
    // The networks are the large files: reading their card checks them, against a card that was checked above.
    let card = Card::load_with_model(&path.join(MODEL_DIR))?;
    let of_networks: BTreeMap<String, String> =
        card.files().into_iter().map(|(name, sha256)| (format!("{MODEL_DIR}/{name}"), sha256)).collect();
    let is_small = |name: &&String| name.starts_with(MODEL_DIR) && !of_networks.contains_key(*name);
    for name in manifest.files.keys().filter(is_small) {
        check_file(path, name, &manifest.files)?;
    }
    let are_listed = of_networks.iter().all(|(name, sha256)| manifest.files.get(name) == Some(sha256));
    let own = card.fingerprint();
    if Some(&own) != manifest.model_sha256.as_ref() || !are_listed {
        return Err(damaged(format!(
            "its model's fingerprint is {own}, its embeddings are by {}",
            manifest.model_sha256.as_deref().unwrap_or("one that is not named")
        )));
    }
    if (card.embedding_width, card.distance) != (manifest.width, manifest.distance) {
        return Err(damaged(format!(
            "its {MANIFEST} says embeddings of width {} by {}; the model's card says {} by {}",
            manifest.width, manifest.distance, card.embedding_width, card.distance
        )));
    }
    Ok(Some(card))
}

/// Checks the file `name` against its fingerprint.
fn check_file(folder: &Path, name: &str, files: &BTreeMap<String, String>) -> Result<()> {
    let damaged = |reason: String| Error::Gallery { path: folder.to_owned(), reason };
    let expected =
        files.get(name).ok_or_else(|| damaged(format!("its {MANIFEST} does not list '{name}'")))?;
    let sha256 = fingerprint::of_file(&folder.join(name))?;
    if sha256 == *expected {
        return Ok(());
    }
    Err(damaged(format!("'{name}' is damaged or was changed: its sha256 is {sha256}, expected {expected}")))
}

/// The 32 bytes by which a gallery's files know their model: those of its fingerprint, or zeros where no model is named.
fn fingerprint_bytes(path: &Path, model_sha256: Option<&str>) -> Result<[u8; 32]> {
    let Some(text) = model_sha256 else {
        return Ok([0; 32]);
    };
    if let Some(bytes) = fingerprint::of_hex(text) {
        return Ok(bytes);
    }
    let reason = format!("its model's fingerprint is '{text}', expected 64 hexadecimal digits");
    Err(Error::Gallery { path: path.to_owned(), reason })
}

/// Refuses a path that holds anything but a gallery or an empty folder: it would be replaced.
fn refuse_other_things(path: &Path) -> Result<()> {
    manifest::refuse_address(path)?;
    let exists = path.symlink_metadata().is_ok();
    let is_empty_folder = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !exists || is_empty_folder() || manifest::is_ours(path) {
        return Ok(());
    }
    let reason = "something else is there, which will not be overwritten; remove it or choose another path";
    Err(Error::Gallery { path: path.to_owned(), reason: reason.into() })
}

/// What a model's folder is known to hold: the card, what its networks are made of and, where there is one, the probe; by the
/// names in it, with `/` between folders.
pub(crate) fn model_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut names: Vec<String> = vec![CARD.to_owned()];
    names.extend(Card::load(folder)?.files().into_keys());
    for embeddings in [PROBE_EMBEDDINGS, SKETCH_PROBE_EMBEDDINGS].map(Path::new) {
        let both = [embeddings, &ids_path(embeddings)].map(|name| name.display().to_string());
        names.extend(both.into_iter().filter(|name| folder.join(name).exists()));
    }
    let images = folder.join(PROBE_IMAGES);
    if images.is_dir() {
        for entry in std::fs::read_dir(&images).map_err(CoreError::io("read", &images))? {
            let image = entry.map_err(CoreError::io("read", &images))?.path();
            let name = image.file_name().and_then(|name| name.to_str());
            if let (Some(name), true) = (name, image.extension().is_some_and(|end| end == "png")) {
                names.push(format!("{PROBE_IMAGES}/{name}"));
            }
        }
    }
    Ok(names.into_iter().map(|name| (name.clone(), folder.join(name))).collect())
}

/// Copies what a model's folder is known to hold.
fn copy_model(from: &Path, to: &Path) -> Result<()> {
    model_files(from)?.iter().try_for_each(|(name, file)| copy_file(file, &to.join(name)))
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(CoreError::io("create", folder))?;
    }
    // Bytes only: a model that may only be read must not make a gallery that cannot be replaced.
    let mut source = std::fs::File::open(from).map_err(CoreError::io("read", from))?;
    let mut target = std::fs::File::create(to).map_err(CoreError::io("write", to))?;
    std::io::copy(&mut source, &mut target).map_err(CoreError::io("copy", from))?;
    Ok(())
}

/// The SHA-256 of every file below `root/relative`, under its path relative to `root` with `/` between
/// folders.
fn fingerprint_files(root: &Path, relative: &Path, files: &mut BTreeMap<String, String>) -> Result<()> {
    let here = root.join(relative);
    for entry in std::fs::read_dir(&here).map_err(CoreError::io("read", &here))? {
        let name = entry.map_err(CoreError::io("read", &here))?.file_name();
        let relative = relative.join(name);
        let path = root.join(&relative);
        if path.is_dir() {
            fingerprint_files(root, &relative, files)?;
            continue;
        }
        let parts: Option<Vec<&str>> = relative.iter().map(|part| part.to_str()).collect();
        let name = parts.ok_or_else(|| CoreError::malformed(&path, "its name is not UTF-8"))?.join("/");
        files.insert(name, fingerprint::of_file(&path)?);
    }
    Ok(())
}
