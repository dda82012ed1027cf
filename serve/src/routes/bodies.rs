//! The bodies of requests: read whole, of a media type that is taken, images decoded.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use sketchfind_core::image::{DecodeLimits, Image};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::state::App;

/// An image's file as bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct ImageFile(#[expect(dead_code, reason = "it stands for its schema only")] Vec<u8>);

/// The media types of images that are taken. Which of them it is, its content says.
const IMAGE_TYPES: [&str; 6] =
    ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"];

/// Other names that clients have for them.
const OTHER_NAMES: [&str; 6] =
    ["image/jpg", "image/pjpeg", "image/x-png", "image/apng", "image/x-ms-bmp", "image/x-bmp"];

/// Whether a media type is that of an image that is taken.
pub(super) fn is_image(media_type: &str) -> bool {
    IMAGE_TYPES.contains(&media_type) || OTHER_NAMES.contains(&media_type)
}

/// A body that was read, or why it was not.
pub(super) fn read(
    app: &App,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Bytes, Problem> {
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
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A body of a media type that is not taken.
pub(super) fn other_type(media_type: &str, also: &str) -> Problem {
    let given = match media_type {
        "" => "missing".to_owned(),
        given => format!("{:?}", given.chars().take(64).collect::<String>()),
    };
    let types = IMAGE_TYPES.join(", ");
    let detail = format!("the body's Content-Type is {given}, expected {also}one of {types}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", detail)
}

/// The image in a body.
pub(super) fn decoded(bytes: &[u8], most_pixels: u64) -> Result<Image, Problem> {
    Image::decode(bytes, "in the body", DecodeLimits { max_pixels: most_pixels })
        .map_err(|error| Problem::unusable("image", error.to_string()))
}
