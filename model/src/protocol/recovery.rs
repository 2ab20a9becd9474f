//! How an attempt becomes a primary with the newest log (P1 to P3, same-primary change).

use std::sync::Arc;

use super::Protocol;
use crate::{
    action::Action,
    record::{Content, Log, NodeId, Record, ReplicaId, last},
    rule::Rule,
    state::{Attempt, Broken, Message, Primary, Recovery, Replica, Role, State},
};

impl Protocol {
    /// What the primary that `attempt` names may do when it hears of it, however late.
    pub(super) fn commands(
        &self,
        state: &State,
        index: usize,
        attempt: &Attempt,
        actions: &mut Vec<Action>,
    ) {
        let config = &attempt.config;
        if self.scenario.hand_overs && may_give_way(state, attempt) {
            actions.push(Action::GiveWay(index));
        }
        let named = state.replica(config.primary);
        if named.incarnation != config.incarnation || config.epoch <= named.promised {
            return;
        }
        // To answer one's own fence is to answer a fence: a promise for a lease forbids it, unless its holder has given way.
        let free = named.held == 0
            || self.lacks(Rule::LeaseBindsCandidate)
            || was_left(state, config.epoch);
        if self.lists(&attempt.recover_from, config.primary, named.replica_id) && free {
            actions.push(Action::Begin(index));
        }
        if self.scenario.same_primary
            && let Role::Primary(primary) = &named.role
            && primary.activated
            && primary.config == attempt.recover_from
        {
            actions.push(Action::SamePrimary(index));
        }
    }

    /// Answers a fence as the active primary. It need not be durable: whoever has ceased to lead an epoch never leads it again.
    pub(super) fn give_way(&self, state: &mut State, index: usize) {
        let Attempt {
            config,
            recover_from,
        } = state.attempts[index].clone();
        let replica = state.replica_mut(recover_from.primary);
        if !self.lacks(Rule::LeadsNoMore) {
            replica.synced.get_or_insert(replica.promised);
            replica.promised = config.epoch;
            replica.role = Role::Replica;
        }
        let answer = Message::FenceAck {
            epoch: config.epoch,
            from: recover_from.primary,
            replica_id: replica.replica_id,
            log: replica.log.clone(),
            left: true,
        };
        state.messages.insert(answer);
    }

    pub(super) fn begin(state: &mut State, index: usize) {
        let attempt = state.attempts[index].clone();
        let node = attempt.config.primary;
        let replica = state.replica_mut(node);
        replica.promise(attempt.config.epoch);
        let own = (node, replica.replica_id, replica.log.clone());
        replica.role = Role::Recovering(Recovery {
            attempt,
            answers: vec![own],
            left: false,
        });
    }

    pub(super) fn same_primary(&self, state: &mut State, index: usize) {
        let config = state.attempts[index].config.clone();
        let (node, nodes) = (config.primary, state.replicas.len());
        let Some(before) = state.primary(node).cloned() else {
            return;
        };
        let replica = state.replica_mut(node);
        replica.promise(config.epoch);
        Self::start_epoch(replica, config.epoch);
        let mut primary = Primary::starting(config, replica, before.commit, nodes);
        if self.lacks(Rule::LeaseOfEpoch) {
            primary.leases = before.leases;
        }
        replica.role = Role::Primary(primary);
    }

    fn start_epoch(replica: &mut Replica, epoch: u8) {
        let content = Content::Start;
        Arc::make_mut(&mut replica.log).push(Record { epoch, content });
    }

