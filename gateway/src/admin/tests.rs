//! The admin listener's answers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use super::{AdminState, AdminToken, NatsStatus, Readiness, Status, router};
use crate::metrics::Metrics;

struct Rig {
    state: AdminState,
    drains: Arc<AtomicU32>,
}

fn rig() -> Rig {
    let metrics = Metrics::default();
    metrics.upgrades.inc();
    let drains = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&drains);
    let state = AdminState {
        registry: Arc::new(metrics.register()),
        readiness: Arc::new(Readiness::new("waiting for NATS")),
        status: Arc::new(|| Status {
            id: "g1".into(),
            version: "0.1.0".into(),
            uptime: 5,
            connections: 3,
            accepting: true,
            draining: true,
            drain_remaining: Some(3),
            config_hash: "abc".into(),
            relay: "nats",
            nats: NatsStatus { connected: false, error: Some("gone".into()), version: None },
            lag: 2,
        }),
        drain: Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
        token: None,
    };
    Rig { state, drains }
}

async fn ask(rig: &Rig, request: Request<Body>) -> (Response<()>, String) {
    let response = router(rig.state.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(parts, ()), String::from_utf8(body.to_vec()).unwrap())
}

async fn get(rig: &Rig, path: &str) -> (Response<()>, String) {
    ask(rig, Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn readiness_follows_who_sets_it_and_liveness_does_not() {
    let rig = rig();
    let (answer, body) = get(&rig, "/readyz").await;
    assert_eq!((answer.status().as_u16(), &*body), (503, "waiting for NATS"));
    assert_eq!(get(&rig, "/livez").await.0.status(), 200);
    rig.state.readiness.set_ready();
    let (answer, body) = get(&rig, "/readyz").await;
    assert_eq!((answer.status().as_u16(), &*body), (200, "ok"));
    rig.state.readiness.set_not_ready("draining");
    assert_eq!(get(&rig, "/readyz").await.1, "draining");
    assert_eq!(get(&rig, "/livez").await.0.status(), 200);
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let (answer, body) = get(&rig(), "/metrics").await;
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(body.contains("\npush_upgrades_total 1\n"), "{body}");
    assert!(body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn status_has_every_key_of_the_contract() {
    let (_, body) = get(&rig(), "/status").await;
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        json,
        json!({
            "id": "g1", "version": "0.1.0", "uptime": 5, "connections": 3, "accepting": true,
            "draining": true, "drainRemaining": 3, "configHash": "abc", "relay": "nats",
            "nats": {"connected": false, "error": "gone", "version": null}, "lag": 2
        })
    );
}

#[tokio::test]
async fn a_drain_is_started_by_a_post_and_not_by_a_web_page() {
    let rig = rig();
    let (answer, _) = get(&rig, "/drain").await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
    let page = Request::post("/drain").header("origin", "http://elsewhere.example");
    let (answer, _) = ask(&rig, page.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(rig.drains.load(Ordering::Relaxed), 0);
    let (answer, _) = ask(&rig, Request::post("/drain").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(rig.drains.load(Ordering::Relaxed), 1);
    let (answer, body) = get(&rig, "/nothing").await;
    assert_eq!(answer.status(), 404);
    assert!(body.contains("/readyz"), "{body}");
}

#[tokio::test]
async fn with_a_token_only_health_and_metrics_are_open() {
    let file = std::env::temp_dir().join(format!("push-admin-{}", std::process::id()));
    std::fs::write(&file, "s3cret\n").unwrap();
    let mut rig = rig();
    let token = AdminToken::open(&file, Metrics::default()).unwrap();
    let _ = std::fs::remove_file(&file);
    rig.state.token = Some(Arc::new(token));
    rig.state.readiness.set_ready();
    for open in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(get(&rig, open).await.0.status(), 200, "{open}");
    }
    let (answer, body) = get(&rig, "/status").await;
    assert_eq!(answer.status(), 401);
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert!(body.contains("Authorization: Bearer") && !body.contains("s3cret"), "{body}");
    let (answer, _) = ask(&rig, Request::post("/drain").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(rig.drains.load(Ordering::Relaxed), 0);
    let with = |request: axum::http::request::Builder| {
        request.header("authorization", "Bearer s3cret").body(Body::empty()).unwrap()
    };
    assert_eq!(ask(&rig, with(Request::get("/status"))).await.0.status(), 200);
    assert_eq!(ask(&rig, with(Request::post("/drain"))).await.0.status(), 202);
    assert_eq!(rig.drains.load(Ordering::Relaxed), 1);
}
