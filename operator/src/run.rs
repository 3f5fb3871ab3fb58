//! The operator's life: health first, then candidate, then leader.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::args::Run;
use crate::controller::context::Context;
use crate::controller::world::World;
use crate::events::{Recorder, Say};
use crate::http::{self, Served};
use crate::leader::Candidate;
use crate::metrics::Metrics;
use crate::{controller, telemetry};

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address is taken, or not there.
    #[error("cannot listen on {address}; set --listen")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No HTTP client.
    #[error("gateways cannot be asked: {0}")]
    Http(#[from] reqwest::Error),
}

/// How long an Event may take where something waits behind it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes an Event of the Lease, as far as the API server lets it.
async fn tell(recorder: &Recorder, say: &Say, lease: &ObjectReference) {
    match tokio::time::timeout(PATIENCE, recorder.publish(say, lease)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("an Event cannot be written: {error}"),
        Err(_) => tracing::warn!("an Event cannot be written: no answer"),
    }
}

/// Runs until `stop`.
pub async fn run(
    run: Run,
    client: Client,
    log: telemetry::Handle,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let address = run.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })?;
    let (metrics, registry) = Metrics::new();
    // Health answers until everything else has ended.
    let serving = CancellationToken::new();
    let health = tokio::spawn(http::serve(listener, Served { registry, log }, serving.clone()));

    let (sender, mut leading) = watch::channel(None);
    // The Lease is given back when nothing acts any more.
    let released = CancellationToken::new();
    let (namespace, name) = &run.lease;
    let candidate = Candidate::new(client.clone(), namespace, name, &run.identity);
    let candidate = tokio::spawn(candidate.run(sender, released.clone()));

    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1).build()?;
    loop {
        let term = tokio::select! {
            () = stop.cancelled() => break,
            result = leading.wait_for(Option::is_some) => match result {
                Ok(term) => term.clone().unwrap_or_default(),
                Err(_) => break,
            },
        };
        metrics.leading.set(1);
        let recorder = Recorder::new(client.clone(), &run.identity);
        let elected = Say {
            warning: term.instead_of.is_some(),
            reason: "LeaderElected",
            once: None,
            note: match term.instead_of {
                Some(before) => format!(
                    "{} acts from now on, instead of {before}, which has not renewed the Lease: killed, or cut off from the API server",
                    run.identity
                ),
                None => format!("{} acts from now on", run.identity),
            },
        };
        let lease = ObjectReference {
            api_version: Some("coordination.k8s.io/v1".to_owned()),
            kind: Some("Lease".to_owned()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectReference::default()
        };
        tell(&recorder, &elected, &lease).await;
        let context = Arc::new(Context::new(
            client.clone(),
            Arc::new(World::default()),
            run.defaults.clone(),
            metrics.clone(),
            http.clone(),
            recorder.clone(),
            run.namespace.is_none(),
        ));
        let term = stop.child_token();
        let acting = controller::run(context, run.namespace.clone(), term.clone());
        tokio::pin!(acting);
        tokio::select! {
            () = &mut acting => {}
            () = stop.cancelled() => acting.await,
            // No longer the leader: whatever is under way stops here. Another
            // may act already.
            _ = leading.wait_for(Option::is_none) => {}
        }
        metrics.leading.set(0);
        let (warning, reason, why) = if stop.is_cancelled() {
            (false, "LeaderStopped", "it was told to stop, and gives the Lease back")
        } else {
            (true, "LeadershipLost", "it could not renew the Lease in time; another takes over")
        };
        let note = format!("{} does not act any more: {why}", run.identity);
        tell(&recorder, &Say { warning, reason, note, once: None }, &lease).await;
        if stop.is_cancelled() {
            break;
        }
    }
    released.cancel();
    let _ = candidate.await;
    serving.cancel();
    let _ = health.await;
    Ok(())
}
