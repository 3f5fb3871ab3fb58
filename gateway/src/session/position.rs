//! Where a session stands in its channels' history: its client is told, and
//! told again before that ages.

use std::rc::Rc;
use std::time::Duration;

use super::Session;
use crate::hub::Protocol;
use crate::protocol::engineio::{Message, Wire};
use crate::protocol::{json, socketio as sio, sse};
use crate::publication::Value;
use crate::shard::timers::{Timer, TimerKey};

/// A resume point is renewed at least so often (5 minutes).
const POSITION_PERIOD_MOST: Duration = Duration::from_mins(5);

// === impl Session ===

impl Session {
    /// Tells the client its position, unless a replay is under way: then its
    /// position is in the replayed frames.
    pub(super) fn notify_position(&self) {
        if self.subscriber.is_held() {
            return;
        }
        self.shard.catch_up();
        let offset = self.shard.hub.borrow().position().to_string();
        let message = match self.protocol() {
            Protocol::Socketio => {
                sio::event(&self.namespace, "push:offset", &[Value::json(&offset)], None)
            }
            Protocol::Websocket => Message::One(json::offset_notice(&offset)),
            Protocol::Sse => Message::One(Wire::raw(sse::position(&offset))),
        };
        self.subscriber.outbox.send(&message);
    }

    /// Whether a resume point means something to this session.
    pub(super) fn has_history(&self) -> bool {
        let resumable = match self.protocol() {
            Protocol::Socketio => self.subscriber.form.recoverable,
            Protocol::Websocket | Protocol::Sse => true,
        };
        resumable && self.subscriptions.borrow().values().any(|s| s.history)
    }

    /// From the first subscription with history on, the session is told its
    /// position: now, and before it ages.
    /// `now`: false where it has just been told by other means.
    pub(crate) fn start_positions(self: &Rc<Self>, now: bool) {
        if !self.announced.get() {
            return;
        }
        let mut timer = self.position_timer.take();
        if timer.is_none() && self.has_history() && !self.ended.get() {
            if now {
                self.notify_position();
            }
            timer = Some(self.set_position_timer());
        }
        self.position_timer.set(timer);
    }

    /// Replays that lie before a notice of the position in the outbox: who
    /// gets the notice has got them.
    pub(super) fn settle_replays(self: &Rc<Self>) {
        let mut settled = false;
        for subscription in self.subscriptions.borrow_mut().values_mut() {
            settled |= subscription.settle();
        }
        if settled {
            let session = self.clone();
            self.shard.tasks.spawn_local(async move {
                // Not written: the client gets a replay twice, at worst.
                let _ = session.write_record().await;
            });
        }
    }

    pub(super) fn set_position_timer(self: &Rc<Self>) -> TimerKey {
        let quarter = self.shard.shared.rules.load().shortest_age().get() / 4;
        let period = quarter.min(POSITION_PERIOD_MOST);
        // Spread over a tenth, so that sessions that came together don't all
        // speak at once.
        let spread =
            self.id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
        let period = period.saturating_sub(period * (spread % 100) / 1_000);
        self.shard.timers.set_after(self.weak(), Timer::Position, period)
    }
}
