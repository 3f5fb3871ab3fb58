//! How an Engine.IO session ends: in order, or at once.

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{Engine, Phase, Transport, closing_frame};
use crate::hub::CloseReason;
use crate::protocol::engineio::Wire;
use crate::shard::timers::{Timed, Timer};

/// How long a close waits for the poll that fetches it (engine.io
/// `polling.ts`, `closeTimeout`).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

// === impl Engine ===

impl Engine {
    /// Closes the session in order: what waits is sent, then the client is
    /// told. Over polling the close has a poll of its own: a payload with
    /// events and a close makes the client library see the events twice.
    pub fn close(self: &Rc<Self>, reason: CloseReason) {
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Open {
            return;
        }
        match state.transport {
            Transport::Websocket => {
                state.phase = Phase::Closing(reason);
                drop(state);
                self.outbox.finish(Some(closing_frame()), reason);
            }
            Transport::Polling if self.outbox.has_poll() => {
                drop(state);
                self.outbox.answer_poll(&Wire::text(&[b"1"]));
                self.abort(reason);
            }
            Transport::Polling => {
                state.phase = Phase::Closing(reason);
                drop(state);
                let owner: Weak<dyn Timed> = self.weak();
                self.shard.timers.set_after(owner, Timer::Close, CLOSE_TIMEOUT);
            }
        }
    }

    /// The session is over, now. What waits is not sent.
    pub fn abort(&self, reason: CloseReason) {
        {
            let mut state = self.state.borrow_mut();
            if state.phase == Phase::Closed {
                return;
            }
            state.phase = Phase::Closed;
        }
        if let Some(key) = self.heartbeat.take() {
            self.shard.timers.remove(&key);
        }
        let upgrade = self.upgrade.borrow_mut().take();
        if let Some(upgrade) = upgrade {
            self.shard.timers.remove(&upgrade.timer);
            upgrade.probe.finish(Some(closing_frame()), reason);
        }
        self.outbox.end(reason);
        self.outbox.detach();
        self.shard.engines.borrow_mut().remove(&self.sid);
        self.shard.closed(self.labels(), reason);
        drop(self.place.take());
        if let Some(session) = self.session.get() {
            session.closed(reason);
        }
    }
}
