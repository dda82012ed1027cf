//! What is done for an open gallery beside its queries: it follows who writes it, and graphs that are not there are built.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::background::{Background, Stop};
use crate::home::Home;
use crate::{BuiltGraphs, Cancel, Error, Progress, Result};

/// Keeps a gallery up to date.
pub(crate) struct Keeper {
    // Before what it uses: it is ended first.
    _follower: Option<Background>,
    graphs: Arc<Graphs>,
}

/// Who builds graphs, and what was in the way of anything here.
struct Graphs {
    gallery: Arc<dyn Home>,
    builder: Option<Mutex<Option<Background>>>,
    troubles: Arc<Troubles>,
}

/// What was in the way when it was last tried, in words.
#[derive(Default)]
struct Troubles {
    of_following: Mutex<Option<String>>,
    of_building: Mutex<Option<String>>,
}

impl Keeper {
    /// Follows `gallery` every so often, where that is told, and builds its graphs, where that is wanted.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub(crate) fn new(gallery: Arc<dyn Home>, follow: Option<Duration>, builds: bool) -> Result<Keeper> {
        let builder = builds.then(Mutex::default);
        let graphs = Arc::new(Graphs { gallery, builder, troubles: Arc::default() });
        graphs.build()?;
        let follower = match follow {
            None => None,
            Some(every) => {
                let graphs = Arc::clone(&graphs);
                let follow = move |stop: &Stop| {
                    while !stop.wait(every) {
                        let looked = graphs.gallery.refresh().and_then(|_is_new| graphs.build());
                        note(&graphs.troubles.of_following, looked.err().map(|error| error.to_string()));
                    }
                };
                Some(Background::start("sketchfind-follow", follow)?)
            }
        };
        Ok(Keeper { _follower: follower, graphs })
    }

    /// Builds graphs that are not there, on a thread of its own.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub(crate) fn build_graphs(&self) -> Result<()> {
        self.graphs.build()
    }

    /// What is in the way of following and of building, in words.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let Troubles { of_following, of_building } = &*self.graphs.troubles;
        let told =
            |trouble: &Mutex<Option<String>>| trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        [told(of_following), told(of_building)].into_iter().flatten().collect()
    }
}

fn note(trouble: &Mutex<Option<String>>, words: Option<String>) {
    *trouble.lock().unwrap_or_else(PoisonError::into_inner) = words;
}

impl Graphs {
    fn build(self: &Arc<Self>) -> Result<()> {
        let Some(builder) = &self.builder else { return Ok(()) };
        let mut builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
        let is_running = builder.as_ref().is_some_and(Background::is_running);
        if is_running || self.gallery.n_lacking_graph() == 0 {
            return Ok(());
        }
        // Not the whole of this, which would be dropped, and its builder waited for, by the builder itself.
        let (gallery, troubles) = (Arc::clone(&self.gallery), Arc::clone(&self.troubles));
        let build = move |stop: &Stop| {
            let is_unwanted = || stop.is_set();
            let words = match gallery.build_index(Progress::default(), Cancel::new(&is_unwanted)) {
                Ok(BuiltGraphs { not_kept: None, .. }) | Err(Error::Cancelled) => None,
                Ok(BuiltGraphs { not_kept: Some(error), .. }) => Some(format!(
                    "the graph cannot be kept, and is built each time the gallery is opened: {error}"
                )),
                Err(error) => {
                    Some(format!("the graph cannot be built, and photos are searched one by one: {error}"))
                }
            };
            note(&troubles.of_building, words);
        };
        *builder = Some(Background::start("sketchfind-graphs", build)?);
        Ok(())
    }
}
