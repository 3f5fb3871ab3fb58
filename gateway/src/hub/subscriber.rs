//! One session as the hub knows it: where its publications go, in which
//! form, and whether they must wait behind a replay.

use std::cell::RefCell;
use std::rc::Rc;

use super::{CloseReason, Form, Outbox};
use crate::protocol::engineio::Message;

/// A session's receiving end.
pub struct Subscriber {
    /// Its id, for `except`.
    pub sid: Box<str>,
    /// What its publications look like.
    pub form: Form,
    /// What waits for its connection.
    pub outbox: Rc<Outbox>,
    hold: RefCell<Hold>,
}

/// Live publications that wait behind a replay.
#[derive(Default)]
struct Hold {
    /// Replays under way; live publications wait while there is one.
    depth: usize,
    waiting: Vec<Message>,
    bytes: usize,
}

// === impl Subscriber ===

impl Subscriber {
    /// A session whose publications go straight to its outbox.
    pub fn new(sid: Box<str>, form: Form, outbox: Rc<Outbox>) -> Rc<Self> {
        Rc::new(Self { sid, form, outbox, hold: RefCell::default() })
    }

    /// Hands over a live publication. True: the outbox waits for a flush that
    /// nobody has asked for yet.
    pub fn deliver(&self, message: &Message, direct: bool) -> bool {
        let mut hold = self.hold.borrow_mut();
        if hold.depth > 0 {
            hold.bytes += message.len();
            hold.waiting.push(message.clone());
            let limits = self.outbox.limits();
            if hold.bytes > limits.bytes || hold.waiting.len() > limits.messages {
                // Resumable: the client comes back from the offset that it has.
                self.outbox.end(CloseReason::SlowConsumer);
                *hold = Hold { depth: hold.depth, ..Hold::default() };
            }
            return false;
        }
        if direct {
            self.outbox.send_now(message);
            return false;
        }
        self.outbox.queue(message) && self.outbox.soil()
    }

    /// From now on live publications wait.
    pub fn hold(&self) {
        self.hold.borrow_mut().depth += 1;
    }

    /// Whether live publications wait.
    pub fn is_held(&self) -> bool {
        self.hold.borrow().depth > 0
    }

    /// The replay is in the outbox: what waited follows it.
    pub fn release(&self) {
        let mut hold = self.hold.borrow_mut();
        hold.depth = hold.depth.saturating_sub(1);
        if hold.depth > 0 {
            return;
        }
        hold.bytes = 0;
        let waiting = std::mem::take(&mut hold.waiting);
        drop(hold);
        for message in &waiting {
            if !self.outbox.queue(message) {
                return;
            }
        }
        self.outbox.flush();
    }
}
