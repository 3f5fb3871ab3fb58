//! TLS: what is encrypted, and what a new certificate changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{NOW, all, built, cluster, defaults, found, gateway, held_by, plan};
use crate::controller::build::Capable;
use crate::controller::kinds::Kind;
use crate::controller::names::Names;
use crate::controller::plan::{Plan, Wire};
use crate::controller::secrets::{self, Circumstances};
use crate::controller::validate::{Found, validate};
use crate::crd::SecretKey;

/// The text of the NATS servers' configuration.
fn nats_conf(plan: &Plan) -> String {
    built(plan, Kind::ConfigMap, "live-nats")["data"]["nats.conf"].as_str().unwrap().to_owned()
}

/// As it is with a StatefulSet that is this far.
fn plan_at(spec: Value, wire: Wire) -> Plan {
    let cluster = cluster(spec);
    let mut found = found(&cluster, &[]);
    found.wire = wire;
    validate(&cluster, &defaults(), &found).unwrap()
}

#[test]
fn everything_on_the_wire_is_encrypted() {
    let plan = plan(json!({}));
    let conf = nats_conf(&plan);
    assert_eq!(conf.matches("tls {").count(), 2, "clients and routes: {conf}");
    assert!(!conf.contains("allow_non_tls"));
    assert_eq!(plan.config.boot["PUSH_RELAY_TLS_CA"], "/run/push/nats-ca/ca.crt");
    assert_eq!(plan.config.boot["PUSH_PEER_TLS_CERT"], "/run/push/peer/tls.crt");
    assert_eq!(plan.config.boot["PUSH_PEER_TLS_SERVER_NAME"], "live.shop.peers.pushcluster.io");
    let mounts = gateway(&plan)["volumeMounts"].to_string();
    for path in ["/run/push/nats-ca", "/run/push/peer", "/run/push/admin", "/etc/push"] {
        assert!(mounts.contains(path), "{path}: {mounts}");
    }
    // The authority's key is nobody's but the operator's.
    let volumes = [(Kind::Deployment, "live"), (Kind::StatefulSet, "live-nats")]
        .map(|(kind, name)| built(&plan, kind, name)["spec"]["template"].to_string());
    assert!(volumes.iter().all(|text| !text.contains("\"live-ca\"")), "{volumes:?}");
    let gateways = &volumes[0];
    assert!(!gateways.contains(
        r#"{"key":"tls.key","path":"tls.key"}],"optional":false,"secretName":"live-nats-tls""#
    ));

    let alone = plan_at(json!({"nats": {"managed": {"replicas": 1}}}), Wire::Encrypted);
    assert_eq!(nats_conf(&alone).matches("tls {").count(), 1);
}

/// Servers from before there was TLS are renewed one by one, and must find
/// each other meanwhile; what comes after takes no restart.
#[test]
fn an_upgrade_to_tls_leaves_no_server_alone() {
    let upgrading = plan_at(json!({}), Wire::Upgrading);
    let conf = nats_conf(&upgrading);
    assert_eq!(conf.matches("tls {").count(), 1, "not yet between servers: {conf}");
    assert!(conf.contains("allow_non_tls: true"), "gateways of before are still there");
    let upgraded = plan_at(json!({}), Wire::Upgraded);
    let conf = nats_conf(&upgraded);
    assert_eq!(conf.matches("tls {").count(), 2);
    assert!(conf.contains("allow_non_tls: true"), "apps of before are still there");
    let closed = plan_at(json!({"nats": {"managed": {"allowPlaintext": false}}}), Wire::Upgraded);
    assert!(!nats_conf(&closed).contains("allow_non_tls"));
    let template = |plan: &Plan| {
        built(plan, Kind::StatefulSet, "live-nats")["spec"]["template"]["metadata"]["annotations"]
            ["pushcluster.io/config"]
            .clone()
    };
    assert_eq!(template(&upgrading), template(&upgraded));
    // A server takes that when it starts, and then only.
    assert_ne!(template(&upgraded), template(&closed));
    let loaded = |plan: &Plan| plan.managed_nats().unwrap().loaded.clone();
    assert_ne!(loaded(&upgrading).hash, loaded(&upgraded).hash);
    assert!(!loaded(&upgrading).routes && loaded(&upgraded).routes && !loaded(&upgraded).clients);
    assert!(loaded(&closed).clients);
}

