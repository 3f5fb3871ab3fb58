//! What apps do: publish, read history.

use serde_json::{Value, json};

use crate::http::{Reply, get, request, send};
use crate::{Gateway, http};

/// `POST` to a path of the API, with a key or without.
///
/// # Panics
///
/// When there is no answer.
pub async fn call(gateway: &Gateway, key: Option<&str>, path: &str, body: &Value) -> Reply {
    let mut request = request("POST", &format!("{}{path}", gateway.api())).json(body);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    send(request).await
}

/// `GET` of a path of the API, with a key or without.
///
/// # Panics
///
/// When there is no answer.
pub async fn read(gateway: &Gateway, key: Option<&str>, path: &str) -> Reply {
    let mut request = request("GET", &format!("{}{path}", gateway.api()));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    send(request).await
}

/// Publishes without a key; the answer.
///
/// # Panics
///
/// When the answer isn't 200.
pub async fn publish(gateway: &Gateway, body: &Value) -> Value {
    let reply = call(gateway, None, "/v1/publish", body).await;
    assert_eq!(reply.status, 200, "publish {body}: {}", reply.text());
    reply.json()
}

/// Publishes with a key at any API listener: `http://HOST:PORT`; the answer.
///
/// # Panics
///
/// When the answer isn't 200.
pub async fn publish_at(base: &str, key: &str, body: &Value) -> Value {
    let request = request("POST", &format!("{base}/v1/publish")).bearer_auth(key).json(body);
    let reply = send(request).await;
    assert_eq!(reply.status, 200, "publish {body}: {}", reply.text());
    reply.json()
}

/// Publishes `data` as event `e` on a channel; the offset, when it has one.
///
/// # Panics
///
/// When the answer isn't 200.
pub async fn say(gateway: &Gateway, channel: &str, data: impl Into<Value>) -> Option<String> {
    let body = json!({"channel": channel, "event": "e", "data": data.into()});
    offset_in(&publish(gateway, &body).await)
}

/// The first offset that an answer to a publish names.
pub fn offset_in(answer: &Value) -> Option<String> {
    let direct = answer.get("offset");
    let first = answer.get("results").and_then(|results| results.get(0)).or(answer.get(0));
    direct
        .or(first.and_then(|result| result.get("offset")))
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// One number from `/metrics`: the sum of all samples of that name.
///
/// # Panics
///
/// When `/metrics` doesn't answer 200.
pub async fn metric(gateway: &Gateway, name: &str) -> Option<f64> {
    metric_at(gateway.admin(), name).await
}

/// The same of any admin listener: `http://HOST:PORT`.
///
/// # Panics
///
/// When `/metrics` doesn't answer 200.
pub async fn metric_at(base: &str, name: &str) -> Option<f64> {
    metric_of(&get(&format!("{base}/metrics")).await, name)
}

/// The same of an answer of `/metrics`.
///
/// # Panics
///
/// When it isn't 200.
pub fn metric_of(reply: &Reply, name: &str) -> Option<f64> {
    assert_eq!(reply.status, 200, "/metrics: {}", reply.text());
    let mut found = None;
    for line in reply.text().lines().filter(|line| !line.starts_with('#')) {
        let Some((sample, value)) = line.rsplit_once(' ') else { continue };
        // With labels it is one sample, without them the sum of all.
        let wanted = if name.contains('{') { Some(sample) } else { sample.split('{').next() };
        if wanted == Some(name)
            && let Ok(value) = value.parse::<f64>()
        {
            found = Some(found.unwrap_or(0.0) + value);
        }
    }
    found
}

/// `/status` of the admin listener.
///
/// # Panics
///
/// When it doesn't answer with JSON.
pub async fn status(gateway: &Gateway) -> Value {
    http::get(&format!("{}/status", gateway.admin())).await.json()
}
