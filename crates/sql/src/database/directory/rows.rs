//! The rows of one key, in all tables of its key space.

use shardwright_store::Value;

use super::{
    super::{Limits, atomic::Commit, collect::Collected, state::State},
    reassign::value_of,
};
use crate::{
    error::Error,
    plan::HomeKey,
    schema::{Generated, Table, fold, quote_identifier},
    shards::{Call, Fragment, Place},
};

/// How many rows one statement inserts.
const ROWS_PER_STATEMENT: usize = 100;

/// The rows of a key, by the statements that reach them.
pub(super) struct KeyRows<'a> {
    /// Parents before their children.
    tables: Vec<&'a Table>,
    key: &'a HomeKey,
}

/// Rows that were read.
pub(super) struct Found<'a> {
    tables: Vec<(&'a Table, Vec<Vec<Value>>)>,
}

impl<'a> KeyRows<'a> {
    pub(super) fn new(state: &'a State, key: &'a HomeKey) -> Result<Self, Error> {
        let tables = state
            .schema
            .groups()
            .remove(&*key.space)
            .unwrap_or_default();
        if let Some(table) = tables.iter().find(|table| table.module.is_some()) {
            return Err(Error::Unsupported {
                what: format!("moving rows of the virtual table {}", table.name),
                hint: "drop the virtual table, move the key, and make it again",
            });
        }
        Ok(Self {
            tables: parents_first(tables),
            key,
        })
    }

    /// Reads the rows, as a commit sees them.
    pub(super) fn read(
        &self,
        commit: &mut Commit,
        place: Place,
        limits: Limits,
    ) -> Result<Found<'a>, Error> {
        let mut tables = Vec::new();
        for table in &self.tables {
            let columns: Vec<String> = stored(table).collect();
            let order = match table.rowid_name() {
                Some(rowid) => format!(" ORDER BY {rowid}"),
                None => String::new(),
            };
            let sql = format!(
                "SELECT {} FROM {}{order}",
                columns.join(", "),
                self.of_key(table)
            );
            let params = value_of(self.key);
            let call = Call::new(&sql, &params);
            let ran = commit.within(place, |open| open.aside(call))?;
            let mut rows = Collected::within(limits);
            for row in ran.rows {
                let _ = rows.push(row);
            }
            tables.push((*table, rows.finish()?));
        }
        Ok(Found { tables })
    }

    /// Statements that remove the rows, children first.
    pub(super) fn deletes(&self) -> Vec<Fragment> {
        let delete = |table: &&Table| {
            let sql = format!("DELETE FROM {}", self.of_key(table));
            Fragment::new(sql, value_of(self.key))
        };
        self.tables.iter().rev().map(delete).collect()
    }

    /// The statements between others that take the triggers of the tables away and bring them back, in the order in
    /// which they were made. A row that moves is neither inserted nor deleted for those who watch.
    pub(super) fn without_triggers(
        &self,
        commit: &mut Commit,
        place: Place,
        statements: Vec<Fragment>,
    ) -> Result<Vec<Fragment>, Error> {
        let look = "SELECT name, sql FROM main.sqlite_schema
            WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE ORDER BY rowid";
        let (mut drops, mut creates) = (Vec::new(), Vec::new());
        for table in &self.tables {
            let params = [Value::from(&*table.name)];
            let ran = commit.within(place, |open| open.aside(Call::new(look, &params)))?;
            for row in ran.rows {
                let text = |column: usize| row[column].as_str().unwrap_or_default();
                let drop = format!("DROP TRIGGER main.{}", quote_identifier(text(0)));
                drops.push(Fragment::new(drop, Vec::new()));
                creates.push(Fragment::new(text(1), Vec::new()));
            }
        }
        drops.extend(statements);
        drops.extend(creates);
        Ok(drops)
    }

    /// Refuses to go on if a place has another number of the key's rows.
    pub(super) fn check_count(
        &self,
        commit: &mut Commit,
        place: Place,
        expected: u64,
    ) -> Result<(), Error> {
        let mut found = 0;
        for table in &self.tables {
            let sql = format!("SELECT count(*) FROM {}", self.of_key(table));
            let params = value_of(self.key);
            let ran = commit.within(place, |open| open.aside(Call::new(&sql, &params)))?;
            let count = ran.rows.first().and_then(|row| row.first()?.as_i64());
            found += count.map_or(0, i64::unsigned_abs);
        }
        if found == expected {
            return Ok(());
        }
        Err(Error::RowsLost {
            table: self.key.space.to_string(),
            expected,
            found,
        })
    }

    fn of_key(&self, table: &Table) -> String {
        let column = table.key_column().map_or("", |column| column.name.as_str());
        format!(
            "main.{} WHERE {} = ?1",
            quote_identifier(&table.name),
            quote_identifier(column)
        )
    }
}

impl Found<'_> {
    pub(super) fn count(&self) -> u64 {
        self.tables.iter().map(|(_, rows)| rows.len() as u64).sum()
    }

    /// Statements that insert the rows elsewhere, parents first.
    pub(super) fn inserts(&self) -> Vec<Fragment> {
        let mut statements = Vec::new();
        for (table, rows) in &self.tables {
            let columns: Vec<String> = stored(table).collect();
            let marks = format!("({})", vec!["?"; columns.len()].join(","));
            // SQLite's limit of parameters is 32,766.
            let most = ROWS_PER_STATEMENT.min(32_766 / columns.len()).max(1);
            for chunk in rows.chunks(most) {
                let sql = format!(
                    "INSERT INTO main.{}({}) VALUES {}",
                    quote_identifier(&table.name),
                    columns.join(","),
                    vec![marks.as_str(); chunk.len()].join(",")
                );
                statements.push(Fragment::new(sql, chunk.concat()));
            }
        }
        statements
    }
}

/// The columns that rows have values for, quoted.
fn stored(table: &Table) -> impl Iterator<Item = String> {
    let stored = table
        .columns
        .iter()
        .filter(|column| column.generated == Generated::Ordinary);
    stored.map(|column| quote_identifier(&column.name))
}

/// Orders tables so that each comes after those that its foreign keys refer to, as far as these do not go in a circle.
fn parents_first(mut tables: Vec<&Table>) -> Vec<&Table> {
    let mut ordered: Vec<&Table> = Vec::new();
    while !tables.is_empty() {
        let waits_for = |table: &Table, other: &Table| {
            let mut parents = table.foreign_keys.iter().map(|key| fold(&key.parent));
            table.name != other.name && parents.any(|parent| parent == fold(&other.name))
        };
        let is_free = |table: &&Table| !tables.iter().any(|other| waits_for(table, other));
        let next = tables.iter().position(is_free).unwrap_or(0);
        ordered.push(tables.remove(next));
    }
    ordered
}
