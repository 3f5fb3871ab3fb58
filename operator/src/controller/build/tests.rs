#![allow(clippy::unwrap_used, clippy::expect_used)]

mod tls;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Capable, all};
use crate::controller::kinds::Kind;
use crate::controller::names::Names;
use crate::controller::plan::{Plan, Wire};
use crate::controller::secrets::{self, Circumstances};
use crate::controller::validate::{Defaults, Found, Invalid, validate};
use crate::crd::{PushCluster, SecretKey};

/// When everything is made, in seconds since 1970.
pub(crate) const NOW: i64 = 1_800_000_000;

/// A manifest as the API server stores it.
#[allow(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
pub(crate) fn cluster(spec: Value) -> PushCluster {
    serde_json::from_value(json!({
        "apiVersion": "pushcluster.io/v1alpha1",
        "kind": "PushCluster",
        "metadata": {
            "name": "live", "namespace": "shop", "uid": "1-2-3", "generation": 7,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
    }))
    .unwrap()
}

/// The operator's own Secrets, made, and those of users as given.
pub(crate) fn found(cluster: &PushCluster, users: &[(&str, &str, &str)]) -> Found {
    let names = Names::of(cluster);
    let mut found = Found::default();
    for kept in secrets::kept(&cluster.spec, &names) {
        found.secrets.push(kept.name.clone());
        let others = found.values.clone();
        let of = Circumstances { names: &names, others: &others, wire: Wire::Encrypted, now: NOW };
        for (key, value) in kept.complete(&BTreeMap::new(), &of).unwrap() {
            found.values.insert(SecretKey { name: kept.name.clone(), key }, value);
        }
    }
    for (name, key, value) in users {
        found.secrets.push((*name).to_owned());
        let at = SecretKey { name: (*name).to_owned(), key: (*key).to_owned() };
        found.values.insert(at, (*value).to_owned());
    }
    found
}

/// What the operator was started with.
pub(crate) fn defaults() -> Defaults {
    Defaults {
        gateway_image: "gateway:1".to_owned(),
        nats_image: "nats:1".to_owned(),
        operator_namespace: Some("push-system".to_owned()),
    }
}

/// What one of them holds.
fn held_by(found: &Found, name: &str) -> BTreeMap<String, String> {
    let own = found.values.iter().filter(|(at, _)| at.name == name);
    own.map(|(at, value)| (at.key.clone(), value.clone())).collect()
}

pub(crate) fn plan_with(spec: Value, users: &[(&str, &str, &str)]) -> Result<Plan, Invalid> {
    let cluster = cluster(spec);
    validate(&cluster, &defaults(), &found(&cluster, users))
}

fn plan(spec: Value) -> Plan {
    plan_with(spec, &[]).unwrap()
}

/// One of the objects that a manifest asks for.
fn built(plan: &Plan, kind: Kind, name: &str) -> Value {
    let capable = Capable { http_route: true, pod_monitor: true };
    let all = all(plan, capable).unwrap();
    let found = all.into_iter().find(|one| one.kind == kind && one.name == name);
    found.unwrap_or_else(|| panic!("no {} {name}", kind.name())).body
}

fn names(plan: &Plan) -> Vec<String> {
    let all = all(plan, Capable::default()).unwrap();
    all.iter().map(|one| format!("{} {}", one.kind.name(), one.name)).collect()
}

fn gateway(plan: &Plan) -> Value {
    built(plan, Kind::Deployment, "live")["spec"]["template"]["spec"]["containers"][0].clone()
}

fn variable(container: &Value, name: &str) -> Value {
    let env = container["env"].as_array().unwrap();
    env.iter().find(|one| one["name"] == name).cloned().unwrap_or(Value::Null)
}

#[test]
fn everything_has_its_owner_and_can_be_found() {
    let plan = plan(json!({"ingress": {"host": "a.example.com"}}));
    let capable = Capable { http_route: true, pod_monitor: true };
    for one in all(&plan, capable).unwrap() {
        let meta = &one.body["metadata"];
        assert_eq!(meta["ownerReferences"][0]["uid"], "1-2-3", "{}", one.name);
        assert_eq!(meta["ownerReferences"][0]["controller"], true);
        assert_eq!(meta["labels"]["app.kubernetes.io/managed-by"], "push-operator");
        assert_eq!(meta["namespace"], "shop");
    }
}

#[test]
fn pods_are_restricted() {
    let plan = plan(json!({}));
    for (kind, name) in [(Kind::Deployment, "live"), (Kind::StatefulSet, "live-nats")] {
        let pod = built(&plan, kind, name)["spec"]["template"]["spec"].clone();
        for off in [
            "hostNetwork",
            "hostPID",
            "hostIPC",
            "shareProcessNamespace",
            "automountServiceAccountToken",
            "enableServiceLinks",
        ] {
            assert_eq!(pod[off], false, "{name}: {off}");
        }
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["privileged"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        }
    }
}

#[test]
fn gateways_leave_one_by_one_and_in_peace() {
    let plan =
        plan(json!({"drain": {"delay": "5s", "period": "40s"}, "rollout": {"maxDraining": 2}}));
    let spec = built(&plan, Kind::Deployment, "live")["spec"].clone();
    assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], 60);
    assert_eq!(spec["minReadySeconds"], 45);
    assert_eq!(spec["progressDeadlineSeconds"], 645);
    assert_eq!(spec["strategy"]["rollingUpdate"], json!({"maxSurge": 2, "maxUnavailable": 0}));
    assert_eq!(gateway(&plan)["lifecycle"], Value::Null);
    assert_eq!(plan.config.boot["PUSH_DRAIN_DELAY"], "5s");
    assert_eq!(plan.config.boot["PUSH_DRAIN_PERIOD"], "40s");
}

