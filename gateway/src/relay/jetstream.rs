//! The relay over NATS: many gateways are one service, and nothing is lost.
//!
//! # Layout
//!
//! - `connect`: the client library's connection, the choice of a server, what
//!   can be wrong
//! - `line`: our own connection, on which everything for clients comes
//! - `api`: what is asked of `JetStream`
//! - `subjects`, `time`, `message`: names, times and publications on the wire
//! - `stream`: the stream's settings, from the channel rules
//! - `apply`: rules that change, and what the stream covers
//! - `room`: what the stream lost for want of room
//! - `crossing`: channels that go over from core to the feed, or back
//! - `feed`: follows the stream in order, fills holes, ticks in silence
//! - `ring`: the feed's last minute
//! - `read`: replays and history pages, from the ring or the stream
//! - `interest`: channels without history, one NATS subscription each
//! - `sessions`: the records of sessions that may come back
//! - `marks`: what was revoked, in the same bucket
//! - `health`: what `/status` says

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::client::RequestErrorKind;
use async_nats::{Request, Subscriber};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway_config::{History, Period, Relay as RelayConfig};
use tokio::sync::{Notify, watch};

use super::embedded::Clock;
use super::{
    AskError, Fanout, HistoryPage, HistoryQuery, Mark, Relay, RelayError, RelayStatus, Replay,
    Replayed, Sessions,
};
use crate::channel::Channel;
use crate::metrics::Metrics;
use crate::offset::Position;
use crate::publication::{NewPublication, Published};
use crate::rules::{Rule, SharedRules};

mod api;
mod apply;
mod connect;
mod crossing;
mod feed;
mod health;
mod interest;
pub mod line;
mod marks;
pub mod message;
mod publish;
mod read;
mod ring;
mod room;
mod sessions;
mod stream;
mod subjects;
mod time;

pub use api::ApiError;
pub use connect::{ConnectError, Connection};

use connect::Forbidden;

use api::{Api, Get, StreamInfo};
use apply::{Coverage, Effective};
use crossing::Crossings;
use health::{Health, Skips};
use interest::Interests;
use line::{Headers, Line, LineThread};
use ring::Ring;
use sessions::{JetStreamSessions, SessionsOptions};
use subjects::Subjects;

/// Without a message for so long a gateway ticks.
const TICK: Duration = Duration::from_secs(1);
/// How long the feed waits for an answer from the stream.
const FEED_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Messages before the stream's end that are read into the ring at the start.
const PRIMED: u64 = 4_096;

/// The relay of a gateway among others.
pub struct JetStreamRelay {
    api: Api,
    /// The same, less patient: the feed waits for it.
    feed_api: Api,
    subjects: Subjects,
    /// The stream's name.
    stream: String,
    rules: SharedRules,
    /// The rules that the stream was last brought in line with, and what it
    /// covers.
    effective: ArcSwap<Effective>,
    /// Held while the stream is brought in line.
    applying: tokio::sync::Mutex<()>,
    crossings: Crossings,
    /// A channel begins to go over to the feed.
    cut: Notify,
    fanout: Fanout,
    clock: Clock,
    metrics: Metrics,
    tick: Duration,
    ring: Ring,
    /// The highest sequence that is known to be stored.
    last: AtomicU64,
    /// Whether the stream may lose its beginning for want of room.
    limited: AtomicBool,
    /// Before this sequence the feed missed what was lost so; 0: nothing.
    shed: AtomicU64,
    line: Line,
    forbidden: Arc<Forbidden>,
    interests: Interests,
    sessions: JetStreamSessions,
    health: Health,
    skips: Skips,
    /// What the tasks of [`JetStreamRelay::run`] take over.
    parts: Mutex<Option<Parts>>,
}

struct Parts {
    fenced: Subscriber,
    news: Subscriber,
    connected: watch::Receiver<u64>,
    dropped: watch::Receiver<u64>,
}

