//! The HTTP API that apps publish with, and the first web page.
//!
//! # Layout
//!
//! - [`server`]: sockets in, answers out; limits of time and size
//! - [`service`]: from a request to its call
//! - [`guard`]: what stands before every call
//! - [`request`]: what every call reads: key, body, query, path
//! - [`problem`]: errors as `application/problem+json`
//! - [`publish`]: `POST /v1/publish`, `POST /v1/batch`
//! - [`answers`]: what all gateways answered, as one
//! - [`channels`], [`history`], [`users`], [`gateways`]: the calls that read
//! - [`tokens`]: tokens that an app revokes
//! - [`openapi`]: the API's description
//! - [`page`]: the web page at `/`

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use gateway_config::Limits;

use crate::admin::StatusSource;
use crate::auth::Authenticator;
use crate::auth::keys::ApiKeys;
use crate::cluster::Cluster;
use crate::error::{Error, ErrorCode};
use crate::metrics::Metrics;
use crate::relay::Relay;
use crate::rules::SharedRules;

pub mod answers;
pub mod channels;
pub mod gateways;
pub mod guard;
pub mod history;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod publish;
pub mod request;
pub mod server;
pub mod service;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod users;

pub use server::ApiServer;
pub use service::ApiService;

/// What the API's calls work with. A clone shares it: the router makes some
/// for each request.
#[derive(Clone)]
pub struct ApiState(Arc<ApiParts>);

/// What is in an [`ApiState`].
pub struct ApiParts {
    /// Where publications go in, and history comes out.
    pub relay: Arc<dyn Relay>,
    /// What every gateway knows of its clients.
    pub cluster: Arc<Cluster>,
    /// What holds for a channel; reloadable.
    pub rules: SharedRules,
    /// Who may call; reloadable. None: everyone.
    pub keys: Arc<ArcSwap<ApiKeys>>,
    /// Who a client is.
    pub auth: Arc<Authenticator>,
    /// How long a session may be away and still be recovered, with some more
    /// for clocks, in milliseconds; none: not at all.
    pub forgotten_after: Option<u64>,
    /// Sizes and times; reloadable.
    pub limits: Arc<ArcSwap<Limits>>,
    /// Where calls are counted.
    pub metrics: Metrics,
    /// How this gateway is.
    pub status: StatusSource,
    /// Whether the API's listener is on loopback. Then, and without keys, a
    /// `Host` that isn't this machine's own is refused.
    pub local_only: bool,
    /// Port of the client listener, for the web page's `/ws`.
    pub client_port: u16,
}

/// One path and what it answers.
struct Route {
    path: &'static str,
    handlers: MethodRouter<ApiState>,
}

// === impl ApiState ===

impl From<ApiParts> for ApiState {
    fn from(parts: ApiParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for ApiState {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0
    }
}

/// The API's router.
pub fn router(state: ApiState) -> Router {
    let all = calls().into_iter().chain(page::routes());
    let router =
        all.fold(Router::new(), |router, Route { path, handlers }| router.route(path, handlers));
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state.clone(), guard::trusted_host))
        .layer(from_fn(guard::one_meaning))
        .layer(from_fn_with_state(state.clone(), guard::count))
        .with_state(state)
}

/// The calls of the API, all of which its description has.
fn calls() -> Vec<Route> {
    let route = |path, handlers| Route { path, handlers };
    vec![
        route("/v1/publish", post(publish::publish)),
        route("/v1/batch", post(publish::batch)),
        route("/v1/channels", get(channels::list)),
        route("/v1/channels/{channel}", get(channels::detail)),
        route("/v1/channels/{channel}/history", get(history::history)),
        route("/v1/channels/{channel}/presence", get(channels::presence)),
        route("/v1/users/{user}", get(users::detail)),
        route("/v1/users/{user}/disconnect", post(users::disconnect)),
        route("/v1/users/{user}/debug", post(users::debug)),
        route("/v1/users/{user}/subscribe", post(users::subscribe)),
        route("/v1/users/{user}/unsubscribe", post(users::unsubscribe)),
        route("/v1/tokens/{token}/revoke", post(tokens::revoke)),
        route("/v1/gateways", get(gateways::list)),
        route("/v1/openapi.json", get(openapi::describe)),
    ]
}

async fn unknown(uri: Uri) -> problem::Problem {
    let hint = if uri.path().starts_with("/v1/channels/") {
        "no such path; a `/` in a channel's name is written %2F"
    } else {
        "no such path; /v1/openapi.json lists them all"
    };
    Error::new(ErrorCode::NotFound, hint).into()
}

async fn wrong_method(method: Method, uri: Uri) -> problem::Problem {
    let words =
        format!("{} does not take {method}; the header `Allow` says what it takes", uri.path());
    Error::new(ErrorCode::MethodNotAllowed, words).into()
}
