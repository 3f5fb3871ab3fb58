//! One session as the hub knows it: where its publications go, in which
//! form, and whether they must wait behind a replay.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::droppable::Droppable;
use super::outbox::queue::Queue;
use super::{CloseReason, Form, Outbox};
use crate::protocol::engineio::Message;

/// A session's receiving end.
pub struct Subscriber {
    /// Its id, for `except`.
    pub sid: Arc<str>,
    /// What its publications look like.
    pub form: Form,
    /// What waits for its connection.
    pub outbox: Rc<Outbox>,
    hold: RefCell<Option<Box<Hold>>>,
}

/// Live publications that wait behind a replay.
#[derive(Default)]
struct Hold {
    /// Replays under way; live publications wait while there is one.
    depth: usize,
    waiting: Queue,
}

// === impl Subscriber ===

impl Subscriber {
    /// A session whose publications go straight to its outbox.
    pub fn new(sid: Arc<str>, form: Form, outbox: Rc<Outbox>) -> Rc<Self> {
        Rc::new(Self { sid, form, outbox, hold: RefCell::default() })
    }

    /// Hands over a live publication, which may be one that is dropped rather
    /// than too much. True: the outbox waits for a flush that nobody has
    /// asked for yet.
    pub fn deliver(
        &self,
        message: &Message,
        droppable: Option<&Droppable<'_>>,
        direct: bool,
    ) -> bool {
        if let Some(hold) = &mut *self.hold.borrow_mut() {
            let limits = self.outbox.limits();
            hold.waiting.push(message.clone(), droppable);
            hold.waiting.shed(limits);
            if hold.waiting.exceeds(limits) {
                // Resumable: the client comes back from the offset that it has.
                self.outbox.end(CloseReason::SlowConsumer);
                hold.waiting = Queue::default();
            }
            return false;
        }
        if direct {
            self.outbox.offer(message, droppable);
            return false;
        }
        self.outbox.queue_publication(message, droppable) && self.outbox.soil()
    }

    /// From now on live publications wait.
    pub fn hold(&self) {
        self.hold.borrow_mut().get_or_insert_default().depth += 1;
    }

    /// Whether live publications wait.
    pub fn is_held(&self) -> bool {
        self.hold.borrow().is_some()
    }

    /// The replay is in the outbox: what waited follows it.
    pub fn release(&self) {
        let Some(mut hold) = self.hold.take() else { return };
        hold.depth = hold.depth.saturating_sub(1);
        if hold.depth > 0 {
            self.hold.replace(Some(hold));
            return;
        }
        // Some of those that waited may have been dropped already, and others
        // still may be.
        let lost = hold.waiting.take_losses();
        let dropping = lost.map(|(losses, dropping)| {
            self.outbox.add_losses(losses, self.form, &dropping);
            dropping
        });
        while let Some((message, mark)) = hold.waiting.pop() {
            let droppable = mark.as_ref().zip(dropping.as_ref());
            let droppable = droppable.map(|(mark, dropping)| mark.droppable(self.form, dropping));
            if !self.outbox.queue_publication(&message, droppable.as_ref()) {
                return;
            }
        }
        self.outbox.flush();
    }
}
