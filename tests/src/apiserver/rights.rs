//! What the operator's user may do: what the chart lets it, and what of that
//! it has used.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::ApiServer;

/// The chart's rules.
const OPERATOR: &str = include_str!("../../../charts/pushcluster/rights/operator.yaml");
/// Those for the operator's own namespace.
const LEASE: &str = include_str!("../../../charts/pushcluster/rights/lease.yaml");

/// Rights that nothing uses where no pod runs and no claim is made: what is left
/// over by a rollout that has ended, a Secret that a manifest stops to need, a
/// gateway that is full or goes, a server that is marked, a claim that grows. The
/// suites on a real Kubernetes need them.
const ELSEWHERE: [(&str, &str, &str); 5] = [
    ("", "configmaps", "delete"),
    ("", "secrets", "delete"),
    ("", "pods", "patch"),
    ("", "persistentvolumeclaims", "patch"),
    ("networking.k8s.io", "ingresses", "patch"),
];

/// A request, as rules and the audit log name it: group, resource with
/// subresource, verb.
type Right = (String, String, String);

/// Gives the operator's user the rights that the chart gives it.
pub fn grant(kubernetes: &ApiServer) {
    apply(kubernetes, "ClusterRole", "", OPERATOR);
    grant_lease(kubernetes, "default");
}

/// Lets it have its Lease in this namespace.
pub fn grant_lease(kubernetes: &ApiServer, namespace: &str) {
    let rules = LEASE.replace("LEASE", "push-operator");
    apply(kubernetes, "Role", &format!(", namespace: {namespace}"), &rules);
}

fn apply(kubernetes: &ApiServer, kind: &str, place: &str, rules: &str) {
    let both = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: push-operator{place}}}\nrules:\n{rules}\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\nmetadata: {{name: push-operator{place}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: push-operator}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: operator}}]\n"
    );
    kubernetes.must_with(&["apply", "-f", "-"], &both);
}

/// The operator was refused nothing, and has used every right that it has.
///
/// # Panics
///
/// When it has not; with the rights.
pub fn needed(kubernetes: &ApiServer) {
    let mut used = BTreeSet::new();
    let mut refused = BTreeSet::new();
    let log = std::fs::read_to_string(kubernetes.audit_log()).expect("the audit log is there");
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let about = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut resource = text(&about["resource"]);
        if let Some(sub) = about["subresource"].as_str() {
            let _ = write!(resource, "/{sub}");
        }
        let right = (text(&about["apiGroup"]), resource, text(&event["verb"]));
        if event["responseStatus"]["code"] == 403 {
            refused.insert((right, text(&event["responseStatus"]["message"])));
        } else {
            used.insert(right);
        }
    }
    assert!(refused.is_empty(), "refused: {refused:#?}");
    // Asked for by admission, in no request of the operator's: without it
    // nothing could be made at all.
    used.insert(right("pushcluster.io", "pushclusters/finalizers", "update"));
    used.extend(ELSEWHERE.map(|(group, resource, verb)| right(group, resource, verb)));
    let unused: Vec<Right> =
        rights(kubernetes).into_iter().filter(|right| !used.contains(right)).collect();
    assert!(unused.is_empty(), "no request needs {unused:#?}");
}

fn right(group: &str, resource: &str, verb: &str) -> Right {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

/// Every right of the roles, as the API server has read them.
fn rights(kubernetes: &ApiServer) -> Vec<Right> {
    let mut all = Vec::new();
    for role in ["clusterrole/push-operator", "role/push-operator"] {
        let role = kubernetes.get("default", role).expect("the role is there");
        for rule in role["rules"].as_array().into_iter().flatten() {
            let list = |field: &str| -> Vec<String> {
                let list = rule[field].as_array().into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            for group in list("apiGroups") {
                for resource in list("resources") {
                    for verb in list("verbs") {
                        all.push(right(&group, &resource, &verb));
                    }
                }
            }
        }
    }
    all
}
