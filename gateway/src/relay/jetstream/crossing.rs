//! Channels that gain or lose history while gateways run: they go over from
//! one source to the other, core to feed or feed to core, and no publication
//! is handed on twice or out of its order.
//!
//! For a while both sources bring the same publications. Core's carry no
//! sequence, so a publication is known by what is in it: of two that are
//! alike, the second one is the first one's twin.
//!
//! To the feed: core is handed on until the stream has been seen to be behind
//! all that core brought before (the cut), and the feed from there on, but
//! for what core has handed on already. To core: the feed is handed on as far
//! as the stream covers the channel, what only core brings waits for it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::publication::{Publication, Value};

#[cfg(test)]
mod tests;

/// By how much one source may be later than the other.
pub const SKEW: Duration = Duration::from_millis(500);
/// After so long twins aren't waited for any more, once the feed is at the
/// stream's end.
const EXPIRY: Duration = Duration::from_secs(10);
/// Of two publishers' publications, one source may have the order of so much
/// otherwise than the other.
const REORDER: Duration = Duration::from_millis(200);
/// Publications that wait, or whose twins are waited for, for each channel.
const MOST: usize = 16_384;

/// Where a channel's publications are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The channel's own subject.
    Core,
    /// The stream.
    Feed,
}

/// The channels that go over just now.
#[derive(Default)]
pub struct Crossings {
    /// How many there are: without any, nothing is locked.
    count: AtomicUsize,
    table: Mutex<HashMap<String, Crossing>>,
    hasher: RandomState,
}

/// One channel on its way.
struct Crossing {
    to: Source,
    began: Instant,
    /// To the feed: the stream's end, and when it was asked for.
    cut: Option<(u64, Instant)>,
    switched: Option<Instant>,
    /// What the old source has brought, until its twin comes.
    passed: VecDeque<(u64, Instant)>,
    /// What the new source has brought, until its twin comes.
    held: VecDeque<(u64, Arc<Publication>)>,
}

// === impl Source ===

impl Source {
    /// The feed, for a channel that the stream has.
    pub fn of(by_feed: bool) -> Self {
        if by_feed { Self::Feed } else { Self::Core }
    }
}

// === impl Crossings ===

impl Crossings {
    /// Whether there is none.
    pub fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// A channel is to come from elsewhere. One that was on its way back
    /// stays where it was.
    pub fn begin(&self, subject: &str, to: Source, now: Instant) {
        let mut table = self.lock();
        match table.get(subject) {
            Some(crossing) if crossing.to == to => {}
            Some(crossing) if crossing.switched.is_none() => {
                table.remove(subject);
            }
            _ => {
                table.insert(subject.to_owned(), Crossing::new(to, now));
            }
        }
        self.recount(&table);
    }

    /// Nobody wants the channel any more.
    pub fn forget(&self, subject: &str) {
        if self.is_idle() {
            return;
        }
        let mut table = self.lock();
        table.remove(subject);
        self.recount(&table);
    }

    /// Whether the channel still comes from where it came.
    pub fn is_before_switch(&self, subject: &str, to: Source) -> bool {
        !self.is_idle()
            && self
                .lock()
                .get(subject)
                .is_some_and(|crossing| crossing.to == to && crossing.switched.is_none())
    }

