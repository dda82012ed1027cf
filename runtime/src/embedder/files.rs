//! Embedding a list of image files: decoding runs ahead of inference, and a broken file is named, never a
//! panic.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;
use sketchfind_core::card::InputKind;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::{DecodeLimits, Preprocess, Rgb8Image};

use super::Embedder;
use super::input::Input;
use crate::{Error, Result};

/// What to do with a file of a list that is no image, is damaged, empty or cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBroken {
    /// Stop with an error that names the first one of the list.
    Refuse,
    /// Leave it out and report it.
    Skip,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenImage {
    /// Its id.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it; names the file.
    pub reason: String,
}

/// What came of a list of files.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The embeddings of the files that are images, under their ids.
    pub embeddings: Embeddings,
    /// The files that were left out, in the order of the list.
    pub broken: Vec<BrokenImage>,
}

/// One file of a batch: the network's input, or what is wrong with it.
type Decoded = std::result::Result<Input, String>;

/// Batches that are decoded ahead of the one in the network: enough to keep it busy, few enough for memory.
const BATCHES_AHEAD: usize = 2;

impl Embedder {
    /// The embeddings of the images in `files`, pairs of an id and a path. Decoding runs on worker threads
    /// ahead of inference; the results are the same on any number of them.
    ///
    /// `progress` is told, after each batch, how many files are done so far, broken ones included.
    /// `cancelled` is asked before each batch.
    ///
    /// # Errors
    /// [`Error::RepeatedId`] before any file is opened; [`Error::BrokenImage`] for the first broken file of
    /// the list with [`OnBroken::Refuse`]; [`Error::Cancelled`]; [`Error::Inference`]; [`Error::Core`] where
    /// an id is empty or an embedding is not finite.
    pub fn embed_files(
        &mut self,
        files: &[(String, PathBuf)],
        on_broken: OnBroken,
        progress: &mut dyn FnMut(usize),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Embedded> {
        check_ids(files)?;
        let preprocess = self.card.preprocess.clone();
        let (limits, n_batch, workers) = (self.options.limits, self.options.batch, Arc::clone(&self.workers));
        let stop = AtomicBool::new(false);
        let kind = self.card.onnx.input_kind;
        let decoder = Decoder { preprocess: &preprocess, kind, limits, workers: &workers, stop: &stop };
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(BATCHES_AHEAD);
            std::thread::Builder::new()
                .name("sketchfind-decode".into())
                .spawn_scoped(scope, || decoder.send_batches(files, n_batch, sender))
                .map_err(|e| Error::Threads { n_threads: 1, reason: e.to_string() })?;
            let embedded = self.embed_decoded(files, on_broken, receiver, progress, cancelled);
            // Whether done or failed: files that are not decoded yet need not be.
            stop.store(true, Ordering::Relaxed);
            embedded
        })
    }

    fn embed_decoded(
        &mut self,
        files: &[(String, PathBuf)],
        on_broken: OnBroken,
        batches: Receiver<Vec<Decoded>>,
        progress: &mut dyn FnMut(usize),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Embedded> {
        let mut ids = Vec::with_capacity(files.len());
        let mut values = Vec::with_capacity(files.len() * self.card.embedding_width);
        let mut broken = Vec::new();
        let mut rest = files.iter();
        let mut input = Input::empty(self.card.onnx.input_kind);
        let mut n_done = 0;
        while n_done < files.len() {
            if cancelled() {
                return Err(Error::Cancelled);
            }
            let batch = batches.recv().map_err(|e| Error::Threads { n_threads: 1, reason: e.to_string() })?;
            input.clear();
            let n_before = ids.len();
            n_done += batch.len();
            for (decoded, (id, path)) in batch.into_iter().zip(&mut rest) {
                match decoded {
                    Ok(image) => {
                        input.append(&image);
                        ids.push(id.clone());
                    }
                    Err(reason) if on_broken == OnBroken::Skip => {
                        broken.push(BrokenImage { id: id.clone(), path: path.clone(), reason });
                    }
                    Err(reason) => {
                        return Err(Error::BrokenImage { id: id.clone(), path: path.clone(), reason });
                    }
                }
            }
            if ids.len() > n_before {
                self.run(ids.len() - n_before, &input, &mut values)?;
            }
            progress(n_done);
        }
        Ok(Embedded { embeddings: Embeddings::new(ids, self.card.embedding_width, values)?, broken })
    }
}

/// What decodes files, batch by batch.
struct Decoder<'a> {
    preprocess: &'a Preprocess,
    kind: InputKind,
    limits: DecodeLimits,
    workers: &'a rayon::ThreadPool,
    /// Set when nobody waits for the results any more.
    stop: &'a AtomicBool,
}

impl Decoder<'_> {
    /// Decodes `files` in order and sends them in batches, until all are sent or nobody receives.
    fn send_batches(&self, files: &[(String, PathBuf)], n_batch: usize, to: SyncSender<Vec<Decoded>>) {
        for batch in files.chunks(n_batch) {
            let decoded =
                self.workers.install(|| batch.par_iter().map(|(_, path)| self.decode(path)).collect());
            if self.stop.load(Ordering::Relaxed) || to.send(decoded).is_err() {
                return;
            }
        }
    }

    fn decode(&self, path: &Path) -> Decoded {
        if self.stop.load(Ordering::Relaxed) {
            return Err(format!("'{}' was not needed any more", path.display()));
        }
        // A decoder that panics on some damaged file must cost that file and not the gallery.
        std::panic::catch_unwind(AssertUnwindSafe(|| {
            let image = Rgb8Image::open(path, self.limits)?;
            Input::of(self.kind, self.preprocess, &image)
        }))
        .unwrap_or_else(|_panic| {
            Err(sketchfind_core::Error::Image {
                origin: format!("'{}'", path.display()),
                reason: "the decoder panicked on it".into(),
            })
        })
        .map_err(|e| {
            let (reason, name) = (e.to_string(), path.display().to_string());
            if reason.contains(&name) { reason } else { format!("'{name}': {reason}") }
        })
    }
}

/// Refuses a list with an id that stands there twice.
fn check_ids(files: &[(String, PathBuf)]) -> Result<()> {
    let mut first_of: HashMap<&str, &Path> = HashMap::with_capacity(files.len());
    for (id, path) in files {
        if let Some(first) = first_of.insert(id, path) {
            let (id, first, second) = (id.clone(), first.to_owned(), path.clone());
            return Err(Error::RepeatedId { id, first, second });
        }
    }
    Ok(())
}
