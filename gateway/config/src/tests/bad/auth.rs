//! Who may connect, and the API's keys.

#[rustfmt::skip]
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "auth: {anonymous: yes}",
        "push.yaml:1:19: auth.anonymous: takes true or false, not `yes`",
    ),
    (
        "auth: {anonymous: 'true'}",
        "push.yaml:1:19: auth.anonymous: takes true or false; remove the quotes",
    ),
    (
        "auth: {anonymous: false}",
        "push.yaml:1:19: auth.anonymous: nobody could connect: neither without a token nor, as `auth.jwt` is not set, with one; set `auth.jwt`, or `auth.anonymous: true`",
    ),
    (
        "auth: {jwt: {}}",
        "push.yaml:1:8: auth.jwt: has no key to verify tokens with; set one of `secret`, `publicKey` and `jwksUrl`",
    ),
    (
        "auth: {jwt: {secret: a, jwksUrl: https://a/}}",
        "push.yaml:1:8: auth.jwt: has `secret` and `jwksUrl`; keep exactly one of them",
    ),
    (
        "auth: {jwt: {secret: a, leeway: 10m}}",
        "push.yaml:1:33: auth.jwt.leeway: takes whole seconds up to 5m; clocks that differ by more need mending",
    ),
    (
        "auth: {callout: {connect: {}}}",
        "push.yaml:1:8: auth.callout: asks an app over NATS, and `relay.url` is `memory`; set `relay.url` to the servers of NATS, or remove `auth.callout`",
    ),
    (
        "auth: {jwt: {secret: ''}}",
        "push.yaml:1:22: auth.jwt.secret: is empty; take 32 random bytes or more, as from `openssl rand -base64 32`",
    ),
    (
        "auth: {jwt: {jwksUrl: id.example.com}}",
        "push.yaml:1:23: auth.jwt.jwksUrl: takes a URL, as in `https://id.example.com/.well-known/jwks.json`",
    ),
    (
        "auth: {jwt: {publicKey: MIIB}}",
        "push.yaml:1:25: auth.jwt.publicKey: is not PEM; it begins with `-----BEGIN PUBLIC KEY-----` and keeps its line breaks (write it after `publicKey: |`)",
    ),
    (
        "auth: {jwt: {secret: a, algorithms: [RS256]}}",
        "push.yaml:1:38: auth.jwt.algorithms[0]: `RS256` does not go with `secret`; take of HS256, HS384, HS512",
    ),
    (
        "auth: {jwt: {publicKey: '-----BEGIN PUBLIC KEY-----', algorithms: [HS256]}}",
        "push.yaml:1:68: auth.jwt.algorithms[0]: `HS256` does not go with a public key; take of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
    ),
    (
        "auth: {jwt: {secret: a, issuer: ''}}",
        "push.yaml:1:33: auth.jwt.issuer: is empty, so no token would fit; set it or remove it",
    ),
    (
        "auth: {jwt: {secret: a, algoritms: [HS256]}}",
        "push.yaml:1:25: auth.jwt.algoritms: unknown key; did you mean `algorithms`?",
    ),
    (
        "api: {keys: [{name: a}]}",
        "push.yaml:1:14: api.keys[0].scopes: is missing; it takes a list: `[…]`
push.yaml:1:14: api.keys[0].sha256: is missing; it takes text",
    ),
    (
        "api: {keys: [{name: a, sha256: abc, scopes: [publish]}]}",
        r#"push.yaml:1:32: api.keys[0].sha256: takes the key's SHA-256 in 64 hexadecimal digits, not the key; make it with `printf %s "$KEY" | sha256sum`"#,
    ),
    (
        "api: {keys: {name: a}}",
        "push.yaml:1:13: api.keys: takes a list: `- name: …`, not a section",
    ),
    (
        "api: {keys: [{name: a, sha256: &h 0000000000000000000000000000000000000000000000000000000000000001, scopes: [publish]}, {name: a, sha256: *h, scopes: [write]}]}",
        "push.yaml:1:152: api.keys[1].scopes[0]: takes `publish`, `read` or `admin`, not `write`",
    ),
    (
        "api: {keys: [{name: a, sha256: &h 0000000000000000000000000000000000000000000000000000000000000001, scopes: [publish]}, {name: a, sha256: *h, scopes: []}]}",
        "push.yaml:1:128: api.keys[1].name: `a` is the name of `api.keys[0]` too; give each key its own
push.yaml:1:35: api.keys[1].sha256: is the key of `api.keys[0]` too; make a key for each name
push.yaml:1:143: api.keys[1].scopes: is empty, so the key could do nothing; list `publish`, `read` or `admin`",
    ),
    (
        "api: {keysFile: k, keys: [{name: a, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, scopes: [read]}]}",
        "push.yaml:1:17: api.keysFile: takes the place of `api.keys`; set one of them",
    ),
];
