#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{View, is_news, status};
use crate::controller::apply::{Conflict, Outcome};
use crate::controller::build::Capable;
use crate::controller::build::tests::{cluster, plan_with};
use crate::controller::gateways::{GatewayStatus, NatsSeen, Seen};
use crate::controller::kinds::Kind;
use crate::controller::live::{PodLive, Workload};
use crate::controller::validate::Invalid;
use crate::crd::PushClusterStatus;
use crate::events::{self, Say};

const URL: &str = "nats://nats.example.com:4222";

/// A cluster of three gateways on external NATS, as it is when all is well.
struct Scene {
    gateways: Workload,
    pods: Vec<PodLive>,
    seen: BTreeMap<String, Seen>,
    outcome: Outcome,
    invalid: Option<Invalid>,
    servers: Vec<PodLive>,
    /// What the StatefulSet of managed NATS says; none: NATS is external.
    managed: Option<Workload>,
    servers_gone: Vec<String>,
    before: PushClusterStatus,
    /// When it is looked at, in seconds.
    at: i64,
}

impl Scene {
    fn well() -> Self {
        let plan = plan_with(json!({"nats": {"external": {"url": URL}}}), &[]).unwrap();
        let pods = ["a", "b", "c"]
            .map(|name| PodLive { name: name.to_owned(), ready: true, ..PodLive::default() })
            .to_vec();
        let status = GatewayStatus {
            version: super::VERSION.to_owned(),
            connections: 100,
            accepting: true,
            config_hash: plan.config.expected_hash.unwrap(),
            nats: NatsSeen { connected: true, error: None, version: Some("2.15.2".to_owned()) },
            ..GatewayStatus::default()
        };
        let seen = pods.iter().map(|pod| (pod.name.clone(), Seen::Status(status.clone())));
        Self {
            gateways: Workload {
                wanted: 3,
                ready: 3,
                updated: 3,
                replicas: 3,
                observed: true,
                ..Workload::default()
            },
            seen: seen.collect(),
            pods,
            outcome: Outcome::default(),
            invalid: None,
            servers: Vec::new(),
            managed: None,
            servers_gone: Vec::new(),
            before: PushClusterStatus::default(),
            at: 1_000,
        }
    }

    fn with(mut self, name: &str, change: impl Fn(&mut GatewayStatus)) -> Self {
        if let Some(Seen::Status(status)) = self.seen.get_mut(name) {
            change(status);
        }
        self
    }

    fn status(&self) -> PushClusterStatus {
        self.look().0
    }

    /// The reasons of what is said now.
    fn said(&self) -> Vec<&'static str> {
        self.look().1.iter().map(|say| say.reason).collect()
    }

    /// A look, and what it says is what was written last.
    fn goes_on(&mut self) -> Vec<&'static str> {
        let (status, said) = self.look();
        self.before = status;
        said.iter().map(|say| say.reason).collect()
    }

    fn look(&self) -> (PushClusterStatus, Vec<Say>) {
        let nats = match &self.managed {
            Some(_) => json!({"managed": {}}),
            None => json!({"external": {"url": URL}}),
        };
        let plan = plan_with(json!({"nats": nats}), &[]).unwrap();
        let cluster = cluster(json!({"nats": nats}));
        let view = View {
            cluster: &cluster,
            plan: self.invalid.as_ref().map_or(Ok(&plan), Err),
            gateways: Some(self.gateways.clone()),
            servers: self.managed.clone(),
            pods: &self.pods,
            server_pods: &self.servers,
            seen: &self.seen,
            gone: &[],
            servers_gone: &self.servers_gone,
            late: &[],
            before: &self.before,
            outcome: &self.outcome,
            failed: None,
            capable: Capable::default(),
            now: self.at,
        };
        let status = status(&view, &Time(Timestamp::from_second(self.at).unwrap()));
        let said = events::all(&cluster, &view, &status);
        (status, said)
    }

    fn condition(&self, kind: &str) -> Condition {
        let all = self.status().conditions;
        all.into_iter().find(|one| one.type_ == kind).unwrap_or_else(|| panic!("no {kind}"))
    }
}

