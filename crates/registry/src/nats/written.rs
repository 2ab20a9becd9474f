//! What this handle wrote: a read that shows less is too old.

use std::collections::HashMap;

use crate::{Key, Prefix, Revision};

/// The highest revision that this handle wrote of each key: of all keys written lately, not for ever.
#[derive(Debug, Default)]
pub(super) struct Written {
    young: HashMap<Key, Revision>,
    old: HashMap<Key, Revision>,
}

/// So many keys are remembered at least. A server that lags behind by more writes is not one that still answers.
const KEYS_MIN: usize = 65_536;

impl Written {
    pub(super) fn add(&mut self, key: &Key, revision: Revision) {
        if self.young.len() == KEYS_MIN && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
        let known = self.young.entry(key.clone()).or_default();
        *known = revision.max(*known);
    }

    pub(super) fn of(&self, key: &Key) -> Revision {
        let found = self.young.get(key).or_else(|| self.old.get(key));
        found.copied().unwrap_or_default()
    }

    pub(super) fn below(&self, prefix: &Prefix) -> Revision {
        let all = self.young.iter().chain(&self.old);
        let below = all.filter(|(key, _)| prefix.holds(key));
        below
            .map(|(_, revision)| *revision)
            .max()
            .unwrap_or_default()
    }
}
