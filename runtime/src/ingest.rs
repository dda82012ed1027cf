//! Bringing files into a gallery: what is in already is known by its content, what is broken is named, and work that is
//! interrupted goes on where it was.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use sketchfind_core::frame::{PhotoFrame, Region};
use sketchfind_core::{Error as CoreError, fingerprint};

use crate::embedder::View;
use crate::embedder::{Batch, Done, Job, reason};
use crate::home::Look;
use crate::process;
use crate::{BrokenImage, Cancel, Error, OnBroken, Photo, Picture, Progress, Result, Retriever};

/// A photo that is to be in a gallery, and the file to read it from.
#[derive(Clone, Debug)]
pub struct PhotoFile {
    /// Id, labels and the path that the gallery shall know. Its content is set here.
    pub photo: Photo,
    /// The file.
    pub path: PathBuf,
    /// Where the product is in it, if that was told: the rest is not embedded. Only for galleries that frame photos.
    pub region: Option<Region>,
}

impl PhotoFile {
    /// A photo and its file.
    pub fn new(photo: Photo, path: impl Into<PathBuf>) -> PhotoFile {
        PhotoFile { photo, path: path.into(), region: None }
    }
}

/// What becomes of a file under whose id the gallery has another picture from another file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOtherSource {
    /// Nothing is changed, and the error names it.
    #[default]
    Refuse,
    /// It takes the other one's place.
    Replace,
}

/// How files are brought into a gallery. An [`OnBroken`] alone refuses what would replace photos of another source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestOptions {
    /// What becomes of files that cannot be read.
    pub on_broken: OnBroken,
    /// What becomes of files that would replace photos of another source.
    pub on_other_source: OnOtherSource,
}

impl IngestOptions {
    /// The same, with what becomes of files that would replace photos of another source.
    #[must_use]
    pub fn with_other_sources(mut self, on_other_source: OnOtherSource) -> IngestOptions {
        self.on_other_source = on_other_source;
        self
    }
}

impl From<OnBroken> for IngestOptions {
    fn from(on_broken: OnBroken) -> IngestOptions {
        IngestOptions { on_broken, ..IngestOptions::default() }
    }
}

/// What bringing files into a gallery would change, as far as can be told without decoding them. Ids in the order of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Photos that are not there.
    pub added: Vec<String>,
    /// Photos that are there with another content, labels or path.
    pub replaced: Vec<String>,
    /// Photos that are there as they are.
    pub n_unchanged: usize,
}

/// What came of bringing files into a gallery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Photos that were not there.
    pub n_added: usize,
    /// Photos that were there with another content, labels or path.
    pub n_replaced: usize,
    /// Photos that were there as they are.
    pub n_unchanged: usize,
    /// Of those added and replaced, how many needed no embedding because the same content was there.
    pub n_known: usize,
    /// Files that were left out, in the order of the list.
    pub broken: Vec<BrokenImage>,
}

/// Photos between two changes of the gallery: what an interruption costs at most, and few enough that each is one record
/// of the log.
const CHUNK: usize = 256;
/// Files that are looked at for one batch at most, so that progress is told and cancelling heeded where nearly all of them
/// are in already.
const MOST_LOOKED_AT: usize = 256;
/// Files up to this many bytes are read once, for their content's hash and to be decoded; longer ones twice, as many of
/// them are under way at a time.
const KEPT_BYTES: u64 = 4 << 20;

