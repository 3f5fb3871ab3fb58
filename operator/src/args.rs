//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::controller::validate::Defaults;

/// Turns PushCluster manifests into gateways, and keeps them true.
#[derive(Debug, Parser)]
#[command(name = "push-operator", version)]
pub struct Cli {
    /// What to do; `run` without any.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How `run` runs.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run(Box<RunArgs>),
    /// Print the definition of PushCluster, for `kubectl apply -f -`.
    Crd,
}

/// How to run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Watch this namespace only. Default: all.
    #[arg(long, env = "PUSH_OPERATOR_NAMESPACE")]
    pub namespace: Option<String>,
    /// The Lease that says which replica acts.
    #[arg(long, env = "PUSH_OPERATOR_LEASE_NAME", default_value = "push-operator")]
    pub lease_name: String,
    /// Its namespace. Default: the operator's own.
    #[arg(long, env = "PUSH_OPERATOR_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// The operator's own namespace.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,
    /// This replica's name. No two share one.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Image of gateways whose manifest names none.
    #[arg(long, env = "PUSH_OPERATOR_GATEWAY_IMAGE", default_value_t = default_gateway_image())]
    pub gateway_image: String,
    /// Image of NATS servers whose manifest names none.
    #[arg(
        long,
        env = "PUSH_OPERATOR_NATS_IMAGE",
        default_value = "ghcr.io/pushcluster/nats-server:2.15.2"
    )]
    pub nats_image: String,
    /// Address of health, metrics and the log's level.
    #[arg(long, env = "PUSH_OPERATOR_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// `error`, `warn`, `info`, `debug` or `trace`; or a filter.
    #[arg(long, env = "PUSH_OPERATOR_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Lines for people, or for machines.
    #[arg(long, env = "PUSH_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The log's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// Lines for machines.
    Json,
}

/// What `run` does, resolved.
#[derive(Clone, Debug)]
pub struct Run {
    /// Watch this namespace only.
    pub namespace: Option<String>,
    /// The Lease's namespace and name.
    pub lease: (String, String),
    /// This replica.
    pub identity: String,
    /// Images, and where the operator runs.
    pub defaults: Defaults,
    /// Address of health and metrics.
    pub listen: SocketAddr,
}

fn default_gateway_image() -> String {
    format!("ghcr.io/pushcluster/gateway:{}", env!("CARGO_PKG_VERSION"))
}

// === impl RunArgs ===

impl RunArgs {
    /// With everything that was left out filled in. `fallback` is the
    /// namespace of the credentials in use.
    pub fn resolve(self, fallback: &str) -> Run {
        // An empty variable, as charts set it, is none.
        let some = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let own = some(self.pod_namespace);
        let namespace = some(self.lease_namespace)
            .or_else(|| own.clone())
            .unwrap_or_else(|| fallback.to_owned());
        let identity =
            some(self.identity).unwrap_or_else(|| format!("push-operator-{}", std::process::id()));
        Run {
            namespace: some(self.namespace),
            lease: (namespace, self.lease_name),
            identity,
            defaults: Defaults {
                gateway_image: self.gateway_image,
                nats_image: self.nats_image,
                operator_namespace: own,
            },
            listen: self.listen,
        }
    }
}
