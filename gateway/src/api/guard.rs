//! What stands before every call: whose name the request came under, and the
//! count of what was asked and answered.

use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONNECTION, HOST};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use futures_util::FutureExt as _;
use tracing::error;

use super::ApiState;
use super::problem::{Problem, Refusal};
use crate::error::{Error, ErrorCode};
use crate::metrics::{CodeLabel, RequestLabel};
use crate::transport::meaning;

/// Counts a request under its route's template, never under its path: names
/// of channels would make metrics without end. A panic in a call is an answer
/// like any other error, and touches no other call.
pub async fn count(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let response = caught(&route, next.run(request)).await;
    count_answer(&api, &route, &method, &response);
    response
}

/// The answer of a call, or that it panicked.
pub async fn caught(route: &str, call: impl Future<Output = Response>) -> Response {
    let response = AssertUnwindSafe(call).catch_unwind().await;
    response.unwrap_or_else(|_| {
        // What was shared with the panicked call is counters, and state that
        // is swapped whole: nothing of it can be half done.
        error!(%route, "a call ended in a panic");
        let words = "a fault of the gateway's own; it is in the log";
        Problem::from(Error::new(ErrorCode::Internal, words)).into_response()
    })
}

/// Counts a request by its answer.
pub fn count_answer(api: &ApiState, route: &str, method: &Method, response: &Response) {
    if let Some(Refusal(code)) = response.extensions().get() {
        api.metrics.refused.get_or_create(&CodeLabel { code: code.as_str() }).inc();
    }
    let (route, method) = (route.to_owned(), label(method));
    let status = response.status().as_u16();
    api.metrics.api_requests.get_or_create(&RequestLabel { route, method, status }).inc();
}

/// A request with two meanings is none; see [`meaning`].
pub async fn one_meaning(request: Request, next: Next) -> Response {
    let Some(error) = meaning::doubt(request.version(), request.headers()) else {
        return next.run(request).await;
    };
    let mut answer = Problem::from(error).into_response();
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Without keys the API trusts this machine, and a browser on this machine
/// must not lend that trust to a web page: one that made its own name point
/// here (DNS rebinding) still sends that name as `Host`.
pub async fn trusted_host(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    match check_host(&api, request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// The check of [`trusted_host`].
pub fn check_host(api: &ApiState, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    if !api.local_only || !api.keys.load().is_empty() {
        return Ok(());
    }
    match hostname(headers, uri) {
        Some(name) if is_loopback(name) => Ok(()),
        _ => Err(Error::new(
            ErrorCode::Forbidden,
            "without API keys only this machine may call, under a name such as localhost or \
             127.0.0.1 (the `Host` header); set api.keys to let others in",
        )
        .field("Host")
        .into()),
    }
}

/// The name under which the request came, without the port.
pub fn hostname<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    // A URI with a host is a proxy's form of request (RFC 9112, section
    // 3.2.2), and stands above the header.
    let authority = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(HOST)?.to_str().ok()?,
    };
    if authority.starts_with('[') {
        let end = authority.find(']')?;
        return Some(&authority[..=end]);
    }
    Some(authority.split_once(':').map_or(authority, |(name, _)| name))
}

/// Whether a name is one of this machine's own (RFC 6761, section 6.3).
pub fn is_loopback(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name.ends_with(".localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The method as a label; whatever a client made up counts as one.
fn label(method: &Method) -> String {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
    .to_owned()
}
