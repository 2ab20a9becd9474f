//! Explores every state of the replication protocol within bounds: `cargo xtask model --help`.
//!
//! A scenario is a line of [`scenario::SCENARIOS`]. A rule that can be left out is a line of [`rule::MUTATIONS`], with
//! the scenario that has to miss it; a test asks that each is missed.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a tool tells people what it does"
)]

mod action;
mod check;
mod clock;
mod operation;
mod property;
mod protocol;
mod record;
mod rule;
mod scenario;
mod state;

use std::{
    num::{NonZeroU8, NonZeroUsize},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Parser;

use check::{Limits, Order, Verdict, check};
use protocol::Protocol;
use rule::Mutation;
use scenario::{SCENARIOS, Scenario, Size};

/// Explore every state of the replication protocol within bounds.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask model")]
struct Args {
    /// The scenario; all small ones if none is named.
    name: Option<String>,
    /// Leave out a rule, which the scenario must notice; without a scenario, the one that is known to.
    #[arg(long)]
    without: Option<String>,
    /// All scenarios, also the large ones, and those that are too large to exhaust.
    #[arg(long, conflicts_with = "name")]
    nightly: bool,
    /// List the scenarios and the rules that can be left out.
    #[arg(long)]
    list: bool,
    /// Print the steps to each violation.
    #[arg(long)]
    trace: bool,
    /// In which order states are visited; by default as the scenario's size suggests.
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// How many states are visited at most; a walk ends after twenty million.
    #[arg(long)]
    states: Option<NonZeroUsize>,
    /// The seed of a walk.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many epochs there are, in place of the scenario's own bound.
    #[arg(long)]
    epochs: Option<NonZeroU8>,
    /// How many writes there are at most.
    #[arg(long)]
    writes: Option<u8>,
    /// How many processes restart at most.
    #[arg(long)]
    restarts: Option<u8>,
    /// How many disks lose something at most.
    #[arg(long)]
    losses: Option<u8>,
    /// How many states are explored at the same time.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
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
    if args.list {
        list();
        return Ok(());
    }
    let threads = match args.threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism().context("count the processors")?,
    };
    let mut failed = Vec::new();
    let (protocols, mutation) = chosen(args)?;
    for protocol in protocols {
        let wanted = mutation.map(|mutation| mutation.fails);
        let limits = limits(args, &protocol, threads);
        let verdict = check(&protocol, wanted, &limits);
        show(&protocol, args.without.as_deref(), &verdict, args.trace);
        // Without a rule, its property has to fail.
        if wanted.map_or(!verdict.passed(), |property| !verdict.breaks(property)) {
            failed.push(protocol.scenario.name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// How far to look at `protocol`, if the arguments leave that open.
fn limits(args: &Args, protocol: &Protocol, threads: NonZeroUsize) -> Limits {
    let order = match protocol.scenario.size {
        Size::Small => Order::Breadth,
        // What breaks without a rule is near.
        Size::Large | Size::Endless if protocol.without.is_some() => Order::Breadth,
        Size::Large => Order::Depth,
        Size::Endless => Order::Walk,
    };
    let order = args.order.unwrap_or(order);
    let walked = NonZeroUsize::new(20_000_000).filter(|_| order == Order::Walk);
    Limits {
        order,
        states: args.states.or(walked),
        seed: args.seed,
        threads: threads.get(),
    }
}

/// What the arguments ask for.
fn chosen(args: &Args) -> anyhow::Result<(Vec<Protocol>, Option<&'static Mutation>)> {
    let mutation = match &args.without {
        Some(name) => Some(rule::named(name).with_context(|| {
            format!("there is no rule {name}; --list names those that can be left out")
        })?),
        None => None,
    };
    let name = args.name.as_deref();
    let name = name.or(mutation.map(|mutation| mutation.scenario));
    let scenarios: Vec<&Scenario> = match name {
        Some(name) => {
            let found = scenario::named(name);
            vec![found.with_context(|| format!("there is no scenario {name}; --list names all"))?]
        }
        None => {
            let wanted = |scenario: &&Scenario| args.nightly || scenario.size == Size::Small;
            SCENARIOS.iter().filter(wanted).collect()
        }
    };
    let protocols = scenarios.into_iter().map(|scenario| Protocol {
        scenario: bounded(scenario, args),
        without: mutation.map(|mutation| mutation.rule),
    });
    Ok((protocols.collect(), mutation))
}

/// The scenario with the bounds that the arguments put in place of its own.
fn bounded(scenario: &Scenario, args: &Args) -> Scenario {
    Scenario {
        epochs: args.epochs.map_or(scenario.epochs, NonZeroU8::get),
        writes: args.writes.unwrap_or(scenario.writes),
        restarts: args.restarts.unwrap_or(scenario.restarts),
        losses: args.losses.unwrap_or(scenario.losses),
        ..scenario.clone()
    }
}

fn list() {
    for scenario in SCENARIOS {
        println!(
            "{:15} {} nodes, {} epochs, {} writes, {} restarts, {} losses",
            scenario.name,
            scenario.nodes,
            scenario.epochs,
            scenario.writes,
            scenario.restarts,
            scenario.losses
        );
    }
    for mutation in rule::MUTATIONS {
        println!("--without {:22} {}", mutation.name, mutation.says);
        println!("    breaks {}: {}", mutation.scenario, mutation.fails);
    }
}

fn show(protocol: &Protocol, without: Option<&str>, verdict: &Verdict, traced: bool) {
    let without = without.map(|rule| format!(" --without {rule}"));
    println!(
        "{}{}: {} unique states of {}, depth {}, {:.1} s, {}",
        protocol.scenario.name,
        without.unwrap_or_default(),
        verdict.unique,
        verdict.total,
        verdict.depth,
        verdict.elapsed.as_secs_f64(),
        if verdict.exhausted {
            "exhausted"
        } else {
            "not exhausted"
        },
    );
    for property in &verdict.unseen {
        println!("  not seen: {property}");
    }
    for (property, steps) in &verdict.broken {
        println!("  BROKEN after {} steps: {property}", steps.len());
        for step in steps.iter().filter(|_| traced) {
            println!("    {step}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounded, so that a rule that is not missed ends the test.
    fn limits(order: Order) -> Limits {
        Limits {
            order,
            states: NonZeroUsize::new(40_000_000),
            seed: 1,
            threads: 2,
        }
    }

    #[test]
    fn every_small_scenario_holds_exhaustively() {
        for scenario in SCENARIOS.iter().filter(|one| one.size == Size::Small) {
            let protocol = Protocol {
                scenario: scenario.clone(),
                without: None,
            };
            let verdict = check(&protocol, None, &limits(Order::Depth));
            assert!(verdict.exhausted, "{}: {verdict:?}", scenario.name);
            assert!(verdict.passed(), "{}: {verdict:?}", scenario.name);
        }
    }

    #[test]
    fn a_walk_finds_its_way_again() {
        let scenario = scenario::named("retries").expect("it is a small scenario");
        let protocol = Protocol {
            scenario: scenario.clone(),
            without: None,
        };
        let few = Limits {
            states: NonZeroUsize::new(100_000),
            ..limits(Order::Walk)
        };
        let verdict = check(&protocol, None, &few);
        assert!(verdict.passed(), "{verdict:?}");
        assert_eq!(verdict.unseen, [""; 0], "it is seen on walks too");
    }

    #[test]
    fn no_rule_can_be_left_out() {
        for mutation in rule::MUTATIONS {
            let scenario = scenario::named(mutation.scenario);
            let protocol = Protocol {
                scenario: scenario.expect("each rule names a scenario").clone(),
                without: Some(mutation.rule),
            };
            let verdict = check(&protocol, Some(mutation.fails), &limits(Order::Breadth));
            let caught = verdict.breaks(mutation.fails);
            assert!(caught, "without {}: {verdict:?}", mutation.name);
        }
    }
}
