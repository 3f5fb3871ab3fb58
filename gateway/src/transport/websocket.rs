//! A WebSocket's reading end: one task for each connection, which also sends
//! what its socket didn't take at once. It owns no buffer while nothing is
//! partial: all connections of a shard read into one.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use hyper::upgrade::Upgraded;
use tokio::time::{Instant, timeout, timeout_at};

use super::patient::Patient;
use super::socket::Socket;
use super::stream::ClientStream;
use crate::hub::{CloseReason, Outbox};
use crate::protocol::engineio::Wire;
use crate::protocol::websocket::{self, Message, Reader};
use crate::shard::Shard;
use crate::shard::turn::Turn;

/// How long a peer has to take what is left before its socket is closed.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last bytes have to arrive before the socket is closed for
/// good: closing one with unread input resets it, and the peer loses them.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read at once, unless it is known that more belong to one message. A
/// message of a byte takes a hundred while it waits for its turn: what a peer
/// that floods has waiting here must not be much more than it has sent.
const SMALL_READ: usize = 4 << 10;
/// Bytes read from a peer that is being closed.
const LINGER_BYTES: usize = 1 << 20;

/// Who takes a WebSocket's messages.
pub trait Inbound: Clone + Unpin + 'static {
    /// The socket itself.
    fn socket(&self) -> &Rc<Socket>;

    /// Where its frames wait; another one after an upgrade.
    fn outbox(&self) -> Rc<Outbox>;

    /// A message; the next waits until this one is done.
    fn message(&self, message: Message) -> impl Future<Output = ()>;

    /// It is over. Called once.
    fn closed(&self, reason: CloseReason);
}

/// Reads a WebSocket until it ends; then closes it in order, if it can.
///
/// For an idle client this is all that runs, and it is written by hand so that
/// it keeps little: an async function keeps its arguments twice. What is rare
/// is in a box while it lasts.
pub struct Serving<I> {
    shard: Rc<Shard>,
    inbound: I,
    reader: Reader,
    /// When its turn on the shard began; None: it waits for the client.
    turn: Option<Instant>,
    /// What is being done instead of reading.
    work: Option<LocalBoxFuture<'static, Next>>,
}

/// What comes after some work.
enum Next {
    /// To read on, in the turn that began then, or in a new one.
    Read(Option<Instant>),
    /// The socket is to be closed.
    Ended(CloseReason),
    /// Nothing: it is closed.
    Gone,
}

