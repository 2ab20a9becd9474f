//! The gaps between two steps that somebody makes durable for an operation: whoever is there may die.
//!
//! Production says that it is in a gap ([`Halts`]). What a task does next is a wish, which is not granted to whoever is dead by then. What runs to
//! its end on a thread ends where it is.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shardwright_server::shard::CopyGap;
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{Decision, Gap, Halts, OperationKind, Phase, Written};

use super::{Missing, Reshape, TIMEOUT, Token, executor::Executor, situations};

/// Of a hundred gaps, in how many whoever is there dies.
const DEADLY: u32 = 3;

/// The same of gaps to which few come, and of those that few merges come to.
const DEADLY_OF_FEW: u32 = 10;
const DEADLY_OF_FEWEST: u32 = 30;

/// The same of gaps after the end of a merge: few merges are over for so long while there are faults.
const DEADLY_OF_LAST: u32 = 90;

/// Where somebody has come to.
#[derive(Debug, Clone, Copy)]
enum Place {
    Node(CopyGap),
    Coordinator(Gap),
}

impl Place {
    /// Of a hundred who come there, how many die.
    fn deadly(self) -> u32 {
        match self {
            Self::Node(CopyGap::Cut | CopyGap::Begun | CopyGap::Sealed) => DEADLY_OF_FEW,
            Self::Node(_) => DEADLY,
            Self::Coordinator(gap) => {
                let is_merge = gap.kind == OperationKind::Merge;
                let is_late = matches!(gap.phase, Phase::Sealing | Phase::Sealed)
                    || gap.phase.decision() == Decision::Commit
                    || gap.phase == Phase::Aborted;
                match (is_merge, gap.phase) {
                    (true, Phase::Done) if gap.written != Written::Phase => DEADLY_OF_LAST,
                    (true, _) if is_late => DEADLY_OF_FEWEST,
                    (false, Phase::Planned | Phase::Aborting | Phase::Aborted) => DEADLY,
                    _ => DEADLY_OF_FEW,
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Reached {
    /// Who has come to which gap since somebody looked.
    places: Vec<(Pid, Place)>,
    /// Where what runs now ends.
    doomed: Option<CopyGap>,
}

/// Ends what runs in a gap.
struct Dies;

/// The gaps that processes have come to. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Gaps(Arc<Mutex<Reached>>);

impl Gaps {
    /// Returns whom the copies of a node tell.
    pub(super) fn of_node(&self, at: Pid) -> Halts<CopyGap> {
        let gaps = self.clone();
        Halts::new(move |gap| {
            let mut reached = gaps.lock();
            if reached.doomed.take_if(|doomed| *doomed == gap).is_some() {
                drop(reached);
                resume_unwind(Box::new(Dies));
            }
            reached.places.push((at, Place::Node(gap)));
        })
    }

    /// Returns whom the journal of a coordinator tells.
    pub(super) fn of_coordinator(&self, at: Pid) -> Halts<Gap> {
        let gaps = self.clone();
        Halts::new(move |gap| gaps.lock().places.push((at, Place::Coordinator(gap))))
    }

    /// Runs something that does not wait, to its end or to the gap in which its process dies: then there is no result.
    pub(super) fn run<T>(&self, doomed: Option<CopyGap>, run: impl FnOnce() -> T) -> Option<T> {
        self.lock().doomed = doomed;
        let ran = catch_unwind(AssertUnwindSafe(run));
        let mut reached = self.lock();
        reached.doomed = None;
        reached.places.clear();
        drop(reached);
        match ran {
            Ok(done) => Some(done),
            Err(payload) if (*payload).is::<Dies>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reshape {
    /// Draws whether a node dies in one of some gaps, and in which.
    pub(super) fn doom(sim: &mut Sim<Self>, gaps: &[CopyGap]) -> Option<CopyGap> {
        let is_doomed = sim.is_faulty() && sim.dice().chance(DEADLY);
        is_doomed.then(|| *sim.dice().pick(gaps))
    }

    /// A node has died in a gap, before it could do anything else.
    pub(super) fn died(&mut self, sim: &mut Sim<Self>, at: Pid, gap: CopyGap) {
        self.dies(sim, at, Place::Node(gap));
    }

    /// Lets some die of those who have come to gaps since, and returns who.
    pub(super) fn die_in_gaps(&mut self, sim: &mut Sim<Self>) -> Option<Pid> {
        let places = mem::take(&mut self.gaps.lock().places);
        let mut dead = None;
        for (at, place) in places {
            let deadly = match (self.missing, place) {
                (Some(Missing::ForgottenLast), Place::Node(CopyGap::Forgotten)) => 50,
                _ => place.deadly(),
            };
            let is_deadly = sim.is_faulty() && sim.dice().chance(deadly);
            if is_deadly && dead.is_none() && sim.is_up(at) {
                self.dies(sim, at, place);
                dead = Some(at);
            }
        }
        dead
    }

    fn dies(&mut self, sim: &mut Sim<Self>, at: Pid, place: Place) {
        let mark = match place {
            Place::Node(gap) => situations::crash_of_node(gap),
            Place::Coordinator(gap) => situations::crash_of_coordinator(gap),
        };
        if let Some(mark) = mark {
            sim.mark(mark);
        }
        sim.trace(|| format!("{at} dies in a gap: {place:?}"));
        self.kill(sim, at);
    }

    /// A process ends at once. It starts again after a while.
    pub(super) fn kill(&mut self, sim: &mut Sim<Self>, at: Pid) {
        sim.crash(at);
        self.tasks.end(at);
        self.coordinators.remove(&at);
        let copies = self.nodes.get_mut(&at).map(|node| &mut node.copies);
        for copy in copies.into_iter().flat_map(|copies| copies.values_mut()) {
            copy.machine = None;
            copy.executor = Executor::default();
        }
        let late = sim.dice().time(&(TIMEOUT / 20..=TIMEOUT));
        sim.plan(late, Token::Restart(at));
    }
}
