//! Sections of the gateway's configuration, as the manifest has them: made
//! from the gateway's own types.

use gateway_config::{Callout, ChannelRule, Client, Limits, Log, Socketio};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::period;

/// `limits`
pub(in crate::crd) fn limits(generator: &mut SchemaGenerator) -> Schema {
    let mut schema =
        section::<Limits>(generator, "What one gateway, one client and one request may use.");
    for name in ["handshakeTimeout", "headerTimeout", "bodyTimeout"] {
        property(&mut schema, name, &period("100ms", "10m"));
    }
    schema
}

/// `gateway.client`: the listener's address is the operator's.
pub(in crate::crd) fn client(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = section::<Client>(generator, "The listener that clients connect to.");
    let origins = json!({
        "maxItems": 256,
        "items": {
            "type": "string",
            "maxLength": 512,
            "x-kubernetes-validations": [{
                "rule": "self == '*' || self == 'null' || self.matches('^[a-z][a-z0-9+.-]*://([*][.])?[a-z0-9._:\\\\[\\\\]-]+$')",
                "message": "takes *, or an origin as browsers send it, as in https://app.example.com or https://*.example.com",
            }],
        },
        "x-kubernetes-list-type": "atomic",
    });
    property(&mut schema, "allowedOrigins", &origins);
    property(&mut schema, "trustedProxies", &addresses());
    // Files that no pod has: TLS ends at what stands in front.
    without(&mut schema, &["listen", "tls"]);
    schema
}

/// Addresses, and blocks of them.
fn addresses() -> Value {
    json!({
        "maxItems": 256,
        "items": {"type": "string", "maxLength": 64, "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$"},
        "x-kubernetes-list-type": "atomic",
    })
}

/// `service.client.trustedProxies`
pub(in crate::crd) fn proxies(_: &mut SchemaGenerator) -> Schema {
    let mut schema = addresses();
    schema["type"] = json!("array");
    Schema::try_from(schema).unwrap_or_default()
}

/// `gateway.socketio`
pub(in crate::crd) fn socketio(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = section::<Socketio>(generator, "The Socket.IO protocol's settings.");
    for name in ["pingInterval", "pingTimeout", "upgradeTimeout", "connectTimeout"] {
        property(&mut schema, name, &period("1s", "1h"));
    }
    property(&mut schema, "path", &json!({"maxLength": 256, "pattern": "^/(.*/)?$"}));
    let namespaces = json!({
        "maxItems": 64,
        "items": {"type": "string", "maxLength": 128, "pattern": "^/"},
        "x-kubernetes-list-type": "atomic",
    });
    property(&mut schema, "namespaces", &namespaces);
    // A word, true or false, or a section: no structural schema has three
    // types. The operator checks it.
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "recovery".to_owned(),
            json!({
                "description": "Connection state recovery: `off`, or `{maxDisconnection: 2m}`.",
                "x-kubernetes-preserve-unknown-fields": true,
            }),
        );
    }
    schema
}

/// `gateway.log`
pub(in crate::crd) fn log(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = section::<Log>(generator, "The log's form.");
    property(&mut schema, "level", &json!({"minLength": 1, "maxLength": 1_024}));
    schema
}

/// `auth.callout`
pub(in crate::crd) fn callout(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = section::<Callout>(
        generator,
        "Apps that are asked, over NATS, who a client is and what it may do. An app that doesn't answer lets nobody in.",
    );
    property(&mut schema, "cached", &json!({"minimum": 0}));
    if let Some(connect) = schema.pointer_mut("/properties/connect") {
        only_some(connect);
        if let Some(fields) = connect.as_object_mut() {
            fields.remove("required");
        }
        asked(connect);
    }
    if let Some(rules) = schema.pointer_mut("/properties/subscribe") {
        merge(rules, &json!({"maxItems": 64, "x-kubernetes-list-type": "atomic"}));
        rules["items"]["required"] = json!(["match"]);
        if let Some(matches) = rules.pointer_mut("/items/properties/match") {
            merge(matches, &channel_pattern());
        }
        asked(&mut rules["items"]);
    }
    schema
}

