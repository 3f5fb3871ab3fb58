//! Tokens that are refused though their time isn't over, and sessions that
//! nobody gets back.
//!
//! Every gateway has all of them in memory, so that a connect costs no
//! question. The relay keeps them for gateways that start later.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus_client::metrics::gauge::Gauge;

use super::Identity;
use crate::error::{Error, ErrorCode};
use crate::relay::{Mark, MarkKind};

#[cfg(test)]
mod tests;

/// The marks in force.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Held for a look-up at a connect, and not at all while it is empty.
    table: Mutex<Table>,
    /// How many there are: mostly none, and then nothing is looked up.
    count: AtomicUsize,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Table {
    tokens: HashMap<Box<str>, Span>,
    users: HashMap<Box<str>, Span>,
    sessions: HashMap<Box<str>, Span>,
}

/// From when a mark is, and until when it holds; milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    at: u64,
    until: u64,
}

// === impl Revocations ===

impl Revocations {
    /// None yet. `gauge` shows how many there are.
    pub fn new(gauge: Gauge) -> Self {
        Self { gauge, ..Self::default() }
    }

    /// Adds one. False: it says nothing new, or its time is over.
    pub fn add(&self, mark: &Mark) -> bool {
        if mark.until <= unix_millis(SystemTime::now()) {
            return false;
        }
        let mut table = self.lock();
        let spans = table.of_mut(mark.kind);
        let new = Span { at: mark.at, until: mark.until };
        let changed = match spans.get_mut(mark.of.as_str()) {
            Some(span) => {
                let joined = Span { at: span.at.max(new.at), until: span.until.max(new.until) };
                std::mem::replace(span, joined) != joined
            }
            None => spans.insert(mark.of.as_str().into(), new).is_none(),
        };
        self.counted(&table);
        changed
    }

    /// Forgets those whose time is over.
    pub fn purge(&self) {
        let now = unix_millis(SystemTime::now());
        let mut table = self.lock();
        for kind in [MarkKind::Token, MarkKind::User, MarkKind::Sessions] {
            let spans = table.of_mut(kind);
            spans.retain(|_, span| span.until > now);
            if spans.capacity() > spans.len() * 4 {
                spans.shrink_to(spans.len() * 2);
            }
        }
        self.counted(&table);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an identity's token is refused.
    ///
    /// Errors: `token_revoked`.
    pub fn check(&self, identity: &Identity) -> Result<(), Error> {
        if self.is_empty() || !identity.has_token {
            return Ok(());
        }
        let now = unix_millis(SystemTime::now());
        let table = self.lock();
        let token = identity.token_id.as_deref().and_then(|id| table.tokens.get(id));
        let user = identity.user.as_deref().and_then(|user| table.users.get(user));
        let refused = token.is_some_and(|span| span.until > now)
            || user.is_some_and(|span| span.until > now && span.hits(identity));
        if refused { Err(revoked()) } else { Ok(()) }
    }

    /// Whether a user's session that began then (milliseconds since 1970) is
    /// one that nobody gets back.
    pub fn forgets(&self, user: Option<&str>, began: u64) -> bool {
        let Some(user) = user.filter(|_| !self.is_empty()) else { return false };
        let table = self.lock();
        let now = unix_millis(SystemTime::now());
        table.sessions.get(user).is_some_and(|span| span.until > now && began <= span.at)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic under the lock ends one request, not all that was revoked.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, table: &Table) {
        let count = table.tokens.len() + table.users.len() + table.sessions.len();
        self.count.store(count, Ordering::Release);
        self.gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// Whether a mark ends sessions of this identity.
pub fn hits(mark: &Mark, identity: &Identity) -> bool {
    let of = Some(mark.of.as_str());
    match mark.kind {
        MarkKind::Token => identity.token_id.as_deref() == of,
        MarkKind::User => {
            identity.user.as_deref() == of && Span { at: mark.at, until: mark.until }.hits(identity)
        }
        // They are ended by the call that sets the mark.
        MarkKind::Sessions => false,
    }
}

/// The error for a token that was revoked.
pub fn revoked() -> Error {
    Error::new(
        ErrorCode::TokenRevoked,
        "the token was revoked before its time was over; get a new one and connect anew",
    )
}

/// Milliseconds since 1970.
pub fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

// === impl Table ===

impl Table {
    fn of_mut(&mut self, kind: MarkKind) -> &mut HashMap<Box<str>, Span> {
        match kind {
            MarkKind::Token => &mut self.tokens,
            MarkKind::User => &mut self.users,
            MarkKind::Sessions => &mut self.sessions,
        }
    }
}

// === impl Span ===

impl Span {
    /// Whether it was there when the identity's token was issued. A token
    /// that doesn't say when it was issued may be any old one; `iat` is in
    /// whole seconds, so one of the same second may be, too.
    fn hits(self, identity: &Identity) -> bool {
        identity.issued.is_none_or(|issued| unix_millis(issued) <= self.at)
    }
}
