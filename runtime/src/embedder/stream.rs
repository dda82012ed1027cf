//! Embedding more pictures than fit into memory: batch after batch on several lanes, results in order.
//!
//! A lane takes a batch, decodes it and runs it through a session of its own, while the others do the same: one lane's
//! decoding overlaps with another's inference, and no core waits for a batch to be handed over. A network runs faster in
//! several sessions of one thread than in one session of several, whose threads wait for each other after each of its
//! operations. On a GPU the lanes take turns with one session, so that it has its next batch when it is done with one.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use sketchfind_core::card::Card;
use sketchfind_core::image::DecodeLimits;

use super::Embedder;
use super::input::Input;
use super::session::Model;
use crate::embedder::View;
use crate::{Device, Error, Picture, Result};

/// Sessions at most that are opened for a list of files on the processor: each holds the network's weights. Where there
/// are more threads than this, each session has several.
const MOST_LANES: usize = 8;
/// Lanes that take turns with a GPU: one is in it while the others decode.
const GPU_LANES: usize = 3;
/// Batches of a lane that are under way or wait for an earlier one, so that a slow file holds up the others at some time
/// and not memory.
const WINDOW: usize = 4;

/// A picture that is to be embedded.
pub(crate) struct Job {
    /// The picture.
    pub(crate) picture: Picture,
    /// How much of it is embedded.
    pub(crate) view: View,
}

/// Pictures that go through the network at once, and what their giver wants back with them.
pub(crate) struct Batch<P> {
    /// The pictures; may be empty.
    pub(crate) jobs: Vec<Job>,
    /// Comes back in [`Done::parcel`].
    pub(crate) parcel: P,
}

/// What came of a batch.
pub(crate) struct Done<P> {
    /// What was given with it.
    pub(crate) parcel: P,
    /// For each picture whether it is one, or what is wrong with it.
    pub(crate) outcomes: Vec<sketchfind_core::Result<()>>,
    /// The embeddings of those that are, `[n, D]`.
    pub(crate) values: Vec<f32>,
}

impl Embedder {
    /// Embeds the batches that `next` gives until it gives none, and hands what came of them to `take`, in order and on the
    /// calling thread. `next` is asked on the embedder's own workers, by one at a time, with the number of files that a
    /// batch should have. `n_files` says how many files there are about, for which that many threads are worth starting.
    ///
    /// # Errors
    /// The first error of a batch or of `take`, in the order of batches; those of [`Embedder::open`].
    pub(crate) fn stream<P: Send>(
        &mut self,
        n_files: usize,
        next: &mut (dyn FnMut(usize) -> Option<Batch<P>> + Send),
        take: &mut dyn FnMut(Done<P>) -> Result<()>,
    ) -> Result<()> {
        self.be_here()?;
        let n_batches = n_files.div_ceil(self.options.batch).max(1);
        // To open a session takes as long as to embed some images.
        let own_sessions = |n_lanes: usize| n_lanes > 1 && n_batches >= 2 * n_lanes;
        let (path, mut of_lanes) = (self.model.path().to_owned(), Vec::new());
        let most = match self.options.device {
            Device::Cuda(_) => GPU_LANES,
            Device::Cpu => self.n_threads.min(MOST_LANES),
        };
        let mut n_lanes = most.min(n_batches);
        if self.options.device == Device::Cpu {
            if own_sessions(n_lanes) {
                let rest = self.n_threads % n_lanes;
                let threads = (0..n_lanes).map(|lane| self.n_threads / n_lanes + usize::from(lane < rest));
                of_lanes.extend(threads);
            } else {
                n_lanes = n_lanes.min(2);
            }
        }
        let shared = Mutex::new(&mut *self.model);
        let stop = AtomicBool::new(false);
        let work = Work {
            card: &self.card,
            batch: self.options.batch,
            limits: self.options.limits,
            workers: &self.workers,
            stop: &stop,
        };
        let (permit, permits) = sync_channel(n_lanes * WINDOW);
        for _ in 0..n_lanes * WINDOW {
            // There is room for all of them.
            let _ = permit.send(());
        }
        let source = Mutex::new(Source { permits, next, n_given: 0 });
        let (sender, results) = sync_channel(n_lanes);
        std::thread::scope(|scope| {
            // Ends the lanes, whichever way this is left.
            let permit = permit;
            for lane in 0..n_lanes {
                let (source, work, sender) = (&source, &work, sender.clone());
                let session = match of_lanes.get(lane) {
                    Some(&n_threads) => Session::Own { path: &path, n_threads, model: None },
                    None => Session::Shared(&shared),
                };
                std::thread::Builder::new()
                    .name(format!("sketchfind-lane-{lane}"))
                    .spawn_scoped(scope, move || work.go_through(source, session, &sender))
                    .map_err(|e| {
                        stop.store(true, Ordering::Relaxed);
                        Error::Threads { n_threads: n_lanes, reason: e.to_string() }
                    })?;
            }
            drop(sender);
            let taken = in_order(&results, &permit, take);
            // Whether done or failed: files that are not decoded yet need not be.
            stop.store(true, Ordering::Relaxed);
            // A lane may wait for a place for its result.
            drop(results);
            taken
        })
    }
}

