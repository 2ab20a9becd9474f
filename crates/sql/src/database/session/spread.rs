//! A transaction that may be on several places.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_store::Value;
use turso_parser::ast::Stmt;

use super::super::{
    ShardedDatabase,
    atomic::{Commit, Parts, run_parts},
    directory::{Pass, remove_homes},
    journal::Step,
    state::State,
    unique::Checks,
};
use crate::{
    error::Error,
    plan::{HomeKey, NewHome},
    shards::{Call, Enlisted, Fault, FaultKind, Place, PlaceTransaction, Ran},
};

/// Begins what is undone alone if a statement fails at one of its places. Clients' names do not begin so.
const BEGIN_STATEMENT: &str = "SAVEPOINT _shardwright_statement";
const END_STATEMENT: &str = "RELEASE _shardwright_statement";
const UNDO_STATEMENT: &str = "ROLLBACK TO _shardwright_statement";

/// A transaction that may be on several places.
#[derive(Debug)]
pub(in crate::database) struct Spread {
    database: ShardedDatabase,
    commit: Commit,
    /// The rows of each place that violated a deferred foreign key when it began.
    violations: BTreeMap<Place, i64>,
    /// Where it may have changed something.
    written: BTreeSet<Place>,
    /// The outermost first. Every place has them all.
    savepoints: Vec<Savepoint>,
    /// Keys that get their homes with it.
    new_homes: Vec<NewHome>,
    /// Whether what it writes depends on what rows other shards have not.
    is_constrained: bool,
    /// Held while keys of the transaction may not be moved.
    _pass: Option<Pass>,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    sql: String,
    /// How many keys got their homes before it.
    homes: usize,
}

impl Spread {
    /// A transaction that is at no place yet.
    pub(super) fn new(database: &ShardedDatabase) -> Self {
        Self {
            database: database.clone(),
            commit: Commit::new(database, None),
            violations: BTreeMap::new(),
            written: BTreeSet::new(),
            savepoints: Vec::new(),
            new_homes: Vec::new(),
            is_constrained: false,
            _pass: database.enter_transaction(),
        }
    }

    /// Whether it has neither ended nor been ended.
    pub(super) fn is_open(&self) -> bool {
        self.commit.is_open()
    }

    /// The places that it has, in their order.
    pub(in crate::database) fn places(&self) -> Vec<Place> {
        self.commit.places()
    }

    /// Whether it may have changed something at a place.
    pub(super) fn has_written(&self, place: Place) -> bool {
        self.written.contains(&place)
    }

    /// The home that a key gets with it.
    pub(in crate::database) fn home_of(&self, key: &HomeKey) -> Option<usize> {
        let mut new = self.new_homes.iter();
        new.find(|new| new.key == *key).map(|new| new.shard)
    }

    /// Has a place for itself until it ends, so that what it reads there stays as it is.
    pub(in crate::database) fn hold(&mut self, state: &State, place: Place) -> Result<(), Error> {
        if self.commit.has(place) {
            return Ok(());
        }
        let watching = state.checks.watching(place);
        if self.commit.enlist(place, watching)? == Enlisted::Known {
            let message = "a transaction with this number has happened before";
            let places = &self.database.inner.places;
            return Err(Fault::new(FaultKind::Other, message).at(places.name(place)));
        }
        let deferred = state.checks.deferred();
        let count = |open: &mut dyn PlaceTransaction| deferred.violations(place, open);
        let violations = self.commit.within(place, count)?;
        self.violations.insert(place, violations);
        for savepoint in &self.savepoints {
            self.commit.run(place, Step::new(&*savepoint.sql))?;
        }
        Ok(())
    }

    /// Notes that what it writes depends on what rows other shards have not.
    pub(in crate::database) fn constrain(&mut self) {
        self.is_constrained = true;
    }

    /// Reads at a place that it holds, and sees what it has written.
    pub(super) fn read(&mut self, place: Place, call: Call<'_>) -> Result<Vec<Vec<Value>>, Error> {
        let ran = self.commit.within(place, |open| open.aside(call))?;
        Ok(ran.rows)
    }

    /// Runs a statement of the engine's own, that is undone with the transaction.
    pub(in crate::database) fn note(
        &mut self,
        state: &State,
        place: Place,
        step: Step,
    ) -> Result<(), Error> {
        self.hold(state, place)?;
        self.written.insert(place);
        self.commit.run(place, step).map(drop)
    }

