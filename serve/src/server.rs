//! Connections: how many, how long, and how they end.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use sketchfind::home::{is_address, shown};
use sketchfind::{Calibration, EmbedderOptions, Framing, RetrieverOptions};
use sketchfind_core::strokes::Raster;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::follow::Follower;
use crate::retrieval::Retrieval;
use crate::signals::{Asked, Signals};
use crate::state::{App, CHANGES, State};
use crate::taught::Taught;
use crate::{Error, Limits, Result, Token, door, routes};

/// What is served, where, and to whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gallery's folder.
    pub gallery: PathBuf,
    /// How its model is run.
    pub embedder: EmbedderOptions,
    /// How many sketches may be in the model at a time; the cores are shared out between them.
    pub sessions: usize,
    /// How drawings are drawn: as the sketches look that the model was trained with.
    pub raster: Raster,
    /// How drawings are framed.
    pub framing: Framing,
    /// What gives hits their scores; without it they have none.
    pub calibration: Option<Calibration>,
    /// The folder in which drawings are kept with the photos that they belong to, where their people agree; without it none is.
    pub teach: Option<PathBuf>,
    /// Where to listen. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// The word that allows changes; without it there are none.
    pub token: Option<Token>,
    /// Names by which clients may call the server, besides those of the loopback when it listens there. Empty and
    /// elsewhere, every name is allowed.
    pub hosts: Vec<String>,
    /// What may be spent.
    pub limits: Limits,
}

impl Options {
    /// The loopback's port 7878, no changes, limits for this machine.
    pub fn new(gallery: PathBuf, embedder: EmbedderOptions) -> Options {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Options {
            gallery,
            embedder,
            sessions: 1,
            raster: Raster::default(),
            framing: Framing::Card,
            calibration: None,
            teach: None,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7878)),
            token: None,
            hosts: Vec::new(),
            limits: Limits::for_cores(cores),
        }
    }

    fn hosts(&self) -> Option<Vec<String>> {
        let own = door::own_names(self.address.ip());
        if own.is_none() && self.hosts.is_empty() {
            return None;
        }
        Some(own.into_iter().flatten().chain(self.hosts.iter().cloned()).collect())
    }
}

/// How often the server looks whether the gallery has changed. A look costs two questions to the file system.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Serves until SIGINT or SIGTERM (Ctrl-C where there are no such signals), then lets requests that are under way finish. The gallery is followed: what other
/// programs write to it, and another gallery in its place, is served a moment later; SIGHUP looks at once. `listening` is told the address, while
/// the gallery is still being opened: until then queries get 503 and `/readyz` says so. A second signal ends the
/// process at once.
///
/// # Errors
/// [`Error::Runtime`] where the gallery cannot be opened; [`Error::Changes`] where clients are to change one in a database;
/// [`Error::Teach`] where drawings cannot be kept in the folder;
/// [`Error::Listen`]; [`Error::Limit`]; [`Error::System`].
pub fn serve(options: Options, listening: impl FnOnce(SocketAddr)) -> Result<()> {
    options.limits.check()?;
    if options.token.is_some() && is_address(&options.gallery) {
        return Err(Error::Changes { gallery: shown(&options.gallery).into() });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sketchfind-http")
        // Threads at work are counted by the gates; this is room for all of them, and for opening.
        .max_blocking_threads(options.limits.queries + options.limits.photos + CHANGES + 4)
        .enable_all()
        .build()
        .map_err(|reason| Error::System { action: "start threads", reason })?;
    let result = runtime.block_on(run(options, listening));
    // What is still at work after the time to finish is left behind.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn run(options: Options, listening: impl FnOnce(SocketAddr)) -> Result<()> {
    let on_signal = |action| move |reason| Error::System { action, reason };
    let mut signals = Signals::listen().map_err(on_signal("listen for signals"))?;
    let failed = |reason| Error::Listen { address: options.address, reason };
    let listener = TcpListener::bind(options.address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    warn_of_strangers(&options);
    let taught =
        options.teach.as_deref().map(|folder| Taught::open(folder, options.limits.drawings)).transpose()?;
    let app: App =
        Arc::new(State::new(options.limits, options.raster, options.token.clone(), options.hosts(), taught));
    let (router, _) = routes::router(Arc::clone(&app));
    listening(address);
    tracing::info!(%address, "listening");

    let how = {
        let mut how = RetrieverOptions::new(options.embedder.clone())
            .with_sessions(options.sessions)
            .with_framing(options.framing);
        how.calibration = options.calibration.clone();
        if options.token.is_some() {
            // By turns: others may add photos while the server runs.
            how = how.by_turns();
        }
        how
    };
    let opening = {
        let (gallery, how) = (options.gallery.clone(), how.clone());
        tokio::task::spawn_blocking(move || {
            let retrieval = Retrieval::open(&gallery, how)?;
            Ok::<_, sketchfind::Error>((retrieval.len()?, retrieval))
        })
    };
    let mut opening = std::pin::pin!(opening);
    let mut is_open = false;
    let follower = Follower::new(Arc::clone(&app), options.gallery.clone(), how);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let connections = Connections::new(&options.limits, Arc::clone(&app), router);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break,
                Asked::Look => follower.look_at_once(),
            },
            opened = &mut opening, if !is_open => {
                let (photos, retrieval) = opened.map_err(|panic| Error::System {
                    action: "open the gallery",
                    reason: std::io::Error::other(panic),
                })??;
                tracing::info!(photos, model = retrieval.model(), "ready");
                app.open(retrieval);
                is_open = true;
            }
            _ = looks.tick(), if is_open => follower.look(),
            accepted = listener.accept() => connections.take(accepted).await,
        }
    }
    drop(listener);
    app.stop();
    tracing::info!(connections = connections.graceful.count(), "stopping");
    tokio::select! {
        () = connections.graceful.shutdown() => tracing::info!("stopped"),
        () = tokio::time::sleep(options.limits.shutdown) => tracing::warn!("stopped with requests under way"),
        _ = asked_to_stop(&mut signals) => tracing::warn!("stopped at once"),
    }
    Ok(())
}