#[track_caller]
fn says(condition: &Condition, status: &str, words: &str) {
    assert_eq!(condition.status, status, "{condition:?}");
    assert!(condition.message.contains(words), "{}", condition.message);
}

// The peer secret and the API key are drawn anew for every plan, so hashes of
// two plans differ; what is compared here does not depend on it.
#[test]
fn all_is_well() {
    let scene = Scene::well();
    says(&scene.condition("Ready"), "True", "3 of 3 gateways are ready");
    says(&scene.condition("NatsReady"), "True", URL);
    says(&scene.condition("Progressing"), "False", "as the manifest wants");
    says(&scene.condition("Degraded"), "False", "nothing is wrong");
    let status = scene.status();
    assert_eq!((status.connections, status.replicas, status.draining_replicas), (300, 3, 0));
    assert_eq!(status.nats.unwrap().version.as_deref(), Some("2.15.2"));
}

#[test]
fn nats_is_away_and_it_says_how_many_notice() {
    let scene = Scene::well().with("a", |status| {
        status.nats = NatsSeen {
            connected: false,
            error: Some("connection refused".to_owned()),
            version: None,
        };
    });
    let nats = scene.condition("NatsReady");
    says(
        &nats,
        "False",
        "1 of 3 gateways cannot reach nats://nats.example.com:4222: connection refused",
    );
    says(&scene.condition("Ready"), "False", "connection refused");
}

#[test]
fn a_gateway_that_ended_over_nats_says_why() {
    let mut scene = Scene::well();
    scene.seen.clear();
    scene.gateways.ready = 0;
    for pod in &mut scene.pods {
        pod.problem =
            Some("CrashLoopBackOff: back-off; it ended with: cannot reach NATS at x".to_owned());
    }
    says(&scene.condition("NatsReady"), "False", "cannot reach NATS at x");
    says(&scene.condition("Ready"), "False", "a, b, c: CrashLoopBackOff");
    says(&scene.condition("Degraded"), "True", "CrashLoopBackOff");
}

/// Only what gateways say is said of NATS.
#[test]
fn gateways_that_start_slowly_say_nothing_of_nats() {
    let mut scene = Scene::well();
    scene.gateways.ready = 0;
    for pod in &mut scene.pods {
        (pod.ready, pod.started) = (false, Some(950));
        scene.seen.insert(pod.name.clone(), Seen::Silent("connection refused".to_owned()));
    }
    says(&scene.condition("NatsReady"), "Unknown", "no gateway has said yet");
    scene.pods[0].started = Some(900);
    says(&scene.condition("NatsReady"), "Unknown", "no gateway answers the operator");
    assert!(!scene.said().contains(&"NatsUnreachable"));
    // A container that can't be made is not NATS' fault, whatever its Secret is called.
    let problem = "CreateContainerConfigError: secret \"live-nats-gateway\" not found";
    scene.pods[0].problem = Some(problem.to_owned());
    assert!(!scene.said().contains(&"NatsUnreachable"));
}

#[test]
fn managed_nats_may_start_as_slowly_as_its_gateways() {
    let mut scene = Scene::well();
    scene.managed = Some(Workload { wanted: 3, ready: 1, ..Workload::default() });
    scene.gateways.ready = 0;
    for (name, started) in [("a", 950), ("b", 950), ("c", 950)] {
        scene = scene.with(name, |status| {
            status.nats.connected = false;
            status.nats.error = Some("no such host".to_owned());
        });
        let pod = scene.pods.iter_mut().find(|pod| pod.name == name).unwrap();
        (pod.ready, pod.started) = (false, Some(started));
    }
    says(&scene.condition("NatsReady"), "False", "1 of 3 NATS servers are ready");
    scene.managed = Some(Workload { wanted: 3, ready: 3, ..Workload::default() });
    says(
        &scene.condition("NatsReady"),
        "Unknown",
        "have not reached tls://live-nats.shop.svc:4222 yet",
    );
    assert!(!scene.said().contains(&"NatsUnreachable"));
    // Too late for a start.
    scene.pods[1].started = Some(900);
    says(&scene.condition("NatsReady"), "False", "1 of 3 gateways cannot reach");
    assert!(scene.said().contains(&"NatsUnreachable"));
    // Nor is one that was ready starting.
    scene.pods[1].started = Some(950);
    scene.pods[2].ready = true;
    assert!(scene.said().contains(&"NatsUnreachable"));
}

