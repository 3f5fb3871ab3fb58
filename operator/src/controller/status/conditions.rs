//! Each condition by itself.

use super::{Finding, VERSION, View, nats_url};
use crate::controller::apply::Held;
use crate::controller::gateways::{GatewayStatus, Seen};
use crate::controller::live::PodLive;
use crate::controller::plan::Plan;
use crate::controller::validate::Invalid;
use crate::crd::PushClusterStatus;

/// Seconds that a gateway may take to start, and managed NATS with it.
const STARTS_WITHIN: i64 = 60;

/// All that apply, in the order in which people read them.
pub(super) fn all(view: &View<'_>) -> Vec<Finding> {
    let nats = nats_ready(view);
    let mut all =
        vec![ready(view, &nats), progressing(view), nats, config_loaded(view), degraded(view)];
    if !view.outcome.conflicts.is_empty() {
        let lines: Vec<_> = view.outcome.conflicts.iter().map(ToString::to_string).collect();
        all.push(Finding::new("ResourceConflict", "True", "NameTaken", lines.join("; ")));
    }
    if let Ok(plan) = view.plan
        && let Some(monitoring) = monitoring_ready(view, plan)
    {
        all.push(monitoring);
    }
    all
}

fn ready(view: &View<'_>, nats: &Finding) -> Finding {
    let no = |reason, message: String| Finding::new("Ready", "False", reason, message);
    let plan = match view.plan {
        Ok(plan) => plan,
        Err(invalid) => return no(invalid_reason(invalid), invalid.to_string()),
    };
    if let Some(failed) = &view.failed {
        return no("RequestFailed", failed.clone());
    }
    if let Some(error) = view.outcome.errors.first() {
        return no("ApplyFailed", error.to_string());
    }
    if let Some(conflict) = view.outcome.conflicts.first() {
        return no("ResourceConflict", conflict.to_string());
    }
    if plan.replicas == 0 {
        return no("ScaledToZero", "spec.replicas is 0, so there are no gateways".to_owned());
    }
    // In a rollout there are more than wanted.
    let ready = view.gateways.as_ref().map_or(0, |gateways| gateways.ready).min(plan.replicas);
    let mut message = format!("{ready} of {} gateways are ready", plan.replicas);
    if ready < plan.replicas {
        if let Some(problem) = pod_problems(view).into_iter().next() {
            message = format!("{message}; {problem}");
        } else if nats.status == "False" {
            message = format!("{message}; {}", nats.message);
        }
        return no("GatewaysNotReady", message);
    }
    if nats.status == "False" {
        return no("NatsNotReady", nats.message.clone());
    }
    Finding::new("Ready", "True", "GatewaysReady", message)
}

fn progressing(view: &View<'_>) -> Finding {
    let Ok(plan) = view.plan else {
        return Finding::new("Progressing", "False", "Invalid", "nothing is changed; see Ready");
    };
    let gateways = view.gateways.clone().unwrap_or_default();
    if let Some(stalled) = &gateways.stalled {
        let message = format!("the rollout stands still: {stalled}; see Degraded");
        return Finding::new("Progressing", "False", "Stalled", message);
    }
    if let Some(held) = view.outcome.held {
        let (reason, message) = match held {
            Held::Nats => ("RenewingNats", "NATS servers are renewed one by one; gateways follow"),
            Held::Drain => {
                ("RollingOut", "another version is wanted; it waits until fewer gateways drain")
            }
        };
        return Finding::new("Progressing", "True", reason, message);
    }
    let leaving = view.pods.iter().filter(|pod| pod.deleting).count();
    let settled = gateways.observed
        && gateways.updated == plan.replicas
        && gateways.replicas == plan.replicas
        && gateways.ready == plan.replicas
        && leaving == 0;
    if settled {
        return Finding::new(
            "Progressing",
            "False",
            "Settled",
            "all gateways are as the manifest wants them",
        );
    }
    // A rollout lasts until all is settled; a pod that dies, or another number of
    // them, is none.
    let rolling = is_rolling(view.before)
        || (gateways.observed && gateways.updated > 0 && gateways.replicas > gateways.updated);
    let (reason, mut message) = if rolling {
        let message =
            format!("{} of {} gateways are of the newest version", gateways.updated, plan.replicas);
        ("RollingOut", message)
    } else {
        ("Adjusting", format!("{} of {} gateways are ready", gateways.ready, plan.replicas))
    };
    match leaving {
        0 => {}
        1 => message.push_str("; 1 drains"),
        _ => message = format!("{message}; {leaving} drain"),
    }
    if view.outcome.waits {
        message.push_str(", and the next waits until that has ended");
    }
    Finding::new("Progressing", "True", reason, message)
}