    /// Runs what each place is to do for one statement, with the entries of keys that get their homes with it: all of it or
    /// nothing.
    pub(in crate::database) fn run(
        &mut self,
        state: &State,
        checks: &Checks,
        rule: Option<&'static str>,
        parts: &Parts,
        new: &[NewHome],
    ) -> Result<Vec<(Place, Ran)>, Error> {
        let mut places: BTreeSet<Place> = parts.keys().copied().collect();
        places.extend(new.iter().map(|new| Place::Shard(new.entry)));
        let is_one = places.len() == 1 && parts.values().all(|part| part.len() == 1);
        let places: Vec<Place> = places.into_iter().collect();
        if is_one && new.is_empty() && !checks.is_watching() {
            self.hold(state, places[0])?;
            self.written.insert(places[0]);
            return run_parts(&mut self.commit, parts);
        }
        self.as_one(state, checks, &places, |database, commit| {
            database.put_homes(commit, new)?;
            let ran = run_parts(commit, parts)?;
            for place in parts.keys() {
                database.check_notes_of(checks, *place, commit, rule)?;
            }
            if ran.iter().any(|(_, ran)| ran.outcome.changes > 0) {
                return Ok((ran, new.to_vec()));
            }
            // OR IGNORE: no row has come.
            remove_homes(commit, new)?;
            Ok((ran, Vec::new()))
        })
    }

    /// Does what one statement does at these places, and at no other: all of it or nothing. `work` returns what it did, and the keys
    /// that have got their homes by it.
    pub(in crate::database) fn as_one<T>(
        &mut self,
        state: &State,
        checks: &Checks,
        places: &[Place],
        work: impl FnOnce(&ShardedDatabase, &mut Commit) -> Result<(T, Vec<NewHome>), Error>,
    ) -> Result<T, Error> {
        if checks.is_watching() {
            // Whoever is asked for rows answers the same until this has ended.
            self.constrain();
            for shard in 0..self.database.inner.places.count() {
                self.hold(state, Place::Shard(shard))?;
            }
        }
        for place in places {
            self.hold(state, *place)?;
        }
        self.written.extend(places);
        for place in places {
            self.commit.run(*place, Step::new(BEGIN_STATEMENT))?;
        }
        let done = work(&self.database, &mut self.commit);
        if let Err(error) = done {
            if self.commit.is_open() {
                self.end_statement(places, &[UNDO_STATEMENT, END_STATEMENT])?;
            }
            return Err(error);
        }
        self.end_statement(places, &[END_STATEMENT])?;
        done.map(|(done, new)| {
            self.new_homes.extend(new);
            done
        })
    }

    fn end_statement(&mut self, places: &[Place], statements: &[&str]) -> Result<(), Error> {
        for place in places {
            for sql in statements {
                self.commit.run(*place, Step::new(*sql))?;
            }
        }
        Ok(())
    }

    /// Runs SAVEPOINT, RELEASE or ROLLBACK TO, wherever the transaction is and will be.
    pub(super) fn savepoint(&mut self, statement: &Stmt, sql: &str) -> Result<(), Error> {
        let kept = match statement {
            Stmt::Savepoint { name } => {
                self.savepoints.push(Savepoint {
                    name: name.as_str().to_owned(),
                    sql: sql.to_owned(),
                    homes: self.new_homes.len(),
                });
                self.savepoints.len()
            }
            Stmt::Release { name } => self.find(name.as_str())?,
            Stmt::Rollback {
                savepoint_name: Some(name),
                ..
            } => {
                let found = self.find(name.as_str())?;
                let homes = self.savepoints[found].homes;
                let undone = self.new_homes.drain(homes..);
                let undone: Vec<NewHome> = undone.collect();
                self.database
                    .forget_homes(undone.iter().map(|new| &new.key));
                found + 1
            }
            _ => unreachable!("the caller has matched the statement"),
        };
        self.savepoints.truncate(kept);
        for place in self.commit.places() {
            self.commit.run(place, Step::new(sql))?;
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize, Error> {
        let is_it = |savepoint: &Savepoint| savepoint.name.eq_ignore_ascii_case(name);
        let found = self.savepoints.iter().rposition(is_it);
        found.ok_or_else(|| Error::Sql {
            message: format!("no such savepoint: {name}"),
        })
    }

    /// Says what COMMIT would say of deferred foreign keys, before the first place commits.
    pub(super) fn check(&mut self, state: &State) -> Result<(), Error> {
        let written = self.written.iter();
        let before = |place: &Place| (*place, self.violations.get(place).copied().unwrap_or(0));
        let before: Vec<(Place, i64)> = written.map(before).collect();
        state.checks.deferred().check(&mut self.commit, &before)
    }

    /// Commits at all places, or at none.
    pub(super) fn finish(self) -> Result<(), Error> {
        let _unseen = self.is_constrained.then(|| self.database.hide_commit());
        let done = self.commit.finish();
        let keys = self.new_homes.iter().map(|new| &new.key);
        self.database.forget_homes(keys);
        done
    }
}