impl Retriever {
    /// Brings `files` into the gallery: those that are not in it, and those whose content, labels or path have changed.
    /// Labels that a photo was not given stay as they are, and so does its path. A content that the gallery has under any
    /// id is not embedded again. Every few hundred photos the gallery keeps what was done, and also when this ends with an
    /// error, so that the same call goes on where it was. `options` may be an [`OnBroken`] alone.
    ///
    /// `progress` is told how many files are done so far; `cancel` is asked between batches.
    ///
    /// # Errors
    /// [`Error::RepeatedId`] before any file is opened; [`Error::OtherSource`] before anything is changed; [`Error::Core`] where a region is
    /// given to a gallery that does not frame photos;
    /// [`Error::BrokenImage`] for the first broken file with [`OnBroken::Refuse`], once all before it are in;
    /// [`Error::Cancelled`]; the errors of
    /// [`Gallery::replace`](crate::Gallery::replace) and [`Embedder::embed_files`](crate::Embedder::embed_files).
    pub fn ingest(
        &self,
        files: &[PhotoFile],
        options: impl Into<IngestOptions>,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Ingested> {
        let IngestOptions { on_broken, on_other_source } = options.into();
        self.gallery().check_process()?;
        check_ids(files)?;
        files.iter().try_for_each(|file| file.photo.check())?;
        self.check_regions(files)?;
        if on_other_source == OnOtherSource::Refuse {
            let max_bytes = self.with_embedder(|embedder| embedder.options().limits.max_bytes())?;
            self.look().check_sources(files, max_bytes)?;
        }
        let mut intake = Intake {
            retriever: self,
            files,
            on_broken,
            done: Ingested::default(),
            n_done: 0,
            waiting: Waiting::default(),
            reasons: HashMap::new(),
            again: Vec::new(),
        };
        let mut todo: Vec<usize> = (0..files.len()).collect();
        while !todo.is_empty() {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let n_files = todo.len();
            let look = self.look();
            let photo_frame = self.gallery().photo_frame();
            let streamed = self.with_embedder(|embedder| {
                let max_bytes = embedder.options().limits.max_bytes();
                let mut planner = Planner::new(files, todo, look, max_bytes, photo_frame);
                let streamed = embedder.stream(n_files, &mut |n| planner.next(n), &mut |done| {
                    intake.take(done)?;
                    progress.tell(intake.n_done);
                    if intake.n_done < files.len() && cancel.is_cancelled() {
                        Err(Error::Cancelled)
                    } else {
                        Ok(())
                    }
                });
                planner.failed.map_or(streamed, Err)
            })?;
            // What is done is kept, however it ended.
            let kept = intake.keep();
            streamed?;
            kept?;
            todo = std::mem::take(&mut intake.again);
        }
        Ok(intake.done)
    }
}

impl Retriever {
    fn check_regions(&self, files: &[PhotoFile]) -> Result<()> {
        match files.iter().find(|file| file.region.is_some()) {
            Some(file) if self.gallery().photo_frame().is_none() => Err(CoreError::OutOfRange {
                what: "the box of a photo",
                value: format!("given for '{}'", file.photo.id()),
                expected: "none, as this gallery takes photos as they are; build one that frames them".into(),
            }
            .into()),
            _ => Ok(()),
        }
    }
}

impl dyn Look + '_ {
    /// Refuses files that would take the place of another picture from another file. Only files whose id is there from
    /// elsewhere are opened.
    ///
    /// # Errors
    /// [`Error::OtherSource`] with the first.
    pub fn check_sources(&self, files: &[PhotoFile], max_bytes: u64) -> Result<()> {
        let there = self.under_ids_of(files)?;
        let of_another: Vec<(&PhotoFile, &Photo)> = process::on_live_threads(|| {
            let both = files.par_iter().zip(&there);
            let known = both.filter_map(|(file, there)| Some((file, there.as_ref()?)));
            known.filter(|(file, there)| is_of_another_source(there, file, max_bytes)).collect()
        })?;
        let Some((first, there)) = of_another.first() else {
            return Ok(());
        };
        let (id, there) = (first.photo.id().to_owned(), there.source().map(Path::to_owned));
        Err(Error::OtherSource { id, there, given: first.path.clone(), n_more: of_another.len() - 1 })
    }

    /// What is there under the ids of `files`.
    fn under_ids_of(&self, files: &[PhotoFile]) -> Result<Vec<Option<Photo>>> {
        self.photos(&files.iter().map(|file| file.photo.id()).collect::<Vec<_>>())
    }