#[test]
fn the_way_to_tls_is_remembered_at_the_statefulset() {
    use crate::controller::live::{Live, Workload};
    let servers_of = |at: Option<&str>, updated: i32, available: i32| Live {
        annotations: at
            .map(|at| ("pushcluster.io/tls".to_owned(), at.to_owned()))
            .into_iter()
            .collect(),
        workload: Some(Workload {
            wanted: 3,
            ready: 3,
            available,
            replicas: 3,
            updated,
            observed: true,
            ..Workload::default()
        }),
        ..Live::default()
    };
    let servers = |at, updated| servers_of(at, updated, 3);
    assert_eq!(Wire::next(None), Wire::Encrypted, "a new one");
    assert_eq!(Wire::next(Some(&servers(None, 3))), Wire::Upgrading, "from before there was TLS");
    assert_eq!(Wire::next(Some(&servers(Some("upgrading"), 2))), Wire::Upgrading);
    assert_eq!(Wire::next(Some(&servers(Some("upgrading"), 3))), Wire::Upgraded);
    let just_ready = servers_of(Some("upgrading"), 3, 2);
    assert_eq!(Wire::next(Some(&just_ready)), Wire::Upgrading, "it may not have found the others");
    assert_eq!(Wire::next(Some(&servers(Some("upgraded"), 1))), Wire::Upgraded);
    assert_eq!(Wire::next(Some(&servers(Some("encrypted"), 1))), Wire::Encrypted);
    for wire in [Wire::Encrypted, Wire::Upgrading, Wire::Upgraded] {
        let body = built(&plan_at(json!({}), wire), Kind::StatefulSet, "live-nats");
        assert_eq!(body["metadata"]["annotations"]["pushcluster.io/tls"], wire.name());
    }
}

/// A new certificate is read by whoever has the old one, without a restart.
#[test]
fn a_new_certificate_restarts_nobody() {
    let cluster = cluster(json!({}));
    let names = Names::of(&cluster);
    let mut found = found(&cluster, &[]);
    let before = validate(&cluster, &defaults(), &found).unwrap();
    let later = NOW + 61 * 24 * 60 * 60;
    for kept in secrets::kept(&cluster.spec, &names) {
        let there = held_by(&found, &kept.name);
        let others = found.values.clone();
        let of = |now| Circumstances { names: &names, others: &others, wire: Wire::Encrypted, now };
        assert!(kept.complete(&there, &of(NOW)).unwrap().is_empty(), "{} rests", kept.name);
        let made = kept.complete(&there, &of(later)).unwrap();
        let wanted = kept.name.ends_with("-tls");
        assert_eq!(made.contains_key("tls.crt"), wanted, "{}: {:?}", kept.name, made.keys());
        for (key, value) in made {
            found.values.insert(SecretKey { name: kept.name.clone(), key }, value);
        }
    }
    let after = validate(&cluster, &defaults(), &found).unwrap();
    let bodies = |plan: &Plan| all(plan, Capable::default()).unwrap();
    assert_eq!(bodies(&before), bodies(&after), "no object changes but the Secret itself");
    let loaded = |plan: &Plan| plan.managed_nats().unwrap().loaded.clone();
    assert_ne!(loaded(&before).hash, loaded(&after).hash);
    assert_ne!(loaded(&before).until, loaded(&after).until);
}

/// An authority whose Secret is lost is trusted for as long as it lives.
#[test]
fn a_lost_authority_loses_nobodys_trust() {
    let cluster = cluster(json!({}));
    let names = Names::of(&cluster);
    let mut found = found(&cluster, &[]);
    let ca = |found: &Found| {
        found.values[&SecretKey { name: "live-ca".to_owned(), key: "tls.crt".to_owned() }].clone()
    };
    let old = ca(&found);
    found.values.retain(|at, _| at.name != "live-ca");
    for kept in secrets::kept(&cluster.spec, &names) {
        let there = held_by(&found, &kept.name);
        let others = found.values.clone();
        let of = Circumstances { names: &names, others: &others, wire: Wire::Encrypted, now: NOW };
        let made = kept.complete(&there, &of).unwrap();
        if kept.name.ends_with("-tls") {
            assert!(!made.contains_key("tls.crt"), "its certificate is still good");
        }
        for (key, value) in made {
            found.values.insert(SecretKey { name: kept.name.clone(), key }, value);
        }
    }
    assert_ne!(ca(&found), old);
    for name in ["live-nats-tls", "live-peer-tls", "live-nats-app"] {
        let bundle = &found.values[&SecretKey { name: name.to_owned(), key: "ca.crt".to_owned() }];
        assert!(bundle.contains(&old) && bundle.contains(&ca(&found)), "{name} trusts both");
    }
}

#[test]
fn apps_find_nats_with_tls_and_keep_what_a_person_has_set() {
    let cluster = cluster(json!({}));
    let names = Names::of(&cluster);
    let values = found(&cluster, &[]).values;
    let app = secrets::kept(&cluster.spec, &names)
        .into_iter()
        .find(|one| one.name == "live-nats-app")
        .unwrap();
    let url = |before: &str, wire| {
        let there = BTreeMap::from([("url".to_owned(), before.to_owned())]);
        let of = Circumstances { names: &names, others: &values, wire, now: NOW };
        app.complete(&there, &of).unwrap().remove("url")
    };
    let (plain, tls) = ("nats://live-nats.shop.svc:4222", "tls://live-nats.shop.svc:4222");
    assert_eq!(url("", Wire::Encrypted).as_deref(), Some(tls));
    assert_eq!(url("", Wire::Upgrading).as_deref(), Some(plain), "no server has it for sure");
    assert_eq!(url(plain, Wire::Upgrading), None);
    assert_eq!(url(plain, Wire::Upgraded).as_deref(), Some(tls));
    assert_eq!(url(tls, Wire::Upgraded), None);
    assert_eq!(url("tls://elsewhere:4222", Wire::Encrypted), None);
}
