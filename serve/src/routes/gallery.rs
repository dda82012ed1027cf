//! `GET /api/v1/gallery`: what is served.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::teach::Teaching;
use crate::gate::asked;
use crate::problem::{Problem, ProblemBody};
use crate::state::App;

/// What is served.
#[derive(Serialize, ToSchema)]
pub(super) struct Gallery {
    n_photos: usize,
    /// The model's name.
    model: String,
    /// The model's distance.
    #[schema(example = "mse")]
    distance: String,
    /// The labels of photos, the most frequent first; at most 200.
    labels: Vec<Label>,
    /// Whether hits have scores, and queries may ask for one.
    has_scores: bool,
    /// The share of its page that a drawing is made to fill before it is searched with, by its longer side; nothing where
    /// drawings stay as they are.
    #[schema(minimum = 0.2, maximum = 1)]
    sketch_share: Option<f32>,
    /// Where drawings are kept with the photos that they belong to, if they are.
    teaching: Option<Teaching>,
    /// Whether photos can be added and removed.
    is_changeable: bool,
    /// The version of the server.
    version: &'static str,
}

/// A label.
#[derive(Serialize, ToSchema)]
struct Label {
    label: String,
    /// How many photos have it.
    #[schema(minimum = 1)]
    n_photos: usize,
}

/// More labels than a page can show are not listed.
const MOST_LABELS: usize = 200;

/// Tell what is served
#[utoipa::path(get, path = "/api/v1/gallery", tag = "gallery", responses(
    (status = 200, description = "What is served", body = Gallery),
    (status = 421, description = "The server is not called by that name", body = ProblemBody,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded or opening the gallery", body = ProblemBody,
        content_type = "application/problem+json"),
))]
pub(super) async fn gallery(State(app): State<App>) -> Result<Json<Gallery>, Problem> {
    let retrieval = app.retrieval()?;
    let of_gallery = Arc::clone(&retrieval);
    let (labels, n_photos) = asked(move || {
        let n_photos = of_gallery.len().map_err(|error| Problem::internal(&error))?;
        Ok((of_gallery.labels(MOST_LABELS)?, n_photos))
    })
    .await?;
    Ok(Json(Gallery {
        n_photos,
        model: retrieval.model().to_owned(),
        distance: retrieval.distance(),
        labels: labels.into_iter().map(|(label, n_photos)| Label { label, n_photos }).collect(),
        has_scores: retrieval.has_scores(),
        sketch_share: retrieval.sketch_share(),
        teaching: app.taught.as_deref().map(Teaching::of),
        is_changeable: app.token.is_some() && retrieval.is_changeable(),
        version: env!("CARGO_PKG_VERSION"),
    }))
}
