//! The real router over a relay that records: what a caller gets, and what
//! reaches the relay.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fake;
mod http;
mod keys;
mod openapi;
mod publish;
mod read;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use gateway_config::{ApiKey, ChannelRule, History, Limits, Pattern, Period};
use http_body_util::BodyExt as _;
use serde_json::Value as Json;
use tower::ServiceExt as _;

use super::{ApiParts, ApiState, router};
use crate::admin::{NatsStatus, Status};
use crate::auth::keys::ApiKeys;
use crate::auth::{Authenticator, Callouts};
use crate::cluster::{Cluster, ClusterKeys, ClusterOptions};
use crate::metrics::Metrics;
use crate::rules::Rules;
use crate::shard::Shards;
use fake::FakeRelay;

/// The API under test, and what stands behind it.
pub(super) struct Rig {
    pub(super) relay: Arc<FakeRelay>,
    pub(super) state: ApiState,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Everyone is welcome.
fn auth() -> Arc<Authenticator> {
    let config = gateway_config::Config::default();
    let callouts = Callouts::new(&config, "1", Metrics::default());
    Arc::new(Authenticator::new(&config.auth, Arc::default(), callouts).unwrap())
}

/// A gateway without shards and without others.
fn alone() -> Arc<Cluster> {
    let keys = ClusterKeys::derive(b"secret", "push");
    Cluster::new(ClusterOptions {
        gateway: crate::session::sid::GatewayId(1),
        keys: &keys,
        prefix: "push",
        shards: Shards::new(Vec::new()),
        auth: auth(),
        metrics: Metrics::default(),
        tls: None,
        stop: tokio_util::sync::CancellationToken::new(),
    })
}

// === impl Rig ===

impl Rig {
    /// No keys; `orders.>` has history, `small.>` takes 100 bytes.
    pub(super) fn new() -> Self {
        let relay = Arc::new(FakeRelay::default());
        let rule = |matches: &str| ChannelRule {
            matches: Pattern::new(matches).unwrap(),
            history: None,
            client_publish: None,
            anonymous: None,
            slow_consumer: gateway_config::SlowConsumer::default(),
            max_payload: None,
        };
        let history = History { max_messages: 1000, max_age: Period::from_secs(3600) };
        let rules = vec![
            ChannelRule { history: Some(history), ..rule("orders.>") },
            ChannelRule { max_payload: Some(100), ..rule("small.>") },
        ];
        let limits = Limits { publication_bytes: 10_000, batch: 5, ..Limits::default() };
        let state = ApiParts {
            relay: Arc::clone(&relay) as Arc<dyn crate::relay::Relay>,
            cluster: alone(),
            rules: Rules::new(rules, limits.publication_bytes).shared(),
            keys: Arc::new(ArcSwap::from_pointee(ApiKeys::new(&[]).unwrap())),
            auth: auth(),
            forgotten_after: None,
            limits: Arc::new(ArcSwap::from_pointee(limits)),
            metrics: Metrics::default(),
            status: Arc::new(|| Status {
                id: "g1".into(),
                version: "0.1.0".into(),
                uptime: 61,
                connections: 7,
                accepting: true,
                draining: false,
                drain_remaining: None,
                config_hash: "abc".into(),
                relay: "memory",
                nats: NatsStatus { connected: true, error: None, version: None },
                lag: 0,
            }),
            local_only: true,
            client_port: 8080,
        };
        Self { relay, state: state.into() }
    }

    pub(super) fn with_keys(self, keys: &[ApiKey]) -> Self {
        self.state.keys.store(Arc::new(ApiKeys::new(keys).unwrap()));
        self
    }

    /// Seen from elsewhere than this machine.
    pub(super) fn open(mut self) -> Self {
        Arc::get_mut(&mut self.state.0).unwrap().local_only = false;
        self
    }

    pub(super) fn with_limits(self, limits: Limits) -> Self {
        self.state.limits.store(Arc::new(limits));
        self
    }

    pub(super) fn router(&self) -> Router {
        router(self.state.clone())
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", "localhost:8081");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path)
            .header("host", "127.0.0.1:8081")
            .header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem in the form of RFC 9457, and returns its
    /// code, field and words.
    pub(super) fn problem(&self) -> (String, String, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16(), "{json}");
        let code = json["code"].as_str().unwrap();
        assert_eq!(json["type"], format!("urn:pushcluster:error:{code}"));
        assert!(!json["title"].as_str().unwrap().is_empty());
        assert!(json["retry"].is_boolean());
        let detail = json["detail"].as_str().unwrap();
        assert!(detail.len() > 10, "{detail}");
        let field = json["field"].as_str().unwrap_or_default();
        (code.to_owned(), field.to_owned(), detail.to_owned())
    }
}
