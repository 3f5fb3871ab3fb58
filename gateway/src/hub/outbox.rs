//! What waits for one connection, bounded, and the way onto its socket.
//!
//! A WebSocket is written to straight from the fan-out: when nothing waits,
//! a frame goes to the kernel at once; else all that waits goes in one
//! gathered write. A long-poll gets everything that waits as one payload.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::protocol::engineio::{self, Message, Wire};

/// Frames in one gathered write. Linux takes 1024; past some dozens the
/// system call's own cost no longer shows.
const GATHER: usize = 64;
/// Queue slots kept when nothing waits any more; a burst's memory is given back.
const KEPT_SLOTS: usize = 32;

/// What waits for one connection.
pub struct Outbox {
    state: RefCell<State>,
    limits: OutboxLimits,
    dirty: Cell<bool>,
}

/// How much may wait for one connection.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Bytes of frames.
    pub bytes: usize,
    /// Frames.
    pub messages: usize,
}

/// Why a connection ends. The name is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The socket was closed by the other side.
    TransportClose,
    /// The socket failed.
    TransportError,
    /// The client said goodbye.
    ClientClose,
    /// No answer to a ping.
    PingTimeout,
    /// Bytes that aren't the protocol's.
    ParseError,
    /// Joined no namespace in time.
    ConnectTimeout,
    /// The gateway closes it: a protocol rule or an operator's word.
    ForcedClose,
    /// Too much waited for it.
    SlowConsumer,
    /// The gateway drains.
    Drain,
    /// Another connection took the session over.
    Fenced,
    /// The token's time is over.
    TokenExpired,
    /// What it missed can't be had any more, or not now.
    Resync,
    /// A fault of the gateway's own.
    Panic,
}

struct State {
    queue: VecDeque<Wire>,
    /// Bytes in the queue, without what is written of the front.
    bytes: usize,
    /// Bytes of the front that are written.
    written: usize,
    /// What a replay put into the queue beyond the limits, until it is empty.
    granted: OutboxLimits,
    sink: Sink,
    /// The socket takes no more; its task waits until it does.
    blocked: bool,
    end: End,
    /// The connection's task.
    waker: Option<Waker>,
}

/// Where it goes.
enum Sink {
    /// Nowhere yet: between two polls, or before the first.
    None,
    /// Straight onto a WebSocket's socket.
    Socket(Rc<TcpStream>),
    /// The answer of a waiting poll.
    Poll(oneshot::Sender<Bytes>),
    /// The connection's task fetches it (SSE).
    Stream,
}

#[derive(Clone, Copy)]
enum End {
    Open,
    /// When the queue is empty.
    Finishing(CloseReason),
    Ended(CloseReason),
}

// === impl Outbox ===

