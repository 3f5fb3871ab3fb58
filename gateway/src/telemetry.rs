//! Logs: to stderr, as lines for people or for machines. What people asked a
//! command for goes to stdout.

use std::io::IsTerminal as _;

use gateway_config::{Log, LogFormat};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

#[cfg(test)]
mod tests;

/// Changes the level while the gateway runs.
#[derive(Clone, Debug)]
pub struct Handle(reload::Handle<EnvFilter, Registry>);

/// Why there are no logs, or not the ones asked for.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a level or filter.
    #[error(
        "the log level is not one: {0}; write `info`, or a filter such as `info,gateway::hub=debug`"
    )]
    Level(#[from] ParseError),
    /// Called twice in one process.
    #[error("logs are set up already: {0}")]
    Again(#[from] TryInitError),
    /// The subscriber is gone.
    #[error("the log level can't be changed any more: {0}")]
    Gone(#[from] reload::Error),
}

/// Sends the process's logs to stderr. Once for each process.
pub fn init(log: &Log) -> Result<Handle, TelemetryError> {
    let color = std::io::stderr().is_terminal();
    let (subscriber, handle) = subscriber(log, color, std::io::stderr)?;
    subscriber.try_init()?;
    Ok(handle)
}

/// Everything but the process's own part.
fn subscriber<W>(
    log: &Log,
    color: bool,
    writer: W,
) -> Result<(impl tracing::Subscriber + Send + Sync + 'static, Handle), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let lines = match log.format {
        LogFormat::Text => fmt::layer().with_ansi(color).with_writer(writer).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    Ok((Registry::default().with(filter).with(lines), Handle(handle)))
}

fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(level)
}

// === impl Handle ===

impl Handle {
    /// Logs from now on at another level or filter.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        self.0.reload(filter(level)?)?;
        Ok(())
    }
}
