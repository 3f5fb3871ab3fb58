//! Session records, in memory.

use std::collections::{HashMap, VecDeque};
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use gateway_config::Period;

use super::Clock;
use super::record::PackedRecord;
use crate::metrics::Metrics;
use crate::relay::{
    Claim, Fanout, FanoutPermit, FeedItem, MAX_CLOSED, MAX_CLOSED_BYTES, Owner, RelayError,
    SessionRecord, Sessions,
};

#[cfg(test)]
mod tests;

/// The records of this gateway's sessions.
pub struct EmbeddedSessions {
    /// In milliseconds. None: nothing is kept.
    max_disconnection: Option<u64>,
    fanout: Fanout,
    clock: Clock,
    metrics: Metrics,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<Arc<str>, Session>,
    /// Closed sessions in the order in which they closed. One that came back
    /// since has another owner.
    closed: VecDeque<Closed>,
    /// What their records hold.
    closed_bytes: usize,
    owners: u64,
    /// Whether it was said that records go early; once each time that there
    /// are too many.
    overflowing: bool,
}

struct Session {
    record: PackedRecord,
    owner: Owner,
    /// When its transport closed, in milliseconds since 1970; none: its owner
    /// is alive.
    closed: Option<NonZero<u64>>,
}

struct Closed {
    pid: Arc<str>,
    owner: Owner,
    time: u64,
}

// === impl EmbeddedSessions ===

impl EmbeddedSessions {
    /// No session yet. `max_disconnection`: none keeps no records.
    pub fn new(
        max_disconnection: Option<Period>,
        fanout: Fanout,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            max_disconnection: max_disconnection.map(Period::as_millis),
            fanout,
            clock,
            metrics,
            table: Mutex::default(),
        }
    }

    /// Forgets up to `most` sessions that can't come back any more. False:
    /// there are more.
    pub fn sweep(&self, most: usize) -> bool {
        let mut table = self.lock();
        for _ in 0..most {
            match table.closed.front() {
                Some(closed) if self.is_over(closed.time) => {
                    table.forget_oldest();
                }
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
            let record = PackedRecord::new(&record);
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
                let before = session.counted();
                session.record = PackedRecord::new(&record);
                let after = session.counted();
                table.closed_bytes = table.closed_bytes - before + after;
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
        // The clock shows milliseconds since 1970, which are not 0.
        session.closed = NonZero::new(time.max(1));
        let counted = session.counted();
        table.closed_bytes += counted;
        table.closed.push_back(Closed { pid: Arc::clone(pid), owner, time });
        let mut overflows = false;
        while table.closed.len() > MAX_CLOSED || table.closed_bytes > MAX_CLOSED_BYTES {
            if table.forget_oldest() {
                self.metrics.sessions_not_kept.inc();
                overflows |= !std::mem::replace(&mut table.overflowing, true);
            }
        }
        drop(table);
        if overflows {
            tracing::warn!(
                "too many clients left and may come back: the records of the first ones go, and \
                 they won't be recovered; a lower `socketio.recovery.maxDisconnection` or \
                 `limits.connectRate` leaves room"
            );
        }
    }

    fn delete(&self, pid: &Arc<str>, owner: Owner) {
        let mut table = self.lock();
        if table.owned(pid, owner).is_some() {
            table.remove(pid);
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
        let Some(record) = session.record.read() else { return Some(Claim::Unknown) };
        match session.closed {
            Some(closed) if self.is_over(closed.get()) => {
                table.remove(pid);
                return Some(Claim::Unknown);
            }
            Some(_) => {}
            None => permit?.send(FeedItem::Fenced { pid: pid.into(), owner }),
        }
        let counted = session.counted();
        session.owner = owner;
        session.closed = None;
        table.closed_bytes -= counted;
        Some(Claim::Granted(record, owner))
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

    /// False: that one came back since, or is gone.
    fn forget_oldest(&mut self) -> bool {
        let Some(closed) = self.closed.pop_front() else { return false };
        let is_there = self.owned(&closed.pid, closed.owner).is_some();
        if is_there {
            self.remove(&closed.pid);
        }
        is_there
    }

    fn remove(&mut self, pid: &str) {
        if let Some(session) = self.sessions.remove(pid) {
            self.closed_bytes -= session.counted();
        }
    }

    fn shrink(&mut self) {
        self.overflowing &=
            self.closed.len() > MAX_CLOSED / 2 || self.closed_bytes > MAX_CLOSED_BYTES / 2;
        if self.closed.capacity() > 4 * self.closed.len().max(256) {
            self.closed.shrink_to(self.closed.len() * 2);
        }
        if self.sessions.capacity() > 4 * self.sessions.len().max(256) {
            self.sessions.shrink_to(self.sessions.len() * 2);
        }
    }
}

// === impl Session ===

impl Session {
    /// What it counts for in `closed_bytes`: all that a client can make grow,
    /// and about what its places in the tables take.
    fn counted(&self) -> usize {
        const EACH: usize = size_of::<Session>() + size_of::<Closed>() + 128;
        if self.closed.is_some() { EACH + self.record.bytes() } else { 0 }
    }
}
