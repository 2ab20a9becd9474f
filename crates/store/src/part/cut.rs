//! The file of a part, made of the whole: its schema, and of each table the rows that belong to it.
//!
//! Only what the part has is written, in the way of SQLite's VACUUM: tables, their rows, then indexes, then what has no rows. To copy the whole
//! and delete what is not of the part writes several times as much, and the disk's syncs wait for it.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::{KEEPS, Part, keeps_function};
use crate::{
    Config, Params, Result, Value, aside,
    capture::{TableDef, Tables},
    connection::{Connection, Purpose},
    dedup, identity,
    writer::quote,
};

/// What the header of a file says, and a new one has to be told before anything is in it.
const LAYOUT: [&str; 3] = ["page_size", "auto_vacuum", "encoding"];

/// What the header says for applications.
const MARKS: [&str; 2] = ["user_version", "application_id"];

/// Writes a part of the whole into a new file.
pub(super) fn cut(whole: &Path, path: &Path, part: &Part<'_>) -> Result<()> {
    let connection = aside::open(path)?;
    let source = Connection::open(&Arc::from(whole), &Config::default(), Purpose::Write)?;
    for pragma in LAYOUT {
        copy_pragma(&source, &connection, pragma)?;
    }
    keeps_function(part).register(&connection)?;
    let whole = [Value::from(whole.to_string_lossy().into_owned())];
    connection.execute("ATTACH DATABASE ?1 AS whole", Params::from(&whole))?;
    connection.run_script("PRAGMA writable_schema = ON; BEGIN")?;
    fill(&connection, part)?;
    for begins in part.without_notes {
        let notes = [Value::from(format!("{begins}*"))];
        let sql = "DELETE FROM main._meta WHERE key GLOB ?1";
        connection.execute(sql, Params::from(&notes))?;
    }
    identity::set_meta(&connection, "place", &Value::from(part.place))?;
    dedup::share(&connection, part.remembers)?;
    dedup::store(&connection, 0, part.entries)?;
    connection.run_script("COMMIT")?;
    for pragma in MARKS {
        copy_pragma(&source, &connection, pragma)?;
    }
    connection.run_script("DETACH DATABASE whole")?;
    source.close()?;
    connection.close()
}

fn copy_pragma(from: &Connection, to: &Connection, pragma: &str) -> Result<()> {
    let sql = format!("PRAGMA main.{pragma}");
    let value = from.query_row(&sql, Params::NONE, |row| match row.get(0).as_str() {
        Some(text) => quote(text),
        None => row.get(0).as_i64().unwrap_or_default().to_string(),
    })?;
    to.run_script(&format!("{sql} = {}", value.unwrap_or_default()))
}

/// Makes the schema, and takes over the rows.
fn fill(connection: &Connection, part: &Part<'_>) -> Result<()> {
    let made = definitions(connection, "type = 'table' AND rootpage > 0")?;
    // SQLite makes that one by itself with the first table that needs it, and writes to it with each row of such a table.
    let (sequences, made): (Vec<_>, Vec<_>) = made
        .into_iter()
        .partition(|(name, _)| name == "sqlite_sequence");
    for (_, sql) in &made {
        connection.run_script(sql)?;
    }
    let mut tables = Tables::default();
    tables.refresh(connection)?;
    let mut missing: BTreeSet<&str> = part.divided.iter().map(|table| &*table.name).collect();
    for (name, _) in made.iter().chain(&sequences) {
        let divided = part.divided.iter().zip(0..);
        let divided = divided.filter(|(table, _)| table.name.eq_ignore_ascii_case(name));
        let condition = divided.map(|(table, number)| {
            missing.remove(&*table.name);
            format!("WHERE {KEEPS}({number}, {})", quote(&table.column))
        });
        let condition = condition.last().unwrap_or_default();
        if tables.has(name) {
            copy_rows(connection, &*tables.def(connection, name)?, &condition)?;
        } else {
            copy_own(connection, name)?;
        }
    }
    if let Some(name) = missing.pop_first() {
        // SQLite says that it is not there.
        connection.run_script(&format!("SELECT 1 FROM whole.{}", quote(name)))?;
    }
    for (_, sql) in definitions(connection, "type = 'index' AND sql IS NOT NULL")? {
        connection.run_script(&sql)?;
    }
    connection
        .execute(
            "INSERT INTO main.sqlite_schema SELECT * FROM whole.sqlite_schema
             WHERE type IN ('view', 'trigger') OR type = 'table' AND rootpage = 0 ORDER BY rowid",
            Params::NONE,
        )
        .map(drop)
}

/// Returns the names and the definitions of what the whole has, in the order in which they were made.
fn definitions(connection: &Connection, which: &str) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    let sql = format!("SELECT name, sql FROM whole.sqlite_schema WHERE {which} ORDER BY rowid");
    let _all = connection.query(&sql, Params::NONE, |row| {
        let text = |column| row.get(column).as_str().unwrap_or_default().to_owned();
        all.push((text(0), text(1)));
        std::ops::ControlFlow::<()>::Continue(())
    })?;
    Ok(all)
}

/// Takes over rows as they are, with their rowids.
fn copy_rows(connection: &Connection, def: &TableDef, condition: &str) -> Result<()> {
    let rowid = def.rowid_name.map(str::to_owned);
    let columns = def.columns.iter().map(|column| quote(column));
    let columns = rowid.into_iter().chain(columns).collect::<Vec<_>>();
    let (table, columns) = (quote(&def.name), columns.join(", "));
    connection.run_script(&format!(
        "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM whole.{table} {condition}"
    ))
}

/// Takes over the rows of a table that is SQLite's or ours.
fn copy_own(connection: &Connection, name: &str) -> Result<()> {
    let table = quote(name);
    connection.run_script(&format!(
        "DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM whole.{table}"
    ))
}
