//! Apps that are asked, over NATS, who a client is and whether it may
//! subscribe.
//!
//! An answer that doesn't come, or can't be read, lets nobody in: the client
//! is told `unavailable` and may try again.
//!
//! # Layout
//!
//! - `answer`: what apps answer, read with care
//! - `cache`: answers that said how long they hold

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use gateway_config::{Config, Pattern};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::Identity;
use super::revocation::{Revocations, unix_millis};
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::metrics::{CalloutLabel, Metrics};
use crate::relay::{AskError, Relay};

mod answer;
mod cache;
#[cfg(test)]
mod tests;

use answer::{ConnectAnswer, SubscribeAnswer};
use cache::Cache;

/// Questions under way at once; more wait, as part of their time.
const AT_ONCE: usize = 256;
/// How often a failing callout is said in the log.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// The callouts of a gateway.
pub struct Callouts {
    connect: Option<Call>,
    /// The first whose pattern matches decides.
    subscribe: Vec<(Pattern, Call)>,
    /// The way to the apps, once it is there.
    relay: OnceLock<Arc<dyn Relay>>,
    connects: Cache<Verdict<Arc<Identity>>>,
    subscribes: Cache<Verdict<()>>,
    room: Semaphore,
    /// `/gateways/<id>`
    source: String,
    metrics: Metrics,
    said: Mutex<Option<Instant>>,
}

/// Where one kind of question goes.
#[derive(Debug)]
struct Call {
    /// `connect` or `subscribe`.
    name: &'static str,
    subject: String,
    timeout: Duration,
}

/// What an app has decided.
#[derive(Clone, Debug)]
enum Verdict<T> {
    Allowed(T),
    /// With its words.
    Refused(Option<Box<str>>),
}

/// Who wants to come in.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// What it brings.
    pub token: Option<&'a str>,
    /// `socketio`, `websocket` or `sse`.
    pub protocol: &'static str,
    /// Its namespace; `/` outside Socket.IO.
    pub namespace: &'a str,
}

/// Who wants to subscribe.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Who it is.
    pub identity: &'a Identity,
    /// Its session.
    pub session: &'a str,
    /// `socketio`, `websocket` or `sse`.
    pub protocol: &'static str,
    /// Its namespace; `/` outside Socket.IO.
    pub namespace: &'a str,
}

/// A question, as a `CloudEvent` in JSON.
#[derive(Serialize)]
struct Question<T> {
    specversion: &'static str,
    id: Arc<str>,
    source: String,
    r#type: &'static str,
    time: String,
    datacontenttype: &'static str,
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectData<'a> {
    protocol: &'static str,
    namespace: &'a str,
    /// Only where the gateway can't verify it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(flatten)]
    who: Option<Who<'a>>,
}

#[derive(Serialize)]
struct SubscribeData<'a> {
    channel: &'a str,
    session: &'a str,
    protocol: &'static str,
    namespace: &'a str,
    #[serde(flatten)]
    who: Who<'a>,
}

/// What is known of a client.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Who<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
}

// === impl Callouts ===

impl Callouts {
    /// As configured; they work from [`Callouts::open`] on.
    pub fn new(config: &Config, gateway: &str, metrics: Metrics) -> Self {
        let callout = config.auth.callout.clone().unwrap_or_default();
        let subject = |own: Option<String>, name: &str| {
            own.unwrap_or_else(|| format!("{}.in.$auth.{name}", config.relay.prefix))
        };
        let connect = callout.connect.map(|connect| Call {
            name: "connect",
            subject: subject(connect.subject, "connect"),
            timeout: connect.timeout.get(),
        });
        let subscribe = callout.subscribe.into_iter().map(|rule| {
            let subject = subject(rule.subject, "subscribe");
            (rule.matches, Call { name: "subscribe", subject, timeout: rule.timeout.get() })
        });
        Self {
            connect,
            subscribe: subscribe.collect(),
            relay: OnceLock::new(),
            connects: Cache::new(callout.cached),
            subscribes: Cache::new(callout.cached),
            room: Semaphore::new(AT_ONCE),
            source: format!("/gateways/{gateway}"),
            metrics,
            said: Mutex::default(),
        }
    }

