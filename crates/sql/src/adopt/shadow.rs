//! The tables behind virtual tables, which hold what a full-text or spatial index is made of.
//!
//! They are copied row by row: rebuilding an index from its content would lose what has no content.

use rusqlite::{Connection, types::ToSqlOutput};

use crate::schema::quote_identifier;

/// Copies the rows of every such table of `from` into `to`, in place of those that a new virtual table begins with.
/// `to` must not be defensive, and nothing may have used the virtual tables on it.
pub(crate) fn copy(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let mut list = from.prepare(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow' ORDER BY name",
    )?;
    let tables = list
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, bool)>>>()?;
    for (name, without_rowid) in tables {
        create_missing(from, to, &name)?;
        copy_table(from, to, &name, without_rowid)?;
    }
    Ok(())
}

/// Some modules make a table only when they first need it.
fn create_missing(from: &Connection, to: &Connection, name: &str) -> rusqlite::Result<()> {
    let exists: bool = to.query_row(
        "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1",
        [name],
        |row| row.get(0),
    )?;
    if exists {
        return Ok(());
    }
    let sql: String = from.query_row(
        "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1",
        [name],
        |row| row.get(0),
    )?;
    to.execute_batch(&sql)
}

fn copy_table(
    from: &Connection,
    to: &Connection,
    name: &str,
    without_rowid: bool,
) -> rusqlite::Result<()> {
    let mut list = from.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
    let mut columns = list
        .query_map([name], |row| row.get::<_, String>(0))?
        .map(|name| name.map(|name| quote_identifier(&name)))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let hides_rowid = |column: &String| column.eq_ignore_ascii_case("\"rowid\"");
    if !without_rowid && !columns.iter().any(hides_rowid) {
        columns.insert(0, "rowid".to_owned());
    }
    let (table, names) = (quote_identifier(name), columns.join(", "));
    to.execute(&format!("DELETE FROM main.{table}"), ())?;
    let mut select = from.prepare(&format!("SELECT {names} FROM main.{table}"))?;
    let mut insert = to.prepare(&format!(
        "INSERT INTO main.{table}({names}) VALUES ({})",
        vec!["?"; columns.len()].join(", ")
    ))?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        for column in 0..columns.len() {
            insert.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(row.get_ref(column)?))?;
        }
        insert.raw_execute()?;
    }
    Ok(())
}
