//! Photos: their files, and changes to them. A client names a photo by its id, never by a path.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sketchfind::Photo;
use utoipa::{IntoParams, ToSchema};

use super::address::address;
use super::bodies::{ImageFile, decoded, is_image, media_type, other_type, read};
use super::parameters::{IDS, LABELS, PRODUCT, parameters};
use super::refusals::Refusals;
use crate::Token;
use crate::gate::{asked, on_thread};
use crate::page;
use crate::photo_files::SIZES;
use crate::problem::{Problem, ProblemBody};
use crate::state::App;

/// How a photo's file is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FileParameters {
    /// Make it small: the longer side has at most so many pixels. Without it, the file as it is.
    #[param(schema_with = size_schema)]
    size: Option<u32>,
}

fn size_schema() -> utoipa::openapi::schema::Object {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::Integer)
        .enum_values(Some(SIZES))
        .build()
}

/// A photo's labels and its product.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AddParameters {
    /// A label of the photo; may be repeated. Without any, a photo that is replaced keeps its labels. An empty one is
    /// no label: given alone, it takes the labels away.
    #[serde(default)]
    #[param(schema_with = given_labels_schema)]
    label: Vec<String>,
    /// The product that the photo shows, which others may show too. Without it, a photo that is replaced keeps its product;
    /// an empty one takes it away.
    #[serde(default)]
    #[param(schema_with = given_product_schema)]
    product: Vec<String>,
}

/// One at most, which may be empty.
fn given_product_schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    PRODUCT.schema(0).into()
}

/// As of a query's labels, but for empty ones.
fn given_labels_schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    LABELS.schema(0).into()
}

/// What the gallery knows of a photo.
#[derive(Serialize, ToSchema)]
pub(super) struct Described {
    id: String,
    labels: Vec<String>,
    /// The product that it shows, if the gallery was told of one.
    product: Option<String>,
    /// Where its file is, relative to the server's root, if the gallery was told of one.
    photo: Option<String>,
}

impl Described {
    pub(super) fn of(photo: &Photo) -> Described {
        Described {
            id: photo.id().to_owned(),
            labels: photo.labels().iter().cloned().collect(),
            product: photo.product().map(str::to_owned),
            photo: photo.source().is_some().then(|| address(photo.id())),
        }
    }
}

/// Get a photo's file
#[utoipa::path(get, path = "/photos/{id}", tag = "gallery",
    params(("id" = String, Path, description = "The photo's id"), FileParameters),
    responses(
        (status = 200, description = "The file", content(
            (ImageFile = "image/jpeg"), (ImageFile = "image/png"), (ImageFile = "image/webp"),
            (ImageFile = "image/gif"), (ImageFile = "image/bmp"),
        )),
        (status = 304, description = "The client has it"),
        (status = 404, description = "No such photo, or its file is gone", body = ProblemBody,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn file(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = named(id)?;
    let FileParameters { size } = parameters(&uri)?;
    if let Some(size) = size.filter(|size| !SIZES.contains(size)) {
        return Err(Problem::malformed(format!("size is {size}, expected one of {SIZES:?}")));
    }
    let photo = known(&app, id).await?;
    let path = photo.source().ok_or_else(Problem::no_photo_file)?.to_owned();
    let file = app.photo_files.get(path, size).await?;
    let is_known = page::is_fresh(&headers, &file.etag);
    let body = if is_known { Body::empty() } else { Body::from(file.bytes) };
    let mut response = body.into_response();
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    if let Ok(etag) = HeaderValue::from_str(&file.etag) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

/// What the gallery knows of a photo.
pub(super) async fn known(app: &App, id: String) -> Result<Photo, Problem> {
    let retrieval = app.retrieval()?;
    asked(move || retrieval.photo(&id)?.ok_or_else(Problem::no_photo)).await
}

/// Tell what the gallery knows of a photo
#[utoipa::path(get, path = "/api/v1/photos/{id}", tag = "gallery",
    params(("id" = String, Path, description = "The photo's id")),
    responses(
        (status = 200, description = "What it knows", body = Described),
        (status = 404, description = "No such photo", body = ProblemBody, content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn describe(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Described>, Problem> {
    let photo = known(&app, named(id)?).await?;
    Ok(Json(Described::of(&photo)))
}

/// Add a photo, or replace the one with this id
///
/// The body is the image's file. Once it is answered, the photo survives a crash.
#[utoipa::path(put, path = "/api/v1/photos/{id}", tag = "gallery",
    params(
        ("id" = String, Path, description = "The photo's id", min_length = 1, max_length = 1024),
        AddParameters
    ),
    request_body(content(
        (ImageFile = "image/png"), (ImageFile = "image/jpeg"), (ImageFile = "image/webp"),
        (ImageFile = "image/gif"), (ImageFile = "image/bmp"),
    )),
    security(("token" = [])),
    responses(
        (status = 200, description = "It was replaced", body = Described),
        (status = 201, description = "It was added", body = Described),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 403, description = "The server allows no changes", body = ProblemBody,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn add(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    check_token(app.token.as_ref(), &headers)?;
    let id = named(id)?;
    let AddParameters { label, product } = parameters(&uri)?;
    LABELS.check_count("label", label.len())?;
    // Not given is not empty.
    let labels: Option<Vec<String>> =
        (!label.is_empty()).then(|| label.into_iter().filter(|label| !label.is_empty()).collect());
    LABELS.check("label", labels.as_deref().unwrap_or_default())?;
    PRODUCT.check_count("product", product.len())?;
    let product = product.into_iter().next();
    if let Some(given) = product.as_ref().filter(|given| !given.is_empty()) {
        PRODUCT.check("product", std::slice::from_ref(given))?;
    }
    IDS.check("id", std::slice::from_ref(&id))?;
    let media_type = media_type(&headers);
    if !is_image(&media_type) {
        return Err(other_type(&media_type, ""));
    }
    let body = read(&app, &headers, body)?;
    app.retrieval()?;
    let pass = app.changes.enter().await?;
    let retrieval = app.retrieval()?;
    let most_pixels = app.limits.pixels;
    let described = on_thread(pass, move |abandoned| {
        let image = decoded(&body, most_pixels)?;
        abandoned.check()?;
        let is_new = retrieval.put(&id, labels.as_deref(), product.as_deref(), &image, &body)?;
        let photo = retrieval.photo(&id)?.ok_or_else(Problem::no_photo)?;
        Ok((is_new, Described::of(&photo)))
    });
    let (is_new, described) = described.await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(described)).into_response())
}

/// Remove a photo
#[utoipa::path(delete, path = "/api/v1/photos/{id}", tag = "gallery",
    params(("id" = String, Path, description = "The photo's id")),
    security(("token" = [])),
    responses(
        (status = 204, description = "It was removed"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 403, description = "The server allows no changes", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 404, description = "No such photo", body = ProblemBody, content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn remove(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    check_token(app.token.as_ref(), &headers)?;
    let id = named(id)?;
    app.retrieval()?;
    let pass = app.changes.enter().await?;
    let retrieval = app.retrieval()?;
    let was_there = on_thread(pass, move |_| retrieval.remove(&id)).await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::no_photo()) }
}

/// The id in a path, percent-decoded.
pub(super) fn named(id: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    id.map(|Path(id)| id).map_err(|_not_utf8| Problem::malformed("the photo's id in the path is not UTF-8"))
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
