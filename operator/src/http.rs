//! Health, metrics and the log's level. Served before leadership: both
//! replicas are ready.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Handle;

/// Media type of `/metrics`, by `OpenMetrics` 1.0, section 8.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// Changes the log's level.
    pub log: Handle,
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    served: Served,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .route("/metrics", get(metrics))
        .route("/log-level", put(level))
        .with_state(served);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn metrics(State(served): State<Served>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &served.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn level(State(served): State<Served>, body: String) -> Response {
    match served.log.set_level(body.trim()) {
        Ok(()) => {
            tracing::info!("the log's level is `{}` now", body.trim());
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}
