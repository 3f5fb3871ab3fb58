//! Heartbeats: each gateway says every two seconds that it is there, at once
//! when it starts, and when it goes. A new one asks the others to speak up, so
//! that it knows them before it is sent clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Message, SubscribeError};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;

use super::Cluster;
use super::ask::Asked;
use super::members::{Beat, BeatKind, Roll};
use crate::admin::{Readiness, StatusSource};

/// Time between two heartbeats.
const EVERY: Duration = Duration::from_secs(2);
/// How long the others have to answer a new gateway, once NATS has carried
/// its hello.
const ROUND: Duration = Duration::from_millis(700);
/// How long a new gateway waits for NATS to do so.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long NATS may take for one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Who doesn't hear itself for so long asks another NATS server: the others
/// don't hear it either, and take it for gone after 6 s.
const UNHEARD: Duration = Duration::from_millis(3_500);
/// Questions that are answered at once.
const ASKED: usize = 64;

/// Speaks for this gateway, and listens.
pub(super) struct Speaker<'a> {
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) client: Client,
    pub(super) address: Option<String>,
    pub(super) status: StatusSource,
}

// === impl Speaker ===

impl Speaker<'_> {
    /// Works until the stop, or until the connection is closed for good.
    pub(super) async fn run(&self, readiness: &Readiness) -> Result<(), SubscribeError> {
        let cluster = self.cluster;
        let mut beats = self.client.subscribe(cluster.beats.clone()).await?;
        let mut asks = self.client.subscribe(cluster.asks.clone()).await?;
        let mut roll = Roll::new(Instant::now());
        let mut answering = JoinSet::new();
        self.say(BeatKind::Hello).await;
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let round = tokio::time::sleep(PATIENCE);
        let mut round = std::pin::pin!(round);
        let mut first = true;
        let mut echoed = false;
        loop {
            tokio::select! {
                _ = every.tick() => {
                    if roll.gives_up(UNHEARD, Instant::now()) {
                        self.leave_server().await;
                    }
                    self.say(BeatKind::Beat).await;
                    for gone in roll.expire(&cluster.members, Instant::now()) {
                        tracing::warn!(gateway = %gone, "a gateway was not heard for 6 s");
                    }
                    self.count();
                }
                message = beats.next() => {
                    let Some(message) = message else { break };
                    if self.hear(&mut roll, &message).await && first && !echoed {
                        echoed = true;
                        let end = round.deadline().min(tokio::time::Instant::now() + ROUND);
                        round.as_mut().reset(end);
                    }
                }
                message = asks.next(), if answering.len() < ASKED => {
                    let Some(message) = message else { break };
                    if let Some(asked) = Asked::read(cluster, &message) {
                        let client = self.client.clone();
                        answering.spawn(async move { asked.answer(&client).await });
                    }
                }
                Some(_) = answering.join_next(), if !answering.is_empty() => {}
                () = &mut round, if first => {
                    first = false;
                    tracing::info!(others = cluster.members.len(), "in the cluster");
                    readiness.set_ready();
                }
                () = cluster.stop.cancelled() => break,
            }
        }
        self.say(BeatKind::Bye).await;
        let _ = tokio::time::timeout(SEND_TIMEOUT, self.client.flush()).await;
        answering.shutdown().await;
        Ok(())
    }

    /// The NATS server takes what it is sent and passes nothing on.
    async fn leave_server(&self) {
        if self.client.connection_state() == State::Connected {
            tracing::warn!(
                "this gateway doesn't hear its own heartbeats; another NATS server is asked"
            );
            if let Err(error) = self.client.force_reconnect().await {
                tracing::debug!(%error, "the connection is closed");
            }
        }
    }

    /// True: it is this gateway's own.
    async fn hear(&self, roll: &mut Roll, message: &Message) -> bool {
        let cluster = self.cluster;
        let Some((stamp, json)) = split(&message.payload) else {
            cluster.refused(super::signer::Refusal::Missing);
            return false;
        };
        let stamp = match cluster.messages.check(stamp, &[b"beat", cluster.beats.as_bytes(), json])
        {
            Ok(stamp) => stamp,
            Err(refusal) => {
                tracing::debug!(%refusal, "a heartbeat was refused");
                cluster.refused(refusal);
                return false;
            }
        };
        let now = Instant::now();
        if stamp.from == cluster.gateway {
            roll.heard_myself(now);
            return true;
        }
        // A later version may say it in another way.
        let Ok(beat) = serde_json::from_slice::<Beat>(json) else { return false };
        let kind = beat.kind;
        if roll.heard(&cluster.members, stamp.from, stamp.number, beat, now) {
            tracing::info!(gateway = %stamp.from, "a gateway is there");
        }
        self.count();
        if kind == BeatKind::Hello {
            self.say(BeatKind::Beat).await;
        }
        false
    }

    async fn say(&self, kind: BeatKind) {
        // What waits for a connection is old news when there is one.
        if self.client.connection_state() != State::Connected {
            return;
        }
        let status = (self.status)();
        let beat = Beat {
            kind,
            peer: self.address.clone(),
            tls: self.cluster.tls.is_some(),
            version: status.version.to_string(),
            uptime: status.uptime,
            connections: status.connections,
            accepting: status.accepting,
            draining: status.draining,
            config_hash: status.config_hash.to_string(),
            lag: status.lag,
        };
        let Ok(json) = serde_json::to_vec(&beat) else { return };
        let cluster = self.cluster;
        let stamp = cluster.messages.stamp(&[b"beat", cluster.beats.as_bytes(), &json]);
        let send = self.client.publish(cluster.beats.clone(), joined(&stamp, &json));
        if !matches!(tokio::time::timeout(SEND_TIMEOUT, send).await, Ok(Ok(()))) {
            tracing::warn!("a heartbeat could not be sent");
        }
    }

    fn count(&self) {
        let others = i64::try_from(self.cluster.members.len()).unwrap_or(i64::MAX);
        self.cluster.metrics.peers.set(others);
    }
}

/// A stamp, a line's end, and what is stamped.
pub fn joined(stamp: &str, json: &[u8]) -> Bytes {
    [stamp.as_bytes(), b"\n", json].concat().into()
}

/// The other way.
pub fn split(payload: &[u8]) -> Option<(&str, &[u8])> {
    let end = payload.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&payload[..end]).ok()?, &payload[end + 1..]))
}
