//! Brings a database into a cluster, by statements that any node takes: tables, then rows, then what belongs to the tables.
//!
//! The rows go in INSERTs of bounded size, each with a number: one that is sent again happens once. What has been acknowledged stands in
//! a [journal](Journal) beside, so that a transfer that was interrupted goes on.

mod batches;
mod definitions;
mod journal;
mod source;

use std::collections::BTreeSet;

use shardwright_sql::{Value, schema::quote_identifier};

use self::definitions::Definition;
pub(crate) use self::{
    journal::{Journal, JournalError},
    source::Source,
};
use crate::{
    client::{Numbered, SqlClient, SqlError, Writing},
    failure::Failure,
    interrupt::Interrupt,
};

/// How often the statement that makes an object is sent again after its answer was lost.
const DEFINE_ATTEMPTS: usize = 5;

/// A transfer under way.
pub(crate) struct Transfer<'a> {
    pub(crate) source: &'a Source,
    /// Asks, and changes the schema.
    pub(crate) client: &'a SqlClient,
    /// Sends the rows, under the journal's name.
    pub(crate) rows: &'a SqlClient,
    pub(crate) interrupt: &'a Interrupt,
}

/// What a transfer is at, for those who watch it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress<'a> {
    pub(crate) doing: &'a str,
    /// The rows that are there, of all tables.
    pub(crate) rows: u64,
}

impl Transfer<'_> {
    /// Fails if the cluster has a table that is to be made.
    ///
    /// # Errors
    /// [`Failure::TablesExist`], or what the node says.
    pub(crate) fn check_absent(&self) -> anyhow::Result<()> {
        let there = self.objects()?;
        let names = self.source.tables().map(|table| table.name.clone());
        let tables: Vec<String> = names
            .filter(|name| there.contains(&name.to_ascii_lowercase()))
            .collect();
        if tables.is_empty() {
            Ok(())
        } else {
            Err(Failure::TablesExist { tables }.into())
        }
    }

    /// Does what the journal says is left to do, and compares the counts in the end.
    ///
    /// # Errors
    /// The first statement that fails; [`Failure::CountsDiffer`]. What has been done stands in the journal.
    pub(crate) fn run(
        &self,
        journal: &mut Journal,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> anyhow::Result<()> {
        let tables = definitions::tables(self.source.schema())?;
        self.define(&tables, progress)?;
        self.send_rows(journal, progress)?;
        let others = definitions::others(self.source.schema());
        self.define(&others, progress)?;
        for pragma in definitions::pragmas(self.source.schema()) {
            self.client.execute(&pragma, &[], Writing::Single)?;
        }
        progress(Progress {
            doing: "counting",
            rows: self.source.rows(),
        });
        self.compare()
    }

    /// The names of what the cluster has, in lower case.
    fn objects(&self) -> Result<BTreeSet<String>, SqlError> {
        let sql = "SELECT name FROM sqlite_schema";
        let reply = self.client.execute(sql, &[], Writing::Single)?;
        let names = reply.rows.into_iter().flatten();
        Ok(names.filter_map(text).collect())
    }

    /// Makes what is not there yet.
    fn define(
        &self,
        definitions: &[Definition],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> anyhow::Result<()> {
        let there = self.objects()?;
        let rows = if definitions.iter().all(Definition::is_table) {
            0
        } else {
            self.source.rows()
        };
        for definition in definitions {
            self.interrupt.check()?;
            let doing = &definition.name;
            progress(Progress { doing, rows });
            if !there.contains(&doing.to_ascii_lowercase()) {
                self.define_one(definition)?;
            }
        }
        Ok(())
    }

    fn define_one(&self, definition: &Definition) -> Result<(), SqlError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let made = self
                .client
                .execute(&definition.sql, &[], Writing::BestEffort);
            match made {
                Ok(_) => return Ok(()),
                Err(error) if error.is_timeout() && attempts < DEFINE_ATTEMPTS => {
                    let name = definition.name.to_ascii_lowercase();
                    if self.objects()?.contains(&name) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn send_rows(
        &self,
        journal: &mut Journal,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> anyhow::Result<()> {
        let mut before = 0;
        for (index, table) in self.source.tables().enumerate() {
            let total = self.source.count(&table.name);
            let (at, done) = journal.place();
            if index < at {
                before += total;
                continue;
            }
            let done = if index == at { done } else { 0 };
            let mut batches = batches::of(self.source, table, done)?;
            let mut there = done;
            while let Some(batch) = batches.next()? {
                self.interrupt.check()?;
                progress(Progress {
                    doing: &table.name,
                    rows: before + there,
                });
                self.rows.run(Numbered {
                    sql: &batch.sql,
                    args: &batch.args,
                    writing: Writing::BestEffort,
                    number: journal.next_number(),
                })?;
                there += batch.rows;
                journal.acknowledged(index, there)?;
            }
            before += total;
        }
        Ok(())
    }

    fn compare(&self) -> anyhow::Result<()> {
        let mut differing = Vec::new();
        for table in self.source.tables() {
            let sql = format!("SELECT count(*) FROM {}", quote_identifier(&table.name));
            let reply = self.client.execute(&sql, &[], Writing::Single)?;
            let found = match reply.rows.first().and_then(|row| row.first()) {
                Some(Value::Integer(count)) => u64::try_from(*count).unwrap_or_default(),
                _ => 0,
            };
            let expected = self.source.count(&table.name);
            if found != expected {
                differing.push(format!("{}: {found} of {expected}", table.name));
            }
        }
        if differing.is_empty() {
            Ok(())
        } else {
            Err(Failure::CountsDiffer { differing }.into())
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(bytes) => {
            let name = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            Some(name)
        }
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => None,
    }
}
