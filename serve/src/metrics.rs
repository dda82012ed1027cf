//! What Prometheus reads.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of the answer.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The labels of a request. All values come from short lists, so that no client can make many.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

/// What is measured.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram>,
    stages: Family<Stage, Histogram>,
    pub(crate) connections: Gauge,
    pub(crate) refused_connections: Counter,
    pub(crate) in_flight: Gauge,
    waiting_queries: Gauge,
    pub(crate) refreshes: Counter,
    photos: Gauge,
    cached_bytes: Gauge<i64>,
    uptime: Gauge<f64, AtomicU64>,
    started: std::time::Instant,
}

/// From a millisecond to the time limit of a request.
fn histogram() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

impl Metrics {
    pub(crate) fn new() -> Arc<Metrics> {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("sketchfind"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            stages: Family::new_with_constructor(histogram),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            in_flight: Gauge::default(),
            waiting_queries: Gauge::default(),
            refreshes: Counter::default(),
            photos: Gauge::default(),
            cached_bytes: Gauge::default(),
            uptime: Gauge::default(),
            started: std::time::Instant::now(),
        };
        let r = &mut metrics.registry;
        r.register("requests", "Requests by route, method and status", metrics.requests.clone());
        r.register("request_seconds", "From a request's head to its answer's head", metrics.seconds.clone());
        r.register("stage_seconds", "Parts of a query: read, embed, search", metrics.stages.clone());
        r.register("connections", "Open connections", metrics.connections.clone());
        let refused = metrics.refused_connections.clone();
        r.register("refused_connections", "Connections over the limit", refused);
        r.register("requests_in_flight", "Requests under way", metrics.in_flight.clone());
        r.register("waiting_queries", "Queries in line", metrics.waiting_queries.clone());
        let refreshes = metrics.refreshes.clone();
        r.register("refreshes", "Changes of the gallery by others that were taken up", refreshes);
        r.register("photos", "Photos of the gallery", metrics.photos.clone());
        r.register("photo_cache_bytes", "Small photos that are kept", metrics.cached_bytes.clone());
        r.register("uptime_seconds", "Since the server has started", metrics.uptime.clone());
        Arc::new(metrics)
    }

    pub(crate) fn request(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let request = Request { route: route.to_owned(), method, status };
        self.requests.get_or_create(&request).inc();
        self.seconds.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn stage(&self, stage: &'static str, took: Duration) {
        self.stages.get_or_create(&Stage { stage }).observe(took.as_secs_f64());
    }

    /// All of it as text.
    pub(crate) fn encode(
        &self,
        n_photos: usize,
        cached_bytes: u64,
        n_waiting: usize,
    ) -> Result<String, std::fmt::Error> {
        self.waiting_queries.set(i64::try_from(n_waiting).unwrap_or(i64::MAX));
        self.photos.set(i64::try_from(n_photos).unwrap_or(i64::MAX));
        self.cached_bytes.set(i64::try_from(cached_bytes).unwrap_or(i64::MAX));
        self.uptime.set(self.started.elapsed().as_secs_f64());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
