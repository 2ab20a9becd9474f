//! Searches for cases that fail: the command.

use std::{
    ops::ControlFlow,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use shardwright_compare::{
    fuzz::{Finding, search},
    random::Tally,
};

/// Every so many cases a line says how far the search is.
const CASES_PER_LINE: u64 = 50;

/// Search for statements that sharded databases answer otherwise than SQLite.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to search in.
    #[arg(value_enum)]
    what: What,
    /// How long; without it and with a seed, that seed alone.
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// The first seed; one that nobody has run before unless told otherwise.
    #[arg(long)]
    seed: Option<u64>,
    /// The numbers of shards, which the cases take in turns.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,5,16", value_parser = crate::scripts::shard_count)]
    shards: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The SQL engine: random schemas, rows and statements.
    Sql,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a search lasts as long as it was told, and its first seed is of now"
)]
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let What::Sql = args.what;
    let began = Instant::now();
    let (first, time) = match (args.seed, args.minutes) {
        (Some(seed), minutes) => (seed, minutes.map(of_minutes).transpose()?),
        (None, minutes) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            // Seeds of one run follow one another, and those of two runs are far apart.
            let seed = now.as_secs() << 20;
            (seed, Some(of_minutes(minutes.unwrap_or(1.0))?))
        }
    };
    println!("first seed {first}");
    let mut tally = Tally::default();
    let found = search(first, &args.shards, &mut tally, |seed, tally| {
        let done = seed - first;
        if done > 0 && done.is_multiple_of(CASES_PER_LINE) {
            eprintln!("{done} cases, {} statements equal", tally.equal);
        }
        let is_over = match time {
            Some(time) => began.elapsed() >= time,
            None => done > 0,
        };
        if is_over && done > 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    for (code, count) in &tally.refused {
        println!("refused: {count} with {code}");
    }
    println!(
        "{} equal, {} of them scattered, {} invalid for both, {} too costly",
        tally.equal, tally.scattered, tally.invalid, tally.exhausted
    );
    Ok(told(found.as_ref()))
}

fn told(found: Option<&Finding>) -> ExitCode {
    let Some(Finding { seed, report }) = found else {
        return ExitCode::SUCCESS;
    };
    println!("\n{report}\n\nagain: cargo xtask fuzz sql --seed {seed}");
    ExitCode::FAILURE
}

fn of_minutes(minutes: f64) -> anyhow::Result<Duration> {
    Ok(Duration::try_from_secs_f64(minutes * 60.0)?)
}
