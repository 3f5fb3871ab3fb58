//! API keys, and how tokens are verified.

use super::Findings;
use crate::{ApiKey, Config, Jwt, Period};

/// More would be no leeway but a longer life for every token.
const MOST_LEEWAY: Period = Period::from_secs(300);

pub(super) fn check(config: &Config, findings: &mut Findings) {
    api_keys(config, findings);
    if let Some(key) = &config.auth.jwt {
        jwt(key, findings);
    } else if config.auth.anonymous == Some(false) && !config.auth.asks_who() {
        findings.add(
            "auth.anonymous",
            "nobody could connect: neither without a token nor, as `auth.jwt` is not set, with one; set `auth.jwt`, or `auth.anonymous: true`",
        );
    }
}

fn api_keys(config: &Config, findings: &mut Findings) {
    if config.api.keys_file().is_some() && !config.api.keys.is_empty() {
        let message = "takes the place of `api.keys`; set one of them";
        findings.add("api.keysFile", message);
    }
    list(&config.api.keys, "api.keys", findings);
}

/// A list of keys that stands under `at`.
pub(super) fn list(keys: &[ApiKey], at: &str, findings: &mut Findings) {
    for (index, key) in keys.iter().enumerate() {
        let path = |field: &str| format!("{at}[{index}].{field}");
        let before = &keys[..index];
        if key.name.trim().is_empty() || key.name.chars().any(char::is_control) {
            findings
                .add(path("name"), "takes a name, as in `shop`; it is shown in logs and metrics");
        } else if let Some(first) = before.iter().position(|other| other.name == key.name) {
            let message = format!(
                "`{}` is the name of `{at}[{first}]` too; give each key its own",
                key.name.escape_debug()
            );
            findings.add(path("name"), message);
        }
        if key.sha256.len() != 64 || !key.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            // Not shown: it may be the key itself.
            findings.add(
                path("sha256"),
                "takes the key's SHA-256 in 64 hexadecimal digits, not the key; make it with `printf %s \"$KEY\" | sha256sum`",
            );
        } else if let Some(first) =
            before.iter().position(|other| other.sha256.eq_ignore_ascii_case(&key.sha256))
        {
            let message = format!("is the key of `{at}[{first}]` too; make a key for each name");
            findings.add(path("sha256"), message);
        }
        if key.scopes.is_empty() {
            let message =
                "is empty, so the key could do nothing; list `publish`, `read` or `admin`";
            findings.add(path("scopes"), message);
        }
    }
}

fn jwt(jwt: &Jwt, findings: &mut Findings) {
    const SHARED: [&str; 3] = ["HS256", "HS384", "HS512"];
    const PUBLIC: [&str; 9] =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

    let set = [
        ("secret", jwt.secret.is_some()),
        ("publicKey", jwt.public_key.is_some()),
        ("jwksUrl", jwt.jwks_url.is_some()),
    ];
    let set: Vec<_> = set.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    match set.as_slice() {
        [_] => {}
        [] => findings.add(
            "auth.jwt",
            "has no key to verify tokens with; set one of `secret`, `publicKey` and `jwksUrl`",
        ),
        several => findings.add(
            "auth.jwt",
            format!("has `{}`; keep exactly one of them", several.join("` and `")),
        ),
    }
    if jwt.secret.as_ref().is_some_and(String::is_empty) {
        findings.add(
            "auth.jwt.secret",
            "is empty; take 32 random bytes or more, as from `openssl rand -base64 32`",
        );
    }
    if let Some(key) = &jwt.public_key {
        if key.contains("PRIVATE KEY") {
            findings.add(
                "auth.jwt.publicKey",
                "is a private key; the gateway needs only the public one (`openssl pkey -pubout`)",
            );
        } else if !key.trim_start().starts_with("-----BEGIN ") {
            findings.add(
                "auth.jwt.publicKey",
                "is not PEM; it begins with `-----BEGIN PUBLIC KEY-----` and keeps its line breaks (write it after `publicKey: |`)",
            );
        }
    }
    if let Some(url) = &jwt.jwks_url {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            findings.add(
                "auth.jwt.jwksUrl",
                "takes a URL, as in `https://id.example.com/.well-known/jwks.json`",
            );
        }
    }
    for (index, name) in jwt.algorithms.iter().enumerate() {
        let path = format!("auth.jwt.algorithms[{index}]");
        let (fits, why) = match set.as_slice() {
            ["secret"] => (SHARED.contains(&name.as_str()), "with `secret`"),
            // A public key taken for a shared secret is the classic forgery
            // (RFC 8725, section 2.1).
            _ => (PUBLIC.contains(&name.as_str()), "with a public key"),
        };
        if !fits {
            let these = if why == "with `secret`" { &SHARED[..] } else { &PUBLIC[..] };
            let message = format!(
                "`{}` does not go {why}; take of {}",
                name.escape_debug(),
                these.join(", ")
            );
            findings.add(path, message);
        }
    }
    if jwt.leeway.is_some_and(|leeway| leeway > MOST_LEEWAY || leeway.as_millis() % 1_000 != 0) {
        findings.add(
            "auth.jwt.leeway",
            "takes whole seconds up to 5m; clocks that differ by more need mending",
        );
    }
    for (name, claim) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
        if claim.as_ref().is_some_and(String::is_empty) {
            let message = "is empty, so no token would fit; set it or remove it";
            findings.add(format!("auth.jwt.{name}"), message);
        }
    }
}
