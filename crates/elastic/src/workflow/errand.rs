//! Errands: the calls that a phase has to make, each until it succeeds.

use shardwright_topology::{NodeId, Phase};

use crate::{Part, Record, Request};

/// A call that has to succeed before the next phase.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) step: Step,
    /// Calls of a later turn wait for those of earlier ones.
    pub(super) turn: u8,
    pub(super) state: State,
    /// Whether it need not succeed: what it leaves is collected.
    is_optional: bool,
    failures: u8,
}

/// How often a call is made that need not succeed.
const TRIES: u8 = 8;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Hold,
    Resolve,
    /// A call of a store, about the source with that place if it is one.
    Store {
        node: NodeId,
        request: Box<Request>,
        source: Option<usize>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Calling,
    Done,
}

impl Errand {
    fn new(turn: u8, step: Step) -> Self {
        Self {
            step,
            turn,
            state: State::Waiting,
            is_optional: false,
            failures: 0,
        }
    }

    fn at(turn: u8, part: &Part, source: Option<usize>, request: Request) -> Self {
        let node = part.node.clone();
        let request = Box::new(request);
        Self::new(
            turn,
            Step::Store {
                node,
                request,
                source,
            },
        )
    }

    /// Lets it be called again, or gives it up if it need not succeed.
    pub(super) fn again(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let is_given_up = self.is_optional && self.failures >= TRIES;
        self.state = if is_given_up {
            State::Done
        } else {
            State::Waiting
        };
    }

    /// Returns what the phase of a record has to see done.
    pub(super) fn of(record: &Record) -> Vec<Self> {
        let sources = || record.work.sources.iter().enumerate();
        let targets = || record.work.targets.iter();
        let follow = |(place, part): (usize, &Part)| {
            let shard = part.shard.clone();
            Self::at(0, part, Some(place), Request::Follow { shard })
        };
        let seal = |(place, part): (usize, &Part)| {
            let shard = part.shard.clone();
            Self::at(1, part, Some(place), Request::Seal { shard })
        };
        let remove = |part: &Part| {
            let shard = part.shard.clone();
            Self::at(0, part, None, Request::Remove { shard })
        };
        match record.phase() {
            Phase::Planned => {
                let create = |part: &Part| {
                    let (shard, extent) = (part.shard.clone(), part.extent.clone());
                    Self::at(1, part, None, Request::Create { shard, extent })
                };
                let hold = Self::new(0, Step::Hold);
                std::iter::once(hold).chain(targets().map(create)).collect()
            }
            Phase::Created | Phase::Copying | Phase::CatchingUp | Phase::Verified => {
                sources().map(follow).collect()
            }
            Phase::Sealing => sources().map(follow).chain(sources().map(seal)).collect(),
            Phase::Committed => {
                let open = |part: &Part| {
                    let shard = part.shard.clone();
                    Self::at(0, part, None, Request::Open { shard })
                };
                let resolve = Self::new(1, Step::Resolve);
                targets().map(open).chain([resolve]).collect()
            }
            Phase::CleaningUp => sources().map(|(_, part)| remove(part)).collect(),
            Phase::Aborting => {
                let release = |part: &Part| {
                    let shard = part.shard.clone();
                    Self::at(0, part, None, Request::Release { shard })
                };
                // The sources take writes again first. A target whose node is gone keeps nobody waiting.
                let drop_target = |part: &Part| Self {
                    turn: 2,
                    is_optional: true,
                    ..remove(part)
                };
                sources()
                    .map(|(_, part)| release(part))
                    .chain([Self::new(1, Step::Resolve)])
                    .chain(targets().map(drop_target))
                    .collect()
            }
            Phase::Sealed | Phase::Done | Phase::Aborted => Vec::new(),
        }
    }
}
