//! What other threads ask of a shard.

use std::collections::HashMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Shard;
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::hub::CloseReason;
use crate::relay::Mark;
use crate::session::engine::{BodyError, PollResponse};
use crate::session::user::{UserCommand, UserSession};
use crate::transport;
use crate::transport::socket::Handed;

/// How many sessions are subscribed to a channel.
pub type ChannelCounts = HashMap<Channel, u64>;

/// Every shard of this gateway, as the API, the admin listener and the drain
/// speak to them.
#[derive(Clone)]
pub struct Shards {
    handles: Arc<[ShardHandle]>,
}

/// The way to one shard.
#[derive(Clone)]
pub struct ShardHandle {
    control: mpsc::Sender<Control>,
}

/// What other threads ask of a shard.
pub enum Control {
    /// A poll for a session of this shard. The asker drops the receiver when
    /// its client hangs up.
    Poll {
        /// Which session.
        sid: Box<str>,
        /// Where its client is.
        from: IpAddr,
        /// Who waits.
        reply: oneshot::Sender<PollResponse>,
    },
    /// Data for a session of this shard.
    Post {
        /// Which session.
        sid: Box<str>,
        /// Where its client is.
        from: IpAddr,
        /// The body, when it has come.
        body: oneshot::Receiver<Result<Bytes, BodyError>>,
        /// Who waits.
        reply: oneshot::Sender<PollResponse>,
    },
    /// A WebSocket that upgrades a session of this shard.
    Upgrade {
        /// Which session.
        sid: Box<str>,
        /// Where its client is.
        from: IpAddr,
        /// The socket, past its handshake.
        stream: Handed,
        /// Bytes that came behind the handshake.
        leftover: Bytes,
    },
    /// Whether this shard has a session.
    HasEngine {
        /// Which session.
        sid: Box<str>,
        /// Who asks.
        reply: oneshot::Sender<bool>,
    },
    /// Subscribers of every channel.
    Channels(oneshot::Sender<ChannelCounts>),
    /// Subscribers of one channel.
    Subscribers(Channel, oneshot::Sender<u64>),
    /// Sessions of a user.
    Sessions(Arc<str>, oneshot::Sender<Vec<UserSession>>),
    /// Do something with the sessions of a user. Answers how many it hit.
    Command(Arc<str>, UserCommand, oneshot::Sender<u64>),
    /// Close the sessions whose token a mark refuses. Answers how many.
    Revoked(Arc<Mark>, oneshot::Sender<u64>),
    /// The channel rules changed.
    Rules,
    /// Close every connection, evenly over this long.
    Drain(Duration, oneshot::Sender<()>),
}

// === impl Shards ===

impl Shards {
    /// One sender for each shard.
    pub fn new(controls: Vec<mpsc::Sender<Control>>) -> Self {
        Self { handles: controls.into_iter().map(|control| ShardHandle { control }).collect() }
    }

    /// One shard.
    pub fn get(&self, index: u8) -> Option<&ShardHandle> {
        self.handles.get(usize::from(index))
    }

    /// Subscribers of every channel that has one, on this gateway.
    pub async fn channels(&self) -> Result<ChannelCounts, Error> {
        let mut all = ChannelCounts::new();
        for counts in self.ask(Control::Channels).await? {
            for (channel, count) in counts {
                *all.entry(channel).or_default() += count;
            }
        }
        Ok(all)
    }

    /// Subscribers of one channel, on this gateway.
    pub async fn subscribers(&self, channel: &Channel) -> Result<u64, Error> {
        let ask = |reply| Control::Subscribers(channel.clone(), reply);
        Ok(self.ask(ask).await?.into_iter().sum())
    }

    /// Sessions of a user, on this gateway.
    pub async fn sessions_of(&self, user: &str) -> Result<Vec<UserSession>, Error> {
        let user: Arc<str> = user.into();
        let answers = self.ask(|reply| Control::Sessions(user.clone(), reply)).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Does something with a user's sessions on this gateway. How many it hit.
    pub async fn command(&self, user: &str, command: &UserCommand) -> Result<u64, Error> {
        let user: Arc<str> = user.into();
        let ask = |reply| Control::Command(user.clone(), command.clone(), reply);
        Ok(self.ask(ask).await?.into_iter().sum())
    }

    /// Closes the sessions whose token a mark refuses, on this gateway. How
    /// many.
    pub async fn revoked(&self, mark: &Mark) -> Result<u64, Error> {
        let mark = Arc::new(mark.clone());
        let ask = |reply| Control::Revoked(mark.clone(), reply);
        Ok(self.ask(ask).await?.into_iter().sum())
    }

    /// The channel rules changed.
    pub async fn rules_changed(&self) {
        for handle in self.handles.iter() {
            // A shard that has stopped needs no rules.
            let _ = handle.send(Control::Rules).await;
        }
    }

    /// Closes every connection, evenly over `period`. Ready when the last
    /// one has been asked to go.
    pub async fn drain(&self, period: Duration) {
        let _ = self.ask(|reply| Control::Drain(period, reply)).await;
    }

    /// Asks every shard; all of them work at the same time.
    async fn ask<T>(
        &self,
        control: impl Fn(oneshot::Sender<T>) -> Control,
    ) -> Result<Vec<T>, Error> {
        let mut replies = Vec::with_capacity(self.handles.len());
        for handle in self.handles.iter() {
            let (sender, receiver) = oneshot::channel();
            handle.send(control(sender)).await?;
            replies.push(receiver);
        }
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            answers.push(reply.await.map_err(|_| stopping())?);
        }
        Ok(answers)
    }
}

