//! The relay that the configuration asks for, and the wait for NATS.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use gateway_config::{Config, Period, Recovery};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::admin::Readiness;
use crate::metrics::Metrics;
use crate::relay::embedded::{Clock, EmbeddedOptions};
use crate::relay::jetstream::{ConnectError, JetStreamOptions, JetStreamRelay};
use crate::relay::{EmbeddedRelay, Fanout, Relay};
use crate::rules::SharedRules;

/// Time between the first two attempts to reach NATS; it doubles…
const RETRY: Duration = Duration::from_millis(500);
/// …up to this. Who mends what is wrong doesn't want to wait.
const RETRY_MOST: Duration = Duration::from_secs(5);
/// How often the same trouble is said in the log.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// The relay, and the thread that works for it if it needs one.
pub(super) enum Chosen {
    /// In this process.
    Embedded(Arc<EmbeddedRelay>),
    /// Over NATS. A connection has a thread of its own: neither the API nor
    /// the clients keep it from its pings.
    JetStream(Arc<JetStreamRelay>, JoinHandle<()>),
}

/// A relay on its way.
pub(super) enum Opening {
    /// There at once.
    Embedded(Arc<EmbeddedRelay>),
    /// Its thread connects, and says when it has.
    JetStream {
        reached: oneshot::Receiver<Result<Arc<JetStreamRelay>, ConnectError>>,
        thread: JoinHandle<()>,
    },
    /// Taken.
    Over,
}

/// What every relay needs.
pub(super) struct RelayParts {
    pub(super) rules: SharedRules,
    pub(super) fanout: Fanout,
    pub(super) metrics: Metrics,
    pub(super) name: String,
    /// Says why the gateway is not ready, while it waits for NATS.
    pub(super) readiness: Arc<Readiness>,
    /// The same for `/status`.
    pub(super) trouble: Arc<ArcSwapOption<String>>,
    pub(super) stop: CancellationToken,
}

/// The attempts to reach NATS.
struct Attempts {
    begin: Instant,
    /// After which the start is given up; zero: never.
    timeout: Duration,
    pause: Duration,
    /// Where it is looked for, without what may be secret.
    servers: String,
    said: Option<(Instant, String)>,
}

// === impl Chosen ===

impl Chosen {
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

// === impl Opening ===

impl Opening {
    /// Chooses by `relay.url`; over NATS, begins to connect.
    pub(super) fn begin(config: &Config, parts: RelayParts) -> Result<Self, StartError> {
        let max_disconnection = match config.socketio.recovery {
            Recovery::Off => None,
            Recovery::On { max_disconnection } => Some(max_disconnection),
        };
        if config.relay.is_memory() {
            let RelayParts { rules, fanout, metrics, .. } = parts;
            return Ok(Self::Embedded(EmbeddedRelay::new(EmbeddedOptions {
                rules,
                fanout,
                max_disconnection,
                metrics,
                clock: Clock::system(),
            })));
        }
        let config = config.relay.clone();
        let (sender, reached) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            runtime.block_on(async {
                let stop = parts.stop.clone();
                let connected = tokio::select! {
                    connected = connect(&config, &parts, max_disconnection) => connected,
                    () = stop.cancelled() => return,
                };
                match connected {
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
        Ok(Self::JetStream { reached, thread })
    }

    /// The relay, when it is there. Cancelled, it can be asked again.
    pub(super) async fn reached(&mut self) -> Result<Chosen, StartError> {
        let relay = match self {
            Self::JetStream { reached, .. } => {
                // The thread answers or ends.
                let failed = || ConnectError::Connect("the start failed".to_owned());
                Some(reached.await.unwrap_or_else(|_| Err(failed()))?)
            }
            Self::Embedded(_) | Self::Over => None,
        };
        match (std::mem::replace(self, Self::Over), relay) {
            (Self::Embedded(relay), _) => Ok(Chosen::Embedded(relay)),
            (Self::JetStream { thread, .. }, Some(relay)) => Ok(Chosen::JetStream(relay, thread)),
            _ => Err(ConnectError::Connect("it was reached before".to_owned()).into()),
        }
    }

    /// The thread to join when the start is given up.
    pub(super) fn into_thread(self) -> Option<JoinHandle<()>> {
        match self {
            Self::JetStream { thread, .. } => Some(thread),
            Self::Embedded(_) | Self::Over => None,
        }
    }
}

/// Connects. Whatever may heal is waited for: NATS may start at the same time
/// as we do, or be given its user by somebody who reads of it in our status.
async fn connect(
    config: &gateway_config::Relay,
    parts: &RelayParts,
    max_disconnection: Option<Period>,
) -> Result<Arc<JetStreamRelay>, ConnectError> {
    let mut attempts = Attempts::new(config);
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
            Err(error) if error.passes() && !attempts.are_over() => {
                let error = error.to_string();
                parts.readiness.set_not_ready(format!("waiting for NATS: {error}"));
                attempts.say(&error);
                parts.trouble.store(Some(Arc::new(error)));
                attempts.pause().await;
            }
            result => return result,
        }
    }
}

// === impl Attempts ===

impl Attempts {
    fn new(config: &gateway_config::Relay) -> Self {
        let servers = config.url.split(',').map(|url| match url.rsplit_once('@') {
            Some((_, host)) => host.trim(),
            None => url.trim(),
        });
        Self {
            begin: Instant::now(),
            timeout: config.start_timeout.get(),
            pause: RETRY,
            servers: servers.collect::<Vec<_>>().join(", "),
            said: None,
        }
    }

    fn are_over(&self) -> bool {
        !self.timeout.is_zero() && self.begin.elapsed() >= self.timeout
    }

    /// At once, when it is another trouble than before, and now and then.
    fn say(&mut self, error: &str) {
        let known =
            self.said.as_ref().is_some_and(|(at, said)| said == error && at.elapsed() < SAID_EVERY);
        if known {
            tracing::debug!(%error, "still waiting for NATS");
            return;
        }
        let servers = &self.servers;
        tracing::warn!(%error, "waiting for NATS at {servers}; no client is served until then");
        self.said = Some((Instant::now(), error.to_owned()));
    }

    /// Ever longer, with jitter so that gateways don't come in step.
    async fn pause(&mut self) {
        let jitter = 0.75 + 0.5 * crate::relay::jetstream::jitter();
        tokio::time::sleep(self.pause.mul_f64(jitter)).await;
        self.pause = (self.pause * 2).min(RETRY_MOST);
    }
}
