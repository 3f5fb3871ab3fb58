#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;

use crate::controller::build::tests::{cluster, defaults, found, plan_with};
use crate::controller::validate::validate;

#[test]
fn an_open_manifest_lets_everybody_in_and_only_apps_publish() {
    let plan = plan_with(
        json!({"channels": [{"match": "a"}, {"match": "b", "clientPublish": true}]}),
        &[],
    )
    .unwrap();
    assert_eq!(plan.config.boot["PUSH_AUTH_ANONYMOUS"], "true");
    let file: serde_json::Value = serde_saphyr::from_str(&plan.config.file).unwrap();
    assert_eq!(
        file["channels"],
        json!([
            {"match": "a", "clientPublish": false, "slowConsumer": "disconnect"},
            {"match": "b", "clientPublish": true, "slowConsumer": "disconnect"},
            {"match": ">", "clientPublish": false, "slowConsumer": "disconnect"},
        ])
    );

    let said = plan_with(json!({"auth": {"anonymous": true}}), &[]).unwrap();
    let file: serde_json::Value = serde_saphyr::from_str(&said.config.file).unwrap();
    assert_eq!(file["channels"], json!([]), "who says so gets what the gateway does");
}

#[test]
fn a_gateway_would_take_it() {
    // `config::render` loads it as a gateway does; what a person can write
    // goes through.
    let spec = json!({
        "auth": {
            "jwt": {"publicKey": {"name": "keys", "key": "pem"}, "issuer": "i", "algorithms": ["RS256"]},
            "apiKeysSecret": {"name": "api"},
        },
        "gateway": {
            "client": {"allowedOrigins": ["https://a.example.com"]},
            "socketio": {"recovery": false, "namespaces": ["/", "/admin"], "pingInterval": "10s"},
            "log": {"level": "debug", "format": "json"},
        },
        "channels": [{"match": "orders.>", "history": {"maxMessages": 10, "maxAge": "1h"}}],
    });
    let keys = "- {name: shop, sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b, scopes: [publish]}";
    let pem = "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----";
    let plan = plan_with(spec, &[("keys", "pem", pem), ("api", "keys.yaml", keys)]).unwrap();
    assert_eq!(plan.config.boot["PUSH_SOCKETIO_RECOVERY"], "false");
    assert_eq!(plan.config.boot["PUSH_SOCKETIO_NAMESPACES"], r#"["/","/admin"]"#);
    assert_eq!(plan.config.from_secrets["PUSH_AUTH_JWT_PUBLIC_KEY"].name, "keys");
    assert!(!plan.config.boot.contains_key("PUSH_AUTH_JWT_PUBLIC_KEY"));
    assert!(!plan.config.file.contains("name: shop"), "keys have a file of their own");
}

#[test]
fn proxies_of_the_service_are_the_gateways() {
    let spec = json!({
        "service": {"client": {"trustedProxies": ["10.0.0.0/8"]}},
        "gateway": {"client": {"trustedHops": 2}},
    });
    let boot = plan_with(spec, &[]).unwrap().config.boot;
    assert_eq!(boot["PUSH_CLIENT_TRUSTED_PROXIES"], r#"["10.0.0.0/8"]"#);
    assert_eq!(boot["PUSH_CLIENT_TRUSTED_HOPS"], "2");
    let wrong = |spec| plan_with(spec, &[]).unwrap_err().to_string();
    let text = wrong(json!({"service": {"client": {"trustedProxies": ["10.0.0.0/33"]}}}));
    assert!(text.starts_with("spec.service.client.trustedProxies[0]: "), "{text}");
    let text = wrong(json!({"gateway": {"client": {"trustedProxies": ["10.0.0.0/33"]}}}));
    assert!(text.starts_with("spec.gateway.client.trustedProxies[0]: "), "{text}");
}

#[test]
fn an_app_is_asked() {
    let loaded = |spec| {
        let cluster = cluster(spec);
        let found = found(&cluster, &[("keys", "key", "a-secret-of-the-issuer-and-the-gateways")]);
        let config = validate(&cluster, &defaults(), &found).unwrap().config;
        super::load(&config.boot, &config.from_secrets, &found.values, &config.file).unwrap()
    };
    // `{}` asks: with what the gateway's version has for defaults.
    let config = loaded(json!({"auth": {"callout": {"connect": {}}}}));
    assert!(config.auth.asks_who());
    assert_eq!(config.auth.anonymous, Some(false), "an app that is asked is asked of tokens");
    assert!(config.channels.is_empty(), "the manifest says who may");

    let config = loaded(json!({"auth": {
        "jwt": {"secret": {"name": "keys", "key": "key"}, "leeway": "1m"},
        "callout": {"cached": 7, "subscribe": [{"match": "room.>", "timeout": "500ms"}]},
    }}));
    let callout = config.auth.callout.unwrap();
    assert_eq!((callout.cached, callout.subscribe.len()), (7, 1));
    assert_eq!(callout.subscribe[0].timeout.as_millis(), 500);
    assert!(callout.connect.is_none());
    assert_eq!(config.auth.jwt.unwrap().leeway.unwrap().get().as_secs(), 60);

    // Apps of managed NATS can serve nothing else.
    let asks = |nats, subject| {
        let auth = json!({"callout": {"connect": {"subject": subject}}});
        plan_with(json!({"nats": nats, "auth": auth}), &[]).map(drop)
    };
    assert!(asks(json!({}), "pushcluster.shop.live.in.who").is_ok());
    let text = asks(json!({}), "who.is.it").unwrap_err().to_string();
    assert!(text.contains("spec.auth.callout.connect.subject"), "{text}");
    assert!(text.contains("`pushcluster.shop.live.in.>`"), "{text}");
    assert!(asks(json!({"external": {"url": "nats://a:4222"}}), "who.is.it").is_ok());
}

#[test]
fn what_a_gateway_would_refuse_is_said_in_the_manifests_words() {
    let message =
        |spec, users: &[(&str, &str, &str)]| plan_with(spec, users).unwrap_err().to_string();
    let crossing = json!({"channels": [
        {"match": "a.*", "history": {"maxMessages": 1, "maxAge": "1h"}},
        {"match": "*.b", "history": {"maxMessages": 1, "maxAge": "1h"}},
    ]});
    let text = message(crossing, &[]);
    assert!(text.starts_with("spec.channels[1].match: "), "{text}");

    let keys = json!({"auth": {"apiKeysSecret": {"name": "api"}}});
    let text = message(keys.clone(), &[("api", "keys.yaml", "hello")]);
    assert!(text.starts_with("Secret \"api\", key \"keys.yaml\""), "{text}");
    assert!(!text.contains("hello"), "it may be a key");
    let text = message(keys.clone(), &[("api", "keys.yaml", "[]")]);
    assert!(text.contains("no app could publish"), "{text}");
    let text = message(keys.clone(), &[("api", "other", "x")]);
    assert!(text.contains("Secret \"api\" has no key \"keys.yaml\""), "{text}");
    let text = message(keys, &[]);
    assert!(text.contains("there is no Secret \"api\""), "{text}");
}

#[test]
fn the_hash_is_what_a_gateway_would_report() {
    let cluster =
        cluster(json!({"channels": [{"match": "a"}], "gateway": {"log": {"level": "debug"}}}));
    let found = found(&cluster, &[]);
    let config = validate(&cluster, &defaults(), &found).unwrap().config;
    let mut loaded =
        super::load(&config.boot, &config.from_secrets, &found.values, &config.file).unwrap();
    // A gateway reads the keys from the file that it is told of.
    assert_eq!(loaded.api.keys_file(), Some("/etc/push/keys.yaml"));
    loaded.api.keys = gateway_config::api_keys(config.keys.as_bytes(), "keys").unwrap();
    assert_eq!(loaded.api.keys.len(), 1);
    assert_eq!(loaded.log.level, "debug");
    assert_eq!(config.expected_hash, Some(gateway::reload::config_hash(&loaded)));
}

#[test]
fn the_generation_rises_with_the_streams_settings_only() {
    let mut cluster = cluster(
        json!({"channels": [{"match": "a", "history": {"maxMessages": 1, "maxAge": "1h"}}]}),
    );
    let mut found = found(&cluster, &[]);
    let first = validate(&cluster, &defaults(), &found).unwrap().config.stream;
    found.stream = Some(first.clone());

    cluster.metadata.generation = Some(8);
    cluster.spec.replicas = 9;
    let scaled = validate(&cluster, &defaults(), &found).unwrap().config;
    assert_eq!(scaled.stream, first, "gateways have nothing to read again");

    cluster.metadata.generation = Some(9);
    cluster.spec.channels[0].history.as_mut().unwrap().max_messages = 2;
    let changed = validate(&cluster, &defaults(), &found).unwrap().config;
    assert!(changed.stream.1 > first.1);
    assert!(changed.file.contains(&format!("generation: {}", changed.stream.1)));
}

#[test]
fn how_much_history_all_channels_keep_is_a_setting_of_the_stream() {
    let mut cluster = cluster(json!({}));
    let mut found = found(&cluster, &[]);
    let first = validate(&cluster, &defaults(), &found).unwrap().config;
    let relay = |file: &str| {
        let tree: serde_json::Value = serde_saphyr::from_str(file).unwrap();
        tree["relay"].clone()
    };
    assert_eq!(relay(&first.file), json!({"replicas": 3}));
    found.stream = Some(first.stream.clone());
    cluster.metadata.generation = Some(8);
    let nats = cluster.spec.nats.get_or_insert_default();
    nats.history_bytes = Some(5_000_000_000);
    let changed = validate(&cluster, &defaults(), &found).unwrap().config;
    assert!(changed.stream.1 > first.stream.1);
    assert_eq!(changed.boot, first.boot, "nothing restarts");
    assert_eq!(relay(&changed.file), json!({"replicas": 3, "historyBytes": 5_000_000_000_u64}));

    // Who runs takes the generation, so it must know the replicas, too.
    cluster.spec.nats.get_or_insert_default().stream_replicas = Some(1);
    let fewer = validate(&cluster, &defaults(), &found).unwrap().config;
    assert_eq!(fewer.boot, first.boot, "nothing restarts");
    assert_eq!(relay(&fewer.file)["replicas"], 1);

    cluster.spec.nats.get_or_insert_default().history_bytes = Some(1_500_000);
    let text = validate(&cluster, &defaults(), &found).unwrap_err().to_string();
    assert!(text.contains("spec.nats.historyBytes: takes at least 2000000"), "{text}");
}
