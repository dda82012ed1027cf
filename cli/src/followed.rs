//! A gallery that is as a folder is, and stays so while the folder changes. It lies among the user's caches, under the folder's
//! path and the model's fingerprint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use sketchfind::gallery::MANIFEST;
use sketchfind::{
    Framing, Gallery, GalleryOptions, IngestOptions, OnBroken, OnOtherSource, Photo, PhotoFile, Retriever,
    RetrieverOptions,
};
use sketchfind_core::card::Card;
use sketchfind_core::photo_files::{Exclude, PhotoFiles};
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_core::{Error, fingerprint};

use crate::general;
use crate::photos::There;
use crate::progress::{Bar, say, warn};

/// Photos that are acknowledged at once, so that they are found soon; the first of many are fewer.
const FIRST: usize = 16;
const SOME: usize = 64;
/// The least and the most time between two looks at the folder.
const SOON: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(30);

/// A gallery with somebody who keeps it as the folder is.
pub(crate) struct Followed {
    gallery: PathBuf,
    is_over: Arc<AtomicBool>,
    follower: JoinHandle<()>,
}

impl Followed {
    /// The gallery of `folder` by the model that is named, or else by the general one. It is made where there is none; the photos
    /// come in meanwhile.
    ///
    /// # Errors
    /// Where the folder is none, the model cannot be run, or the gallery not be made.
    pub(crate) fn begin(folder: &Path, model: Option<&Path>) -> Result<Followed> {
        let folder = std::fs::canonicalize(folder).map_err(Error::io("read", folder))?;
        if !folder.is_dir() {
            return Err(Error::malformed(&folder, "it is a file, expected a folder of photos").into());
        }
        let model = general::named_or_general(model)?;
        let card = Card::load_with_model(&model)?;
        let gallery = place(&folder, &card)?;
        let retriever = match kept(&gallery)? {
            Some(retriever) => retriever,
            None => {
                if gallery.exists() {
                    // Whatever it is, it lies under a name of ours among caches.
                    std::fs::remove_dir_all(&gallery).map_err(Error::io("remove", &gallery))?;
                }
                let photo_frame = Framing::Card.of_photos(card.frame)?;
                let tool = concat!("sketchfind ", env!("CARGO_PKG_VERSION"));
                let options = GalleryOptions::auto(tool).with_photo_frame(photo_frame);
                Gallery::create_empty(&gallery, &model, &options)?;
                open(&gallery)?
            }
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let follow = move || follow(&retriever, &folder, &over);
        let follower = std::thread::Builder::new().name("folder".into()).spawn(follow)?;
        Ok(Followed { gallery, is_over, follower })
    }

    /// The gallery's folder.
    pub(crate) fn gallery(&self) -> &Path {
        &self.gallery
    }

    /// Follows no more. What is embedded by then is kept.
    pub(crate) fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It has said what was wrong.
        let _ = self.follower.join();
    }
}

/// Where the gallery of a folder lies.
fn place(folder: &Path, card: &Card) -> Result<PathBuf> {
    let path = fingerprint::of_bytes(folder.as_os_str().as_encoded_bytes());
    let name = format!("{}-{}", &path[..32], &card.fingerprint()[..32]);
    Ok(general::cache()?.join("galleries").join(name))
}

fn open(gallery: &Path) -> sketchfind::Result<Retriever> {
    Retriever::open(gallery, RetrieverOptions::cpu().by_turns())
}

/// The gallery, where it is there and can be read. One that cannot is a cache, and made anew.
fn kept(gallery: &Path) -> Result<Option<Retriever>> {
    if !gallery.join(MANIFEST).is_file() {
        return Ok(None);
    }
    match open(gallery) {
        Ok(retriever) => Ok(Some(retriever)),
        Err(error @ (sketchfind::Error::Gallery { .. } | sketchfind::Error::Core(_))) => {
            warn(&format!("the gallery is made anew, since it cannot be read: {error}"));
            Ok(None)
        }
        // It may be whole: a library that does not load, for example.
        Err(error) => Err(error.into()),
    }
}

