#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::Value;

use super::schema::crd_yaml;

mod expressible;

/// The schema of `spec`.
fn spec_of(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
}

/// `push-operator crd > crds/pushclusters.yaml` makes it anew.
#[test]
fn the_file_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/pushclusters.yaml");
    let file = std::fs::read_to_string(path).unwrap();
    assert!(
        file == crd_yaml().unwrap(),
        "crds/pushclusters.yaml is not what `push-operator crd` prints; make it anew"
    );
}

/// A person reads it with `kubectl explain`.
#[test]
fn every_field_says_what_it_is() {
    let crd: Value = serde_saphyr::from_str(&crd_yaml().unwrap()).unwrap();
    let mut bare = Vec::new();
    walk(spec_of(&crd), "spec", &mut bare);
    assert!(bare.is_empty(), "{}", bare.join("\n"));
}

fn walk(schema: &Value, path: &str, bare: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if property["description"].as_str().is_none_or(str::is_empty) {
            bare.push(path.clone());
        }
        walk(property, &path, bare);
        walk(&property["items"], &path, bare);
    }
}

#[test]
fn without_formats_that_api_servers_warn_of() {
    assert!(!crd_yaml().unwrap().contains("format: uint"));
}