// === impl ShardHandle ===

impl ShardHandle {
    /// Asks; waits while the shard's queue is full.
    pub async fn send(&self, control: Control) -> Result<(), Error> {
        self.control.send(control).await.map_err(|_| stopping())
    }
}

fn stopping() -> Error {
    Error::new(ErrorCode::Unavailable, "the gateway is stopping; try another one")
}

// === impl Shard ===

impl Shard {
    /// Does what other threads ask, for as long as there are any.
    pub async fn serve_control(self: &Rc<Self>, mut controls: mpsc::Receiver<Control>) {
        while let Some(control) = controls.recv().await {
            // A fault with one question must not leave all others unanswered.
            if catch_unwind(AssertUnwindSafe(|| self.control(control))).is_err() {
                self.panicked("a question of another thread");
            }
        }
    }

    fn control(self: &Rc<Self>, control: Control) {
        match control {
            Control::Poll { sid, from, mut reply } => {
                let engine = self.engines.borrow().get(&sid);
                let Some(engine) = engine else {
                    let _ = reply.send(PollResponse::error(1));
                    return;
                };
                self.tasks.spawn_local(async move {
                    let answer = {
                        let poll = std::pin::pin!(engine.poll(from));
                        let gone = std::pin::pin!(reply.closed());
                        match futures_util::future::select(poll, gone).await {
                            futures_util::future::Either::Left((answer, _)) => Some(answer),
                            // Dropping the poll closes the session.
                            futures_util::future::Either::Right(_) => None,
                        }
                    };
                    if let Some(answer) = answer {
                        let _ = reply.send(answer);
                    }
                });
            }
            Control::Post { sid, from, body, reply } => {
                let engine = self.engines.borrow().get(&sid);
                let Some(engine) = engine else {
                    let _ = reply.send(PollResponse::error(1));
                    return;
                };
                self.tasks.spawn_local(async move {
                    let body = async { body.await.unwrap_or(Err(BodyError::Broken)) };
                    let _ = reply.send(engine.post(from, body).await);
                });
            }
            Control::Upgrade { sid, from, stream, leftover } => {
                transport::engineio::adopt(self, &sid, from, stream, leftover);
            }
            Control::HasEngine { sid, reply } => {
                let _ = reply.send(self.engines.borrow().contains(&sid));
            }
            Control::Channels(reply) => {
                let _ = reply.send(self.hub.borrow().counts());
            }
            Control::Subscribers(channel, reply) => {
                let _ = reply.send(self.hub.borrow().count(&channel));
            }
            Control::Sessions(user, reply) => {
                let _ = reply.send(self.sessions_of(&user));
            }
            Control::Command(user, command, reply) => {
                let shard = self.clone();
                self.tasks.spawn_local(async move {
                    let _ = reply.send(shard.command(&user, &command).await);
                });
            }
            Control::Revoked(mark, reply) => {
                let _ = reply.send(self.revoked(&mark));
            }
            Control::Rules => {
                let rules = self.shared.rules.load();
                self.hub.borrow_mut().refresh_rules(|channel| rules.of(channel));
            }
            Control::Drain(period, done) => {
                let shard = self.clone();
                self.tasks.spawn_local(async move {
                    shard.drain(period).await;
                    let _ = done.send(());
                });
            }
        }
    }

    /// Closes every connection, evenly over `period`.
    async fn drain(&self, period: Duration) {
        let engines = self.engines.borrow().all();
        let others: Vec<_> = self.others.borrow().iter().map(|(_, other)| other.clone()).collect();
        let splices: Vec<_> = self.splices.borrow().iter().map(|(_, end)| end.clone()).collect();
        let count = engines.len() + others.len() + splices.len();
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let begin = tokio::time::Instant::now();
        let mut turns =
            (1..=count).map(|turn| begin + period.mul_f64(f64::from(turn) / f64::from(count)));
        for engine in engines {
            engine.close(CloseReason::Drain);
            tokio::time::sleep_until(turns.next().unwrap_or(begin)).await;
        }
        for (outbox, last) in others {
            outbox.finish(last, CloseReason::Drain);
            tokio::time::sleep_until(turns.next().unwrap_or(begin)).await;
        }
        for end in splices {
            end.cancel();
            tokio::time::sleep_until(turns.next().unwrap_or(begin)).await;
        }
    }
}
