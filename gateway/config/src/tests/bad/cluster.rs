//! `relay` and `peer`: the way to NATS and to other gateways.

#[rustfmt::skip]
pub(super) const FILES: &[(&str, &str)] = &[
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
        "peer: {lisen: ''}",
        "push.yaml:1:8: peer.lisen: unknown key; did you mean `listen`?",
    ),
];
