//! Rows whose shard key changes: each goes to the place of its new key, with the rows that refer to it there and follow its key.

use std::collections::BTreeMap;

use shardwright_store::Value;

use super::Commit;
use crate::{
    database::{journal::Step, state::State},
    error::Error,
    plan::Located,
    schema::{ForeignKey, Generated, Schema, Table, physical::is_enforceable, quote_identifier},
    shards::{Call, Fragment, Place, Ran},
};

/// A row that is found, with where it is and where it belongs then.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) row: Vec<Value>,
    pub(super) from: Place,
    pub(super) to: Place,
}

/// A row with what tells it apart at its place.
struct Stored {
    identity: Vec<Value>,
    values: Vec<Value>,
}

/// What moves a row and those that follow it: first these go, the last ones before those that they refer to, and then those come.
#[derive(Default)]
struct Moving {
    deletes: Vec<Fragment>,
    inserts: Vec<Fragment>,
}

/// Changes rows one after the other, as SQLite does. Returns what was done at each place.
pub(super) fn change_rows(
    commit: &mut Commit,
    state: &State,
    table: &Table,
    located: &Located,
    rows: &[Found],
) -> Result<Vec<(Place, Ran)>, Error> {
    let mut done: BTreeMap<Place, Vec<Ran>> = BTreeMap::new();
    for Found { row, from, to } in rows {
        if from == to {
            for (sql, values) in located.statements(table, std::slice::from_ref(row)) {
                let step = Step::bound(&Fragment::new(sql, values));
                done.entry(*from)
                    .or_default()
                    .push(commit.run(*from, step)?);
            }
            continue;
        }
        let mut moving = Moving::default();
        let Some(stored) = stored_row(commit, *from, table, located.identity_of(row))? else {
            // What another row has replaced is not changed any more.
            continue;
        };
        let values = located.new_row(table, row, &stored.values);
        let verb = located.insert_verb().ok_or_else(|| stays(table))?;
        moving.add(
            commit,
            &state.schema,
            *from,
            (table, verb),
            &stored,
            &values,
        )?;
        for delete in &moving.deletes {
            commit.follow(*from, delete)?;
        }
        let mut inserts = moving.inserts.iter();
        if let Some(insert) = inserts.next() {
            let mut ran = commit.run(*to, Step::bound(insert))?;
            ran.outcome.last_insert_rowid = None;
            done.entry(*to).or_default().push(ran);
        }
        for insert in inserts {
            commit.follow(*to, insert)?;
        }
    }
    let all = done.into_iter().map(|(place, ran)| (place, Ran::all(ran)));
    Ok(all.collect())
}

impl Moving {
    /// Adds a row, and those whose foreign keys carry the change to them.
    fn add(
        &mut self,
        commit: &mut Commit,
        schema: &Schema,
        place: Place,
        (table, verb): (&Table, &str),
        row: &Stored,
        values: &[Value],
    ) -> Result<(), Error> {
        if schema.triggers(&table.name).next().is_some() {
            // Those of an UPDATE would run on a row that is deleted here and inserted there.
            return Err(stays(table));
        }
        self.inserts.push(insert(table, verb, values));
        for (child, key) in children(schema, table) {
            if child.name == table.name {
                return Err(stays(table));
            }
            let columns = referred(key, table).ok_or_else(|| stays(table))?;
            let of = |row: &[Value]| -> Option<Vec<Value>> {
                let value = |column: &usize| row.get(stored_index(table, *column)?).cloned();
                columns.iter().map(value).collect()
            };
            let (Some(old), Some(new)) = (of(&row.values), of(values)) else {
                return Err(stays(table));
            };
            for follower in rows_with(commit, place, child, &key.columns, &old)? {
                if !key.on_update.eq_ignore_ascii_case("CASCADE") {
                    return Err(Error::Constraint {
                        message: "FOREIGN KEY constraint failed".to_owned(),
                    });
                }
                let mut moved = follower.values.clone();
                for (column, value) in key.columns.iter().zip(&new) {
                    if let Some(index) = stored_index(child, *column) {
                        moved[index] = value.clone();
                    }
                }
                self.add(commit, schema, place, (child, "INSERT"), &follower, &moved)?;
            }
        }
        self.deletes.push(delete(table, &row.identity));
        Ok(())
    }
}

