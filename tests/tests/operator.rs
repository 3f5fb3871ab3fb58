//! The operator against a real API server, without pods.

// A test fails by panicking, and may wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::process::ExitCode;

use tests::apiserver::{CONTROLLERS, Suite, rights};

#[path = "operator/drift.rs"]
mod drift;
#[path = "operator/examples.rs"]
mod examples;
#[path = "operator/invalid.rs"]
mod invalid;
#[path = "operator/life.rs"]
mod life;
#[path = "operator/pace.rs"]
mod pace;
#[path = "operator/replicas.rs"]
mod replicas;

fn main() -> ExitCode {
    Suite {
        controllers: CONTROLLERS,
        before: rights::grant,
        tests: &[
            ("invalid manifests are refused, and the message names the field", invalid::refused),
            ("valid manifests are taken", invalid::taken),
            ("what must not change is refused", invalid::immutable),
            ("a manifest becomes objects, and nothing is left of it", life::whole),
            ("a stranger's object is left alone", life::stranger),
            ("a missing Secret is a condition, and heals", life::missing_secret),
            ("a channel rule does not restart gateways, a boot setting does", life::reload),
            ("scaled by kubectl", life::scaled),
            ("paused, it is left alone", life::paused),
            ("kinds that Kubernetes may not have", life::optional_kinds),
            ("each example of the chart is carried out", examples::carried_out),
            ("hand edits are undone or reported", drift::undone),
            ("a rollout waits for a gateway that drains", pace::kept),
            ("a replica takes over when the leader goes", replicas::takes_over),
            ("in one namespace only", replicas::one_namespace),
            ("an operator of one namespace beside one of all", replicas::beside_another),
        ],
        last: Some(("every right of the chart is needed, and none is missing", rights::needed)),
    }
    .main()
}
