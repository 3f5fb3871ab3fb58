//! Which of the messages that wait may be dropped, and what was.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::channel::Channel;
use crate::hub::Form;
use crate::hub::droppable::{Droppable, Dropping, Loss, Losses, Policy};
use crate::protocol::engineio::Message;

/// What a queue knows of droppable messages. A place is an index of the
/// queue; a number is a place that stays the same while the front moves.
pub(super) struct Drops {
    /// The number of the queue's front.
    front: i64,
    /// Those that go first, oldest first.
    oldest: VecDeque<Mark>,
    /// Those of the policy `latest`, oldest first.
    latest: VecDeque<Mark>,
    /// Of each channel the newest of them.
    newest: HashMap<(u16, Channel), i64>,
    /// What is still to be told.
    pub(super) losses: Losses,
    /// Notices in the queue of which nothing is written, in its order. They
    /// stand in front of all that may be dropped.
    announced: VecDeque<Loss>,
    form: Form,
    pub(super) dropping: Rc<Dropping>,
}

/// A message that may be dropped.
pub(in crate::hub) struct Mark {
    number: i64,
    namespace: u16,
    channel: Channel,
    policy: Policy,
}

// === impl Drops ===

impl Drops {
    pub(super) fn new(first: &Droppable<'_>) -> Box<Self> {
        Self::empty(first.form, first.dropping)
    }

    pub(super) fn empty(form: Form, dropping: &Rc<Dropping>) -> Box<Self> {
        Box::new(Self {
            front: 0,
            oldest: VecDeque::new(),
            latest: VecDeque::new(),
            newest: HashMap::new(),
            losses: Losses::default(),
            announced: VecDeque::new(),
            form,
            dropping: dropping.clone(),
        })
    }

    /// A message at this place, the queue's last, may be dropped.
    pub(super) fn mark(&mut self, place: usize, droppable: &Droppable<'_>) {
        let number = self.number(place);
        let namespace = droppable.form.namespace;
        let (channel, policy) = (droppable.channel.clone(), droppable.policy);
        let mark = Mark { number, namespace, channel, policy };
        match policy {
            Policy::Oldest => self.oldest.push_back(mark),
            Policy::Latest => {
                self.newest.insert((namespace, mark.channel.clone()), number);
                self.latest.push_back(mark);
            }
        }
    }

    /// The place of the one that a publication of the policy `latest`
    /// replaces.
    pub(super) fn older(&self, droppable: &Droppable<'_>) -> Option<usize> {
        let key = (droppable.form.namespace, droppable.channel.clone());
        self.newest.get(&key).and_then(|number| self.place(*number))
    }

    /// One was dropped.
    pub(super) fn lost(&mut self, namespace: u16, channel: &Channel, policy: Policy) {
        self.dropping.count(policy);
        self.losses.add(namespace, channel, policy);
    }

    /// Drops the next one: its place, from which the queue removes it.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        let mark = match self.oldest.pop_front() {
            Some(mark) => mark,
            None => self.pop_latest()?,
        };
        let place = self.place(mark.number)?;
        self.lost(mark.namespace, &mark.channel, mark.policy);
        // What stood before it moves one place back, so that all others keep
        // their numbers.
        self.front += 1;
        for other in self.latest.iter_mut().take_while(|other| other.number < mark.number) {
            let newest = self.newest.get_mut(&(other.namespace, other.channel.clone()));
            if let Some(number) = newest.filter(|number| **number == other.number) {
                *number += 1;
            }
            other.number += 1;
        }
        Some(place)
    }

    /// The front begins to go: what was known of it.
    pub(super) fn begin(&mut self) -> Option<Mark> {
        if self.announced.pop_front().is_some() {
            return None;
        }
        let front = self.front;
        let is_front = |marks: &VecDeque<Mark>| marks.front().is_some_and(|m| m.number == front);
        if is_front(&self.oldest) {
            return self.oldest.pop_front();
        }
        if is_front(&self.latest) { self.pop_latest() } else { None }
    }

    /// The front is gone.
    pub(super) fn leave(&mut self) {
        self.front += 1;
    }

    /// Takes back the notices that nobody has been sent: so many stand in the
    /// queue, one behind the other.
    pub(super) fn retract(&mut self) -> usize {
        let count = self.announced.len();
        // The older losses first: those that have a name keep it.
        let newer = self.losses.take();
        for loss in self.announced.drain(..).chain(newer) {
            self.losses.add_loss(loss);
        }
        self.front += places(count);
        count
    }

    /// What is to be told now, in front of all that is not begun.
    pub(super) fn announce(&mut self) -> Vec<Message> {
        let losses = self.losses.take();
        let notices: Vec<_> =
            losses.iter().map(|loss| self.dropping.notice(loss, self.form)).collect();
        self.front -= places(notices.len());
        self.announced = losses.into();
        notices
    }

    fn pop_latest(&mut self) -> Option<Mark> {
        let mark = self.latest.pop_front()?;
        let key = (mark.namespace, mark.channel.clone());
        if self.newest.get(&key) == Some(&mark.number) {
            self.newest.remove(&key);
        }
        Some(mark)
    }

    fn number(&self, place: usize) -> i64 {
        self.front + places(place)
    }

    fn place(&self, number: i64) -> Option<usize> {
        usize::try_from(number - self.front).ok()
    }
}

/// So many places as a difference of numbers. A queue is never longer than
/// memory, and no connection lives for 2^63 messages.
fn places(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

// === impl Mark ===

impl Mark {
    /// To be marked again, in another queue.
    pub(in crate::hub) fn droppable<'a>(
        &'a self,
        form: Form,
        dropping: &'a Rc<Dropping>,
    ) -> Droppable<'a> {
        Droppable { channel: &self.channel, policy: self.policy, form, dropping }
    }
}
