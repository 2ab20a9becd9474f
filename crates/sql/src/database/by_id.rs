//! Rows by the value of their primary key, without SQL: CollegeDB's `insert`, `upsert`, `patch`, `deleteById` and `paginate`.

use shardwright_store::Value;

use super::ShardedDatabase;
use crate::{
    error::Error,
    schema::{Table, quote_identifier},
};

/// One page of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its rows, in the order of the primary key.
    pub rows: Vec<Vec<Value>>,
    /// The rows of the table.
    pub total: u64,
    /// Its number, from 1.
    pub page: u64,
    /// The most rows that a page has.
    pub limit: u64,
    /// How many pages there are.
    pub pages: u64,
}

impl ShardedDatabase {
    /// Inserts a row, and returns the value of its primary key: the one given, or the one that it was given. Columns that are
    /// left out take their defaults.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], [`Error::UnknownColumn`], [`Error::Unsupported`] if the primary key is not one column, and as
    /// [`ShardedDatabase::execute`]. Nothing was inserted then.
    #[doc(alias = "insertInto")]
    #[doc(alias = "insertReturning")]
    pub fn insert_row(&self, table: &str, values: &[(&str, Value)]) -> Result<Value, Error> {
        let target = self.target(table)?;
        let sql = format!("{} RETURNING {}", target.insert(values)?, target.id());
        self.returned(&sql, values)
    }

    /// Inserts a row, or gives the row that has its primary key the other values. Returns the value of the primary key.
    ///
    /// # Errors
    /// As [`ShardedDatabase::insert_row`], and [`Error::ShardKeyUpdate`] or [`Error::GlobalConflict`] if the row that is there has
    /// another shard key.
    #[doc(alias = "upsert")]
    pub fn upsert_row(&self, table: &str, values: &[(&str, Value)]) -> Result<Value, Error> {
        let target = self.target(table)?;
        let insert = target.insert(values)?;
        let id = target.id();
        let key = target.shard_key();
        let stays = |column: &str| target.is_id(column) || target.is_shard_key(column);
        let set = |(column, _): &(&str, Value)| {
            let name = quote_identifier(column);
            (!stays(column)).then(|| format!("{name} = excluded.{name}"))
        };
        let sets: Vec<String> = values.iter().filter_map(set).collect();
        if sets.is_empty() {
            let sql = format!("{insert} ON CONFLICT ({id}) DO NOTHING RETURNING {id}");
            let answer = self.execute(&sql, &params_of(values))?;
            let given = values.iter().find(|(column, _)| target.is_id(column));
            let given = given.map(|(_, value)| value);
            return Ok(answer
                .first_value()
                .or(given)
                .cloned()
                .unwrap_or(Value::Null));
        }
        let same = key.as_ref().map_or_else(String::new, |key| {
            format!(" WHERE {}.{key} IS excluded.{key}", target.name())
        });
        let sets = sets.join(", ");
        let sql = format!("{insert} ON CONFLICT ({id}) DO UPDATE SET {sets}{same} RETURNING {id}");
        let answer = self.execute(&sql, &params_of(values))?;
        match (answer.first_value(), target.table.key_column()) {
            (None, Some(key)) => Err(Error::ShardKeyUpdate {
                table: target.table.name.clone(),
                column: key.name.clone(),
            }),
            (found, _) => Ok(found.cloned().unwrap_or(Value::Null)),
        }
    }

    /// Gives the row with that primary key these values, and leaves the others as they are. Returns whether there is such
    /// a row.
    ///
    /// # Errors
    /// As [`ShardedDatabase::insert_row`], and [`Error::ShardKeyUpdate`].
    #[doc(alias = "patch")]
    #[doc(alias = "updateRow")]
    pub fn patch_row(
        &self,
        table: &str,
        id: impl Into<Value>,
        values: &[(&str, Value)],
    ) -> Result<bool, Error> {
        let target = self.target(table)?;
        target.check(values)?;
        let set = |(column, _): &(&str, Value)| format!("{} = ?", quote_identifier(column));
        let sets: Vec<String> = values.iter().map(set).collect();
        let (name, key) = (target.name(), target.id());
        let sql = format!("UPDATE {name} SET {} WHERE {key} = ?", sets.join(", "));
        let mut params = params_of(values);
        params.push(id.into());
        Ok(self.execute(&sql, &params)?.changes > 0)
    }