    /// What [`Retriever::ingest`] of `files` would change, without a model.
    ///
    /// # Errors
    /// [`Error::RepeatedId`]; [`Error::Core`] where a photo is not what a gallery keeps.
    pub fn changes(&self, files: &[PhotoFile], max_bytes: u64) -> Result<Changes> {
        check_ids(files)?;
        files.iter().try_for_each(|file| file.photo.check())?;
        let there = self.under_ids_of(files)?;
        let is_replaced = |(file, there): (&PhotoFile, &Option<Photo>)| {
            let there = there.as_ref()?;
            let photo = file.photo.clone().in_place_of(there);
            // What cannot be read is not changed either.
            let content = content_of(file, max_bytes);
            Some(content.is_some_and(|(content, _)| photo.with_content(content) != *there))
        };
        let planned: Vec<Option<bool>> =
            process::on_live_threads(|| files.par_iter().zip(&there).map(is_replaced).collect())?;
        let mut changes = Changes::default();
        for (file, planned) in files.iter().zip(planned) {
            match planned {
                None => changes.added.push(file.photo.id().to_owned()),
                Some(true) => changes.replaced.push(file.photo.id().to_owned()),
                Some(false) => changes.n_unchanged += 1,
            }
        }
        Ok(changes)
    }
}

/// Whether a file would take the place of another picture from another file.
fn is_of_another_source(there: &Photo, file: &PhotoFile, max_bytes: u64) -> bool {
    let is_same_file = match (there.source(), file.photo.source()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(there), given) => {
            let given = given.unwrap_or(&file.path);
            let canonical = |path: &Path| std::fs::canonicalize(path).ok();
            there == given || canonical(there).is_some_and(|there| canonical(given) == Some(there))
        }
    };
    // The same picture elsewhere: its folder was moved, or it is there twice. Nothing is lost.
    let is_same_picture = || {
        there
            .content()
            .is_some_and(|there| content_of(file, max_bytes).is_some_and(|(content, _)| content == *there))
    };
    !is_same_file && !is_same_picture()
}

/// What is to become of a file.
enum Plan {
    /// The gallery has it as it is.
    Unchanged,
    /// The gallery has its content, and so its embedding.
    Known(Photo, Vec<f32>),
    /// A file before it in the list has its content.
    Like(Photo, usize),
    /// It is embedded.
    Fresh(Photo),
}

/// Decides what becomes of files, in their order, and gives those out that are to be embedded.
struct Planner<'a> {
    files: &'a [PhotoFile],
    /// The positions of files that were not looked at yet.
    todo: VecDeque<usize>,
    look: Arc<dyn Look>,
    /// Files that are longer are not worth reading: no decoder takes them.
    max_bytes: u64,
    photo_frame: Option<PhotoFrame>,
    /// Where in the list a content is that is embedded now.
    first_of_content: HashMap<[u8; 32], usize>,
    /// What was looked at and not given out.
    planned: VecDeque<(usize, Plan, Option<Vec<u8>>)>,
    /// Why nothing more is given out, where the gallery did not answer.
    failed: Option<Error>,
}

