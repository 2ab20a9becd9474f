//! The child of an operation: what it opens with, and the writes that reach it.
//!
//! Its own replication is the same protocol again, so it stands for itself here: it has what the members whose copies
//! agree have, and never loses it.

use super::{Neighbour, Operation, Phase};
use crate::{
    protocol::{Known, Protocol},
    record::{Content, NodeId, Part},
    rule::Rule,
    state::{Broken, State},
};

impl Protocol {
    /// How many members have to hold what the child opens with.
    pub(super) fn child_quorum(&self) -> usize {
        self.w(self.scenario.members.len())
    }

    /// The node whose child can open, as enough others hold the same.
    pub(super) fn agreed(&self, state: &State) -> Option<NodeId> {
        let reports = &state.operation.reports;
        let enough = |node: &NodeId| {
            let own = &reports[usize::from(*node)];
            let same = |other: &&Option<Part>| {
                other.is_some() && (*other == own || self.lacks(Rule::CompareBases))
            };
            own.is_some() && reports.iter().filter(same).count() >= self.child_quorum()
        };
        (0..self.scenario.nodes).find(enough)
    }

    /// Commits the operation: the child opens with what the child of `node` holds, and with what the neighbour has
    /// handed over. The copy of the neighbour follows up to the seal just now; to do so earlier shows no more.
    pub(super) fn open(&self, state: &mut State, node: NodeId) {
        let reported = state.operation.reports[usize::from(node)].clone();
        let own = reported.unwrap_or_else(|| Self::followed(state, node));
        let operation = &mut state.operation;
        if !self.lacks(Rule::FollowBoth) {
            operation.neighbour.iter_mut().for_each(Neighbour::follow);
        }
        let copies = operation.neighbour.iter().map(|one| one.copy.clone());
        operation.opened = Some([own].into_iter().chain(copies).collect());
        operation.phase = Phase::Committed;
    }

    /// A client's write reaches the child, perhaps after a parent.
    pub(super) fn deliver_to_child(&self, state: &mut State, write: u8) {
        let known = self.known_to_child(&state.operation, write);
        let applied = state.applied_writes().any(|other| other == write);
        match known {
            Known::New => state.operation.accepted.push(write),
            Known::At(_) if !applied => state.broken = Some(Broken::UnappliedAcknowledged),
            Known::Expired(_) if !applied => {
                state.refused.insert(write);
            }
            Known::At(_) | Known::Expired(_) => {}
        }
    }

    /// Looks `write` up in the united windows of outcomes that the child opened with, and in its own.
    fn known_to_child(&self, operation: &Operation, write: u8) -> Known {
        let mut window = self.window(operation);
        if self.lacks(Rule::ChildKeepsExpiry) {
            let expired = |content: &Content| match content {
                Content::Expire(last) => Some(*last),
                _ => None,
            };
            let forgotten = window.iter().filter_map(expired).max();
            window.retain(|content| content.write() > forgotten);
        }
        let same = |other: u8| {
            let higher = other > write && self.lacks(Rule::UniteExactly);
            let alike = self.lacks(Rule::OneNumbering)
                && self.number_in_shard(other) == self.number_in_shard(write);
            other == write || higher || alike
        };
        self.look_up(window.into_iter(), 0, write, same)
    }

    /// What the child has taken over of its parents' windows, and its own.
    fn window(&self, operation: &Operation) -> Vec<Content> {
        let parts = operation.opened.iter().flatten();
        let parents = if self.lacks(Rule::SplitCopiesWindow) {
            0
        } else if self.lacks(Rule::UniteWindows) {
            1
        } else {
            usize::MAX
        };
        let taken = parts.take(parents).flatten().copied();
        let accepted = operation.accepted.iter().copied().map(Content::Write);
        taken.chain(accepted).collect()
    }
}
