//! What apps answer. An app's mistake must not open a door: whatever is not
//! of the form is no answer. The errors repeat nothing of what was answered.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Verdict;
use crate::auth::Identity;
use crate::auth::token::claims;
use crate::error::Error;

/// Longest words of an app that a client is told, in bytes.
const MAX_WORDS: usize = 200;
/// Longest answer, in bytes: as long as the longest token.
const MAX_ANSWER: usize = crate::auth::token::MAX_TOKEN_BYTES;

/// Who a client is.
// A key that we don't know may be one that narrows what is allowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectAnswer {
    allow: bool,
    user: Option<Value>,
    channels: Option<Value>,
    join: Option<Value>,
    meta: Option<Box<RawValue>>,
    expires: Option<Value>,
    message: Option<String>,
    ttl: Option<u64>,
}

/// Whether a client may subscribe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscribeAnswer {
    allow: bool,
    message: Option<String>,
    ttl: Option<u64>,
}

// === impl ConnectAnswer ===

impl ConnectAnswer {
    pub(super) fn read(reply: &Bytes) -> Result<Self, String> {
        read(reply)
    }

    /// How long it holds.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.ttl.map(Duration::from_secs)
    }

    /// What it leaves out is as the token says. `asked`: the time at which
    /// the app vouches for the client.
    pub(super) fn verdict(
        self,
        verified: Option<&Identity>,
        asked: SystemTime,
    ) -> Result<Verdict<Arc<Identity>>, String> {
        if !self.allow {
            return Ok(Verdict::Refused(words(self.message)));
        }
        let mut identity = match verified {
            Some(verified) => verified.clone(),
            None => Identity { has_token: true, issued: Some(asked), ..Identity::default() },
        };
        let user = claims::user(self.user).map_err(|error| of_answer(&error))?;
        match (&identity.user, user) {
            (Some(has), Some(user)) if *has != user => {
                return Err("the answer's `user` is not the token's `sub`".to_owned());
            }
            (None, Some(user)) => identity.user = Some(user),
            _ => {}
        }
        if self.channels.is_some() {
            identity.grants = claims::grants(self.channels).map_err(|error| of_answer(&error))?;
        }
        if self.join.is_some() {
            identity.join = claims::joins(self.join).map_err(|error| of_answer(&error))?;
        }
        if let Some(meta) = self.meta {
            identity.meta = Some(Bytes::from(Box::<str>::from(meta).into_string()));
        }
        if let Some(expires) = &self.expires {
            let expires =
                claims::seconds("expires", Some(expires)).map_err(|error| of_answer(&error))?;
            if expires <= asked {
                return Err("the answer's `expires` is over already".to_owned());
            }
            // Never longer than the token.
            identity.expires = Some(identity.expires.map_or(expires, |end| end.min(expires)));
        }
        Ok(Verdict::Allowed(Arc::new(identity)))
    }
}

// === impl SubscribeAnswer ===

impl SubscribeAnswer {
    pub(super) fn read(reply: &Bytes) -> Result<Self, String> {
        read(reply)
    }

    /// How long it holds.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.ttl.map(Duration::from_secs)
    }

    pub(super) fn verdict(&self) -> Verdict<()> {
        if self.allow {
            Verdict::Allowed(())
        } else {
            Verdict::Refused(words(self.message.clone()))
        }
    }
}

fn read<'a, T: Deserialize<'a>>(reply: &'a Bytes) -> Result<T, String> {
    if reply.len() > MAX_ANSWER {
        return Err(format!("the answer is {} bytes long; {MAX_ANSWER} at most", reply.len()));
    }
    // serde's words may repeat a value; its place doesn't.
    serde_json::from_slice(reply).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!(
            "the answer is not JSON of the form that docs/authentication.md shows (line {line}, column {column})"
        )
    })
}

/// Words that a client is told, if they can be.
fn words(message: Option<String>) -> Option<Box<str>> {
    let fits = |words: &String| {
        !words.is_empty() && words.len() <= MAX_WORDS && !words.chars().any(char::is_control)
    };
    message.filter(fits).map(Into::into)
}

/// The words for a claim, said of an answer.
fn of_answer(error: &Error) -> String {
    error.message.replacen("the token's claim", "the answer's", 1)
}
