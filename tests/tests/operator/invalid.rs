//! What the API server refuses by itself, before the operator sees it.

use tests::apiserver::ApiServer;

/// A spec, and what the refusal must name.
const INVALID: [(&str, &str); 51] = [
    ("{replicas: -1}", "spec.replicas"),
    ("{replicas: 2000}", "spec.replicas"),
    ("{replicas: many}", "spec.replicas"),
    ("{image: {pullPolicy: Sometimes}}", "spec.image.pullPolicy"),
    ("{image: {name: 'a b'}}", "spec.image.name"),
    (
        "{nats: {managed: {}, external: {url: 'nats://a:4222'}}}",
        "nats takes one of managed and external",
    ),
    ("{nats: {managed: {replicas: 2}}}", "spec.nats.managed.replicas"),
    ("{nats: {managed: {replicas: 1}, streamReplicas: 3}}", "spec.nats.streamReplicas"),
    ("{nats: {managed: {storage: {size: big}}}}", "spec.nats.managed.storage.size"),
    ("{nats: {managed: {storage: {retention: Perhaps}}}}", "spec.nats.managed.storage.retention"),
    ("{nats: {managed: {allowPlaintext: perhaps}}}", "spec.nats.managed.allowPlaintext"),
    ("{nats: {streamReplicas: 2}}", "spec.nats.streamReplicas"),
    ("{nats: {external: {}}}", "spec.nats.external.url"),
    ("{nats: {external: {url: 'http://a'}}}", "spec.nats.external.url"),
    ("{nats: {external: {url: 'nats://me:secret@a:4222'}}}", "spec.nats.external.url"),
    ("{nats: {external: {url: 'nats://a:4222', prefix: 'a.*'}}}", "spec.nats.external.prefix"),
    (
        "{nats: {external: {url: 'nats://a:4222', credentials: {type: Password, secretRef: {name: x}}}}}",
        "spec.nats.external.credentials.type",
    ),
    (
        "{nats: {external: {url: 'nats://a:4222', credentials: {type: Token, secretRef: {name: x}}}}}",
        "secretRef.key",
    ),
    ("{auth: {anonymous: false}}", "spec.auth.anonymous"),
    ("{auth: {anonymous: false, callout: {subscribe: [{match: 'a.>'}]}}}", "spec.auth.anonymous"),
    ("{auth: {callout: {connect: {timeout: 31s}}}}", "spec.auth.callout.connect.timeout"),
    ("{auth: {callout: {connect: {subject: 'a.*'}}}}", "spec.auth.callout.connect.subject"),
    ("{auth: {callout: {connect: {subject: '$SYS.a'}}}}", "spec.auth.callout.connect.subject"),
    ("{auth: {callout: {connect: {url: 'http://a'}}}}", "spec.auth.callout.connect.url"),
    ("{auth: {callout: {subscribe: [{timeout: 1s}]}}}", "spec.auth.callout.subscribe[0].match"),
    ("{auth: {callout: {subscribe: [{match: 'a.>.b'}]}}}", "spec.auth.callout.subscribe[0].match"),
    ("{auth: {jwt: {jwksUrl: 'https://a/k', leeway: 1h}}}", "spec.auth.jwt.leeway"),
    ("{auth: {jwt: {}}}", "auth.jwt takes exactly one of secret, publicKey and jwksUrl"),
    (
        "{auth: {jwt: {jwksUrl: 'https://a/k', secret: {name: a, key: b}}}}",
        "auth.jwt takes exactly one",
    ),
    ("{auth: {jwt: {jwksUrl: 'ftp://a'}}}", "spec.auth.jwt.jwksUrl"),
    ("{auth: {jwt: {jwksUrl: 'https://a/k', algorithms: [none]}}}", "spec.auth.jwt.algorithms[0]"),
    ("{auth: {jwt: {secret: {name: a}}}}", "spec.auth.jwt.secret.key"),
    ("{gateway: {socketio: {pingInterval: soon}}}", "spec.gateway.socketio.pingInterval"),
    ("{gateway: {socketio: {path: socket}}}", "spec.gateway.socketio.path"),
    ("{gateway: {client: {listen: '0.0.0.0:1'}}}", "spec.gateway.client.listen"),
    (
        "{gateway: {client: {allowedOrigins: ['app.example.com']}}}",
        "spec.gateway.client.allowedOrigins[0]",
    ),
    ("{gateway: {log: {format: xml}}}", "spec.gateway.log.format"),
    ("{channels: [{history: {maxMessages: 1, maxAge: 1h}}]}", "spec.channels[0].match"),
    ("{channels: [{match: 'a..b'}]}", "spec.channels[0].match"),
    ("{channels: [{match: 'a.>.b'}]}", "spec.channels[0].match"),
    (
        "{channels: [{match: a, history: {maxMessages: 0, maxAge: 1h}}]}",
        "spec.channels[0].history.maxMessages",
    ),
    ("{channels: [{match: a, history: {maxMessages: 1}}]}", "spec.channels[0].history.maxAge"),
    ("{channels: [{match: a, hisory: {}}]}", "spec.channels[0].hisory"),
    ("{channels: [{match: a, slowConsumer: drop}]}", "spec.channels[0].slowConsumer"),
    (
        "{channels: [{match: a, slowConsumer: latest, history: {maxMessages: 1, maxAge: 1h}}]}",
        "slowConsumer: dropOldest and latest are for channels without history",
    ),
    ("{drain: {period: 11m}}", "spec.drain.period"),
    ("{rollout: {maxDraining: 0}}", "spec.rollout.maxDraining"),
    ("{service: {client: {trustedProxies: [proxy]}}}", "spec.service.client.trustedProxies[0]"),
    (
        "{service: {client: {trustedProxies: [10.0.0.1]}}, gateway: {client: {trustedProxies: [10.0.0.2]}}}",
        "are the same list; write it once",
    ),
    ("{gateway: {client: {trustedHops: 2}}}", "spec.gateway.client.trustedHops"),
    (
        "{service: {client: {sessionAffinity: {timeout: 30s}}}, gateway: {socketio: {pingInterval: 25s}}}",
        "spec.service.client.sessionAffinity.timeout",
    ),
];

