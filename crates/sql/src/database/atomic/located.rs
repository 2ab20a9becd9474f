//! Writes whose rows only a read of several places finds, as one commit.

use std::collections::BTreeMap;

use shardwright_store::{Params, Value};

use super::{
    Commit,
    moving::{Found, change_rows},
    spread::{Part, Parts, run_parts},
};
use crate::{
    answer::{Answer, Tier},
    database::{
        ReadLevel, ShardedDatabase,
        state::{PlannedStatement, State},
        unique::Checks,
        write::{bound, refuse_null},
    },
    error::Error,
    plan::{Homes, Located, NewHome, Plan, Purpose, Routing},
    schema::Table,
    shards::{Enlisted, Fragment, Place, Ran},
};

impl ShardedDatabase {
    /// Finds the rows of a write and changes them, at all of their places or at none.
    pub(in crate::database) fn change_located(
        &self,
        state: &State,
        planned: &PlannedStatement,
        rule: Option<&'static str>,
        located: &Located,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let (Plan::Change(plan), reason) = (&planned.plan, "the rows that the condition finds")
        else {
            unreachable!("the caller has matched the plan")
        };
        let table = state.table(&plan.table)?;
        let _guard = self.guard(state, table)?;
        let _held = self.unconstrained(state, planned)?;
        let select = state.plan(&located.select)?;
        let statement = bound(&select, params)?;
        let checks = state.checks_of(planned.needs_guard);
        if self.inner.places.may_recur()
            && let Some(made) = self.made_as_a_whole(state, planned)?
        {
            return Ok(made);
        }
        let find = || {
            let rows = self.rows_found(state, &select, &(&statement.params).into())?;
            self.changes_of(state, table, located, rows)
        };
        let all: Vec<Place> = self.inner.places.all().collect();
        let ran = match self.within() {
            Some(transaction) => {
                let (changes, new) = find()?;
                let mut transaction = transaction.lock();
                Some(transaction.as_one(state, &checks, &all, |own, commit| {
                    own.put_homes(commit, &new)?;
                    let ran = changes.run(commit, state, table, located)?;
                    own.check_all_notes(&checks, commit, rule)?;
                    Ok((ran, new.clone()))
                })?)
            }
            None => self.repeatedly(|commit| {
                if !self.hold_all(commit, &checks)? {
                    return Ok(None);
                }
                let (changes, new) = find()?;
                let deferred = checks.deferred();
                let before = deferred.violations_of(commit, &all)?;
                self.put_homes(commit, &new)?;
                let ran = changes.run(commit, state, table, located)?;
                deferred.check(commit, &before)?;
                self.check_all_notes(&checks, commit, rule)?;
                self.forget_homes(new.iter().map(|new| &new.key));
                Ok(Some(ran))
            })?,
        };
        let Some(ran) = ran else {
            return self.made_meanwhile(state, planned);
        };
        let mut answer = Answer::of_changes(Vec::new(), Tier::Broadcast, reason);
        for (place, ran) in ran {
            answer.add(self.inner.places.name(place), ran);
        }
        Ok(answer)
    }

    /// Begins at every place, so that what is read then stays as it is until the commit has ended. Returns whether it has: the statement
    /// may turn out to have been made before.
    fn hold_all(&self, commit: &mut Commit, checks: &Checks) -> Result<bool, Error> {
        for place in self.inner.places.all() {
            if commit.enlist(place, checks.watching(place))? == Enlisted::Known {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn rows_found(
        &self,
        state: &State,
        select: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let Plan::Read(plan) = &select.plan else {
            return Err(Error::Unsupported {
                what: "this form of a write that reads rows of other shards".to_owned(),
                hint: "read the keys first, then write by key",
            });
        };
        Ok(self
            .read_at(state, select, plan, params, ReadLevel::PerShard)?
            .rows)
    }
}

/// What becomes of the rows that were found.
enum Changes {
    /// Each stays where it is.
    InPlace(Parts),
    /// The statement sets the shard key.
    Moving(Vec<Found>),
}

impl Changes {
    fn run(
        &self,
        commit: &mut Commit,
        state: &State,
        table: &Table,
        located: &Located,
    ) -> Result<Vec<(Place, Ran)>, Error> {
        match self {
            Self::InPlace(parts) => run_parts(commit, parts),
            Self::Moving(rows) => change_rows(commit, state, table, located, rows),
        }
    }
}

impl ShardedDatabase {
    /// Says where the rows are that were found, and where they belong then, with the keys that get their homes by that.
    fn changes_of(
        &self,
        state: &State,
        table: &Table,
        located: &Located,
        rows: Vec<Vec<Value>>,
    ) -> Result<(Changes, Vec<NewHome>), Error> {
        let (mut by_place, mut moving): (BTreeMap<Place, Vec<_>>, _) =
            (BTreeMap::new(), Vec::new());
        let homes = Homes::new(self.purpose(Purpose::Allocate));
        for row in rows {
            let from = |routing: Routing<'_>| Ok(located.place_of(&row, table, routing));
            let from = self.find_route(state, from)?;
            let Some(key) = located.new_key(&row, table) else {
                by_place.entry(from).or_default().push(row);
                continue;
            };
            refuse_null(table, key.as_ref())?;
            let to = |routing: Routing<'_>| Ok(Place::Shard(routing.shard_of(table, key.as_ref())));
            let to = self.route(state, &homes, to)?;
            moving.push(Found { row, from, to });
        }
        if moving.is_empty() {
            let part = |rows: &[Vec<Value>]| -> Part {
                let statements = located.statements(table, rows).into_iter();
                statements
                    .map(|(sql, values)| Fragment::new(sql, values))
                    .collect()
            };
            let parts = by_place.into_iter();
            let parts = parts.map(|(place, rows)| (place, part(&rows)));
            return Ok((Changes::InPlace(parts.collect()), Vec::new()));
        }
        // SQLite takes the rows in the order of their ids, so that one that is in the way is in the way here.
        moving.sort_by_key(|found| located.identity_of(&found.row)[0].as_i64());
        Ok((Changes::Moving(moving), homes.take_new()))
    }
}
