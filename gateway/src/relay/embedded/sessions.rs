//! Session records, in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use gateway_config::Period;

use super::Clock;
use crate::relay::{
    Claim, Fanout, FanoutPermit, FeedItem, Owner, RelayError, SessionRecord, Sessions,
};

#[cfg(test)]
mod tests;

/// How many records of closed sessions are kept at once: 1,000 clients that
/// leave each second, over the default `maxDisconnection`. Beyond it the
/// oldest go early, and their clients are told that they weren't recovered.
/// (Records of open sessions are as many as there are open sessions.)
const MAX_CLOSED: usize = 1 << 17;

/// The records of this gateway's sessions.
pub struct EmbeddedSessions {
    /// In milliseconds. None: nothing is kept.
    max_disconnection: Option<u64>,
    fanout: Fanout,
    clock: Clock,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<Arc<str>, Session>,
    /// Closed sessions in the order in which they closed. One that came back
    /// since has another owner.
    closed: VecDeque<Closed>,
    owners: u64,
}

struct Session {
    record: SessionRecord,
    owner: Owner,
    /// When its transport closed, in milliseconds since 1970; none: its owner
    /// is alive.
    closed: Option<u64>,
}

struct Closed {
    pid: Arc<str>,
    owner: Owner,
    time: u64,
}

// === impl EmbeddedSessions ===

impl EmbeddedSessions {
    /// No session yet. `max_disconnection`: none keeps no records.
    pub fn new(max_disconnection: Option<Period>, fanout: Fanout, clock: Clock) -> Self {
        Self {
            max_disconnection: max_disconnection.map(Period::as_millis),
            fanout,
            clock,
            table: Mutex::default(),
        }
    }

    /// Forgets up to `most` sessions that can't come back any more. False:
    /// there are more.
    pub fn sweep(&self, most: usize) -> bool {
        let mut table = self.lock();
        for _ in 0..most {
            match table.closed.front() {
                Some(closed) if self.is_over(closed.time) => table.forget_oldest(),
                _ => {
                    table.shrink();
                    return true;
                }
            }
        }
        false
    }

    fn is_over(&self, closed: u64) -> bool {
        let away = self.clock.now().saturating_sub(closed);
        self.max_disconnection.is_none_or(|most| away > most)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic under the lock ends one request, not all sessions.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions for EmbeddedSessions {
    fn create<'a>(
        &'a self,
        pid: &'a Arc<str>,
        record: SessionRecord,
    ) -> BoxFuture<'a, Result<Owner, RelayError>> {
        let mut table = self.lock();
        let owner = table.next_owner();
        if self.max_disconnection.is_some() {
            let session = Session { record, owner, closed: None };
            table.sessions.insert(Arc::clone(pid), session);
        }
        Box::pin(std::future::ready(Ok(owner)))
    }

    fn put<'a>(
        &'a self,
        pid: &'a Arc<str>,
        owner: Owner,
        record: SessionRecord,
    ) -> BoxFuture<'a, Result<bool, RelayError>> {
        let mut table = self.lock();
        let ours = match table.owned(pid, owner) {
            Some(session) => {
                session.record = record;
                true
            }
            None => self.max_disconnection.is_none(),
        };
        Box::pin(std::future::ready(Ok(ours)))
    }

    fn closed(&self, pid: &Arc<str>, owner: Owner) {
        let time = self.clock.now();
        let mut table = self.lock();
        let Some(session) = table.owned(pid, owner) else { return };
        if session.closed.is_some() {
            return;
        }
        session.closed = Some(time);
        table.closed.push_back(Closed { pid: Arc::clone(pid), owner, time });
        if table.closed.len() > MAX_CLOSED {
            table.forget_oldest();
        }
    }

    fn delete(&self, pid: &Arc<str>, owner: Owner) {
        let mut table = self.lock();
        if table.owned(pid, owner).is_some() {
            table.sessions.remove(pid);
        }
    }

    fn revoke<'a>(
        &'a self,
        pid: &'a Arc<str>,
        owner: Owner,
    ) -> BoxFuture<'a, Result<(), RelayError>> {
        self.delete(pid, owner);
        Box::pin(std::future::ready(Ok(())))
    }

    fn claim<'a>(&'a self, pid: &'a str) -> BoxFuture<'a, Result<Claim, RelayError>> {
        Box::pin(async move {
            if let Some(claim) = self.try_claim(pid, None) {
                return Ok(claim);
            }
            // Its owner is alive. Room in the queues first: then taking over
            // and telling the owner are one step, which nothing can part.
            let permit = self.fanout.reserve().await?;
            Ok(self.try_claim(pid, Some(permit)).unwrap_or(Claim::Unknown))
        })
    }
}

impl EmbeddedSessions {
    /// Claims a session. None, without a permit: its owner is alive and would
    /// have to be told.
    fn try_claim(&self, pid: &str, permit: Option<FanoutPermit<'_>>) -> Option<Claim> {
        let mut table = self.lock();
        let owner = table.next_owner();
        let Some(session) = table.sessions.get_mut(pid) else { return Some(Claim::Unknown) };
        match session.closed {
            Some(closed) if self.is_over(closed) => {
                table.sessions.remove(pid);
                return Some(Claim::Unknown);
            }
            Some(_) => {}
            None => permit?.send(FeedItem::Fenced { pid: pid.into(), owner }),
        }
        session.owner = owner;
        session.closed = None;
        Some(Claim::Granted(session.record.clone(), owner))
    }
}

// === impl Table ===

impl Table {
    fn next_owner(&mut self) -> Owner {
        self.owners += 1;
        Owner(self.owners)
    }

    /// The session, if it is this owner's.
    fn owned(&mut self, pid: &str, owner: Owner) -> Option<&mut Session> {
        self.sessions.get_mut(pid).filter(|session| session.owner == owner)
    }

    fn forget_oldest(&mut self) {
        let Some(closed) = self.closed.pop_front() else { return };
        if self.owned(&closed.pid, closed.owner).is_some() {
            self.sessions.remove(&closed.pid);
        }
    }

    fn shrink(&mut self) {
        if self.closed.capacity() > 4 * self.closed.len().max(256) {
            self.closed.shrink_to(self.closed.len() * 2);
        }
        if self.sessions.capacity() > 4 * self.sessions.len().max(256) {
            self.sessions.shrink_to(self.sessions.len() * 2);
        }
    }
}
