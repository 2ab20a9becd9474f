//! INSERT: untouched where all rows have one plain home, else row by row to the shard of its key.

use std::collections::BTreeMap;

use shardwright_store::{Params, Value};

use super::{
    ShardedDatabase, WriteMode,
    by_shard::OnShard,
    prepared::mismatch,
    state::{PlannedStatement, State},
    write::{Spreading, Target, bound, refuse_null},
};
use crate::{
    answer::Answer,
    error::Error,
    key::Key,
    plan::{Homes, InsertPlan, Purpose},
    schema::{Generated, Table, TableKind, quote_identifier},
    shards::{Call, Fragment, Place},
};

/// How many rows one statement inserts when rows are sent on by value.
const ROWS_PER_STATEMENT: usize = 100;

/// Rows that go wherever their keys belong.
#[derive(Debug)]
pub(super) struct Anywhere {
    homes: Homes,
    mode: WriteMode,
}

/// Who says where rows go.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    Key(&'a Anywhere),
    Shard(&'a OnShard<'a>),
}

impl ShardedDatabase {
    pub(super) fn insert(
        &self,
        state: &State,
        planned: &PlannedStatement,
        plan: &InsertPlan,
        params: &Params<'_>,
        mode: WriteMode,
    ) -> Result<Answer, Error> {
        loop {
            let homes = Homes::new(self.purpose(Purpose::Allocate));
            match self.insert_once(state, planned, plan, params, &Anywhere { homes, mode }) {
                Err(Error::HomeTaken { .. }) => {}
                inserted => return inserted,
            }
        }
    }

    fn insert_once(
        &self,
        state: &State,
        planned: &PlannedStatement,
        plan: &InsertPlan,
        params: &Params<'_>,
        anywhere: &Anywhere,
    ) -> Result<Answer, Error> {
        let homes = &anywhere.homes;
        let table = state.table(&plan.table)?;
        if planned.needs_guard || matches!(table.kind, TableKind::Reference) {
            // Before rows are read for another engine.
            self.check_writer()?;
        }
        let whole = |_| vec![Call::new(&planned.statement, *params)];
        match table.kind {
            TableKind::Sharded(_) => {
                if !plan.reads()
                    && let Some(shard) =
                        self.route(state, homes, |routing| plan.shard(params, routing))?
                {
                    let new = homes.take_new();
                    if !new.is_empty() {
                        let _guard = self.guard(state, table)?;
                        let parts = [(Place::Shard(shard), vec![bound(planned, params)?])];
                        let parts = BTreeMap::from(parts);
                        return self.write_with_homes(state, planned, plan.rule, &parts, &new);
                    }
                    let position = self.if_numbered(|| plan.position(params, state.routing()))?;
                    let places = [Place::Shard(shard)];
                    let target = Target::of(&places, plan.rule).of_key(position);
                    return self.write_places(state, planned, target, whole);
                }
                self.insert_by_row(state, planned, plan, params, By::Key(anywhere))
            }
            TableKind::Global if !plan.reads() => {
                let target = Target::of(&[Place::Catalog], None);
                self.write_places(state, planned, target, whole)
            }
            TableKind::Reference if !plan.reads() && plan.deterministic => {
                let statement = bound(planned, params)?;
                self.broadcast_write(state, table, planned, &statement)
            }
            TableKind::Global => {
                let rows = self.rows_of(state, plan, params)?;
                let columns = columns_of(table, plan);
                let statements = statements(table, plan, &columns, &rows)?;
                let target = Target::of(&[Place::Catalog], None);
                self.write_places(state, planned, target, |_| calls(&statements))
            }
            TableKind::Reference => {
                let rows = self.rows_of(state, plan, params)?;
                let statements = statements(table, plan, &columns_of(table, plan), &rows)?;
                self.broadcast_writes(state, table, planned, &statements)
            }
        }
    }

    /// Inserts rows by value. On a chosen shard, all of them must belong there, and have the key if one is given.
    ///
    /// A try before this one may have given the rows other keys, so that what it did is in other places.
    pub(super) fn insert_by_row(
        &self,
        state: &State,
        planned: &PlannedStatement,
        plan: &InsertPlan,
        params: &Params<'_>,
        by: By<'_>,
    ) -> Result<Answer, Error> {
        let table = state.table(&plan.table)?;
        let needs_lock = table.rowid_alias.is_some() || planned.needs_guard;
        if needs_lock {
            self.check_writer()?;
        }
        if plan.reads()
            && let Some(answer) = self.made_before(state, planned)?
        {
            return Ok(answer);
        }
        let rows = self.rows_of(state, plan, params)?;
        let columns = columns_of(table, plan);
        let rows = check_width(table, &columns, rows)?;
        let keeps_keys = keeps_keys(table, plan, &columns, &rows);
        if !keeps_keys
            && !plan.reads()
            && let Some(answer) = self.made_before(state, planned)?
        {
            return Ok(answer);
        }
        let _lock = match needs_lock {
            true => self.lock_constraints()?,
            false => None,
        };
        loop {
            let mut rows = (columns.clone(), rows.clone());
            let drawn = self.fill_rowids(state, table, &mut rows.0, &mut rows.1)?;
            match self.insert_rows(state, planned, plan, rows, &drawn, by) {
                Err(error) if self.is_overtaken(state, table, &drawn, &error)? => {}
                inserted => return inserted,
            }
        }
    }

