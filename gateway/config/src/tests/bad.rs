//! Bad configurations, each with the exact words that a person gets.

use super::{errors, read};
use crate::{Config, Sources, api_keys};

/// What stands in `push.yaml`, and what is said of it.
#[rustfmt::skip]
const FILES: &[(&str, &str)] = &[
    (
        "client: {lisen: 127.0.0.1:1}",
        "push.yaml:1:10: client.lisen: unknown key; did you mean `listen`?",
    ),
    (
        "client:
  listen: 127.0.0.1:8080
  ping_interval: 3s",
        "push.yaml:3:3: client.ping_interval: unknown key here; did you mean `socketio.pingInterval`?",
    ),
    (
        "clinet: {}",
        "push.yaml:1:1: clinet: unknown key; did you mean `client`?",
    ),
    (
        "listen: 127.0.0.1:8080",
        "push.yaml:1:1: listen: unknown key here; did you mean `admin.listen` or `api.listen` or `client.listen` or `peer.listen`?",
    ),
    (
        "client: {listen: 127.0.0.1:80800}",
        "push.yaml:1:18: client.listen: takes an address and a port, as in `127.0.0.1:8080`, `0.0.0.0:8080`, `[::]:8080` or `:8080`; the port is a number from 0 to 65535",
    ),
    (
        "client: {listen: 8080}",
        "push.yaml:1:18: client.listen: takes an address and a port, as in `127.0.0.1:8080`, `0.0.0.0:8080`, `[::]:8080` or `:8080`; the port is missing",
    ),
    (
        "client: {listen: '::1:8080'}",
        "push.yaml:1:18: client.listen: takes an address and a port, as in `127.0.0.1:8080`, `0.0.0.0:8080`, `[::]:8080` or `:8080`",
    ),
    (
        "client: {listen: }",
        "push.yaml:1:16: client.listen: has no value; it takes text",
    ),
    (
        "client: [a]",
        "push.yaml:1:9: client: takes a section with `allowedOrigins`, `listen`, `proxyProtocol`, `shards`, `tls`, `trustedHops` and `trustedProxies`, not a list",
    ),
    (
        "client: 5",
        "push.yaml:1:9: client: takes a section with `allowedOrigins`, `listen`, `proxyProtocol`, `shards`, `tls`, `trustedHops` and `trustedProxies`, not text",
    ),
    (
        "client: {shards: many}",
        "push.yaml:1:18: client.shards: takes a whole number from 0 to 1024, not `many`",
    ),
    (
        "client: {shards: '2'}",
        "push.yaml:1:18: client.shards: takes a number; remove the quotes",
    ),
    (
        "client: {shards: -1}",
        "push.yaml:1:18: client.shards: takes a whole number from 0 to 1024, not `-1`",
    ),
    (
        "client: {shards: 1.5}",
        "push.yaml:1:18: client.shards: takes a whole number from 0 to 1024, not `1.5`",
    ),
    (
        "client: {allowedOrigins: '*'}",
        "push.yaml:1:26: client.allowedOrigins: takes a list: `[…]`, not text",
    ),
    (
        "client: {allowedOrigins: [https://app.example.com/]}",
        "push.yaml:1:27: client.allowedOrigins[0]: takes `*`, or an origin as browsers send it, as in `https://app.example.com`, `http://localhost:3000` or `https://*.example.com`; leave out what follows the host and port",
    ),
    (
        "client: {allowedOrigins: [app.example.com]}",
        "push.yaml:1:27: client.allowedOrigins[0]: takes `*`, or an origin as browsers send it, as in `https://app.example.com`, `http://localhost:3000` or `https://*.example.com`; `app.example.com` has no scheme",
    ),
    (
        "client: {allowedOrigins: ['https://*example.com', 'https://a.*.example.com', 'https://*']}",
        "push.yaml:1:27: client.allowedOrigins[0]: takes `*`, or an origin as browsers send it, as in `https://app.example.com`, `http://localhost:3000` or `https://*.example.com`; a `*` stands for the beginning of a host, with a `.` after it
push.yaml:1:51: client.allowedOrigins[1]: takes `*`, or an origin as browsers send it, as in `https://app.example.com`, `http://localhost:3000` or `https://*.example.com`; a `*` stands for the beginning of a host, with a `.` after it
push.yaml:1:78: client.allowedOrigins[2]: takes `*`, or an origin as browsers send it, as in `https://app.example.com`, `http://localhost:3000` or `https://*.example.com`; a `*` stands for the beginning of a host, with a `.` after it",
    ),
    (
        "client: {allowedOrigins: ['HTTPS://App.example.com']}",
        "push.yaml:1:27: client.allowedOrigins[0]: takes `*`, or an origin as browsers send it, as in `https://app.example.com`, `http://localhost:3000` or `https://*.example.com`; in small letters, without spaces",
    ),
    (
        "client: {listen: 0.0.0.0:8080}",
        "push.yaml:1:18: client.listen: strangers could connect here; set `auth.jwt`, or `auth.anonymous: true` if they may, or listen on 127.0.0.1 (`insecure: true` turns this check off)",
    ),
    (
        "api: {listen: ':8081'}",
        "push.yaml:1:15: api.listen: strangers could publish here; set `api.keys` or `api.keysFile`, or listen on 127.0.0.1 (`insecure: true` turns this check off)",
    ),
    (
        "client: {listen: 127.0.0.1:8081}",
        "push.yaml:1:18: client.listen: `127.0.0.1:8081` is also that of `api.listen`; give each its own port",
    ),
    (
        "admin: {listen: 0.0.0.0:8080}",
        "push.yaml:1:17: admin.listen: `0.0.0.0:8080` is also that of `client.listen`; give each its own port",
    ),
    (
        "socketio: {pingInterval: 25}",
        "push.yaml:1:26: socketio.pingInterval: `25` is not a length of time; write a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
    (
        "socketio: {pingInterval: 0s}",
        "push.yaml:1:26: socketio.pingInterval: takes a time longer than 0, as in 10s",
    ),
    (
        "socketio: {pingInterval: 30d}",
        "push.yaml:1:26: socketio.pingInterval: is more than 24 days together with `pingTimeout`, which clients' timers can't hold; take 25s",
    ),
    (
        "socketio: {pingInterval: fast}",
        "push.yaml:1:26: socketio.pingInterval: `fast` is not a length of time; write a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
    (
        "socketio: {path: socket.io}",
        "push.yaml:1:18: socketio.path: begins and ends with `/`, as in `/socket.io/`",
    ),
    (
        "socketio: {path: /ws/}",
        "push.yaml:1:18: socketio.path: would stand in the way of `/ws` and `/sse`; take another, as in `/socket.io/`",
    ),
    (
        "socketio: {namespaces: [admin, '/a,b', /x, /x]}",
        "push.yaml:1:25: socketio.namespaces[0]: begins with `/`, as in `/admin`
push.yaml:1:32: socketio.namespaces[1]: has no `,`, no `?` and no control characters, as in `/admin`
push.yaml:1:44: socketio.namespaces[3]: `/x` is listed twice; remove one",
    ),
    (
        "socketio: {namespaces: []}",
        "push.yaml:1:12: socketio.namespaces: is empty, so nobody could connect; list `/`",
    ),
    (
        "socketio: {recovery: never}",
        "push.yaml:1:22: socketio.recovery: takes `off` or `on` or `{maxDisconnection: …}`, not `never`",
    ),
    (
        "socketio: {recovery: {maxDisconnect: 1m}}",
        "push.yaml:1:23: socketio.recovery.maxDisconnect: unknown key; did you mean `maxDisconnection`?
push.yaml:1:22: socketio.recovery.maxDisconnection: is missing; it takes a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
    (
        "socketio: {recovery: {maxDisconnection: 0s}}",
        "push.yaml:1:41: socketio.recovery.maxDisconnection: takes a time longer than 0, as in 2m; `recovery: off` turns recovery off",
    ),
    (
        "socketio: {recovery: [off]}",
        "push.yaml:1:22: socketio.recovery: takes `off` or `on` or `{maxDisconnection: …}`",
    ),
    (
        "socketio: {maxPayload: 0}",
        "push.yaml:1:24: socketio.maxPayload: takes a whole number from 1 on, not `0`",
    ),
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
        "channels:
- {history: {maxMessages: 10, maxAge: 1h}}",
        "push.yaml:2:3: channels[0].match: is missing; it takes a channel pattern, as in `orders.>`",
    ),
    (
        "channels:
- match: 'a..b'",
        "push.yaml:2:10: channels[0].match: the channel pattern `a..b` has an empty token; remove the extra `.`",
    ),
    (
        "channels:
- match: '>.a'",
        "push.yaml:2:10: channels[0].match: the channel pattern `>.a` has `>` before its end; `>` may only be the last token",
    ),
    (
        "channels:
- {match: a, history: {maxMessages: 0, maxAge: 1h}}",
        "push.yaml:2:37: channels[0].history.maxMessages: takes a whole number from 1 to 1000000, not `0`",
    ),
    (
        "channels:
- {match: a, history: {maxMessages: 1000001, maxAge: 1h}}",
        "push.yaml:2:37: channels[0].history.maxMessages: takes a whole number from 1 to 1000000, not `1000001`",
    ),
    (
        "channels:
- {match: a, history: {maxMessages: 10, maxAge: 500ms}}",
        "push.yaml:2:49: channels[0].history.maxAge: takes 1s or more, as in 1h",
    ),
    (
        "channels:
- {match: a, history: {maxMessages: 10}}",
        "push.yaml:2:23: channels[0].history.maxAge: is missing; it takes a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
    (
        "channels:
- {match: 'a.*', history: {maxMessages: 10, maxAge: 1h}}
- {match: b, history: {maxMessages: 1, maxAge: 1s}}
- {match: '*.b', history: {maxMessages: 10, maxAge: 1h}}",
        "push.yaml:4:11: channels[2].match: `*.b` crosses `a.*` of `channels[0]`: both have history, some channels match both, and neither contains the other; make one of them contain the other, or write patterns that share no channel",
    ),
    (
        "channels:
- {match: a, presence: true}",
        "push.yaml:2:14: channels[0].presence: is not available in this version; remove it",
    ),
    (
        "channels:
- {match: news, slowConsumer: latest}
- {match: 'a.*', history: {maxMessages: 10, maxAge: 1h}, slowConsumer: dropOldest}",
        "push.yaml:3:72: channels[1].slowConsumer: `dropOldest` is for channels without history, and the rule for `a.*` has `history`: remove `history`, or use `disconnect`, after which a client resumes without a loss",
    ),
    (
        "channels:
- {match: a, slowConsumer: drop}",
        "push.yaml:2:28: channels[0].slowConsumer: takes `disconnect`, `dropOldest` or `latest`, not `drop`",
    ),
    (
        "channels: {match: a}",
        "push.yaml:1:11: channels: takes a list: `- match: …`, not a section",
    ),
    (
        "relay: {url: 'nats://a:4222'}",
        "peer.secret: is missing; with NATS every gateway of the cluster needs the same one, such as the output of `openssl rand -hex 32`",
    ),
    (
        "relay: {url: http://u:pw@h:4222}\npeer: {secret: s}",
        "push.yaml:1:14: relay.url: takes `memory`, or servers of one NATS cluster separated by `,`, as in `nats://a:4222,nats://b:4222` or `tls://nats.example.com:4222`",
    ),
    (
        "relay: {url: 'nats://a:4222,'}\npeer: {secret: s}",
        "push.yaml:1:14: relay.url: takes `memory`, or servers of one NATS cluster separated by `,`, as in `nats://a:4222,nats://b:4222` or `tls://nats.example.com:4222`",
    ),
    (
        "relay: {url: 'nats://a:4222', user: app}\npeer: {secret: s}",
        "push.yaml:1:37: relay.user: goes with `relay.password`; set both or none",
    ),
    (
        "relay: {token: a, nkey: b}",
        "push.yaml:1:1: relay.user: is one of four ways to log in; set one of `user` with `password`, `token`, `credentials` and `nkey`",
    ),
    (
        "relay: {tls: {key: a}}",
        "push.yaml:1:9: relay.tls.cert: goes with `relay.tls.key`; set both or none",
    ),
    (
        "relay: {replicas: 2}",
        "push.yaml:1:19: relay.replicas: takes 1, 3 or 5; an even number survives no more faults",
    ),
    (
        "relay: {historyBytes: 1000}",
        "push.yaml:1:23: relay.historyBytes: takes a whole number from 1048576 on, not `1000`",
    ),
    (
        "relay: {historyBytes: 1999999}",
        "push.yaml:1:23: relay.historyBytes: takes at least 2000000, twice `limits.publicationBytes`, so that the newest publication always has room",
    ),
    (
        "relay: {prefix: 'a b'}",
        "push.yaml:1:17: relay.prefix: takes letters, digits, `_` and `-` in tokens separated by `.`, as in `push` or `team.live`",
    ),
    (
        "peer: {listen: ':8082'}",
        "push.yaml:1:16: peer.listen: strangers could speak for clients here; set `peer.secret`, or listen on 127.0.0.1 (`insecure: true` turns this check off)\npush.yaml:1:1: peer.advertise: is missing; `peer.listen` is every address of this machine, so say at which one other gateways reach it",
    ),
    (
        "peer: {secret: s, listen: 127.0.0.1:8082, advertise: 0.0.0.0:8082}",
        "push.yaml:1:54: peer.advertise: takes the one address that other gateways connect to",
    ),
    (
        "peer: {tls: {cert: a}}",
        "push.yaml:1:8: peer.tls.key: is missing; gateways show each other certificates, so `cert`, `key` and `ca` go together\npush.yaml:1:8: peer.tls.ca: is missing; gateways show each other certificates, so `cert`, `key` and `ca` go together",
    ),
    (
        "peer: {tls: {cert: a, key: b, ca: c, serverName: 'a b'}}",
        "push.yaml:1:50: peer.tls.serverName: takes a host name or an IP address that stands in the certificates, as in `live-peers`",
    ),
    (
        "peer: {listen: '[::]:8082', advertise: 'fd00::1:99'}",
        "push.yaml:1:16: peer.listen: strangers could speak for clients here; set `peer.secret`, or listen on 127.0.0.1 (`insecure: true` turns this check off)\npush.yaml:1:40: peer.advertise: may be `[fd00::1]:99` or `[fd00::1:99]:8082`; write the one that is meant, with brackets",
    ),
    (
        "api: {keysFile: k, keys: [{name: a, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, scopes: [read]}]}",
        "push.yaml:1:17: api.keysFile: takes the place of `api.keys`; set one of them",
    ),
    (
        "peer: {lisen: ''}",
        "push.yaml:1:8: peer.lisen: unknown key; did you mean `listen`?",
    ),
    (
        "upstreams: [{match: '>', nats: true}]",
        "push.yaml:1:1: upstreams: is not available in this version; remove it",
    ),
    (
        "client: {tls: {cert: a}}\napi: {tls: {ca: a}}",
        "push.yaml:2:13: api.tls.ca: unknown key here; did you mean `peer.tls.ca` or `relay.tls.ca`?",
    ),
    (
        "client: {tls: {cert: a}}\napi: {tls: {key: b}}",
        "push.yaml:1:10: client.tls.key: is missing; `cert` and `key` go together\npush.yaml:2:7: api.tls.cert: is missing; `cert` and `key` go together",
    ),
    (
        "client: {trustedProxies: [10.0.0.1/8, proxy]}",
        "push.yaml:1:27: client.trustedProxies[0]: `10.0.0.1/8` says more than its first 8 bits; write `10.0.0.0/8`, or `10.0.0.1` for that address alone
push.yaml:1:39: client.trustedProxies[1]: `proxy` is not an address or a block of addresses; write it as in `10.0.0.1`, `10.0.0.0/8` or `2001:db8::/32`",
    ),
    (
        "client: {trustedHops: 2}",
        "push.yaml:1:23: client.trustedHops: counts proxies, and none is trusted; list the addresses of the last one in `client.trustedProxies`",
    ),
    (
        "client: {trustedHops: 0}",
        "push.yaml:1:23: client.trustedHops: takes a whole number from 1 to 16, not `0`",
    ),
    (
        "client: {proxyProtocol: v2}",
        "push.yaml:1:25: client.proxyProtocol: takes true or false, not `v2`",
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
        "client: {}
client: {}",
        "push.yaml:2:1: the key `client` stands here a second time, first in line 1; remove one",
    ),
    (
        "a: [",
        "push.yaml:1:4: is not YAML: unclosed bracket '['; look at the indentation, quotes and brackets here and above",
    ),
    (
        "client:
  listen: a
 listen: b",
        "push.yaml:3:2: is not YAML: while parsing a block mapping, did not find expected key; look at the indentation, quotes and brackets here and above",
    ),
    (
        "- a",
        "push.yaml:1:1: is not a configuration; it begins with a section, as in `client:`",
    ),
    (
        "--- {}
--- {}",
        "push.yaml:2:1: a second document begins here; the configuration is one YAML document",
    ),
    (
        "insecure: !yes true",
        "push.yaml:1:16: a tag (`!name`) has no meaning here; remove it",
    ),
    (
        "a: *b",
        "push.yaml:1:4: is not YAML: while parsing node, found unknown anchor; look at the indentation, quotes and brackets here and above",
    ),
    (
        "x: &x [*x]",
        "push.yaml:1:8: an alias stands inside the value that it names; write the value out",
    ),
    (
        "? [a]
: b",
        "push.yaml:1:3: a list or map stands where a key belongs; write `key: value`, and put quotes around text that begins with `{` or `[`",
    ),
    (
        "hello",
        "push.yaml:1:1: is not a configuration; it begins with a section, as in `client:`",
    ),
    (
        "client:listen",
        "push.yaml:1:1: is not a configuration; it begins with a section, as in `client:`",
    ),
    (
        "drain: {period: 1 minute}",
        "push.yaml:1:17: drain.period: `1 minute` is not a length of time; write a number and a unit, as in 300ms, 25s, 2m, 1h or 1d",
    ),
];

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

#[rustfmt::skip]
/// Lists of API keys as files have them.
const KEYS: &[(&str, &str)] = &[
    ("", "keys.yaml: is an empty list, so no app could publish; list at least one key"),
    ("[]", "keys.yaml:1:1: is an empty list, so no app could publish; list at least one key"),
    (
        "- {name: a, sha256: s3cret, scopes: [read]}",
        "keys.yaml:1:21: [0].sha256: takes the key's SHA-256 in 64 hexadecimal digits, not the key; make it with `printf %s \"$KEY\" | sha256sum`",
    ),
    ("keys: []", "keys.yaml:1:1: takes a list: `- name: …`, not a section"),
    (
        "- {name: a, sha256: s3cret, scope: [read]}",
        "keys.yaml:1:29: [0].scope: unknown key; did you mean `scopes`?\nkeys.yaml:1:3: [0].scopes: is missing; it takes a list: `[…]`",
    ),
    ("- s3cret", "keys.yaml:1:3: [0]: takes a section with `channels`, `name`, `scopes` and `sha256`, not text"),
];

#[test]
fn every_bad_list_of_keys_is_refused_in_words_that_say_what_to_do() {
    for (text, expected) in KEYS {
        let error = api_keys(text.as_bytes(), "keys.yaml").unwrap_err();
        assert_eq!(error.to_string(), *expected, "\n{text}");
    }
}

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
fn every_bad_file_is_refused_in_words_that_say_what_to_do() {
    for (text, expected) in FILES {
        assert_eq!(errors(text), *expected, "\n{text}");
    }
}

#[test]
fn every_bad_variable_is_refused_in_words_that_say_what_to_do() {
    for (name, value, expected) in VARIABLES {
        let error = read("", &[(name, value)], &[]).unwrap_err();
        assert_eq!(error.to_string(), *expected, "\n{name}={value}");
    }
}
