//! From a manifest to objects, and back to nothing.

use base64::Engine as _;
use serde_json::{Value, json};
use tests::apiserver::{ApiServer, Operator};

pub(super) fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: pushcluster.io/v1alpha1\nkind: PushCluster\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

/// A manifest that the operator has carried out.
pub(super) fn made(kubernetes: &ApiServer, namespace: &str, spec: &str) {
    kubernetes.namespace(namespace);
    kubernetes.apply(namespace, &manifest("live", spec));
    kubernetes.eventually("the Deployment", || kubernetes.get(namespace, "deployment/live"));
}

/// The file that gateways read again when it changes.
fn file(kubernetes: &ApiServer, namespace: &str) -> Option<String> {
    let secret = kubernetes.get(namespace, "secret/live-config")?;
    let data = secret["data"]["push.yaml"].as_str()?.to_owned();
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).ok()?;
    String::from_utf8(bytes).ok()
}

const ALL: &str = "deployments,statefulsets,services,configmaps,secrets,serviceaccounts,poddisruptionbudgets,networkpolicies,ingresses";

/// Names of everything that the operator has made in a namespace.
fn owned(kubernetes: &ApiServer, namespace: &str) -> Vec<String> {
    let all = kubernetes.must(&[
        "get",
        "-n",
        namespace,
        ALL,
        "-l",
        "app.kubernetes.io/managed-by=push-operator",
        "-o",
        "name",
    ]);
    all.lines().map(str::to_owned).collect()
}

