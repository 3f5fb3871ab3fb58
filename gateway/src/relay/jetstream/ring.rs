//! The feed's last while, in memory: resumes and reconnect storms are served
//! from it, and a replica that is behind isn't asked.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::line::Frame;
use crate::channel::Channel;
use crate::offset::Position;
use crate::publication::Publication;
use crate::relay::embedded::times::Times;

#[cfg(test)]
mod tests;

/// How long a publication stays, in milliseconds: longer than a reconnect
/// storm takes.
pub const MAX_AGE: u64 = 60_000;
/// Bytes of publications that are kept.
pub const MAX_BYTES: usize = 64 << 20;
/// What an entry costs beside its event and arguments.
const ENTRY_BYTES: usize = 200;
/// Entries that are looked at under one lock, so that the feed goes on.
const ROUND: usize = 4_096;

/// The recent feed, complete between its first and its last sequence.
pub struct Ring {
    inner: Mutex<Inner>,
    hasher: RandomState,
    max_bytes: usize,
}

struct Inner {
    /// The head: the last entry's place, or where the feed began.
    head: Position,
    /// Contiguous; the last one is the head's.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// When a sequence was current, beyond the entries.
    times: Times,
    /// Publishers that wait for the time of their publication.
    waiting: HashMap<u64, SmallVec<[oneshot::Sender<Position>; 1]>>,
}

struct Entry {
    /// Of the channel's subject; 0 if it has none.
    hash: u64,
    /// When it was stored. Of a sequence that is not there: when the one
    /// before it was.
    time: u64,
    /// Whether the stream had a message of this sequence.
    stored: bool,
    content: Content,
}

/// What an entry has for subscribers.
#[derive(Clone)]
enum Content {
    /// A tick, or what no client could take, or nothing at all.
    Nothing,
    /// A publication.
    Read(Kept),
    /// A message that nobody has read yet: most are wanted by nobody here.
    Unread(Unread),
}

/// A message of the feed as it came.
#[derive(Clone, Debug)]
pub struct Unread {
    /// The message.
    pub frame: Frame,
    /// Where in its subject the channel begins.
    pub channel: usize,
}

/// A publication of the ring or of the stream, with when it expires.
#[derive(Clone, Debug)]
pub struct Kept {
    pub publication: Arc<Publication>,
    pub expires: u64,
}

/// Where a sequence's time can be had.
pub enum When {
    /// It is this.
    Known(Position),
    /// It will come with the feed.
    Later(oneshot::Receiver<Position>),
    /// The ring doesn't have it any more.
    Gone,
}

// === impl Ring ===

impl Ring {
    /// Empty, at a place.
    pub fn new(head: Position) -> Self {
        Self::with_capacity(head, MAX_BYTES)
    }

    /// The same, with another bound.
    pub fn with_capacity(head: Position, max_bytes: usize) -> Self {
        let inner = Inner {
            head,
            entries: VecDeque::new(),
            bytes: 0,
            times: Times::new(0),
            waiting: HashMap::new(),
        };
        Self { inner: Mutex::new(inner), hasher: RandomState::new(), max_bytes }
    }

    /// How far the feed has come.
    pub fn head(&self) -> Position {
        self.lock().head
    }

    /// The head's time is this: of its sequence nothing is there.
    pub fn set_head_time(&self, time: u64) {
        self.lock().head.time = time;
    }

    /// Begins anew at a place.
    pub fn reset(&self, head: Position) {
        let mut inner = self.lock();
        inner.head = head;
        inner.entries.clear();
        inner.bytes = 0;
        inner.times = Times::new(0);
        // Whoever waits asks the stream.
        inner.waiting.clear();
    }

    /// Forgets what it has: other channels have history now, and what they
    /// had is in the stream alone.
    pub fn forget(&self) {
        let mut inner = self.lock();
        inner.entries.clear();
        inner.bytes = 0;
    }

    /// The feed's next sequence, which is not there (any more).
    pub fn push_missing(&self) {
        let mut inner = self.lock();
        inner.head.sequence += 1;
        let (sequence, time) = (inner.head.sequence, inner.head.time);
        let entry = Entry { hash: 0, time, stored: false, content: Content::Nothing };
        inner.bytes += entry.bytes();
        inner.entries.push_back(entry);
        inner.trim(self.max_bytes, time);
        // Whoever waits for it asks the stream.
        inner.waiting.remove(&sequence);
    }

    /// The feed's next message.
    pub fn push(&self, position: Position, kept: Option<Kept>) {
        let (hash, content) = match kept {
            Some(kept) => (self.hash(&kept.publication.channel.to_subject()), Content::Read(kept)),
            None => (0, Content::Nothing),
        };
        self.push_entry(position, hash, content);
    }

    /// The feed's next message, which somebody may read later.
    pub fn push_unread(&self, position: Position, unread: Unread) {
        let hash = unread.channel().map_or(0, |channel| self.hash(channel));
        self.push_entry(position, hash, Content::Unread(unread));
    }

