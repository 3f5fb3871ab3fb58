//! What time it is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time, in milliseconds since 1970. Handed in, so that a test can
/// let an hour pass at once.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
    stored: Arc<dyn Fn(u64) -> u64 + Send + Sync>,
}

// === impl Clock ===

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// A clock that shows what `now` answers.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now), stored: Arc::new(|time| time) }
    }

    /// A clock that shows what `now` answers, while the clocks of others (the
    /// NATS servers' times of storage) go on as ever: `stored` tells what
    /// this clock showed then.
    #[must_use]
    pub fn with_others(self, stored: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Self {
        Self { stored: Arc::new(stored), ..self }
    }

    /// Milliseconds since 1970. May go back when the machine's clock is set.
    pub fn now(&self) -> u64 {
        (self.now)()
    }

    /// A time that another machine's clock gave, as this clock's.
    pub fn stored(&self, time: u64) -> u64 {
        (self.stored)(time)
    }
}