#[test]
fn a_missing_secret_is_named_where_one_looks() {
    let mut scene = Scene::well();
    let message = "Secret \"x\" has no key \"y\"".to_owned();
    scene.invalid = Some(Invalid::Secret { nats: true, message });
    says(&scene.condition("NatsReady"), "False", "Secret \"x\" has no key \"y\"");
    says(&scene.condition("Ready"), "False", "Secret \"x\" has no key \"y\"");
}

#[test]
fn it_says_who_has_not_loaded_the_configuration() {
    let scene =
        Scene::well().with("b", |status| "000000000000".clone_into(&mut status.config_hash));
    let loaded = scene.condition("ConfigLoaded");
    says(&loaded, "False", "b");
    assert_eq!(scene.status().config_hash, None);
    // Gateways of another version load to another hash; equal is all one can ask.
    let mut other = Scene::well();
    for name in ["a", "b", "c"] {
        other = other.with(name, |status| {
            "0.0.9".clone_into(&mut status.version);
            "111111111111".clone_into(&mut status.config_hash);
        });
    }
    says(&other.condition("ConfigLoaded"), "True", "111111111111");
}

#[test]
fn a_strangers_object_is_named() {
    let mut scene = Scene::well();
    scene.outcome.conflicts.push(Conflict { kind: Kind::Service, name: "live-api".to_owned() });
    says(&scene.condition("ResourceConflict"), "True", "Service \"live-api\"");
    says(&scene.condition("Ready"), "False", "left alone");
    assert!(!Scene::well().status().conditions.iter().any(|one| one.type_ == "ResourceConflict"));
}

#[test]
fn a_rollout_under_way() {
    let mut scene = Scene::well();
    scene.gateways.updated = 1;
    scene.pods[0].deleting = true;
    says(
        &scene.condition("Progressing"),
        "True",
        "1 of 3 gateways are of the newest version; 1 drains",
    );
    assert_eq!(scene.status().draining_replicas, 1);
    scene.gateways.ready = 4;
    says(&scene.condition("Ready"), "True", "3 of 3 gateways are ready");
    scene.outcome.waits = true;
    let message = scene.condition("Progressing").message;
    assert!(message.ends_with("; 1 drains, and the next waits until that has ended"), "{message}");
    scene.outcome.waits = false;
}

#[test]
fn connections_alone_are_news_only_now_and_then() {
    let at = |connections| PushClusterStatus { connections, ..PushClusterStatus::default() };
    let news = |from, to, seconds| {
        let mut now = at(to);
        is_news(&at(from), &mut now, Duration::from_secs(seconds))
    };
    assert!(!news(1_000, 1_040, 60), "less than 5 %");
    assert!(!news(1_000, 2_000, 10), "too soon");
    assert!(news(1_000, 1_050, 30));
    assert!(news(0, 1, 30));
    // Another reason to write takes nothing away from that.
    let mut now = PushClusterStatus { ready_replicas: 1, ..at(1_001) };
    assert!(is_news(&at(1_000), &mut now, Duration::from_mins(1)));
    assert_eq!(now.connections, 1_000);
}

