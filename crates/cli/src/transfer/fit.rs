//! What of a database cannot be brought into a cluster, found before anything is made there.

use std::collections::BTreeSet;

use anyhow::Context as _;
use rusqlite::{Connection, params_from_iter};
use shardwright_sql::schema::{ForeignKey, Schema, Table, physical, quote_identifier};

use super::{batches::Batch, order, rows};
use crate::values;

/// For each thing that cannot be brought into a cluster the table, and a sentence that says why.
#[derive(Debug, Default)]
pub(super) struct Unfit(Vec<(String, String)>);

impl Unfit {
    /// Adds what is wrong with a table.
    pub(super) fn add(&mut self, table: &Table, why: String) {
        let why = format!("{}: {why}", table.name);
        self.0.push((table.name.clone(), why));
    }

    /// Whether nothing has been found about a table.
    pub(super) fn is_fine(&self, table: &Table) -> bool {
        self.0.iter().all(|(name, _)| *name != table.name)
    }

    /// The sentences, each with the name of its table.
    pub(super) fn sentences(self) -> Vec<String> {
        self.0.into_iter().map(|(_, why)| why).collect()
    }
}

/// Looks for what the places of a cluster would refuse; what depends on single rows and their order is found when they are read.
///
/// # Errors
/// When the database cannot be read.
pub(super) fn check(connection: &Connection, schema: &Schema) -> anyhow::Result<(Unfit, Place)> {
    let place = Place::new(schema)?;
    let mut unfit = Unfit::default();
    for table in schema.tables().filter(|table| table.module.is_some()) {
        let why = "what a virtual table keeps is not made of rows; drop it in a copy of the file, and make it in the cluster";
        unfit.add(table, why.to_owned());
    }
    for (table, key) in order::made_too_early(schema) {
        let why = format!(
            "its foreign key to {} spans shards, and {0} refers to it in turn",
            key.parent
        );
        unfit.add(table, why);
    }
    let mut before = BTreeSet::new();
    for name in order::filled(schema) {
        before.insert(order::fold(&name));
        if let Some(table) = schema.table(&name)
            && unfit.is_fine(table)
            && has_rows(connection, table)?
        {
            let mut checked = Checked {
                connection,
                schema,
                table,
                place: &place,
                unfit: &mut unfit,
            };
            checked.check(&before)?;
        }
    }
    Ok((unfit, place))
}

/// A table with rows.
struct Checked<'a> {
    connection: &'a Connection,
    schema: &'a Schema,
    table: &'a Table,
    place: &'a Place,
    unfit: &'a mut Unfit,
}

impl Checked<'_> {
    /// Looks at the foreign keys; `before` are the tables that are filled by the time that this one is, itself among them.
    fn check(&mut self, before: &BTreeSet<String>) -> anyhow::Result<()> {
        if let Err(error) = self.place.understands(self.table) {
            self.unfit.add(self.table, error.to_string());
            return Ok(());
        }
        let (schema, table) = (self.schema, self.table);
        for key in order::kept_keys(schema, table) {
            let Some(parent) = schema.table(&key.parent) else {
                continue;
            };
            let is_there = before.contains(&order::fold(&parent.name));
            let condition = if is_there {
                let refers = rows::refers(table, parent, key);
                let parent = quote_identifier(&parent.name);
                format!("NOT EXISTS (SELECT 1 FROM main.{parent} p WHERE {refers})")
            } else {
                "TRUE".to_owned()
            };
            let lost = self.count(key, &condition)?;
            if lost == 0 {
                continue;
            }
            let lost = crate::output::count(lost, "row");
            let why = if is_there {
                format!(
                    "{lost} without the row of {} that the foreign key asks for",
                    parent.name
                )
            } else {
                format!(
                    "{lost} with a foreign key to {}, which refers to this table in turn: neither can come first",
                    parent.name
                )
            };
            self.unfit.add(table, why);
        }
        Ok(())
    }

    /// How many rows have all columns of a foreign key, and fulfil the condition.
    fn count(&self, key: &ForeignKey, condition: &str) -> anyhow::Result<u64> {
        let name = quote_identifier(&self.table.name);
        let given = key.columns.iter().map(|column| {
            let column = quote_identifier(&self.table.columns[*column].name);
            format!("c.{column} IS NOT NULL AND ")
        });
        let given: String = given.collect();
        let sql = format!("SELECT count(*) FROM main.{name} c WHERE {given}{condition}");
        let count = self
            .connection
            .query_row(&sql, (), |row| row.get::<_, i64>(0));
        let count = count.with_context(|| format!("read {}", self.table.name))?;
        Ok(count.unsigned_abs())
    }
}

fn has_rows(connection: &Connection, table: &Table) -> anyhow::Result<bool> {
    let name = quote_identifier(&table.name);
    let sql = format!("SELECT EXISTS (SELECT 1 FROM main.{name})");
    let found = connection.query_row(&sql, (), |row| row.get(0));
    found.with_context(|| format!("read {}", table.name))
}

/// An empty database with the tables as places have them, which takes rows for a moment.
#[derive(Debug)]
pub(super) struct Place(Connection);

impl Place {
    /// # Errors
    /// For a table that cannot be made as places have it.
    fn new(schema: &Schema) -> anyhow::Result<Self> {
        let place = Connection::open_in_memory()?;
        for table in schema.tables().filter(|table| table.module.is_none()) {
            place.execute_batch(&physical::create_statement(schema, &table.name)?)?;
        }
        place.pragma_update(None, "foreign_keys", false)?;
        Ok(Self(place))
    }

    /// Has a table take rows, and removes them. Foreign keys count if `keeps_keys`; there are no rows of other tables.
    ///
    /// # Errors
    /// Why it does not: a condition may be younger than a row.
    pub(super) fn takes(
        &self,
        table: &Table,
        batch: &Batch,
        keeps_keys: bool,
    ) -> rusqlite::Result<()> {
        self.keeping(keeps_keys, || {
            let args = batch.args.iter().map(values::to_sqlite);
            let mut statement = self.0.prepare_cached(&batch.sql)?;
            statement.execute(params_from_iter(args))?;
            let name = quote_identifier(&table.name);
            self.0.execute(&format!("DELETE FROM {name}"), ()).map(drop)
        })
    }

    /// Whether SQLite makes anything of an INSERT: a foreign key may ask for what is not there.
    fn understands(&self, table: &Table) -> rusqlite::Result<()> {
        self.keeping(true, || {
            let name = quote_identifier(&table.name);
            let insert = format!("INSERT INTO {name} DEFAULT VALUES");
            self.0.prepare(&insert).map(drop)
        })
    }

    fn keeping(
        &self,
        keeps_keys: bool,
        run: impl FnOnce() -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        if !keeps_keys {
            return run();
        }
        self.0.pragma_update(None, "foreign_keys", true)?;
        let ran = run();
        self.0.pragma_update(None, "foreign_keys", false)?;
        ran
    }
}
