//! A WebSocket's reading end: one task for each connection, which also sends
//! what its socket didn't take at once. It owns no buffer while nothing is
//! partial: all connections of a shard read into one.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::patient::Patient;
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
/// Bytes read from a peer that is being closed.
const LINGER_BYTES: usize = 1 << 20;

/// Who takes a WebSocket's messages.
pub trait Inbound {
    /// Where its frames wait; another one after an upgrade.
    fn outbox(&self) -> Rc<Outbox>;

    /// A message; the next waits until this one is done.
    fn message(&self, message: Message) -> impl Future<Output = ()>;
}

/// What the task woke for.
enum Event {
    Readable,
    Ended(CloseReason),
}

/// Takes the socket out of an HTTP connection of ours that has been upgraded,
/// with the bytes that came behind its handshake.
pub fn into_stream(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<Patient>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// Reads a WebSocket until it ends; then closes it in order, if it can.
pub async fn serve(
    shard: &Shard,
    stream: &Rc<TcpStream>,
    leftover: Bytes,
    inbound: &impl Inbound,
) -> CloseReason {
    let mut reader = Reader::new(shard.shared.config.socketio.max_payload);
    let mut messages = Vec::new();
    if !leftover.is_empty() {
        let mut leftover = Vec::from(leftover);
        feed(&mut reader, &mut leftover, &mut messages, inbound);
    }
    let reason = read(shard, stream, &mut reader, &mut messages, inbound).await;
    linger(shard, stream, reason).await;
    reason
}

async fn read(
    shard: &Shard,
    stream: &Rc<TcpStream>,
    reader: &mut Reader,
    messages: &mut Vec<Message>,
    inbound: &impl Inbound,
) -> CloseReason {
    loop {
        let mut turn = Turn::begin();
        for message in messages.drain(..) {
            turn.pass().await;
            if let Some(reason) = inbound.outbox().ended() {
                return reason;
            }
            drive_while(inbound, inbound.message(message)).await;
        }
        if messages.capacity() > 4 {
            *messages = Vec::new();
        }
        let outbox = inbound.outbox();
        if outbox.is_finishing() {
            let finished = poll_fn(|context| outbox.poll_drive(context));
            return timeout(FINISH_TIMEOUT, finished).await.unwrap_or(CloseReason::TransportError);
        }
        let event = poll_fn(|context| {
            if let Poll::Ready(reason) = outbox.poll_drive(context) {
                return Poll::Ready(Event::Ended(reason));
            }
            if outbox.is_finishing() {
                // Somebody closed it meanwhile; look again.
                return Poll::Ready(Event::Readable);
            }
            stream.poll_read_ready(context).map(|_| Event::Readable)
        })
        .await;
        if let Event::Ended(reason) = event {
            return reason;
        }
        let mut buffer = shard.scratch.borrow_mut();
        match stream.try_read(&mut buffer) {
            Ok(0) => return CloseReason::TransportClose,
            Ok(length) => feed(reader, &mut buffer[..length], messages, inbound),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return CloseReason::TransportError,
        }
    }
}

fn feed(
    reader: &mut Reader,
    bytes: &mut [u8],
    messages: &mut Vec<Message>,
    inbound: &impl Inbound,
) {
    if let Err(violation) = reader.feed(bytes, messages) {
        let frame = websocket::close(violation.code(), "");
        inbound.outbox().finish(Some(Wire::raw(frame)), CloseReason::ParseError);
    }
}

/// Waits for a message to be handled; meanwhile what waits is still sent.
async fn drive_while(inbound: &impl Inbound, work: impl Future<Output = ()>) {
    let mut work = pin!(work);
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

/// Lets the last frame arrive.
async fn linger(shard: &Shard, stream: &TcpStream, reason: CloseReason) {
    let orderly = !matches!(
        reason,
        CloseReason::TransportError | CloseReason::SlowConsumer | CloseReason::Panic
    );
    if !orderly || socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write).is_err() {
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
