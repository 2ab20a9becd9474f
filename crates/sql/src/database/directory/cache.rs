//! Homes that were looked up, as many as fit.

use std::collections::HashMap;

use crate::plan::HomeKey;

/// How many keys are kept in each of two halves. When the younger is full, the older is forgotten, so that what is used
/// stays.
const HALF: usize = 32_768;

type Half = HashMap<HomeKey, Option<usize>, foldhash::fast::RandomState>;

/// Homes that were looked up; `None` for keys that have no entry.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: Half,
    old: Half,
    /// How often what is kept has become wrong: what was read before may not be kept any more.
    version: u64,
}

impl Cache {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn find(&mut self, key: &HomeKey) -> Option<Option<usize>> {
        if let Some(home) = self.young.get(key) {
            return Some(*home);
        }
        let (key, home) = self.old.remove_entry(key)?;
        self.put(key, home);
        Some(home)
    }

    /// Keeps what was read when the version was that.
    pub(super) fn keep(&mut self, version: u64, key: &HomeKey, home: Option<usize>) {
        if version == self.version {
            self.put(key.clone(), home);
        }
    }

    /// The entry of a key is that now.
    pub(super) fn set(&mut self, key: HomeKey, home: Option<usize>) {
        self.forget(&key);
        self.put(key, home);
    }

    /// The entry of a key has changed, or may have.
    pub(super) fn forget(&mut self, key: &HomeKey) {
        self.version += 1;
        self.young.remove(key);
        self.old.remove(key);
    }

    fn put(&mut self, key: HomeKey, home: Option<usize>) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, home);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: i64) -> HomeKey {
        HomeKey {
            space: "users".into(),
            key: number.into(),
        }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let mut cache = Cache::default();
        let before = cache.version();
        cache.forget(&key(1));
        cache.keep(before, &key(1), None);
        assert_eq!(cache.find(&key(1)), None);
        cache.keep(cache.version(), &key(1), Some(3));
        assert_eq!(cache.find(&key(1)), Some(Some(3)));
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let mut cache = Cache::default();
        for number in 0..200_000 {
            cache.keep(0, &key(number), Some(1));
            assert_eq!(cache.find(&key(0)), Some(Some(1)), "after {number}");
        }
        assert_eq!(cache.find(&key(1)), None);
        assert!(cache.young.len() + cache.old.len() <= 2 * HALF);
    }
}
