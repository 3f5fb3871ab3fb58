//! `kubectl push`: what `kubectl describe` can't show, and what is said to the
//! operator by annotations.
//!
//! Gateways are reached through the API server, with the rights of whoever runs
//! it: by `pods/portforward`, as `pods/proxy` takes the header away that the
//! admin listener's token is in.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Args, Parser, Subcommand};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use serde_json::json;

use crate::controller::gateways::GatewayStatus;
use crate::controller::live::{PodLive, Role};
use crate::controller::names::{GATEWAY, Names, RECONCILE};
use crate::controller::secrets::ADMIN_TOKEN;
use crate::crd::{PushCluster, PushClusterStatus};

mod forward;

#[cfg(test)]
mod tests;

/// Looks at PushClusters and their gateways.
#[derive(Debug, Parser)]
#[command(name = "kubectl-push", bin_name = "kubectl push", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show gateways, their connections, what they have loaded, and NATS.
    Status(Target),
    /// Have one gateway send its clients to the others. It stays up, empty.
    Drain(DrainTarget),
    /// Keep the operator away from a PushCluster.
    Pause(Target),
    /// Let the operator look after it again.
    Resume(Target),
}

/// A PushCluster.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Its name. `status` without one shows all of the namespace.
    pub name: Option<String>,
    /// Where.
    #[command(flatten)]
    pub at: At,
}

/// A gateway.
#[derive(Clone, Debug, Args)]
pub struct DrainTarget {
    /// The gateway's pod.
    pub pod: String,
    /// Where.
    #[command(flatten)]
    pub at: At,
}

/// Which Kubernetes, and which namespace.
#[derive(Clone, Debug, Args)]
pub struct At {
    /// The namespace.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// The context of the kubeconfig.
    #[arg(long)]
    pub context: Option<String>,
}

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No way to the API server.
    #[error("there is no way to the API server: {0}")]
    Config(#[from] kube::config::KubeconfigError),
    /// It refused.
    // Without the source, which says the same in more words.
    #[error("{}", crate::controller::apply::words(.0))]
    Request(kube::Error),
    /// A gateway can't be reached, or refuses.
    #[error("{pod}: {source}")]
    Gateway {
        /// Its pod.
        pod: String,
        /// Why.
        source: forward::ForwardError,
    },
    /// A name is needed.
    #[error("which PushCluster? Write its name: kubectl push {0} NAME")]
    Name(&'static str),
    /// Another pod.
    #[error("{0} is no gateway: it has no label app.kubernetes.io/name={GATEWAY}")]
    NoGateway(String),
}

// === impl Error ===

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Request(error)
    }
}

/// Does it, and returns what to print.
pub async fn run(command: Command) -> Result<String, Error> {
    let at = match &command {
        Command::Status(target) | Command::Pause(target) | Command::Resume(target) => &target.at,
        Command::Drain(target) => &target.at,
    };
    let (client, namespace) = connect(at).await?;
    match command {
        Command::Status(target) => status(&client, &namespace, target.name.as_deref()).await,
        Command::Drain(target) => drain(&client, &namespace, &target.pod).await,
        Command::Pause(target) => {
            let name = target.name.ok_or(Error::Name("pause"))?;
            annotate(&client, &namespace, &name, Some("disabled")).await?;
            Ok(format!(
                "pushcluster/{name} is paused: the operator leaves it alone until `kubectl push resume {name}`\n"
            ))
        }
        Command::Resume(target) => {
            let name = target.name.ok_or(Error::Name("resume"))?;
            annotate(&client, &namespace, &name, None).await?;
            Ok(format!("pushcluster/{name} is looked after again\n"))
        }
    }
}

async fn connect(at: &At) -> Result<(Client, String), Error> {
    let options = KubeConfigOptions { context: at.context.clone(), ..KubeConfigOptions::default() };
    let config = match Kubeconfig::read() {
        Ok(file) => Config::from_custom_kubeconfig(file, &options).await?,
        // In a pod there is none.
        Err(error) => Config::incluster().map_err(|_| error)?,
    };
    let namespace = at.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    Ok((Client::try_from(config)?, namespace))
}

async fn annotate(
    client: &Client,
    namespace: &str,
    name: &str,
    value: Option<&str>,
) -> Result<(), Error> {
    let api: Api<PushCluster> = Api::namespaced(client.clone(), namespace);
    let patch = json!({"metadata": {"annotations": {RECONCILE: value}}});
    let params =
        PatchParams { field_manager: Some("kubectl-push".to_owned()), ..PatchParams::default() };
    api.patch_metadata(name, &params, &Patch::Merge(&patch)).await?;
    Ok(())
}

async fn drain(client: &Client, namespace: &str, pod: &str) -> Result<String, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let live = api.get(pod).await?;
    let Some((cluster, Role::Gateway, _)) = PodLive::reduce(&live) else {
        return Err(Error::NoGateway(pod.to_owned()));
    };
    let token = admin_token(client, namespace, &cluster).await;
    let done = forward::call(&api, pod, http::Method::POST, "/drain", token.as_deref()).await;
    done.map_err(|source| Error::Gateway { pod: pod.to_owned(), source })?;
    Ok(format!(
        "{pod} sends its clients to other gateways; it stays, empty, until it is deleted.\nkubectl push status {cluster} shows how many are left\n"
    ))
}