#[test]
fn an_operator_has_time_to_notice_a_gateway_that_drains_longer_than_it_should() {
    let plan = plan(json!({"drain": {"delay": "0s", "period": "1s"}}));
    let spec = built(&plan, Kind::Deployment, "live")["spec"].clone();
    assert_eq!(spec["minReadySeconds"], 30);
    assert_eq!(spec["progressDeadlineSeconds"], 630);
    assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], 16);
}

#[test]
fn clients_stay_with_a_gateway_that_accepts() {
    let service = built(&plan(json!({})), Kind::Service, "live");
    assert_eq!(service["spec"]["sessionAffinity"], "ClientIP");
    assert_eq!(service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 90);
    assert_eq!(service["spec"]["selector"]["pushcluster.io/accepting"], "true");
    assert_eq!(service["spec"]["externalTrafficPolicy"], Value::Null);

    let outside = plan(
        json!({"service": {"client": {"type": "LoadBalancer", "sessionAffinity": {"type": "None"}}}}),
    );
    let service = built(&outside, Kind::Service, "live");
    assert_eq!(service["spec"]["externalTrafficPolicy"], "Local");
    assert_eq!(service["spec"]["sessionAffinity"], "None");
    assert_eq!(service["spec"]["sessionAffinityConfig"], Value::Null);

    let api = built(&outside, Kind::Service, "live-api");
    assert_eq!(api["spec"]["selector"]["pushcluster.io/accepting"], Value::Null);
    assert_eq!(api["spec"]["ports"][0]["targetPort"], "api");
}

#[test]
fn what_needs_a_restart_is_told_from_what_reloads() {
    let before = plan(json!({"channels": [{"match": "a"}]}));
    let rule = plan(json!({"channels": [{"match": "b"}], "limits": {"batch": 5}}));
    assert_eq!(before.config.boot_hash, rule.config.boot_hash);
    assert_ne!(before.config.file, rule.config.file);

    let boot = plan(json!({"channels": [{"match": "a"}], "limits": {"connections": 5}}));
    assert_ne!(before.config.boot_hash, boot.config.boot_hash);
    assert_eq!(boot.config.boot["PUSH_LIMITS_CONNECTIONS"], "5");
    assert!(!boot.config.file.contains("connections"));
    let template = |plan: &Plan| gateway(plan)["envFrom"][0]["configMapRef"]["name"].clone();
    assert_ne!(template(&before), template(&boot));
    let map = built(&boot, Kind::ConfigMap, template(&boot).as_str().unwrap());
    assert_eq!(map["immutable"], true);
}

#[test]
fn passwords_are_nowhere_but_in_secrets() {
    let cluster = cluster(json!({}));
    let found = found(&cluster, &[]);
    let plan = validate(&cluster, &defaults(), &found).unwrap();
    for one in all(&plan, Capable::default()).unwrap() {
        let text = one.body.to_string();
        for (at, value) in &found.values {
            if !matches!(at.key.as_str(), "username" | "url" | "keys.yaml" | "tls.crt" | "ca.crt") {
                assert!(
                    !text.contains(value.as_str()),
                    "{} shows {}/{}",
                    one.name,
                    at.name,
                    at.key
                );
            }
        }
    }
}

#[test]
fn gateways_get_what_they_share_and_their_own_address() {
    let container = gateway(&plan(json!({})));
    assert_eq!(variable(&container, "PUSH_PEER_ADVERTISE")["value"], "$(POD_IP)");
    let secret = &variable(&container, "PUSH_PEER_SECRET")["valueFrom"]["secretKeyRef"];
    assert_eq!(secret["name"], "live-internal");
    // A variable can only refer to one that stands before it.
    assert_eq!(container["env"][0]["name"], "POD_IP");
    assert_eq!(container["args"], json!(["serve", "--config", "/etc/push/push.yaml"]));
}

