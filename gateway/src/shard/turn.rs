//! One client's turn on its shard.

use std::time::Duration;

use tokio::time::Instant;

/// How long one client may work before the others of its shard come.
const LONGEST: Duration = Duration::from_millis(1);

/// What one client has used of its turn. A polling body holds tens of
/// thousands of commands, a read of a socket thousands.
pub struct Turn {
    began: Instant,
}

// === impl Turn ===

impl Turn {
    /// Begins one.
    pub fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// Between two messages: lets the others come when the turn is over.
    pub async fn pass(&mut self) {
        if self.began.elapsed() >= LONGEST {
            tokio::task::yield_now().await;
            self.began = Instant::now();
        }
    }
}
