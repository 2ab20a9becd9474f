//! Rowids that SQLite would choose: one more than the greatest of all shards.

use shardwright_store::{Row, Value};

use super::{ShardedDatabase, journal::Step, state::State};
use crate::{
    error::Error,
    schema::{Table, quote_identifier},
    shards::{Call, Fragment, Place, Places},
};

/// The catalog's table of the greatest numbers that AUTOINCREMENT has given out.
pub(crate) const SEQUENCE_TABLE: &str = "CREATE TABLE IF NOT EXISTS _sequence(name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID";

impl ShardedDatabase {
    /// Gives every row without a rowid the next one, as SQLite would in one file, and returns these. The caller holds the lock of
    /// constrained writes from before this until the rows are written, or two inserts would draw the same. A transaction that draws the
    /// same meanwhile has the shards first: the rows are refused then.
    pub(super) fn fill_rowids(
        &self,
        state: &State,
        table: &Table,
        columns: &mut Vec<String>,
        rows: &mut [Vec<Value>],
    ) -> Result<Vec<i64>, Error> {
        let mut drawn = Vec::new();
        let Some(alias) = table.rowid_alias else {
            return Ok(drawn);
        };
        let position = match columns
            .iter()
            .position(|name| table.resolve(name) == Some(alias))
        {
            Some(position) => position,
            None => {
                columns.push(table.columns[alias].name.clone());
                rows.iter_mut().for_each(|row| row.push(Value::Null));
                columns.len() - 1
            }
        };
        if rows.iter().all(|row| !row[position].is_null()) && !table.autoincrement {
            return Ok(drawn);
        }
        if let Some(transaction) = self.within() {
            transaction.lock().constrain();
        }
        let mut last = self.last_rowid(state, table)?;
        for row in rows.iter_mut() {
            if row[position].is_null() {
                last = last.checked_add(1).ok_or_else(|| Error::Sql {
                    message: "database or disk is full".to_owned(),
                })?;
                row[position] = Value::Integer(last);
                drawn.push(last);
            } else if let Some(given) = row[position].as_i64() {
                last = last.max(given);
            }
        }
        if table.autoincrement {
            self.remember(state, table, last)?;
        }
        Ok(drawn)
    }

    /// The greatest rowid of a table on all shards; of AUTOINCREMENT, the greatest that there ever was.
    pub(super) fn last_rowid(&self, state: &State, table: &Table) -> Result<i64, Error> {
        let column = table
            .rowid_alias
            .map(|alias| table.columns[alias].name.as_str())
            .unwrap_or_default();
        let sql = format!(
            "SELECT max({}) FROM {}",
            quote_identifier(column),
            quote_identifier(&table.name)
        );
        let mut last = 0;
        let places = &self.inner.places;
        let first = |row: &Row<'_>| row.get(0).as_i64();
        for place in places.all().filter(|place| state.lives_at(table, *place)) {
            let greatest =
                |places: &dyn Places| places.query_row(place, Call::new(&sql, ()), first);
            let found = self.when_shown(place, greatest)?;
            last = last.max(found.flatten().unwrap_or(0));
        }
        if table.autoincrement {
            let name = [Value::from(crate::schema::fold(&table.name))];
            let sql = "SELECT last FROM _sequence WHERE name = ?1";
            let kept = places.query_row(Place::Catalog, Call::new(sql, &name), first)?;
            last = last.max(kept.flatten().unwrap_or(0));
        }
        Ok(last)
    }

    /// Notes a number as given out. It is no part of the statement: another try may draw another one.
    fn remember(&self, state: &State, table: &Table, last: i64) -> Result<(), Error> {
        self.check_writable()?;
        let sql = "INSERT INTO _sequence(name, last) VALUES (?1, ?2)
            ON CONFLICT(name) DO UPDATE SET last = max(last, excluded.last)";
        let params = [
            Value::from(crate::schema::fold(&table.name)),
            Value::Integer(last),
        ];
        let call = Call::new(sql, &params);
        if let Some(transaction) = self.within() {
            let step = Step::bound(&Fragment::from(call));
            return transaction.lock().note(state, Place::Catalog, step);
        }
        let unit = [call];
        let places = &self.everywhere().inner.places;
        places.write(Place::Catalog, &unit).map(drop)
    }
}
