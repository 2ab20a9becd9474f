//! Writes whose rows only a read of several places finds, as one commit.

use std::collections::BTreeMap;

use shardwright_store::{Params, Value};

use super::{
    Commit,
    spread::{Part, Parts},
};
use crate::{
    answer::{Answer, Tier},
    database::{
        ReadLevel, ShardedDatabase,
        state::{PlannedStatement, State},
        unique::Checks,
        write::bound,
    },
    error::Error,
    plan::{Located, Plan},
    schema::Table,
    shards::{Enlisted, Fragment, Place},
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
            Ok::<_, Error>(parts_of(state, table, located, rows))
        };
        let ran = match self.within() {
            Some(transaction) => {
                let parts = find()?;
                let mut transaction = transaction.lock();
                Some(transaction.run(state, &checks, rule, &parts, &[])?)
            }
            None => self.repeatedly(|commit| {
                if !self.hold_all(commit, &checks)? {
                    return Ok(None);
                }
                self.run_in(commit, &checks, rule, &find()?)
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

fn parts_of(state: &State, table: &Table, located: &Located, rows: Vec<Vec<Value>>) -> Parts {
    let mut by_place: BTreeMap<Place, Vec<Vec<Value>>> = BTreeMap::new();
    for row in rows {
        let place = located.place_of(&row, table, state.routing());
        by_place.entry(place).or_default().push(row);
    }
    let part = |rows: Vec<Vec<Value>>| -> Part {
        let statements = located.statements(table, &rows).into_iter();
        statements
            .map(|(sql, values)| Fragment::new(sql, values))
            .collect()
    };
    by_place
        .into_iter()
        .map(|(place, rows)| (place, part(rows)))
        .collect()
}
