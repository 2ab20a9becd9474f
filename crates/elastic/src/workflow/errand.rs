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
}

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
                sources()
                    .map(|(_, part)| release(part))
                    .chain(targets().map(remove))
                    .chain([Self::new(1, Step::Resolve)])
                    .collect()
            }
            Phase::Sealed | Phase::Done | Phase::Aborted => Vec::new(),
        }
    }
}