/// Waits until it is asked to stop once more.
async fn asked_to_stop(signals: &mut Signals) {
    while !matches!(signals.next().await, Asked::Stop) {}
}

/// Says what it means to listen elsewhere than on the loopback.
fn warn_of_strangers(options: &Options) {
    if options.address.ip().is_loopback() {
        return;
    }
    match options.token {
        None => tracing::warn!(
            address = %options.address,
            "listening beyond this machine without a token: whoever reaches the address sees the gallery's photos and \
             can search them; nobody can change it"
        ),
        Some(_) => tracing::warn!(
            address = %options.address,
            "listening beyond this machine: whoever reaches the address sees the gallery's photos and can search them; \
             the token travels unencrypted unless a proxy adds TLS"
        ),
    }
}

/// Connections that are served.
struct Connections {
    builder: http1::Builder,
    service: TowerToHyperService<Router>,
    places: Arc<Semaphore>,
    graceful: GracefulShutdown,
    app: App,
}

impl Connections {
    fn new(limits: &Limits, app: App, router: Router) -> Connections {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(64 << 10);
        Connections {
            builder,
            service: TowerToHyperService::new(router),
            places: Arc::new(Semaphore::new(limits.connections)),
            graceful: GracefulShutdown::new(),
            app,
        }
    }

    async fn take(&self, accepted: std::io::Result<(TcpStream, SocketAddr)>) {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, as a rule: they come back when connections end.
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                return;
            }
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.app.metrics.refused_connections.inc();
            refuse(&stream);
            return;
        };
        // An answer is one small packet: waiting for more would only delay it.
        let _ = stream.set_nodelay(true);
        let connection = self.builder.serve_connection(TokioIo::new(stream), self.service.clone());
        let connection = self.graceful.watch(connection);
        let open = Open::new(&self.app, place);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(open);
        });
    }
}

/// Tells a client that there is no place for its connection, as far as one write does.
fn refuse(stream: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = stream.try_write(ANSWER);
}

/// A connection in its place.
struct Open {
    app: App,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(app: &App, place: OwnedSemaphorePermit) -> Open {
        app.metrics.connections.inc();
        Open { app: Arc::clone(app), _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.app.metrics.connections.dec();
    }
}