impl<'a> Planner<'a> {
    fn new(
        files: &'a [PhotoFile],
        todo: Vec<usize>,
        look: Arc<dyn Look>,
        max_bytes: u64,
        photo_frame: Option<PhotoFrame>,
    ) -> Planner<'a> {
        let (first_of_content, planned) = (HashMap::new(), VecDeque::new());
        Planner {
            files,
            todo: todo.into(),
            look,
            max_bytes,
            photo_frame,
            first_of_content,
            planned,
            failed: None,
        }
    }

    /// The next files of the list, up to `n` of them to be embedded.
    fn next(&mut self, n: usize) -> Option<Batch<Vec<(usize, Plan)>>> {
        let (mut jobs, mut plans) = (Vec::with_capacity(n), Vec::with_capacity(n));
        while jobs.len() < n && plans.len() < MOST_LOOKED_AT {
            if self.planned.is_empty() {
                match self.look_at(n) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        self.failed = Some(error);
                        return None;
                    }
                }
            }
            let Some((position, plan, bytes)) = self.planned.pop_front() else { break };
            if let Plan::Fresh(_) = plan {
                let file = &self.files[position];
                let picture = match bytes {
                    Some(bytes) => Picture::Encoded { bytes, origin: format!("'{}'", file.path.display()) },
                    None => Picture::File(file.path.clone()),
                };
                jobs.push(Job { picture, view: self.view(file.region) });
            }
            plans.push((position, plan));
        }
        (!plans.is_empty()).then_some(Batch { jobs, parcel: plans })
    }

    /// Reads up to `n` files and decides about them; says whether there were any.
    fn look_at(&mut self, n: usize) -> Result<bool> {
        let positions: Vec<usize> = self.todo.drain(..n.min(self.todo.len())).collect();
        let read: Vec<_> =
            positions.par_iter().map(|&position| content_of(&self.files[position], self.max_bytes)).collect();
        let ids: Vec<&str> = positions.iter().map(|&position| self.files[position].photo.id()).collect();
        let there = self.look.photos(&ids)?;
        let contents: Vec<[u8; 32]> = read.iter().flatten().map(|(content, _)| *content).collect();
        let known = self.look.of_contents(&contents)?;
        for ((&position, read), there) in positions.iter().zip(read).zip(there) {
            let photo = self.files[position].photo.clone();
            // A file that cannot be read is told by the decoder, as every other broken one.
            let (plan, bytes) = match read {
                None => (Plan::Fresh(photo), None),
                Some((content, bytes)) => {
                    let photo = photo.with_content(content);
                    self.plan(position, photo, there.as_ref(), known.get(&content), (content, bytes))
                }
            };
            self.planned.push_back((position, plan, bytes));
        }
        Ok(!positions.is_empty())
    }

    fn view(&self, region: Option<Region>) -> View {
        match (self.photo_frame, region) {
            (None, _) => View::Whole,
            (Some(frame), None) => View::Framed(frame),
            (Some(frame), Some(region)) => View::Around(region, frame.typical),
        }
    }

    fn plan(
        &mut self,
        position: usize,
        photo: Photo,
        before: Option<&Photo>,
        known: Option<&Vec<f32>>,
        (content, bytes): ([u8; 32], Option<Vec<u8>>),
    ) -> (Plan, Option<Vec<u8>>) {
        if before.is_some_and(|before| photo.clone().in_place_of(before) == *before) {
            return (Plan::Unchanged, None);
        }
        if let Some(row) = known {
            return (Plan::Known(photo, row.clone()), None);
        }
        if let Some(&first) = self.first_of_content.get(&content) {
            return (Plan::Like(photo, first), None);
        }
        self.first_of_content.insert(content, position);
        (Plan::Fresh(photo), bytes)
    }
}

/// Photos that are done and not yet in the gallery.
#[derive(Default)]
struct Waiting {
    photos: Vec<Photo>,
    values: Vec<f32>,
    row_of_id: HashMap<String, usize>,
}

/// Brings what comes of files into the gallery, in their order.
struct Intake<'a> {
    retriever: &'a Retriever,
    files: &'a [PhotoFile],
    on_broken: OnBroken,
    done: Ingested,
    n_done: usize,
    waiting: Waiting,
    /// Why files are broken, by their positions.
    reasons: HashMap<usize, String>,
    /// The positions of files that have to be looked at again.
    again: Vec<usize>,
}

