//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sketchfind_core::strokes::Raster;

use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::photo_files::PhotoFiles;
use crate::problem::Problem;
use crate::retrieval::Retrieval;
use crate::taught::Taught;
use crate::{Limits, Token};

/// What all requests share.
pub(crate) type App = Arc<State>;

/// Changes that are made at once: one is embedded while the other is written.
pub(crate) const CHANGES: usize = 2;

pub(crate) struct State {
    pub(crate) limits: Limits,
    /// How drawings are drawn.
    pub(crate) raster: Raster,
    pub(crate) token: Option<Token>,
    /// The names by which a client may call this server; `None` for any.
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) requests: Gate,
    pub(crate) queries: Gate,
    /// Additions and removals: a gate of their own, since they may have to wait for another program that is writing.
    pub(crate) changes: Gate,
    pub(crate) photo_files: PhotoFiles,
    /// Where drawings are kept, if they are.
    pub(crate) taught: Option<Arc<Taught>>,
    /// Replaced where the gallery gets another model; requests under way keep the one that they began with.
    retrieval: RwLock<Option<Arc<Retrieval>>>,
    is_stopping: AtomicBool,
}

impl State {
    pub(crate) fn new(
        limits: Limits,
        raster: Raster,
        token: Option<Token>,
        hosts: Option<Vec<String>>,
        taught: Option<Taught>,
    ) -> State {
        State {
            limits,
            raster,
            token,
            hosts,
            metrics: Metrics::new(),
            requests: Gate::new(limits.requests, 0, limits.request),
            queries: Gate::new(limits.queries, limits.waiting_queries, limits.wait),
            changes: Gate::new(CHANGES, limits.waiting_queries, limits.wait),
            photo_files: PhotoFiles::new(&limits),
            taught: taught.map(Arc::new),
            retrieval: RwLock::new(None),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// The gallery is open, or open anew.
    pub(crate) fn open(&self, retrieval: Retrieval) {
        *self.retrieval.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(retrieval));
    }

    /// The gallery, once it is open.
    pub(crate) fn retrieval(&self) -> Result<Arc<Retrieval>, Problem> {
        let retrieval = self.retrieval.read().unwrap_or_else(PoisonError::into_inner);
        retrieval.clone().ok_or_else(Problem::opening)
    }

    /// The server takes no more requests.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}
