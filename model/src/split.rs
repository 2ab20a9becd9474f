//! A split: SEAL in the parent's log, one decision in the registry, and a child that opens.
//!
//! The parent's only range is what goes away. Its members follow the log, so each has the child's content once
//! its applied records end at the seal; the child's own replication is the same protocol again.

use crate::{
    action::Action,
    protocol::Protocol,
    record::{Content, Lsn, NodeId, Record, end, is_sealed, writes},
    rule::Rule,
    state::{Role, State},
};

/// The one field of the operation that decides; it changes at most once (K4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    Open,
    Commit,
    Abort,
}

/// The operation's record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Split {
    /// Whether a primary has appended SEAL already.
    pub(crate) begun: bool,
    /// The position of the committed SEAL, as a primary reported it.
    pub(crate) sealed_at: Option<Lsn>,
    pub(crate) decision: Decision,
    /// The writes that the child opened with.
    pub(crate) child: Option<Vec<u8>>,
}

impl Split {
    pub(crate) fn none() -> Self {
        Self {
            begun: false,
            sealed_at: None,
            decision: Decision::Open,
            child: None,
        }
    }
}

impl Protocol {
    /// What a coordinator may decide.
    pub(crate) fn decisions(&self, state: &State, actions: &mut Vec<Action>) {
        let split = &state.split;
        if !self.scenario.split || !split.begun || split.decision != Decision::Open {
            return;
        }
        actions.push(Action::Decide(Decision::Abort));
        let ready = split.sealed_at.is_some() && split.child.is_some();
        if ready || self.lacks(Rule::DecideAfterSeal) {
            actions.push(Action::Decide(Decision::Commit));
        }
    }

    /// What `node` may do for the split.
    pub(crate) fn split_steps(&self, state: &State, node: NodeId, actions: &mut Vec<Action>) {
        let (split, replica) = (&state.split, state.replica(node));
        if !self.scenario.split {
            return;
        }
        if let Some(primary) = state.primary(node).filter(|primary| primary.activated) {
            let sealed = is_sealed(&replica.log);
            if !split.begun && split.decision == Decision::Open {
                actions.push(Action::Seal(node));
            }
            if sealed && (split.decision == Decision::Abort || self.lacks(Rule::AbortBeforeUnseal))
            {
                actions.push(Action::Unseal(node));
            }
            let known = split.sealed_at.is_some() || split.decision != Decision::Open;
            let applied = &replica.log[..usize::from(primary.commit)];
            if !known && is_sealed(applied) {
                actions.push(Action::ReportSeal(node));
            }
        }
        if split.child.is_none() && split.decision == Decision::Open {
            let seal = split.sealed_at.filter(|lsn| *lsn <= replica.commit);
            let early = Some(replica.commit)
                .filter(|_| self.lacks(Rule::OpenAtSeal) && split.sealed_at.is_some());
            if let Some(lsn) = seal.or(early) {
                actions.push(Action::OpenChild(node, lsn));
            }
        }
    }

    /// Appends `content` to the log of the primary on `node`.
    pub(crate) fn append(state: &mut State, node: NodeId, content: Content) {
        let replica = state.replica_mut(node);
        let replica_id = replica.replica_id;
        if let Role::Primary(primary) = &mut replica.role {
            let epoch = primary.config.epoch;
            replica.log.push(Record { epoch, content });
            primary.extended(node, replica_id, end(&replica.log));
        }
    }

    /// Notes where the committed log of the primary on `node` was sealed.
    pub(crate) fn report_seal(state: &mut State, node: NodeId) {
        let log = &state.replica(node).log;
        let seal = log
            .iter()
            .rposition(|record| record.content == Content::Seal);
        state.split.sealed_at = seal.map(|index| end(&log[..=index]));
    }

    /// Opens the child with what `node` has applied up to `lsn`.
    pub(crate) fn open_child(state: &mut State, node: NodeId, lsn: Lsn) {
        let log = &state.replica(node).log[..usize::from(lsn)];
        state.split.child = Some(writes(log).collect());
    }
}