fn follow(retriever: &Retriever, folder: &Path, is_over: &AtomicBool) {
    let mut known = Known::default();
    let mut trouble = String::new();
    let is_over = || is_over.load(Ordering::Relaxed);
    while !is_over() {
        let mut look = Duration::ZERO;
        match known.catch_up(retriever, folder, &is_over) {
            Ok(took) => {
                trouble.clear();
                look = took;
            }
            Err(error) if !is_over() && error.to_string() != trouble => {
                trouble = error.to_string();
                warn(&format!("the folder cannot be followed; it is tried again: {trouble}"));
            }
            Err(_) => {}
        }
        // A look at a large folder, or one that is far away, is not to take all of a machine's time.
        let pause = (look * 4).clamp(SOON, LATE);
        let started = Instant::now();
        while !is_over() && started.elapsed() < pause {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// By what a file is taken for one that has not changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    n_bytes: u64,
    modified: Option<SystemTime>,
}

/// What the gallery has, or what of it cannot be read.
#[derive(Default)]
struct Known {
    /// By id.
    files: BTreeMap<String, Stamp>,
    is_complete: bool,
}

impl Known {
    /// Brings the gallery to what the folder holds. How long the look at the folder took.
    fn catch_up(
        &mut self,
        retriever: &Retriever,
        folder: &Path,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<Duration> {
        let started = Instant::now();
        let found = PhotoFiles::below(folder, &Exclude::nothing())?;
        let mut changed: Vec<(PhotoFile, Stamp)> = Vec::new();
        for file in &found.photos {
            let path = folder.join(&file.path);
            // One that has just gone is seen by the next look.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            let stamp = Stamp { n_bytes: metadata.len(), modified: metadata.modified().ok() };
            if self.files.get(&file.id) != Some(&stamp) {
                changed.push((PhotoFile::new(Photo::new(&file.id).with_source(&path), path), stamp));
            }
        }
        let look = started.elapsed();
        let n_before = retriever.len()?;
        let n_changed = self.take(retriever, &changed, is_over)?;
        let n_removed = self.remove(retriever, &found)?;
        if !self.is_complete {
            say(&format!("all {} photos are in; the folder is followed", retriever.len()?));
            self.is_complete = true;
        } else if n_changed + n_removed > 0 {
            let n = retriever.len()?;
            say(&format!(
                "{n_changed} photos are new or changed, {n_removed} are gone; there were {n_before}, there are {n}"
            ));
        }
        Ok(look)
    }

    /// Takes in files that are new or have changed; their number without those that cannot be read.
    fn take(
        &mut self,
        retriever: &Retriever,
        changed: &[(PhotoFile, Stamp)],
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<usize> {
        let options = IngestOptions::from(OnBroken::Skip).with_other_sources(OnOtherSource::Replace);
        let bar = (changed.len() > SOME).then(|| Bar::new(changed.len(), "taking in photos"));
        let (mut n_done, mut n_changed) = (0, 0);
        while n_done < changed.len() {
            let n = if n_done == 0 { FIRST } else { SOME };
            let some = &changed[n_done..changed.len().min(n_done + n)];
            let files: Vec<PhotoFile> = some.iter().map(|(file, _)| file.clone()).collect();
            let tell = |n: usize| bar.iter().for_each(|bar| bar.set(n_done + n));
            let done = retriever.ingest(&files, options, Progress::new(&tell), Cancel::new(is_over))?;
            n_changed += done.n_added + done.n_replaced;
            for broken in &done.broken {
                warn(&format!("left out: {}: {}", broken.path.display(), broken.reason));
            }
            // Broken ones too: they are tried again when they change.
            self.files.extend(some.iter().map(|(file, stamp)| (file.photo.id().to_owned(), *stamp)));
            n_done += some.len();
        }
        bar.into_iter().for_each(Bar::finish);
        Ok(n_changed)
    }

    /// Removes photos that are gone; their number. What is there and cannot be read is not gone.
    fn remove(&mut self, retriever: &Retriever, found: &PhotoFiles) -> Result<usize> {
        let photos = found.photos.iter().map(|photo| photo.id.as_str());
        let left_out = || found.left_out.iter();
        let there = There::new(
            photos.chain(left_out().map(|file| file.id.as_str())),
            left_out().filter(|file| file.is_folder).map(|folder| folder.id.as_str()),
        );
        let ids = retriever.look().ids()?;
        let gone: Vec<&str> = ids.iter().map(String::as_str).filter(|id| there.lacks(id)).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let n_removed = retriever.remove(&gone)?;
        self.files.retain(|id, _| !there.lacks(id));
        Ok(n_removed)
    }
}