    /// Deletes the row with that primary key. Returns whether there was one.
    ///
    /// # Errors
    /// As [`ShardedDatabase::insert_row`].
    #[doc(alias = "deleteById")]
    #[doc(alias = "deleteRow")]
    pub fn delete_by_id(&self, table: &str, id: impl Into<Value>) -> Result<bool, Error> {
        let target = self.target(table)?;
        let sql = format!("DELETE FROM {} WHERE {} = ?", target.name(), target.id());
        Ok(self.execute(&sql, &[id.into()])?.changes > 0)
    }

    /// A page of a table in the order of its primary key, over all shards. Pages count from 1, and one after the last has
    /// no rows.
    ///
    /// # Errors
    /// As [`ShardedDatabase::insert_row`].
    pub fn paginate(&self, table: &str, page: u64, limit: u64) -> Result<Page, Error> {
        let target = self.target(table)?;
        let (name, limit, page) = (target.name(), limit.max(1), page.max(1));
        let count = self.execute(&format!("SELECT count(*) FROM {name}"), ())?;
        let total = count.first_value().and_then(Value::as_i64).unwrap_or(0);
        let sql = format!(
            "SELECT * FROM {name} ORDER BY {} LIMIT ? OFFSET ?",
            target.id()
        );
        let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let bounds = [number(limit), number(limit.saturating_mul(page - 1))];
        let total = total.unsigned_abs();
        Ok(Page {
            rows: self.execute(&sql, &bounds)?.rows,
            total,
            page,
            limit,
            pages: total.div_ceil(limit),
        })
    }

    fn target(&self, table: &str) -> Result<Target, Error> {
        let state = self.inner.state.load();
        let table = state.table(table)?.clone();
        match table.primary_key[..] {
            [id] => Ok(Target { table, id }),
            _ => Err(Error::Unsupported {
                what: format!(
                    "a row by id in table {}, whose primary key is not one column",
                    table.name
                ),
                hint: "name the columns in SQL",
            }),
        }
    }

    fn returned(&self, sql: &str, values: &[(&str, Value)]) -> Result<Value, Error> {
        let answer = self.execute(sql, &params_of(values))?;
        Ok(answer.first_value().cloned().unwrap_or(Value::Null))
    }
}

fn params_of(values: &[(&str, Value)]) -> Vec<Value> {
    values.iter().map(|(_, value)| value.clone()).collect()
}

/// A table whose rows have ids.
struct Target {
    table: Table,
    /// The column of the id.
    id: usize,
}

impl Target {
    fn name(&self) -> String {
        quote_identifier(&self.table.name)
    }

    fn id(&self) -> String {
        quote_identifier(&self.table.columns[self.id].name)
    }

    fn is_id(&self, column: &str) -> bool {
        self.table.resolve(column) == Some(self.id)
    }

    fn is_shard_key(&self, column: &str) -> bool {
        let key = self.table.shard_key().map(|key| key.column);
        key.is_some() && self.table.resolve(column) == key
    }

    /// The column that places rows, if the table is sharded.
    fn shard_key(&self) -> Option<String> {
        let column = self.table.key_column()?;
        Some(quote_identifier(&column.name))
    }

    /// Refuses columns that the table does not have, and a statement without any.
    fn check(&self, values: &[(&str, Value)]) -> Result<(), Error> {
        if values.is_empty() {
            return Err(Error::Unsupported {
                what: "a row without values".to_owned(),
                hint: "give at least one column",
            });
        }
        match values
            .iter()
            .find(|(column, _)| self.table.resolve(column).is_none())
        {
            Some((column, _)) => Err(Error::UnknownColumn {
                table: self.table.name.clone(),
                column: (*column).to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn insert(&self, values: &[(&str, Value)]) -> Result<String, Error> {
        self.check(values)?;
        let columns: Vec<String> = values
            .iter()
            .map(|(name, _)| quote_identifier(name))
            .collect();
        Ok(format!(
            "INSERT INTO {}({}) VALUES ({})",
            self.name(),
            columns.join(", "),
            vec!["?"; values.len()].join(", ")
        ))
    }
}
