//! The second parent of a merge, and the copy that the merged shard makes of it.
//!
//! What failovers do to a parent of an operation is seen at the first one. So the neighbour is a shard of one member:
//! a record is committed as soon as it is appended. It is copied from afar: a snapshot, then the records behind it.

use std::sync::Arc;

use super::{Kind, Operation, Phase};
use crate::{
    action::{NeighbourStep, OperationStep},
    protocol::Protocol,
    record::{Content, Log, Lsn, Part, Record, end, handed_over, is_sealed, position, writes},
    rule::Rule,
    state::State,
};

/// A shard of one member that is merged with the replicated one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Neighbour {
    pub(crate) log: Log,
    /// What the merged shard has of it.
    pub(crate) copy: Part,
    /// Up to where the copy follows the log; 0 while there is none.
    copied: Lsn,
}

impl Neighbour {
    pub(super) fn beginning() -> Self {
        let mut neighbour = Self {
            log: Log::default(),
            copy: Part::new(),
            copied: 0,
        };
        neighbour.append(Content::Start);
        neighbour
    }

    pub(super) fn is_copied(&self) -> bool {
        self.copied > 0
    }

    fn append(&mut self, content: Content) {
        Arc::make_mut(&mut self.log).push(Record { epoch: 1, content });
    }

    /// Applies the records behind the copy.
    pub(super) fn follow(&mut self) {
        let behind = &self.log[usize::from(self.copied)..];
        self.copy.extend(handed_over(behind));
        self.copied = end(&self.log);
    }
}

impl Protocol {
    /// The highest number of a client's write. The last one of a merge is the neighbour's, whose keys are in its
    /// range.
    pub(super) fn numbers(&self) -> u8 {
        let neighbour = self.scenario.operation == Some(Kind::Merge);
        self.scenario.writes + u8::from(neighbour)
    }

    /// What a client that numbers its writes to each shard from 1 calls a write.
    pub(super) fn number_in_shard(&self, write: u8) -> u8 {
        if write > self.scenario.writes {
            write - self.scenario.writes
        } else {
            write
        }
    }

    /// Whether the neighbour, if there is one, has sealed.
    pub(super) fn has_neighbours_seal(&self, operation: &Operation) -> bool {
        let mut neighbour = operation.neighbour.iter();
        neighbour.all(|one| position(&one.log, Content::Seal).is_some())
            || self.lacks(Rule::SealBoth)
    }

    pub(super) fn neighbour_steps(&self, state: &State, push: &mut impl FnMut(OperationStep)) {
        let operation = &state.operation;
        let Some(Neighbour { log, copied, .. }) = &operation.neighbour else {
            return;
        };
        let mut push = |step: NeighbourStep| push(OperationStep::Neighbour(step));
        let (sealed, has_written) = (is_sealed(log), writes(log).count() > 0);
        // After the decision, a split shows as much of a parent.
        if operation.is_open() && !sealed && !has_written {
            push(NeighbourStep::Write);
        }
        let expires = has_written && state.expiries < self.scenario.expiries;
        if operation.is_open() && !sealed && expires {
            push(NeighbourStep::Expire);
        }
        if self.may_seal(operation, log) {
            push(NeighbourStep::Seal);
        }
        if self.may_unseal(operation, log) {
            push(NeighbourStep::Unseal);
        }
        if operation.phase == Phase::Planned && *copied == 0 {
            push(NeighbourStep::Copy);
        }
        let behind = *copied > 0 && *copied < end(log);
        if behind && self.lacks(Rule::SnapshotPosition) {
            push(NeighbourStep::Position);
        }
    }

    pub(super) fn advance_neighbour(&self, state: &mut State, step: NeighbourStep) {
        let write = self.numbers();
        state.expiries += u8::from(step == NeighbourStep::Expire);
        let Some(neighbour) = &mut state.operation.neighbour else {
            return;
        };
        match step {
            NeighbourStep::Write => neighbour.append(Content::Write(write)),
            NeighbourStep::Expire => neighbour.append(Content::Expire(write)),
            NeighbourStep::Seal => neighbour.append(Content::Seal),
            NeighbourStep::Unseal => neighbour.append(Content::Unseal),
            NeighbourStep::Copy => neighbour.follow(),
            NeighbourStep::Position => neighbour.copied = end(&neighbour.log),
        }
    }
}
