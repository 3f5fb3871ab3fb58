//! One wheel of timers for all sessions of a shard: an idle session owns no
//! task and no timer of the runtime's.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue};

/// Something that a timer wakes.
pub trait Timed {
    /// The timer is due.
    fn due(self: Rc<Self>, timer: Timer);
}

/// Which timer of its owner is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A ping, or the end of waiting for its answer.
    Heartbeat,
    /// The client should have joined a namespace.
    Connect,
    /// The upgrade should be complete.
    Upgrade,
    /// The close should be delivered.
    Close,
    /// The session is told its position.
    Position,
    /// The token's time is nearly over, then over.
    Expiry,
}

/// A timer that can be moved or removed.
pub type TimerKey = delay_queue::Key;

/// The wheel panics at a timer more than two years ahead.
const FARTHEST: Duration = Duration::from_hours(365 * 24);

/// All timers of a shard.
#[derive(Default)]
pub struct Timers {
    queue: RefCell<DelayQueue<(Weak<dyn Timed>, Timer)>>,
}

// === impl Timers ===

impl Timers {
    /// Sets a timer. One that is more than a year ahead is due in a year:
    /// whoever sets it so looks at the clock when it is due.
    pub fn set(&self, owner: Weak<dyn Timed>, timer: Timer, at: Instant) -> TimerKey {
        self.queue.borrow_mut().insert_at((owner, timer), at.min(Instant::now() + FARTHEST))
    }

    /// Sets a timer `after` from now.
    pub fn set_after(&self, owner: Weak<dyn Timed>, timer: Timer, after: Duration) -> TimerKey {
        self.set(owner, timer, Instant::now() + after)
    }

    /// Moves a timer that is not yet due.
    pub fn reset(&self, key: &TimerKey, at: Instant) {
        self.queue.borrow_mut().reset_at(key, at.min(Instant::now() + FARTHEST));
    }

    /// Removes a timer that is not yet due.
    pub fn remove(&self, key: &TimerKey) {
        let _ = self.queue.borrow_mut().try_remove(key);
    }

    /// Wakes owners as their timers become due; runs as long as the shard.
    /// `panicked` is called for an owner that panics: the others' timers go on.
    pub async fn run(&self, panicked: impl Fn()) {
        loop {
            let (owner, timer) = poll_fn(|context| self.poll_due(context)).await;
            if let Some(owner) = owner.upgrade()
                && catch_unwind(AssertUnwindSafe(|| owner.due(timer))).is_err()
            {
                panicked();
            }
        }
    }

    fn poll_due(&self, context: &mut Context<'_>) -> Poll<(Weak<dyn Timed>, Timer)> {
        let mut queue = self.queue.borrow_mut();
        match queue.poll_expired(context) {
            Poll::Ready(Some(expired)) => Poll::Ready(expired.into_inner()),
            // The queue keeps the waker, and wakes it at the next insert.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