    /// When the stream's end is to be asked for, for channels on their way to
    /// the feed.
    pub fn cut_due(&self) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        let table = self.lock();
        let uncut = table.values().filter(|crossing| crossing.is_uncut());
        uncut.map(|crossing| crossing.began + 2 * SKEW).min()
    }

    /// The stream's end was this, or later, at `asked`.
    pub fn cut(&self, end: u64, asked: Instant) {
        let mut table = self.lock();
        for crossing in table.values_mut() {
            if crossing.is_uncut() && crossing.began + 2 * SKEW <= asked {
                crossing.cut = Some((end, asked));
                // What core brought, or will.
                crossing.held.retain(|(_, publication)| {
                    publication.position.is_none_or(|position| position.sequence > end)
                });
            }
        }
    }

    /// Channels whose time to go over to the feed has come, with what waited
    /// of each. For the one who hands on the feed, before anything else.
    pub fn switch_to_feed(&self, now: Instant) -> Vec<(String, Vec<Arc<Publication>>)> {
        let mut switched = Vec::new();
        for (subject, crossing) in self.lock().iter_mut() {
            let due = crossing.cut.is_some_and(|(_, asked)| asked + SKEW <= now);
            if crossing.to == Source::Feed && crossing.switched.is_none() && due {
                switched.push((subject.clone(), crossing.switch(now)));
            }
        }
        switched
    }

    /// Channels on their way to core.
    pub fn going_to_core(&self) -> Vec<String> {
        let table = self.lock();
        let going = table.iter().filter(|(_, crossing)| crossing.to == Source::Core);
        going.map(|(subject, _)| subject.clone()).collect()
    }

    /// The same for one channel and core. `complete`: the feed has brought
    /// all that the stream has of it.
    pub fn switch_to_core(
        &self,
        subject: &str,
        complete: bool,
        now: Instant,
    ) -> Vec<Arc<Publication>> {
        let mut table = self.lock();
        match table.get_mut(subject) {
            Some(crossing)
                if crossing.to == Source::Core
                    && crossing.switched.is_none()
                    && complete
                    && crossing.began + 2 * SKEW <= now =>
            {
                crossing.switch(now)
            }
            _ => Vec::new(),
        }
    }

    /// Ends what has gone over. `level`: the feed is at the stream's end.
    pub fn expire(&self, level: bool, now: Instant) {
        let mut table = self.lock();
        table.retain(|_, crossing| {
            let Some(switched) = crossing.switched else { return true };
            let over = match crossing.to {
                Source::Feed => level && switched + EXPIRY <= now,
                Source::Core => switched + 2 * SKEW <= now,
            };
            !over
        });
        self.recount(&table);
    }

    /// A publication of a source. Whether it is to be handed on, which `hand`
    /// does before any other decision is made. `sequence`: the feed's.
    /// `settled`: where the channel comes from, if it isn't on its way.
    pub fn decide(
        &self,
        subject: &str,
        publication: &Arc<Publication>,
        sequence: Option<u64>,
        settled: impl FnOnce() -> Source,
        hand: impl FnOnce(bool),
    ) {
        let from = if sequence.is_some() { Source::Feed } else { Source::Core };
        let now = Instant::now();
        let mut table = self.lock();
        let deliver = match table.get_mut(subject) {
            None => settled() == from,
            Some(crossing) => {
                let print = self.print(publication);
                if crossing.to == from {
                    crossing.new_source(print, publication, sequence)
                } else {
                    crossing.old_source(print, now)
                }
            }
        };
        hand(deliver);
    }

    /// What a publication is known by.
    fn print(&self, publication: &Publication) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        publication.event.hash(&mut hasher);
        publication.id.hash(&mut hasher);
        publication.spread.hash(&mut hasher);
        publication.except.hash(&mut hasher);
        for arg in &publication.args {
            match arg {
                Value::Json(bytes) => (0, bytes).hash(&mut hasher),
                Value::Binary(bytes) => (1, bytes).hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    fn recount(&self, table: &HashMap<String, Crossing>) {
        self.count.store(table.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Crossing>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Crossing ===

impl Crossing {
    fn new(to: Source, began: Instant) -> Self {
        let (passed, held) = (VecDeque::new(), VecDeque::new());
        Self { to, began, cut: None, switched: None, passed, held }
    }

    fn is_uncut(&self) -> bool {
        self.to == Source::Feed && self.cut.is_none()
    }

    fn switch(&mut self, now: Instant) -> Vec<Arc<Publication>> {
        self.switched = Some(now);
        self.held.drain(..).map(|(_, publication)| publication).collect()
    }

    /// From where the channel came until now.
    fn old_source(&mut self, print: u64, now: Instant) -> bool {
        if self.switched.is_some() {
            return false;
        }
        if let Some(index) = self.held.iter().position(|(held, _)| *held == print) {
            self.held.remove(index);
            return true;
        }
        // Core, before the stream is known to cover the channel: it may be
        // one that is not stored, and has no twin.
        if self.to == Source::Core || self.began + SKEW <= now {
            if self.passed.len() >= MOST {
                self.passed.pop_front();
            }
            self.passed.push_back((print, now));
        }
        true
    }

    /// From where the channel is to come. `sequence`: the feed's.
    fn new_source(
        &mut self,
        print: u64,
        publication: &Arc<Publication>,
        sequence: Option<u64>,
    ) -> bool {
        if self.has_passed(print) {
            return false;
        }
        if self.switched.is_some() {
            return true;
        }
        // Up to the cut it is core's to bring.
        let past = |(cut, _)| sequence.is_none_or(|sequence| sequence > cut);
        if self.cut.is_none_or(past) {
            if self.held.len() >= MOST {
                self.held.pop_front();
            }
            self.held.push_back((print, publication.clone()));
        }
        false
    }

    /// Whether the old source has brought its twin; then it is forgotten.
    fn has_passed(&mut self, print: u64) -> bool {
        match self.to {
            // Each one that passed is stored, and comes once.
            Source::Feed => {
                let index = self.passed.iter().position(|(passed, _)| *passed == print);
                index.is_some_and(|index| self.passed.remove(index).is_some())
            }
            // Some that passed came before core was subscribed to: what is
            // before a twin needs none any more.
            Source::Core => {
                let Some(index) = self.passed.iter().rposition(|(passed, _)| *passed == print)
                else {
                    return false;
                };
                let Some((_, at)) = self.passed.remove(index) else { return false };
                while self.passed.front().is_some_and(|(_, before)| *before + REORDER < at) {
                    self.passed.pop_front();
                }
                true
            }
        }
    }
}
