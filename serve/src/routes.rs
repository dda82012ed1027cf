//! The routes, and their description as OpenAPI, which is made from the same code.

mod address;
mod bodies;
mod gallery;
mod health;
mod parameters;
mod photos;
mod query;
mod refusals;
mod teach;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use sketchfind_core::strokes::Raster;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::state::App;
use crate::{Limits, door, page};

/// The description of the API, without its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "sketchfind",
        description = "Finds the photo that somebody drew. Every refusal is a problem (RFC 9457) with a `code` for \
                       programs and a `detail` for people; an overloaded server answers 503 with `Retry-After`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "search", description = "A sketch in, photos out"),
        (name = "gallery", description = "The photos, and changes to them"),
        (name = "teaching", description = "Drawings that are kept, where the server has a folder for them"),
        (name = "operation", description = "For those who run the server")
    ),
    modifiers(&WithToken)
)]
struct Description;

/// The scheme of the token that allows changes.
struct WithToken;

impl Modify for WithToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The token that the server was started with; without one there are no changes.",
            ))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The API's description (OpenAPI 3.1), as `/api/v1/openapi.json` has it.
pub fn openapi() -> String {
    let state = crate::state::State::new(Limits::for_cores(1), Raster::default(), None, None, None);
    let app = std::sync::Arc::new(state);
    let (_, description) = router(app);
    // Strings and numbers only: there is nothing in it that could not be written.
    description.to_pretty_json().unwrap_or_default() + "\n"
}

/// For answers that are another each time.
const NO_STORE: [(axum::http::HeaderName, &str); 1] = [(axum::http::header::CACHE_CONTROL, "no-store")];

/// All routes behind the door, and their description.
pub(crate) fn router(app: App) -> (Router, utoipa::openapi::OpenApi) {
    let (router, description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(query::query))
        .routes(routes!(gallery::gallery))
        .routes(routes!(photos::describe, photos::add, photos::remove))
        .routes(routes!(photos::file))
        .routes(routes!(teach::photo))
        .routes(routes!(teach::keep))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .split_for_parts();
    let document = description.clone();
    let router = router
        .route("/api/v1/openapi.json", get(async move || Json(document)))
        .merge(page::routes())
        .fallback(async || Problem::absent("no_route", "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            let detail = "this path has other methods; the header Allow lists them";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no_method", detail)
        })
        .layer(axum::middleware::from_fn_with_state(app.clone(), door::pass))
        .layer(DefaultBodyLimit::max(app.limits.body))
        .with_state(app);
    (router, description)
}
