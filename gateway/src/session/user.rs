//! What the API does with a user's sessions: lists them, closes them,
//! subscribes them.

use std::rc::Rc;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Origin, Session, plain};
use crate::auth::revocation::hits;
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Protocol};
use crate::protocol::engineio::{Message, Wire};
use crate::protocol::socketio as sio;
use crate::relay::Mark;
use crate::shard::Shard;

/// Sessions that one shard lists for one user.
const LISTED: usize = 1_000;
/// Sessions that are changed at once; each waits for its record to be written.
const AT_ONCE: usize = 64;

/// What is done with a user's sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UserCommand {
    /// Their connections are closed.
    Disconnect {
        /// False: they are told not to come back, and are not recovered.
        reconnect: bool,
    },
    /// They are subscribed to a channel.
    Subscribe(String),
    /// They are not any more.
    Unsubscribe(String),
}

/// A session, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"gateway": "9f86d081884c7d65", "id": "Jmx2ZvAbqkkMlsFcAAAB", "protocol": "socketio", "namespace": "/", "subscriptions": 3}))]
pub struct UserSession {
    /// The gateway that holds it.
    pub gateway: String,
    /// Its Socket.IO id.
    pub id: String,
    /// `socketio`, `websocket` or `sse`.
    pub protocol: String,
    /// Its namespace; `/` outside Socket.IO.
    pub namespace: String,
    /// How many channels it is subscribed to.
    pub subscriptions: u64,
}

// === impl Shard ===

impl Shard {
    /// The sessions of a user.
    pub fn sessions_of(&self, user: &str) -> Vec<UserSession> {
        let gateway = self.shared.gateway.to_string();
        let sessions = self.of_user(user);
        sessions.iter().take(LISTED).map(|session| session.shown(&gateway)).collect()
    }

    /// Does something with the sessions of a user; how many it hit.
    pub async fn command(&self, user: &str, command: &UserCommand) -> u64 {
        let sessions = futures_util::stream::iter(self.of_user(user));
        let done = sessions.map(|session| async move { session.command(command).await });
        done.buffer_unordered(AT_ONCE)
            .fold(0, |hit, done| async move {
                match done {
                    Ok(true) => hit + 1,
                    Ok(false) => hit,
                    Err(error) => {
                        tracing::warn!(%error, "a session doesn't follow the API");
                        hit
                    }
                }
            })
            .await
    }

    /// Closes the sessions whose token a mark refuses; how many.
    pub fn revoked(&self, mark: &Mark) -> u64 {
        let sessions = self.sessions.borrow().all();
        let hit = sessions.iter().filter(|session| hits(mark, &session.identity()));
        hit.map(|session| session.revoke()).count() as u64
    }

    fn of_user(&self, user: &str) -> Vec<Rc<Session>> {
        let sessions = self.sessions.borrow();
        let is = |session: &&Rc<Session>| session.identity().user.as_deref() == Some(user);
        sessions.iter().filter(is).cloned().collect()
    }
}

// === impl Session ===

impl Session {
    fn shown(&self, gateway: &str) -> UserSession {
        UserSession {
            gateway: gateway.to_owned(),
            id: self.id.to_string(),
            protocol: self.protocol().as_str().to_owned(),
            namespace: self.namespace.to_string(),
            subscriptions: self.subscriptions.borrow().len() as u64,
        }
    }

    /// True: it changed something.
    async fn command(self: &Rc<Self>, command: &UserCommand) -> Result<bool, Error> {
        match command {
            UserCommand::Disconnect { reconnect } => {
                self.disconnect(*reconnect).await?;
                Ok(true)
            }
            UserCommand::Subscribe(channel) => self.add(&Channel::new(channel)?).await,
            UserCommand::Unsubscribe(channel) => self.take(&Channel::new(channel)?).await,
        }
    }

    /// Closes the connection. A client that is to come back keeps its
    /// namespace, or else it would stay away.
    async fn disconnect(&self, reconnect: bool) -> Result<(), Error> {
        let last = match self.protocol() {
            Protocol::Socketio => {
                if !reconnect {
                    let packet = sio::disconnect(&self.namespace);
                    self.subscriber.outbox.send(&Message::One(packet));
                }
                None
            }
            Protocol::Websocket => {
                let code = if reconnect { ErrorCode::Unavailable } else { ErrorCode::Forbidden };
                Some(Wire::raw(plain::close_frame(code)))
            }
            Protocol::Sse => None,
        };
        self.shard.close_session(self, last, CloseReason::ForcedClose);
        let held = self.pid().zip(self.owner());
        // A client may take its time with the close; it is gone all the same.
        self.end(!reconnect);
        if let Some((pid, owner)) = held.filter(|_| !reconnect) {
            self.shard.shared.relay.sessions().revoke(&pid, owner).await?;
        }
        Ok(())
    }

    /// Subscribes it for the API, which asks no grant.
    async fn add(self: &Rc<Self>, channel: &Channel) -> Result<bool, Error> {
        let most = self.shard.shared.config.limits.subscriptions;
        let have = |session: &Self| session.subscriptions.borrow().contains(channel);
        if have(self) {
            return Ok(false);
        }
        if self.subscriptions.borrow().len() >= most {
            return Err(Error::new(
                ErrorCode::LimitSubscriptions,
                format!("a session has at most {most} subscriptions (limits.subscriptions)"),
            ));
        }
        let _joined = self.shard.join(channel).await?;
        if self.ended.get() || have(self) {
            return Ok(false);
        }
        self.insert(channel, None, false, Origin::Command);
        if let Err(error) = self.write_record().await {
            self.remove(channel);
            return Err(error);
        }
        self.start_positions(true);
        Ok(true)
    }

    /// Ends a subscription for the API; the client is told.
    async fn take(&self, channel: &Channel) -> Result<bool, Error> {
        if !self.subscriptions.borrow().contains(channel) {
            return Ok(false);
        }
        self.remove(channel);
        self.write_record().await?;
        self.notify("push:unsubscribed", &serde_json::json!({ "channel": self.name_of(channel) }));
        Ok(true)
    }
}
