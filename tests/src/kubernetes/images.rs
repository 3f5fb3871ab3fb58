//! What the images are called: as the operator and the chart call them, unless
//! an own cluster pulls them from elsewhere.

/// `PUSHCLUSTER_GATEWAY_IMAGE`, or the one that `cluster images` loads.
pub fn gateway() -> String {
    image("PUSHCLUSTER_GATEWAY_IMAGE", "gateway", env!("CARGO_PKG_VERSION"))
}

/// `PUSHCLUSTER_OPERATOR_IMAGE`, or the one that `cluster images` loads.
pub fn operator() -> String {
    image("PUSHCLUSTER_OPERATOR_IMAGE", "operator", env!("CARGO_PKG_VERSION"))
}

/// `PUSHCLUSTER_NATS_IMAGE`, or the one that `cluster images` loads.
///
/// # Panics
///
/// When `tests/cluster/go.mod` names no version of NATS.
pub fn nats() -> String {
    let version = include_str!("../../cluster/go.mod")
        .lines()
        .find_map(|line| line.trim().strip_prefix("github.com/nats-io/nats-server/v2 v"))
        .and_then(|rest| rest.split_whitespace().next())
        .expect("tests/cluster/go.mod names NATS' version");
    image("PUSHCLUSTER_NATS_IMAGE", "nats-server", version)
}

fn image(variable: &str, name: &str, version: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| format!("ghcr.io/pushcluster/{name}:{version}"))
}