    /// The apps can be reached over this relay.
    pub fn open(&self, relay: Arc<dyn Relay>) {
        // A gateway has one; a second one would change nothing.
        let _ = self.relay.set(relay);
    }

    /// Whether an app is asked of every client.
    pub fn asks_who(&self) -> bool {
        self.connect.is_some()
    }

    /// Whether an app decides who subscribes to a channel.
    pub fn decides(&self, channel: &Channel) -> bool {
        self.call_for(channel).is_some()
    }

    fn call_for(&self, channel: &Channel) -> Option<&Call> {
        if self.subscribe.is_empty() {
            return None;
        }
        let subject = channel.to_subject();
        let matching = |(pattern, _): &&(Pattern, Call)| pattern.matches_subject(&subject);
        self.subscribe.iter().find(matching).map(|(_, call)| call)
    }

    /// Who a client is. `verified`: what its token says, where the gateway
    /// can verify it.
    ///
    /// Errors: `unauthorized` when the app refuses it, `unavailable` when it
    /// can't be asked.
    pub async fn connect(
        &self,
        newcomer: Newcomer<'_>,
        verified: Option<&Arc<Identity>>,
        revocations: &Revocations,
    ) -> Result<Arc<Identity>, Error> {
        let Some(call) = &self.connect else { return Err(unavailable()) };
        let Newcomer { token, protocol, namespace } = newcomer;
        let key = key(&[token, Some(protocol), Some(namespace)]);
        let cached = self.connects.get(&key).filter(|verdict| match verdict {
            // Who was revoked since, or whose time is over, is asked for again.
            Verdict::Allowed(identity) => {
                revocations.check(identity).is_ok()
                    && identity.expires.is_none_or(|end| end > SystemTime::now())
            }
            Verdict::Refused(_) => true,
        });
        if let Some(verdict) = cached {
            self.count(call, "cached");
            return verdict.or_refuse(ErrorCode::Unauthorized, "the app refused this client");
        }
        let data = ConnectData {
            protocol,
            namespace,
            token: token.filter(|_| verified.is_none()),
            who: verified.map(|identity| Who::of(identity)),
        };
        let asked = SystemTime::now();
        let reply = self.ask(call, "io.pushcluster.connect", data).await?;
        let read = ConnectAnswer::read(&reply).and_then(|answer| {
            let ttl = answer.ttl();
            answer.verdict(verified.map(AsRef::as_ref), asked).map(|verdict| (verdict, ttl))
        });
        let (verdict, ttl) = self.usable(call, read)?;
        self.connects.put(key, &verdict, ttl);
        self.count_verdict(call, &verdict);
        verdict.or_refuse(ErrorCode::Unauthorized, "the app refused this client")
    }

    /// Whether a client may subscribe to a channel that
    /// [`Callouts::decides`].
    ///
    /// Errors: `forbidden` when the app refuses it, `unavailable` when it
    /// can't be asked.
    pub async fn subscribe(&self, asking: Asking<'_>, channel: &Channel) -> Result<(), Error> {
        let Some(call) = self.call_for(channel) else { return Err(unavailable()) };
        let Asking { identity, session, protocol, namespace } = asking;
        let who = Who::of(identity);
        // Who has neither user nor token is known by its session alone.
        let alone = (!identity.has_token && identity.user.is_none()).then_some(session);
        let meta = who.meta.map(RawValue::get);
        let key = key(&[
            Some(channel.as_str()),
            who.user,
            who.token_id,
            meta,
            alone,
            Some(protocol),
            Some(namespace),
        ]);
        let words = "the app doesn't allow this client to subscribe to the channel";
        if let Some(verdict) = self.subscribes.get(&key) {
            self.count(call, "cached");
            return verdict.or_refuse(ErrorCode::Forbidden, words);
        }
        let data = SubscribeData { channel: channel.as_str(), session, protocol, namespace, who };
        let reply = self.ask(call, "io.pushcluster.subscribe", data).await?;
        let read = SubscribeAnswer::read(&reply).map(|answer| (answer.verdict(), answer.ttl()));
        let (verdict, ttl) = self.usable(call, read)?;
        self.subscribes.put(key, &verdict, ttl);
        self.count_verdict(call, &verdict);
        verdict.or_refuse(ErrorCode::Forbidden, words)
    }

