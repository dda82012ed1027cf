//! The routes, and their description as OpenAPI, which is made from the same code.

mod gallery;
mod health;
mod photos;
mod query;

use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router, body::Bytes};
use sketchfind_data::strokes::Raster;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::state::App;
use crate::{Limits, Token, door, page};

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
    let app =
        std::sync::Arc::new(crate::state::State::new(Limits::for_cores(1), Raster::default(), None, None));
    let (_, description) = router(app);
    // Strings and numbers only: there is nothing in it that could not be written.
    description.to_pretty_json().unwrap_or_default() + "\n"
}

/// All routes behind the door, and their description.
pub(crate) fn router(app: App) -> (Router, utoipa::openapi::OpenApi) {
    let (router, description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(query::query))
        .routes(routes!(gallery::gallery))
        .routes(routes!(photos::describe, photos::add, photos::remove))
        .routes(routes!(photos::file))
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

/// A body that was read, or why it was not.
fn read(app: &App, headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut encodings = encodings.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let is_plain = |encoding: &[u8]| matches!(encoding.trim_ascii(), b"" | b"identity" | b"Identity");
    if let Some(encoding) = encodings.find(|encoding| !is_plain(encoding)) {
        // Images are compressed as they are, and a bomb need not be defused that is not taken.
        let encoding = String::from_utf8_lossy(encoding.trim_ascii());
        let detail = format!(
            "the body's Content-Encoding is {:?}; a body is taken as it is, without the header or with 'identity'",
            encoding.chars().take(64).collect::<String>()
        );
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding", detail));
    }
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body has more than {} bytes", app.limits.body),
        ),
        _ => Problem::malformed("the body could not be read to its end"),
    })
}

/// The media type of a body, without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The parameters after the question mark; what is not known is refused by name.
fn parameters<T: serde::de::DeserializeOwned>(uri: &axum::http::Uri) -> Result<T, Problem> {
    let query = uri.query().unwrap_or_default();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_html_form::Deserializer::from_bytes(query.as_bytes());
    T::deserialize(serde_path_to_error::Deserializer::new(deserializer, &mut track)).map_err(|error| {
        let path = track.path().to_string();
        // What is unknown is named by the error itself, and has no place.
        let place = if path == "." { "the parameters".to_owned() } else { format!("the parameter '{path}'") };
        Problem::malformed(format!("{place}: {error}"))
    })
}

/// Lets a change through whose client knows the token.
fn check_token(token: Option<&Token>, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = token else {
        let detail = "the server was started without a token, so that its gallery cannot be changed";
        return Err(Problem::new(StatusCode::FORBIDDEN, "no_changes", detail));
    };
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = value
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if given.is_some_and(|(_, text)| token.is(text.trim())) {
        return Ok(());
    }
    let detail = "changes need the header 'Authorization: Bearer TOKEN' with the server's token";
    Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
}