    fn push_entry(&self, position: Position, hash: u64, content: Content) {
        let mut inner = self.lock();
        debug_assert_eq!(position.sequence, inner.head.sequence + 1);
        inner.head = position;
        inner.times.note(position.sequence, position.time);
        let entry = Entry { hash, time: position.time, stored: true, content };
        inner.bytes += entry.bytes();
        inner.entries.push_back(entry);
        inner.trim(self.max_bytes, position.time);
        for waiting in inner.waiting.remove(&position.sequence).unwrap_or_default() {
            let _ = waiting.send(position);
        }
    }

    /// The time of a sequence, exactly, if it is here.
    pub fn time_of(&self, sequence: u64) -> Option<u64> {
        let inner = self.lock();
        if sequence == inner.head.sequence && inner.entries.is_empty() {
            return Some(inner.head.time);
        }
        let first = inner.first();
        let index = usize::try_from(sequence.checked_sub(first)?).ok()?;
        inner.entries.get(index).filter(|entry| entry.stored).map(|entry| entry.time)
    }

    /// A time at or before the one of a sequence, as far as it is known.
    pub fn at_or_before(&self, sequence: u64) -> u64 {
        self.lock().times.at_or_before(sequence)
    }

    /// The time of a sequence that was stored just now.
    pub fn when(&self, sequence: u64) -> When {
        let mut inner = self.lock();
        let Some(ahead) = sequence.checked_sub(inner.first()) else { return When::Gone };
        let epoch = inner.head.epoch;
        let index = usize::try_from(ahead).ok();
        if let Some(entry) = index.and_then(|index| inner.entries.get(index)) {
            return When::Known(Position { epoch, sequence, time: entry.time });
        }
        let (sender, receiver) = oneshot::channel();
        let waiting = inner.waiting.entry(sequence).or_default();
        // Of those nobody waits for any more.
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        When::Later(receiver)
    }

    /// Whether a publisher waits for what the feed is to bring.
    pub fn is_awaited(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// The first sequence from which on everything is here.
    pub fn first(&self) -> u64 {
        self.lock().first()
    }

    /// What these channels have, each after its sequence, up to `until`, in
    /// the stream's order; `read` reads what nobody has read before. Err: the
    /// ring begins later than that, at the sequence that is returned.
    pub fn read(
        &self,
        channels: &[(Channel, u64)],
        until: u64,
        read: impl Fn(&Unread, Position) -> Option<Kept>,
    ) -> Result<Vec<Kept>, u64> {
        let subjects: Vec<_> =
            channels.iter().map(|(channel, after)| (channel.to_subject(), *after)).collect();
        let mut wanted: HashMap<u64, SmallVec<[(&str, u64); 1]>> = HashMap::new();
        for (subject, after) in &subjects {
            wanted.entry(self.hash(subject)).or_default().push((subject, *after));
        }
        let Some(mut next) = channels.iter().map(|(_, after)| after.saturating_add(1)).min() else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        while next <= until {
            let inner = self.lock();
            let first = inner.first();
            let Some(skip) = next.checked_sub(first) else { return Err(first) };
            let Ok(skip) = usize::try_from(skip) else { break };
            if skip >= inner.entries.len() {
                break;
            }
            let epoch = inner.head.epoch;
            for entry in inner.entries.range(skip..).take(ROUND) {
                if next > until {
                    break;
                }
                if let Some(channels) = wanted.get(&entry.hash) {
                    let is_wanted = |channel: &str| {
                        channels.iter().any(|(name, after)| *name == channel && *after < next)
                    };
                    if entry.content.channel().as_deref().is_some_and(is_wanted) {
                        let position = Position { epoch, sequence: next, time: entry.time };
                        found.push((entry.content.clone(), position));
                    }
                }
                next += 1;
            }
        }
        // Without the lock.
        let read = |(content, position)| match content {
            Content::Nothing => None,
            Content::Read(kept) => Some(kept),
            Content::Unread(unread) => read(&unread, position),
        };
        Ok(found.into_iter().filter_map(read).collect())
    }

    fn hash(&self, subject: &str) -> u64 {
        self.hasher.hash_one(subject).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock ends one request, not the relay.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn first(&self) -> u64 {
        self.head.sequence + 1 - self.entries.len() as u64
    }

    fn trim(&mut self, max_bytes: usize, now: u64) {
        while let Some(front) = self.entries.front() {
            if self.bytes <= max_bytes && now.saturating_sub(front.time) <= MAX_AGE {
                break;
            }
            self.bytes -= front.bytes();
            self.entries.pop_front();
        }
    }
}

// === impl Entry ===

impl Entry {
    fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Nothing => 0,
            Content::Read(Kept { publication, .. }) => {
                publication.event.len()
                    + publication.args.iter().map(crate::publication::Value::len).sum::<usize>()
            }
            Content::Unread(unread) => unread.frame.size(),
        };
        content + ENTRY_BYTES
    }
}

// === impl Content ===

impl Content {
    /// The channel, as a subject.
    fn channel(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Nothing => None,
            Self::Read(kept) => Some(kept.publication.channel.to_subject().into()),
            Self::Unread(unread) => unread.channel().map(Cow::Borrowed),
        }
    }
}

// === impl Unread ===

impl Unread {
    /// Its channel, as a subject.
    pub fn channel(&self) -> Option<&str> {
        self.frame.subject()?.get(self.channel..)
    }
}