    async fn ask(
        &self,
        call: &Call,
        kind: &'static str,
        data: impl Serialize,
    ) -> Result<Bytes, Error> {
        let question = Question {
            specversion: "1.0",
            id: crate::session::sid::random_id()?,
            source: self.source.clone(),
            r#type: kind,
            time: crate::api::history::rfc3339(unix_millis(SystemTime::now())),
            datacontenttype: "application/json",
            data,
        };
        let json = serde_json::to_vec(&question)
            .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let Some(relay) = self.relay.get() else {
            return Err(self.failed(call, "unavailable", "the gateway is starting"));
        };
        let asked = async {
            // Never closed: only its drop would.
            let _room = self.room.acquire().await;
            relay.ask(&call.subject, json.into()).await
        };
        match tokio::time::timeout(call.timeout, asked).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(AskError::NobodyThere)) => {
                Err(self.failed(call, "no_responder", "no app serves the subject"))
            }
            Ok(Err(AskError::Unreachable(why))) => Err(self.failed(call, "unavailable", &why)),
            Err(_) => Err(self.failed(call, "timeout", "no app has answered in time")),
        }
    }

    fn usable<T>(&self, call: &Call, read: Result<T, String>) -> Result<T, Error> {
        read.map_err(|why| self.failed(call, "invalid", &why))
    }

    /// Nobody is let in because an app can't be asked. `why` holds nothing
    /// that a client or an app has said.
    fn failed(&self, call: &Call, outcome: &'static str, why: &str) -> Error {
        self.count(call, outcome);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                subject = call.subject,
                "clients are refused, because the {} callout fails: {why}",
                call.name
            );
        }
        unavailable()
    }

    fn count_verdict<T>(&self, call: &Call, verdict: &Verdict<T>) {
        let refused = matches!(verdict, Verdict::Refused(_));
        self.count(call, if refused { "refused" } else { "allowed" });
    }

    fn count(&self, call: &Call, outcome: &'static str) {
        let label = CalloutLabel { callout: call.name, outcome };
        self.metrics.callouts.get_or_create(&label).inc();
    }
}

impl std::fmt::Debug for Callouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { connect, subscribe, .. } = self;
        f.debug_struct("Callouts").field("connect", connect).field("subscribe", subscribe).finish()
    }
}

fn unavailable() -> Error {
    Error::new(
        ErrorCode::Unavailable,
        "the app that decides on this can't be asked just now; try again in a few seconds",
    )
}

/// A hash of texts, each told from none and from the next.
fn key(parts: &[Option<&str>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        context.update(&length.to_be_bytes());
        context.update(part.unwrap_or_default().as_bytes());
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}

// === impl Verdict ===

impl<T> Verdict<T> {
    fn or_refuse(self, code: ErrorCode, words: &'static str) -> Result<T, Error> {
        match self {
            Self::Allowed(allowed) => Ok(allowed),
            Self::Refused(Some(words)) => Err(Error::new(code, words.into_string())),
            Self::Refused(None) => Err(Error::new(code, words)),
        }
    }
}

// === impl Who ===

impl<'a> Who<'a> {
    fn of(identity: &'a Identity) -> Self {
        Self {
            user: identity.user.as_deref(),
            token_id: identity.token_id.as_deref(),
            // It was JSON when it came.
            meta: identity.meta.as_deref().and_then(|meta| serde_json::from_slice(meta).ok()),
        }
    }
}
