//! Moving the rows of a key to another shard.

use std::collections::BTreeSet;

use shardwright_store::Value;

use super::{
    super::{
        ShardedDatabase,
        atomic::{Commit, Parts},
        state::State,
    },
    entries,
    rows::KeyRows,
};
use crate::{
    error::Error,
    key::Key,
    plan::{HomeKey, Homes, Purpose},
    shards::{FaultKind, Place, Watching},
};

/// A key that was given another home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassigned {
    /// The shard that its rows were on.
    pub from: String,
    /// The shard that they are on now.
    pub to: String,
    /// How many rows were moved, of all tables of the key space.
    pub rows: u64,
}

/// One move.
struct Move<'a> {
    key: &'a HomeKey,
    from: usize,
    to: usize,
    entry: usize,
}

impl ShardedDatabase {
    /// Makes a shard the home of a key, and moves all rows of the key there: those of every table of its key space, in one
    /// commit with the entry of the directory. Also after a crash they are all on one shard, and the entry says on which. A
    /// key without rows gets the home that its first row will go to.
    ///
    /// Without a table, the key space must be the only one, or named by the key. Statements that find rows by their keys are
    /// waited for, and those that come meanwhile wait. Triggers are not run. The rows are in memory once, within
    /// [`Limits`](crate::Limits).
    ///
    /// # Errors
    /// [`Error::Unsupported`] without a directory, [`Error::UnknownShard`], [`Error::AmbiguousKey`], [`Error::NullKey`], a retryable
    /// error if transactions that are open do not end in time, [`Error::Constraint`] if a foreign key is in the way, and what
    /// a place says. Nothing has moved then.
    #[doc(alias = "reassignShard")]
    pub fn reassign_shard(
        &self,
        table: Option<&str>,
        key: impl Into<Key>,
        shard: &str,
    ) -> Result<Reassigned, Error> {
        self.check_has_directory()?;
        self.check_writable()?;
        let limit = self.inner.shared.options.busy_timeout;
        let Some(_alone) = self.key_directory().gate.close(limit) else {
            let message = "statements that find rows by their keys have not ended";
            return Err(self.fault(FaultKind::Busy, message));
        };
        let state = self.inner.state.load_full();
        let key = self.home_key(&state, table, &key.into())?;
        let homes = Homes::new(self.purpose(Purpose::Find));
        let value = crate::key::CanonicalKey::of_canonical(key.key.as_ref());
        let from = self.route(&state, &homes, |routing| {
            Ok(routing.home(&key.space, &value))
        })?;
        let one = Move {
            key: &key,
            from,
            to: self.index_of(shard)?,
            entry: state.map.index_at(key.position()),
        };
        let moved = self.commit_with(|commit| self.move_within(commit, &state, &one));
        self.forget_homes([&key]);
        Ok(Reassigned {
            from: self.inner.places.name(Place::Shard(from)).to_owned(),
            to: shard.to_owned(),
            rows: moved?,
        })
    }

    pub(in crate::database) fn check_has_directory(&self) -> Result<(), Error> {
        if self.has_directory() {
            return Ok(());
        }
        Err(Error::Unsupported {
            what: "a key with a home of its own in a database without a directory".to_owned(),
            hint: "open the database once with Options::directory",
        })
    }

    /// A key as the directory knows it.
    pub(in crate::database) fn home_key(
        &self,
        state: &State,
        table: Option<&str>,
        key: &Key,
    ) -> Result<HomeKey, Error> {
        let table = state.table_of_key(table, key)?;
        let space = table.shard_key().map_or("", |key| key.group.as_str());
        let canonical = state.routing().canonical(table, key.value().as_ref());
        HomeKey::of(space, &canonical).ok_or_else(|| Error::NullKey {
            table: table.name.clone(),
            column: table
                .key_column()
                .map(|column| column.name.clone())
                .unwrap_or_default(),
        })
    }

    fn move_within(
        &self,
        commit: &mut Commit,
        state: &State,
        one: &Move<'_>,
    ) -> Result<u64, Error> {
        let (from, to) = (Place::Shard(one.from), Place::Shard(one.to));
        let entry = Place::Shard(one.entry);
        for place in BTreeSet::from([from, to, entry]) {
            // What notes new rows would ask about these later.
            commit.enlist(place, Watching::Nothing)?;
        }
        let mut parts = Parts::new();
        let rows = KeyRows::new(state, one.key)?;
        let mut count = 0;
        if from != to {
            let found = rows.read(commit, from, self.limits())?;
            count = found.count();
            let arriving = rows.without_triggers(commit, to, found.inserts())?;
            let leaving = rows.without_triggers(commit, from, rows.deletes())?;
            parts.insert(to, arriving);
            parts.insert(from, leaving);
        }
        let name = self.inner.places.name(to);
        parts
            .entry(entry)
            .or_default()
            .push(entries::set(one.key, name));
        let checks = state.checks.without_watch();
        self.run_in(commit, &checks, None, &parts)?;
        if from != to {
            rows.check_count(commit, from, 0)?;
            rows.check_count(commit, to, count)?;
        }
        Ok(count)
    }
}

/// What tells one value from all others.
pub(super) fn value_of(key: &HomeKey) -> Vec<Value> {
    vec![key.key.clone()]
}
