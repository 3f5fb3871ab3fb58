//! The description and the router say the same.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use serde_json::Value as Json;

use super::Rig;
use crate::api::calls;

async fn description() -> Json {
    let answer = Rig::new().get("/v1/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let json = description().await;
    let described: BTreeMap<&str, BTreeSet<String>> = json["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            (&**path, item.as_object().unwrap().keys().map(|m| m.to_uppercase()).collect())
        })
        .collect();
    let routed: BTreeSet<&str> = calls().iter().map(|route| route.path).collect();
    assert_eq!(described.keys().copied().collect::<BTreeSet<_>>(), routed);
    for (path, methods) in described {
        let path =
            path.replace("{channel}", "orders.1").replace("{user}", "ann").replace("{token}", "t1");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let request = Request::builder().method(method).uri(&path).header("host", "localhost");
            let answer = Rig::new().send(request.body(Body::empty()).unwrap()).await;
            let taken = methods.contains(method);
            assert_eq!(answer.status != 405, taken, "{method} {path}: {answer:?}");
            assert_ne!(answer.status, 404, "{method} {path}");
            if !taken {
                assert_eq!(answer.problem().0, "method_not_allowed");
                let allow: BTreeSet<String> = answer
                    .header("allow")
                    .split(',')
                    .filter(|method| *method != "HEAD")
                    .map(str::to_owned)
                    .collect();
                assert_eq!(allow, methods, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn every_schema_is_described_and_every_reference_has_its_schema() {
    let json = description().await;
    let schemas = json["components"]["schemas"].as_object().unwrap();
    let mut references = BTreeSet::new();
    collect(&json, &mut references);
    let present: BTreeSet<String> = schemas.keys().cloned().collect();
    assert_eq!(references, present);
    for (name, schema) in schemas {
        assert!(schema["description"].is_string(), "{name}");
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let described = property["description"].is_string() || property["$ref"].is_string();
            assert!(described, "{name}.{field}");
        }
    }
    for (path, item) in json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let kind =
                    if status == "200" { "application/json" } else { "application/problem+json" };
                assert!(response["content"][kind].is_object(), "{method} {path} {status}");
            }
        }
    }
    assert_eq!(json["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert_eq!(json["components"]["securitySchemes"]["apiKey"]["name"], "X-API-Key");
    assert_eq!(json["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// The names of all schemas that are referred to.
fn collect(json: &Json, names: &mut BTreeSet<String>) {
    match json {
        Json::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Json::as_str) {
                names.insert(reference.strip_prefix("#/components/schemas/").unwrap().to_owned());
            }
            map.values().for_each(|value| collect(value, names));
        }
        Json::Array(list) => list.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}