pub(super) fn whole(kubernetes: &ApiServer) {
    let operator = Operator::start(kubernetes, "whole", &[]);
    made(kubernetes, "whole", "{ingress: {host: live.example.com}}");
    let status = kubernetes.eventually("the status", || {
        let cluster = kubernetes.get("whole", "pushcluster/live")?;
        (cluster["status"]["observedGeneration"] == 1).then(|| cluster["status"].clone())
    });
    assert_eq!(status["endpoints"]["client"], "live.whole.svc:80");
    assert_eq!(status["secrets"]["apiKey"], "live-api-key");
    assert_eq!(
        status["selector"],
        "app.kubernetes.io/instance=live,app.kubernetes.io/name=pushcluster-gateway"
    );

    let gateways = kubernetes.get("whole", "deployment/live").unwrap();
    assert_eq!(gateways["spec"]["replicas"], 3);
    let client = kubernetes.get("whole", "service/live").unwrap();
    assert_eq!(client["spec"]["sessionAffinity"], "ClientIP");
    assert_eq!(client["spec"]["selector"]["pushcluster.io/accepting"], "true");
    assert!(kubernetes.get("whole", "ingress/live").is_some());
    assert!(kubernetes.get("whole", "statefulset/live-nats").is_some());
    let key = kubernetes.get("whole", "secret/live-api-key").unwrap();
    assert!(key["data"]["key"].as_str().is_some_and(|key| key.len() > 40));
    // Apps find what they need to trust NATS; who signs is shown to nobody.
    let text = |secret: &str, key: &str| {
        let secret = kubernetes.get("whole", &format!("secret/{secret}")).unwrap();
        let value = secret["data"][key].as_str().unwrap_or_default().to_owned();
        let bytes = base64::engine::general_purpose::STANDARD.decode(value).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(text("live-nats-app", "url"), "tls://live-nats.whole.svc:4222");
    assert_eq!(text("live-nats-app", "ca.crt"), text("live-ca", "tls.crt"));
    for secret in ["live-nats-tls", "live-peer-tls"] {
        assert!(text(secret, "tls.crt").starts_with("-----BEGIN CERTIFICATE-----"), "{secret}");
        assert_eq!(text(secret, "ca.crt"), text("live-ca", "tls.crt"), "{secret}");
    }
    // What the manifest leaves open is written down: nobody but apps publishes.
    let file = file(kubernetes, "whole").unwrap();
    assert!(file.contains("clientPublish: false"), "{file}");

    // What the manifest no longer asks for goes.
    kubernetes.apply("whole", &manifest("live", "{networkPolicy: {enabled: false}}"));
    kubernetes.eventually("the Ingress and the NetworkPolicies to go", || {
        let there = owned(kubernetes, "whole").join(" ");
        (!there.contains("ingress") && !there.contains("networkpolic")).then_some(())
    });

    kubernetes.must(&["delete", "-n", "whole", "pushcluster/live", "--wait=true"]);
    kubernetes
        .eventually("everything to go", || owned(kubernetes, "whole").is_empty().then_some(()));
    drop(operator);
}

/// Strangers' objects with names that a `PushCluster` called `live` needs.
const STRANGERS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: live-api, labels: {whose: theirs}}
spec: {ports: [{port: 99}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: live, labels: {whose: theirs}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: live-nats, labels: {whose: theirs}}
---
apiVersion: v1
kind: Secret
metadata: {name: live-config, labels: {whose: theirs}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: live, labels: {whose: theirs}}
spec:
  replicas: 0
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: live-nats, labels: {whose: theirs}}
spec:
  replicas: 0
  serviceName: a
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: live, labels: {whose: theirs}}
spec: {maxUnavailable: 7, selector: {matchLabels: {a: b}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: live, labels: {whose: theirs}}
spec: {podSelector: {matchLabels: {a: b}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: live, labels: {whose: theirs}}
spec: {defaultBackend: {service: {name: a, port: {number: 1}}}}
";

/// The same as kubectl names them.
const STRANGE: [&str; 9] = [
    "service/live-api",
    "serviceaccount/live",
    "configmap/live-nats",
    "secret/live-config",
    "deployment/live",
    "statefulset/live-nats",
    "poddisruptionbudget/live",
    "networkpolicy/live",
    "ingress/live",
];

pub(super) fn stranger(kubernetes: &ApiServer) {
    let _operator = Operator::start(kubernetes, "stranger", &[]);
    kubernetes.namespace("stranger");
    kubernetes.apply("stranger", STRANGERS);
    // What a controller writes into a status is no business of anybody's here.
    let content = |object: &str| {
        let object = kubernetes.get("stranger", object)?;
        let meta = &object["metadata"];
        Some(json!([
            meta["uid"],
            meta["labels"],
            meta["ownerReferences"],
            object["spec"],
            object["data"]
        ]))
    };
    let before = STRANGE.map(content);
    kubernetes.apply("stranger", &manifest("live", "{ingress: {host: a.example.com}}"));
    let (status, _, message) = kubernetes.eventually("ResourceConflict", || {
        kubernetes.condition("stranger", "live", "ResourceConflict")
    });
    assert_eq!(status, "True");
    for object in STRANGE {
        let (kind, name) = object.split_once('/').unwrap();
        let named = message.to_lowercase().contains(&format!("{kind} \"{name}\""));
        assert!(named, "{object} is not in: {message}");
    }
    // The rest is there; theirs is as it was.
    assert!(kubernetes.get("stranger", "service/live").is_some());
    assert_eq!(STRANGE.map(content), before);
    kubernetes.must(&["delete", "-n", "stranger", "pushcluster/live", "--wait=true"]);
    kubernetes.eventually("the operator's objects to go", || {
        kubernetes.get("stranger", "service/live").is_none().then_some(())
    });
    assert_eq!(STRANGE.map(content), before);
}

pub(super) fn missing_secret(kubernetes: &ApiServer) {
    let _operator = Operator::start(kubernetes, "missing", &[]);
    kubernetes.namespace("missing");
    let spec = "{nats: {external: {url: 'nats://nats.example.com:4222', credentials: {type: Token, secretRef: {name: nats, key: token}}}}}";
    kubernetes.apply("missing", &manifest("live", spec));
    let nats = |words: &str| {
        kubernetes.eventually(words, || {
            let (status, _, message) = kubernetes.condition("missing", "live", "NatsReady")?;
            (status == "False" && message.contains(words)).then_some(())
        });
    };
    let secret = |key: &str| {
        let value = format!("--from-literal={key}=x");
        kubernetes.must(&["create", "-n", "missing", "secret", "generic", "nats", &value]);
    };
    nats("there is no Secret \"nats\"");
    assert!(kubernetes.get("missing", "deployment/live").is_none());
    secret("tokn");
    nats("Secret \"nats\" has no key \"token\"");
    kubernetes.must(&["delete", "-n", "missing", "secret", "nats"]);
    secret("token");
    let gateways =
        kubernetes.eventually("gateways", || kubernetes.get("missing", "deployment/live"));
    let container = &gateways["spec"]["template"]["spec"]["containers"][0];
    let token =
        container["env"].as_array().unwrap().iter().find(|env| env["name"] == "PUSH_RELAY_TOKEN");
    assert_eq!(token.unwrap()["valueFrom"]["secretKeyRef"]["name"], "nats");
    assert!(kubernetes.get("missing", "statefulset/live-nats").is_none());
}

pub(super) fn reload(kubernetes: &ApiServer) {
    let _operator = Operator::start(kubernetes, "reload", &[]);
    made(kubernetes, "reload", "{channels: [{match: news}]}");
    let template =
        || kubernetes.get("reload", "deployment/live").unwrap()["spec"]["template"].clone();
    let before = template();

    kubernetes
        .apply("reload", &manifest("live", "{channels: [{match: weather}], limits: {batch: 10}}"));
    kubernetes.eventually("the rule in the file", || {
        file(kubernetes, "reload")
            .filter(|file| file.contains("match: weather") && file.contains("batch: 10"))
    });
    assert_eq!(template(), before, "a rule and a limit that reload restart nothing");

    kubernetes.apply(
        "reload",
        &manifest(
            "live",
            "{channels: [{match: weather}], limits: {batch: 10}, gateway: {log: {level: debug}}}",
        ),
    );
    let after =
        kubernetes.eventually("another template", || Some(template()).filter(|now| *now != before));
    let boot = |template: &Value| {
        template["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_ne!(boot(&before), boot(&after));
    let data = kubernetes.get("reload", &format!("configmap/{}", boot(&after))).unwrap();
    assert_eq!(data["data"]["PUSH_LOG_LEVEL"], "debug");
    assert_eq!(data["immutable"], true);

    // Gateways refuse what the API server can't see; the old one stays.
    kubernetes.apply("reload", &manifest("live", "{channels: [{match: 'a.*', history: {maxMessages: 1, maxAge: 1h}}, {match: '*.b', history: {maxMessages: 1, maxAge: 1h}}]}"));
    let message = kubernetes.eventually("the refusal", || {
        let (status, reason, message) = kubernetes.condition("reload", "live", "Ready")?;
        (status == "False" && reason == "InvalidManifest").then_some(message)
    });
    assert!(message.contains("spec.channels[1].match") && message.contains("crosses"), "{message}");
    assert!(file(kubernetes, "reload").unwrap().contains("weather"));
}

pub(super) fn scaled(kubernetes: &ApiServer) {
    let _operator = Operator::start(kubernetes, "scaled", &[]);
    made(kubernetes, "scaled", "{}");
    let config = || {
        kubernetes.get("scaled", "secret/live-config").unwrap()["metadata"]["resourceVersion"]
            .clone()
    };
    let before = config();
    kubernetes.must(&["scale", "-n", "scaled", "push/live", "--replicas=5"]);
    kubernetes.eventually("five gateways", || {
        let gateways = kubernetes.get("scaled", "deployment/live")?;
        (gateways["spec"]["replicas"] == 5).then_some(())
    });
    let scale =
        kubernetes.must(&["get", "-n", "scaled", "push/live", "--subresource=scale", "-o", "json"]);
    let scale: Value = serde_json::from_str(&scale).unwrap();
    assert_eq!(scale["spec"]["replicas"], 5);
    assert!(scale["status"]["selector"].as_str().unwrap().contains("pushcluster-gateway"));
    // Gateways have nothing to read again when their number changes.
    assert_eq!(config(), before);
}

pub(super) fn paused(kubernetes: &ApiServer) {
    let _operator = Operator::start(kubernetes, "paused", &[]);
    made(kubernetes, "paused", "{}");
    kubernetes.must(&[
        "annotate",
        "-n",
        "paused",
        "push/live",
        "pushcluster.io/reconcile=disabled",
    ]);
    kubernetes.eventually("Paused", || kubernetes.condition("paused", "live", "Paused"));
    kubernetes.must(&["scale", "-n", "paused", "deployment/live", "--replicas=1"]);
    kubernetes.must(&["annotate", "-n", "paused", "push/live", "pushcluster.io/reconcile-"]);
    kubernetes.eventually("three again", || {
        let gateways = kubernetes.get("paused", "deployment/live")?;
        (gateways["spec"]["replicas"] == 3).then_some(())
    });
    kubernetes.eventually("Paused to go", || {
        kubernetes.condition("paused", "live", "Paused").is_none().then_some(())
    });
}

/// Definitions as far as this test needs them; what is in them is not checked.
const ROUTES: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: unapproved}
spec:
  group: gateway.networking.k8s.io
  names: {kind: HTTPRoute, plural: httproutes, singular: httproute}
  scope: Namespaced
  VERSIONS
";
const MONITORS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: PodMonitor, plural: podmonitors, singular: podmonitor}
  scope: Namespaced
  VERSIONS
";
const VERSIONS: &str = "versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]";

/// Has the API server know the Gateway API's routes.
pub(super) fn routes(kubernetes: &ApiServer) {
    kubernetes.must_with(&["apply", "-f", "-"], &ROUTES.replace("VERSIONS", VERSIONS));
    kubernetes.eventually("the routes' definition to be served", || {
        kubernetes.kubectl(&["get", "httproutes", "-A"]).ok.then_some(())
    });
}

pub(super) fn optional_kinds(kubernetes: &ApiServer) {
    routes(kubernetes);
    let operator = Operator::start(kubernetes, "optional", &[]);
    made(
        kubernetes,
        "optional",
        "{httpRoute: {parentRefs: [{name: public}]}, monitoring: {podMonitor: true}}",
    );
    let route = kubernetes.eventually("the route", || kubernetes.get("optional", "httproute/live"));
    assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["name"], "live");
    let (status, _, message) = kubernetes.eventually("MonitoringReady", || {
        kubernetes.condition("optional", "live", "MonitoringReady")
    });
    assert_eq!(status, "False");
    assert!(message.contains("install the Prometheus operator"), "{message}");

    // Another operator finds the route by its name; and by now there are
    // monitors.
    drop(operator);
    kubernetes.must_with(&["apply", "-f", "-"], &MONITORS.replace("VERSIONS", VERSIONS));
    kubernetes.eventually("the monitors' definition to be served", || {
        kubernetes.kubectl(&["get", "podmonitors", "-A"]).ok.then_some(())
    });
    let operator = Operator::start(kubernetes, "optional-again", &[]);
    kubernetes.eventually("the monitor", || kubernetes.get("optional", "podmonitor/live"));
    drop(operator);
    let _operator = Operator::start(kubernetes, "optional-at-last", &[]);
    // They are not watched: by its first look it knows them.
    kubernetes.must(&["scale", "-n", "optional", "push/live", "--replicas=4"]);
    kubernetes.eventually("its first look", || {
        let gateways = kubernetes.get("optional", "deployment/live")?;
        (gateways["spec"]["replicas"] == 4).then_some(())
    });
    kubernetes.eventually("MonitoringReady", || {
        let cluster = kubernetes.get("optional", "pushcluster/live")?;
        (cluster["status"]["desiredReplicas"] == 4).then_some(())
    });

    kubernetes.apply("optional", &manifest("live", "{}"));
    kubernetes.eventually("route and monitor to go", || {
        let there = |object| kubernetes.get("optional", object).is_some();
        (!there("httproute/live") && !there("podmonitor/live")).then_some(())
    });
    kubernetes.eventually("MonitoringReady to go", || {
        kubernetes.condition("optional", "live", "MonitoringReady").is_none().then_some(())
    });
}