async fn status(client: &Client, namespace: &str, name: Option<&str>) -> Result<String, Error> {
    let clusters: Api<PushCluster> = Api::namespaced(client.clone(), namespace);
    let all = match name {
        Some(name) => vec![clusters.get(name).await?],
        None => clusters.list(&ListParams::default()).await?.items,
    };
    if all.is_empty() {
        return Ok(format!("there is no PushCluster in the namespace {namespace}\n"));
    }
    let mut text = String::new();
    for cluster in all {
        let names = Names::of(&cluster);
        let selector = names.selector_text();
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let pods = api.list(&ListParams::default().labels(&selector)).await?;
        let token = admin_token(client, namespace, &names.name).await;
        let mut seen = BTreeMap::new();
        for pod in &pods.items {
            let name = pod.name_any();
            let answer = ask(&api, &name, token.as_deref()).await;
            seen.insert(name, answer);
        }
        let pods: Vec<PodLive> =
            pods.items.iter().filter_map(|pod| Some(PodLive::reduce(pod)?.2)).collect();
        if !text.is_empty() {
            text.push('\n');
        }
        text += &show(&names.name, &cluster.status.unwrap_or_default(), &pods, &seen);
    }
    Ok(text)
}

async fn ask(pods: &Api<Pod>, pod: &str, token: Option<&str>) -> Result<GatewayStatus, String> {
    let answer = forward::call(pods, pod, http::Method::GET, "/status", token).await;
    let answer = answer.map_err(|error| error.to_string())?;
    serde_json::from_slice(&answer).map_err(|error| error.to_string())
}

/// Needed by gateways that ask for it; who may not read Secrets goes without.
async fn admin_token(client: &Client, namespace: &str, cluster: &str) -> Option<String> {
    let names = Names { namespace: namespace.to_owned(), name: cluster.to_owned() };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get_opt(&names.internal()).await.ok()??;
    String::from_utf8(secret.data?.get(ADMIN_TOKEN)?.0.clone()).ok()
}

/// One PushCluster, for people.
fn show(
    name: &str,
    status: &PushClusterStatus,
    pods: &[PodLive],
    seen: &BTreeMap<String, Result<GatewayStatus, String>>,
) -> String {
    let mut text = format!(
        "{name}: {} of {} gateways are ready\n",
        status.ready_replicas, status.desired_replicas
    );
    for condition in &status.conditions {
        // What is as it should be needs no line.
        let good = match condition.type_.as_str() {
            "Ready" | "NatsReady" | "ConfigLoaded" | "MonitoringReady" => "True",
            _ => "False",
        };
        if condition.status != good {
            let _ =
                writeln!(text, "  {}={}: {}", condition.type_, condition.status, condition.message);
        }
    }
    if let Some(nats) = &status.nats {
        let version = nats.version.as_deref().unwrap_or("unknown version");
        let _ = writeln!(
            text,
            "  NATS {version}, stream {}, {} copies",
            nats.stream, nats.stream_replicas
        );
    }
    if pods.is_empty() {
        return text;
    }
    let mut rows = vec![
        ["  GATEWAY", "CONNECTIONS", "NEW CLIENTS", "DRAIN", "CONFIGURATION", "NATS", "LAG"]
            .map(str::to_owned),
    ];
    for pod in pods {
        let gateway = format!("  {}", pod.name);
        rows.push(match seen.get(&pod.name) {
            Some(Ok(answer)) => [
                gateway,
                answer.connections.to_string(),
                if pod.accepting && answer.accepting { "yes" } else { "no" }.to_owned(),
                match (answer.draining, answer.drain_remaining) {
                    (true, Some(left)) => format!("{left} left"),
                    (true, None) => "yes".to_owned(),
                    (false, _) => "-".to_owned(),
                },
                answer.config_hash.clone(),
                match (&answer.nats.connected, &answer.nats.error) {
                    (true, _) => "connected".to_owned(),
                    (false, Some(error)) => error.clone(),
                    (false, None) => "not connected".to_owned(),
                },
                answer.lag.to_string(),
            ],
            Some(Err(error)) => {
                let why = pod.problem.clone().unwrap_or_else(|| format!("no answer: {error}"));
                [
                    gateway,
                    "?".to_owned(),
                    why,
                    String::new(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]
            }
            None => continue,
        });
    }
    text + &table(&rows)
}

/// Columns as wide as they must be; the last cell of a row is as it is.
fn table(rows: &[[String; 7]]) -> String {
    let mut widths = [0; 7];
    for row in rows {
        let last = row.iter().rposition(|cell| !cell.is_empty()).unwrap_or_default();
        for (index, cell) in row.iter().enumerate().take(last) {
            widths[index] = widths[index].max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            let _ = write!(line, "{cell:width$}  ", width = widths[index]);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