/// Whether a status says that a rollout is under way.
pub fn is_rolling(status: &PushClusterStatus) -> bool {
    const REASONS: [&str; 3] = ["RollingOut", "RenewingNats", "Stalled"];
    let all = &status.conditions;
    all.iter().any(|one| one.type_ == "Progressing" && REASONS.contains(&one.reason.as_str()))
}

fn nats_ready(view: &View<'_>) -> Finding {
    let finding =
        |status, reason, message: String| Finding::new("NatsReady", status, reason, message);
    let plan = match view.plan {
        Ok(plan) => plan,
        Err(Invalid::Secret { nats: true, message }) => {
            return finding("False", "SecretMissing", message.clone());
        }
        Err(_) => {
            return finding("Unknown", "Invalid", "the manifest is invalid; see Ready".to_owned());
        }
    };
    let url = nats_url(plan);
    let mut known = answering(view);
    // One that is at its first attempt knows nothing yet.
    known.retain(|(_, status)| status.nats.connected || status.nats.error.is_some());
    let (there, cut): (Vec<_>, Vec<_>) =
        known.iter().partition(|(_, status)| status.nats.connected);
    // Managed NATS starts together with its gateways: that they don't find it at
    // first is no fault.
    let managed = plan.managed_nats().is_some();
    let (starting, cut): (Vec<_>, Vec<_>) =
        cut.into_iter().partition(|(pod, _)| managed && !pod.ready && is_young(pod, view.now));
    let error = |status: &GatewayStatus| status.nats.error.clone().unwrap_or_default();
    if let Some((_, first)) = cut.first() {
        let who = if cut.len() == known.len() {
            "gateways".to_owned()
        } else {
            format!("{} of {} gateways", cut.len(), known.len())
        };
        let message = format!("{who} cannot reach {url}: {}", error(first));
        return finding("False", "Unreachable", message);
    }
    if !there.is_empty() {
        let message = format!("{} connected to {url}", gateways_are(there.len()));
        return finding("True", "Connected", message);
    }
    // Nobody answers; what ended the gateways may say why.
    let ended = staying(view).filter_map(|pod| pod.problem.as_ref());
    let mut ended = ended.filter_map(|problem| problem.split_once("it ended with: "));
    if let Some((_, words)) = ended.find(|(_, words)| words.to_lowercase().contains("nats")) {
        return finding("False", "Unreachable", format!("gateways cannot reach {url}: {words}"));
    }
    if let Some(servers) = view.servers.as_ref().filter(|servers| servers.ready < servers.wanted) {
        let message = format!("{} of {} NATS servers are ready", servers.ready, servers.wanted);
        return finding("False", "ServersNotReady", message);
    }
    if let Some((_, first)) = starting.first() {
        let message = format!("gateways start, and have not reached {url} yet: {}", error(first));
        return finding("Unknown", "Starting", message);
    }
    // They would say what is wrong with NATS: so it is something else.
    let silent = staying(view).any(|pod| {
        let asked = matches!(view.seen.get(&pod.name), Some(Seen::Silent(_)));
        asked && pod.started.is_some() && !is_young(pod, view.now)
    });
    if silent {
        let message = format!(
            "no gateway answers the operator {STARTS_WITHIN} s after its start, so nobody says whether it reaches {url}; read the gateways' log"
        );
        return finding("Unknown", "GatewaysSilent", message);
    }
    finding("Unknown", "NoGateway", "no gateway has said yet whether it reaches NATS".to_owned())
}

/// Gateways that are to stay.
fn staying<'a>(view: &View<'a>) -> impl Iterator<Item = &'a PodLive> {
    view.pods.iter().filter(|pod| !pod.deleting)
}

/// Those of them that have answered, and what.
pub(super) fn answering<'a>(view: &View<'a>) -> Vec<(&'a PodLive, &'a GatewayStatus)> {
    let seen = view.seen;
    staying(view)
        .filter_map(|pod| match seen.get(&pod.name)? {
            Seen::Status(status) => Some((pod, status)),
            Seen::Silent(_) => None,
        })
        .collect()
}

/// Whether a pod was started so recently that it may still be starting.
fn is_young(pod: &PodLive, now: i64) -> bool {
    pod.started.is_none_or(|started| now - started < STARTS_WITHIN)
}

