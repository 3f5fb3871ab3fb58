//! Listeners: their addresses, and what stands open to strangers.

use super::Findings;
use crate::listen::{Listen, advertised};
use crate::{Admin, Api, Client, Config, Network};

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let listeners = [
        ("client.listen", &config.client.listen),
        ("api.listen", &config.api.listen),
        ("admin.listen", &config.admin.listen),
    ];
    let peer = config.peer.listen().map(|_| ("peer.listen", &config.peer.listen));
    let defaults = [Client::default().listen, Api::default().listen, Admin::default().listen];
    let mut good: Vec<(&str, Listen)> = Vec::new();
    for (path, text) in listeners.into_iter().chain(peer) {
        match Listen::parse(text) {
            Ok(listen) => {
                if let Some((other, _)) = good.iter().find(|(_, have)| have.collides(&listen)) {
                    // Blame the one that was written, not the other's default.
                    let (blamed, other) =
                        if defaults.contains(text) { (*other, path) } else { (path, *other) };
                    let message =
                        format!("`{text}` is also that of `{other}`; give each its own port");
                    findings.add(blamed, message);
                }
                good.push((path, listen));
            }
            Err(message) => findings.add(path, message),
        }
    }
    if !config.insecure {
        let off_loopback =
            |path: &str| good.iter().any(|(have, listen)| *have == path && !listen.is_loopback());
        if off_loopback("client.listen")
            && config.auth.jwt.is_none()
            && config.auth.anonymous.is_none()
            && !config.auth.asks_who()
        {
            findings.add(
                "client.listen",
                "strangers could connect here; set `auth.jwt`, or `auth.anonymous: true` if they may, or listen on 127.0.0.1 (`insecure: true` turns this check off)",
            );
        }
        if off_loopback("api.listen")
            && config.api.keys.is_empty()
            && config.api.keys_file().is_none()
        {
            findings.add(
                "api.listen",
                "strangers could publish here; set `api.keys` or `api.keysFile`, or listen on 127.0.0.1 (`insecure: true` turns this check off)",
            );
        }
        if off_loopback("peer.listen") && config.peer.secret().is_none() {
            findings.add(
                "peer.listen",
                "strangers could speak for clients here; set `peer.secret`, or listen on 127.0.0.1 (`insecure: true` turns this check off)",
            );
        }
    }
    peers(config, &good, findings);
    for (section, tls) in [("client.tls", &config.client.tls), ("api.tls", &config.api.tls)] {
        let Some(tls) = tls.as_ref().filter(|tls| tls.is_set()) else { continue };
        let files = [("cert", &tls.cert), ("key", &tls.key)];
        for (name, _) in files.iter().filter(|(_, path)| path.is_empty()) {
            let message = "is missing; `cert` and `key` go together";
            findings.add(format!("{section}.{name}"), message);
        }
    }
    for (index, proxy) in config.client.trusted_proxies.iter().enumerate() {
        if let Err(error) = proxy.parse::<Network>() {
            findings.add(format!("client.trustedProxies[{index}]"), error.to_string());
        }
    }
    if config.client.trusted_hops > 1 && config.client.trusted_proxies.is_empty() {
        findings.add(
            "client.trustedHops",
            "counts proxies, and none is trusted; list the addresses of the last one in `client.trustedProxies`",
        );
    }
    for (index, origin) in config.client.allowed_origins.iter().enumerate() {
        if let Err(message) = origin_form(origin) {
            findings.add(format!("client.allowedOrigins[{index}]"), message);
        }
    }
}

/// What gateways need to know each other.
fn peers(config: &Config, good: &[(&str, Listen)], findings: &mut Findings) {
    if !config.relay.is_memory() && config.peer.secret().is_none() {
        findings.add(
            "peer.secret",
            "is missing; with NATS every gateway of the cluster needs the same one, such as the output of `openssl rand -hex 32`",
        );
    }
    let listens = |path| good.iter().find(|(have, _)| *have == path).map(|(_, listen)| listen);
    match config.peer.advertise.as_deref().filter(|address| !address.is_empty()) {
        Some(_) if config.peer.listen().is_none() => findings.add(
            "peer.advertise",
            "says where `peer.listen` is reached; set that too, or remove it",
        ),
        Some(address) => match advertised(address, &config.peer.listen)
            .and_then(|address| Listen::parse(&address))
        {
            Ok(address) if address.is_everywhere() => {
                findings.add("peer.advertise", "takes the one address that other gateways connect to");
            }
            Ok(_) => {}
            Err(message) => findings.add("peer.advertise", message),
        },
        None if listens("peer.listen").is_some_and(Listen::is_everywhere) => findings.add(
            "peer.advertise",
            "is missing; `peer.listen` is every address of this machine, so say at which one other gateways reach it",
        ),
        None => {}
    }
    if let Some(tls) = &config.peer.tls {
        let files = [("cert", &tls.cert), ("key", &tls.key), ("ca", &tls.ca)];
        for (name, _) in files.iter().filter(|(_, path)| path.is_empty()) {
            let message = "is missing; gateways show each other certificates, so `cert`, `key` and `ca` go together";
            findings.add(format!("peer.tls.{name}"), message);
        }
        if let Some(name) = &tls.server_name
            && !is_name(name)
        {
            findings.add(
                "peer.tls.serverName",
                "takes a host name or an IP address that stands in the certificates, as in `live-peers`",
            );
        }
    }
}

/// What a certificate may carry as a name: a host's, or an address.
fn is_name(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok()
        || (name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        }) && name.len() <= 253)
}

/// An origin as browsers send it (RFC 6454, section 6.2).
fn origin_form(origin: &str) -> Result<(), String> {
    if origin == "*" || origin == "null" {
        return Ok(());
    }
    let form = "takes `*`, or an origin as browsers send it, as in `https://app.example.com`, `http://localhost:3000` or `https://*.example.com`";
    let Some((scheme, rest)) = origin.split_once("://") else {
        return Err(format!("{form}; `{}` has no scheme", origin.escape_debug()));
    };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.')
        });
    if rest.contains(['/', '?', '#', '@']) {
        return Err(format!("{form}; leave out what follows the host and port"));
    }
    let rest = rest.strip_prefix("*.").unwrap_or(rest);
    if rest.contains('*') {
        return Err(format!(
            "{form}; a `*` stands for the beginning of a host, with a `.` after it"
        ));
    }
    // An IPv6 address has colons of its own, in brackets.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let host_ok = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._[]:".contains(&b));
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if scheme_ok && host_ok && port_ok {
        Ok(())
    } else {
        Err(format!("{form}; in small letters, without spaces"))
    }
}
