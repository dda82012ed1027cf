//! What every request passes: who may ask by which name, for how long, how many at once; and what every answer says of
//! itself to browsers, to the log and to metrics.

use std::net::IpAddr;
use std::time::Instant;

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::state::App;

/// For answers that are no page: a photo that is opened by itself can do nothing.
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// Routes that an overloaded server still answers: those that tell that it is.
const ALWAYS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Lets a request through to its route, or refuses it.
pub(crate) async fn pass(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = known(request.method());
    // The route's pattern, never what a client wrote: ids and queries are nobody's business but the client's.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let body_bytes = length(request.headers());
    app.metrics.in_flight.inc();
    let _in_flight = Leaving(&app);
    let mut response =
        admitted(&app, &route, request, next).await.unwrap_or_else(IntoResponse::into_response);
    guard(response.headers_mut());
    let took = started.elapsed();
    let status = response.status();
    app.metrics.request(&route, method, status.as_u16(), took);
    tracing::info!(
        target: "sketchfind_serve::access",
        method,
        route,
        status = status.as_u16(),
        took_ms = took.as_micros() as f64 / 1000.0,
        body_bytes,
        answer_bytes = response.body().size_hint().exact().unwrap_or(0),
        "request"
    );
    response
}

/// Counts a request out, also where its client goes away in the middle.
struct Leaving<'a>(&'a App);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

async fn admitted(app: &App, route: &str, request: Request, next: Next) -> Result<Response, Problem> {
    check_host(app, request.headers())?;
    if ALWAYS.contains(&route) {
        return Ok(next.run(request).await);
    }
    let _pass = app.requests.enter_now()?;
    match tokio::time::timeout(app.limits.request, next.run(request)).await {
        Ok(response) => Ok(response),
        Err(_elapsed) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            format!("the request was not read and answered within {} s", app.limits.request.as_secs()),
        )),
    }
}

/// Refuses a name that is not ours. A page elsewhere can have its own name point to this machine (DNS rebinding), and
/// would then count as of the same origin as we are; the name that it was called by gives it away.
fn check_host(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(hosts) = &app.hosts else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name_of(host))) {
        return Ok(());
    }
    let code = "wrong_host";
    let detail = "the server is not called by that name; --allow-host adds one";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, code, detail))
}

/// The name in a Host header, without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The names that a server on `ip` has by itself: those of the loopback, or none that could be known.
pub(crate) fn own_names(ip: IpAddr) -> Option<Vec<String>> {
    ip.is_loopback().then(|| ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec())
}

/// Headers of safety, on every answer.
fn guard(headers: &mut HeaderMap) {
    let fixed: [(HeaderName, &str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(NO_PAGE));
}

/// The method's name, if it is one of the ordinary ones.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn length(headers: &HeaderMap) -> u64 {
    let value = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_its_name() {
        for (host, name) in [
            ("localhost:7878", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("evil.example:7878", "evil.example"),
            ("a:b", "a:b"),
            ("", ""),
        ] {
            assert_eq!(name_of(host), name);
        }
    }
}
