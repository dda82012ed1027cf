//! The page: its files are inside of the program.
//!
//! `web/built` is what TypeScript's compiler makes of `web/src`; a test compiles it again and compares.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sketchfind_core::fingerprint;

use crate::state::App;

/// Path, media type, text.
const FILES: [(&str, &str, &str); 19] = [
    ("/", "text/html; charset=utf-8", include_str!("../web/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../web/style.css")),
    ("/icon.svg", "image/svg+xml", include_str!("../web/icon.svg")),
    ("/dom.js", "text/javascript; charset=utf-8", include_str!("../web/built/dom.js")),
    ("/earlier.js", "text/javascript; charset=utf-8", include_str!("../web/built/earlier.js")),
    ("/examples.js", "text/javascript; charset=utf-8", include_str!("../web/built/examples.js")),
    ("/guide.js", "text/javascript; charset=utf-8", include_str!("../web/built/guide.js")),
    ("/link.js", "text/javascript; charset=utf-8", include_str!("../web/built/link.js")),
    ("/main.js", "text/javascript; charset=utf-8", include_str!("../web/built/main.js")),
    ("/opened.js", "text/javascript; charset=utf-8", include_str!("../web/built/opened.js")),
    ("/pad.js", "text/javascript; charset=utf-8", include_str!("../web/built/pad.js")),
    ("/ranking.js", "text/javascript; charset=utf-8", include_str!("../web/built/ranking.js")),
    ("/search.js", "text/javascript; charset=utf-8", include_str!("../web/built/search.js")),
    ("/share.js", "text/javascript; charset=utf-8", include_str!("../web/built/share.js")),
    ("/shelf.js", "text/javascript; charset=utf-8", include_str!("../web/built/shelf.js")),
    ("/sketch.js", "text/javascript; charset=utf-8", include_str!("../web/built/sketch.js")),
    ("/store.js", "text/javascript; charset=utf-8", include_str!("../web/built/store.js")),
    ("/teach.js", "text/javascript; charset=utf-8", include_str!("../web/built/teach.js")),
    ("/viewer.js", "text/javascript; charset=utf-8", include_str!("../web/built/viewer.js")),
];

/// Only what the server itself sends: no inline script or style, no frame around it, no form, no other host.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                 connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                                 require-trusted-types-for 'script'";

/// The routes of the page's files.
pub(crate) fn routes() -> Router<App> {
    FILES.into_iter().fold(Router::new(), |router, (path, media_type, text)| {
        let etag = format!("\"{}\"", &fingerprint::of_bytes(text.as_bytes())[..32]);
        router.route(path, get(async move |headers: HeaderMap| file(&headers, media_type, text, &etag)))
    })
}

fn file(headers: &HeaderMap, media_type: &'static str, text: &'static str, etag: &str) -> Response {
    let is_known = is_fresh(headers, etag);
    let body = if is_known { "" } else { text };
    let mut response = body.into_response();
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// Whether the client has what `etag` names (RFC 9110, 13.1.2).
pub(crate) fn is_fresh(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy forbids them, so a page that has them does not work.
    #[test]
    fn the_page_has_nothing_inline_and_nothing_foreign() {
        for (path, _, text) in FILES {
            for word in ["style=\"", " onclick", "<style", "://"] {
                let is_namespace = |at: usize| text[at..].starts_with("://www.w3.org/2000/svg");
                let found = text.match_indices(word).find(|&(at, _)| !is_namespace(at));
                assert!(found.is_none(), "{path}: {word}");
            }
        }
        let inline = FILES[0].2.matches("<script").count();
        assert_eq!(inline, FILES[0].2.matches("<script type=\"module\" src=\"main.js\"></script>").count());
    }
}
