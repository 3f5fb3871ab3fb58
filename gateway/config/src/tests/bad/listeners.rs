//! Where clients, apps and admins connect.

#[rustfmt::skip]
pub(super) const FILES: &[(&str, &str)] = &[
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
];
