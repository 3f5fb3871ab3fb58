//! One client's turn on its shard.

use std::time::Duration;

use tokio::time::Instant;

use super::Shard;

/// How long one client may work before the others of its shard come. While
/// hundreds flood, a publication waits for the turn that it meets, and no
/// longer; see [`Shard::deliver_first`].
const LONGEST: Duration = Duration::from_micros(250);

/// What one client has used of its turn. A polling body holds tens of
/// thousands of commands, a read of a socket thousands, and the next read of
/// one that floods is there at once.
pub struct Turn<'a> {
    shard: &'a Shard,
    began: Instant,
}

// === impl Turn ===

impl<'a> Turn<'a> {
    /// Begins one.
    pub fn begin(shard: &'a Shard) -> Self {
        shard.give_way();
        shard.deliver_first();
        Self { shard, began: Instant::now() }
    }

    /// Goes on with one that began then.
    pub fn since(shard: &'a Shard, began: Instant) -> Self {
        Self { shard, began }
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= LONGEST
    }

    /// Between two messages: lets the others come when the turn is over.
    pub async fn pass(&mut self) {
        if self.is_over() {
            tokio::task::yield_now().await;
            *self = Self::begin(self.shard);
        }
    }
}
