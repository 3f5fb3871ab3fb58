//! An Engine.IO session's polling requests: polls, which wait for something to
//! send, and data requests, which bring packets.

use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Engine, Phase, Transport};
use crate::hub::CloseReason;
use crate::protocol::engineio::{self, Wire};
use crate::shard::turn::Turn;

/// An answer to a polling request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollResponse {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Body.
    pub body: Bytes,
}

/// Why a polling request's body didn't come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than `maxPayload`.
    TooLarge,
    /// The connection broke, or it took too long.
    Broken,
}

/// A poll request under way. Dropped before its answer: the client hung up,
/// and that closes the session.
struct PollGuard<'a>(Option<&'a Rc<Engine>>);

/// A data request under way.
struct PostGuard<'a>(&'a Engine);

// === impl Engine ===

impl Engine {
    /// A poll: waits for something to send. Dropping it closes the session.
    pub async fn poll(self: &Rc<Self>, from: IpAddr) -> PollResponse {
        self.seen(from);
        self.check_heartbeat();
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.borrow_mut();
            if state.phase == Phase::Closed {
                return PollResponse::error(1);
            }
            if state.transport != Transport::Polling {
                return PollResponse::error(3);
            }
            if state.polling {
                drop(state);
                // Two polls at once: the client has lost count.
                self.outbox.answer_poll(&Wire::text(&[b"1"]));
                self.abort(CloseReason::TransportError);
                return PollResponse::error(3);
            }
            if let Phase::Closing(reason) = state.phase
                && self.outbox.is_empty()
            {
                drop(state);
                self.abort(reason);
                return PollResponse::packets(Bytes::from_static(b"1"));
            }
            state.polling = true;
        }
        let mut guard = PollGuard(Some(self));
        self.outbox.attach_poll(sender);
        if self.state.borrow().probed {
            // The client waits for this poll to end before it upgrades.
            self.outbox.answer_poll(&Wire::text(&[b"6"]));
        }
        let answer = receiver.await;
        guard.0 = None;
        self.state.borrow_mut().polling = false;
        self.check_outbox();
        answer.map_or_else(|_| PollResponse::error(1), PollResponse::packets)
    }

    /// A data request: hands its packets on, one after the other.
    pub async fn post(
        self: &Rc<Self>,
        from: IpAddr,
        body: impl Future<Output = Result<Bytes, BodyError>>,
    ) -> PollResponse {
        self.seen(from);
        self.check_heartbeat();
        {
            let mut state = self.state.borrow_mut();
            if state.phase != Phase::Open {
                return PollResponse::error(1);
            }
            if state.transport != Transport::Polling {
                return PollResponse::error(3);
            }
            if state.posting {
                drop(state);
                self.abort(CloseReason::TransportError);
                return PollResponse::error(3);
            }
            state.posting = true;
        }
        let guard = PostGuard(self);
        let body = match body.await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return PollResponse::too_large(),
            Err(BodyError::Broken) => {
                self.abort(CloseReason::TransportError);
                return PollResponse::error(3);
            }
        };
        let mut turn = Turn::begin(&self.shard);
        for packet in engineio::packets(body) {
            turn.pass().await;
            let Ok(packet) = packet else {
                self.abort(CloseReason::ParseError);
                return PollResponse::error(3);
            };
            self.packet(packet).await;
            self.check_outbox();
            if self.is_closed() {
                break;
            }
        }
        drop(guard);
        PollResponse::ok()
    }
}

// === impl PollResponse ===

impl PollResponse {
    /// Packets for the client.
    pub fn packets(body: Bytes) -> Self {
        Self { status: 200, content_type: "text/plain; charset=UTF-8", body }
    }

    /// The answer to a data request.
    pub fn ok() -> Self {
        // `text/html`, as the reference server: some browsers offer
        // `text/plain` as a download.
        Self { status: 200, content_type: "text/html", body: Bytes::from_static(b"ok") }
    }

    /// An Engine.IO error, by its code.
    pub fn error(code: u8) -> Self {
        Self {
            status: if code == 4 { 403 } else { 400 },
            content_type: "application/json",
            body: Bytes::from_static(engineio::error_body(code).as_bytes()),
        }
    }

    /// A body over `maxPayload`.
    pub fn too_large() -> Self {
        Self { status: 413, content_type: "text/plain", body: Bytes::new() }
    }
}

// === impl guards ===

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        if let Some(engine) = self.0.take() {
            engine.state.borrow_mut().polling = false;
            engine.outbox.detach();
            engine.abort(CloseReason::TransportClose);
        }
    }
}

impl Drop for PostGuard<'_> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().posting = false;
    }
}
