//! Updates, deletes, and what all writes share.

use parking_lot::MutexGuard;
use shardwright_store::{Params, ValueRef};

use super::{
    ShardedDatabase, WriteMode,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::ChangePlan,
    schema::{NullKeys, Table, TableKind},
    shards::{Call, Fragment, Place, Ran},
};

impl ShardedDatabase {
    pub(super) fn change(
        &self,
        state: &State,
        planned: &PlannedStatement,
        plan: &ChangePlan,
        params: &Params<'_>,
        mode: WriteMode,
    ) -> Result<Answer, Error> {
        let table = state.table(&plan.table)?;
        match table.kind {
            TableKind::Sharded(_) => {
                let shards = plan.shards(params, state.routing())?;
                if shards.len() > 1 && mode == WriteMode::Single {
                    return Err(Error::MultiShardWrite {
                        table: table.name.clone(),
                        shards: shards.len(),
                    });
                }
                let places = shards.into_iter().map(Place::Shard).collect::<Vec<_>>();
                let unit = |_| vec![Call::new(&planned.statement, *params)];
                self.write_places(state, planned, &places, plan.rule, unit)
            }
            TableKind::Global => {
                plan.check_unsharded(&state.schema)?;
                let unit = |_| vec![Call::new(&planned.statement, *params)];
                self.write_places(state, planned, &[Place::Catalog], None, unit)
            }
            TableKind::Reference => {
                plan.check_unsharded(&state.schema)?;
                self.write_reference(state, table, planned, params)
            }
        }
    }

    /// Takes the lock that the write needs, writes the unit of each place in turn, and adds up what they did.
    pub(super) fn write_places<'a>(
        &self,
        state: &State,
        planned: &PlannedStatement,
        places: &[Place],
        rule: Option<&'static str>,
        unit: impl Fn(Place) -> Vec<Call<'a>>,
    ) -> Result<Answer, Error> {
        let _guard = self.guard_of(planned)?;
        self.write_locked(state, planned, places, rule, None, unit)
    }

    /// Writes the unit of each place in turn, with a roll call at its end if there is one, and adds up what they did.
    /// The caller holds the lock of constrained writes if this is one.
    pub(super) fn write_locked<'a>(
        &self,
        state: &State,
        planned: &PlannedStatement,
        places: &[Place],
        rule: Option<&'static str>,
        roll_call: Option<&'a Fragment>,
        unit: impl Fn(Place) -> Vec<Call<'a>>,
    ) -> Result<Answer, Error> {
        let tier = if places.len() > 1 {
            Tier::Broadcast
        } else {
            Tier::Single
        };
        let mut answer = Answer::of_changes(Vec::new(), tier, "the shards that the rows are on");
        answer.columns.clone_from(&planned.columns);
        for &place in places {
            let name = self.inner.places.name(place);
            let mut unit = unit(place);
            unit.extend(roll_call.map(|names| Call::new(&*names.sql, &names.params)));
            match self.write_place(state, planned, place, rule, &unit) {
                Ok(mut ran) => {
                    if roll_call.is_some() {
                        ran.pop();
                    }
                    answer.add(name, Ran::all(ran));
                }
                Err(source) if answer.places.is_empty() => return Err(source),
                Err(source) => {
                    return Err(Error::PartialWrite {
                        committed: answer.places,
                        failed: name.to_owned(),
                        source: Box::new(source),
                    });
                }
            }
        }
        Ok(answer)
    }

    /// Writes a unit on one place. The caller holds the lock of constrained writes if this is one.
    fn write_place(
        &self,
        state: &State,
        planned: &PlannedStatement,
        place: Place,
        rule: Option<&'static str>,
        unit: &[Call<'_>],
    ) -> Result<Vec<Ran>, Error> {
        self.check_writable()?;
        if planned.needs_guard {
            self.write_checked(state, place, unit, rule)
        } else {
            self.inner.places.write(place, unit)
        }
    }

    /// Runs a planned write on one place, whose rows are known to belong there.
    pub(super) fn write_one(
        &self,
        state: &State,
        planned: &PlannedStatement,
        place: Place,
        rule: Option<&'static str>,
        params: Params<'_>,
    ) -> Result<Ran, Error> {
        let _guard = self.guard_of(planned)?;
        let unit = [Call::new(&planned.statement, params)];
        let ran = self.write_place(state, planned, place, rule, &unit)?;
        Ok(Ran::all(ran))
    }

    /// Held by a write that rows of other shards may forbid.
    pub(super) fn guard(
        &self,
        state: &State,
        table: &Table,
    ) -> Result<Option<MutexGuard<'_, ()>>, Error> {
        let wanted = state.needs_guard(table);
        wanted.then(|| self.lock_constraints()).transpose()
    }

    fn guard_of(&self, planned: &PlannedStatement) -> Result<Option<MutexGuard<'_, ()>>, Error> {
        let wanted = planned.needs_guard;
        wanted.then(|| self.lock_constraints()).transpose()
    }

    fn write_reference(
        &self,
        state: &State,
        table: &Table,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let statement = bound(planned, params)?;
        self.broadcast_write(state, table, planned, &statement)
    }
}

/// The values of a statement's parameters, by number.
pub(super) fn bound(planned: &PlannedStatement, params: &Params<'_>) -> Result<Fragment, Error> {
    let mut values = Vec::with_capacity(planned.parameters.len());
    for (index, name) in planned.parameters.iter().enumerate() {
        let value = params
            .value_of(index + 1, name.as_deref())
            .ok_or(Error::MissingParameter { number: index + 1 })?;
        values.push(value.to_value());
    }
    Ok(Fragment::new(planned.statement.sql(), values))
}

/// Refuses a NULL key, unless the table keeps such rows.
pub(crate) fn refuse_null(table: &Table, value: ValueRef<'_>) -> Result<(), Error> {
    match table.shard_key() {
        Some(key) if key.nulls == NullKeys::Refuse && value.is_null() => Err(Error::NullKey {
            table: table.name.clone(),
            column: table.columns[key.column].name.clone(),
        }),
        _ => Ok(()),
    }
}
