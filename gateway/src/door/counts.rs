//! How many connections each has who has any.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks, so that the shards seldom wait for each other.
const PARTS: usize = 64;

/// Counts by key. A key is there while its count is over 0.
pub struct Counts<K> {
    parts: [Mutex<HashMap<K, usize>>; PARTS],
    hash: RandomState,
}

/// One more of a key. Dropped: one less.
pub struct Counted<K: Hash + Eq> {
    counts: Arc<Counts<K>>,
    key: K,
}

// === impl Counts ===

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()), hash: RandomState::new() }
    }
}

impl<K: Hash + Eq + Clone> Counts<K> {
    /// One more; none when there are `most`.
    pub fn add(self: &Arc<Self>, key: K, most: usize) -> Option<Counted<K>> {
        let mut part = self.part(&key);
        let count = part.entry(key.clone()).or_insert(0);
        let full = *count >= most.max(1);
        if !full {
            *count += 1;
        }
        drop(part);
        (!full).then(|| Counted { counts: self.clone(), key })
    }

    /// Keys that have any.
    #[cfg(test)]
    pub fn keys(&self) -> usize {
        self.parts
            .iter()
            .map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }
}

impl<K: Hash + Eq> Counts<K> {
    fn part(&self, key: &K) -> MutexGuard<'_, HashMap<K, usize>> {
        #[allow(clippy::cast_possible_truncation)] // Its low bits are as good.
        let hash = self.hash.hash_one(key) as usize;
        // A count is right after every line of what is done under the lock.
        self.parts[hash % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counted ===

impl<K: Hash + Eq> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut part = self.counts.part(&self.key);
        let Some(count) = part.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            part.remove(&self.key);
            // What a flood took is given back.
            if part.capacity() > 4 * part.len().max(64) {
                part.shrink_to_fit();
            }
        }
    }
}
