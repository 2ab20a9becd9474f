//! The simulated store: compare-and-set on keys, with its whole history, so that it can show an earlier state.

use std::collections::BTreeMap;

use shardwright_registry::{Key, Prefix, Revision, Stored};

use super::Pid;

/// One change of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<V> {
    /// The key.
    pub key: Key,
    /// The new value; `None` if it was deleted.
    pub value: Option<V>,
    /// The revision that the change got.
    pub revision: Revision,
    /// Who made it.
    pub author: Pid,
}

impl<V> Change<V> {
    /// Returns the record that the change made, if it made one.
    pub fn into_stored(self) -> Option<Stored<V>> {
        let Self {
            key,
            value,
            revision,
            ..
        } = self;
        value.map(|value| Stored {
            key,
            value,
            revision,
        })
    }
}

/// A change that a process asks for.
#[derive(Debug, Clone)]
pub struct Write<V> {
    /// The key.
    pub key: Key,
    /// The revision that it must have; `None` if it must have no value.
    pub expected: Option<Revision>,
    /// The new value; `None` to delete.
    pub value: Option<V>,
}

/// The values of a simulated store, and how they came about.
#[derive(Debug)]
pub struct Store<V> {
    entries: BTreeMap<Key, Stored<V>>,
    log: Vec<Change<V>>,
}

impl<V: Clone> Store<V> {
    pub(super) fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    /// Returns what a key truly holds now.
    pub fn get(&self, key: &Key) -> Option<&Stored<V>> {
        self.entries.get(key)
    }

    /// Returns all that is truly stored now.
    pub fn entries(&self) -> impl Iterator<Item = &Stored<V>> {
        self.entries.values()
    }

    /// Returns the revision of the last change.
    pub fn revision(&self) -> Revision {
        self.log
            .last()
            .map_or(Revision(0), |change| change.revision)
    }

    /// Makes a change, or says what the key holds instead.
    pub(super) fn apply(
        &mut self,
        author: Pid,
        write: Write<V>,
    ) -> Result<Revision, Option<Stored<V>>> {
        let Write {
            key,
            expected,
            value,
        } = write;
        let found = self.entries.get(&key);
        if found.map(|found| found.revision) != expected {
            return Err(found.cloned());
        }
        let revision = Revision(self.revision().0 + 1);
        match &value {
            Some(value) => {
                let stored = Stored {
                    key: key.clone(),
                    value: value.clone(),
                    revision,
                };
                self.entries.insert(key.clone(), stored);
            }
            None => drop(self.entries.remove(&key)),
        }
        self.log.push(Change {
            key,
            value,
            revision,
            author,
        });
        Ok(revision)
    }

    /// What the key held `lag` changes ago, or what the reader itself stored later.
    pub(super) fn lagging_value(&self, reader: Pid, key: &Key, lag: usize) -> Option<Stored<V>> {
        if lag == 0 {
            return self.entries.get(key).cloned();
        }
        let seen = self.log.len().saturating_sub(lag);
        let latest = self.log.iter().enumerate().rev().find(|(place, change)| {
            change.key == *key && (*place < seen || change.author == reader)
        });
        latest.and_then(|(_, change)| change.clone().into_stored())
    }

    /// What was stored below a prefix `lag` changes ago, but no earlier than the reader's last change of its own.
    pub(super) fn lagging_list(
        &self,
        reader: Pid,
        prefix: &Prefix,
        lag: usize,
    ) -> (Vec<Stored<V>>, Revision) {
        if lag == 0 {
            let below = self.entries.values().filter(|each| prefix.holds(&each.key));
            return (below.cloned().collect(), self.revision());
        }
        let own = self.log.iter().rposition(|change| change.author == reader);
        let seen = self
            .log
            .len()
            .saturating_sub(lag)
            .max(own.map_or(0, |own| own + 1));
        let mut entries = BTreeMap::new();
        for change in self.log[..seen]
            .iter()
            .filter(|change| prefix.holds(&change.key))
        {
            match change.clone().into_stored() {
                Some(stored) => entries.insert(change.key.clone(), stored),
                None => entries.remove(&change.key),
            };
        }
        let revision = self.log[..seen]
            .last()
            .map_or(Revision(0), |last| last.revision);
        (entries.into_values().collect(), revision)
    }

    /// The changes from a place in the history on.
    pub(super) fn changes_from(&self, place: usize) -> &[Change<V>] {
        &self.log[place..]
    }

    /// The place in the history behind a revision.
    pub(super) fn place_after(&self, revision: Revision) -> usize {
        self.log
            .partition_point(|change| change.revision <= revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: Pid = Pid(0);
    const OTHER: Pid = Pid(1);

    fn key(name: &str) -> Key {
        Key::new(name).expect("a key")
    }

    fn set(store: &mut Store<u32>, author: Pid, name: &str, value: u32) {
        let expected = store.get(&key(name)).map(|found| found.revision);
        let write = Write {
            key: key(name),
            expected,
            value: Some(value),
        };
        store.apply(author, write).expect("at its revision");
    }

    #[test]
    fn a_write_at_another_revision_changes_nothing_and_says_what_is_there() {
        let mut store = Store::new();
        set(&mut store, OTHER, "a", 1);
        let write = |expected| Write {
            key: key("a"),
            expected,
            value: Some(2),
        };
        let found = store
            .apply(READER, write(None))
            .expect_err("it has a value");
        assert_eq!(found.map(|found| found.value), Some(1));
        assert_eq!(
            store.apply(READER, write(Some(Revision(1)))),
            Ok(Revision(2))
        );
        assert!(store.apply(READER, write(Some(Revision(1)))).is_err());
    }

    #[test]
    fn a_lagging_read_shows_an_earlier_state_but_the_readers_own_changes() {
        let mut store = Store::new();
        set(&mut store, READER, "a", 1);
        set(&mut store, OTHER, "b", 1);
        set(&mut store, OTHER, "b", 2);
        let value = |name, lag| {
            store
                .lagging_value(READER, &key(name), lag)
                .map(|found| found.value)
        };
        assert_eq!(
            (value("a", 3), value("b", 0), value("b", 1)),
            (Some(1), Some(2), Some(1))
        );
        assert_eq!(value("b", 2), None);
        let (entries, revision) = store.lagging_list(READER, &Prefix::all(), 100);
        assert_eq!((entries.len(), revision), (1, Revision(1)));
        let (entries, revision) = store.lagging_list(READER, &Prefix::all(), 1);
        assert_eq!((entries.len(), revision), (2, Revision(2)));
        assert_eq!(store.place_after(revision), 2);
    }
}
