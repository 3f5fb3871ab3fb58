//! The chart and the operator on a real cluster: what a platform team does,
//! from `helm install` on.
//!
//! All tests share the operator. Those that disturb it, and those that count
//! the seconds until it has done something, keep out of each other's way:
//! [`CALM`].

// A test reports by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use tokio::sync::RwLock;

#[path = "kubernetes_operator/chart.rs"]
mod chart;
#[path = "kubernetes_operator/faults.rs"]
mod faults;
#[path = "kubernetes_operator/first.rs"]
mod first;
#[path = "kubernetes_operator/leader.rs"]
mod leader;
#[path = "kubernetes_operator/live_changes.rs"]
mod live_changes;
#[path = "kubernetes_operator/plugin.rs"]
mod plugin;
#[path = "kubernetes_operator/rollout.rs"]
mod rollout;
#[path = "kubernetes_operator/scale.rs"]
mod scale;
#[path = "kubernetes_operator/wrong.rs"]
mod wrong;

/// Read by whoever counts seconds; written by whoever takes the operator away.
static CALM: RwLock<()> = RwLock::const_new(());
