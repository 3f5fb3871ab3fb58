//! The web page at `/`: shows that the gateway is alive, and lets a person
//! subscribe and publish. Nothing of it comes from elsewhere.

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::guard::hostname;
use super::{ApiState, Route};

const HTML: &str = include_str!("page/index.html");
const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");

/// The page's routes. They are no part of the API's description.
pub(super) fn routes() -> Vec<Route> {
    let file = |kind, text| get(move || async move { answer(kind, text, "default-src 'none'") });
    vec![
        Route { path: "/", handlers: get(index) },
        Route { path: "/page.css", handlers: file("text/css; charset=utf-8", CSS.to_owned()) },
        Route { path: "/page.js", handlers: file("text/javascript; charset=utf-8", JS.to_owned()) },
    ]
}

async fn index(State(api): State<ApiState>, uri: Uri, headers: HeaderMap) -> Response {
    let policy = policy(hostname(&headers, &uri), api.client_port);
    let text = HTML.replace("{client_port}", &api.client_port.to_string());
    answer("text/html; charset=utf-8", text, &policy)
}

/// The page may load its own files, call this API, and open a WebSocket to
/// the client listener under the name by which it was itself opened.
fn policy(host: Option<&str>, port: u16) -> String {
    let plain = |host: &&str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    let sockets = match host.filter(plain) {
        Some(host) => format!("ws://{host}:{port} wss://{host}:{port}"),
        // A policy has no way to write an IPv6 address (CSP 3, section 2.3.1).
        None => "ws: wss:".to_owned(),
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
         connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

fn answer(kind: &'static str, text: String, policy: &str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    // Every value was made of visible ASCII.
    (headers, text).into_response()
}
