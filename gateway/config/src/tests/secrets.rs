//! What is secret is in no error and no debug output.

use super::read;
use crate::Sources;

#[test]
fn no_error_shows_a_secret() {
    const SECRET: &str = "hunter2correcthorse";
    for text in [
        "auth: {jwt: {secret: [SECRET]}}",
        "auth: {jwt: {secret: {SECRET: 1}, publicKey: a, jwksUrl: SECRET}}",
        "auth: {jwt: SECRET}",
        "auth:\n  jwt: secret:SECRET",
        "auth:\n  jwt: {secret:SECRET}",
        "auth: secret:SECRET",
        "auth: {jwt: {secret: SECRET, publicKey: SECRET}}",
        "auth: {jwt: {publicKey: SECRET}}",
        "auth: {jwt: {jwksUrl: 'ftp://u:SECRET@h/'}}",
        "auth: {jwt: {secret: SECRET, issuer: ''}}",
        "auth: {jwt: {secret: \"SECRET}}",
        "auth: {jwt: {secret: *SECRET}}",
        "auth: {jwt: {secret: !SECRET x}}",
        "auth: {jwt: {secret: %SECRET}}",
        "auth:\n  jwt:\n    secret: SECRET\n   issuer: x",
        "api: {keys: [{name: a, sha256: SECRET, scopes: [publish]}]}",
        "api: {keys: [{name: a, sha256: SECRET, scopes: publish}]}",
        "api: {keys: [SECRET]}",
        "relay: {url: 'http://push:SECRET@nats:4222'}",
        "relay: {password: SECRET}",
        "relay: {user: a, password: [SECRET]}",
        "relay: {token: [SECRET]}",
        "relay: {password:SECRET}",
        "peer: {secret: [SECRET]}",
        "peer: {secret: SECRET, listen: '*'}",
        "peer: {secret:SECRET}",
    ] {
        let text = text.replace("SECRET", SECRET);
        let error = read(&text, &[], &[]).expect_err(&text).to_string();
        // A mapping in place of the secret: there the text is a key's name.
        assert!(!error.contains(SECRET), "{text}\n{error}");
    }
    for (name, value) in [
        ("PUSH_AUTH_JWT", "secret:SECRET"),
        ("PUSH_AUTH_JWT", "{secret: SECRET, isuer: a}"),
        ("PUSH_AUTH_JWT", "{secret: \"SECRET"),
        ("PUSH_PEER_TLS", "secret:SECRET"),
        ("PUSH_RELAY_URL", "http://u:SECRET@h"),
        ("PUSH_API_KEYS", "[{name: a, sha256: SECRET, scopes: [publish]}]"),
        ("PUSH_API_KEYS", "SECRET"),
    ] {
        let value = value.replace("SECRET", SECRET);
        let error = read("", &[(name, &value)], &[]).expect_err(&value).to_string();
        assert!(!error.contains(SECRET), "{name}={value}\n{error}");
        let flag = name["PUSH_".len()..].to_lowercase().replace('_', "-");
        let error = read("", &[], &[(&flag, &value)]).expect_err(&value).to_string();
        assert!(!error.contains(SECRET), "--{flag} {value}\n{error}");
    }
}

#[test]
fn no_warning_shows_a_secret() {
    for name in ["PUSH_PEER", "PUSH_API_KEY", "PUSH_RELAY_PASSWROD"] {
        let environment = vec![(name.to_owned(), "secret:hunter2".to_owned())];
        let sources = Sources { environment, ..Sources::default() };
        let warned = format!("{:?}", sources.unknown_variables());
        assert!(warned.contains(name) && !warned.contains("hunter2"), "{warned}");
    }
}

#[test]
fn debug_output_hides_secrets() {
    let config = read("auth: {jwt: {secret: hunter2correcthorse}}", &[], &[]).unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("secret: Some") && !shown.contains("hunter2"), "{shown}");
    let config = read("peer: {secret: hunter2correcthorse}", &[], &[]).unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("secret: Some") && !shown.contains("hunter2"), "{shown}");
    let relay = "peer: {secret: hunter2correcthorse}\nrelay: {url: 'nats://u:hunter2correcthorse@h', token: hunter2correcthorse}";
    let shown = format!("{:?}", read(relay, &[], &[]).unwrap());
    assert!(shown.contains("token: Some") && !shown.contains("hunter2"), "{shown}");
}
