//! What is kept of every channel with history, and what is known of what is
//! no longer kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use gateway_config::History;

use crate::channel::Channel;
use crate::publication::{Publication, Value};

#[cfg(test)]
mod tests;

/// Parts that the channels are spread over. The sweep looks at one part under
/// the lock, then lets publishers on: with 100,000 channels it holds them up
/// for 400 channels' time.
pub const PARTS: usize = 256;

/// What a publication takes beside its own bytes: itself, its place in a log
/// whose capacity is up to twice its length, and what the allocator and the
/// counts of who shares them add to its five parts, some 32 bytes each.
const RECORD_BYTES: usize = size_of::<Publication>() + 2 * size_of::<Entry>() + 5 * 32;
/// What a channel takes beside its name: its log, in a table and an order that
/// are partly empty.
const CHANNEL_BYTES: usize =
    2 * (size_of::<(Channel, ChannelLog)>() + size_of::<(u64, Channel)>()) + 4 * size_of::<Entry>();

/// One channel's publications, oldest first.
pub struct ChannelLog {
    entries: VecDeque<Entry>,
    /// The sequence with which the log began. Of earlier ones, which an
    /// earlier log of the channel may have held, it knows nothing.
    born: u64,
    /// The highest sequence that a limit has dropped (0: none). A resume
    /// point below it has lost something.
    floor: u64,
    /// When that one was published.
    floor_time: u64,
    /// When the first of the entries' own ttl runs out, or earlier.
    next_expiry: u64,
    /// The rule's `maxAge` at the last publication, in milliseconds.
    max_age: u64,
    /// What it takes, and what of that is in [`Logs::bytes`].
    bytes: usize,
    counted: usize,
    /// Under which sequence it stands in [`Logs::order`].
    place: u64,
}

struct Entry {
    sequence: u64,
    /// When its own ttl runs out; `u64::MAX`: never.
    expires: u64,
    publication: Arc<Publication>,
}

/// Every channel's log.
///
/// All together take a number of bytes at most. Beyond it the oldest
/// publication goes, of whatever channel, as if its `maxAge` were over; and a
/// channel of which nothing is left then goes at once, because channels take
/// memory, too.
///
/// A channel of which nothing is left goes, once the last that it dropped is
/// older than its `maxAge`. From then on a place after which the next
/// publication is younger than `maxAge` has lost nothing there: whatever was
/// dropped is older. For older places there is one number for all such
/// channels, `removed`.
pub struct Logs {
    parts: Box<[HashMap<Channel, ChannelLog>]>,
    hasher: RandomState,
    /// The highest floor of all channels that went.
    removed: u64,
    /// `removed` when the rules changed last: for these channels another
    /// `maxAge` may have held, so the age of a resume point proves nothing.
    removed_by_other_rules: u64,
    /// The highest floor of all channels that went because there was no room:
    /// at whatever age, so the age of a resume point proves nothing.
    removed_for_room: u64,
    /// Every log by its first publication, or the last that it had.
    order: BTreeMap<u64, Channel>,
    /// What all logs take.
    bytes: usize,
    max_bytes: usize,
}

/// Where a client is in a channel.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The last sequence that it has.
    pub sequence: u64,
    /// A time at or before the one at which the next publication of any
    /// channel came, in milliseconds since 1970: so however long nothing is
    /// published, the place doesn't age.
    pub next: u64,
}

// === impl ChannelLog ===