/// The tables whose rows are at the places of the rows of this one that they refer to.
fn children<'s>(
    schema: &'s Schema,
    table: &Table,
) -> impl Iterator<Item = (&'s Table, &'s ForeignKey)> {
    let name = table.name.clone();
    schema.tables().flat_map(move |child| {
        let keys = child.foreign_keys.iter();
        let name = name.clone();
        keys.filter(move |key| key.parent.eq_ignore_ascii_case(&name))
            .filter(move |key| is_enforceable(schema, child, key))
            .map(move |key| (child, key))
    })
}

/// The columns that a foreign key refers to.
fn referred(key: &ForeignKey, parent: &Table) -> Option<Vec<usize>> {
    if key.parent_columns.is_empty() {
        return Some(parent.primary_key.clone());
    }
    let names = key.parent_columns.iter();
    names.map(|name| parent.resolve(name)).collect()
}

/// The columns that rows are inserted with.
fn stored_columns(table: &Table) -> impl Iterator<Item = (usize, String)> {
    let columns = table.columns.iter().enumerate();
    columns
        .filter(|(_, column)| column.generated == Generated::Ordinary)
        .map(|(index, column)| (index, quote_identifier(&column.name)))
}

/// Where a column is among those that rows are inserted with.
pub(super) fn stored_index(table: &Table, column: usize) -> Option<usize> {
    stored_columns(table).position(|(index, _)| index == column)
}

/// What tells the rows of a place apart.
fn identity(table: &Table) -> Vec<String> {
    match table.rowid_name() {
        Some(rowid) => vec![rowid.to_owned()],
        None => {
            let columns = table.primary_key.iter();
            columns
                .map(|column| quote_identifier(&table.columns[*column].name))
                .collect()
        }
    }
}

fn all_are(columns: &[String], operator: &str) -> String {
    let terms: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} {operator} ?"))
        .collect();
    terms.join(" AND ")
}

fn stored_row(
    commit: &mut Commit,
    place: Place,
    table: &Table,
    is: &[Value],
) -> Result<Option<Stored>, Error> {
    let condition = all_are(&identity(table), "IS");
    Ok(rows_where(commit, place, table, &condition, is)?.pop())
}

fn rows_with(
    commit: &mut Commit,
    place: Place,
    table: &Table,
    columns: &[usize],
    values: &[Value],
) -> Result<Vec<Stored>, Error> {
    let names: Vec<String> = columns
        .iter()
        .map(|column| quote_identifier(&table.columns[*column].name))
        .collect();
    rows_where(commit, place, table, &all_are(&names, "="), values)
}

fn rows_where(
    commit: &mut Commit,
    place: Place,
    table: &Table,
    condition: &str,
    values: &[Value],
) -> Result<Vec<Stored>, Error> {
    let identity = identity(table);
    let stored = stored_columns(table).map(|(_, name)| name);
    let list: Vec<String> = identity.iter().cloned().chain(stored).collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {condition}",
        list.join(", "),
        quote_identifier(&table.name)
    );
    let found = commit.within(place, |open| open.aside(Call::new(&sql, values)))?;
    let split = |mut row: Vec<Value>| {
        let values = row.split_off(identity.len());
        Stored {
            identity: row,
            values,
        }
    };
    Ok(found.rows.into_iter().map(split).collect())
}

fn insert(table: &Table, verb: &str, values: &[Value]) -> Fragment {
    let names: Vec<String> = stored_columns(table).map(|(_, name)| name).collect();
    let sql = format!(
        "{verb} INTO {}({}) VALUES ({})",
        quote_identifier(&table.name),
        names.join(", "),
        vec!["?"; names.len()].join(", ")
    );
    Fragment::new(sql, values.to_vec())
}

fn delete(table: &Table, is: &[Value]) -> Fragment {
    let sql = format!(
        "DELETE FROM {} WHERE {}",
        quote_identifier(&table.name),
        all_are(&identity(table), "IS")
    );
    Fragment::new(sql, is.to_vec())
}

/// The row cannot go elsewhere.
fn stays(table: &Table) -> Error {
    Error::ShardKeyUpdate {
        table: table.name.clone(),
        column: table
            .key_column()
            .map(|column| column.name.clone())
            .unwrap_or_default(),
    }
}
