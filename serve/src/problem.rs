//! What a client is told when a request is refused: problem details, as RFC 9457 has them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was refused.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The status in words.
    title: &'static str,
    /// The kind of problem, for programs.
    #[schema(example = "overloaded")]
    code: &'static str,
    /// What is wrong and what was expected, for people.
    detail: String,
}

/// Seconds after which a busy server is asked again. Queries take a fraction of it.
const RETRY_AFTER: u16 = 1;

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into() }
    }

    /// The request is not what the API's description says.
    pub(crate) fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The request is well formed, but cannot be worked with.
    pub(crate) fn unusable(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// There is no such thing.
    pub(crate) fn absent(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// The gallery has no such photo.
    pub(crate) fn no_photo() -> Problem {
        Problem::absent("no_photo", "the gallery has no photo with this id")
    }

    /// The gallery has the photo, and no file of it.
    pub(crate) fn no_photo_file() -> Problem {
        Problem::absent("no_photo_file", "the gallery was not told where the photo's file is")
    }

    /// As much as fits is under way already.
    pub(crate) fn overloaded() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "as many requests as the server takes are under way; ask again after Retry-After seconds",
        )
    }

    /// Somebody else is changing the gallery.
    pub(crate) fn locked() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "locked",
            "another program is changing the gallery; ask again after Retry-After seconds",
        )
    }

    /// The gallery is being opened.
    pub(crate) fn opening() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "opening",
            "the gallery is being opened; ask again soon",
        )
    }

    /// The database that the gallery is in does not answer. Why stands in the log only.
    pub(crate) fn no_database(error: &dyn std::fmt::Display) -> Problem {
        tracing::error!(error = %error, "the database does not answer");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_database",
            "the gallery's database does not answer; ask again after Retry-After seconds",
        )
    }

    /// Something failed that is not the client's fault. What it was stands in the log only: it may name files.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Problem {
        tracing::error!(error = %error, "a request failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says how")
    }

    /// The kind, for tests.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let (status, code) = (self.status.as_u16(), self.code);
        let body = ProblemBody { status, title, code, detail: self.detail };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE if self.code == "content_encoding" => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
