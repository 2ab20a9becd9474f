//! A transaction that may be on several places.

use std::collections::BTreeMap;

use shardwright_store::Params;

use super::super::{
    ShardedDatabase,
    atomic::Commit,
    directory::{Pass, remove_homes},
    journal::Step,
    state::{PlannedStatement, State},
    write::bound,
};
use crate::{
    error::Error,
    plan::{NewHome, Plan},
    shards::{Call, Enlisted, Fault, FaultKind, Place, PlaceTransaction, Ran, Watching},
};

/// A transaction that may be on several places.
#[derive(Debug)]
pub(super) struct Spread {
    pub(super) database: ShardedDatabase,
    pub(super) commit: Commit,
    /// The rows of each place that violated a deferred foreign key when it began.
    pub(super) violations: BTreeMap<Place, i64>,
    /// Whether there are savepoints, which only the place has on which they were made.
    pub(super) has_savepoints: bool,
    /// Keys that get their homes with it.
    pub(super) new_homes: Vec<NewHome>,
    /// Held while keys of the transaction may not be moved.
    pub(super) _pass: Option<Pass>,
}

impl Spread {
    /// A transaction that is at no place yet.
    pub(super) fn new(database: &ShardedDatabase) -> Self {
        Self {
            database: database.clone(),
            commit: Commit::new(database, None),
            violations: BTreeMap::new(),
            has_savepoints: false,
            new_homes: Vec::new(),
            _pass: database.enter_transaction(),
        }
    }

    /// Commits at all places, or at none.
    pub(super) fn finish(self) -> Result<(), Error> {
        let done = self.commit.finish();
        let keys = self.new_homes.iter().map(|new| &new.key);
        self.database.forget_homes(keys);
        done
    }

    /// Runs a statement, after the entries of keys that get their homes with it. If it fails, they are removed.
    pub(super) fn run_with_homes(
        &mut self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
        wanted: Place,
        new: &[NewHome],
    ) -> Result<Ran, Error> {
        if new.is_empty() {
            return self.run(state, planned, params, wanted);
        }
        for place in new.iter().map(|new| Place::Shard(new.entry)) {
            self.enlist(state, place)?;
        }
        self.database.put_homes(&mut self.commit, new)?;
        let ran = self.run(state, planned, params, wanted);
        let has_rows = ran.as_ref().is_ok_and(|ran| ran.outcome.changes > 0);
        if has_rows {
            self.new_homes.extend_from_slice(new);
        } else if self.commit.is_open() {
            remove_homes(&mut self.commit, new)?;
        }
        ran
    }

    fn run(
        &mut self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
        wanted: Place,
    ) -> Result<Ran, Error> {
        self.enlist(state, wanted)?;
        if matches!(planned.plan, Plan::Read(_) | Plan::Explain(_)) {
            let call = Call::new(&planned.statement, *params);
            return self.commit.within(wanted, |open| open.execute(call));
        }
        self.commit
            .run(wanted, Step::bound(&bound(planned, params)?))
    }

    fn enlist(&mut self, state: &State, wanted: Place) -> Result<(), Error> {
        if self.commit.places().contains(&wanted) {
            return Ok(());
        }
        if self.has_savepoints {
            return Err(Error::Unsupported {
                what: "another shard in a transaction with savepoints".to_owned(),
                hint: "keep the statements after a savepoint on the shard that it is on",
            });
        }
        if self.commit.enlist(wanted, Watching::Any)? == Enlisted::Known {
            let message = "a transaction with this number has happened before";
            let places = &self.database.inner.places;
            return Err(Fault::new(FaultKind::Other, message).at(places.name(wanted)));
        }
        let deferred = state.checks.deferred();
        let count = |open: &mut dyn PlaceTransaction| deferred.violations(wanted, open);
        let violations = self.commit.within(wanted, count)?;
        self.violations.insert(wanted, violations);
        Ok(())
    }

    pub(super) fn savepoint(&mut self, sql: &str) -> Result<(), Error> {
        let [place] = self.commit.places()[..] else {
            return Err(Error::Unsupported {
                what: "a savepoint in a transaction on several shards".to_owned(),
                hint: "make savepoints while the transaction is on one shard",
            });
        };
        self.has_savepoints = true;
        self.commit.run(place, Step::new(sql)).map(drop)
    }

    /// Says what COMMIT would say of deferred foreign keys, before the first place commits.
    pub(super) fn check(&mut self, state: &State) -> Result<(), Error> {
        let deferred = state.checks.deferred();
        for (&place, &before) in &self.violations {
            let after = self
                .commit
                .within(place, |open| deferred.violations(place, open))?;
            if before < after {
                return Err(Error::Constraint {
                    message: "FOREIGN KEY constraint failed".to_owned(),
                });
            }
        }
        Ok(())
    }
}
