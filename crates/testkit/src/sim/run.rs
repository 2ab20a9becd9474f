//! One run of one seed.

use std::{
    cell::Cell,
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
    time::Duration,
};

use super::{Scenario, Sim, simulation::Next};

/// What became of one seed.
#[derive(Debug, Clone)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// How many events there were.
    pub events: u64,
    /// How many faults struck that last for a while, or would have.
    pub strikes: u64,
    /// How much time passed in the simulation.
    pub simulated: Duration,
    /// The situations that were reached.
    pub marks: Vec<&'static str>,
    /// The rule that was broken.
    pub failure: Option<String>,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
}

/// How many events follow the last fault at most: more, and the machines do not come to rest.
const QUIET_EVENTS_MAX: u64 = 20_000;

/// Runs one seed of a scenario to its end, or to the first rule that is broken.
///
/// The same seed gives the same run. A panic of a machine counts as a broken rule.
pub fn run<S: Scenario>(seed: u64, mutation: Option<S::Mutation>, traced: bool) -> Run {
    run_sparing::<S>(seed, mutation, &BTreeSet::new(), traced)
}

/// Runs one seed without some of its lasting faults, which are numbered in their order.
pub(super) fn run_sparing<S: Scenario>(
    seed: u64,
    mutation: Option<S::Mutation>,
    spared: &BTreeSet<u64>,
    traced: bool,
) -> Run {
    let mut sim = Sim::<S>::new(seed, S::faults(mutation), spared.clone(), traced);
    let outcome = quietly(|| catch_unwind(AssertUnwindSafe(|| play(&mut sim, mutation))));
    let failure = match outcome {
        Ok(outcome) => outcome.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    let (events, strikes, simulated) = (sim.events(), sim.strikes(), sim.true_time());
    let (marks, trace) = sim.into_outcome();
    Run {
        seed,
        events,
        strikes,
        simulated,
        marks: marks.reached().collect(),
        failure,
        trace,
    }
}

thread_local! {
    /// Whether this thread is in a run, whose panics are reported as its failure.
    static IN_RUN: Cell<bool> = const { Cell::new(false) };
}

/// Calls `run`, and has its panics reported by nobody else.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IN_RUN.get() {
                report(info);
            }
        }));
    });
    IN_RUN.set(true);
    let outcome = run();
    IN_RUN.set(false);
    outcome
}

fn play<S: Scenario>(sim: &mut Sim<S>, mutation: Option<S::Mutation>) -> Result<(), String> {
    let mut scenario = S::new(sim, mutation);
    while sim.events() < sim.faulty_events() {
        step(sim, &mut scenario)?;
    }
    sim.calm();
    let end = sim.true_time() + scenario.recovery_time();
    let events_max = sim.events() + QUIET_EVENTS_MAX;
    while sim.true_time() < end {
        step(sim, &mut scenario)?;
        if sim.events() > events_max {
            return Err(format!(
                "{QUIET_EVENTS_MAX} events after the last fault, and no rest"
            ));
        }
    }
    scenario.recovered(sim)
}

fn step<S: Scenario>(sim: &mut Sim<S>, scenario: &mut S) -> Result<(), String> {
    match sim.next() {
        Some(Next::Input(at, input)) => scenario.handle(sim, at, input),
        Some(Next::Planned(token)) => scenario.planned(sim, token),
        Some(Next::Internal) => {}
        None => return Err("nothing will ever happen again".to_owned()),
    }
    while let Some(change) = sim.next_commit() {
        scenario.committed(sim, &change)?;
    }
    scenario.check(sim)
}
