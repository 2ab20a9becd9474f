//! Commands that start with a dot: about the database, not in SQL.

use clap::ValueEnum as _;
use shardwright_sql::Error;
use shardwright_sql::Value;
use shardwright_sql::schema::{Schema, SchemaObject, TableKind};

use super::{Flow, Session};
use crate::commands::shards;
use crate::failure::Failure;
use crate::output::{self, Format, Sheet};

const HELP: &str = "\
.explain SQL          which shards a statement touches, and why
.help                 this list
.mode table|json|csv  how answers are printed
.quit                 leave (so does Ctrl-D)
.schema [TABLE]       the statements that create the tables
.shards               the shards and what they hold
.tables               the tables and where their rows live

Statements end with a semicolon. Ctrl-C drops what was typed so far.";

impl Session<'_> {
    /// Runs the command after the dot.
    pub(super) fn dot(&mut self, command: &str) -> anyhow::Result<Flow> {
        let (name, argument) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        let argument = argument.trim();
        match name.trim() {
            "explain" => self.explain(argument)?,
            "help" => writeln!(self.out, "{HELP}")?,
            "mode" => self.format = mode(argument)?,
            "quit" | "exit" => return Ok(Flow::Quit),
            "schema" => self.schema(argument)?,
            "shards" => {
                let sheet = shards::sheet(&self.database)?;
                self.list(&sheet)?;
            }
            "tables" => {
                let sheet = tables(&self.database.schema());
                self.list(&sheet)?;
            }
            _ => {
                return Err(Failure::UnknownDotCommand {
                    name: name.to_owned(),
                }
                .into());
            }
        }
        Ok(Flow::Continue)
    }

    fn list(&mut self, sheet: &Sheet) -> anyhow::Result<()> {
        Ok(output::write_answer(self.out, self.format, sheet, 0)?)
    }

    fn explain(&mut self, sql: &str) -> anyhow::Result<()> {
        let sql = sql.trim_end_matches(';');
        let explanation = self.database.explain(sql, ())?;
        let mut sheet = Sheet::with_columns(&["tier", "shards", "reason"]);
        sheet.rows.push(vec![
            output::text(explanation.tier.to_string()),
            output::text(explanation.places.join(", ")),
            output::text(explanation.reason),
        ]);
        self.list(&sheet)
    }

    fn schema(&mut self, table: &str) -> anyhow::Result<()> {
        let schema = self.database.schema();
        let is_wanted =
            |object: &&SchemaObject| table.is_empty() || object.table.eq_ignore_ascii_case(table);
        let mut is_found = false;
        for object in schema.stored().objects.iter().filter(is_wanted) {
            writeln!(self.out, "{};", object.sql)?;
            is_found = true;
        }
        if !is_found && !table.is_empty() {
            return Err(Error::UnknownTable {
                table: table.to_owned(),
            }
            .into());
        }
        Ok(())
    }
}

fn mode(argument: &str) -> anyhow::Result<Format> {
    Format::from_str(argument, true).map_err(|_| {
        let given = argument.to_owned();
        Failure::DotArgument {
            name: "mode",
            takes: "table, json or csv",
            given,
        }
        .into()
    })
}

/// The tables, and where the rows of each live.
fn tables(schema: &Schema) -> Sheet {
    let mut sheet = Sheet::with_columns(&["table", "kind", "shard key", "key space"]);
    for table in schema.tables() {
        let (kind, column, group) = match &table.kind {
            TableKind::Sharded(key) => {
                let column = &table.columns[key.column].name;
                ("sharded", output::text(column), output::text(&key.group))
            }
            TableKind::Reference => ("reference", Value::Null, Value::Null),
            TableKind::Global => ("global", Value::Null, Value::Null),
        };
        sheet.rows.push(vec![
            output::text(&table.name),
            output::text(kind),
            column,
            group,
        ]);
    }
    sheet
}