/// Hands results on in the order of batches until all are there.
fn in_order<P>(
    results: &Receiver<(u64, Result<Done<P>>)>,
    permit: &SyncSender<()>,
    take: &mut dyn FnMut(Done<P>) -> Result<()>,
) -> Result<()> {
    let (mut early, mut n_taken) = (BTreeMap::new(), 0);
    for (number, result) in results {
        early.insert(number, result);
        while let Some(result) = early.remove(&n_taken) {
            take(result?)?;
            n_taken += 1;
            // Nobody wants one any more when all batches are given.
            let _ = permit.try_send(());
        }
    }
    // A lane that broke off without a word has left a gap.
    match early.into_values().next() {
        None => Ok(()),
        Some(result) => {
            result?;
            Err(Error::Threads { n_threads: 1, reason: "a lane ended early".into() })
        }
    }
}

/// Where batches come from.
struct Source<'a, P> {
    /// One for each batch that may be under way; the end of them is the end of work.
    permits: Receiver<()>,
    next: &'a mut (dyn FnMut(usize) -> Option<Batch<P>> + Send),
    n_given: u64,
}

enum Session<'a, 'm> {
    /// The lane's own, on the processor; opened with its first batch.
    Own {
        path: &'a Path,
        n_threads: usize,
        model: Option<Model>,
    },
    Shared(&'a Mutex<&'m mut Model>),
}

impl Session<'_, '_> {
    fn run(&mut self, card: &Card, n: usize, input: &Input, values: &mut Vec<f32>) -> Result<()> {
        match self {
            Session::Own { path, n_threads, model } => {
                let model = match model {
                    Some(model) => model,
                    None => model.insert(Model::open(path, card, Device::Cpu, *n_threads, None)?),
                };
                model.run(card, n, input, values)
            }
            Session::Shared(model) => {
                model.lock().unwrap_or_else(PoisonError::into_inner).run(card, n, input, values)
            }
        }
    }
}

/// What all lanes know.
struct Work<'a> {
    card: &'a Card,
    batch: usize,
    limits: DecodeLimits,
    workers: &'a rayon::ThreadPool,
    /// Set when nobody waits for the results any more.
    stop: &'a AtomicBool,
}

impl Work<'_> {
    /// One lane: batch after batch, until there is none or nobody wants results.
    fn go_through<P: Send>(
        &self,
        source: &Mutex<Source<'_, P>>,
        mut session: Session<'_, '_>,
        to: &SyncSender<(u64, Result<Done<P>>)>,
    ) {
        loop {
            let (number, batch) = {
                let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
                if source.permits.recv().is_err() || self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let number = source.n_given;
                let choose = &mut *source.next;
                let next = AssertUnwindSafe(|| self.workers.install(|| choose(self.batch)));
                match std::panic::catch_unwind(next) {
                    Ok(None) => return,
                    Ok(Some(batch)) => {
                        source.n_given += 1;
                        (number, Ok(batch))
                    }
                    Err(_panic) => {
                        source.n_given += 1;
                        (number, Err(panicked("choosing files")))
                    }
                }
            };
            let done = batch.and_then(|batch| {
                std::panic::catch_unwind(AssertUnwindSafe(|| self.embed(batch, &mut session)))
                    .unwrap_or_else(|_panic| Err(panicked("embedding")))
            });
            let failed = done.is_err();
            if to.send((number, done)).is_err() || failed {
                return;
            }
        }
    }

    fn embed<P>(&self, batch: Batch<P>, session: &mut Session<'_, '_>) -> Result<Done<P>> {
        let Batch { jobs, parcel } = batch;
        let decoded: Vec<sketchfind_core::Result<Input>> =
            self.workers.install(|| jobs.into_par_iter().map(|job| self.decode(job)).collect());
        let mut input = Input::empty(self.card.onnx.input_kind);
        let (mut outcomes, mut n) = (Vec::with_capacity(decoded.len()), 0);
        for image in decoded {
            outcomes.push(image.map(|image| {
                input.append(&image);
                n += 1;
            }));
        }
        let mut values = Vec::with_capacity(n * self.card.embedding_width);
        if n > 0 && !self.stop.load(Ordering::Relaxed) {
            session.run(self.card, n, &input, &mut values)?;
        }
        Ok(Done { parcel, outcomes, values })
    }

    fn decode(&self, job: Job) -> sketchfind_core::Result<Input> {
        let Job { picture, view } = job;
        let origin = picture.origin();
        let refused = |reason: &str| sketchfind_core::Error::Image {
            origin: origin.clone(),
            reason: reason.to_owned(),
        };
        if self.stop.load(Ordering::Relaxed) {
            return Err(refused("it was not needed any more"));
        }
        // A decoder that panics on some damaged file must cost that file and not the gallery.
        std::panic::catch_unwind(AssertUnwindSafe(|| {
            let image = match view {
                View::Sketch(share) => picture.sketch(self.limits, share)?,
                View::Whole | View::Framed(_) | View::Around(..) => picture.photo(self.limits)?,
            };
            Input::of(self.card.onnx.input_kind, &self.card.preprocess, &view.of(image)?)
        }))
        .unwrap_or_else(|_panic| Err(refused("the decoder panicked on it")))
    }
}

/// What is wrong with a file of a list, in words that name it.
pub(crate) fn reason(path: &Path, error: &sketchfind_core::Error) -> String {
    let (name, reason) = (path.display().to_string(), error.to_string());
    if reason.contains(&name) { reason } else { format!("'{name}': {reason}") }
}

fn panicked(doing: &str) -> Error {
    Error::Threads { n_threads: 1, reason: format!("a defect of sketchfind: a panic while {doing}") }
}
