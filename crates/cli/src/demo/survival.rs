//! The same data on three nodes, one of which is killed while it is written to: nothing that was acknowledged is lost.

use std::{collections::BTreeSet, io::Write};

use anyhow::Context as _;
use shardwright_sql::{Value, adopt::AdoptOptions};

use super::{
    baseline::Baseline,
    compare,
    home::Home,
    processes::{NODES, Processes},
    questions::QUESTIONS,
    reshaping,
    writing::{self, Writer, Written},
};
use crate::{
    client::{SqlClient, Writing},
    failure::Failure,
    interrupt::Interrupt,
    output::{self, Sheet},
    progress,
    style::Style,
    transfer::{Journal, Source, Transfer},
};

/// How many writes are acknowledged before a node is killed, and how many after that.
const WRITES: usize = 300;

/// Runs this part of the demo. Fails unless every answer and every acknowledged write is there.
pub(crate) fn run(
    home: &Home,
    baseline: &Baseline,
    interrupt: &Interrupt,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let style = Style::of_stdout();
    let title = style.heading("The same rows on three nodes, one of which is killed");
    writeln!(out, "\n{title}\n")?;
    out.flush()?;
    let mut processes = Processes::start()?;
    let client = processes.client()?;
    let rows = load(home, &processes, &client, interrupt)?;
    writeln!(
        out,
        "{} are on {NODES} node processes, three copies of each shard. A write counts once two\n\
         copies have it.",
        output::count(rows, "row")
    )?;
    let different = ask(&client, baseline, interrupt)?;
    let equal = QUESTIONS.len() - different;
    writeln!(
        out,
        "Asked of the nodes, {equal} of {} answers equal those of one SQLite file.",
        QUESTIONS.len()
    )?;
    out.flush()?;
    let written = write_through_a_kill(&mut processes, &client, interrupt, out)?;
    let lost = check(&processes, &written, rows)?;
    report(&written, lost, style, out)?;
    if different > 0 {
        let questions = QUESTIONS.len();
        return Err(Failure::DemoDiffers {
            different,
            questions,
        }
        .into());
    }
    match lost {
        0 => Ok(()),
        lost => Err(Failure::DemoLost { lost }.into()),
    }
}

/// Brings the demo's database into the cluster. Returns how many rows it has.
fn load(
    home: &Home,
    processes: &Processes,
    client: &SqlClient,
    interrupt: &Interrupt,
) -> anyhow::Result<u64> {
    let source = Source::open(home.path(), &AdoptOptions::default())?;
    let mut journal = Journal::begin(processes.path().join("journal"), &source)?;
    let numbered = processes.client_named(journal.client())?;
    let transfer = Transfer {
        source: &source,
        client,
        rows: &numbered,
        interrupt,
    };
    let bar = progress::rows(source.rows());
    let done = transfer.run(&mut journal, &mut |at| {
        bar.set_message(at.doing.to_owned());
        bar.set_position(at.rows);
    });
    bar.finish_and_clear();
    done.context("load the rows into the nodes")?;
    Ok(source.rows())
}

/// Asks the demo's questions. Returns how many answers differ from those of one SQLite file.
fn ask(client: &SqlClient, baseline: &Baseline, interrupt: &Interrupt) -> anyhow::Result<usize> {
    let mut different = 0;
    for question in &QUESTIONS {
        interrupt.check()?;
        let reply = client.execute(question.sql, &[], Writing::Single)?;
        let ours = Sheet {
            columns: reply.columns,
            rows: reply.rows,
        };
        let theirs = baseline.answer(question.sql)?;
        different += usize::from(!compare::equal(&ours, &theirs));
    }
    Ok(different)
}

/// Lets a writer run, and kills a primary in the middle.
fn write_through_a_kill(
    processes: &mut Processes,
    client: &SqlClient,
    interrupt: &Interrupt,
    out: &mut dyn Write,
) -> anyhow::Result<Written> {
    client.execute(writing::TABLE, &[], Writing::Single)?;
    let mut writer = Writer::start(processes.client()?);
    writer.until(WRITES, interrupt)?;
    reshaping::split_move_and_merge(processes, &mut writer, interrupt, out)?;
    writer.take_gap();
    let (name, led) = processes.kill_a_primary()?;
    writeln!(
        out,
        "  {name} is killed (SIGKILL): it was the primary of {}.",
        output::count(led as u64, "shard")
    )?;
    out.flush()?;
    writer.until(WRITES, interrupt)?;
    writer.finish()
}

/// Asks the survivors for all that was acknowledged. Returns how much is missing.
fn check(processes: &Processes, written: &Written, rows: u64) -> anyhow::Result<usize> {
    let client = processes.client()?;
    let reply = client.execute("SELECT value FROM written", &[], Writing::Single)?;
    let there: BTreeSet<String> = reply.texts().flatten().collect();
    let lost = written.values.difference(&there).count();
    let sql = "SELECT (SELECT count(*) FROM airlines) + (SELECT count(*) FROM airports)";
    let mut count = number(&client, sql)?;
    for table in ["planes", "flights", "weather"] {
        count += number(&client, &format!("SELECT count(*) FROM {table}"))?;
    }
    let missing = usize::try_from(rows.saturating_sub(count)).unwrap_or(usize::MAX);
    Ok(lost.saturating_add(missing))
}

fn number(client: &SqlClient, sql: &str) -> anyhow::Result<u64> {
    let reply = client.execute(sql, &[], Writing::Single)?;
    match reply.rows.first().and_then(|row| row.first()) {
        Some(Value::Integer(number)) => Ok(u64::try_from(*number)?),
        _ => anyhow::bail!("{sql} has no number for an answer"),
    }
}

fn report(written: &Written, lost: usize, style: Style, out: &mut dyn Write) -> anyhow::Result<()> {
    let acknowledged = output::count(written.values.len() as u64, "write");
    let line = if lost == 0 {
        style.good(&format!("{acknowledged} acknowledged, every one is there."))
    } else {
        let lost = output::grouped(lost as u64);
        style.bad(&format!(
            "{acknowledged} acknowledged, {lost} rows are LOST."
        ))
    };
    writeln!(
        out,
        "Counted on the survivors: {line}\n\
         The longest wait after the kill was {} ms; a node counts as down after 1 s.\n\n\
         To try a cluster of your own: shardwright dev",
        written.longest_gap.as_millis()
    )?;
    Ok(())
}
