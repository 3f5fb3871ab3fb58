//! From a manifest to objects, and back to nothing.

use base64::Engine as _;
use serde_json::Value;
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

pub(super) fn stranger(kubernetes: &ApiServer) {
    let _operator = Operator::start(kubernetes, "stranger", &[]);
    kubernetes.namespace("stranger");
    let theirs = "apiVersion: v1\nkind: Service\nmetadata: {name: live-api, labels: {whose: theirs}}\nspec: {ports: [{port: 99}]}\n";
    kubernetes.apply("stranger", theirs);
    let before = kubernetes.get("stranger", "service/live-api").unwrap();
    kubernetes.apply("stranger", &manifest("live", "{}"));
    let (status, _, message) = kubernetes.eventually("ResourceConflict", || {
        kubernetes.condition("stranger", "live", "ResourceConflict")
    });
    assert_eq!(status, "True");
    assert!(message.contains("Service \"live-api\""), "{message}");
    // The rest is there; theirs is as it was, to the last byte.
    assert!(kubernetes.get("stranger", "deployment/live").is_some());
    assert_eq!(kubernetes.get("stranger", "service/live-api").unwrap(), before);
    kubernetes.must(&["delete", "-n", "stranger", "pushcluster/live", "--wait=true"]);
    kubernetes.eventually("the operator's objects to go", || {
        kubernetes.get("stranger", "deployment/live").is_none().then_some(())
    });
    assert_eq!(kubernetes.get("stranger", "service/live-api").unwrap(), before);
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
const OPTIONAL: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: unapproved}
spec:
  group: gateway.networking.k8s.io
  names: {kind: HTTPRoute, plural: httproutes, singular: httproute}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

pub(super) fn optional_kinds(kubernetes: &ApiServer) {
    kubernetes.must_with(&["apply", "-f", "-"], OPTIONAL);
    kubernetes.eventually("the routes' definition to be served", || {
        kubernetes.kubectl(&["get", "httproutes", "-A"]).ok.then_some(())
    });
    let _operator = Operator::start(kubernetes, "optional", &[]);
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

    kubernetes.apply("optional", &manifest("live", "{}"));
    kubernetes.eventually("the route to go", || {
        kubernetes.get("optional", "httproute/live").is_none().then_some(())
    });
    kubernetes.eventually("MonitoringReady to go", || {
        kubernetes.condition("optional", "live", "MonitoringReady").is_none().then_some(())
    });
}