/// What a relay is made of.
pub struct JetStreamOptions {
    /// Where NATS is.
    pub config: RelayConfig,
    /// The channel rules, with the configuration's generation.
    pub rules: SharedRules,
    /// Where the feed goes.
    pub fanout: Fanout,
    /// How long a session's record outlives its connection; none: no records.
    pub max_disconnection: Option<Period>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
    /// This gateway, as it is known to NATS and in session records.
    pub name: String,
    /// Silence after which it ticks; a second unless a test says otherwise.
    pub tick: Option<Duration>,
}

// === impl JetStreamRelay ===

impl JetStreamRelay {
    /// Connects, makes or checks the stream, and begins to follow it. The
    /// caller runs [`JetStreamRelay::run`] on the same runtime.
    pub async fn connect(options: JetStreamOptions) -> Result<Arc<Self>, ConnectError> {
        let connection = Connection::open(&options.config, &options.name).await?;
        let forbidden = connection.forbidden.clone();
        let begun = Self::begin(connection, options).await;
        begun.map_err(|error| error.given(forbidden.last().as_deref()))
    }

    async fn begin(
        connection: Connection,
        options: JetStreamOptions,
    ) -> Result<Arc<Self>, ConnectError> {
        let JetStreamOptions {
            config,
            rules,
            fanout,
            max_disconnection,
            metrics,
            clock,
            name,
            tick,
        } = options;
        let api = Api::new(connection.client.clone(), clock.clone());
        let subjects = Subjects::new(&config.prefix);
        let applied = rules.load_full();
        let wanted = stream::wanted(&subjects, &applied);
        let info = match stream::ensure(&api, &wanted).await {
            // This server may be cut off from the stream's leader, or there
            // is none at the moment: another one is asked.
            Err(ConnectError::Api(error)) if error.passes() => {
                tracing::warn!(%error, "the stream doesn't answer; another NATS server is asked");
                let unreachable = |error: async_nats::client::ReconnectError| {
                    ConnectError::Connect(error.to_string())
                };
                connection.client.force_reconnect().await.map_err(unreachable)?;
                stream::ensure(&api, &wanted).await?
            }
            result => result?,
        };
        let unreachable =
            |error: async_nats::SubscribeError| ConnectError::Connect(error.to_string());
        let fenced = connection.client.subscribe(subjects.fenced()).await.map_err(unreachable)?;
        let news = connection.client.subscribe(subjects.news()).await.map_err(unreachable)?;
        // Before any place that a client of this gateway will hold.
        if let Err(error) = room::anchor(&api, &subjects, &info.config, clock.now()).await {
            tracing::warn!(
                %error,
                "the stream takes no anchor: clients may be told of a loss where there is none"
            );
        }
        // The line begins where the stream ends now, and fills what came
        // before it was there.
        api.barrier().await?;
        let info = api.info(&info.config.name).await?;
        let head = feed::head_of(&api, &info)
            .ok_or_else(|| ApiError::Malformed("a stream without a time".to_owned()))?;
        let options = SessionsOptions {
            api: api.clone(),
            replicas: applied.replicas(),
            max_disconnection,
            fanout: fanout.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            gateway: name.clone(),
        };
        let sessions = JetStreamSessions::open(&subjects, options).await?;
        let relay = Arc::new(Self {
            stream: subjects.stream(),
            rules,
            effective: ArcSwap::from_pointee(Effective {
                rules: applied,
                coverage: Coverage::default(),
            }),
            applying: tokio::sync::Mutex::default(),
            crossings: Crossings::default(),
            cut: Notify::new(),
            fanout,
            clock,
            metrics,
            tick: tick.unwrap_or(TICK),
            ring: Ring::new(head),
            last: AtomicU64::new(head.sequence),
            limited: AtomicBool::new(info.config.is_limited()),
            shed: AtomicU64::new(0),
            line: Line::new(config, format!("{name}/line"), connection.choice),
            forbidden: connection.forbidden,
            interests: Interests::default(),
            sessions,
            health: Health::default(),
            skips: Skips::default(),
            parts: Mutex::new(Some(Parts {
                fenced,
                news,
                connected: connection.connected,
                dropped: connection.dropped,
            })),
            subjects,
            feed_api: api.with_timeout(FEED_TIMEOUT),
            api,
        });
        relay.note_stream(&info);
        relay.prime(head).await?;
        relay.fanout.advance(head);
        Ok(relay)
    }

