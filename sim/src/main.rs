//! Runs the state machines of the crates in the simulator: `cargo xtask sim --help`.
//!
//! A scenario is a module with an implementation of [`Scenario`](shardwright_testkit::sim::Scenario), and a line in [`cases`]. Its rules
//! that can be left out are its mutations; a test asks that each is missed.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a tool tells people what it does"
)]

mod caretaker;
mod clock;
mod commit;
mod control;
mod counter;
mod elastic;
mod election;
mod failover;
mod log;
mod reshape;

use std::{
    num::NonZeroUsize,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, bail};
use clap::Parser;
use shardwright_testkit::sim::{Case, Report};

/// Simulate processes, their network and their store, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim")]
struct Args {
    /// The scenario; all of them if none is named.
    name: Option<String>,
    /// How many seeds of each scenario are run; 1,000 unless told otherwise.
    #[arg(long)]
    seeds: Option<u64>,
    /// Run only as many seeds of each scenario as a few seconds take, which need not reach every rare situation of a slow one.
    #[arg(long, conflicts_with_all = ["seeds", "seed"])]
    brief: bool,
    /// Run thousands of seeds of each scenario that nobody has run before, of each for a quarter of an hour at most.
    #[arg(long, conflicts_with_all = ["seeds", "brief", "trace", "shrink"])]
    nightly: bool,
    /// The first seed; alone, the only one.
    #[arg(long)]
    seed: Option<u64>,
    /// Print all that happens. For one seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Leave out the faults that a failing seed fails without, and print what happens then.
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Leave out a rule of the scenario, which a failing seed must notice.
    #[arg(long, requires = "name")]
    without: Option<String>,
    /// How many seeds run at the same time.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

/// All scenarios, with all their rules.
fn cases() -> Vec<Case> {
    vec![
        Case::of::<counter::Counter>(),
        Case::of::<election::Leaders>(),
        Case::of::<failover::Library>(),
        Case::of::<control::Control>(),
        Case::of::<elastic::Elastic>(),
        Case::of::<commit::Commits>(),
        Case::of::<log::Logs<log::Numbers>>(),
        Case::of::<log::Logs<log::Sqlite>>(),
        Case::of::<reshape::Reshape>(),
    ]
}

/// All scenarios, each without one of its rules.
fn mutants() -> Vec<Case> {
    [
        Case::mutants::<counter::Counter>(),
        Case::mutants::<election::Leaders>(),
        Case::mutants::<failover::Library>(),
        Case::mutants::<control::Control>(),
        Case::mutants::<elastic::Elastic>(),
        Case::mutants::<commit::Commits>(),
        Case::mutants::<log::Logs<log::Numbers>>(),
        Case::mutants::<log::Logs<log::Sqlite>>(),
        Case::mutants::<reshape::Reshape>(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let all: Vec<Case> = cases().into_iter().chain(mutants()).collect();
    let known: Vec<String> = all.iter().map(title).collect();
    let wanted = |case: &Case| {
        args.name.as_deref().is_none_or(|name| name == case.name) && args.without == case.missing
    };
    let cases: Vec<Case> = all.into_iter().filter(wanted).collect();
    if cases.is_empty() {
        bail!("there is no such scenario, there are: {}", known.join(", "));
    }
    let fresh = if args.nightly {
        u64::from(rand::random::<u32>())
    } else {
        0
    };
    let mut failed = Vec::new();
    for case in &cases {
        let passed = match args.seed {
            Some(seed) if args.shrink => shrink(case, seed),
            Some(seed) if args.trace || args.seeds.is_none() && !args.nightly => {
                replay(case, seed, args.trace)
            }
            first => explore(case, first.unwrap_or(fresh), args)?,
        };
        if !passed {
            failed.push(case.name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// What a scenario is called on the command line.
fn title(case: &Case) -> String {
    let without = case
        .missing
        .as_ref()
        .map(|rule| format!(" --without {rule}"));
    format!("{}{}", case.name, without.unwrap_or_default())
}

/// Runs one seed and shows it.
fn replay(case: &Case, seed: u64, traced: bool) -> bool {
    let run = case.run(seed, traced);
    for line in &run.trace {
        println!("{line}");
    }
    println!(
        "{} seed {seed}: {} events, {:.1} s simulated, reached: {}",
        case.name,
        run.events,
        run.simulated.as_secs_f64(),
        run.marks.join(", ")
    );
    if let Some(failure) = &run.failure {
        println!("broken: {failure}");
    }
    run.failure.is_none()
}

/// Shows what is left of a failing seed.
fn shrink(case: &Case, seed: u64) -> bool {
    let Some((faults, run)) = case.shrink(seed) else {
        println!("{} seed {seed} does not fail", case.name);
        return true;
    };
    for line in &run.trace {
        println!("{line}");
    }
    let (events, failure) = (run.events, run.failure.unwrap_or_default());
    println!(
        "{} seed {seed} with {faults} faults: {events} events",
        case.name
    );
    println!("broken: {failure}");
    false
}

/// How many seeds are run unless somebody says otherwise.
const SEEDS: u64 = 1_000;

/// How many seeds are run briefly, of a scenario that is as fast as most.
const FEW_SEEDS: u64 = 300;

/// How many of one of whose situations a hundred seeds reach hardly one.
const FEW_SEEDS_FOR_RARE: u64 = 600;

/// How many seeds of a scenario are run briefly.
fn few_seeds(case: &Case) -> u64 {
    match case.name {
        "log" => FEW_SEEDS_FOR_RARE,
        _ => FEW_SEEDS / weight(case),
    }
}

/// How many seeds of other scenarios take as long as one of this one.
fn weight(case: &Case) -> u64 {
    match case.name {
        "shard" => 30,
        "reshape" => 60,
        "elastic" => 6,
        _ => 1,
    }
}

/// How many seeds are run at night, of a scenario that is as fast as most, and of any.
const NIGHT_SEEDS: u64 = 60_000;
const NIGHT_SEEDS_MIN: u64 = 2_000;

/// For how many seconds seeds of one scenario are begun at night.
const NIGHT_SECONDS: u64 = 900;

/// How many of the last lines of a failing seed's trace are shown.
const TAIL: usize = 60;

fn explore(case: &Case, first: u64, args: &Args) -> anyhow::Result<bool> {
    let threads = match args.threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism().context("count the processors")?,
    };
    let (started, shown) = (clock::now(), AtomicU64::new(0));
    let progress = |report: &Report| {
        let seconds = started.elapsed().as_secs();
        if shown.fetch_max(seconds / 5, Ordering::Relaxed) < seconds / 5 {
            let rate = report.seeds / seconds.max(1);
            eprintln!("{}: {} seeds, {rate} in a second", case.name, report.seeds);
        }
        !args.nightly || seconds < NIGHT_SECONDS
    };
    let seeds = match args.seeds {
        Some(seeds) => seeds,
        None if args.brief => few_seeds(case),
        None if args.nightly => NIGHT_SEEDS_MIN.max(NIGHT_SEEDS / weight(case)),
        None => SEEDS,
    };
    let report = case.explore(first..first + seeds, threads.get(), progress);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}: {} seeds from {first}, {:.0} events each, {:.1} s, {:.0} seeds and {:.0} events in a second",
        case.name,
        report.seeds,
        per(report.events, report.seeds),
        seconds,
        per(report.seeds, 1) / seconds,
        per(report.events, 1) / seconds,
    );
    for (mark, seeds) in &report.marks {
        println!("  reached by {seeds:>6} seeds: {mark}");
    }
    for mark in report.unreached() {
        println!("  NEVER REACHED: {mark}");
    }
    for (seed, failure) in &report.failures {
        println!("  FAILED seed {seed}: {failure}");
        println!("    cargo xtask sim {} --seed {seed} --trace", title(case));
    }
    if let Some((seed, _)) = report.failures.first() {
        let trace = case.run(*seed, true).trace;
        let skipped = trace.len().saturating_sub(TAIL);
        println!("  the last {TAIL} lines of seed {seed}:");
        for line in &trace[skipped..] {
            println!("    {line}");
        }
    }
    let is_sample = args.brief && weight(case) > 1;
    Ok(report.passed() || is_sample && report.failed == 0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate that is shown with few digits"
)]
fn per(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Among how many seeds one must notice that a rule is missing.
    const SEEDS_TO_MISS: u64 = 2_000;

    #[test]
    fn no_rule_can_be_left_out() {
        for case in mutants() {
            assert!(
                case.first_failure(0..SEEDS_TO_MISS, 2).is_some(),
                "{} passes {SEEDS_TO_MISS} seeds",
                title(&case)
            );
        }
    }

    #[test]
    fn a_failing_seed_fails_again_and_shrinks() {
        let mut shrunk = 0;
        for case in mutants().iter().filter(|case| case.name == "counter") {
            let (seed, failure) = case
                .first_failure(0..SEEDS_TO_MISS, 2)
                .expect("it is missed");
            let whole = case.run(seed, true);
            assert_eq!(whole.failure, Some(failure));
            assert_eq!(whole.trace, case.run(seed, true).trace);
            let (faults, left) = case.shrink(seed).expect("it fails");
            assert!(left.failure.is_some() && faults <= whole.strikes);
            shrunk += whole.strikes - faults;
        }
        assert!(shrunk > 0, "no fault could be left out");
    }

    #[test]
    fn few_seeds_hold_every_rule() {
        for case in cases() {
            let report = case.explore(0..FEW_SEEDS / 3 / weight(&case), 2, |_| true);
            assert_eq!(report.failures, [], "{}", title(&case));
            assert!(report.events_min >= 2_000, "{}: {report:?}", title(&case));
        }
    }
}
