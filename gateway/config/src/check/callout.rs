//! Apps that are asked, over NATS.

use super::Findings;
use crate::{Callout, Config, Period};

/// A client waits for it, and so does a connection's place.
const LONGEST: Period = Period::from_secs(30);

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let Some(callout) = &config.auth.callout else { return };
    if asks_anybody(callout) && config.relay.is_memory() {
        findings.add(
            "auth.callout",
            "asks an app over NATS, and `relay.url` is `memory`; set `relay.url` to the servers of NATS, or remove `auth.callout`",
        );
    }
    if let Some(connect) = &callout.connect {
        one(config, "auth.callout.connect", connect.subject.as_deref(), connect.timeout, findings);
    }
    for (index, rule) in callout.subscribe.iter().enumerate() {
        let path = format!("auth.callout.subscribe[{index}]");
        one(config, &path, rule.subject.as_deref(), rule.timeout, findings);
    }
}

fn asks_anybody(callout: &Callout) -> bool {
    callout.connect.is_some() || !callout.subscribe.is_empty()
}

fn one(
    config: &Config,
    path: &str,
    subject: Option<&str>,
    timeout: Period,
    findings: &mut Findings,
) {
    if timeout.get().is_zero() || timeout > LONGEST {
        findings.add(format!("{path}.timeout"), "takes a time longer than 0 and up to 30s");
    }
    let Some(subject) = subject else { return };
    let token = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
    };
    if !subject.split('.').all(token) || subject.starts_with('$') {
        findings.add(
            format!("{path}.subject"),
            "takes a NATS subject without wildcards, as in `push.in.$auth.connect`",
        );
        return;
    }
    let own = subject.strip_prefix(&config.relay.prefix).and_then(|rest| rest.strip_prefix('.'));
    let first = own.and_then(|rest| rest.split('.').next());
    if matches!(first, Some("pub" | "live" | "ctl")) {
        findings.add(
            format!("{path}.subject"),
            format!("is one of the gateways' own; take one under `{}.in.`", config.relay.prefix),
        );
    }
}
