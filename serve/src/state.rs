//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use sketchfind_data::strokes::Raster;

use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::photo_files::PhotoFiles;
use crate::problem::Problem;
use crate::retrieval::Retrieval;
use crate::{Limits, Token};

/// What all requests share.
pub(crate) type App = Arc<State>;

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
    pub(crate) photo_files: PhotoFiles,
    retrieval: OnceLock<Arc<Retrieval>>,
    is_stopping: AtomicBool,
}

impl State {
    pub(crate) fn new(
        limits: Limits,
        raster: Raster,
        token: Option<Token>,
        hosts: Option<Vec<String>>,
    ) -> State {
        State {
            limits,
            raster,
            token,
            hosts,
            metrics: Metrics::new(),
            requests: Gate::new(limits.requests, 0),
            queries: Gate::new(limits.queries, 0),
            photo_files: PhotoFiles::new(&limits),
            retrieval: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// The gallery is open.
    pub(crate) fn open(&self, retrieval: Retrieval) {
        // A second one would be a mistake of ours, and the first is as good.
        let _ = self.retrieval.set(Arc::new(retrieval));
    }

    /// The gallery, once it is open.
    pub(crate) fn retrieval(&self) -> Result<&Arc<Retrieval>, Problem> {
        self.retrieval.get().ok_or_else(Problem::opening)
    }

    /// The server takes no more requests.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}
