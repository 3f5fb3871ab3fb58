//! The relay that the configuration asks for.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gateway_config::{Config, Period, Recovery};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::metrics::Metrics;
use crate::relay::embedded::Clock;
use crate::relay::jetstream::{ConnectError, JetStreamOptions, JetStreamRelay};
use crate::relay::{EmbeddedRelay, Fanout, Relay};
use crate::rules::SharedRules;

/// How long a gateway waits at its start for a NATS that doesn't answer yet.
const PATIENCE: Duration = Duration::from_mins(1);
/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// The relay, and the thread that works for it if it needs one.
pub(super) enum Chosen {
    /// In this process.
    Embedded(Arc<EmbeddedRelay>),
    /// Over NATS. A connection has a thread of its own: neither the API nor
    /// the clients keep it from its pings.
    JetStream(Arc<JetStreamRelay>, JoinHandle<()>),
}

/// What every relay needs.
pub(super) struct RelayParts {
    pub(super) rules: SharedRules,
    pub(super) fanout: Fanout,
    pub(super) metrics: Metrics,
    pub(super) name: String,
    pub(super) stop: CancellationToken,
}

// === impl Chosen ===

impl Chosen {
    /// Chooses by `relay.url`; connects.
    pub(super) fn open(config: &Config, parts: RelayParts) -> Result<Self, StartError> {
        let max_disconnection = match config.socketio.recovery {
            Recovery::Off => None,
            Recovery::On { max_disconnection } => Some(max_disconnection),
        };
        if config.relay.is_memory() {
            let RelayParts { rules, fanout, .. } = parts;
            return Ok(Self::Embedded(EmbeddedRelay::new(rules, fanout, max_disconnection)));
        }
        let config = config.relay.clone();
        let (sender, receiver) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            runtime.block_on(async {
                let stop = parts.stop.clone();
                match connect(&config, &parts, max_disconnection).await {
                    Ok(relay) => {
                        // Dropped: the start was given up.
                        if sender.send(Ok(relay.clone())).is_ok() {
                            Box::pin(relay.run(stop.cancelled())).await;
                        }
                    }
                    Err(error) => drop(sender.send(Err(error))),
                }
            });
        })?;
        // The thread answers or ends; a runtime that we may be called from
        // must not be asked to wait, so the thread's answer is polled.
        match wait(receiver) {
            Some(Ok(relay)) => Ok(Self::JetStream(relay, thread)),
            Some(Err(error)) => Err(error.into()),
            None => Err(StartError::Relay(ConnectError::Connect("the start failed".to_owned()))),
        }
    }

    /// As every part knows it.
    pub(super) fn relay(&self) -> Arc<dyn Relay> {
        match self {
            Self::Embedded(relay) => relay.clone(),
            Self::JetStream(relay, _) => relay.clone(),
        }
    }

    /// Works for the relay, on the caller's runtime, as far as it has no
    /// thread of its own.
    pub(super) async fn work(&self, stop: impl Future<Output = ()>) {
        match self {
            Self::Embedded(relay) => relay.run(stop).await,
            Self::JetStream(..) => stop.await,
        }
    }

    /// The thread to join at the end.
    pub(super) fn into_thread(self) -> Option<JoinHandle<()>> {
        match self {
            Self::Embedded(_) => None,
            Self::JetStream(_, thread) => Some(thread),
        }
    }
}

/// Connects; waits for a NATS that starts at the same time as we do.
async fn connect(
    config: &gateway_config::Relay,
    parts: &RelayParts,
    max_disconnection: Option<Period>,
) -> Result<Arc<JetStreamRelay>, ConnectError> {
    let begin = Instant::now();
    loop {
        let options = JetStreamOptions {
            config: config.clone(),
            rules: parts.rules.clone(),
            fanout: parts.fanout.clone(),
            max_disconnection,
            metrics: parts.metrics.clone(),
            clock: Clock::system(),
            name: parts.name.clone(),
            tick: None,
        };
        match JetStreamRelay::connect(options).await {
            Err(error)
                if error.passes() && begin.elapsed() < PATIENCE && !parts.stop.is_cancelled() =>
            {
                tracing::warn!(%error, "waiting for NATS");
                tokio::time::sleep(RETRY).await;
            }
            result => return result,
        }
    }
}

/// Waits on a thread of its own: the caller may be inside a runtime, whose
/// thread must not block.
fn wait<T: Send + 'static>(receiver: oneshot::Receiver<T>) -> Option<T> {
    std::thread::spawn(move || receiver.blocking_recv().ok()).join().ok().flatten()
}
