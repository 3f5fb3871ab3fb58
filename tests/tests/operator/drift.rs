//! Changes by hand.

use serde_json::{Value, json};
use tests::apiserver::{ApiServer, Operator};

use super::life::made;

/// An edit of an object, as a JSON patch.
type Edit = (&'static str, &'static str, &'static str, &'static str);

/// Edits of fields that the operator sets: object, operation, path, value.
const UNDONE: [Edit; 42] = [
    ("deployment/live", "replace", "/spec/replicas", "9"),
    ("deployment/live", "add", "/spec/paused", "true"),
    ("deployment/live", "replace", "/spec/minReadySeconds", "0"),
    ("deployment/live", "replace", "/spec/progressDeadlineSeconds", "700"),
    ("deployment/live", "replace", "/spec/strategy/rollingUpdate/maxSurge", "3"),
    ("deployment/live", "replace", "/spec/strategy/rollingUpdate/maxUnavailable", "2"),
    ("deployment/live", "replace", "/metadata/labels/app.kubernetes.io~1part-of", "\"x\""),
    ("deployment/live", "remove", "/metadata/labels/app.kubernetes.io~1managed-by", "null"),
    ("deployment/live", "add", "/spec/template/spec/hostNetwork", "true"),
    ("deployment/live", "add", "/spec/template/spec/hostPID", "true"),
    ("deployment/live", "add", "/spec/template/spec/hostIPC", "true"),
    ("deployment/live", "add", "/spec/template/spec/enableServiceLinks", "true"),
    ("deployment/live", "add", "/spec/template/spec/automountServiceAccountToken", "true"),
    ("deployment/live", "add", "/spec/template/spec/serviceAccountName", "\"default\""),
    ("deployment/live", "add", "/spec/template/spec/shareProcessNamespace", "true"),
    ("deployment/live", "replace", "/spec/template/spec/terminationGracePeriodSeconds", "1"),
    ("deployment/live", "replace", "/spec/template/spec/securityContext/runAsUser", "0"),
    ("deployment/live", "replace", "/spec/template/spec/securityContext/runAsNonRoot", "false"),
    ("deployment/live", "add", "/spec/template/spec/containers/0/args/-", "\"--insecure\""),
    ("deployment/live", "replace", "/spec/template/spec/containers/0/image", "\"evil:1\""),
    ("deployment/live", "replace", "/spec/template/spec/containers/0/command", "[\"/bin/sh\"]"),
    (
        "deployment/live",
        "replace",
        "/spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation",
        "true",
    ),
    (
        "deployment/live",
        "replace",
        "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem",
        "false",
    ),
    ("deployment/live", "remove", "/spec/template/spec/containers/0/readinessProbe", "null"),
    ("deployment/live", "remove", "/spec/template/spec/containers/0/envFrom", "null"),
    ("deployment/live", "remove", "/spec/template/spec/containers/0/env/0", "null"),
    (
        "deployment/live",
        "remove",
        "/spec/template/metadata/labels/pushcluster.io~1accepting",
        "null",
    ),
    ("service/live", "replace", "/spec/sessionAffinity", "\"None\""),
    ("service/live", "remove", "/spec/selector/pushcluster.io~1accepting", "null"),
    ("service/live-api", "replace", "/spec/ports/0/targetPort", "\"client\""),
    ("secret/live-config", "replace", "/data/push.yaml", "\"e30=\""),
    ("networkpolicy/live", "replace", "/spec/ingress", "[{}]"),
    ("poddisruptionbudget/live", "replace", "/spec/maxUnavailable", "3"),
    ("statefulset/live-nats", "replace", "/spec/template/spec/containers/0/image", "\"evil:1\""),
    (
        "deployment/live",
        "replace",
        "/spec/template/spec/containers/0/securityContext/capabilities/drop",
        "[]",
    ),
    (
        "deployment/live",
        "replace",
        "/spec/template/spec/securityContext/seccompProfile/type",
        "\"Unconfined\"",
    ),
    ("deployment/live", "remove", "/spec/template/spec/containers/0/livenessProbe", "null"),
    (
        "deployment/live",
        "replace",
        "/spec/template/spec/containers/0/volumeMounts/0/readOnly",
        "false",
    ),
    ("service/live", "replace", "/spec/type", "\"NodePort\""),
    // A list whose elements are known by this number.
    ("service/live", "replace", "/spec/ports/0/port", "8080"),
    ("serviceaccount/live", "replace", "/automountServiceAccountToken", "true"),
    (
        "statefulset/live-nats",
        "replace",
        "/spec/template/spec/containers/0/args",
        "[\"-m\", \"8222\"]",
    ),
];

