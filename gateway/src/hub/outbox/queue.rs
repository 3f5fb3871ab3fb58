//! Messages that wait for one connection, in order. Those of channels whose
//! rule says so may be dropped from among them; then the client is told, in
//! front of what it gets next.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use super::OutboxLimits;
use super::drops::{Drops, Mark};
use crate::hub::Form;
use crate::hub::droppable::{Droppable, Dropping, Losses, Policy};
use crate::protocol::engineio::{Message, Wire};

#[cfg(test)]
mod tests;

/// Messages that wait.
#[derive(Default)]
pub(in crate::hub) struct Queue {
    entries: VecDeque<Entry>,
    /// Of the entries, those that are still to be encoded.
    later: usize,
    /// Bytes that wait, without what is written of the front, and without
    /// what is replayed.
    bytes: usize,
    /// Frames that wait: a message with attachments is several.
    frames: usize,
    /// Bytes of the front that are written.
    written: usize,
    /// Only while there is something that may be dropped, or was.
    drops: Option<Box<Drops>>,
}

/// A part of a replay, which is encoded when its turn comes: all at once, a
/// replay of large publications would take many times what may wait.
pub type Later = Box<dyn FnOnce() -> Message>;

/// One message that waits.
enum Entry {
    /// It counts.
    Live(Message),
    /// It is of a replay, which may be longer than what may wait otherwise:
    /// closed for it, the client would come back for the same. In a box, so
    /// that the others are no larger for it.
    Replayed(Box<Message>),
    /// The same, until it is encoded.
    Later(Option<Later>),
}

// === impl Queue ===

