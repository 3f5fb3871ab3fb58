//! The admin listener: is it alive, is it ready, how is it, what does it count.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::api::problem::Problem;
use crate::error::{Error, ErrorCode};
use crate::relay::RelayStatus;

mod token;

#[cfg(test)]
mod tests;

pub use crate::api::server::AdminServer;
pub use token::{AdminToken, TokenError};

/// Media type of `/metrics`, by `OpenMetrics` 1.0, section 8.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Asks the gateway how it is.
pub type StatusSource = Arc<dyn Fn() -> Status + Send + Sync>;

/// What the admin listener works with.
#[derive(Clone)]
pub struct AdminState {
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
    /// What `/status` shows.
    pub status: StatusSource,
    /// Begins a drain. Called for every `POST /drain`; must return at once
    /// and take a second call as nothing new.
    pub drain: Arc<dyn Fn() + Send + Sync>,
    /// What `/status` and `/drain` want to see; none: nothing.
    pub token: Option<Arc<AdminToken>>,
}

/// Whether the gateway may be sent clients; shared by who decides and who tells.
#[derive(Debug)]
pub struct Readiness {
    /// Why it is not ready; none when it is.
    reason: ArcSwapOption<Cow<'static, str>>,
}

/// How a gateway is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its id, new with every start.
    pub id: Arc<str>,
    /// Its version.
    pub version: Cow<'static, str>,
    /// Seconds since it started.
    pub uptime: u64,
    /// Client connections that it holds.
    pub connections: u64,
    /// Whether it takes new clients.
    pub accepting: bool,
    /// Whether it is sending its clients away.
    pub draining: bool,
    /// Sessions that a drain still has to send away; none when it doesn't drain.
    pub drain_remaining: Option<u64>,
    /// Which configuration it has loaded.
    pub config_hash: Arc<str>,
    /// `memory` or `nats`.
    pub relay: &'static str,
    /// The relay's way to other gateways.
    pub nats: NatsStatus,
    /// Publications that are stored and that it has not seen yet.
    pub lag: u64,
}

/// How the connection to NATS is. With the embedded relay, how that is.
#[derive(Clone, Debug, Serialize)]
pub struct NatsStatus {
    /// Whether publications go through.
    pub connected: bool,
    /// What is wrong.
    pub error: Option<String>,
    /// The server's version.
    pub version: Option<String>,
}

/// The admin listener's router.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/drain", post(drain))
        .fallback(|| async {
            let paths = "no such path; there are /livez, /readyz, /metrics, /status and /drain";
            Problem::from(Error::new(ErrorCode::NotFound, paths))
        })
        .method_not_allowed_fallback(|| async {
            let words = "not with this method; the header `Allow` says which";
            Problem::from(Error::new(ErrorCode::MethodNotAllowed, words))
        })
        .with_state(state)
}

async fn readyz(State(admin): State<AdminState>) -> Response {
    match admin.readiness.reason() {
        None => "ok".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn metrics(State(admin): State<AdminState>) -> Result<Response, Problem> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &admin.registry)
        .map_err(|_| Error::new(ErrorCode::Internal, "the metrics can't be written"))?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

async fn status(State(admin): State<AdminState>, headers: HeaderMap) -> Result<Response, Problem> {
    admin.allow(&headers).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json((admin.status)())).into_response())
}

/// Drains and stays up. No browser has a reason to call it, and a web page
/// that tries says so by its `Origin`.
async fn drain(State(admin): State<AdminState>, headers: HeaderMap) -> Result<StatusCode, Problem> {
    if headers.contains_key(ORIGIN) {
        let words = "a drain is not started from a web page; send the request without `Origin`";
        return Err(Error::new(ErrorCode::Forbidden, words).field("Origin").into());
    }
    admin.allow(&headers).await?;
    (admin.drain)();
    Ok(StatusCode::ACCEPTED)
}

// === impl AdminState ===

impl AdminState {
    /// Health and metrics are for everybody; what tells more, or changes
    /// something, is not.
    async fn allow(&self, headers: &HeaderMap) -> Result<(), Error> {
        match &self.token {
            Some(token) => token.check(headers).await,
            None => Ok(()),
        }
    }
}

// === impl Readiness ===

impl Readiness {
    /// Not ready yet, and why: `starting`, say.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: ArcSwapOption::from_pointee(reason.into()) }
    }

    /// From now on it is ready.
    pub fn set_ready(&self) {
        self.reason.store(None);
    }

    /// From now on it is not, and why.
    pub fn set_not_ready(&self, reason: impl Into<Cow<'static, str>>) {
        self.reason.store(Some(Arc::new(reason.into())));
    }

    /// Why it is not ready; none when it is.
    pub fn reason(&self) -> Option<String> {
        self.reason.load().as_deref().map(ToString::to_string)
    }
}

// === impl NatsStatus ===

impl From<RelayStatus> for NatsStatus {
    fn from(status: RelayStatus) -> Self {
        Self { connected: status.connected, error: status.error, version: status.version }
    }
}
