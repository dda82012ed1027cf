//! Teaching: a photo to draw from memory, and drawings that are kept with the photos that they belong to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::bodies::{media_type, read};
use super::parameters::parameters;
use super::photos::{Described, named};
use super::query::{Drawing, drawing};
use super::refusals::Refusals;
use crate::gate::on_thread;
use crate::problem::{Problem, ProblemBody};
use crate::state::App;
use crate::taught::{Origin, Outcome, Pair, Taught};

/// The longer side of photos that are kept, one of those that are made anyway: more than networks are trained on.
const SIDE: u32 = 640;

/// How a drawing came to be.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// `memory`: the photo was shown, hidden, and drawn. `answer`: the photo was said to be the one that was drawn.
    #[param(inline)]
    origin: Origin,
    /// That the person who has drawn it agreed that it is kept; without it nothing is.
    #[param(inline)]
    consent: Consent,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Consent {
    Given,
}

/// What is kept by now.
#[derive(Serialize, ToSchema)]
pub(super) struct Kept {
    n_drawings: usize,
}

/// Where drawings are kept, and how many.
#[derive(Serialize, ToSchema)]
pub(super) struct Teaching {
    /// The folder on the server's machine, as the server was told of it.
    folder: String,
    n_drawings: usize,
    most_drawings: usize,
}

impl Teaching {
    pub(super) fn of(taught: &Taught) -> Teaching {
        let (n_drawings, most_drawings) = taught.counts();
        Teaching { folder: taught.folder().display().to_string(), n_drawings, most_drawings }
    }
}

fn taught(app: &App) -> Result<Arc<Taught>, Problem> {
    app.taught.clone().ok_or_else(|| {
        let detail = "the server was started without a folder to keep drawings in (--teach)";
        Problem::new(StatusCode::FORBIDDEN, "no_teaching", detail)
    })
}

/// Get a photo to draw from memory
///
/// Any photo of the gallery that has a file, another with each request.
#[utoipa::path(get, path = "/api/v1/teach", tag = "teaching",
    responses(
        (status = 200, description = "A photo", body = Described),
        (status = 403, description = "The server keeps no drawings", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 404, description = "No photo has a file", body = ProblemBody, content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn photo(State(app): State<App>) -> Result<Response, Problem> {
    /// Photos are shown in an order that is another after each start, and none twice before all were shown.
    static N_SHOWN: AtomicU64 = AtomicU64::new(0);
    taught(&app)?;
    app.retrieval()?;
    // It goes through the whole gallery, as a search does.
    let pass = app.queries.enter().await?;
    let retrieval = app.retrieval()?;
    let n = N_SHOWN.fetch_add(1, Ordering::Relaxed);
    let photo = on_thread(pass, move |_| retrieval.photo_to_draw(n)).await?;
    let photo =
        photo.ok_or_else(|| Problem::absent("no_photo_file", "no photo of the gallery has a file"))?;
    Ok((super::NO_STORE, Json(Described::of(&photo))).into_response())
}

/// Keep a drawing of a photo
///
/// The body is the drawing. It is kept as the picture that is searched with, beside a small copy of the photo, in a data set that
/// `sketchfind-train fit` takes. Once it is answered, both survive a crash. The same drawing of the same photo is kept once.
#[utoipa::path(post, path = "/api/v1/teach/{id}", tag = "teaching",
    params(("id" = String, Path, description = "The photo's id"), Parameters),
    request_body(content((Drawing = "application/json"))),
    responses(
        (status = 201, description = "It is kept", body = Kept),
        (status = 403, description = "The server keeps no drawings", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 404, description = "No such photo, or its file is gone", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 507, description = "As many drawings are kept as may be", body = ProblemBody,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn keep(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let taught = taught(&app)?;
    let id = named(id)?;
    let Parameters { origin, consent: Consent::Given } = parameters(&uri)?;
    let strokes = drawing(&media_type(&headers), &read(&app, &headers, body)?)?;
    let photo = super::photos::known(&app, id.clone()).await?;
    let source = photo.source().ok_or_else(Problem::no_photo_file)?.to_owned();
    let file = app.photo_files.get(source, Some(SIDE)).await?;
    let pass = app.changes.enter().await?;
    let retrieval = app.retrieval()?;
    let (raster, most_points) = (app.raster, app.limits.points);
    let outcome = on_thread(pass, move |_| {
        let picture = super::query::picture(&strokes, &raster, retrieval.sketch_share(), most_points)?;
        let drawing = retrieval.framed(&picture)?.to_png().map_err(|error| Problem::internal(&error))?;
        let pair = Pair { photo: &photo, photo_file: &file.bytes, drawing: &drawing, origin };
        taught.keep(&pair).map_err(|error| Problem::internal(&error))
    });
    match outcome.await? {
        Outcome::Kept(n_drawings) => Ok((StatusCode::CREATED, Json(Kept { n_drawings })).into_response()),
        Outcome::Full => {
            let detail = "as many drawings are kept as the server's limit allows";
            Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", detail))
        }
    }
}
