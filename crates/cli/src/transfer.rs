//! Brings a database into a cluster, by statements that any node takes: tables, then rows, then what belongs to the tables.
//!
//! The rows go in INSERTs of bounded size, each with a number: one that is sent again happens once. What has been acknowledged stands in
//! a [journal](Journal) beside, so that a transfer that was interrupted goes on.

mod batches;
mod bringing;
mod definitions;
mod fit;
mod journal;
mod order;
mod rows;
mod sequences;
mod source;
mod survey;

use std::collections::BTreeMap;

use shardwright_sql::{
    Value,
    schema::{SchemaObject, quote_identifier},
};

use self::definitions::Definition;
pub(crate) use self::{
    bringing::{Bringing, journal_path},
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
    /// Fails if the cluster has something under a name that is to be given: tables, indexes, views and triggers share their names.
    ///
    /// # Errors
    /// [`Failure::NamesTaken`], or what the node says.
    pub(crate) fn check_absent(&self) -> anyhow::Result<()> {
        let there = self.objects()?;
        let wanted = definitions::tables(self.source.schema())?.into_iter();
        let wanted = wanted.chain(definitions::others(self.source.schema()));
        let names = wanted.map(|definition| definition.object.name);
        let names: Vec<String> = names
            .filter(|name| there.contains_key(&order::fold(name)))
            .collect();
        if names.is_empty() {
            Ok(())
        } else {
            Err(Failure::NamesTaken { names }.into())
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

    /// What the cluster has, by names in lower case.
    fn objects(&self) -> Result<BTreeMap<String, SchemaObject>, SqlError> {
        let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema";
        let reply = self.client.execute(sql, &[], Writing::Single)?;
        let objects = reply.texts().map(|row| {
            let mut texts = row.into_iter();
            let mut next = || texts.next().unwrap_or_default();
            let object = SchemaObject {
                kind: next(),
                name: next(),
                table: next(),
                sql: next(),
            };
            (order::fold(&object.name), object)
        });
        Ok(objects.collect())
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
            let doing = &definition.object.name;
            progress(Progress { doing, rows });
            if !is_there(&there, definition)? {
                self.define_one(definition)?;
            }
        }
        Ok(())
    }

    fn define_one(&self, definition: &Definition) -> anyhow::Result<()> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let made = self
                .client
                .execute(&definition.sql, &[], Writing::BestEffort);
            match made {
                Ok(_) => return Ok(()),
                Err(error) if error.is_timeout() && attempts < DEFINE_ATTEMPTS => {
                    if is_there(&self.objects()?, definition)? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send_rows(
        &self,
        journal: &mut Journal,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> anyhow::Result<()> {
        let (mut rows, mut number) = (0, 0);
        for (sending, batches) in self.source.sendings() {
            let doing = &sending.table.name;
            if number + batches <= journal.batches() {
                number += batches;
                rows += self.source.count(doing);
                continue;
            }
            batches::each(self.source.connection(), &sending, &mut |batch| {
                number += 1;
                if journal.batches() < number {
                    self.interrupt.check()?;
                    progress(Progress { doing, rows });
                    self.rows.run(Numbered {
                        sql: &batch.sql,
                        args: &batch.args,
                        writing: Writing::BestEffort,
                        number,
                        together: &[],
                    })?;
                    journal.acknowledged()?;
                }
                rows += batch.rows;
                Ok(())
            })?;
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

/// Whether what is to be made is there.
///
/// # Errors
/// [`Failure::NamesTaken`] if something else has its name.
fn is_there(
    there: &BTreeMap<String, SchemaObject>,
    definition: &Definition,
) -> Result<bool, Failure> {
    let wanted = &definition.object;
    let Some(found) = there.get(&order::fold(&wanted.name)) else {
        return Ok(false);
    };
    let is_it = found.kind == wanted.kind
        && found.table.eq_ignore_ascii_case(&wanted.table)
        && found.sql == wanted.sql;
    let names = vec![wanted.name.clone()];
    is_it.then_some(true).ok_or(Failure::NamesTaken { names })
}

#[cfg(test)]
mod tests;