    /// Works until `stop`. The caller spawns it and joins it; a second call
    /// only waits.
    pub async fn run(self: &Arc<Self>, stop: impl Future<Output = ()>) {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Parts { fenced, news, connected, dropped }) = parts else {
            return stop.await;
        };
        let mut line = match LineThread::start(self, connected) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "the thread that reads from NATS can't be started");
                return;
            }
        };
        tokio::select! {
            () = stop => {}
            () = line.ended() => tracing::error!("nothing is read from NATS any more: a fault of the gateway"),
            () = self.sessions.run(fenced) => {}
            () = self.count_overruns(dropped) => {}
            () = self.follow_rules(news) => {}
            () = self.follow_cuts() => {}
            () = self.watch_room() => {}
        }
        line.stop().await;
        self.sessions.finish().await;
    }

    /// Reads the stream's end into the ring, so that resumes find it there
    /// and no replica that is behind is asked for it. What is not there yet
    /// is left to later reads.
    async fn prime(&self, head: Position) -> Result<(), ApiError> {
        let mut from = head.sequence.saturating_sub(PRIMED).max(1);
        let mut messages = Vec::new();
        while from <= head.sequence {
            let batch = self.api.batch(&self.stream, from, ">", 512).await?;
            let Some(last) = batch.last() else { break };
            from = last.sequence + 1;
            messages.extend(batch.into_iter().filter(|stored| stored.sequence <= head.sequence));
        }
        let Some(reached) = messages.last().map(|last| last.sequence) else { return Ok(()) };
        if reached < head.sequence {
            let get = Get { seq: Some(reached + 1), next_by_subj: Some(">"), ..Get::default() };
            let more = self.api.get_from_leader(&self.stream, &get).await?;
            if more.is_some_and(|more| more.sequence <= head.sequence) {
                return Ok(());
            }
        }
        let first = messages.first().map_or(head.sequence, |first| first.sequence);
        if first < self.first_kept(&self.api).await? {
            // It loses its beginning faster than that is read: there may be
            // gaps in it.
            return Ok(());
        }
        self.ring.reset(Position { sequence: first - 1, time: 0, ..head });
        for stored in messages {
            while self.ring.head().sequence + 1 < stored.sequence {
                self.ring.push_missing();
            }
            let position =
                Position { epoch: head.epoch, sequence: stored.sequence, time: stored.time };
            let kept = self.subjects.channel_of(&stored.subject).and_then(|channel| {
                let rules = &self.effective.load().rules;
                let headers = Headers::Map(stored.headers.as_ref());
                self.keep(rules, position, channel, headers, &stored.payload)
            });
            self.ring.push(position, kept);
        }
        while self.ring.head().sequence < head.sequence {
            self.ring.push_missing();
        }
        self.ring.set_head_time(head.time);
        Ok(())
    }

    /// The stream, which is made again if it is gone.
    async fn ensure_stream(&self) -> Result<StreamInfo, ApiError> {
        let wanted = stream::wanted(&self.subjects, &self.rules.load());
        match stream::ensure(&self.api, &wanted).await {
            Ok(info) => {
                self.note_stream(&info);
                Ok(info)
            }
            Err(ConnectError::Api(error)) => Err(error),
            Err(error) => Err(ApiError::Malformed(error.to_string())),
        }
    }

    /// Leaves the server for another one.
    async fn reconnect(&self) {
        self.line.leave();
        if let Err(error) = self.api.client().force_reconnect().await {
            tracing::warn!(%error, "another NATS server can't be tried");
        }
    }

    async fn count_overruns(&self, mut dropped: watch::Receiver<u64>) {
        while dropped.changed().await.is_ok() {
            self.metrics.relay_overruns.inc();
        }
        std::future::pending::<()>().await;
    }

    /// The time, which never goes back behind the last publication's.
    fn now(&self) -> u64 {
        self.clock.now().max(self.ring.head().time)
    }

    /// The stream is known to reach up to here.
    fn note_last(&self, sequence: u64) {
        self.last.fetch_max(sequence, Ordering::Relaxed);
    }

    fn set_last(&self, sequence: u64) {
        self.last.store(sequence, Ordering::Relaxed);
    }

    /// Writes at once what is otherwise written every few seconds. For tests
    /// whose clock jumps.
    pub async fn settle(&self) {
        self.sessions.settle().await;
    }
}