impl ChannelLog {
    fn new(born: u64, channel: &Channel) -> Self {
        Self {
            entries: VecDeque::new(),
            born,
            floor: 0,
            floor_time: 0,
            next_expiry: u64::MAX,
            max_age: 0,
            bytes: CHANNEL_BYTES + channel.as_str().len(),
            counted: 0,
            place: 0,
        }
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.bytes();
        }
    }

    /// Drops the oldest, though the rule would keep it. False: it was over in
    /// any case.
    fn pop_early(&mut self, now: u64) -> bool {
        let Some(front) = self.entries.front() else { return false };
        let (sequence, time, expires) = (front.sequence, front.publication.time, front.expires);
        self.pop();
        if expires <= now {
            return false;
        }
        self.floor = sequence;
        self.floor_time = time;
        now.saturating_sub(time) <= self.max_age
    }

    /// Where it stands in the order: no two channels have the same sequence.
    fn first(&self) -> u64 {
        let front = self.entries.front().map(|entry| entry.sequence);
        front.unwrap_or_else(|| self.floor.max(self.born))
    }

    /// Drops what the rule doesn't keep, from the front.
    pub fn trim(&mut self, history: History, now: u64) {
        let max_age = history.max_age.as_millis();
        while let Some(front) = self.entries.front() {
            let time = front.publication.time;
            if front.expires <= now {
                // Its publisher wanted it gone: no loss.
            } else if self.entries.len() > history.max_messages
                || now.saturating_sub(time) > max_age
            {
                self.floor = front.sequence;
                self.floor_time = time;
            } else {
                return;
            }
            self.pop();
        }
        self.entries = VecDeque::new();
    }

    /// The publications after one sequence and up to another. The caller has
    /// trimmed.
    pub fn between(
        &self,
        after: u64,
        until: u64,
        now: u64,
    ) -> impl DoubleEndedIterator<Item = &Arc<Publication>> {
        let start = self.entries.partition_point(|entry| entry.sequence <= after);
        let end = self.entries.partition_point(|entry| entry.sequence <= until).max(start);
        self.entries
            .range(start..end)
            .filter(move |entry| entry.expires > now)
            .map(|entry| &entry.publication)
    }

    /// When the publication of this sequence came, if it is here.
    fn time_of(&self, sequence: u64) -> Option<u64> {
        let index = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        Some(self.entries[index].publication.time)
    }

    /// Drops those in the middle whose own ttl ran out, gives memory back,
    /// and says whether there is anything left to know.
    fn sweep(&mut self, history: Option<History>, now: u64) -> bool {
        match history {
            Some(history) => {
                self.trim(history, now);
                self.max_age = history.max_age.as_millis();
            }
            // The rule lost its history. What is here is not read any more.
            None => {
                if let Some(last) = self.entries.back() {
                    self.floor = last.sequence;
                    self.floor_time = last.publication.time;
                    self.bytes -= self.entries.iter().map(Entry::bytes).sum::<usize>();
                    self.entries = VecDeque::new();
                }
            }
        }
        if self.next_expiry <= now {
            let bytes = &mut self.bytes;
            self.entries.retain(|entry| {
                let keep = entry.expires > now;
                *bytes -= if keep { 0 } else { entry.bytes() };
                keep
            });
            self.next_expiry =
                self.entries.iter().map(|entry| entry.expires).min().unwrap_or(u64::MAX);
        }
        if self.entries.capacity() > 4 * self.entries.len().max(4) {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        !self.entries.is_empty()
            || (self.floor > 0 && now.saturating_sub(self.floor_time) <= self.max_age)
    }
}

// === impl Entry ===

impl Entry {
    /// What it takes: all that a publisher can make grow, and the rest.
    fn bytes(&self) -> usize {
        let Publication { channel, event, args, id, except, .. } = &*self.publication;
        let args = args.iter().map(|arg| size_of::<Value>() + arg.len()).sum::<usize>();
        let except = except.iter().map(|sid| size_of_val(sid) + sid.len()).sum::<usize>();
        let id = id.as_ref().map_or(0, |id| id.len());
        RECORD_BYTES + channel.as_str().len() + event.len() + args + except + id
    }
}

// === impl Logs ===

impl Logs {
    /// No channel yet; all of them will take so many bytes at most.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            parts: (0..PARTS).map(|_| HashMap::new()).collect(),
            hasher: RandomState::new(),
            removed: 0,
            removed_by_other_rules: 0,
            removed_for_room: 0,
            order: BTreeMap::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Takes so many bytes at most, from the next publication on.
    pub fn set_room(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Bytes that history takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is room again, and not just for the next publication.
    pub fn is_calm(&self) -> bool {
        self.bytes < self.max_bytes / 4 * 3
    }

    /// Keeps a publication, which has the highest sequence of all. How many
    /// others went early to make room for it.
    pub fn append(
        &mut self,
        sequence: u64,
        publication: Arc<Publication>,
        ttl: Option<u64>,
        history: History,
    ) -> u64 {
        let now = publication.time;
        let expires = ttl.map_or(u64::MAX, |ttl| now.saturating_add(ttl));
        let part = &mut self.parts[part_of(&self.hasher, &publication.channel)];
        let log = match part.get_mut(&publication.channel) {
            Some(log) => log,
            None => part
                .entry(publication.channel.clone())
                .or_insert_with(|| ChannelLog::new(sequence, &publication.channel)),
        };
        let channel = publication.channel.clone();
        log.next_expiry = log.next_expiry.min(expires);
        log.max_age = history.max_age.as_millis();
        log.push(Entry { sequence, expires, publication });
        log.trim(history, now);
        note(log, &channel, &mut self.order, &mut self.bytes);
        self.make_room(sequence, now)
    }

    /// Drops the oldest until the rest has room; never the newest, whose
    /// publisher hears in a moment that it is kept. How many went early.
    fn make_room(&mut self, newest: u64, now: u64) -> u64 {
        let mut early = 0;
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.order.first_entry() else { break };
            if *oldest.key() >= newest {
                break;
            }
            let channel = oldest.get().clone();
            let part = &mut self.parts[part_of(&self.hasher, &channel)];
            let Some(log) = part.get_mut(&channel) else {
                // A fault of ours; it must not keep the loop going.
                oldest.remove();
                continue;
            };
            early += u64::from(log.pop_early(now));
            if !log.entries.is_empty() {
                note(log, &channel, &mut self.order, &mut self.bytes);
                continue;
            }
            self.removed_for_room = self.removed_for_room.max(log.floor);
            forget(log, &mut self.order, &mut self.bytes);
            part.remove(&channel);
        }
        early
    }

