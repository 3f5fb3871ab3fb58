//! What is wrong, and what was skipped.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::api::ApiError;
use super::message::Undeliverable;
use crate::metrics::{Metrics, ReasonLabel};

/// How often messages that no client could take are spoken of.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// What is wrong just now.
#[derive(Default)]
pub struct Health {
    error: Mutex<Option<String>>,
}

/// Messages that no client could take.
#[derive(Default)]
pub struct Skips {
    said: Mutex<HashMap<Undeliverable, Instant>>,
}

// === impl Health ===

impl Health {
    pub fn trouble(&self, error: &ApiError) {
        self.say(&error.to_string());
    }

    pub fn say(&self, error: &str) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
    }

    pub fn well(&self) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Skips ===

impl Skips {
    /// Counts one; says so at most once a minute for each reason.
    pub fn count(&self, metrics: &Metrics, channel: &str, reason: Undeliverable) {
        let label = match reason {
            Undeliverable::Channel => "channel",
            Undeliverable::Event => "event",
            Undeliverable::Payload => "payload",
            Undeliverable::TooLarge => "too_large",
        };
        metrics.relay_skipped.get_or_create(&ReasonLabel { reason: label }).inc();
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(&reason).is_none_or(|last| now - *last >= SAID_EVERY) {
            said.insert(reason, now);
            drop(said);
            tracing::warn!(channel, %reason, "a publication is skipped: no client could take it");
        }
    }
}
