//! Updates, deletes, and what all writes share.

use std::collections::BTreeMap;

use parking_lot::MutexGuard;
use shardwright_store::{Params, ValueRef};
use shardwright_topology::Position;

use super::{
    ShardedDatabase, WriteMode,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::ChangePlan,
    schema::{NullKeys, Table, TableKind},
    shards::{Call, Fault, FaultKind, Fragment, Parts, Place, Ran},
};

/// Where a write goes, one place after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'t> {
    pub(super) places: &'t [Place],
    /// That of the one key that has led to the one place.
    pub(super) position: Option<Position>,
    /// The rule by which conflicts are resolved other than by refusal.
    pub(super) rule: Option<&'static str>,
}

/// How a write to several places is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spreading {
    /// Not at all.
    Refused,
    /// At all of them or at none.
    Atomic,
    /// At one after the other.
    OneByOne,
}

impl<'t> Target<'t> {
    pub(super) fn of(places: &'t [Place], rule: Option<&'static str>) -> Self {
        Self {
            places,
            position: None,
            rule,
        }
    }

    pub(super) fn of_key(self, position: Option<Position>) -> Self {
        Self { position, ..self }
    }
}

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
        if let Some(located) = &plan.located
            && mode == WriteMode::Atomic
            && self.commits_everywhere()
            && plan.is_not_local(params, state.routing())
        {
            return self.change_located(state, planned, plan.rule, located, params);
        }
        match table.kind {
            TableKind::Sharded(_) => {
                let shards = self.find_route(state, |routing| plan.shards(params, routing))?;
                let places = shards.into_iter().map(Place::Shard).collect::<Vec<_>>();
                match self.spreading(places.len(), mode) {
                    Spreading::Refused => {
                        return self.made_or_refused(state, planned, table, places.len());
                    }
                    Spreading::Atomic => {
                        let _guard = self.guard_of(planned)?;
                        let statement = bound(planned, params)?;
                        let parts = places
                            .into_iter()
                            .map(|place| (place, vec![statement.clone()]));
                        return self.write_atomic(state, planned, plan.rule, &parts.collect());
                    }
                    Spreading::OneByOne => {}
                }
                let unit = |_| vec![Call::new(&planned.statement, *params)];
                let position = self.if_numbered(|| plan.position(params, state.routing()))?;
                let target = Target::of(&places, plan.rule).of_key(position);
                self.write_places(state, planned, target, unit)
            }
            TableKind::Global => {
                plan.check_unsharded(&state.schema)?;
                let unit = |_| vec![Call::new(&planned.statement, *params)];
                let target = Target::of(&[Place::Catalog], None);
                self.write_places(state, planned, target, unit)
            }
            TableKind::Reference => {
                plan.check_unsharded(&state.schema)?;
                self.write_reference(state, table, planned, params)
            }
        }
    }

    /// How a write to so many places is made.
    pub(super) fn spreading(&self, places: usize, mode: WriteMode) -> Spreading {
        match mode {
            _ if places <= 1 => Spreading::OneByOne,
            WriteMode::Atomic if self.commits_everywhere() => Spreading::Atomic,
            WriteMode::Atomic | WriteMode::Single => Spreading::Refused,
            WriteMode::BestEffort => Spreading::OneByOne,
        }
    }

    /// Takes the lock that the write needs, writes the unit of each place in turn, and adds up what they did.
    pub(super) fn write_places<'a>(
        &self,
        state: &State,
        planned: &PlannedStatement,
        target: Target<'_>,
        unit: impl Fn(Place) -> Vec<Call<'a>>,
    ) -> Result<Answer, Error> {
        let _guard = self.guard_of(planned)?;
        self.write_locked(state, planned, target, unit)
    }

    /// Writes the unit of each place in turn, with a roll call at its end if they are several and have a number, and adds
    /// up what they did. The caller holds the lock of constrained writes if this is one.
    pub(super) fn write_locked<'a>(
        &self,
        state: &State,
        planned: &PlannedStatement,
        target: Target<'_>,
        unit: impl Fn(Place) -> Vec<Call<'a>>,
    ) -> Result<Answer, Error> {
        let places = target.places;
        let tier = if places.len() > 1 {
            Tier::Broadcast
        } else {
            Tier::Single
        };
        let mut answer = Answer::of_changes(Vec::new(), tier, "the shards that the rows are on");
        answer.columns.clone_from(&planned.columns);
        let (mut is_elsewhere, mut missed) = (false, None);
        for &place in places {
            let name = self.inner.places.name(place);
            let roll_call = self.roll_call(state, place, places);
            let mut unit = unit(place);
            unit.extend(
                roll_call
                    .iter()
                    .map(|all| Call::new(&*all.sql, &all.params)),
            );
            match self.write_place(state, planned, place, target, &unit) {
                Ok(mut ran) => {
                    if Parts::take_out_of(&mut ran).is_missing_at(state, place) {
                        missed = Some(name);
                    }
                    is_elsewhere |= are_elsewhere(&ran);
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
        if is_elsewhere {
            for (place, ran) in self.told_elsewhere(places)? {
                answer.add(self.inner.places.name(place), ran);
            }
        }
        match missed {
            Some(failed) => Err(missed_at(failed, answer.places)),
            None => Ok(answer),
        }
    }

    /// Writes a unit on one place. The caller holds the lock of constrained writes if this is one.
    fn write_place(
        &self,
        state: &State,
        planned: &PlannedStatement,
        place: Place,
        target: Target<'_>,
        unit: &[Call<'_>],
    ) -> Result<Vec<Ran>, Error> {
        self.check_writable()?;
        if let Some(transaction) = self.within() {
            let part = unit.iter().map(|call| Fragment::from(*call)).collect();
            let parts = BTreeMap::from([(place, part)]);
            let checks = state.checks_of(planned.needs_guard);
            let ran = transaction
                .lock()
                .run(state, &checks, target.rule, &parts, &[])?;
            return Ok(ran.into_iter().map(|(_, ran)| ran).collect());
        }
        if planned.needs_guard {
            self.write_checked(state, place, unit, target)
        } else {
            let _held = self.unconstrained(state, planned)?;
            self.write_unit(place, unit, target.position)
        }
    }

    pub(super) fn write_unit(
        &self,
        place: Place,
        unit: &[Call<'_>],
        position: Option<Position>,
    ) -> Result<Vec<Ran>, Error> {
        let places = &self.inner.places;
        match position {
            Some(position) => places.write_at(place, position, unit),
            None => places.write(place, unit),
        }
    }

    /// Finds out the position of a write, where places may remember it.
    pub(super) fn if_numbered(
        &self,
        position: impl FnOnce() -> Result<Option<Position>, Error>,
    ) -> Result<Option<Position>, Error> {
        match self.inner.places.statement() {
            Some(_) => position(),
            None => Ok(None),
        }
    }

    /// Runs a planned write on one place, whose rows are known to belong there.
    pub(super) fn write_one(
        &self,
        state: &State,
        planned: &PlannedStatement,
        target: Target<'_>,
        params: Params<'_>,
    ) -> Result<Ran, Error> {
        let _guard = self.guard_of(planned)?;
        let unit = [Call::new(&planned.statement, params)];
        let ran = self.write_place(state, planned, target.places[0], target, &unit)?;
        if are_elsewhere(&ran) {
            let told = self.told_elsewhere(target.places)?.into_iter();
            return Ok(Ran::all(told.map(|(_, ran)| ran).collect()));
        }
        Ok(Ran::all(ran))
    }

    /// Held by a write that rows of other shards may forbid.
    pub(super) fn guard(
        &self,
        state: &State,
        table: &Table,
    ) -> Result<Option<MutexGuard<'_, ()>>, Error> {
        let wanted = state.needs_guard(table);
        Ok(wanted
            .then(|| self.lock_constraints())
            .transpose()?
            .flatten())
    }

    fn guard_of(&self, planned: &PlannedStatement) -> Result<Option<MutexGuard<'_, ()>>, Error> {
        let wanted = planned.needs_guard;
        Ok(wanted
            .then(|| self.lock_constraints())
            .transpose()?
            .flatten())
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

/// Whether a place only knows of a unit that it was made.
fn are_elsewhere(ran: &[Ran]) -> bool {
    !ran.is_empty() && ran.iter().all(Ran::is_elsewhere)
}

/// A place was not reached by the try of the statement that was made.
pub(super) fn missed_at(place: &str, committed: Vec<String>) -> Error {
    let message = "the statement was not made there when it was tried first";
    Error::PartialWrite {
        committed,
        failed: place.to_owned(),
        source: Box::new(Fault::new(FaultKind::Interrupted, message).at(place)),
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
