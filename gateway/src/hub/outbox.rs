//! What waits for one connection, bounded, and the way onto its socket.
//!
//! A WebSocket is written to straight from the fan-out: when nothing waits,
//! a frame goes to the kernel at once; else all that waits goes in one
//! gathered write. A long-poll gets everything that waits as one payload.
//!
//! # Layout
//!
//! - [`queue`]: messages that wait, in order
//! - `drops`: which of them may be dropped, and what was
//! - `state`: all of it, and where it goes

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::CloseReason;
use super::droppable::{Droppable, Dropping, Losses};
use super::encode::Form;
use crate::protocol::engineio::{self, Message, Wire};
use crate::transport::socket::Socket;

mod drops;
pub(in crate::hub) mod queue;
mod state;
#[cfg(test)]
mod tests;

pub use queue::Later;
use queue::Queue;
use state::{End, Sink, State};

/// What waits for one connection.
pub struct Outbox {
    state: RefCell<State>,
    limits: OutboxLimits,
}

/// How much may wait for one connection.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Bytes of frames.
    pub bytes: usize,
    /// Frames.
    pub messages: usize,
}

// === impl Outbox ===

impl Outbox {
    /// An empty one.
    pub fn new(limits: OutboxLimits) -> Rc<Self> {
        let state = State {
            queue: Queue::default(),
            sink: Sink::None,
            blocked: false,
            hungry: false,
            dirty: false,
            end: End::Open,
            waker: None,
        };
        Rc::new(Self { state: RefCell::new(state), limits })
    }

    /// From now on frames go onto this socket.
    pub fn attach_socket(&self, stream: Rc<Socket>) {
        {
            let mut state = self.state.borrow_mut();
            state.sink = Sink::Socket(stream);
            state.blocked = false;
        }
        self.flush();
    }

    /// A poll waits for what comes next.
    pub fn attach_poll(&self, poll: oneshot::Sender<Bytes>) {
        self.state.borrow_mut().sink = Sink::Poll(poll);
        self.flush();
    }

    /// The connection's task fetches frames by [`Outbox::poll_next`].
    pub fn attach_stream(&self) {
        self.state.borrow_mut().sink = Sink::Stream;
    }

    /// Nobody takes frames now; they wait.
    pub fn detach(&self) {
        self.state.borrow_mut().sink = Sink::None;
    }

    /// Whether a poll waits.
    pub fn has_poll(&self) -> bool {
        matches!(self.state.borrow().sink, Sink::Poll(_))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.state.borrow().queue.is_empty()
    }

    /// Answers a waiting poll with one packet, past what waits.
    pub fn answer_poll(&self, packet: &Wire) {
        let mut state = self.state.borrow_mut();
        if let Sink::Poll(poll) = std::mem::replace(&mut state.sink, Sink::None) {
            // The poll's connection may be gone; then so is the session.
            let _ = poll.send(engineio::encode_payload(std::iter::once(packet)));
        }
    }

    /// Reads what [`Outbox::send`] is about to read, and does nothing: of
    /// several that are fetched one after the other the processor waits for
    /// all at once.
    pub fn fetch(&self) {
        let state = self.state.borrow();
        if let (Sink::Socket(stream), false) = (&state.sink, state.blocked) {
            stream.fetch();
        }
    }

    /// Sends a message: onto the socket at once where nothing waits.
    pub fn send(&self, message: &Message) {
        self.offer(message, None);
    }

    /// The same of a publication, which may be one that is dropped rather
    /// than too much.
    pub(super) fn offer(&self, message: &Message, droppable: Option<&Droppable<'_>>) {
        if let Message::One(wire) = message {
            let mut state = self.state.borrow_mut();
            if let (Sink::Socket(stream), true, End::Open) =
                (&state.sink, state.queue.is_empty(), state.end)
            {
                match stream.try_write(wire.frame()) {
                    Ok(written) if written == wire.len() => {
                        if stream.is_holding() {
                            state.block();
                        }
                    }
                    Ok(written @ 1..) => {
                        state.queue.push_begun(message.clone(), written);
                        state.block();
                    }
                    Ok(_) => {
                        state.queue.push(message.clone(), droppable);
                        state.block();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        state.queue.push(message.clone(), droppable);
                        state.block();
                    }
                    Err(_) => state.end(CloseReason::TransportError),
                }
                return;
            }
        }
        if self.queue_publication(message, droppable) {
            self.flush();
        }
    }

    /// Queues a message. False: it can't be sent, the connection ends.
    pub fn queue(&self, message: &Message) -> bool {
        self.queue_publication(message, None)
    }

