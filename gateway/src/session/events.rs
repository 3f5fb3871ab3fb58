//! A Server-Sent Events stream on `/sse`.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Frame;

use super::recovery::Resume;
use super::{NewSession, Session, Unannounced};
use crate::auth::Identity;
use crate::channel::Channel;
use crate::door::Place;
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Form, Outbox, Protocol};
use crate::offset::Offset;
use crate::protocol::engineio::{Message, Wire};
use crate::protocol::sse;
use crate::session::sid::random_id;
use crate::shard::Shard;
use crate::shard::timers::{Timed, Timer, TimerKey};

/// What a stream's request says.
#[derive(Clone, Debug, Default)]
pub struct StreamRequest {
    /// Channels, in the order given.
    pub channels: Vec<String>,
    /// `Last-Event-ID`, or `?since=`.
    pub since: Option<Offset>,
    /// `?last=`: so many of each channel's latest, on a first connect.
    pub last: Option<usize>,
}

/// A stream as a response body. Dropped: the client is gone.
pub struct StreamBody {
    stream: Rc<Stream>,
}

/// One client.
struct Stream {
    shard: Rc<Shard>,
    outbox: Rc<Outbox>,
    session: Rc<Session>,
    heartbeat: Cell<Option<TimerKey>>,
    /// Its place in the shard's list.
    registration: usize,
    /// Given back with it.
    // Its end is what counts.
    #[allow(dead_code)]
    place: Place,
}

/// Metric labels.
const LABELS: (&str, &str) = ("sse", "sse");

impl StreamBody {
    /// Subscribes to all channels of the request. The first bytes follow
    /// when every subscription is in force.
    pub async fn open(
        shard: &Rc<Shard>,
        identity: std::sync::Arc<Identity>,
        request: &StreamRequest,
        (place, address): (Place, IpAddr),
    ) -> Result<Self, Error> {
        if request.channels.is_empty() {
            return Err(Error::new(
                ErrorCode::BadRequest,
                "name the channels: /sse?channel=a&channel=b",
            )
            .field("channel"));
        }
        let user_place = shard.shared.door.user(&identity)?;
        let outbox = Outbox::new(shard.outbox_limits());
        outbox.attach_stream();
        let form = Form { protocol: Protocol::Sse, namespace: 0, meta: false, recoverable: false };
        let session = Session::new(
            shard,
            NewSession {
                id: random_id()?,
                namespace: arcstr::literal!("/"),
                identity,
                user_place,
                form,
                outbox: outbox.clone(),
                engine: Weak::new(),
            },
        );
        let unannounced = Unannounced::new(&session);
        begin(&session, unannounced, &outbox, request).await?;
        let registration = shard.others.borrow_mut().insert((outbox.clone(), None));
        let stream = Rc::new(Stream {
            shard: shard.clone(),
            registration,
            outbox,
            session,
            heartbeat: Cell::new(None),
            place,
        });
        stream.schedule();
        shard.opened(LABELS, address);
        Ok(Self { stream })
    }
}

/// Subscribes, then sends what was missed, then lets live ones follow.
async fn begin(
    session: &Rc<Session>,
    unannounced: Unannounced,
    outbox: &Rc<Outbox>,
    request: &StreamRequest,
) -> Result<(), Error> {
    let most = session.shard.shared.limits.load().subscriptions;
    if request.channels.len() > most {
        return Err(Error::new(
            ErrorCode::LimitSubscriptions,
            format!("a stream has at most {most} channels"),
        ));
    }
    let (until, mut pending) = session.join_with(&request.channels, request.since.as_ref()).await?;
    let resume = match (&request.since, request.last) {
        (Some(offset), _) => Some(Resume::Stream(offset)),
        (None, Some(last)) => Some(Resume::Last(last)),
        (None, None) => None,
    };
    let (replayed, lost) = match &resume {
        Some(resume) => session.replay_all(resume, until).await?,
        None => (Vec::new(), Vec::new()),
    };
    outbox.queue(&Message::One(Wire::raw(sse::comment("subscribed"))));
    if !lost.is_empty() {
        let channels: Vec<&str> = lost.iter().map(Channel::as_str).collect();
        let notice = serde_json::json!({ "recovered": false, "channels": channels });
        outbox.queue(&Message::One(Wire::raw(sse::notice("push:recovered", &notice))));
    }
    pending.replay(replayed);
    unannounced.announced();
    pending.settle();
    Ok(())
}

// === impl Stream ===

impl Stream {
    /// A comment as often as a ping: proxies keep the connection, and a dead
    /// one is found.
    fn schedule(self: &Rc<Self>) {
        let owner: Rc<dyn Timed> = self.clone();
        let owner: Weak<dyn Timed> = Rc::downgrade(&owner);
        let interval = self.shard.shared.config.socketio.ping_interval.get();
        self.heartbeat.set(Some(self.shard.timers.set_after(owner, Timer::Heartbeat, interval)));
    }
}

impl Timed for Stream {
    fn due(self: Rc<Self>, timer: Timer) {
        if timer == Timer::Heartbeat {
            self.heartbeat.set(None);
            self.outbox.send(&Message::One(Wire::raw(sse::comment(""))));
            self.schedule();
        }
    }
}

impl hyper::body::Body for StreamBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.stream.outbox.poll_next(context).map(|bytes| bytes.map(|b| Ok(Frame::data(b))))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let stream = &self.stream;
        let reason = stream.outbox.ended().unwrap_or(CloseReason::TransportClose);
        stream.outbox.end(reason);
        if let Some(key) = stream.heartbeat.take() {
            stream.shard.timers.remove(&key);
        }
        stream.shard.others.borrow_mut().try_remove(stream.registration);
        stream.session.end(true);
        stream.shard.closed(LABELS, reason);
    }
}