#[test]
fn managed_nats_is_a_cluster_of_three_or_one_alone() {
    let three = plan(json!({}));
    assert_eq!(three.stream_replicas, 3);
    let url = &three.config.boot["PUSH_RELAY_URL"];
    assert!(url.starts_with("tls://live-nats-0.live-nats.shop.svc:4222,"), "{url}");
    let servers = built(&three, Kind::StatefulSet, "live-nats");
    let args = servers["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(args.contains("--routes") && args.contains("live-nats-2.live-nats.shop.svc:6222"));
    let conf = built(&three, Kind::ConfigMap, "live-nats")["data"]["nats.conf"].to_string();
    assert!(conf.contains("cluster {") && conf.contains("pushcluster.shop.live.pub.>"));

    let one = plan(json!({"nats": {"managed": {"replicas": 1}}}));
    assert_eq!(one.stream_replicas, 1);
    let servers = built(&one, Kind::StatefulSet, "live-nats");
    assert!(!servers.to_string().contains("--routes"));
}

#[test]
fn a_volume_that_grows_leaves_the_template_as_it_was() {
    let cluster = cluster(json!({"nats": {"managed": {"storage": {"size": "20Gi"}}}}));
    let mut found = found(&cluster, &[]);
    found.claim_size = Some("10Gi".to_owned());
    let plan = validate(&cluster, &defaults(), &found).unwrap();
    let servers = built(&plan, Kind::StatefulSet, "live-nats");
    let claim = &servers["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"];
    assert_eq!(claim["storage"], "10Gi");
    assert_eq!(plan.managed_nats().unwrap().wanted_size, "20Gi");
}

#[test]
fn external_nats_is_somebody_elses() {
    let spec = json!({"nats": {"external": {
        "url": "tls://a:4222", "prefix": "shop",
        "credentials": {"type": "CredsFile", "secretRef": {"name": "n", "key": "user.creds"}},
        "tls": {"ca": {"name": "c", "key": "ca.crt"}},
    }}});
    let plan = plan_with(spec, &[("n", "user.creds", "x"), ("c", "ca.crt", "y")]).unwrap();
    assert!(!names(&plan).iter().any(|name| name.contains("nats")), "{:?}", names(&plan));
    assert_eq!(plan.config.boot["PUSH_RELAY_CREDENTIALS"], "/run/push/nats/credentials");
    assert_eq!(plan.config.boot["PUSH_RELAY_TLS_CA"], "/run/push/nats-ca/ca.crt");
    assert_eq!(plan.config.boot["PUSH_RELAY_PREFIX"], "shop");
    let mounts = gateway(&plan)["volumeMounts"].to_string();
    assert!(mounts.contains("/run/push/nats-ca"), "{mounts}");
    // A file that is mounted alone is never updated.
    assert!(!mounts.contains("subPath"));
}

#[test]
fn the_network_policy_lets_in_whom_it_must() {
    let policy = built(&plan(json!({})), Kind::NetworkPolicy, "live");
    let from = |port: i64| {
        let rules = policy["spec"]["ingress"].as_array().unwrap();
        rules.iter().find(|rule| rule["ports"][0]["port"] == port).unwrap()["from"].clone()
    };
    assert_eq!(from(8080), Value::Null, "clients come from everywhere");
    assert_eq!(from(8081), json!([{"podSelector": {}}]), "apps of the namespace");
    assert!(from(8082).to_string().contains("pushcluster-gateway"));

    let only = plan(
        json!({"networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}]}}),
    );
    let text = built(&only, Kind::NetworkPolicy, "live").to_string();
    assert!(text.contains("push-system"), "the operator reads every gateway's status: {text}");
    let none = plan(json!({"networkPolicy": {"enabled": false}}));
    assert!(!names(&none).iter().any(|name| name.contains("NetworkPolicy")));
}

#[test]
fn ways_in_from_outside() {
    let plan = plan(json!({
        "ingress": {"host": "a.example.com", "className": "haproxy", "tlsSecret": "t"},
        "httpRoute": {"parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnames": ["a.example.com"]},
        "monitoring": {"podMonitor": true, "labels": {"release": "p"}},
    }));
    let ingress = built(&plan, Kind::Ingress, "live");
    assert_eq!(ingress["spec"]["tls"][0]["secretName"], "t");
    assert_eq!(
        ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"],
        "live"
    );
    let route = built(&plan, Kind::HttpRoute, "live");
    assert_eq!(route["spec"]["parentRefs"], json!([{"name": "public", "namespace": "gateways"}]));
    let monitor = built(&plan, Kind::PodMonitor, "live");
    assert_eq!(monitor["metadata"]["labels"]["release"], "p");
    // Where the API server doesn't know them they are left out.
    let names = names(&plan).join(" ");
    assert!(!names.contains("HTTPRoute") && !names.contains("PodMonitor"));
}

#[test]
fn other_api_keys_need_no_new_pods() {
    let hash = "9f".repeat(32);
    let keys = format!("- {{name: own, sha256: {hash}, scopes: [publish]}}\n");
    let own = json!({"auth": {"apiKeysSecret": {"name": "keys"}}});
    let own = plan_with(own, &[("keys", "keys.yaml", &keys)]).unwrap();
    let made = plan(json!({}));
    // But for the hash of passwords, which each plan makes anew here.
    let template = |plan| {
        let template = built(plan, Kind::Deployment, "live")["spec"]["template"].clone();
        (template["spec"].clone(), template["metadata"]["labels"].clone())
    };
    assert_eq!(template(&own), template(&made));
    let file = |plan| built(plan, Kind::Secret, "live-config")["data"]["keys.yaml"].clone();
    assert_ne!(file(&own), file(&made));
}
