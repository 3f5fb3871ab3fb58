//! An outbox's inside: what waits, and where it goes.

use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::queue::Queue;
use crate::hub::CloseReason;
use crate::hub::droppable::{Droppable, Policy};
use crate::protocol::engineio::{self, Message};
use crate::transport::socket::Socket;

/// Frames in one gathered write. Linux takes 1024; past some dozens the
/// system call's own cost no longer shows.
const GATHER: usize = 64;
/// Bytes of a replay that are encoded for one write: more than a socket takes
/// at once.
const WRITE: usize = 256 << 10;
/// The same for the answer of one poll.
const POLL: usize = 1 << 20;

/// What waits, and where it goes.
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) sink: Sink,
    /// The socket takes no more; its task waits until it does.
    pub(super) blocked: bool,
    /// The connection's task has fetched all that there was, and waits.
    pub(super) hungry: bool,
    /// It waits for the round's flush.
    pub(super) dirty: bool,
    pub(super) end: End,
    /// The connection's task.
    pub(super) waker: Option<Waker>,
}

/// Where it goes.
pub(super) enum Sink {
    /// Nowhere yet: between two polls, or before the first.
    None,
    /// Straight onto a WebSocket's socket.
    Socket(Rc<Socket>),
    /// The answer of a waiting poll.
    Poll(oneshot::Sender<Bytes>),
    /// The connection's task fetches it (SSE).
    Stream,
}

#[derive(Clone, Copy)]
pub(super) enum End {
    Open,
    /// When the queue is empty.
    Finishing(CloseReason),
    Ended(CloseReason),
}

// === impl State ===

impl State {
    /// Puts a publication of the policy `latest` into the place of the one
    /// that waits because the client is behind. False: it isn't, or none does.
    pub(super) fn replace(&mut self, message: &Message, droppable: &Droppable<'_>) -> bool {
        if droppable.policy != Policy::Latest || !self.queue.has_older(droppable) {
            return false;
        }
        // Not behind before it was offered: several may come in one round.
        self.flush();
        let behind = !(matches!(self.sink, Sink::Stream) && self.hungry);
        behind && self.queue.replace(message, droppable)
    }

    pub(super) fn flush(&mut self) {
        if matches!(self.end, End::Ended(_)) {
            return;
        }
        match &self.sink {
            Sink::Socket(_) if !self.blocked => self.write(),
            Sink::Poll(_) if !self.queue.is_empty() => {
                if let Sink::Poll(poll) = std::mem::replace(&mut self.sink, Sink::None) {
                    self.queue.prepare(POLL, usize::MAX);
                    let payload = engineio::encode_payload(self.queue.wires());
                    if poll.send(payload).is_ok() {
                        self.queue.take_prepared();
                    }
                }
            }
            Sink::Stream if !self.queue.is_empty() => self.wake(),
            _ => {}
        }
        self.settle();
    }

    /// Gathered writes until nothing waits, here or in the socket, or the socket takes no more.
    fn write(&mut self) {
        loop {
            let Sink::Socket(stream) = &self.sink else { return };
            self.queue.prepare(WRITE, GATHER);
            if self.queue.is_empty() {
                match stream.push() {
                    Ok(()) => break,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.block(),
                    Err(_) => self.end(CloseReason::TransportError),
                }
                return;
            }
            let mut slices = [IoSlice::new(&[]); GATHER];
            let count = self.queue.slices(&mut slices);
            // Of one frame a plain write is the cheaper one.
            let written = match &slices[..count] {
                [one] => stream.try_write(one),
                many => stream.try_write_vectored(many),
            };
            match written {
                Ok(written) => self.queue.consume(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.block();
                    return;
                }
                Err(_) => {
                    self.end(CloseReason::TransportError);
                    return;
                }
            }
        }
        self.settle();
    }

    /// The end comes when nothing waits any more.
    pub(super) fn settle(&mut self) {
        if let End::Finishing(reason) = self.end
            && self.queue.is_empty()
            && !matches!(&self.sink, Sink::Socket(stream) if stream.is_holding())
        {
            self.end(reason);
        }
    }

    pub(super) fn end(&mut self, reason: CloseReason) {
        if matches!(self.end, End::Ended(_)) {
            return;
        }
        self.end = End::Ended(reason);
        // A poll that waits has nothing to wait for.
        if matches!(self.sink, Sink::Poll(_)) {
            self.sink = Sink::None;
        }
        self.queue = Queue::default();
        self.wake();
    }

    pub(super) fn block(&mut self) {
        self.blocked = true;
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn remember(&mut self, context: &Context<'_>) {
        match &self.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => self.waker = Some(context.waker().clone()),
        }
    }
}
