//! A split in place: SPLIT_BASE and SEAL in the parent's log, one decision in the registry, and a child that opens.
//!
//! The parent's only range is what goes away. Nothing is shipped: each member filters its own copy at SPLIT_BASE, and
//! follows the parent's log up to SEAL. The child, whose own replication is the same protocol again, stands for
//! itself here: it has what the members whose copies agree have, and never loses it.

use std::sync::Arc;

use crate::{
    action::{Action, SplitStep},
    protocol::Protocol,
    record::{Content, NodeId, Record, end, is_sealed, position, writes},
    rule::Rule,
    state::{Role, State},
};

/// How far the operation is; this is one field, so that a decision is never taken twice (K4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// The members make their copies.
    Planned,
    /// A primary may seal, as soon as it hears of it.
    Sealing,
    Committed,
    Aborted,
    /// Aborted, and nobody looks after it any more.
    Over,
}

/// The operation's record, and what its members told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Split {
    pub(crate) phase: Phase,
    /// Whether the record was ever touched for the seal.
    pub(crate) touched: bool,
    /// The writes that each node's child holds at the seal.
    pub(crate) reports: Vec<Option<Vec<u8>>>,
    /// The writes that the child opened with.
    pub(crate) opened: Option<Vec<u8>>,
    /// The writes that the child has accepted.
    pub(crate) accepted: Vec<u8>,
}

impl Split {
    pub(crate) fn planned(nodes: usize) -> Self {
        Self {
            phase: Phase::Planned,
            touched: false,
            reports: vec![None; nodes],
            opened: None,
            accepted: Vec::new(),
        }
    }
}

impl Protocol {
    /// What a coordinator and the child may do.
    pub(crate) fn operation_steps(&self, state: &State, actions: &mut Vec<Action>) {
        if !self.scenario.split {
            return;
        }
        let split = &state.split;
        let mut push = |step: SplitStep| actions.push(Action::Split(step));
        let filtered = state.replicas.iter().filter(|one| one.base.is_some());
        if split.phase == Phase::Planned && filtered.count() >= self.child_quorum() {
            push(SplitStep::Touch);
        }
        if matches!(split.phase, Phase::Planned | Phase::Sealing) {
            push(SplitStep::Abort);
        }
        let undecided = split.phase == Phase::Sealing
            || (split.phase == Phase::Aborted && self.lacks(Rule::DecideOnce));
        if undecided {
            self.commits(state, &mut push);
        }
        let mut committed = state.committed.iter().flatten();
        let unsealed = committed.any(|record| record.content == Content::Unseal);
        let clean = unsealed || !split.touched || self.lacks(Rule::UnsealBeforeCleanup);
        if split.phase == Phase::Aborted && clean {
            push(SplitStep::Finish);
        }
        let opens = self.lacks(Rule::ChildWaits) && self.agreed(state).is_some();
        if (split.phase == Phase::Committed || opens) && split.accepted.is_empty() {
            let writes = 1..=self.scenario.writes;
            for write in writes.filter(|write| self.is_new(state, *write)) {
                push(SplitStep::Accept(write));
            }
        }
    }

    /// How many members have to hold what the child opens with.
    fn child_quorum(&self) -> usize {
        self.w(self.scenario.members.len())
    }

    /// The node whose child can open, as enough others hold the same.
    fn agreed(&self, state: &State) -> Option<NodeId> {
        let reports = &state.split.reports;
        let enough = |node: &NodeId| {
            let own = &reports[usize::from(*node)];
            let same = |other: &&Option<Vec<u8>>| {
                other.is_some() && (*other == own || self.lacks(Rule::CompareBases))
            };
            own.is_some() && reports.iter().filter(same).count() >= self.child_quorum()
        };
        (0..self.scenario.nodes).find(enough)
    }

    /// The ways to decide for the child.
    fn commits(&self, state: &State, push: &mut impl FnMut(SplitStep)) {
        let early = |node: &NodeId| state.replica(*node).base.is_some();
        if self.lacks(Rule::DecideAfterSeal) {
            (0..self.scenario.nodes)
                .filter(early)
                .for_each(|node| push(SplitStep::Commit(node)));
        } else if let Some(node) = self.agreed(state) {
            push(SplitStep::Commit(node));
        }
    }

    /// Whether the child has not applied `write` yet, by the outcomes that it has taken over and its own.
    fn is_new(&self, state: &State, write: u8) -> bool {
        let opened = state.split.opened.iter().flatten();
        let copied = opened.filter(|_| !self.lacks(Rule::SplitCopiesWindow));
        let mut known = copied.chain(&state.split.accepted);
        known.all(|other| *other != write)
    }

