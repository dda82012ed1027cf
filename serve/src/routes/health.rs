//! For those who run the server: is it alive, is it ready, what does it measure.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::gate::asked;
use crate::metrics::MEDIA_TYPE;
use crate::problem::{Problem, ProblemBody};
use crate::state::App;

/// The process is alive
#[utoipa::path(get, path = "/healthz", tag = "operation", responses(
    (status = 200, description = "It is", body = String, content_type = "text/plain; charset=utf-8"),
))]
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// The gallery is open and the server is not stopping
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "Queries are answered", body = String, content_type = "text/plain; charset=utf-8"),
    (status = 503, description = "Not yet, or no more", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.is_stopping() {
        let detail = "the server is stopping";
        return Err(Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "stopping", detail));
    }
    app.retrieval()?;
    Ok("ready\n")
}

/// Measurements for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, description = "In the OpenMetrics format", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
))]
pub(super) async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let n_photos = match app.retrieval() {
        // A gallery that does not answer is told by its queries.
        Ok(retrieval) => asked(move || Ok(retrieval.len().unwrap_or(0))).await?,
        Err(_not_open) => 0,
    };
    let text = app.metrics.encode(n_photos, app.photo_files.kept_bytes(), app.queries.n_waiting());
    let text = text.map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text))
}
