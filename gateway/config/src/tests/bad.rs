//! Bad configurations, each with the exact words that a person gets: what
//! stands in `push.yaml`, and what is said of it.
//!
//! # Layout
//!
//! - `listeners`, `socketio`, `auth`, `channels`, `cluster`: sections of it
//! - `yaml`: what is not even YAML
//! - `variables`: the environment
//! - `keys`: lists of API keys in files of their own

use super::errors;

mod auth;
mod channels;
mod cluster;
mod keys;
mod listeners;
mod socketio;
mod variables;
mod yaml;

/// What stands in `push.yaml`, and what is said of it, by subject.
const FILES: [&[(&str, &str)]; 7] = [
    listeners::FILES,
    socketio::FILES,
    auth::FILES,
    channels::FILES,
    cluster::FILES,
    yaml::FILES,
    REST,
];

/// Small sections.
#[rustfmt::skip]
const REST: &[(&str, &str)] = &[
    (
        "upstreams: [{match: '>', nats: true}]",
        "push.yaml:1:1: upstreams: is not available in this version; remove it",
    ),
    (
        "limits: {messagesPerSecond: 50/s}",
        "push.yaml:1:29: limits.messagesPerSecond: takes a whole number from 0 on, not `50/s`",
    ),
    (
        "limits: {headerBytes: 100}",
        "push.yaml:1:23: limits.headerBytes: takes a whole number from 8192 on, not `100`",
    ),
    (
        "limits: {bodyTimeout: 0s}",
        "push.yaml:1:23: limits.bodyTimeout: takes a time longer than 0, as in 10s",
    ),
    (
        "log: {level: loud}",
        "push.yaml:1:14: log.level: takes `error`, `warn`, `info`, `debug`, `trace` or `off`, or a filter such as `info,gateway::hub=debug`",
    ),
    (
        "log: {format: xml}",
        "push.yaml:1:15: log.format: takes `text` or `json`, not `xml`",
    ),
    (
        "drain: {period: 1 minute}",
        "push.yaml:1:17: drain.period: `1 minute` is not a length of time; write a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
];

#[test]
fn every_bad_file_is_refused_in_words_that_say_what_to_do() {
    for (text, expected) in FILES.into_iter().flatten() {
        assert_eq!(errors(text), *expected, "\n{text}");
    }
}