impl Outbox {
    /// An empty one.
    pub fn new(limits: OutboxLimits) -> Rc<Self> {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            written: 0,
            granted: OutboxLimits { bytes: 0, messages: 0 },
            sink: Sink::None,
            blocked: false,
            end: End::Open,
            waker: None,
        };
        Rc::new(Self { state: RefCell::new(state), limits, dirty: Cell::new(false) })
    }

    /// From now on frames go onto this socket.
    pub fn attach_socket(&self, stream: Rc<TcpStream>) {
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

    /// Queues a message and sends what waits.
    pub fn send(&self, message: &Message) {
        if self.queue(message) {
            self.flush();
        }
    }

    /// Fan-out: writes at once when nothing waits.
    pub fn send_now(&self, message: &Message) {
        if let Message::One(wire) = message {
            let mut state = self.state.borrow_mut();
            if let (Sink::Socket(stream), true, End::Open) =
                (&state.sink, state.queue.is_empty(), state.end)
            {
                match stream.try_write(wire.frame()) {
                    Ok(written) if written == wire.len() => return,
                    Ok(written) => {
                        state.written = written;
                        state.bytes += wire.len() - written;
                        state.queue.push_back(wire.clone());
                        state.block();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        state.bytes += wire.len();
                        state.queue.push_back(wire.clone());
                        state.block();
                    }
                    Err(_) => state.end(CloseReason::TransportError),
                }
                return;
            }
        }
        self.send(message);
    }

    /// Queues a message. False: it can't be sent, the connection ends.
    pub fn queue(&self, message: &Message) -> bool {
        let mut state = self.state.borrow_mut();
        if !matches!(state.end, End::Open) {
            return false;
        }
        for wire in message.wires() {
            state.bytes += wire.len();
            state.queue.push_back(wire.clone());
        }
        if state.exceeds(self.limits) {
            // Not slow before it was offered: a round of the fan-out, or a
            // replay, may bring more at once than may wait.
            state.flush();
            if state.exceeds(self.limits) {
                state.end(CloseReason::SlowConsumer);
                return false;
            }
        }
        true
    }

    /// Queues a replay. It may be longer than what may wait otherwise: closed
    /// for it, the client would come back for the same and be closed again.
    /// False: it can't be sent, the connection ends.
    pub fn queue_replay(&self, messages: &[Message]) -> bool {
        let mut state = self.state.borrow_mut();
        if !matches!(state.end, End::Open) {
            return false;
        }
        for wire in messages.iter().flat_map(Message::wires) {
            state.bytes += wire.len();
            state.granted.bytes += wire.len();
            state.granted.messages += 1;
            state.queue.push_back(wire.clone());
        }
        true
    }

    /// Marks it as waiting for the round's flush. False: it already is.
    pub fn soil(&self) -> bool {
        !self.dirty.replace(true)
    }

    /// The round's flush comes.
    pub fn clean(&self) {
        self.dirty.set(false);
    }

    /// How much may wait.
    pub fn limits(&self) -> OutboxLimits {
        self.limits
    }

    /// Sends what waits, as far as the other side takes it.
    pub fn flush(&self) {
        self.state.borrow_mut().flush();
    }

    /// Ends the connection when what waits, and then `last`, is sent.
    pub fn finish(&self, last: Option<Wire>, reason: CloseReason) {
        let mut state = self.state.borrow_mut();
        if !matches!(state.end, End::Open) {
            return;
        }
        if let Some(wire) = last {
            state.bytes += wire.len();
            state.queue.push_back(wire);
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
        if let Some(wire) = state.queue.pop_front() {
            state.bytes -= wire.len();
            state.emptied();
            return Poll::Ready(Some(wire.frame().clone()));
        }
        state.remember(context);
        Poll::Pending
    }
}

// === impl State ===

impl State {
    fn exceeds(&self, limits: OutboxLimits) -> bool {
        self.bytes > limits.bytes + self.granted.bytes
            || self.queue.len() > limits.messages + self.granted.messages
    }

    fn flush(&mut self) {
        if matches!(self.end, End::Ended(_)) {
            return;
        }
        match &self.sink {
            Sink::Socket(_) if !self.blocked => self.write(),
            Sink::Poll(_) if !self.queue.is_empty() => {
                if let Sink::Poll(poll) = std::mem::replace(&mut self.sink, Sink::None) {
                    let payload = engineio::encode_payload(self.queue.iter());
                    if poll.send(payload).is_ok() {
                        self.queue.clear();
                        self.bytes = 0;
                        self.emptied();
                    }
                }
            }
            Sink::Stream if !self.queue.is_empty() => self.wake(),
            _ => {}
        }
        self.settle();
    }

    /// Gathered writes until nothing waits or the socket takes no more.
    fn write(&mut self) {
        while !self.queue.is_empty() {
            let Sink::Socket(stream) = &self.sink else { return };
            let mut slices = [IoSlice::new(&[]); GATHER];
            let mut count = 0;
            for (slice, wire) in slices.iter_mut().zip(&self.queue) {
                let frame = wire.frame();
                let skip = if count == 0 { self.written } else { 0 };
                *slice = IoSlice::new(&frame[skip..]);
                count += 1;
            }
            match stream.try_write_vectored(&slices[..count]) {
                Ok(written) => self.consume(written),
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
        self.emptied();
    }

    /// Takes written bytes off the queue.
    fn consume(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(front) = self.queue.front() {
            let rest = front.len() - self.written;
            if written < rest {
                self.written += written;
                return;
            }
            written -= rest;
            self.written = 0;
            self.queue.pop_front();
        }
    }

    fn emptied(&mut self) {
        if self.queue.is_empty() {
            self.granted = OutboxLimits { bytes: 0, messages: 0 };
            if self.queue.capacity() > KEPT_SLOTS {
                self.queue = VecDeque::new();
            }
        }
        self.settle();
    }

    /// The end comes when nothing waits any more.
    fn settle(&mut self) {
        if let End::Finishing(reason) = self.end
            && self.queue.is_empty()
        {
            self.end(reason);
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if matches!(self.end, End::Ended(_)) {
            return;
        }
        self.end = End::Ended(reason);
        // A poll that waits has nothing to wait for.
        if matches!(self.sink, Sink::Poll(_)) {
            self.sink = Sink::None;
        }
        self.queue = VecDeque::new();
        self.bytes = 0;
        self.written = 0;
        self.wake();
    }

    fn block(&mut self) {
        self.blocked = true;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn remember(&mut self, context: &Context<'_>) {
        match &self.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => self.waker = Some(context.waker().clone()),
        }
    }
}

// === impl CloseReason ===

impl CloseReason {
    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TransportClose => "transport_close",
            Self::TransportError => "transport_error",
            Self::ClientClose => "client_close",
            Self::PingTimeout => "ping_timeout",
            Self::ParseError => "parse_error",
            Self::ConnectTimeout => "connect_timeout",
            Self::ForcedClose => "forced_close",
            Self::SlowConsumer => "slow_consumer",
            Self::Drain => "drain",
            Self::Fenced => "fenced",
            Self::TokenExpired => "token_expired",
            Self::Resync => "resync",
            Self::Panic => "panic",
        }
    }
}
