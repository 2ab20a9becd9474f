//! An operation that hands a range over: a split in place, or a merge of two neighbours.
//!
//! The parents seal, one decision in the registry cuts over, and a child opens. The parent that is replicated hands
//! over its only range. Its members filter their own copies at SPLIT_BASE, and follow its log up to SEAL. What else
//! a merge has is in `neighbour`: the second parent, which hands over its range as well. What the child begins
//! with, and knows of clients' writes, is in `child`.

mod child;
mod neighbour;

use std::sync::Arc;

use crate::{
    action::{Action, OperationStep},
    protocol::Protocol,
    record::{Content, NodeId, Part, Record, end, handed_over, is_sealed, position},
    rule::Rule,
    state::{Role, State},
};

pub(crate) use neighbour::Neighbour;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One parent; the children that it has are alike, so one stands for all.
    Split,
    /// Two parents and one child.
    Merge,
}

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

/// The operation's record, what its members told, and its child.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Operation {
    pub(crate) phase: Phase,
    /// Whether the record was ever touched for the seal.
    pub(crate) touched: bool,
    /// What each node's child holds at the seal.
    pub(crate) reports: Vec<Option<Part>>,
    /// The child's first record, which holds what each parent handed over.
    pub(crate) opened: Option<Vec<Part>>,
    /// The writes that the child has accepted.
    pub(crate) accepted: Vec<u8>,
    /// The second parent of a merge.
    pub(crate) neighbour: Option<Neighbour>,
}

impl Operation {
    pub(crate) fn planned(nodes: usize, kind: Option<Kind>) -> Self {
        Self {
            phase: Phase::Planned,
            touched: false,
            reports: vec![None; nodes],
            opened: None,
            accepted: Vec::new(),
            neighbour: (kind == Some(Kind::Merge)).then(Neighbour::beginning),
        }
    }

    /// Whether nothing is decided yet.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Planned | Phase::Sealing)
    }
}

impl Protocol {
    /// What a coordinator, the child and the neighbour may do.
    pub(crate) fn operation_steps(&self, state: &State, actions: &mut Vec<Action>) {
        if self.scenario.operation.is_none() {
            return;
        }
        let operation = &state.operation;
        let mut push = |step: OperationStep| actions.push(Action::Operation(step));
        let filtered = state.replicas.iter().filter(|one| one.base.is_some());
        let copied = operation.neighbour.iter().all(Neighbour::is_copied);
        let ready = filtered.count() >= self.child_quorum() && copied;
        if operation.phase == Phase::Planned && ready {
            push(OperationStep::Touch);
        }
        if operation.is_open() {
            push(OperationStep::Abort);
        }
        let undecided = operation.phase == Phase::Sealing
            || (operation.phase == Phase::Aborted && self.lacks(Rule::DecideOnce));
        if undecided && self.has_neighbours_seal(operation) {
            self.commits(state, &mut push);
        }
        if operation.phase == Phase::Aborted && self.is_clean(state) {
            push(OperationStep::Finish);
        }
        let opens = self.lacks(Rule::ChildWaits) && self.agreed(state).is_some();
        if (operation.phase == Phase::Committed || opens) && operation.accepted.is_empty() {
            (1..=self.numbers()).for_each(|write| push(OperationStep::Deliver(write)));
        }
        self.neighbour_steps(state, &mut push);
    }

    /// Whether no parent of an aborted operation can be sealed any more.
    fn is_clean(&self, state: &State) -> bool {
        let operation = &state.operation;
        let mut committed = state.committed.iter().flatten();
        let unsealed = committed.any(|record| record.content == Content::Unseal);
        let mut neighbour = operation.neighbour.iter();
        let both = neighbour.all(|one| position(&one.log, Content::Unseal).is_some())
            || self.lacks(Rule::UnsealBoth);
        let lifted = unsealed && both;
        lifted || !operation.touched || self.lacks(Rule::UnsealBeforeCleanup)
    }