    /// Whether a transaction has drawn a number first that was drawn here. It has all shards for itself while it does so, and what it
    /// draws is seen once it commits.
    fn is_overtaken(
        &self,
        state: &State,
        table: &Table,
        drawn: &[i64],
        error: &Error,
    ) -> Result<bool, Error> {
        let (Some(first), Error::Constraint { .. } | Error::Sql { .. }) = (drawn.first(), error)
        else {
            return Ok(false);
        };
        Ok(self.within().is_none() && self.last_rowid(state, table)? >= *first)
    }

    fn insert_rows(
        &self,
        state: &State,
        planned: &PlannedStatement,
        plan: &InsertPlan,
        (mut columns, mut rows): (Vec<String>, Vec<Vec<Value>>),
        drawn: &[i64],
        by: By<'_>,
    ) -> Result<Answer, Error> {
        let (homes, mode, key) = match by {
            By::Key(Anywhere { homes, mode }) => (homes, *mode, None),
            By::Shard(write) => (write.homes, write.mode, write.key),
        };
        let table = state.table(&plan.table)?;
        fill_key(state, table, &mut columns, &mut rows)?;
        let by_shard = self.group(state, table, (&columns, rows), key, homes)?;
        if let By::Shard(write) = by {
            self.check_home(table, write.place, &by_shard)?;
        }
        let new = homes.take_new();
        let spreading = match self.spreading(by_shard.len(), mode) {
            Spreading::OneByOne if !new.is_empty() => Spreading::Atomic,
            spreading => spreading,
        };
        if spreading == Spreading::Refused {
            return self.made_or_refused(state, planned, table, by_shard.len());
        }
        let places: Vec<Place> = by_shard.keys().map(|shard| Place::Shard(*shard)).collect();
        let mut batches = BTreeMap::new();
        for (shard, rows) in by_shard {
            // By another rule than refusal, a row that has come first would give way.
            let trap = plan.rule.and_then(|_| trap(table, drawn));
            let mut batch: Vec<Fragment> = trap.into_iter().collect();
            batch.extend(statements(table, plan, &columns, &rows)?);
            batches.insert(Place::Shard(shard), batch);
        }
        if spreading == Spreading::Atomic {
            if new.is_empty() {
                return self.write_atomic(state, planned, plan.rule, &batches);
            }
            return self.write_with_homes(state, planned, plan.rule, &batches, &new);
        }
        let unit = |place| calls(&batches[&place]);
        self.write_locked(state, planned, Target::of(&places, plan.rule), unit)
    }