impl Relay for JetStreamRelay {
    fn publish(&self, publication: NewPublication) -> BoxFuture<'_, Result<Published, RelayError>> {
        Box::pin(self.publish_one(publication))
    }

    fn join(&self, channel: &Channel) -> BoxFuture<'_, Result<(), RelayError>> {
        let channel = channel.clone();
        Box::pin(async move { self.join_one(&channel).await })
    }

    fn leave(&self, channel: &Channel) {
        self.interests.leave(channel);
    }

    fn head(&self) -> Position {
        self.ring.head()
    }

    fn reach(&self, place: Position) -> BoxFuture<'_, Result<(), RelayError>> {
        Box::pin(async move {
            if place.epoch == self.ring.head().epoch {
                self.come_to(place.sequence).await?;
            }
            Ok(())
        })
    }

    fn replay(&self, request: Replay) -> BoxFuture<'_, Result<Replayed, RelayError>> {
        Box::pin(self.read_replay(request))
    }

    fn history(&self, query: HistoryQuery) -> BoxFuture<'_, Result<HistoryPage, RelayError>> {
        Box::pin(self.read_history(query))
    }

    fn sessions(&self) -> &dyn Sessions {
        &self.sessions
    }

    fn ask<'a>(
        &'a self,
        subject: &'a str,
        question: Bytes,
    ) -> BoxFuture<'a, Result<Bytes, AskError>> {
        Box::pin(async move {
            // The caller's limit is the only one.
            let request = Request::new().payload(question).timeout(None);
            let asked = self.api.client().send_request(subject.to_owned(), request);
            let answer = asked.await.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => AskError::NobodyThere,
                _ => AskError::Unreachable(error.to_string()),
            })?;
            Ok(answer.payload)
        })
    }

    fn keep<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<(), RelayError>> {
        Box::pin(async move { self.keep_mark(mark).await.map_err(|error| unavailable(&error)) })
    }

    fn kept(&self, after: u64) -> BoxFuture<'_, Result<(Vec<Mark>, u64), RelayError>> {
        Box::pin(async move { self.kept_marks(after).await.map_err(|error| unavailable(&error)) })
    }

    fn status(&self) -> RelayStatus {
        let connected = self.api.is_connected();
        let lag = self.last.load(Ordering::Relaxed).saturating_sub(self.ring.head().sequence);
        let error = if connected {
            self.line.trouble().or_else(|| self.health.error())
        } else {
            Some("not connected to NATS".to_owned())
        };
        RelayStatus {
            kind: "nats",
            connected: connected && error.is_none(),
            error,
            version: Some(self.api.client().server_info().version),
            lag,
        }
    }
}

/// How much of a channel is kept; none where a rule keeps nothing at all.
fn kept_by(rule: &Rule) -> Option<History> {
    rule.history.filter(|history| history.max_messages > 0 && history.max_age > Period::default())
}

fn unavailable(error: &ApiError) -> RelayError {
    RelayError::Unavailable(error.to_string())
}

/// A number from 0 to 1, to keep gateways out of step.
pub fn jitter() -> f64 {
    // 32 bits fit.
    #[allow(clippy::cast_precision_loss)]
    {
        (RandomState::new().hash_one(0) >> 32) as f64 / f64::from(u32::MAX)
    }
}