    /// The ways to decide for the child.
    fn commits(&self, state: &State, push: &mut impl FnMut(OperationStep)) {
        let early = |node: &NodeId| state.replica(*node).base.is_some();
        if self.lacks(Rule::DecideAfterSeal) {
            (0..self.scenario.nodes)
                .filter(early)
                .for_each(|node| push(OperationStep::Commit(node)));
        } else if let Some(node) = self.agreed(state) {
            push(OperationStep::Commit(node));
        }
    }

    /// Whether a parent with this log may append SEAL.
    fn may_seal(&self, operation: &Operation, log: &[Record]) -> bool {
        let touched = operation.touched || self.lacks(Rule::TouchBeforeSeal);
        let has = |content: Content| position(log, content).is_some();
        touched && !has(Content::Seal) && !has(Content::Unseal)
    }

    /// Whether a parent with this log may append UNSEAL.
    fn may_unseal(&self, operation: &Operation, log: &[Record]) -> bool {
        let aborted = operation.phase == Phase::Aborted && operation.touched;
        let early = self.lacks(Rule::AbortBeforeUnseal) && is_sealed(log);
        (aborted || early) && position(log, Content::Unseal).is_none()
    }

    /// What `node` may do for the operation, as a member of the replicated parent.
    pub(crate) fn parent_steps(&self, state: &State, node: NodeId, actions: &mut Vec<Action>) {
        if self.scenario.operation.is_none() {
            return;
        }
        let (operation, replica) = (&state.operation, state.replica(node));
        let log = &replica.log;
        let mut push = |step: OperationStep| actions.push(Action::Operation(step));
        if state.primary(node).is_some_and(|primary| primary.activated) {
            let based = position(log, Content::Base).is_some();
            if operation.phase == Phase::Planned && !based {
                push(OperationStep::Base(node));
            }
            if based && self.may_seal(operation, log) {
                push(OperationStep::Seal(node));
            }
            if self.may_unseal(operation, log) {
                push(OperationStep::Unseal(node));
            }
        }
        let applied = &log[..usize::from(replica.commit)];
        let based = position(applied, Content::Base).is_some();
        if operation.is_open() && replica.base.is_none() && based {
            push(OperationStep::Filter(node));
        }
        let sealed = position(applied, Content::Seal).is_some() || self.lacks(Rule::OpenAtSeal);
        let untold = operation.reports[usize::from(node)].is_none();
        if operation.phase == Phase::Sealing && replica.base.is_some() && sealed && untold {
            push(OperationStep::Report(node));
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
    pub(crate) fn operate(&self, state: &mut State, step: OperationStep) {
        match step {
            OperationStep::Base(node) => Self::append(state, node, Content::Base),
            OperationStep::Seal(node) => Self::append(state, node, Content::Seal),
            OperationStep::Unseal(node) => Self::append(state, node, Content::Unseal),
            OperationStep::Filter(node) => self.filter(state, node),
            OperationStep::Touch => {
                state.operation.phase = Phase::Sealing;
                state.operation.touched = true;
            }
            OperationStep::Report(node) => {
                state.operation.reports[usize::from(node)] = Some(Self::followed(state, node));
            }
            OperationStep::Commit(node) => self.open(state, node),
            OperationStep::Abort => state.operation.phase = Phase::Aborted,
            OperationStep::Finish => state.operation.phase = Phase::Over,
            OperationStep::Deliver(write) => self.deliver_to_child(state, write),
            OperationStep::Neighbour(step) => self.advance_neighbour(state, step),
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
        let filtered = handed_over(&replica.log[..usize::from(upto)]).collect();
        replica.base = Some(filtered);
    }

    /// What the child of `node` holds: what it began with, and what followed up to the seal.
    fn followed(state: &State, node: NodeId) -> Part {
        let replica = state.replica(node);
        let applied = &replica.log[..usize::from(replica.commit)];
        let from = position(applied, Content::Base).unwrap_or(0);
        let upto = position(applied, Content::Seal).unwrap_or(replica.commit);
        let base = replica.base.iter().flatten().copied();
        let after = &applied[usize::from(from)..usize::from(upto)];
        base.chain(handed_over(after)).collect()
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
