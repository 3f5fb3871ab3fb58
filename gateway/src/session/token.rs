//! A session's token: a new one takes the old one's place, and what happens
//! when its time is over or it is revoked.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::{Origin, Session, plain};
use crate::auth::revocation::revoked;
use crate::auth::{Action, Identity, Newcomer};
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::hub::{CloseReason, Protocol};
use crate::protocol::engineio::Wire;
use crate::shard::timers::Timer;

/// A client is told so long before its token's time is over.
const EXPIRING_NOTICE: Duration = Duration::from_mins(1);
/// How far the timer and the clock may be apart.
const EXPIRING_SLACK: Duration = Duration::from_secs(1);

// === impl Session ===

impl Session {
    /// A new token for a session whose old one ends.
    pub async fn refresh(self: &Rc<Self>, token: &str) -> Result<serde_json::Value, Error> {
        let done = self.try_refresh(token).await;
        self.tell("refreshes its token", None, done.as_ref().map(drop));
        done
    }

    async fn try_refresh(self: &Rc<Self>, token: &str) -> Result<serde_json::Value, Error> {
        let newcomer = Newcomer {
            token: Some(token),
            protocol: self.protocol().as_str(),
            namespace: &self.namespace,
        };
        let identity = self.shard.shared.auth.authenticate(newcomer).await?;
        if identity.user != self.identity.borrow().user {
            return Err(Error::new(
                ErrorCode::Forbidden,
                "the new token is another user's; connect anew to change the user",
            ));
        }
        // Asked before anything is changed: what can't be known now leaves all
        // as it was.
        let gone = self.no_longer_allowed(&identity).await?;
        self.shard.shared.auth.revocations().check(&identity)?;
        self.check_open()?;
        let expires = identity.expires;
        *self.identity.borrow_mut() = identity;
        self.warned.set(false);
        self.schedule_expiry();
        if self.drop_all(gone) {
            // What is gone must not come back with a recovery; and grants are
            // checked again there, so that a failure is no harm.
            let _ = self.write_record().await;
        }
        Ok(serde_json::json!({ "expires": expires.map(unix_seconds) }))
    }

    /// The subscriptions that an identity doesn't allow.
    async fn no_longer_allowed(&self, identity: &Identity) -> Result<Vec<Channel>, Error> {
        let mapped = &*self.namespace != "/";
        let joined = self.channels_of(identity);
        let have: Vec<_> = {
            let subscriptions = self.subscriptions.borrow();
            let foreign = subscriptions.iter().filter(|(channel, _)| !joined.contains(channel));
            foreign.map(|(channel, subscription)| (channel.clone(), subscription.origin)).collect()
        };
        let mut gone = Vec::new();
        for (channel, origin) in have {
            let allowed = match origin {
                Origin::Connect => false,
                Origin::Command => {
                    match self.allow(identity, &channel, mapped, Action::Subscribe).await {
                        Ok(()) => true,
                        Err(error) if error.code.retry() => return Err(error),
                        Err(_) => false,
                    }
                }
            };
            if !allowed {
                gone.push(channel);
            }
        }
        Ok(gone)
    }

    /// Ends subscriptions, and tells the client. True: there were some.
    fn drop_all(&self, gone: Vec<Channel>) -> bool {
        let some = !gone.is_empty();
        for channel in gone {
            self.remove(&channel);
            self.tell("may no longer subscribe", Some(channel.as_str()), Ok(()));
            self.notify(
                "push:unsubscribed",
                &serde_json::json!({
                    "channel": self.name_of(&channel),
                    "code": ErrorCode::Forbidden.as_str(),
                }),
            );
        }
        some
    }

    pub(super) fn schedule_expiry(self: &Rc<Self>) {
        if let Some(key) = self.expiry_timer.take() {
            self.shard.timers.remove(&key);
        }
        let identity = self.identity();
        let left = match (self.shard.shared.auth.revocations().check(&identity), identity.expires) {
            (Ok(()), None) => return,
            (Ok(()), Some(end)) => end.duration_since(SystemTime::now()).unwrap_or_default(),
            // While this session was made: it was not yet here to be found.
            (Err(_), _) => Duration::ZERO,
        };
        let wait = if self.warned.get() { left } else { left.saturating_sub(EXPIRING_NOTICE) };
        self.expiry_timer.set(Some(self.shard.timers.set_after(self.weak(), Timer::Expiry, wait)));
    }

    pub(super) fn expiring(self: &Rc<Self>) {
        self.expiry_timer.set(None);
        if self.shard.shared.auth.revocations().check(&self.identity()).is_err() {
            return self.revoke();
        }
        let Some(expires) = self.identity.borrow().expires else { return };
        if let Ok(left) = expires.duration_since(SystemTime::now())
            && !left.is_zero()
        {
            // Earlier: a timer has an end, a token may have none in sight.
            let near = left <= EXPIRING_NOTICE + EXPIRING_SLACK;
            if !near || self.warned.replace(true) {
                return self.schedule_expiry();
            }
            self.notify("push:expiring", &serde_json::json!({ "expires": unix_seconds(expires) }));
            self.schedule_expiry();
            return;
        }
        let words = "the token's time is over; get a new one";
        self.sever(&Error::new(ErrorCode::TokenExpired, words), CloseReason::TokenExpired);
    }

    /// Its token was revoked.
    pub(crate) fn revoke(&self) {
        self.sever(&revoked(), CloseReason::TokenRevoked);
    }

    /// The session's token holds no longer: nothing more reaches the client
    /// but why, and then the end.
    ///
    /// The transport closes, not the namespace: the client comes back, with a
    /// fresh token or to be told the same again.
    fn sever(&self, error: &Error, reason: CloseReason) {
        if self.ended.get() {
            return;
        }
        let last = match self.protocol() {
            Protocol::Websocket => Some(Wire::raw(plain::close_frame(error.code))),
            Protocol::Socketio | Protocol::Sse => None,
        };
        self.notify("push:error", &error.to_json());
        self.tell(format_args!("must go ({})", reason.label()), None, Ok(()));
        self.shard.close_session(self, last, reason);
        self.end(false);
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
