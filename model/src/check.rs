//! Explores a scenario, and says what was found.

use std::{collections::BTreeSet, num::NonZeroUsize, time::Duration};

use stateright::{Checker, Chooser, Expectation, HasDiscoveries, Model, UniformChooser};

use crate::{action::Action, clock, protocol::Protocol, state::State};

/// How states are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Order {
    /// All, nearest first: a violation is found by few steps.
    Breadth,
    /// All, each path to its end: less memory.
    Depth,
    /// Walks by chance, until the limit of states is reached.
    Walk,
}

/// How far to look.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) order: Order,
    /// How many states are visited at most.
    pub(crate) states: Option<NonZeroUsize>,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) unique: usize,
    pub(crate) total: usize,
    pub(crate) depth: usize,
    pub(crate) elapsed: Duration,
    /// Whether every state within the bounds was seen.
    pub(crate) exhausted: bool,
    /// The properties that do not hold, each with the steps to a state that shows it.
    pub(crate) broken: Vec<(&'static str, Vec<String>)>,
    /// What was to be seen and was not.
    pub(crate) unseen: Vec<&'static str>,
}

impl Verdict {
    /// Whether everything within the bounds holds, and what had to be seen was.
    pub(crate) fn passed(&self) -> bool {
        self.broken.is_empty() && (self.unseen.is_empty() || !self.exhausted)
    }

    /// Whether `property` was found broken.
    pub(crate) fn breaks(&self, property: &str) -> bool {
        self.broken.iter().any(|(broken, _)| *broken == property)
    }
}

/// Explores `protocol` until any property fails, or the `wanted` one if that is given, everything was seen, or the
/// limit is reached.
pub(crate) fn check(protocol: &Protocol, wanted: Option<&'static str>, limits: &Limits) -> Verdict {
    let mut builder = protocol.clone().checker().threads(limits.threads);
    builder = builder.finish_when(match wanted {
        Some(property) => HasDiscoveries::AnyOf(BTreeSet::from([property])),
        None => HasDiscoveries::AnyFailures,
    });
    if let Some(states) = limits.states {
        builder = builder.target_state_count(states.get());
    }
    let started = clock::now();
    match limits.order {
        Order::Breadth => verdict(protocol, limits, builder.spawn_bfs().join(), started),
        Order::Depth => verdict(protocol, limits, builder.spawn_dfs().join(), started),
        Order::Walk => {
            let walk = builder.spawn_simulation(limits.seed, Walker(protocol.clone()));
            verdict(protocol, limits, walk.join(), started)
        }
    }
}

/// Chooses among the steps that change something. When others are chosen too, the checker cannot repeat the walk to
/// what it found.
#[derive(Clone)]
struct Walker(Protocol);

impl Chooser<Protocol> for Walker {
    type State = <UniformChooser as Chooser<Protocol>>::State;

    fn new_state(&self, seed: u64) -> Self::State {
        Chooser::<Protocol>::new_state(&UniformChooser, seed)
    }

    fn choose_initial_state(&self, chance: &mut Self::State, initial: &[State]) -> usize {
        Chooser::<Protocol>::choose_initial_state(&UniformChooser, chance, initial)
    }

    fn choose_action(&self, chance: &mut Self::State, state: &State, actions: &[Action]) -> usize {
        let first = Chooser::<Protocol>::choose_action(&UniformChooser, chance, state, actions);
        let mut from_first = (first..actions.len()).chain(0..first);
        let changes = |index: &usize| self.0.next_state(state, actions[*index].clone()).is_some();
        // Where nothing changes anything, the walk ends.
        from_first.find(changes).unwrap_or(first)
    }
}

fn verdict<C: Checker<Protocol>>(
    protocol: &Protocol,
    limits: &Limits,
    checker: C,
    started: std::time::Instant,
) -> Verdict {
    let mut discoveries = checker.discoveries();
    let (mut broken, mut unseen) = (Vec::new(), Vec::new());
    for property in protocol.properties() {
        let path = discoveries.remove(property.name);
        match (property.expectation, path) {
            (Expectation::Always, Some(path)) => {
                let steps = path.into_actions().into_iter();
                let steps = steps.map(|action| format!("{action:?}"));
                broken.push((property.name, steps.collect()));
            }
            (Expectation::Sometimes, None) => unseen.push(property.name),
            (Expectation::Always | Expectation::Sometimes | Expectation::Eventually, _) => {}
        }
    }
    let total = checker.state_count();
    let limited = limits.states.is_some_and(|states| total >= states.get());
    Verdict {
        unique: checker.unique_state_count(),
        total,
        depth: checker.max_depth(),
        elapsed: started.elapsed(),
        exhausted: broken.is_empty() && !limited && limits.order != Order::Walk,
        broken,
        unseen,
    }
}