/// Whom an app is asked by, and for how long.
fn asked(question: &mut Value) {
    if let Some(subject) = question.pointer_mut("/properties/subject") {
        let about = subject["description"].clone();
        *subject = json!({
            "type": "string",
            "description": about,
            "minLength": 1,
            "maxLength": 256,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^[!-#%-)+,/-=?-~-][!-)+,/-=?-~-]*([.][!-)+,/-=?-~-]+)*$')",
                "message": "takes a NATS subject without wildcards, as in push.in.$auth.connect",
            }],
        });
    }
    if let Some(timeout) = question.pointer_mut("/properties/timeout") {
        merge(timeout, &period("1ms", "30s"));
    }
}

/// `channels`
pub(in crate::crd) fn channels(generator: &mut SchemaGenerator) -> Schema {
    let mut rule = generator.subschema_for::<ChannelRule>();
    strip(rule.ensure_object());
    property(&mut rule, "match", &channel_pattern());
    if let Some(history) = rule.pointer_mut("/properties/history") {
        only_some(history);
        if let Some(age) = history.pointer_mut("/properties/maxAge") {
            merge(
                age,
                &json!({
                    "maxLength": 16,
                    "pattern": "^([0-9]+(s|m|h|d))+$",
                }),
            );
        }
        history["required"] = json!(["maxAge", "maxMessages"]);
    }
    let policy = json!([{
        "rule": "!has(self.history) || !has(self.slowConsumer) || self.slowConsumer == 'disconnect'",
        "message": "slowConsumer: dropOldest and latest are for channels without history; remove history, or use disconnect",
    }]);
    rule.ensure_object().insert("x-kubernetes-validations".to_owned(), policy);
    rule.ensure_object().insert("required".to_owned(), json!(["match"]));
    json_schema!({
        "type": "array",
        "description": "Rules for channels; the first that matches a channel's name holds. Order counts.",
        "maxItems": 256,
        "x-kubernetes-list-type": "atomic",
        "items": rule,
    })
}

/// Channels that a rule is for.
fn channel_pattern() -> Value {
    json!({
        "pattern": "^(\\$(user|sid)\\..+|[^.]+(\\.[^.]+)*)$",
        "x-kubernetes-validations": [{
            "rule": "!self.matches('(^|[.])>[.]')",
            "message": "has `>` before its end; `>` may only be the last token",
        }],
    })
}

/// An `Option` of a section, as that section.
fn only_some(option: &mut Value) {
    let Some(inner) = option.get("anyOf").and_then(|any| any.get(0)).cloned() else { return };
    let about = option.get("description").cloned();
    *option = inner;
    if let Some(about) = about {
        option["description"] = about;
    }
}

/// A section as it is in the gateway's configuration, without defaults and
/// with nothing required.
fn section<T: JsonSchema>(generator: &mut SchemaGenerator, about: &str) -> Schema {
    let mut schema = generator.subschema_for::<T>();
    let fields = schema.ensure_object();
    strip(fields);
    fields.remove("required");
    fields.insert("description".to_owned(), json!(about));
    schema
}

/// Takes defaults, and what Kubernetes doesn't know, from a schema.
fn strip(fields: &mut Map<String, Value>) {
    for name in ["default", "writeOnly", "additionalProperties"] {
        fields.remove(name);
    }
    for value in fields.values_mut() {
        match value {
            Value::Object(inner) => strip(inner),
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(strip);
            }
            _ => {}
        }
    }
}

/// Adds to the schema of a property.
fn property(schema: &mut Schema, name: &str, more: &Value) {
    if let Some(property) =
        schema.get_mut("properties").and_then(|properties| properties.get_mut(name))
    {
        merge(property, more);
    }
}

fn merge(target: &mut Value, more: &Value) {
    if let (Some(target), Some(more)) = (target.as_object_mut(), more.as_object()) {
        for (key, value) in more {
            target.insert(key.clone(), value.clone());
        }
    }
}

fn without(schema: &mut Schema, names: &[&str]) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for name in names {
            properties.remove(*name);
        }
    }
}
