//! Pings of an Engine.IO session, and whether their answers came in time.

use std::rc::{Rc, Weak};

use tokio::time::Instant;

use super::{Engine, Phase};
use crate::hub::CloseReason;
use crate::protocol::engineio::Message;
use crate::shard::timers::{Timed, Timer};

// === impl Engine ===

impl Engine {
    /// A request that comes after the deadline finds the session closed,
    /// also when the timer hasn't run yet.
    pub(super) fn check_heartbeat(&self) {
        let late = {
            let state = self.state.borrow();
            let settings = &self.shard.shared.config.socketio;
            let end = if state.awaiting_pong {
                state.deadline
            } else {
                state.deadline + settings.ping_timeout.get()
            };
            Instant::now() >= end
        };
        if late {
            self.abort(CloseReason::PingTimeout);
        }
        self.check_outbox();
    }

    /// Over polling nobody watches the outbox: the first who comes by closes
    /// a session whose outbox has ended.
    pub(super) fn check_outbox(&self) {
        let open = self.state.borrow().phase == Phase::Open;
        if let (true, Some(reason)) = (open, self.outbox.ended()) {
            self.abort(reason);
        }
    }

    pub(super) fn schedule_heartbeat(self: &Rc<Self>) {
        let at = self.state.borrow().deadline;
        if let Some(key) = self.heartbeat.take() {
            self.shard.timers.reset(&key, at);
            self.heartbeat.set(Some(key));
        } else {
            let owner: Weak<dyn Timed> = self.weak();
            self.heartbeat.set(Some(self.shard.timers.set(owner, Timer::Heartbeat, at)));
        }
    }

    pub(super) fn beat(self: &Rc<Self>) {
        self.heartbeat.set(None);
        self.check_outbox();
        let mut state = self.state.borrow_mut();
        if state.phase == Phase::Closed {
            return;
        }
        if state.awaiting_pong {
            drop(state);
            self.abort(CloseReason::PingTimeout);
            return;
        }
        state.awaiting_pong = true;
        // From when the ping was due, not from when it was written.
        state.deadline += self.shard.shared.config.socketio.ping_timeout.get();
        let open = state.phase == Phase::Open;
        drop(state);
        if open {
            self.outbox.send(&Message::One(self.shard.ping.clone()));
        }
        self.schedule_heartbeat();
    }
}
