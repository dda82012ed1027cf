//! Why a request can be refused, for the description.

use utoipa::IntoResponses;

use crate::problem::ProblemBody;

/// Why a request with a body can be refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it stands for its description only")]
pub(super) enum Refusals {
    /// The request is not what this document says
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// The request took too long
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(ProblemBody),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody),
    /// The body is neither a drawing nor an image of a known kind, or is compressed
    #[response(status = 415, content_type = "application/problem+json")]
    OtherType(ProblemBody),
    /// The server is not called by that name
    #[response(status = 421, content_type = "application/problem+json")]
    WrongHost(ProblemBody),
    /// The image is broken or too large, or the drawing is blank or has too many points
    #[response(status = 422, content_type = "application/problem+json")]
    Unusable(ProblemBody),
    /// The address and the headers have more than 64 KiB
    #[response(status = 431)]
    HeadTooLarge,
    /// Overloaded, opening the gallery, or another program is changing it; `Retry-After` says when to ask again
    #[response(status = 503, content_type = "application/problem+json")]
    Overloaded(ProblemBody),
}
