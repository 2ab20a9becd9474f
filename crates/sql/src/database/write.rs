//! Updates, deletes, and what all writes share.

use std::{
    ops::ControlFlow,
    sync::{MutexGuard, PoisonError},
};

use shardwright_store::{Params, Row, Sql, Value, ValueRef, Writer};

use super::{
    ShardedDatabase, WriteMode,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, Outcome, Tier},
    error::Error,
    plan::ChangePlan,
    schema::{NullKeys, Table, TableKind},
    shards::Place,
};

/// A statement with the values of its parameters, kept for every place that it runs on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BoundStatement {
    pub(crate) sql: String,
    pub(crate) params: Vec<Value>,
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
                let run = |_: Place, writer: &mut Writer| {
                    run_statement(writer, (&planned.statement).into(), *params)
                };
                self.write_places(planned, &places, plan.rule, run)
            }
            TableKind::Global => {
                plan.check_unsharded(&state.schema)?;
                let run = |_: Place, writer: &mut Writer| {
                    run_statement(writer, (&planned.statement).into(), *params)
                };
                self.write_places(planned, &[Place::Catalog], None, run)
            }
            TableKind::Reference => {
                plan.check_unsharded(&state.schema)?;
                self.write_reference(state, table, planned, params)
            }
        }
    }

    /// Runs `run` on each place in turn, and adds up what it did.
    pub(super) fn write_places(
        &self,
        planned: &PlannedStatement,
        places: &[Place],
        rule: Option<&'static str>,
        mut run: impl FnMut(Place, &mut Writer) -> shardwright_store::Result<Ran>,
    ) -> Result<Answer, Error> {
        let _guard = planned.needs_guard.then(|| self.lock_constraints());
        let tier = if places.len() > 1 {
            Tier::Broadcast
        } else {
            Tier::Single
        };
        let mut answer = Answer::of_changes(Vec::new(), tier, "the shards that the rows are on");
        answer.columns.clone_from(&planned.columns);
        for &place in places {
            let name = self.inner.files.name(place);
            match self.write_place(place, rule, |writer| run(place, writer)) {
                Ok(ran) => {
                    answer.changes += ran.outcome.changes;
                    answer.last_insert_rowid =
                        ran.outcome.last_insert_rowid.or(answer.last_insert_rowid);
                    answer.rows.extend(ran.rows);
                    answer.places.push(name.to_owned());
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

    /// Runs `run` on one place.
    fn write_place(
        &self,
        place: Place,
        rule: Option<&'static str>,
        run: impl FnOnce(&mut Writer) -> shardwright_store::Result<Ran>,
    ) -> Result<Ran, Error> {
        let mut writer = self.writer(place)?;
        run(&mut writer).map_err(|error| self.write_error(place, error, rule))
    }

    /// Runs a planned write on one place, whose rows are known to belong there.
    pub(super) fn write_one(
        &self,
        planned: &PlannedStatement,
        place: Place,
        rule: Option<&'static str>,
        params: Params<'_>,
    ) -> Result<Outcome, Error> {
        let _guard = planned.needs_guard.then(|| self.lock_constraints());
        let ran = self.write_place(place, rule, |writer| {
            run_statement(writer, (&planned.statement).into(), params)
        })?;
        Ok(ran.outcome)
    }

    /// A conflict with another shard's row is a constraint, unless the statement says how to resolve it.
    pub(super) fn write_error(
        &self,
        place: Place,
        error: shardwright_store::Error,
        rule: Option<&'static str>,
    ) -> Error {
        match super::unique::conflict_in(&error) {
            Some((constraint, found)) => match rule {
                Some(rule) => Error::GlobalConflict {
                    place: found,
                    constraint,
                    rule,
                },
                None => Error::Constraint {
                    message: format!("UNIQUE constraint failed: {constraint}"),
                },
            },
            None => Error::at(self.inner.files.name(place))(error),
        }
    }

    pub(super) fn writer(&self, place: Place) -> Result<Writer, Error> {
        self.check_writable()?;
        self.file(place)
            .writer()
            .map_err(Error::at(self.inner.files.name(place)))
    }

    /// Held by a write that rows of other shards may forbid.
    pub(super) fn guard(&self, state: &State, table: &Table) -> Option<MutexGuard<'_, ()>> {
        state.needs_guard(table).then(|| self.lock_constraints())
    }

    pub(super) fn lock_constraints(&self) -> MutexGuard<'_, ()> {
        self.inner
            .constraints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

/// What a statement did on one place.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// Runs one statement and keeps its rows.
pub(crate) fn run_statement(
    writer: &mut Writer,
    sql: Sql<'_>,
    params: Params<'_>,
) -> shardwright_store::Result<Ran> {
    let mut rows = Vec::new();
    let (outcome, _) = writer.query(sql, params, |row: &Row<'_>| {
        rows.push(row.to_values());
        ControlFlow::<()>::Continue(())
    })?;
    let outcome = Outcome {
        changes: outcome.changes,
        last_insert_rowid: Some(outcome.last_insert_rowid),
    };
    Ok(Ran { outcome, rows })
}

/// The values of a statement's parameters, by number.
pub(super) fn bound(
    planned: &PlannedStatement,
    params: &Params<'_>,
) -> Result<BoundStatement, Error> {
    let mut values = Vec::with_capacity(planned.parameters.len());
    for (index, name) in planned.parameters.iter().enumerate() {
        let value = params
            .value_of(index + 1, name.as_deref())
            .ok_or(Error::MissingParameter { number: index + 1 })?;
        values.push(value.to_value());
    }
    Ok(BoundStatement {
        sql: planned.statement.sql().to_owned(),
        params: values,
    })
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
