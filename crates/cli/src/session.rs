//! Statements and dot commands, one after another, against one database.

mod dot;
mod engine;

use std::io::Write;

use shardwright_sql::statement;

pub(crate) use self::engine::{Answered, Engine, Files, Nodes, sheet};
use crate::output::{self, Format};

/// Whether there is more to run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flow {
    Continue,
    Quit,
}

/// What is said beside the answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Remarks {
    /// Nothing: the output is for programs.
    Silent,
    /// After each answer, how many rows there were and where they came from.
    Footer,
}

/// Whether typed text ends between two statements. A dot command ends with its line.
pub(crate) fn is_complete(text: &str) -> bool {
    text.trim_start().starts_with('.') || statement::is_complete(text)
}

/// A database, and how its answers are printed.
pub(crate) struct Session<'a> {
    engine: Box<dyn Engine>,
    format: Format,
    remarks: Remarks,
    out: &'a mut dyn Write,
}

impl<'a> Session<'a> {
    /// A session that prints answers in this format.
    pub(crate) fn new(
        engine: Box<dyn Engine>,
        format: Format,
        remarks: Remarks,
        out: &'a mut dyn Write,
    ) -> Self {
        Self {
            engine,
            format,
            remarks,
            out,
        }
    }

    /// Runs whole statements, or one dot command, and prints each answer as soon as it is there.
    /// The first failure ends the run; what was answered before stays done.
    pub(crate) fn run(&mut self, text: &str) -> anyhow::Result<Flow> {
        if let Some(command) = text.trim_start().strip_prefix('.') {
            let flow = self.dot(command)?;
            self.out.flush()?;
            return Ok(flow);
        }
        for statement in statement::split(text) {
            let answer = self.engine.execute(statement)?;
            self.print(&answer)?;
            self.out.flush()?;
        }
        Ok(Flow::Continue)
    }

    fn print(&mut self, answer: &Answered) -> anyhow::Result<()> {
        output::write_answer(self.out, self.format, &answer.sheet, answer.changes)?;
        if self.remarks == Remarks::Footer
            && self.format == Format::Table
            && let Some(footer) = footer(answer)
        {
            writeln!(self.out, "{footer}")?;
        }
        Ok(())
    }
}

/// How many rows there were, or changed, and where; `None` for a statement that touched nothing.
fn footer(answer: &Answered) -> Option<String> {
    let places = match answer.places.as_slice() {
        [] => return None,
        few @ ([_] | [_, _]) => few.join(" and "),
        many => format!("{} shards", many.len()),
    };
    Some(if answer.sheet.columns.is_empty() {
        format!(
            "{} changed on {places}",
            output::count(answer.changes, "row")
        )
    } else {
        format!(
            "{} from {places}",
            output::count(answer.sheet.rows.len() as u64, "row")
        )
    })
}