fn config_loaded(view: &View<'_>) -> Finding {
    let finding =
        |status, reason, message: String| Finding::new("ConfigLoaded", status, reason, message);
    let plan = match view.plan {
        Ok(plan) => plan,
        Err(invalid) => {
            let message = format!("the configuration before stays in force: {invalid}");
            return finding("False", invalid_reason(invalid), message);
        }
    };
    let staying: Vec<_> = view.pods.iter().filter(|pod| !pod.deleting).collect();
    if staying.is_empty() {
        return finding("Unknown", "NoGateway", "there is no gateway".to_owned());
    }
    let hash = |name: &str| match view.seen.get(name) {
        Some(Seen::Status(status)) => Some((status.config_hash.as_str(), status.version.as_str())),
        _ => None,
    };
    // Gateways of another version may know other keys, and so another hash.
    let expected = plan.config.expected_hash.as_deref();
    let first = staying.iter().find_map(|pod| hash(&pod.name)).map(|(hash, _)| hash);
    let late: Vec<_> = staying
        .iter()
        .filter(|pod| match hash(&pod.name) {
            Some((hash, version)) if version == VERSION => Some(hash) != expected,
            Some((hash, _)) => Some(hash) != first,
            None => true,
        })
        .map(|pod| pod.name.as_str())
        .collect();
    if late.is_empty() {
        let message =
            format!("every gateway ({}) has loaded {}", staying.len(), first.unwrap_or_default());
        return finding("True", "Loaded", message);
    }
    let message = format!(
        "{} of {} gateways have loaded it; not yet: {}. Kubernetes takes up to two minutes to update mounted files; what needs a restart is rolled out",
        staying.len() - late.len(),
        staying.len(),
        late.join(", ")
    );
    finding("False", "Loading", message)
}

fn degraded(view: &View<'_>) -> Finding {
    let mut problems = Vec::new();
    let mut reason = "";
    let mut add = |why: &'static str, lines: Vec<String>| {
        if !lines.is_empty() && reason.is_empty() {
            reason = why;
        }
        problems.extend(lines);
    };
    add("RequestFailed", view.failed.iter().cloned().collect());
    add("ApplyFailed", view.outcome.errors.iter().map(ToString::to_string).collect());
    let gateways = view.gateways.clone().unwrap_or_default();
    add("GatewaysFailing", gateways.failing.into_iter().chain(gateways.stalled).collect());
    add("GatewaysFailing", pod_problems(view));
    if let Ok(plan) = view.plan
        && plan.spec.http_route.is_some()
        && !view.capable.http_route
    {
        let line = "httpRoute is set, but this Kubernetes has no HTTPRoute; install the Gateway API (it is looked for every 5 minutes)";
        add("NoHttpRoute", vec![line.to_owned()]);
    }
    if let Some(servers) = &view.servers {
        // While everything starts, that is no fault.
        let missing = servers.ready < servers.wanted && !answering(view).is_empty();
        let line = format!("{} of {} NATS servers are ready", servers.ready, servers.wanted);
        add("NatsDegraded", missing.then_some(line).into_iter().collect());
        add("NatsDegraded", servers.failing.iter().cloned().collect());
    }
    add("NatsBehind", view.late.to_vec());
    let foreign = &view.outcome.foreign;
    let line = format!(
        "fields that the operator does not set were set by others, and stay: {}; remove them, or put them into the manifest",
        foreign.join("; ")
    );
    add("ForeignFields", (!foreign.is_empty()).then_some(line).into_iter().collect());
    if problems.is_empty() {
        return Finding::new("Degraded", "False", "AsWanted", "nothing is wrong");
    }
    Finding::new("Degraded", "True", reason, problems.join("; "))
}

fn monitoring_ready(view: &View<'_>, plan: &Plan) -> Option<Finding> {
    let finding =
        |status, reason, message: &str| Finding::new("MonitoringReady", status, reason, message);
    let monitor = plan.spec.monitoring.as_ref().is_some_and(|m| m.pod_monitor == Some(true));
    match (monitor, view.capable.pod_monitor) {
        (true, false) => Some(finding(
            "False",
            "NoPodMonitor",
            "monitoring.podMonitor is true, but this Kubernetes has no PodMonitor; install the Prometheus operator (it is looked for every 5 minutes)",
        )),
        (true, true) => Some(finding("True", "PodMonitorMade", "the PodMonitor is made")),
        _ => None,
    }
}

/// What keeps pods from running, each once.
fn pod_problems(view: &View<'_>) -> Vec<String> {
    let mut all: Vec<(String, Vec<&str>)> = Vec::new();
    for pod in view.pods.iter().filter(|pod| !pod.deleting) {
        let Some(problem) = &pod.problem else { continue };
        match all.iter_mut().find(|(known, _)| known == problem) {
            Some((_, pods)) => pods.push(&pod.name),
            None => all.push((problem.clone(), vec![&pod.name])),
        }
    }
    all.into_iter().map(|(problem, pods)| format!("{}: {problem}", pods.join(", "))).collect()
}

fn invalid_reason(invalid: &Invalid) -> &'static str {
    match invalid {
        Invalid::Secret { .. } => "SecretMissing",
        Invalid::Config(_) | Invalid::Spec(_) => "InvalidManifest",
    }
}

fn gateways_are(count: usize) -> String {
    if count == 1 { "1 gateway is".to_owned() } else { format!("{count} gateways are") }
}