/// Names that would not become a Service's.
const NAMES: [&str; 3] = ["1st", "a.b", "a-name-of-more-than-forty-letters-is-too-long"];

/// What must be taken.
const VALID: [&str; 11] = [
    "{}",
    "{replicas: 0}",
    "{nats: {managed: {replicas: 1, allowPlaintext: false, storage: {size: 1Gi, className: ''}, resources: {requests: {cpu: 1, memory: 128Mi}}}}}",
    "{nats: {external: {url: 'tls://a.example.com:4222,tls://b:4222', credentials: {type: UserPassword, secretRef: {name: nats}}, tls: {ca: {name: c, key: ca.crt}, clientCertificate: {name: d}}}}}",
    "{auth: {anonymous: true, jwt: {jwksUrl: 'https://id.example.com/jwks', issuer: i, audience: a, algorithms: [RS256]}, apiKeysSecret: {name: k}}}",
    "{gateway: {client: {allowedOrigins: ['*', 'https://a.example.com', 'http://localhost:3000']}, socketio: {recovery: off, pingInterval: 20s, namespaces: [/, /admin]}, log: {format: json}}}",
    "{auth: {anonymous: false, jwt: {jwksUrl: 'https://id.example.com/jwks', leeway: 1m}, callout: {cached: 0, connect: {}, subscribe: [{match: 'room.>', subject: 'my.own-1.$auth', timeout: 500ms}]}}}",
    "{service: {client: {trustedProxies: [10.0.0.0/8, 'fd00::1']}}, gateway: {client: {trustedHops: 2, proxyProtocol: true}}}",
    "{channels: [{match: '>', clientPublish: false}, {match: '$user.auth0|7'}, {match: 'prices.>', slowConsumer: latest}, {match: cursors, slowConsumer: dropOldest}, {match: 'orders.>', slowConsumer: disconnect, history: {maxMessages: 1000, maxAge: 1d}}], limits: {connections: 5000, bodyTimeout: 20s}}",
    "{service: {client: {type: LoadBalancer, externalTrafficPolicy: Local, ipFamilyPolicy: PreferDualStack, sessionAffinity: {type: ClientIP, timeout: 2m}, annotations: {a/b: c}}, api: {type: ClusterIP}}, ingress: {className: haproxy, host: live.example.com, tlsSecret: t}, httpRoute: {parentRefs: [{name: public, namespace: gateways}], hostnames: [live.example.com]}}",
    "{drain: {delay: 0s, period: 10m}, rollout: {maxDraining: 3}, pod: {resources: {limits: {memory: 1Gi}}, nodeSelector: {a: b}, tolerations: [{key: a, operator: Exists}], topologyKeys: []}, networkPolicy: {enabled: true, apiFrom: [{namespaceSelector: {}}]}, monitoring: {podMonitor: true, labels: {release: p}}}",
];

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: pushcluster.io/v1alpha1\nkind: PushCluster\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

pub(super) fn refused(kubernetes: &ApiServer) {
    let dry = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    let mut wrong = Vec::new();
    for (spec, named) in INVALID {
        let said = kubernetes.kubectl_with(&dry, &manifest("live", spec));
        if said.ok {
            wrong.push(format!("{spec} was taken"));
        } else if !said.err.contains(named) {
            wrong.push(format!("{spec} was refused without naming {named}: {}", said.err));
        }
    }
    for name in NAMES {
        let said = kubernetes.kubectl_with(&dry, &manifest(name, "{}"));
        if said.ok || !said.err.contains("metadata.name") {
            wrong.push(format!("the name {name}: {}{}", said.out, said.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(super) fn taken(kubernetes: &ApiServer) {
    for spec in VALID {
        let dry = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let said = kubernetes.kubectl_with(&dry, &manifest("live", spec));
        assert!(said.ok, "{spec}: {}", said.err);
    }
}

pub(super) fn immutable(kubernetes: &ApiServer) {
    kubernetes.namespace("immutable");
    let change = |name: &str, spec: &str| {
        kubernetes.kubectl_with(&["apply", "-n", "immutable", "-f", "-"], &manifest(name, spec))
    };
    let cases = [
        ("a", "{}", "{nats: {managed: {replicas: 1}}}", "nats.managed.replicas cannot change"),
        ("b", "{nats: {external: {url: 'nats://a:4222'}}}", "{}", "nats cannot change between"),
        (
            "c",
            "{nats: {external: {url: 'nats://a:4222'}}}",
            "{nats: {external: {url: 'nats://a:4222', prefix: p}}}",
            "prefix cannot change",
        ),
        (
            "d",
            "{nats: {managed: {storage: {size: 2Gi}}}}",
            "{nats: {managed: {storage: {size: 1Gi}}}}",
            "may grow and not shrink",
        ),
    ];
    for (name, first, second, message) in cases {
        assert!(change(name, first).ok, "{first}");
        let said = change(name, second);
        assert!(!said.ok && said.err.contains(message), "{second}: {}", said.err);
    }
    let said = change("d", "{nats: {managed: {storage: {size: 3Gi}}}}");
    assert!(said.ok, "a volume may grow: {}", said.err);
}
