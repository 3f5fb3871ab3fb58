//! A changed configuration file, or a changed file of API keys, while the
//! gateway runs.
//!
//! A file is read every two seconds and compared by its content: Kubernetes
//! updates a mounted file by swapping a symbolic link of a directory above
//! it, which no watch on the file itself sees.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway_config::{ApiKey, Config, ConfigError, Sources, api_keys};
use tokio::sync::watch;

use crate::metrics::{Metrics, OutcomeLabel};

#[cfg(test)]
mod tests;

/// Time between two looks at files that may change.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// A changed file must stay as it is for so long: an editor may empty a file
/// before it writes it, and an empty file is a valid configuration. And several
/// that belong together are not written at once.
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
    /// The same of the file with the API's keys.
    seen_keys: Seen,
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
        let seen_keys = seen.clone();
        (Self { sources, metrics, current, seen, seen_keys, waiting: Vec::new() }, receiver)
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

    /// One look at each file. Cancelled anywhere, the next one finds the same.
    async fn look(&mut self) {
        if let Some(file) = self.sources.file.clone()
            && let Some(content) = changed(|| read(&file), Some(&self.seen)).await
        {
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
        let keys = self.current.borrow().api.keys_file().map(str::to_owned);
        if let Some(path) = keys
            && let Some(content) = changed(|| read(Path::new(&path)), Some(&self.seen_keys)).await
        {
            match &content {
                Ok(bytes) => self.take_keys(api_keys(bytes, &path)),
                Err(error) => {
                    tracing::warn!(
                        "the API's keys cannot be read, the old ones stay: {path}: {error}"
                    );
                    self.count("refused");
                }
            }
            self.seen_keys = content;
        }
    }

    /// A list of the API's keys that was read anew.
    fn take_keys(&mut self, loaded: Result<Vec<ApiKey>, ConfigError>) {
        let running = self.current.borrow().clone();
        let next = match loaded {
            Ok(keys) if keys == running.api.keys => return,
            Ok(keys) => {
                let mut next = Config::clone(&running);
                next.api.keys = keys;
                next
            }
            Err(error) => {
                tracing::warn!("the API's new keys are refused, the old ones stay:\n{error}");
                self.count("refused");
                return;
            }
        };
        tracing::info!(hash = config_hash(&next), "the API's keys are reloaded");
        self.count("applied");
        self.current.send_replace(Arc::new(next));
    }

    /// A configuration that was read anew.
    fn take(&mut self, loaded: Result<Config, ConfigError>) {
        let mut loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!("the new configuration is refused, the old one stays:\n{error}");
                self.count("refused");
                return;
            }
        };
        let running = self.current.borrow().clone();
        if loaded.api.keys_file.is_some() && loaded.api.keys_file == running.api.keys_file {
            // Of which the configuration file says nothing.
            loaded.api.keys.clone_from(&running.api.keys);
        }
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

/// What files hold now, once they stay as they are; nothing if that is known.
pub(crate) async fn changed<T: PartialEq, F: Future<Output = T>>(
    read: impl Fn() -> F,
    seen: Option<&T>,
) -> Option<T> {
    let mut content = read().await;
    loop {
        if Some(&content) == seen {
            return None;
        }
        tokio::time::sleep(SETTLE).await;
        let again = read().await;
        if again == content {
            return Some(content);
        }
        content = again;
    }
}

async fn read(file: &Path) -> Seen {
    tokio::fs::read(file).await.map_err(|error| error.to_string())
}

/// What may change while the gateway runs: channel rules and what they keep
/// together, with their generation, API keys, limits.
fn apply(running: &Config, loaded: &Config) -> Config {
    let mut next = running.clone();
    next.channels.clone_from(&loaded.channels);
    // Keys that were in one file and are to come from another would be none
    // for a while, and no key opens the API.
    if loaded.api.keys_file == running.api.keys_file {
        next.api.keys.clone_from(&loaded.api.keys);
    }
    next.limits.clone_from(&loaded.limits);
    next.relay.history_bytes = loaded.relay.history_bytes;
    // With the generation: whoever brings the stream to it must know all that
    // it stands for.
    next.relay.replicas = loaded.relay.replicas;
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