    /// One channel's log, without what the rule doesn't keep.
    pub fn get(
        &mut self,
        channel: &Channel,
        history: History,
        now: u64,
    ) -> Option<&mut ChannelLog> {
        let log = self.parts[part_of(&self.hasher, channel)].get_mut(channel)?;
        log.trim(history, now);
        note(log, channel, &mut self.order, &mut self.bytes);
        Some(log)
    }

    /// Whether something that the channel's rule promises to keep, or a limit
    /// has dropped, is missing after a place. May say so of a place older
    /// than the rule's `maxAge` where nothing is missing; never the reverse.
    pub fn lost(&mut self, channel: &Channel, place: Place, history: History, now: u64) -> bool {
        if let Some(log) = self.get(channel, history, now) {
            if place.sequence < log.floor {
                return true;
            }
            if place.sequence >= log.born {
                return false;
            }
        }
        let max_age = history.max_age.as_millis();
        let old = now.saturating_sub(place.next) > max_age;
        place.sequence < self.removed_by_other_rules.max(self.removed_for_room)
            || (old && place.sequence < self.removed)
    }

    /// When the publication of a sequence came, if one of this channel has it
    /// and is still here.
    pub fn time_of(&self, channel: &Channel, sequence: u64) -> Option<u64> {
        self.parts[part_of(&self.hasher, channel)].get(channel)?.time_of(sequence)
    }

    /// The rules are not what they were.
    pub fn rules_changed(&mut self) {
        self.removed_by_other_rules = self.removed;
    }

    /// Drops what isn't kept any more from one of the [`PARTS`].
    pub fn sweep(
        &mut self,
        part: usize,
        now: u64,
        mut history_of: impl FnMut(&Channel) -> Option<History>,
    ) {
        let Some(part) = self.parts.get_mut(part) else { return };
        let (order, bytes, removed) = (&mut self.order, &mut self.bytes, &mut self.removed);
        part.retain(|channel, log| {
            let keep = log.sweep(history_of(channel), now);
            if keep {
                note(log, channel, order, bytes);
            } else {
                *removed = log.floor.max(*removed);
                forget(log, order, bytes);
            }
            keep
        });
        if part.capacity() > 4 * part.len().max(16) {
            part.shrink_to(part.len() * 2);
        }
    }

    /// Channels of which something is kept or known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }
}

/// A log may have changed: what it takes, and its first publication.
fn note(
    log: &mut ChannelLog,
    channel: &Channel,
    order: &mut BTreeMap<u64, Channel>,
    bytes: &mut usize,
) {
    *bytes = *bytes - log.counted + log.bytes;
    log.counted = log.bytes;
    let first = log.first();
    if log.place != first {
        let channel = order.remove(&log.place).unwrap_or_else(|| channel.clone());
        order.insert(first, channel);
        log.place = first;
    }
}

/// A log goes.
fn forget(log: &ChannelLog, order: &mut BTreeMap<u64, Channel>, bytes: &mut usize) {
    order.remove(&log.place);
    *bytes -= log.counted;
}

fn part_of(hasher: &RandomState, channel: &Channel) -> usize {
    // The remainder is below PARTS.
    #[allow(clippy::cast_possible_truncation)]
    {
        (hasher.hash_one(channel) % PARTS as u64) as usize
    }
}
