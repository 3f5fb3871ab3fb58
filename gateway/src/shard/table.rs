//! Sessions by the names that they carry: an entry is one pointer, and the
//! name is in memory once.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// What has a name that never changes.
pub trait Named {
    /// Its name, no other's.
    fn name(&self) -> &str;
}

/// Things by their names.
pub struct Table<T>(HashSet<Entry<T>>);

struct Entry<T>(Rc<T>);

// === impl Table ===

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HashSet::default())
    }
}

impl<T: Named> Table<T> {
    /// Puts it in; one of the same name goes.
    pub fn insert(&mut self, new: Rc<T>) {
        self.0.replace(Entry(new));
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<Rc<T>> {
        self.0.get(name).map(|Entry(found)| found.clone())
    }

    /// Whether one has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Takes the one of this name out.
    pub fn remove(&mut self, name: &str) {
        if self.0.remove(name) && self.0.capacity() > 4 * self.0.len().max(256) {
            // A crowd that has gone leaves no room behind.
            self.0.shrink_to(self.0.len() * 2);
        }
    }

    /// All that are there now.
    pub fn all(&self) -> Vec<Rc<T>> {
        self.iter().cloned().collect()
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<T>> {
        self.0.iter().map(|Entry(entry)| entry)
    }
}

// === impl Entry ===

impl<T: Named> Borrow<str> for Entry<T> {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl<T: Named> Hash for Entry<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl<T: Named> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl<T: Named> Eq for Entry<T> {}