#[test]
fn a_rollout_begins_and_ends_once() {
    let mut scene = Scene::well();
    assert!(!scene.goes_on().iter().any(|reason| reason.starts_with("Rollout")));
    // A new template: first nothing is known, then one new gateway is there.
    scene.gateways.observed = false;
    assert!(!scene.goes_on().contains(&"RolloutStarted"));
    scene.gateways = Workload { observed: true, updated: 1, replicas: 4, ..scene.gateways };
    assert!(scene.goes_on().contains(&"RolloutStarted"));
    assert!(!scene.goes_on().contains(&"RolloutStarted"), "once");
    scene.gateways = Workload { updated: 3, replicas: 3, ..scene.gateways };
    scene.pods[0].deleting = true;
    assert_eq!(scene.condition("Progressing").reason, "RollingOut", "the last one drains");
    assert!(!scene.goes_on().contains(&"RolloutFinished"));
    scene.pods[0].deleting = false;
    assert!(scene.goes_on().contains(&"RolloutFinished"));
    assert!(!scene.goes_on().contains(&"RolloutFinished"), "once");
}

/// Another number of gateways, or one that dies, is no rollout.
#[test]
fn a_lost_gateway_is_no_rollout() {
    let mut scene = Scene::well();
    scene.goes_on();
    scene.gateways = Workload { ready: 2, updated: 2, replicas: 2, ..scene.gateways };
    assert!(!scene.goes_on().contains(&"RolloutStarted"));
    assert_eq!(scene.condition("Progressing").reason, "Adjusting");
    scene.gateways = Workload { ready: 3, updated: 3, replicas: 3, ..scene.gateways };
    assert!(!scene.goes_on().contains(&"RolloutFinished"));
}

#[test]
fn a_nats_server_that_goes_is_named() {
    let mut scene = Scene::well();
    assert!(!scene.said().iter().any(|reason| reason.starts_with("NatsServer")));
    scene.servers_gone = vec!["live-nats-1".to_owned()];
    assert!(scene.said().contains(&"NatsServerGone"));
    let restarted = PodLive { name: "live-nats-0".to_owned(), restarts: 2, ..PodLive::default() };
    scene.servers = vec![restarted];
    let (_, said) = scene.look();
    let note = said.iter().find(|say| say.reason == "NatsServerRestarted").unwrap();
    assert!(note.note.contains("live-nats-0 was started again, 2 times"), "{}", note.note);
}

/// Whoever comes to act knows nothing of what was said before.
#[test]
fn a_restart_is_said_once_by_whichever_operator() {
    let mut scene = Scene::well();
    let pod = |uid: &str, restarts, started| PodLive {
        name: "live-nats-0".to_owned(),
        uid: uid.to_owned(),
        restarts,
        started,
        ..PodLive::default()
    };
    let mut once = |server: PodLive| {
        scene.servers = vec![server];
        let said = scene.look().1.into_iter().find(|say| say.reason == "NatsServerRestarted");
        said.map(|say| say.once.expect("it happens once"))
    };
    let first = once(pod("a", 1, Some(990)));
    assert_eq!(first, once(pod("a", 1, Some(990))), "the same to every operator");
    assert_ne!(first, once(pod("a", 2, Some(995))), "it happened again");
    assert_ne!(first, once(pod("b", 1, Some(990))), "to another pod");
    assert_eq!(once(pod("a", 1, Some(1_000 - 3_600))), None, "its Event is gone by now");
}

#[test]
fn what_holds_is_said_once_by_whichever_operator_until_it_ends() {
    let mut scene = Scene::well();
    let once = |scene: &mut Scene, reason: &str| {
        scene.at += 100;
        let (status, said) = scene.look();
        scene.before = status;
        let said = said.into_iter().find(|say| say.reason == reason);
        said.map(|say| say.once.expect("it holds"))
    };
    let ready = once(&mut scene, "Ready");
    assert!(ready.is_some());
    assert_eq!(ready, once(&mut scene, "Ready"), "the same to every operator");
    scene.gateways.ready = 0;
    scene.pods.iter_mut().for_each(|pod| pod.ready = false);
    assert_eq!(once(&mut scene, "Ready"), None);
    scene.gateways.ready = 3;
    scene.pods.iter_mut().for_each(|pod| pod.ready = true);
    assert_ne!(ready, once(&mut scene, "Ready"), "it was not in between");
}
