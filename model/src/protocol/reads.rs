//! Reads behind a barrier: answers of `w` members that were asked after the read arrived.

use super::Protocol;
use crate::{
    action::Action,
    record::{NodeId, writes},
    rule::Rule,
    state::{Barrier, Broken, Primary, State},
};

impl Protocol {
    pub(super) fn barrier_steps(
        &self,
        state: &State,
        node: NodeId,
        primary: &Primary,
        actions: &mut Vec<Action>,
    ) {
        if !self.scenario.barriers || !primary.activated || primary.commit < primary.start {
            return;
        }
        let Some(barrier) = &primary.barrier else {
            if !state.acknowledged.is_empty() {
                actions.push(Action::BarrierBegin(node));
            }
            return;
        };
        for &(member, replica_id) in &primary.config.members {
            let replica = state.replica(member);
            let answers =
                replica.replica_id == replica_id && replica.promised == primary.config.epoch;
            if answers && !barrier.answered.contains(&member) {
                actions.push(Action::BarrierAnswer {
                    primary: node,
                    member,
                });
            }
        }
        if barrier.answered.len() >= primary.config.w || self.lacks(Rule::ReadBarrier) {
            actions.push(Action::BarrierEnd(node));
        }
    }

    pub(super) fn barrier_begin(state: &mut State, node: NodeId) {
        let wanted = state.acknowledged.clone();
        if let Some(primary) = state.primary_mut(node) {
            primary.barrier = Some(Barrier {
                wanted,
                ..Barrier::default()
            });
        }
    }

    /// A ping and its answer as one step: what matters is that it comes after the read.
    pub(super) fn barrier_answer(state: &mut State, node: NodeId, member: NodeId) {
        let primary = state.primary_mut(node);
        if let Some(barrier) = primary.and_then(|primary| primary.barrier.as_mut()) {
            barrier.answered.insert(member);
        }
    }

    pub(super) fn barrier_end(state: &mut State, node: NodeId) {
        let log = state.replica(node).log.clone();
        let Some(primary) = state.primary_mut(node) else {
            return;
        };
        let applied = &log[..usize::from(primary.commit)];
        let barrier = primary.barrier.take().unwrap_or_default();
        let sees = |value: &u8| writes(applied).any(|write| write == *value);
        if !barrier.wanted.iter().all(sees) {
            state.broken = Some(Broken::StaleRead);
        }
    }
}
