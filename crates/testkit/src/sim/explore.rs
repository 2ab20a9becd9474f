//! Many seeds of a scenario, on several threads.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{Run, Scenario, run::run_sparing};

/// A scenario, with a mutation or without, whose types are forgotten: one line of a list of scenarios.
#[derive(Debug)]
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// The rule that is left out.
    pub missing: Option<String>,
    /// The situations that its runs must reach.
    pub marks: Vec<&'static str>,
    play: Box<dyn Play>,
}

trait Play: std::fmt::Debug + Send + Sync {
    fn run(&self, seed: u64, spared: &BTreeSet<u64>, traced: bool) -> Run;
}

struct Of<S: Scenario>(Option<S::Mutation>);

impl<S: Scenario> std::fmt::Debug for Of<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} without {:?}", S::NAME, self.0)
    }
}

impl<S: Scenario> Play for Of<S> {
    fn run(&self, seed: u64, spared: &BTreeSet<u64>, traced: bool) -> Run {
        run_sparing::<S>(seed, self.0, spared, traced)
    }
}

/// What became of many seeds.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many seeds ran.
    pub seeds: u64,
    /// How many events there were in all.
    pub events: u64,
    /// The fewest events of one seed.
    pub events_min: u64,
    /// How many seeds reached each situation.
    pub marks: BTreeMap<&'static str, u64>,
    /// The first failing seeds, with the rules that they break.
    pub failures: Vec<(u64, String)>,
    /// How many seeds failed.
    pub failed: u64,
}

/// How many failing seeds a report names.
const FAILURES_MAX: usize = 10;

impl Case {
    /// Returns a scenario with all its rules.
    pub fn of<S: Scenario + 'static>() -> Self {
        Self::mutated::<S>(None)
    }

    /// Returns a scenario once without each of its rules that can be left out.
    pub fn mutants<S: Scenario + 'static>() -> Vec<Self> {
        let mutations = S::MUTATIONS.iter();
        mutations
            .map(|each| Self::mutated::<S>(Some(*each)))
            .collect()
    }

    /// Returns a scenario without one of its rules.
    pub fn mutated<S: Scenario + 'static>(mutation: Option<S::Mutation>) -> Self {
        Self {
            name: S::NAME,
            missing: mutation.map(|mutation| format!("{mutation:?}")),
            marks: S::MARKS.concat(),
            play: Box::new(Of::<S>(mutation)),
        }
    }

    /// Runs one seed.
    pub fn run(&self, seed: u64, traced: bool) -> Run {
        self.play.run(seed, &BTreeSet::new(), traced)
    }

    /// Leaves out the lasting faults of a failing seed that it fails without, and returns the trace of what is left, with how many faults
    /// that has; `None` if the seed does not fail.
    ///
    /// What is left may break another rule than the seed does.
    pub fn shrink(&self, seed: u64) -> Option<(u64, Run)> {
        let whole = self.run(seed, false);
        whole.failure.as_ref()?;
        let (mut spared, mut kept) = (BTreeSet::new(), Vec::from_iter(0..whole.strikes));
        let mut length = kept.len();
        while length > 0 {
            let mut from = 0;
            while from < kept.len() {
                let end = kept.len().min(from + length);
                let fewer = spared.iter().chain(&kept[from..end]).copied().collect();
                if self.play.run(seed, &fewer, false).failure.is_some() {
                    spared = fewer;
                    kept.drain(from..end);
                } else {
                    from = end;
                }
            }
            length /= 2;
        }
        let run = self.play.run(seed, &spared, true);
        let left = run.strikes - spared.range(..run.strikes).count() as u64;
        Some((left, run))
    }

    /// Runs seeds on `threads` threads. `progress` hears of each that has ended, and says whether to go on.
    pub fn explore(
        &self,
        seeds: Range<u64>,
        threads: usize,
        progress: impl Fn(&Report) -> bool + Sync,
    ) -> Report {
        let next = AtomicU64::new(seeds.start);
        let report = Mutex::new(Report {
            marks: self.marks.iter().map(|mark| (*mark, 0)).collect(),
            events_min: u64::MAX,
            ..Report::default()
        });
        thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end {
                            return;
                        }
                        let run = self.run(seed, false);
                        let mut report = report.lock().expect("no thread panics with the report");
                        report.add(run);
                        if !progress(&report) {
                            next.store(seeds.end, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        report
            .into_inner()
            .expect("no thread panics with the report")
    }

    /// Returns the first of `seeds` that fails: whether a missing rule is noticed.
    pub fn first_failure(&self, seeds: Range<u64>, threads: usize) -> Option<(u64, String)> {
        let report = self.explore(seeds, threads, |report| report.failed == 0);
        report.failures.into_iter().next()
    }
}

impl Report {
    fn add(&mut self, run: Run) {
        self.seeds += 1;
        self.events += run.events;
        for mark in run.marks {
            *self.marks.entry(mark).or_default() += 1;
        }
        match run.failure {
            None => self.events_min = self.events_min.min(run.events),
            Some(failure) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_MAX {
                    self.failures.push((run.seed, failure));
                }
            }
        }
    }

    /// Returns the situations that no seed reached.
    pub fn unreached(&self) -> Vec<&'static str> {
        let unreached = self.marks.iter().filter(|(_, seeds)| **seeds == 0);
        unreached.map(|(mark, _)| *mark).collect()
    }

    /// Returns whether every seed held every rule, and every situation was reached.
    pub fn passed(&self) -> bool {
        self.failed == 0 && self.unreached().is_empty()
    }
}