    /// What `node` may do for the split.
    pub(crate) fn split_steps(&self, state: &State, node: NodeId, actions: &mut Vec<Action>) {
        if !self.scenario.split {
            return;
        }
        let (split, replica) = (&state.split, state.replica(node));
        let log = &replica.log;
        let mut push = |step: SplitStep| actions.push(Action::Split(step));
        let has = |content: Content| position(log, content).is_some();
        if state.primary(node).is_some_and(|primary| primary.activated) {
            if split.phase == Phase::Planned && !has(Content::Base) {
                push(SplitStep::Base(node));
            }
            let may_seal = split.touched || self.lacks(Rule::TouchBeforeSeal);
            if may_seal && has(Content::Base) && !has(Content::Seal) && !has(Content::Unseal) {
                push(SplitStep::Seal(node));
            }
            let aborted = split.phase == Phase::Aborted && split.touched;
            let early = self.lacks(Rule::AbortBeforeUnseal) && is_sealed(log);
            if (aborted || early) && !has(Content::Unseal) {
                push(SplitStep::Unseal(node));
            }
        }
        let applied = &log[..usize::from(replica.commit)];
        let open = matches!(split.phase, Phase::Planned | Phase::Sealing);
        if open && replica.base.is_none() && position(applied, Content::Base).is_some() {
            push(SplitStep::Filter(node));
        }
        let sealed = position(applied, Content::Seal).is_some() || self.lacks(Rule::OpenAtSeal);
        let untold = split.reports[usize::from(node)].is_none();
        if split.phase == Phase::Sealing && replica.base.is_some() && sealed && untold {
            push(SplitStep::Report(node));
        }
    }

    /// Appends `content` to the log of the primary on `node`.
    pub(crate) fn append(state: &mut State, node: NodeId, content: Content) {
        let replica = state.replica_mut(node);
        let replica_id = replica.replica_id;
        if let Role::Primary(primary) = &mut replica.role {
            let epoch = primary.config.epoch;
            Arc::make_mut(&mut replica.log).push(Record { epoch, content });
            primary.extended(node, replica_id, end(&replica.log));
        }
    }

    /// Advances the operation.
    pub(crate) fn split(&self, state: &mut State, step: SplitStep) {
        match step {
            SplitStep::Base(node) => Self::append(state, node, Content::Base),
            SplitStep::Seal(node) => Self::append(state, node, Content::Seal),
            SplitStep::Unseal(node) => Self::append(state, node, Content::Unseal),
            SplitStep::Filter(node) => self.filter(state, node),
            SplitStep::Touch => {
                state.split.phase = Phase::Sealing;
                state.split.touched = true;
            }
            SplitStep::Report(node) => {
                state.split.reports[usize::from(node)] = Some(Self::followed(state, node));
            }
            SplitStep::Commit(node) => {
                state.split.phase = Phase::Committed;
                let reported = state.split.reports[usize::from(node)].clone();
                let opened = reported.unwrap_or_else(|| Self::followed(state, node));
                state.split.opened = Some(opened);
            }
            SplitStep::Abort => state.split.phase = Phase::Aborted,
            SplitStep::Finish => state.split.phase = Phase::Over,
            SplitStep::Accept(write) => state.split.accepted.push(write),
        }
    }

    fn filter(&self, state: &mut State, node: NodeId) {
        let replica = state.replica_mut(node);
        let base = position(&replica.log, Content::Base).unwrap_or(0);
        let upto = if self.lacks(Rule::FilterAtBase) {
            replica.commit
        } else {
            base
        };
        let filtered = writes(&replica.log[..usize::from(upto)]).collect();
        replica.base = Some(filtered);
    }

    /// The writes of the child of `node`: those it began with, and those that followed up to the seal.
    fn followed(state: &State, node: NodeId) -> Vec<u8> {
        let replica = state.replica(node);
        let applied = &replica.log[..usize::from(replica.commit)];
        let from = position(applied, Content::Base).unwrap_or(0);
        let upto = position(applied, Content::Seal).unwrap_or(replica.commit);
        let base = replica.base.iter().flatten().copied();
        let after = &applied[usize::from(from)..usize::from(upto)];
        base.chain(writes(after)).collect()
    }

    /// Takes the writes out of a node's copy of the child.
    pub(crate) fn damage(state: &mut State, node: NodeId) {
        let replica = state.replica_mut(node);
        if let Some(base) = &mut replica.base
            && !base.is_empty()
        {
            base.clear();
            state.losses += 1;
        }
    }
}
