//! Rows and the entries of their keys, in one commit.

use std::collections::BTreeSet;

use super::{
    super::{
        ShardedDatabase,
        atomic::{Commit, Parts},
        state::{PlannedStatement, State},
        unique::Checks,
    },
    entries,
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::{HomeKey, NewHome},
    shards::{Place, Ran},
};

impl ShardedDatabase {
    /// Writes rows and makes the entries of keys that get their homes with them, or does neither. The caller holds the
    /// lock of constrained writes if this is one.
    ///
    /// # Errors
    /// [`Error::HomeTaken`] if one of the keys has an entry by now: the statement is to be planned again.
    pub(in crate::database) fn write_with_homes(
        &self,
        state: &State,
        planned: &PlannedStatement,
        rule: Option<&'static str>,
        parts: &Parts,
        new: &[NewHome],
    ) -> Result<Answer, Error> {
        let checks = state.checks_of(planned.needs_guard);
        self.check_writable()?;
        let written = match self.within() {
            Some(transaction) => transaction.lock().run(state, &checks, rule, parts, new),
            None => self.write_alone_with_homes(&checks, rule, parts, new),
        };
        let tier = if parts.len() > 1 {
            Tier::Broadcast
        } else {
            Tier::Single
        };
        let reason = "the rows, and the homes of their keys";
        let mut answer = Answer::of_changes(Vec::new(), tier, reason);
        answer.columns.clone_from(&planned.columns);
        for (place, ran) in written? {
            answer.add(self.inner.places.name(place), ran);
        }
        Ok(answer)
    }

    fn write_alone_with_homes(
        &self,
        checks: &Checks,
        rule: Option<&'static str>,
        parts: &Parts,
        new: &[NewHome],
    ) -> Result<Vec<(Place, Ran)>, Error> {
        let written =
            self.commit_with(|commit| self.run_with_homes(commit, checks, rule, parts, new));
        match &written {
            Ok(_) => self.keep_homes(new),
            Err(_) => self.forget_homes(new.iter().map(|new| &new.key)),
        }
        written
    }

    fn run_with_homes(
        &self,
        commit: &mut Commit,
        checks: &Checks,
        rule: Option<&'static str>,
        parts: &Parts,
        new: &[NewHome],
    ) -> Result<Vec<(Place, Ran)>, Error> {
        let entries = new.iter().map(|new| Place::Shard(new.entry));
        let places: BTreeSet<Place> = parts.keys().copied().chain(entries).collect();
        for place in places {
            commit.enlist(place, checks.watching(place))?;
        }
        self.put_homes(commit, new)?;
        // Only several engines know a statement before it is made, and these have no directory.
        let ran = self
            .run_in(commit, checks, rule, parts)?
            .unwrap_or_default();
        if ran.iter().all(|(_, ran)| ran.outcome.changes == 0) {
            // OR IGNORE: no row has come.
            remove_homes(commit, new)?;
        }
        Ok(ran)
    }

    /// Makes entries in a commit that has their places: all of them, or none and the error.
    pub(in crate::database) fn put_homes(
        &self,
        commit: &mut Commit,
        new: &[NewHome],
    ) -> Result<(), Error> {
        for (index, each) in new.iter().enumerate() {
            let name = self.inner.places.name(Place::Shard(each.shard));
            let ran = commit.run(Place::Shard(each.entry), entries::put(each, name))?;
            if ran.outcome.changes == 0 {
                self.forget_homes([&each.key]);
                remove_homes(commit, &new[..index])?;
                return Err(Error::HomeTaken {
                    space: each.key.space.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Remembers entries that are lasting.
    fn keep_homes(&self, new: &[NewHome]) {
        let mut cache = self.key_directory().cache.lock();
        for new in new {
            cache.set(new.key.clone(), Some(new.shard));
        }
    }

    /// Forgets what was known of keys whose entries may have changed.
    pub(in crate::database) fn forget_homes<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k HomeKey>,
    ) {
        let mut cache = self.key_directory().cache.lock();
        for key in keys {
            cache.forget(key);
        }
    }
}

/// Removes entries in the commit that has made them.
pub(in crate::database) fn remove_homes(commit: &mut Commit, new: &[NewHome]) -> Result<(), Error> {
    for new in new {
        commit.run(Place::Shard(new.entry), entries::remove(&new.key))?;
    }
    Ok(())
}