/// Objects that are deleted by hand.
const DELETED: [&str; 8] = [
    "deployment/live",
    "service/live",
    "secret/live-internal",
    "secret/live-ca",
    "secret/live-nats-tls",
    "serviceaccount/live",
    "configmap/live-nats",
    "poddisruptionbudget/live-nats",
];

/// Edits that add what the operator does not set: they are reported.
const FOREIGN: [Edit; 4] = [
    (
        "deployment/live",
        "add",
        "/spec/template/spec/containers/0/env/-",
        "{\"name\": \"EXTRA\", \"value\": \"1\"}",
    ),
    (
        "deployment/live",
        "add",
        "/spec/template/spec/containers/-",
        "{\"name\": \"sidecar\", \"image\": \"sidecar:1\", \"env\": [{\"name\": \"A\", \"value\": \"1\"}]}",
    ),
    (
        "deployment/live",
        "add",
        "/spec/template/spec/hostAliases",
        "[{\"ip\": \"127.0.0.1\", \"hostnames\": [\"a\"]}]",
    ),
    (
        "service/live",
        "add",
        "/spec/ports/-",
        "{\"name\": \"extra\", \"port\": 81, \"targetPort\": 9090}",
    ),
];

/// What a person can change of an object.
fn content(object: &Value) -> Value {
    let labels = &object["metadata"]["labels"];
    let token = &object["automountServiceAccountToken"];
    json!([labels, object["spec"], object["data"], object["immutable"], token])
}

fn edit(kubernetes: &ApiServer, (object, operation, path, value): Edit) {
    let value: Value = serde_json::from_str(value).unwrap();
    let mut edit = json!([{"op": operation, "path": path, "value": value}]);
    if operation == "remove" {
        edit[0].as_object_mut().unwrap().remove("value");
    }
    kubernetes.must(&["patch", "-n", "drift", object, "--type=json", "-p", &edit.to_string()]);
}

pub(super) fn undone(kubernetes: &ApiServer) {
    let operator = Operator::start(kubernetes, "drift", &[]);
    made(kubernetes, "drift", "{}");
    kubernetes.eventually("the network policy", || kubernetes.get("drift", "networkpolicy/live"));
    for one in UNDONE {
        let (object, operation, path, value) = one;
        let before = content(&kubernetes.get("drift", object).unwrap());
        edit(kubernetes, one);
        kubernetes.eventually(
            &format!("{operation} {path} {value} of {object} to be undone\n{}", operator.log()),
            || {
                let now = content(&kubernetes.get("drift", object)?);
                (now == before).then_some(())
            },
        );
    }
    let said = kubernetes.eventually("an Event of it", || {
        let events = kubernetes.must(&["get", "-n", "drift", "events", "-o", "json"]);
        let events: Value = serde_json::from_str(&events).unwrap();
        let events = events["items"].as_array()?.clone();
        events.into_iter().find(|event| event["reason"] == "DriftUndone")
    });
    assert_eq!(said["involvedObject"]["name"], "live");
    for object in DELETED {
        let before = kubernetes.get("drift", object).unwrap()["metadata"]["uid"].clone();
        kubernetes.must(&["delete", "-n", "drift", object]);
        kubernetes.eventually(&format!("{object} to be made again"), || {
            let now = kubernetes.get("drift", object)?;
            (now["metadata"]["uid"] != before).then_some(())
        });
    }
    for one in FOREIGN {
        edit(kubernetes, one);
        let name = one.0.split('/').next_back().unwrap();
        kubernetes.eventually(&format!("{} of {} to be reported", one.2, one.0), || {
            let (status, _, message) = kubernetes.condition("drift", "live", "Degraded")?;
            let last = one.2.split('/').rfind(|part| part.len() > 1).unwrap();
            (status == "True" && message.contains(&format!("\"{name}\"")) && message.contains(last))
                .then_some(())
        });
    }
}
