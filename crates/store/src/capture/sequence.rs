//! The rows of `sqlite_sequence`, which SQLite changes without telling.

use std::ops::ControlFlow;

use super::Tables;
use crate::{
    ChangedKey, Params, Result, RowChange, Value, ValueRef, Values,
    changes::{Encoder, Head},
    connection::Connection,
};

/// The rows of `sqlite_sequence` at one moment, in the order of their rowids; none if there is no such
/// table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequences(Vec<(i64, [Value; 2])>);

/// A rowid, and its row before and after.
type Difference<'a> = (i64, Option<&'a [Value; 2]>, Option<&'a [Value; 2]>);

impl Sequences {
    /// SQLite's name of the table.
    pub(crate) const TABLE: &'static str = "sqlite_sequence";

    pub(crate) fn read(connection: &Connection, tables: &Tables) -> Result<Self> {
        let mut rows = Vec::new();
        if tables.has_sequences() {
            let _all = connection.query(
                "SELECT rowid, name, seq FROM main.sqlite_sequence ORDER BY rowid",
                Params::NONE,
                |row| {
                    let rowid = row.get(0).as_i64().unwrap_or_default();
                    rows.push((rowid, [row.get(1).to_value(), row.get(2).to_value()]));
                    ControlFlow::<()>::Continue(())
                },
            )?;
        }
        Ok(Self(rows))
    }

    /// Writes what changed since this moment, and goes on from now.
    pub(crate) fn write_changes(
        &mut self,
        connection: &Connection,
        tables: &Tables,
        encoder: &mut Encoder,
    ) -> Result<()> {
        let now = Self::read(connection, tables)?;
        let table = &mut Head::new(Self::TABLE, &ChangedKey::RowId, 2);
        for (rowid, old, new) in self.differences(&now) {
            match (old, new) {
                (None, Some(new)) => encoder.insert(table, Some(rowid), refs(new)),
                (Some(old), None) => encoder.delete(table, Some(rowid), refs(old)),
                (Some(old), Some(new)) => {
                    encoder.update(table, Some(rowid), refs(old), refs(new));
                }
                (None, None) => {}
            }
        }
        *self = now;
        Ok(())
    }

    /// Writes all rows, as they are after a statement on the schema.
    pub(crate) fn write_all(&self, encoder: &mut Encoder) {
        let rows = self
            .0
            .iter()
            .flat_map(|(rowid, row)| std::iter::once(ValueRef::Integer(*rowid)).chain(refs(row)));
        encoder.sequences(self.0.len(), rows);
    }

    /// Reads what [`Sequences::write_all`] wrote.
    pub(crate) fn of_values(values: Values<'_>) -> Self {
        let mut rows = Vec::new();
        let mut values = values.map(ValueRef::to_value);
        while let (Some(rowid), Some(name), Some(seq)) =
            (values.next(), values.next(), values.next())
        {
            rows.push((rowid.as_i64().unwrap_or_default(), [name, seq]));
        }
        rows.sort_by_key(|(rowid, _)| *rowid);
        Self(rows)
    }

    /// Makes a recorded change, and returns whether the row was as it says.
    pub(crate) fn change(&mut self, change: &RowChange<'_>) -> bool {
        let rowid = change.rowid().unwrap_or_default();
        let place = self.0.binary_search_by_key(&rowid, |(rowid, _)| *rowid);
        let old = place.ok().map(|at| &self.0[at].1);
        let expected = change.before();
        let matches = match (old, expected) {
            (None, None) => true,
            (Some(old), Some(expected)) => refs(old).eq(expected),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !matches {
            return false;
        }
        let new = change.after().map(|values| {
            let mut values = values.map(ValueRef::to_value);
            [(); 2].map(|()| values.next().unwrap_or_default())
        });
        match (place, new) {
            (Ok(at), Some(new)) => self.0[at].1 = new,
            (Ok(at), None) => drop(self.0.remove(at)),
            (Err(at), Some(new)) => self.0.insert(at, (rowid, new)),
            (Err(_), None) => {}
        }
        true
    }

    /// Makes the table what this says.
    pub(crate) fn write(&self, connection: &Connection, tables: &Tables) -> Result<()> {
        let now = Self::read(connection, tables)?;
        for (rowid, old, new) in now.differences(self) {
            let rowid = Value::from(rowid);
            if old.is_some() {
                connection.execute(
                    "DELETE FROM main.sqlite_sequence WHERE rowid = ?1",
                    Params::from(std::slice::from_ref(&rowid)),
                )?;
            }
            if let Some([name, seq]) = new {
                connection.execute(
                    "INSERT INTO main.sqlite_sequence (rowid, name, seq) VALUES (?1, ?2, ?3)",
                    Params::from(&[rowid, name.clone(), seq.clone()]),
                )?;
            }
        }
        Ok(())
    }

    /// Returns the rows that differ, in the order of their rowids.
    fn differences<'a>(&'a self, other: &'a Self) -> Vec<Difference<'a>> {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut differences = Vec::new();
        loop {
            let rowid = match (left.peek(), right.peek()) {
                (Some((left, _)), Some((right, _))) => *left.min(right),
                (Some((rowid, _)), None) | (None, Some((rowid, _))) => *rowid,
                (None, None) => return differences,
            };
            let old = left.next_if(|(at, _)| *at == rowid).map(|(_, row)| row);
            let new = right.next_if(|(at, _)| *at == rowid).map(|(_, row)| row);
            if old != new {
                differences.push((rowid, old, new));
            }
        }
    }
}

fn refs(row: &[Value; 2]) -> impl Iterator<Item = ValueRef<'_>> + Clone {
    row.iter().map(Value::as_ref)
}
