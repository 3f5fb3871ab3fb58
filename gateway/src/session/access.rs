//! What a session may do on a channel: its grants, the channel's rule, and the
//! apps that are asked.

use super::Session;
use crate::auth::{Access, Action, Asking, Identity};
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::shard::Shared;

// === impl Session ===

impl Session {
    /// What the client calls a channel of its subscriptions.
    pub(super) fn resolve(&self, name: &str) -> Result<(Channel, bool), Error> {
        let channel = Channel::in_namespace(&self.namespace, name)?;
        let mapped = &*self.namespace != "/";
        // A name with `$` is closed in every namespace: checked before the
        // mapping hides it.
        if mapped && name.starts_with('$') {
            return Err(Error::new(
                ErrorCode::Forbidden,
                "channels that begin with `$` belong to the system; choose another name",
            )
            .field("channel"));
        }
        Ok((channel, mapped))
    }

    pub(super) async fn check(&self, name: &str, action: Action) -> Result<Channel, Error> {
        self.check_open()?;
        let (channel, mapped) = self.resolve(name)?;
        self.allow(&self.identity(), &channel, mapped, action).await?;
        // An app may have been asked.
        self.check_open()?;
        Ok(channel)
    }

    /// Whether an identity may do something on a channel: an app decides, or
    /// its grants and the channel's rule do.
    pub(super) async fn allow(
        &self,
        identity: &Identity,
        channel: &Channel,
        mapped: bool,
        action: Action,
    ) -> Result<(), Error> {
        let Shared { access, auth, .. } = &*self.shard.shared;
        let subscribes = match action {
            Action::Subscribe => true,
            // Whoever may subscribe also publishes.
            Action::Publish => access.rule(channel).client_publish == Some(true),
            Action::Presence | Action::History => false,
        };
        if !subscribes || !auth.callouts().decides(channel) {
            return access.check(identity, channel, mapped, action);
        }
        Access::check_reach(identity, channel, mapped)?;
        if action == Action::Publish && access.check(identity, channel, mapped, action).is_ok() {
            return Ok(());
        }
        let asking = Asking {
            identity,
            session: &self.id,
            protocol: self.protocol().as_str(),
            namespace: &self.namespace,
        };
        auth.callouts().subscribe(asking, channel).await
    }

    /// What a client still sends while its close is on the way does nothing.
    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.ended.get() {
            return Err(Error::new(
                ErrorCode::Unauthorized,
                "the session is over; connect anew with a valid token",
            ));
        }
        Ok(())
    }
}
