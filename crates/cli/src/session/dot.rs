//! Commands that start with a dot: about the database, not in SQL.

use clap::ValueEnum as _;

use super::{Flow, Session, engine::unknown_table};
use crate::failure::Failure;
use crate::output::{self, Format, Sheet};

const HELP: &str = "\
.explain SQL          which shards a statement touches, and why (of a directory)
.help                 this list
.mode table|json|csv  how answers are printed
.quit                 leave (so does Ctrl-D)
.schema [TABLE]       the statements that create the tables
.shards               the shards and what they hold (of a directory)
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
                let sheet = self.engine.shards()?;
                self.list(&sheet)?;
            }
            "tables" => {
                let sheet = self.engine.tables()?;
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
        let sheet = self.engine.explain(sql.trim_end_matches(';'))?;
        self.list(&sheet)
    }

    fn schema(&mut self, table: &str) -> anyhow::Result<()> {
        let statements = self.engine.schema(table)?;
        if statements.is_empty() && !table.is_empty() {
            return Err(unknown_table(table).into());
        }
        for statement in statements {
            writeln!(self.out, "{statement};")?;
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