/// Takes the socket out of an HTTP connection of ours that has been upgraded,
/// with the bytes that came behind its handshake.
pub fn into_stream(upgraded: Upgraded) -> Option<(ClientStream, Bytes)> {
    let parts = upgraded.downcast::<Patient>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

// === impl Serving ===

impl<I: Inbound> Serving<I> {
    /// Of a WebSocket whose handshake is done: `leftover` came behind it.
    /// A violation in it ends the connection.
    pub fn new(shard: Rc<Shard>, inbound: I, leftover: Bytes) -> Self {
        let reader = Reader::new(shard.shared.config.socketio.max_payload);
        let mut serving = Self { shard, inbound, reader, turn: None, work: None };
        if !leftover.is_empty() {
            serving.feed(&mut Vec::from(leftover));
        }
        serving
    }

    /// Does something else before anything.
    #[must_use]
    pub fn after(mut self, first: impl Future<Output = ()> + 'static) -> Self {
        let rest = self.work.take();
        self.work = Some(Box::pin(async move {
            first.await;
            match rest {
                Some(rest) => rest.await,
                None => Next::Read(None),
            }
        }));
        self
    }

    /// Reads what is there.
    fn read(&mut self) {
        let shard = self.shard.clone();
        let mut buffer = shard.scratch.borrow_mut();
        let most = self.reader.remaining().clamp(SMALL_READ, buffer.len());
        match self.inbound.socket().try_read(&mut buffer[..most]) {
            Ok(0) => self.close(CloseReason::TransportClose),
            Ok(length) => self.feed(&mut buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.close(CloseReason::TransportError),
        }
    }

    fn feed(&mut self, bytes: &mut [u8]) {
        let mut messages = Vec::new();
        if let Err(violation) = self.reader.feed(bytes, &mut messages) {
            let frame = websocket::close(violation.code(), "");
            self.inbound.outbox().finish(Some(Wire::raw(frame)), CloseReason::ParseError);
        }
        if !messages.is_empty() {
            let began = *self.turn.get_or_insert_with(Instant::now);
            let (shard, inbound) = (self.shard.clone(), self.inbound.clone());
            self.work = Some(Box::pin(handle(shard, inbound, began, messages)));
        }
    }

    fn close(&mut self, reason: CloseReason) {
        let (shard, inbound) = (self.shard.clone(), self.inbound.clone());
        self.work = Some(Box::pin(async move {
            linger(&shard, inbound.socket(), reason).await;
            inbound.closed(reason);
            Next::Gone
        }));
    }
}

impl<I: Inbound> Future for Serving<I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(work) = &mut self.work {
                match ready!(work.as_mut().poll(context)) {
                    Next::Read(turn) => {
                        self.turn = turn;
                        self.work = None;
                    }
                    Next::Ended(reason) => self.close(reason),
                    Next::Gone => return Poll::Ready(()),
                }
                continue;
            }
            let outbox = self.inbound.outbox();
            if outbox.is_finishing() {
                self.work = Some(Box::pin(finish(outbox)));
                continue;
            }
            if let Poll::Ready(reason) = outbox.poll_drive(context) {
                self.close(reason);
                continue;
            }
            if outbox.is_finishing() {
                // Somebody closed it meanwhile.
                continue;
            }
            // An error shows when it is read.
            if self.inbound.socket().poll_read_ready(context).is_pending() {
                self.turn = None;
                return Poll::Pending;
            }
            match self.turn {
                Some(began) if Turn::since(&self.shard, began).is_over() => {
                    // One that floods has always more to read: without a pause
                    // its turn would go on.
                    self.work = Some(Box::pin(async {
                        tokio::task::yield_now().await;
                        Next::Read(None)
                    }));
                    continue;
                }
                Some(_) => {}
                None => self.turn = Some(Turn::begin(&self.shard).began()),
            }
            self.read();
        }
    }
}

/// Hands messages on, one after the other. Meanwhile what waits for the client
/// is still sent.
async fn handle<I: Inbound>(
    shard: Rc<Shard>,
    inbound: I,
    began: Instant,
    messages: Vec<Message>,
) -> Next {
    let mut turn = Turn::since(&shard, began);
    for message in messages {
        turn.pass().await;
        if let Some(reason) = inbound.outbox().ended() {
            return Next::Ended(reason);
        }
        let mut work = pin!(inbound.message(message));
        poll_fn(|context| {
            if work.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            // Its end is looked at when the message is done.
            let _ = inbound.outbox().poll_drive(context);
            Poll::Pending
        })
        .await;
    }
    Next::Read(Some(turn.began()))
}

/// Sends what is left of one that is closed from this side.
async fn finish(outbox: Rc<Outbox>) -> Next {
    let finished = poll_fn(|context| outbox.poll_drive(context));
    let finished = timeout(FINISH_TIMEOUT, finished).await;
    Next::Ended(finished.unwrap_or(CloseReason::TransportError))
}

/// Lets the last frame arrive.
async fn linger(shard: &Shard, stream: &Socket, reason: CloseReason) {
    let orderly = !matches!(
        reason,
        CloseReason::TransportError | CloseReason::SlowConsumer | CloseReason::Panic
    );
    if !orderly || stream.shutdown().is_err() {
        return;
    }
    let end = Instant::now() + LINGER;
    let mut read = 0;
    while read < LINGER_BYTES && timeout_at(end, stream.readable()).await.is_ok() {
        match stream.try_read(&mut shard.scratch.borrow_mut()) {
            Ok(0) => return,
            Ok(length) => read += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
