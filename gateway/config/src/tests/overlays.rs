//! The file, over it the environment, over it flags.

use super::read;
use crate::{Period, Recovery, keys};

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let file =
        "client: {listen: 127.0.0.1:1}\napi: {listen: 127.0.0.1:2}\nadmin: {listen: 127.0.0.1:3}";
    let environment = [("PUSH_API_LISTEN", "127.0.0.1:4"), ("PUSH_ADMIN_LISTEN", "127.0.0.1:5")];
    let config = read(file, &environment, &[("admin-listen", "127.0.0.1:6")]).unwrap();
    assert_eq!(config.client.listen, "127.0.0.1:1");
    assert_eq!(config.api.listen, "127.0.0.1:4");
    assert_eq!(config.admin.listen, "127.0.0.1:6");
    assert_eq!(config.socketio.path, "/socket.io/", "a default stays");
}

#[test]
fn variables_of_every_form_are_read() {
    let config = read(
        "",
        &[
            ("PUSH_INSECURE", "true"),
            ("PUSH_SOCKETIO_PING_INTERVAL", "300ms"),
            ("PUSH_SOCKETIO_MAX_PAYLOAD", " 5000 "),
            ("PUSH_SOCKETIO_RECOVERY", "off"),
            ("PUSH_CLIENT_ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("PUSH_SOCKETIO_NAMESPACES", "[/, '/admin']"),
            ("PUSH_AUTH_JWT", "{issuer: me, algorithms: [HS256]}"),
            ("PUSH_AUTH_JWT_SECRET", "a: b # {c"),
            ("PUSH_CHANNELS", "- {match: orders.>, history: {maxMessages: 10, maxAge: 1h}}"),
            ("PUSHCLUSTER_API_KEY", "belongs to the client commands"),
            ("HOME", "/"),
        ],
        &[],
    )
    .unwrap();
    assert!(config.insecure);
    assert_eq!(config.socketio.ping_interval, Period::from_millis(300));
    assert_eq!(config.socketio.max_payload, 5000);
    assert_eq!(config.socketio.recovery, Recovery::Off);
    assert_eq!(config.client.allowed_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.socketio.namespaces, ["/", "/admin"]);
    let jwt = config.auth.jwt.unwrap();
    assert_eq!(jwt.secret.as_deref(), Some("a: b # {c"), "text is taken as it is");
    assert_eq!(jwt.issuer.as_deref(), Some("me"));
    assert_eq!(config.channels[0].history.unwrap().max_messages, 10);
}

#[test]
fn a_variable_may_turn_on_what_the_file_turns_off() {
    let variables = [("PUSH_SOCKETIO_RECOVERY_MAX_DISCONNECTION", "5m")];
    let config = read("socketio: {recovery: off}", &variables, &[]).unwrap();
    let max_disconnection = Period::from_secs(300);
    assert_eq!(config.socketio.recovery, Recovery::On { max_disconnection });
}

#[test]
fn an_empty_list_can_be_said() {
    let config =
        read("client: {allowedOrigins: [\"*\"]}", &[("PUSH_CLIENT_ALLOWED_ORIGINS", "")], &[]);
    assert!(config.unwrap().client.allowed_origins.is_empty());
}

#[test]
fn every_name_of_a_key_is_its_own() {
    let keys = keys::keys();
    for (index, key) in keys.iter().enumerate() {
        let twin = keys[..index].iter().find(|k| k.variable == key.variable || k.flag == key.flag);
        assert!(twin.is_none(), "{} and {twin:?}", key.path);
    }
    let named = |variable: &str| keys.iter().find(|key| key.variable == variable).unwrap();
    assert_eq!(named("PUSH_SOCKETIO_PING_INTERVAL").path, "socketio.pingInterval");
    assert_eq!(named("PUSH_AUTH_JWT_JWKS_URL").flag, "auth-jwt-jwks-url");
    assert_eq!(named("PUSH_CLIENT_LISTEN").default, "127.0.0.1:8080");
    assert!(named("PUSH_INSECURE").switch);
}

#[test]
fn problems_of_several_sources_come_together() {
    let error = read("client: {shards: x}", &[("PUSH_LOG_FORMAT", "xml")], &[("bogus", "1")]);
    let places: Vec<_> = error
        .unwrap_err()
        .problems
        .iter()
        .map(|problem| problem.origin.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(places, ["--bogus", "push.yaml:1:18", "PUSH_LOG_FORMAT"]);
}
