//! Answers that said how long they hold.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest time for which an answer is kept, whatever it says.
const LONGEST: Duration = Duration::from_hours(1);

/// A bounded number of answers; when it is full the oldest goes.
pub(super) struct Cache<T> {
    most: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    answers: HashMap<[u8; 32], Kept<T>>,
    /// Keys in the order in which they came, each with its number: one that
    /// was put again since has another.
    order: VecDeque<([u8; 32], u64)>,
    next: u64,
}

struct Kept<T> {
    answer: T,
    until: Instant,
    number: u64,
}

// === impl Cache ===

impl<T: Clone> Cache<T> {
    pub(super) fn new(most: usize) -> Self {
        let state = State { answers: HashMap::new(), order: VecDeque::new(), next: 0 };
        Self { most, state: Mutex::new(state) }
    }

    pub(super) fn get(&self, key: &[u8; 32]) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = state.answers.get(key)?;
        if kept.until > Instant::now() {
            return Some(kept.answer.clone());
        }
        state.answers.remove(key);
        None
    }

    /// Keeps an answer for so long; none: not at all.
    pub(super) fn put(&self, key: [u8; 32], answer: &T, ttl: Option<Duration>) {
        let Some(ttl) = ttl.filter(|ttl| !ttl.is_zero() && self.most > 0) else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let number = state.next;
        state.next += 1;
        let until = Instant::now() + ttl.min(LONGEST);
        state.answers.insert(key, Kept { answer: answer.clone(), until, number });
        state.order.push_back((key, number));
        // Answers, and places of those that are gone since.
        while state.answers.len() > self.most || state.order.len() > self.most * 2 {
            let Some((key, number)) = state.order.pop_front() else { break };
            if state.answers.get(&key).is_some_and(|kept| kept.number == number) {
                state.answers.remove(&key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.answers.len(), state.order.len())
    }
}