    /// Refuses rows that belong elsewhere than on the shard that the caller has chosen.
    fn check_home(&self, table: &Table, home: Place, by_shard: &ByShard) -> Result<(), Error> {
        let mut shards = by_shard.keys().map(|shard| Place::Shard(*shard));
        match shards.find(|shard| *shard != home) {
            Some(stray) => Err(Error::WrongShard {
                table: table.name.clone(),
                key: format!("a row of {}", self.inner.places.name(stray)),
                shard: self.inner.places.name(home).to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The rows that the statement inserts, by value.
    fn rows_of(
        &self,
        state: &State,
        plan: &InsertPlan,
        params: &Params<'_>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let Some(rows) = &plan.rows else {
            return Ok(vec![Vec::new()]);
        };
        let planned = state.plan(rows)?;
        let statement = bound(&planned, params)?;
        let answer = self.run_planned(
            state,
            &planned,
            &(&statement.params).into(),
            WriteMode::Single,
        )?;
        Ok(answer.rows)
    }
}

/// Rows by the shards of their keys.
type ByShard = BTreeMap<usize, Vec<Vec<Value>>>;

/// Whether another try of the statement gives its rows the same keys.
fn keeps_keys(table: &Table, plan: &InsertPlan, columns: &[String], rows: &[Vec<Value>]) -> bool {
    let Some(key) = table.shard_key() else {
        return true;
    };
    let may_draw = table.rowid_alias == Some(key.column);
    let position = columns
        .iter()
        .position(|name| table.resolve(name) == Some(key.column));
    match position {
        // Drawn, or by default.
        None => !may_draw && table.columns[key.column].default.is_none(),
        Some(position) => {
            let is_drawn = |row: &Vec<Value>| may_draw && row[position].is_null();
            plan.deterministic && !plan.reads() && !rows.iter().any(is_drawn)
        }
    }
}

/// The columns that the rows of the statement give.
fn columns_of(table: &Table, plan: &InsertPlan) -> Vec<String> {
    if plan.rows.is_none() {
        return Vec::new();
    }
    if plan.columns.is_empty() {
        let given = table
            .columns
            .iter()
            .filter(|column| column.generated == Generated::Ordinary);
        return given.map(|column| column.name.clone()).collect();
    }
    plan.columns.clone()
}

fn check_width(
    table: &Table,
    columns: &[String],
    rows: Vec<Vec<Value>>,
) -> Result<Vec<Vec<Value>>, Error> {
    match rows.iter().find(|row| row.len() != columns.len()) {
        Some(row) => Err(Error::Sql {
            message: format!(
                "table {} has {} columns but {} values were supplied",
                table.name,
                columns.len(),
                row.len()
            ),
        }),
        None => Ok(rows),
    }
}

/// A key that the statement leaves out takes its default.
fn fill_key(
    state: &State,
    table: &Table,
    columns: &mut Vec<String>,
    rows: &mut [Vec<Value>],
) -> Result<(), Error> {
    let Some(column) = table.key_column() else {
        return Ok(());
    };
    if columns
        .iter()
        .any(|name| table.resolve(name) == table.column_index(&column.name))
    {
        return Ok(());
    }
    columns.push(column.name.clone());
    for row in rows {
        row.push(match &column.default {
            None => Value::Null,
            Some(default) => {
                let sql = format!("SELECT {default}");
                state.on_copy(|copy| {
                    copy.query_row(&sql, [], |row| Ok(super::read::own_value(row.get_ref(0)?)))
                })?
            }
        });
    }
    Ok(())
}

impl ShardedDatabase {
    fn group(
        &self,
        state: &State,
        table: &Table,
        (columns, rows): (&[String], Vec<Vec<Value>>),
        given: Option<&Key>,
        homes: &Homes,
    ) -> Result<ByShard, Error> {
        let key = table.shard_key().map(|key| key.column);
        let position = columns.iter().position(|name| table.resolve(name) == key);
        let mut by_shard = ByShard::new();
        for row in rows {
            let value = position.map_or(shardwright_store::ValueRef::Null, |position| {
                row[position].as_ref()
            });
            refuse_null(table, value)?;
            if let Some(given) = given {
                let routing = state.routing();
                let given = routing.canonical(table, given.value().as_ref());
                let found = routing.canonical(table, value);
                if given != found {
                    return Err(mismatch(table, &given, &found));
                }
            }
            let shard = self.route(state, homes, |routing| Ok(routing.shard_of(table, value)))?;
            by_shard.entry(shard).or_default().push(row);
        }
        Ok(by_shard)
    }
}

/// A statement that fails where there is a row with a number that was drawn for another one.
fn trap(table: &Table, drawn: &[i64]) -> Option<Fragment> {
    let alias = quote_identifier(&table.columns[table.rowid_alias?].name);
    if drawn.is_empty() {
        return None;
    }
    let list: Vec<String> = drawn.iter().map(i64::to_string).collect();
    // No number after an exclamation mark is JSON. It depends on the row, so that nothing is computed without one.
    let sql = format!(
        "SELECT json('!' || {alias}) FROM {} WHERE {alias} IN ({})",
        quote_identifier(&table.name),
        list.join(",")
    );
    Some(Fragment::new(sql, Vec::new()))
}

/// Statements that insert rows by value.
fn statements(
    table: &Table,
    plan: &InsertPlan,
    columns: &[String],
    rows: &[Vec<Value>],
) -> Result<Vec<Fragment>, Error> {
    if plan.tail.has_params {
        return Err(Error::Unsupported {
            what: "a parameter in ON CONFLICT or RETURNING of an INSERT whose rows are routed one by one".to_owned(),
            hint: "give the shard key of every row as a literal or a parameter, or write the value out",
        });
    }
    let name = quote_identifier(&table.name);
    if columns.is_empty() {
        let sql = format!("{} {name} DEFAULT VALUES{}", plan.verb, plan.tail.sql);
        return Ok(rows
            .iter()
            .map(|_| Fragment::new(&*sql, Vec::new()))
            .collect());
    }
    let list: Vec<String> = columns
        .iter()
        .map(|column| quote_identifier(column))
        .collect();
    let marks = format!("({})", vec!["?"; columns.len()].join(","));
    // SQLite's limit of parameters is 32,766.
    let most = ROWS_PER_STATEMENT.min(32_766 / columns.len()).max(1);
    Ok(rows
        .chunks(most)
        .map(|chunk| {
            let sql = format!(
                "{} {name}({}) VALUES {}{}",
                plan.verb,
                list.join(","),
                vec![marks.as_str(); chunk.len()].join(","),
                plan.tail.sql
            );
            Fragment::new(sql, chunk.concat())
        })
        .collect())
}

/// Statements that own their values, as the calls of a unit.
pub(super) fn calls(statements: &[Fragment]) -> Vec<Call<'_>> {
    statements
        .iter()
        .map(|statement| Call::new(&*statement.sql, &statement.params))
        .collect()
}
