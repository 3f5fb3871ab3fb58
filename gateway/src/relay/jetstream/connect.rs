//! The connection to NATS: who we are, which server we choose, and what is
//! wrong when it can't be had.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ReconnectToServer, ServerAddr, ServerError};
use gateway_config::Relay as RelayConfig;
use tokio::sync::watch;

mod error;

pub use error::ConnectError;

/// The oldest nats-server: 2.12.0 lets a header purge a stream, and the
/// releases between are not what this is tested with.
const OLDEST: (u64, u64) = (2, 15);
/// How long a server may take to greet. One that is stopped (SIGSTOP) takes
/// connections and says nothing.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that answers neither of two pings is left.
pub const PING_INTERVAL: Duration = Duration::from_secs(3);
/// Longest time between two attempts to connect.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// Messages that may wait for one of the client library's subscriptions,
/// which bring answers and news. Beyond it the library drops.
const SUBSCRIPTION_CAPACITY: usize = 1 << 16;

/// A connection, and the news of it.
pub struct Connection {
    /// The client library's.
    pub client: Client,
    /// Counts the times that the connection was made anew.
    pub connected: watch::Receiver<u64>,
    /// Counts messages that the client library dropped.
    pub dropped: watch::Receiver<u64>,
    /// What the server forbids.
    pub forbidden: Arc<Forbidden>,
    /// Which server it is at.
    pub choice: Arc<ServerChoice>,
}

/// What the server forbade last, in its words.
#[derive(Default)]
pub struct Forbidden(Mutex<Option<String>>);

/// Chooses the server to connect to: never the one that was just left, as
/// long as there is another.
#[derive(Default)]
pub struct ServerChoice {
    current: Mutex<Option<ServerAddr>>,
}

// === impl Connection ===

impl Connection {
    /// Connects to the first server that answers.
    pub async fn open(config: &RelayConfig, name: &str) -> Result<Self, ConnectError> {
        let choice = Arc::new(ServerChoice::default());
        let mut left = addresses(&config.url)?.len();
        loop {
            // Each attempt takes one server, and never the last one's.
            match Self::attempt(config, name, choice.clone()).await {
                Err(ConnectError::Connect(error)) if left > 1 => {
                    tracing::debug!(%error, "another NATS server is tried");
                    left -= 1;
                }
                result => return result,
            }
        }
    }

    async fn attempt(
        config: &RelayConfig,
        name: &str,
        choice: Arc<ServerChoice>,
    ) -> Result<Self, ConnectError> {
        let (connected_sender, connected) = watch::channel(0);
        let (dropped_sender, dropped) = watch::channel(0);
        let forbidden = Arc::<Forbidden>::default();
        let (forbids, chosen) = (forbidden.clone(), choice.clone());
        let options = options(config).await?;
        let options = options
            .name(name)
            // Apps may be allowed to read all of `_INBOX.>`; the stream's
            // answers to a gateway are not for them.
            .custom_inbox_prefix(format!("{}.ctl.inbox", config.prefix))
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING_INTERVAL)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .max_reconnects(None)
            .reconnect_delay_callback(delay)
            .reconnect_to_server_callback(move |servers, _| {
                let choice = choice.clone();
                async move { choice.next(&servers) }
            })
            .event_callback(move |event| {
                match &event {
                    Event::Connected => connected_sender.send_modify(|count| *count += 1),
                    Event::SlowConsumer(_) => dropped_sender.send_modify(|count| *count += 1),
                    Event::ServerError(ServerError::Other(text)) if is_forbidden(text) => {
                        forbids.note(text);
                    }
                    _ => {}
                }
                tracing::debug!(%event, "NATS");
                std::future::ready(())
            });
        let addresses = addresses(&config.url)?;
        let client =
            options.connect(addresses).await.map_err(|error| ConnectError::of(&error, config))?;
        let found = client.server_info().version;
        if version(&found).is_none_or(|version| version < OLDEST) {
            return Err(ConnectError::Version { found });
        }
        Ok(Self { client, connected, dropped, forbidden, choice: chosen })
    }
}

fn addresses(urls: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    // The text isn't shown: it may hold a password.
    urls.map(|url| url.parse().map_err(|_| ConnectError::Connect("not a NATS address".to_owned())))
        .collect()
}

async fn options(config: &RelayConfig) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new();
    let read = async |key: &'static str, path: &String| {
        let failed = |source| ConnectError::File { key, path: path.into(), source };
        tokio::fs::read_to_string(path).await.map_err(failed)
    };
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(token) = &config.token {
        options = options.token(token.clone());
    }
    if let Some(path) = &config.nkey {
        options = options.nkey(read("relay.nkey", path).await?.trim().to_owned());
    }
    if let Some(path) = &config.credentials {
        const KEY: &str = "relay.credentials";
        options = options
            .credentials(&read(KEY, path).await?)
            .map_err(|source| ConnectError::File { key: KEY, path: path.into(), source })?;
    }
    if let Some(tls) = &config.tls {
        options = options.require_tls(true);
        if let Some(ca) = &tls.ca {
            // The library reads it later, and doesn't say which it misses.
            read("relay.tls.ca", ca).await?;
            options = options.add_root_certificates(ca.into());
        }
        if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
            read("relay.tls.cert", cert).await?;
            read("relay.tls.key", key).await?;
            options = options.add_client_certificate(cert.into(), key.into());
        }
    }
    Ok(options)
}

/// At once, then ever later, with jitter so that gateways don't come in step.
pub fn delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let exponent = u32::try_from(attempts.min(10)).unwrap_or(10);
    let longest = MAX_DELAY.min(Duration::from_millis(10 << exponent));
    longest.mul_f64(0.5 + 0.5 * super::jitter())
}

/// `Permissions Violation for Publish to "push.ctl.gateways"`
pub fn is_forbidden(text: &str) -> bool {
    text.to_ascii_lowercase().starts_with("permissions violation")
}

/// Major and minor of `2.15.1`.
fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

// === impl Forbidden ===

impl Forbidden {
    /// Says it, each time that it is another one.
    pub fn note(&self, text: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_deref() != Some(text) {
            tracing::warn!(
                "NATS forbids what a gateway does: {text}; give its user the permissions that docs/nats.md shows"
            );
            *last = Some(text.to_owned());
        }
    }

    /// What it was.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl ServerChoice ===

impl ServerChoice {
    /// The present one.
    pub fn current(&self) -> Option<ServerAddr> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server that failed least among those that are not the present one.
    fn next(&self, servers: &[async_nats::Server]) -> Option<ReconnectToServer> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let others = servers.iter().filter(|server| Some(&server.addr) != current.as_ref());
        let fewest = others.clone().map(|server| server.failed_attempts).min()?;
        let best: Vec<_> = others.filter(|server| server.failed_attempts == fewest).collect();
        // The product is below the length.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let chosen = best.get((super::jitter() * best.len() as f64) as usize)?;
        *current = Some(chosen.addr.clone());
        Some(ReconnectToServer { addr: chosen.addr.clone(), delay: None })
    }
}
