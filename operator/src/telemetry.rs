//! Logs: to stderr, as lines for people or for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::args::LogFormat;

/// Changes the level while the operator runs.
#[derive(Clone, Debug)]
pub struct Handle(reload::Handle<EnvFilter, Registry>);

/// Why there are no logs, or not the ones asked for.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a level or filter.
    #[error(
        "the log level is not one: {0}; write `info`, or a filter such as `info,operator=debug`"
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
pub fn init(level: &str, format: LogFormat) -> Result<Handle, TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let color = std::io::stderr().is_terminal();
    let lines = match format {
        LogFormat::Text => fmt::layer().with_ansi(color).with_writer(std::io::stderr).boxed(),
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(Handle(handle))
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
