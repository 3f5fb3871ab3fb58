//! Values that make no sense, and doors left open to strangers.
//!
//! What the schema can say (kinds, ranges) is checked with the schema; the
//! rest is here, by section.

mod callout;
mod channels;
mod doors;
mod keys;
mod socketio;

use crate::error::{Origin, Problem};
use crate::fit::fit;
use crate::node::from_json;
use crate::schema::Shape;
use crate::{ApiKey, Config, Log, Period, Relay};

/// Everything about a configuration that makes no sense or is not safe, each
/// with its key and what to do. Empty: it can be used.
pub fn check(config: &Config) -> Vec<Problem> {
    let mut findings = Findings(out_of_range(config));
    doors::check(config, &mut findings);
    keys::check(config, &mut findings);
    callout::check(config, &mut findings);
    socketio::check(&config.socketio, &mut findings);
    channels::check(&config.channels, &mut findings);
    relay(&config.relay, &mut findings);
    history_bytes(config, &mut findings);
    log(&config.log, &mut findings);
    findings.longer_than_nothing("limits.handshakeTimeout", config.limits.handshake_timeout);
    findings.longer_than_nothing("limits.headerTimeout", config.limits.header_timeout);
    findings.longer_than_nothing("limits.bodyTimeout", config.limits.body_timeout);
    findings.0
}

/// The same of a list of API keys by itself.
pub(crate) fn check_api_keys(api_keys: &[ApiKey]) -> Vec<Problem> {
    let mut findings = Findings(Vec::new());
    if api_keys.is_empty() {
        findings.add("", "is an empty list, so no app could publish; list at least one key");
    }
    keys::list(api_keys, "", &mut findings);
    findings.0
}

/// What is found on the way.
struct Findings(Vec<Problem>);

// === impl Findings ===

impl Findings {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::new(path, message));
    }

    fn longer_than_nothing(&mut self, path: &str, period: Period) {
        if period.get().is_zero() {
            self.add(path, "takes a time longer than 0, as in 10s");
        }
    }
}

/// What the schema says of a configuration that was not read but made.
fn out_of_range(config: &Config) -> Vec<Problem> {
    let origin = Origin { source: "".into(), place: None };
    let json = serde_json::to_value(config).unwrap_or_default();
    let (_, mut problems) = fit(&from_json(&json, &origin), &Shape::root());
    for problem in &mut problems {
        problem.origin = None;
    }
    problems
}

fn relay(relay: &Relay, findings: &mut Findings) {
    if !relay.is_memory() && !relay.url.split(',').all(|url| is_nats(url.trim())) {
        // Not shown: it may hold a password.
        findings.add(
            "relay.url",
            "takes `memory`, or servers of one NATS cluster separated by `,`, as in `nats://a:4222,nats://b:4222` or `tls://nats.example.com:4222`",
        );
    }
    let set = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
    if set(&relay.user) != set(&relay.password) {
        findings.add("relay.user", "goes with `relay.password`; set both or none");
    }
    let ways = [&relay.user, &relay.token, &relay.credentials, &relay.nkey];
    if ways.into_iter().filter(|way| set(way)).count() > 1 {
        findings.add(
            "relay.user",
            "is one of four ways to log in; set one of `user` with `password`, `token`, `credentials` and `nkey`",
        );
    }
    if let Some(tls) = &relay.tls
        && set(&tls.cert) != set(&tls.key)
    {
        findings.add("relay.tls.cert", "goes with `relay.tls.key`; set both or none");
    }
    let subject = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    if !relay.prefix.split('.').all(subject) {
        findings.add(
            "relay.prefix",
            "takes letters, digits, `_` and `-` in tokens separated by `.`, as in `push` or `team.live`",
        );
    }
    if !matches!(relay.replicas, 1 | 3 | 5) {
        findings.add("relay.replicas", "takes 1, 3 or 5; an even number survives no more faults");
    }
}

/// A stream that one publication overfills would keep not even that one.
fn history_bytes(config: &Config, findings: &mut Findings) {
    let least = config.limits.publication_bytes.saturating_mul(2);
    if config.relay.history_bytes.is_some_and(|bytes| bytes < least) {
        findings.add(
            "relay.historyBytes",
            format!(
                "takes at least {least}, twice `limits.publicationBytes`, so that the newest publication always has room"
            ),
        );
    }
}

/// `nats://host:4222`, `tls://[::1]:4222`; a user and password may stand
/// before the host.
fn is_nats(url: &str) -> bool {
    let rest = ["nats://", "tls://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
    let host = rest.map(|rest| rest.rsplit_once('@').map_or(rest, |(_, host)| host));
    host.is_some_and(|host| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
    })
}

fn log(log: &Log, findings: &mut Findings) {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let target = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b))
    };
    let directive = |part: &str| match part.trim().split_once('=') {
        Some((name, word)) => target(name) && level(word),
        None => level(part.trim()),
    };
    if !log.level.split(',').all(directive) {
        findings.add(
            "log.level",
            "takes `error`, `warn`, `info`, `debug`, `trace` or `off`, or a filter such as `info,gateway::hub=debug`",
        );
    }
}