    pub(super) fn recovery_steps(
        &self,
        state: &State,
        node: NodeId,
        recovery: &Recovery,
        actions: &mut Vec<Action>,
    ) {
        let Attempt {
            config,
            recover_from,
        } = &recovery.attempt;
        let answered = |member: NodeId| {
            let mut messages = state.messages.iter();
            messages.any(|message| {
                matches!(message, Message::FenceAck { epoch, from, .. }
                    if *epoch == config.epoch && *from == member)
            })
        };
        for &(member, _) in &recover_from.members {
            let replica = state.replica(member);
            let free = replica.held == 0 || self.lacks(Rule::LeaseHolds);
            let accepts = replica.promised < config.epoch && free;
            let repeats = replica.promised == config.epoch;
            if member != node && (accepts || repeats) && !answered(member) {
                actions.push(Action::Fence {
                    candidate: node,
                    member,
                });
            }
        }
        for message in &state.messages {
            if let Message::FenceAck {
                epoch,
                from,
                replica_id,
                ..
            } = message
                && *epoch == config.epoch
                && self.lists(recover_from, *from, *replica_id)
                && recovery.answers.iter().all(|(member, ..)| member != from)
            {
                actions.push(Action::FenceAck(node, message.clone()));
            }
        }
        let mut quorum = recover_from.recovery_quorum();
        if self.lacks(Rule::RecoveryQuorum) {
            quorum = (quorum - 1).max(1);
        }
        let suffices = recovery.left || self.lacks(Rule::PrimarysWord);
        if recovery.answers.len() >= quorum || suffices {
            actions.push(Action::Adopt(node));
        }
    }

    pub(super) fn fence(&self, state: &mut State, candidate: NodeId, member: NodeId) {
        let Role::Recovering(recovery) = &state.replica(candidate).role else {
            return;
        };
        let epoch = recovery.attempt.config.epoch;
        let replica = state.replica_mut(member);
        if replica.promised < epoch && !self.lacks(Rule::Fence) {
            replica.role = Role::Replica;
        }
        if !self.lacks(Rule::Fence) {
            replica.promise(epoch);
        }
        let answer = Message::FenceAck {
            epoch,
            from: member,
            replica_id: replica.replica_id,
            log: replica.log.clone(),
            left: false,
        };
        state.messages.insert(answer);
    }

    pub(super) fn fence_answered(state: &mut State, node: NodeId, message: Message) {
        if let Role::Recovering(recovery) = &mut state.replica_mut(node).role
            && let Message::FenceAck {
                from,
                replica_id,
                log,
                left,
                ..
            } = message
        {
            recovery.answers.push((from, replica_id, log));
            recovery.answers.sort();
            recovery.left |= left;
        }
    }

    pub(super) fn adopt(&self, state: &mut State, node: NodeId) {
        let nodes = state.replicas.len();
        let replica = state.replica_mut(node);
        let Role::Recovering(recovery) = replica.role.clone() else {
            return;
        };
        let Some(log) = self.newest(node, &recovery.answers) else {
            return;
        };
        if Self::truncates_commit(replica, &log) {
            state.broken = Some(Broken::CommitTruncated);
            return;
        }
        let config = recovery.attempt.config;
        replica.log = log;
        if !self.lacks(Rule::EpochStartRecord) {
            Self::start_epoch(replica, config.epoch);
        }
        replica.role = Role::Primary(Primary::starting(config, replica, replica.commit, nodes));
    }

    /// The log that a candidate adopts.
    fn newest(&self, node: NodeId, answers: &[(NodeId, ReplicaId, Log)]) -> Option<Log> {
        let newest = if self.lacks(Rule::NewestLog) {
            answers.iter().max_by_key(|(.., log)| log.len())
        } else if self.lacks(Rule::AdoptLog) {
            answers.iter().find(|(member, ..)| *member == node)
        } else {
            answers.iter().max_by_key(|(.., log)| last(log))
        };
        newest.map(|(.., log)| log.clone())
    }

    /// Whether `log` lacks what `replica` knows to be committed.
    pub(super) fn truncates_commit(replica: &Replica, log: &[Record]) -> bool {
        let commit = usize::from(replica.commit);
        log.get(..commit) != Some(&replica.log[..commit])
    }
}

/// Whether the active primary that an attempt recovers from can give way to it.
fn may_give_way(state: &State, attempt: &Attempt) -> bool {
    let (config, active) = (&attempt.config, &attempt.recover_from);
    let leads = |primary: &Primary| primary.activated && primary.config == *active;
    config.primary != active.primary
        && state.replica(active.primary).promised < config.epoch
        && state.primary(active.primary).is_some_and(leads)
}

/// Whether the primary before has said that it gave way to an epoch.
fn was_left(state: &State, wanted: u8) -> bool {
    let mut messages = state.messages.iter();
    messages.any(|message| {
        matches!(message, Message::FenceAck { epoch, left: true, .. } if *epoch == wanted)
    })
}
