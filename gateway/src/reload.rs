//! A changed configuration file, while the gateway runs.
//!
//! The file is read every two seconds and compared by its content: Kubernetes
//! updates a mounted file by swapping a symbolic link of a directory above
//! it, which no watch on the file itself sees.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway_config::{Config, ConfigError, Sources};
use tokio::sync::watch;

use crate::metrics::{Metrics, OutcomeLabel};

#[cfg(test)]
mod tests;

/// Time between two looks at the file.
const EVERY: Duration = Duration::from_secs(2);
/// A changed file must stay as it is for so long: an editor may empty a file
/// before it writes it, and an empty file is a valid configuration.
const SETTLE: Duration = Duration::from_millis(250);

/// Watches the configuration file and hands out what it says.
pub struct Reload {
    sources: Sources,
    metrics: Metrics,
    /// The configuration in force: what the gateway started with, with the
    /// sections that can change replaced.
    current: watch::Sender<Arc<Config>>,
    /// The file's content, or why it can't be read, at the last look.
    seen: Seen,
    /// What a restart would change, as last said.
    waiting: Vec<String>,
}

type Seen = Result<Vec<u8>, String>;

/// The first 12 hexadecimal digits of the SHA-256 of the configuration in
/// force, as JSON with all defaults. Equal on all gateways that loaded the
/// same: what differs from machine to machine is left out.
pub fn config_hash(config: &Config) -> String {
    let mut config = config.clone();
    config.peer.advertise = None;
    // Plain data always serializes.
    let json = serde_json::to_vec(&config).unwrap_or_default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &json);
    let mut hash = String::with_capacity(12);
    for byte in digest.as_ref().iter().take(6) {
        // Writing into a String does not fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

// === impl Reload ===

impl Reload {
    /// Watches what `running` was loaded from. The receiver always has the
    /// configuration in force.
    pub fn new(
        sources: Sources,
        running: Config,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<Arc<Config>>) {
        let (current, receiver) = watch::channel(Arc::new(running));
        // What the file says now may already be newer than what was loaded,
        // so the first look takes nothing for known.
        let seen = Err(String::new());
        (Self { sources, metrics, current, seen, waiting: Vec::new() }, receiver)
    }

    /// Looks at the file until `stop` resolves. Without a file there is
    /// nothing to look at.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = self.look() => {}
            }
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// One look. Cancelled anywhere, the next one finds the same.
    async fn look(&mut self) {
        let Some(file) = self.sources.file.clone() else { return };
        let mut content = read(&file).await;
        if content == self.seen {
            return;
        }
        loop {
            tokio::time::sleep(SETTLE).await;
            let again = read(&file).await;
            if again == content {
                break;
            }
            content = again;
        }
        if content == self.seen {
            return;
        }
        match &content {
            Ok(bytes) => self.take(self.sources.load_bytes(bytes)),
            Err(error) => {
                tracing::warn!(
                    "the configuration file cannot be read, the old configuration stays: {}: {error}",
                    file.display()
                );
                self.count("refused");
            }
        }
        self.seen = content;
    }

    /// A configuration that was read anew.
    fn take(&mut self, loaded: Result<Config, ConfigError>) {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!("the new configuration is refused, the old one stays:\n{error}");
                self.count("refused");
                return;
            }
        };
        let running = self.current.borrow().clone();
        let next = apply(&running, &loaded);
        let waiting = differences(&next, &loaded);
        if waiting != self.waiting {
            for key in &waiting {
                tracing::warn!(key, "`{key}` has changed and needs a restart");
            }
            self.waiting = waiting;
        }
        if next == *running {
            return;
        }
        tracing::info!(
            hash = config_hash(&next),
            changed = differences(&running, &next).join(", "),
            "the configuration is reloaded"
        );
        self.count("applied");
        self.current.send_replace(Arc::new(next));
    }

    fn count(&self, outcome: &'static str) {
        self.metrics.config_reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

async fn read(file: &Path) -> Seen {
    tokio::fs::read(file).await.map_err(|error| error.to_string())
}

/// What may change while the gateway runs: channel rules with their
/// generation, API keys, limits.
fn apply(running: &Config, loaded: &Config) -> Config {
    let mut next = running.clone();
    next.channels.clone_from(&loaded.channels);
    next.api.keys.clone_from(&loaded.api.keys);
    next.limits.clone_from(&loaded.limits);
    next.generation = loaded.generation;
    next
}

/// The keys in which two configurations differ: `client.listen`, `channels`.
fn differences(a: &Config, b: &Config) -> Vec<String> {
    let json = |config| serde_json::to_value(config).unwrap_or_default();
    let mut paths = Vec::new();
    compare(&json(a), &json(b), "", &mut paths);
    paths
}

fn compare(a: &serde_json::Value, b: &serde_json::Value, path: &str, paths: &mut Vec<String>) {
    match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => {
            let both = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in both {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let null = serde_json::Value::Null;
                compare(a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), &path, paths);
            }
        }
        _ if a != b => paths.push(path.to_owned()),
        _ => {}
    }
}
