//! The gallery as others change it: looked at now and then, taken up where it is new.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sketchfind::{Error, RetrieverOptions};

use crate::retrieval::Retrieval;
use crate::state::App;

/// Sees what others do to the gallery.
pub(crate) struct Follower(Arc<Inner>);

struct Inner {
    app: App,
    gallery: PathBuf,
    how: RetrieverOptions,
    /// Whether somebody is looking: a second look would find the same.
    is_looking: AtomicBool,
    /// Whether to look once more after that: what was asked for meanwhile may be newer than what is being read.
    again: AtomicBool,
    /// The last trouble, which is told once.
    trouble: std::sync::Mutex<String>,
    /// Of how many photos the graph was lacking when that was last told.
    n_lacking_graph: AtomicUsize,
}

impl Follower {
    pub(crate) fn new(app: App, gallery: PathBuf, how: RetrieverOptions) -> Follower {
        let (is_looking, again) = (AtomicBool::new(false), AtomicBool::new(false));
        let (trouble, n_lacking_graph) = Default::default();
        Follower(Arc::new(Inner { app, gallery, how, is_looking, again, trouble, n_lacking_graph }))
    }

    /// Looks, on a thread of its own, unless that is being done.
    pub(crate) fn look(&self) {
        if self.0.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            // Also where it panics, or nobody would look any more.
            let _guard = LookGuard(&inner.is_looking);
            loop {
                inner.again.store(false, Ordering::Release);
                inner.catch_up();
                if !inner.again.load(Ordering::Acquire) {
                    break;
                }
            }
        });
    }

    /// Looks, also where that is being done: somebody has just finished writing and says so.
    pub(crate) fn look_at_once(&self) {
        tracing::info!("asked to look at the gallery");
        self.0.again.store(true, Ordering::Release);
        self.look();
    }
}

/// While it lives, somebody is looking.
struct LookGuard<'i>(&'i AtomicBool);

impl Drop for LookGuard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Inner {
    /// Takes up what is new. Whatever fails, what was served is served on, and the next look tries again.
    fn catch_up(&self) {
        // Not open yet: then it is opened as it is by now.
        let Ok(retrieval) = self.app.retrieval() else { return };
        self.tell_of_graphs(&retrieval);
        match retrieval.refresh() {
            Ok(false) => self.is_well(),
            Ok(true) => {
                self.is_well();
                self.app.metrics.refreshes.inc();
                tracing::info!(photos = retrieval.len().unwrap_or(0), "the gallery has changed");
            }
            Err(Error::OtherModel { .. }) => self.open_anew(&retrieval),
            Err(error) => self.tell("the gallery cannot be read; what was read before is served", &error),
        }
    }

    /// A gallery of another model is opened beside the one that is served, and then takes its place.
    fn open_anew(&self, before: &Retrieval) {
        match Retrieval::open(&self.gallery, self.how.clone()) {
            Ok(retrieval) => {
                self.is_well();
                self.app.metrics.refreshes.inc();
                tracing::info!(
                    photos = retrieval.len().unwrap_or(0),
                    model = retrieval.model(),
                    before = before.model(),
                    "the gallery was replaced by one of another model"
                );
                self.app.open(retrieval);
            }
            Err(error) => {
                let what = "the gallery was replaced by one of another model, which cannot be opened; the one before is \
                            served";
                self.tell(what, &error);
            }
        }
    }

    /// Says when searches begin to look at photos one by one, and when they end to.
    fn tell_of_graphs(&self, retrieval: &Retrieval) {
        let photos = retrieval.n_lacking_graph();
        match (self.n_lacking_graph.swap(photos, Ordering::Relaxed), photos) {
            (0, 0) => {}
            (0, _) => tracing::info!(photos, "searched one by one while their graph is built"),
            (_, 0) => match retrieval.troubles().first() {
                None => tracing::info!("the graph is built"),
                Some(trouble) => tracing::warn!("{trouble}"),
            },
            _ => {}
        }
    }

    fn is_well(&self) {
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    fn tell(&self, what: &'static str, error: &Error) {
        let mut trouble = self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = error.to_string();
        if *trouble != text {
            tracing::warn!(error = %text, "{what}");
            *trouble = text;
        }
    }
}
