//! Variables of the environment.

use crate::tests::read;
use crate::{Config, Sources};

/// A variable, its value, and what is said of it.
#[rustfmt::skip]
const VARIABLES: &[(&str, &str, &str)] = &[
    (
        "PUSH_CLIENT_SHARDS",
        "x",
        "PUSH_CLIENT_SHARDS: client.shards: takes a whole number from 0 to 1024, not `x`",
    ),
    (
        "PUSH_CHANNELS",
        "[{match: a, foo: b}]",
        "PUSH_CHANNELS:1:13: channels[0].foo: unknown key; the keys here are `anonymous`, `clientPublish`, `history`, `match`, `maxPayload` and `slowConsumer`",
    ),
    (
        "PUSH_CHANNELS",
        "[{",
        "PUSH_CHANNELS:1:2: channels: is not YAML: unclosed bracket '{'; look at the indentation, quotes and brackets here and above",
    ),
    (
        "PUSH_PEER_TLS",
        "s3",
        "PUSH_PEER_TLS:1:1: peer.tls: takes a section with `ca`, `cert`, `key` and `serverName`, not text",
    ),
    (
        "PUSH_INSECURE",
        "1",
        "PUSH_INSECURE: insecure: takes true or false, not `1`",
    ),
    (
        "PUSH_AUTH_JWT",
        "{secret: hunter2, isuer: a}",
        "PUSH_AUTH_JWT:1:19: auth.jwt.isuer: unknown key; did you mean `issuer`?",
    ),
];

#[rustfmt::skip]
/// Variables that set nothing; a warning is said of each.
const UNKNOWN: &[(&str, &str, &str)] = &[
    (
        "PUSH_CLIENT_LISEN",
        "x",
        "PUSH_CLIENT_LISEN: unknown variable, it sets nothing; did you mean `PUSH_CLIENT_LISTEN`?",
    ),
    (
        "PUSH_API_PORT_8081_TCP",
        "tcp://10.0.0.1:8081",
        "PUSH_API_PORT_8081_TCP: comes from Kubernetes' service links and sets nothing; `enableServiceLinks: false` in the pod's spec turns them off",
    ),
    (
        "PUSH_API_PORT",
        "tcp://1.2.3.4:5",
        "PUSH_API_PORT: comes from Kubernetes' service links and sets nothing; `enableServiceLinks: false` in the pod's spec turns them off",
    ),
    (
        "PUSH_API_SERVICE_HOST",
        "1.2.3.4",
        "PUSH_API_SERVICE_HOST: comes from Kubernetes' service links and sets nothing; `enableServiceLinks: false` in the pod's spec turns them off",
    ),
    (
        "PUSH_LIVE_SERVICE_PORT_HTTP",
        "80",
        "PUSH_LIVE_SERVICE_PORT_HTTP: comes from Kubernetes' service links and sets nothing; `enableServiceLinks: false` in the pod's spec turns them off",
    ),
    (
        "PUSH_WHATEVER_ELSE",
        "1",
        "PUSH_WHATEVER_ELSE: unknown variable; it sets nothing in this version",
    ),
    (
        "PUSH_API_KEY",
        "s3",
        "PUSH_API_KEY: unknown variable, it sets nothing; did you mean `PUSH_API_KEYS`?",
    ),
];

#[test]
fn an_unknown_variable_is_worth_a_warning_and_no_refusal() {
    for (name, value, expected) in UNKNOWN {
        let environment = vec![((*name).to_owned(), (*value).to_owned())];
        let sources = Sources { environment, ..Sources::default() };
        assert_eq!(sources.load().unwrap(), Config::default(), "{name}");
        let warned: Vec<_> = sources.unknown_variables().iter().map(ToString::to_string).collect();
        assert_eq!(warned, [*expected]);
    }
}

#[test]
fn every_bad_variable_is_refused_in_words_that_say_what_to_do() {
    for (name, value, expected) in VARIABLES {
        let error = read("", &[(name, value)], &[]).unwrap_err();
        assert_eq!(error.to_string(), *expected, "\n{name}={value}");
    }
}
