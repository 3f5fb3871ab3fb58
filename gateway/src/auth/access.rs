//! What an identity may do on a channel: the token's grants and the rule
//! that holds for the channel.
//!
//! With a token issuer configured, nothing is allowed but by a grant or by a
//! rule's `anonymous: true` (everyone subscribes) and `clientPublish: true`
//! (whoever may subscribe publishes). Without one every client may do
//! everything, unless the rule sets one of the two to false.

use std::time::SystemTime;

use super::{Action, Identity};
use crate::channel::Channel;
use crate::error::{Error, ErrorCode};
use crate::rules::{Rule, SharedRules};

#[cfg(test)]
mod tests;

/// Decides on clients' commands. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    /// Read anew at each check, so a reload holds at once.
    rules: SharedRules,
    has_issuer: bool,
}

// === impl Access ===

impl Access {
    /// Decides by `rules`; `has_issuer`: whether `auth.jwt` is set, so that
    /// clients can have grants.
    pub fn new(rules: SharedRules, has_issuer: bool) -> Self {
        Self { rules, has_issuer }
    }

    /// Whether a client may do `action` on `channel`.
    ///
    /// `from_namespace`: the channel is the `$ns.…` name that
    /// [`Channel::in_namespace`] made of what the client said. No other way
    /// leads to a `$` channel.
    ///
    /// Errors: `token_expired` when the identity's time is over; `forbidden`
    /// with the action and the channel in its message.
    pub fn check(
        &self,
        identity: &Identity,
        channel: &Channel,
        from_namespace: bool,
        action: Action,
    ) -> Result<(), Error> {
        Self::check_reach(identity, channel, from_namespace)?;
        self.check_right(identity, channel, action)
    }

    /// Whether it may do anything on the channel: neither its own time is
    /// over, nor is the channel one of the system's.
    pub fn check_reach(
        identity: &Identity,
        channel: &Channel,
        from_namespace: bool,
    ) -> Result<(), Error> {
        if identity.expires.is_some_and(|expires| expires <= SystemTime::now()) {
            return Err(Error::new(
                ErrorCode::TokenExpired,
                "the token's time is over; get a new one and refresh or reconnect",
            ));
        }
        let in_namespace = from_namespace && channel.as_str().starts_with("$ns.");
        if channel.is_system() && !in_namespace {
            return Err(Error::new(
                ErrorCode::Forbidden,
                format!(
                    "`{channel}` begins with `$`: such channels belong to the system and are closed to clients; choose another name"
                ),
            )
            .field("channel"));
        }
        Ok(())
    }

    /// Whether a grant or a rule allows it.
    fn check_right(
        &self,
        identity: &Identity,
        channel: &Channel,
        action: Action,
    ) -> Result<(), Error> {
        let subject = channel.to_subject();
        let rule = self.rules.load().of_subject(&subject);
        let granted = |action: Action| {
            identity
                .grants
                .iter()
                .any(|grant| grant.can.contains(&action) && grant.matches.matches_subject(&subject))
        };
        let allowed = if self.has_issuer {
            let public = rule.anonymous == Some(true);
            match action {
                Action::Subscribe => public || granted(action),
                Action::Publish => {
                    let opened = rule.client_publish == Some(true);
                    granted(action) || (opened && (public || granted(Action::Subscribe)))
                }
                Action::Presence | Action::History => granted(action),
            }
        } else {
            // Without an issuer nobody can have a grant: everyone is
            // anonymous, and the two keys are there to close.
            let closed = action == Action::Publish && rule.client_publish == Some(false);
            rule.anonymous != Some(false) && !closed
        };
        if allowed { Ok(()) } else { Err(self.refusal(identity, channel, action)) }
    }

    /// What the configuration says of a channel.
    pub fn rule(&self, channel: &Channel) -> Rule {
        self.rules.load().of(channel)
    }

    /// Says what is missing.
    fn refusal(&self, identity: &Identity, channel: &Channel, action: Action) -> Error {
        let action = action.as_str();
        let message = if !self.has_issuer {
            format!("a channel rule closes `{channel}` to clients' `{action}`")
        } else if identity.has_token {
            format!(
                "the token doesn't allow `{action}` on `{channel}`; its claim `channels` must grant it"
            )
        } else {
            format!("`{action}` on `{channel}` needs a token that grants it; connect with one")
        };
        Error::new(ErrorCode::Forbidden, message).field("channel")
    }
}