impl Queue {
    /// Whether there is nothing to send: no message, and no loss to tell.
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.drops.is_none()
    }

    /// Whether more waits than may.
    pub(in crate::hub) fn exceeds(&self, limits: OutboxLimits) -> bool {
        self.bytes > limits.bytes || self.frames > limits.messages
    }

    // --- in ---

    pub(in crate::hub) fn push(&mut self, message: Message, droppable: Option<&Droppable<'_>>) {
        if let Some(droppable) = droppable {
            let place = self.entries.len();
            self.drops.get_or_insert_with(|| Drops::new(droppable)).mark(place, droppable);
        }
        self.add(&message);
        self.entries.push_back(Entry::Live(message));
    }

    /// Parts of a replay.
    pub(super) fn push_replay(&mut self, replay: Vec<Later>) {
        self.later += replay.len();
        self.entries.extend(replay.into_iter().map(|later| Entry::Later(Some(later))));
    }

    /// A message of which so much is written already. Nothing waits before it.
    pub(super) fn push_begun(&mut self, message: Message, written: usize) {
        self.push(message, None);
        self.written = written;
        self.bytes -= written;
    }

    /// Whether one waits that a publication of the policy `latest` replaces.
    pub(super) fn has_older(&self, droppable: &Droppable<'_>) -> bool {
        self.drops.as_ref().is_some_and(|drops| drops.older(droppable).is_some())
    }

    /// Puts a publication into the place of the one that waits: so a channel
    /// that always has a newer one gets its turn all the same. False: none
    /// waits.
    pub(super) fn replace(&mut self, message: &Message, droppable: &Droppable<'_>) -> bool {
        let Some(drops) = &mut self.drops else { return false };
        let place = drops.older(droppable);
        let Some(Entry::Live(waiting)) = place.and_then(|place| self.entries.get_mut(place)) else {
            return false;
        };
        let older = std::mem::replace(waiting, message.clone());
        drops.lost(droppable.form.namespace, droppable.channel, Policy::Latest);
        self.add(message);
        self.subtract(&older);
        true
    }

    /// Drops what may be dropped, the oldest first, until no more waits than
    /// may, or nothing is left to drop. Of a channel of the policy `latest`
    /// the last one goes too, but only when nothing else is left.
    pub(in crate::hub) fn shed(&mut self, limits: OutboxLimits) {
        while self.exceeds(limits) {
            let Some(drops) = &mut self.drops else { return };
            let Some(Entry::Live(message)) =
                drops.drop_oldest().and_then(|place| self.entries.remove(place))
            else {
                return;
            };
            self.subtract(&message);
        }
    }

    /// Remembers losses that others have counted.
    pub(in crate::hub) fn add_losses(
        &mut self,
        mut losses: Losses,
        form: Form,
        dropping: &Rc<Dropping>,
    ) {
        if losses.is_empty() {
            return;
        }
        let drops = self.drops.get_or_insert_with(|| Drops::empty(form, dropping));
        for loss in losses.take() {
            drops.losses.add_loss(loss);
        }
    }

    // --- out ---

    /// To be called where something is about to be sent: tells losses, and
    /// encodes of a replay so many bytes or entries at the front.
    pub(super) fn prepare(&mut self, bytes: usize, entries: usize) {
        self.announce();
        if self.later == 0 {
            return;
        }
        let mut ready = 0;
        for entry in self.entries.iter_mut().take(entries) {
            if let Entry::Later(later) = entry {
                let Some(later) = later.take() else { return };
                *entry = Entry::Replayed(Box::new(later()));
                self.later -= 1;
            }
            ready += entry.message().map_or(0, Message::len);
            if ready >= bytes {
                return;
            }
        }
    }

    /// Puts notices of what was dropped in front of all that is not begun:
    /// a loss is told before the channel's next publication.
    fn announce(&mut self) {
        let Some(drops) = self.drops.as_mut().filter(|drops| !drops.losses.is_empty()) else {
            return;
        };
        let front = usize::from(self.written > 0);
        // Notices that are still here are told anew, with what came since:
        // there are never more than there are names.
        for _ in 0..drops.retract() {
            if let Some(Entry::Live(notice)) = self.entries.remove(front) {
                self.bytes -= notice.len();
                self.frames -= notice.count();
            }
        }
        for (index, notice) in drops.announce().into_iter().enumerate() {
            self.bytes += notice.len();
            self.frames += notice.count();
            self.entries.insert(front + index, Entry::Live(notice));
        }
    }

    /// What is to be written next, of what is prepared, as many pieces as
    /// there is room for.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut skip, mut count) = (self.written, 0);
        for frame in self.wires().map(Wire::frame) {
            if skip >= frame.len() {
                skip -= frame.len();
                continue;
            }
            let Some(slice) = slices.get_mut(count) else { break };
            *slice = IoSlice::new(&frame[skip..]);
            skip = 0;
            count += 1;
        }
        count
    }

    /// Takes written bytes off.
    pub(super) fn consume(&mut self, mut written: usize) {
        while written > 0
            && let Some(front) = self.entries.front()
            && let Some(message) = front.message()
        {
            let rest = message.len() - self.written;
            let now = written.min(rest);
            if matches!(front, Entry::Live(_)) {
                self.bytes -= now;
            }
            if self.written == 0 {
                self.begin();
            }
            written -= now;
            self.written += now;
            if now == rest {
                self.written = 0;
                self.leave();
            }
        }
    }

    /// Takes the front, none of which is written, and what was said of it.
    pub(in crate::hub) fn pop(&mut self) -> Option<(Message, Option<Mark>)> {
        if let Some(Entry::Live(message)) = self.entries.front() {
            self.bytes -= message.len();
        }
        let mark = self.begin();
        Some((self.leave()?, mark))
    }

    /// The frames that are prepared, in order.
    pub(super) fn wires(&self) -> impl Iterator<Item = &Wire> {
        self.entries.iter().map_while(Entry::message).flat_map(Message::wires)
    }

    /// Takes those frames off.
    pub(super) fn take_prepared(&mut self) {
        if self.later == 0 {
            *self = Self::default();
            return;
        }
        while self.entries.front().is_some_and(|front| front.message().is_some()) {
            self.pop();
        }
    }

    /// The losses that nobody has told yet, and what tells them.
    pub(in crate::hub) fn take_losses(&mut self) -> Option<(Losses, Rc<Dropping>)> {
        let drops = self.drops.as_mut()?;
        let losses = std::mem::take(&mut drops.losses);
        let dropping = drops.dropping.clone();
        self.free();
        Some((losses, dropping))
    }

    /// The front goes: it can't be dropped any more.
    fn begin(&mut self) -> Option<Mark> {
        self.drops.as_mut()?.begin()
    }

    fn leave(&mut self) -> Option<Message> {
        let entry = self.entries.pop_front()?;
        if let Some(drops) = &mut self.drops {
            drops.leave();
        }
        self.free();
        match entry {
            Entry::Live(message) => {
                self.frames -= message.count();
                Some(message)
            }
            Entry::Replayed(message) => Some(*message),
            Entry::Later(later) => {
                self.later -= 1;
                later.map(|later| later())
            }
        }
    }

    /// Nearly all of the time nothing waits: an idle connection keeps no room
    /// for it.
    fn free(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
            self.drops.take_if(|drops| drops.losses.is_empty());
        }
    }

    fn add(&mut self, message: &Message) {
        self.bytes += message.len();
        self.frames += message.count();
    }

    fn subtract(&mut self, message: &Message) {
        self.bytes -= message.len();
        self.frames -= message.count();
    }
}

// === impl Entry ===

impl Entry {
    /// What it is, if it is encoded.
    fn message(&self) -> Option<&Message> {
        match self {
            Self::Live(message) => Some(message),
            Self::Replayed(message) => Some(message),
            Self::Later(_) => None,
        }
    }
}
