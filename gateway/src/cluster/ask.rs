//! Questions that every gateway of the cluster answers, and what they do to a
//! user's sessions on every gateway.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, Subject};
use futures_util::StreamExt as _;
use gateway_config::Pattern;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::heartbeat::{joined, split};
use crate::channel::Channel;
use crate::error::Error;
use crate::relay::Mark;
use crate::session::sid::GatewayId;
use crate::session::user::{UserCommand, UserSession};
use crate::shard::ChannelCounts;

#[cfg(test)]
mod tests;

/// How long the others have to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What is asked of every gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    /// The first channels, by name, that have a subscriber.
    Channels {
        /// Only those that match.
        matches: Option<Pattern>,
        /// And match one of these, if there are any.
        allowed: Vec<Pattern>,
        /// Only names after this one.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// How many are subscribed to a channel.
    Subscribers(String),
    /// A user's sessions.
    Sessions(String),
    /// Do something with a user's sessions.
    User(String, UserCommand),
    /// Log what a user does, for so many seconds.
    Watch(String, u64),
    /// Refuse a token, or a user's, from now on, and close their sessions.
    Revoke(Mark),
}

/// What one gateway answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// To [`Question::Channels`].
    Channels(Vec<(String, u64)>),
    /// How many; sessions, to [`Question::User`] and [`Question::Revoke`].
    Count(u64),
    /// To [`Question::Sessions`].
    Sessions(Vec<UserSession>),
    /// It can't be answered.
    Failed,
}

/// What all gateways answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// In no order; this gateway's own is among them.
    pub answers: Vec<Answer>,
    /// Who did not answer in time.
    pub missing: Vec<GatewayId>,
}

/// A question of another gateway.
pub(super) struct Asked {
    cluster: Arc<Cluster>,
    stamp: String,
    question: Question,
    reply: Subject,
}

// === impl Cluster ===

impl Cluster {
    /// Asks every gateway, this one too. Errors: this gateway can't answer.
    pub async fn ask(&self, question: Question) -> Result<Answers, Error> {
        let others = self.ask_others(&question);
        let own = self.own(question.clone());
        let (mut all, own) = futures_util::future::join(others, own).await;
        all.answers.push(own?);
        all.missing.sort_unstable();
        Ok(all)
    }

    async fn ask_others(&self, question: &Question) -> Answers {
        let mut answers = Answers::default();
        let mut waiting: HashSet<GatewayId> =
            self.members.all().iter().map(|member| member.id).collect();
        if let Some(client) = self.nats.get()
            && !waiting.is_empty()
        {
            let gather = self.gather(client, question, &mut waiting, &mut answers.answers);
            // Who didn't answer is told.
            let _ = tokio::time::timeout(TIMEOUT, gather).await;
        }
        answers.missing = waiting.into_iter().collect();
        answers
    }

    async fn gather(
        &self,
        client: &Client,
        question: &Question,
        waiting: &mut HashSet<GatewayId>,
        answers: &mut Vec<Answer>,
    ) {
        let Ok(json) = serde_json::to_vec(question) else { return };
        let inbox = client.new_inbox();
        let Ok(mut replies) = client.subscribe(inbox.clone()).await else { return };
        let stamp = self.messages.stamp(&[b"ask", self.asks.as_bytes(), inbox.as_bytes(), &json]);
        let payload = joined(&stamp, &json);
        if client.publish_with_reply(self.asks.clone(), inbox, payload).await.is_err() {
            return;
        }
        while !waiting.is_empty() {
            let Some(message) = replies.next().await else { return };
            let Some((proof, json)) = split(&message.payload) else { continue };
            match self.messages.check(proof, &[b"answer", stamp.as_bytes(), json]) {
                Ok(by) if waiting.contains(&by.from) => match serde_json::from_slice(json) {
                    Ok(Answer::Failed) | Err(_) => {}
                    Ok(answer) => {
                        waiting.remove(&by.from);
                        answers.push(answer);
                    }
                },
                // Too new to be known when the question was asked.
                Ok(_) => {}
                Err(refusal) => self.refused(refusal),
            }
        }
    }

    /// This gateway's answer.
    async fn own(&self, question: Question) -> Result<Answer, Error> {
        let shards = &self.shards;
        Ok(match question {
            Question::Channels { matches, allowed, after, limit } => {
                let counts = shards.channels().await?;
                Answer::Channels(first(counts, matches.as_ref(), &allowed, after.as_deref(), limit))
            }
            Question::Subscribers(channel) => {
                Answer::Count(shards.subscribers(&Channel::new(&channel)?).await?)
            }
            Question::Sessions(user) => Answer::Sessions(shards.sessions_of(&user).await?),
            Question::User(user, command) => Answer::Count(shards.command(&user, &command).await?),
            Question::Watch(user, seconds) => {
                self.auth.watched().watch(&user, Duration::from_secs(seconds))?;
                Answer::Count(shards.sessions_of(&user).await?.len() as u64)
            }
            Question::Revoke(mark) => Answer::Count(self.revoke(&mark).await?),
        })
    }
}

// === impl Asked ===

impl Asked {
    /// Reads a question; none when it is not another gateway's.
    pub(super) fn read(cluster: &Arc<Cluster>, message: &Message) -> Option<Self> {
        let reply = message.reply.clone()?;
        let (stamp, json) = split(&message.payload)?;
        let parts: [&[u8]; 4] = [b"ask", cluster.asks.as_bytes(), reply.as_bytes(), json];
        match cluster.messages.check(stamp, &parts) {
            // It answers itself without NATS.
            Ok(by) if by.from == cluster.gateway => None,
            Ok(_) => {
                let question = serde_json::from_slice(json).ok()?;
                Some(Self { cluster: cluster.clone(), stamp: stamp.to_owned(), question, reply })
            }
            Err(refusal) => {
                cluster.refused(refusal);
                None
            }
        }
    }

    /// Answers it.
    pub(super) async fn answer(self, client: &Client) {
        let Self { cluster, stamp, question, reply } = self;
        let answer = cluster.own(question).await.unwrap_or(Answer::Failed);
        let Ok(json) = serde_json::to_vec(&answer) else { return };
        let proof = cluster.messages.stamp(&[b"answer", stamp.as_bytes(), &json]);
        if let Err(error) = client.publish(reply, joined(&proof, &json)).await {
            tracing::warn!(%error, "another gateway's question could not be answered");
        }
    }
}

/// The first channels by name, of those that are asked for.
fn first(
    counts: ChannelCounts,
    matches: Option<&Pattern>,
    allowed: &[Pattern],
    after: Option<&str>,
    limit: usize,
) -> Vec<(String, u64)> {
    let asked = |channel: &Channel| {
        let subject = channel.to_subject();
        let fits = |pattern: &Pattern| pattern.matches_subject(&subject);
        after.is_none_or(|after| channel.as_str() > after)
            && matches.is_none_or(fits)
            && (allowed.is_empty() || allowed.iter().any(fits))
    };
    let mut channels: Vec<_> = counts.into_iter().filter(|(channel, _)| asked(channel)).collect();
    channels.sort_unstable();
    channels.truncate(limit);
    channels.into_iter().map(|(channel, count)| (channel.to_string(), count)).collect()
}