impl Intake<'_> {
    fn take(&mut self, done: Done<Vec<(usize, Plan)>>) -> Result<()> {
        let width = self.retriever.width();
        let mut outcomes = done.outcomes.into_iter();
        let mut rows = done.values.chunks_exact(width);
        for (position, plan) in done.parcel {
            self.n_done += 1;
            match plan {
                Plan::Unchanged => self.done.n_unchanged += 1,
                Plan::Known(photo, row) => {
                    self.done.n_known += 1;
                    self.waiting.push(photo, &row);
                }
                Plan::Like(photo, first) => self.copy(position, photo, first)?,
                Plan::Fresh(photo) => match outcomes.next().zip(Some(photo)) {
                    Some((Ok(()), photo)) => {
                        if let Some(row) = rows.next() {
                            self.waiting.push(photo, row);
                        }
                    }
                    Some((Err(error), _)) => {
                        self.leave_out(position, reason(&self.files[position].path, &error))?;
                    }
                    None => {}
                },
            }
        }
        if self.waiting.photos.len() >= CHUNK { self.keep() } else { Ok(()) }
    }

    /// Takes a photo with the content of the file at `first`.
    fn copy(&mut self, position: usize, photo: Photo, first: usize) -> Result<()> {
        if let Some(reason) = self.reasons.get(&first) {
            let name = |position: usize| self.files[position].path.display().to_string();
            let reason = reason.replace(&name(first), &name(position));
            return self.leave_out(position, reason);
        }
        let id = self.files[first].photo.id();
        let width = self.retriever.width();
        let row = match self.waiting.row_of_id.get(id) {
            Some(row) => self.waiting.values.get(row * width..(row + 1) * width).map(<[f32]>::to_vec),
            None => self.retriever.look().embedding(id)?,
        };
        match row {
            Some(row) => {
                self.done.n_known += 1;
                self.waiting.push(photo, &row);
            }
            // Somebody has removed it meanwhile.
            None => {
                self.n_done -= 1;
                self.again.push(position);
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, position: usize, reason: String) -> Result<()> {
        let file = &self.files[position];
        let (id, path) = (file.photo.id().to_owned(), file.path.clone());
        if self.on_broken == OnBroken::Refuse {
            return Err(Error::BrokenImage { id, path, reason });
        }
        self.reasons.insert(position, reason.clone());
        self.done.broken.push(BrokenImage { id, path, reason });
        Ok(())
    }

    /// Writes what waits to the gallery.
    fn keep(&mut self) -> Result<()> {
        let Waiting { photos, values, .. } = std::mem::take(&mut self.waiting);
        let ids: Vec<&str> = photos.iter().map(Photo::id).collect();
        let n_replaced = self.retriever.look().photos(&ids)?.iter().flatten().count();
        let n = photos.len();
        self.retriever.gallery().replace(photos, values)?;
        self.done.n_replaced += n_replaced;
        self.done.n_added += n - n_replaced;
        Ok(())
    }
}

impl Waiting {
    fn push(&mut self, photo: Photo, row: &[f32]) {
        self.row_of_id.insert(photo.id().to_owned(), self.photos.len());
        self.values.extend_from_slice(row);
        self.photos.push(photo);
    }
}

/// The SHA-256 of a file, if it can be read and has at most `max` bytes, and its bytes if they are few.
fn content_of(file: &PhotoFile, max: u64) -> Option<([u8; 32], Option<Vec<u8>>)> {
    let (content, bytes) = content_of_file(&file.path, max)?;
    // Another part of the same file has another embedding.
    let of_part = |region: Region| {
        let Region { left, top, width, height } = region;
        let numbers = [left, top, width, height].map(f64::to_le_bytes).concat();
        fingerprint::raw_of_bytes(&[&content[..], &numbers].concat())
    };
    Some((file.region.map_or(content, of_part), bytes))
}

fn content_of_file(path: &Path, max: u64) -> Option<([u8; 32], Option<Vec<u8>>)> {
    let file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    if length > max {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(KEPT_BYTES)).unwrap_or(0));
    if length <= KEPT_BYTES {
        file.take(KEPT_BYTES + 1).read_to_end(&mut bytes).ok()?;
    }
    // One that grows, or is no ordinary file, may have more than it said.
    if length > KEPT_BYTES || bytes.len() as u64 > KEPT_BYTES {
        return fingerprint::sha256_of_file(path).ok().map(|content| (content, None));
    }
    Some((fingerprint::raw_of_bytes(&bytes), Some(bytes)))
}

fn check_ids(files: &[PhotoFile]) -> Result<()> {
    let mut first_of: HashMap<&str, &Path> = HashMap::with_capacity(files.len());
    for file in files {
        if let Some(first) = first_of.insert(file.photo.id(), &file.path) {
            let (id, first, second) = (file.photo.id().to_owned(), first.to_owned(), file.path.clone());
            return Err(Error::RepeatedId { id, first, second });
        }
    }
    Ok(())
}
