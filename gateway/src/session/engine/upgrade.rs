//! An Engine.IO session's way from polling to a WebSocket.

use std::net::IpAddr;
use std::rc::{Rc, Weak};

use super::{Engine, Phase, Transport, closing_frame};
use crate::hub::{CloseReason, Outbox};
use crate::protocol::engineio::{Message, Packet, Wire};
use crate::shard::timers::{Timed, Timer, TimerKey};
use crate::transport::socket::Socket;

/// From polling to a WebSocket.
pub(super) struct Upgrade {
    /// The client's WebSocket-to-be.
    pub(super) probe: Rc<Outbox>,
    /// When it is given up.
    pub(super) timer: TimerKey,
}

// === impl Engine ===

impl Engine {
    /// A WebSocket came for this session. `None`: it can't have it.
    pub fn begin_upgrade(self: &Rc<Self>, from: IpAddr) -> Option<Rc<Outbox>> {
        self.seen(from);
        {
            let state = self.state.borrow();
            let free = state.phase == Phase::Open
                && state.transport == Transport::Polling
                && self.upgrade.borrow().is_none();
            if !free {
                return None;
            }
        }
        let probe = Outbox::new(self.shard.outbox_limits());
        let timeout = self.shard.shared.config.socketio.upgrade_timeout.get();
        let owner: Weak<dyn Timed> = self.weak();
        let timer = self.shard.timers.set_after(owner, Timer::Upgrade, timeout);
        let upgrade = Upgrade { probe: probe.clone(), timer };
        *self.upgrade.borrow_mut() = Some(Box::new(upgrade));
        Some(probe)
    }

    /// A packet on the WebSocket-to-be. True: the upgrade is complete.
    pub fn probe_packet(&self, probe: &Rc<Outbox>, packet: &Packet) -> bool {
        if self.state.borrow().phase == Phase::Closed {
            probe.finish(Some(closing_frame()), CloseReason::ForcedClose);
            return false;
        }
        match packet {
            Packet::Ping(data) if data.as_ref() == b"probe" => {
                probe.send(&Message::One(Wire::text(&[b"3probe"])));
                self.state.borrow_mut().probed = true;
                self.outbox.answer_poll(&Wire::text(&[b"6"]));
                false
            }
            // A second upgrade at once, or one given up: its frame is on the way.
            Packet::Upgrade => self.is_probe(probe),
            _ => {
                probe.finish(Some(closing_frame()), CloseReason::ParseError);
                false
            }
        }
    }

    /// The upgrade is complete: from now on everything goes over the
    /// WebSocket.
    pub fn complete_upgrade(&self, stream: Rc<Socket>) {
        self.leave_probe();
        let old = self.labels();
        self.outbox.answer_poll(&Wire::text(&[b"6"]));
        self.state.borrow_mut().transport = Transport::Websocket;
        self.shard.upgraded(old, self.labels());
        self.outbox.attach_socket(stream);
        if let Phase::Closing(reason) = self.state.borrow().phase {
            self.outbox.finish(Some(closing_frame()), reason);
        }
    }

    /// The WebSocket-to-be is gone; polling goes on. One that was given up
    /// before goes late, when another may be on its way: that one stays.
    pub fn end_probe(&self, probe: &Rc<Outbox>) {
        if self.is_probe(probe) {
            self.leave_probe();
        }
    }

    /// Whether this is the one that is to carry the session.
    fn is_probe(&self, probe: &Rc<Outbox>) -> bool {
        self.upgrade.borrow().as_ref().is_some_and(|upgrade| Rc::ptr_eq(&upgrade.probe, probe))
    }

    fn leave_probe(&self) {
        self.state.borrow_mut().probed = false;
        if let Some(upgrade) = self.upgrade.borrow_mut().take() {
            self.shard.timers.remove(&upgrade.timer);
        }
    }
}