    /// The same of a publication, which may be one that is dropped rather
    /// than too much.
    pub(super) fn queue_publication(
        &self,
        message: &Message,
        droppable: Option<&Droppable<'_>>,
    ) -> bool {
        let mut state = self.state.borrow_mut();
        if !matches!(state.end, End::Open) {
            return false;
        }
        let replaced = droppable.is_some_and(|droppable| state.replace(message, droppable));
        if !matches!(state.end, End::Open) {
            // The attempt to send failed.
            return false;
        }
        if !replaced {
            state.queue.push(message.clone(), droppable);
        }
        if state.queue.exceeds(self.limits) {
            // Not slow before it was offered: a round of the fan-out may
            // bring more at once than may wait.
            state.flush();
            state.queue.shed(self.limits);
            if state.queue.exceeds(self.limits) {
                state.end(CloseReason::SlowConsumer);
                return false;
            }
        }
        // It may have ended in the attempt.
        matches!(state.end, End::Open)
    }

    /// What was dropped before it came here; the next flush tells it.
    pub(super) fn add_losses(&self, losses: Losses, form: Form, dropping: &Rc<Dropping>) {
        let mut state = self.state.borrow_mut();
        if matches!(state.end, End::Open) {
            state.queue.add_losses(losses, form, dropping);
        }
    }

    /// Queues a replay, whose parts are encoded as the client takes them. It
    /// doesn't count against the limits. False: it can't be sent, the
    /// connection ends.
    pub fn queue_replay(&self, replay: Vec<Later>) -> bool {
        let mut state = self.state.borrow_mut();
        if !matches!(state.end, End::Open) {
            return false;
        }
        state.queue.push_replay(replay);
        true
    }

    /// Marks it as waiting for the round's flush. False: it already is.
    pub fn soil(&self) -> bool {
        !std::mem::replace(&mut self.state.borrow_mut().dirty, true)
    }

    /// How much may wait.
    pub fn limits(&self) -> OutboxLimits {
        self.limits
    }

    /// Sends what waits, as far as the other side takes it.
    pub fn flush(&self) {
        self.state.borrow_mut().flush();
    }

    /// The round's flush.
    pub fn clean(&self) {
        let mut state = self.state.borrow_mut();
        state.dirty = false;
        state.flush();
    }

    /// Ends the connection when what waits, and then `last`, is sent.
    pub fn finish(&self, last: Option<Wire>, reason: CloseReason) {
        let mut state = self.state.borrow_mut();
        if !matches!(state.end, End::Open) {
            return;
        }
        if let Some(wire) = last {
            state.queue.push(wire.into(), None);
        }
        state.end = End::Finishing(reason);
        state.flush();
        state.wake();
    }

    /// Ends the connection now. What waits is not sent.
    pub fn end(&self, reason: CloseReason) {
        self.state.borrow_mut().end(reason);
    }

    /// Whether it ends when what waits is sent.
    pub fn is_finishing(&self) -> bool {
        matches!(self.state.borrow().end, End::Finishing(_))
    }

    /// Why it ended, if it did.
    pub fn ended(&self) -> Option<CloseReason> {
        match self.state.borrow().end {
            End::Ended(reason) => Some(reason),
            _ => None,
        }
    }

    /// For the connection's task: sends what waits when the socket takes it;
    /// ready when the connection has ended.
    pub fn poll_drive(&self, context: &mut Context<'_>) -> Poll<CloseReason> {
        let mut state = self.state.borrow_mut();
        loop {
            if let End::Ended(reason) = state.end {
                return Poll::Ready(reason);
            }
            if let (Sink::Socket(stream), true) = (&state.sink, state.blocked) {
                match stream.poll_write_ready(context) {
                    Poll::Ready(Ok(())) => {
                        state.blocked = false;
                        state.flush();
                        continue;
                    }
                    Poll::Ready(Err(_)) => {
                        state.end(CloseReason::TransportError);
                        continue;
                    }
                    Poll::Pending => {}
                }
            }
            state.remember(context);
            return Poll::Pending;
        }
    }

    /// For a task that fetches frames: the next one; `None` at the end.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state.borrow_mut();
        if let End::Ended(_) = state.end {
            return Poll::Ready(None);
        }
        state.queue.prepare(0, 1);
        if let Some((message, _)) = state.queue.pop() {
            state.hungry = false;
            state.settle();
            return Poll::Ready(Some(message.into_bytes()));
        }
        state.hungry = true;
        state.remember(context);
        Poll::Pending
    }
}
