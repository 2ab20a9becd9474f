//! How a primary replicates, activates and commits (R1, R2, P3 to P5).

use super::Protocol;
use crate::{
    action::Action,
    record::{NodeId, Record, end, is_sealed, last},
    rule::Rule,
    state::{Broken, Message, Primary, Role, State},
};

impl Protocol {
    pub(super) fn primary_steps(
        &self,
        state: &State,
        node: NodeId,
        primary: &Primary,
        actions: &mut Vec<Action>,
    ) {
        let log = &state.replica(node).log;
        if self.scenario.retries == 0
            && self.admits(log, primary)
            && state.written < self.scenario.writes
        {
            actions.push(Action::Write(node));
        }
        if self.scenario.sends_late {
            let message = Self::message(state, node, primary);
            if !state.messages.contains(&message) {
                actions.push(Action::Send(node));
            }
        }
        for message in &state.messages {
            if self.counts(primary, message) {
                actions.push(Action::AppendAck(node, message.clone()));
            }
        }
        let enough = if self.lacks(Rule::ActivateAtQuorum) {
            1
        } else {
            primary.config.w
        };
        if !primary.activated && primary.config.count(&primary.acked, primary.start) >= enough {
            actions.push(Action::Activate(node));
        }
        if primary.activated || self.lacks(Rule::ActivateBeforeCommit) {
            let reached = primary.quorum_end(end(log));
            if reached > primary.commit && reached >= primary.start {
                actions.push(Action::Commit(node));
            }
        }
    }

    /// Whether a new write may follow in the log of `primary`.
    pub(super) fn admits(&self, log: &[Record], primary: &Primary) -> bool {
        let sealed = is_sealed(log) && !self.lacks(Rule::SealStopsWrites);
        primary.activated && !sealed
    }

    fn message(state: &State, node: NodeId, primary: &Primary) -> Message {
        Message::Append {
            epoch: primary.config.epoch,
            from: node,
            log: state.replica(node).log.clone(),
            commit: primary.commit,
        }
    }

    /// Whether `message` tells `primary` more than it knows.
    fn counts(&self, primary: &Primary, message: &Message) -> bool {
        let Message::AppendAck {
            epoch,
            from,
            replica_id,
            durable,
        } = message
        else {
            return false;
        };
        let config = &primary.config;
        *epoch == config.epoch
            && self.lists(config, *from, *replica_id)
            && primary.acked[usize::from(*from)] < *durable
    }

    /// Sends what there is to send. Messages stay, and arrive at any time or never, so a later moment adds nothing.
    pub(super) fn send_all(&self, state: &mut State) {
        if !self.scenario.sends_late {
            for node in 0..self.scenario.nodes {
                Self::send(state, node);
            }
        }
    }

    pub(super) fn send(state: &mut State, node: NodeId) {
        if let Some(primary) = state.primary(node) {
            let message = Self::message(state, node, primary);
            state.messages.insert(message);
        }
    }

    /// The appends that change something at `node`.
    pub(super) fn deliveries(&self, state: &State, node: NodeId, actions: &mut Vec<Action>) {
        let replica = state.replica(node);
        for message in &state.messages {
            let Message::Append {
                epoch,
                from,
                log,
                commit,
            } = message
            else {
                continue;
            };
            let accepts = *epoch >= replica.promised || self.lacks(Rule::EpochCheck);
            if *from == node || !accepts {
                continue;
            }
            let answer = Message::AppendAck {
                epoch: *epoch,
                from: node,
                replica_id: replica.replica_id,
                durable: end(log),
            };
            let (last_epoch, length) = last(&replica.log);
            let known = *epoch == replica.promised
                && last_epoch == *epoch
                && length >= log.len()
                && replica.commit >= *commit
                && state.messages.contains(&answer);
            if !known {
                actions.push(Action::Append(node, message.clone()));
            }
        }
    }

    pub(super) fn appended(state: &mut State, node: NodeId, message: Message) {
        let Message::Append {
            epoch, log, commit, ..
        } = message
        else {
            return;
        };
        let replica = state.replica_mut(node);
        if epoch > replica.promised {
            replica.role = Role::Replica;
        }
        replica.promise(epoch);
        let durable = end(&log);
        let (last_epoch, length) = last(&replica.log);
        // In one epoch there is one writer, so its logs only extend one another.
        if last_epoch != epoch {
            if Self::truncates_commit(replica, &log) {
                state.broken = Some(Broken::CommitTruncated);
                return;
            }
            replica.log = log;
        } else if log.len() > length {
            replica.log = log;
        }
        replica.commit = replica.commit.max(commit.min(durable));
        let answer = Message::AppendAck {
            epoch,
            from: node,
            replica_id: replica.replica_id,
            durable,
        };
        state.messages.insert(answer);
    }

    pub(super) fn acknowledged(state: &mut State, node: NodeId, message: &Message) {
        let own = end(&state.replica(node).log);
        if let Some(primary) = state.primary_mut(node)
            && let Message::AppendAck { from, durable, .. } = message
        {
            let acked = &mut primary.acked[usize::from(*from)];
            *acked = (*acked).max(*durable.min(&own));
        }
    }

    /// The compare-and-set of P4; who loses it steps down.
    pub(super) fn activate(state: &mut State, node: NodeId) {
        let Some(config) = state.primary(node).map(|primary| primary.config.clone()) else {
            return;
        };
        let registry = &mut state.registry;
        if let Some(pending) = &registry.pending
            && pending.config == config
        {
            registry.active = config.clone();
            registry.pending = None;
        }
        if registry.active != config {
            state.replica_mut(node).role = Role::Replica;
        } else if let Some(primary) = state.primary_mut(node) {
            primary.activated = true;
        }
    }

    pub(super) fn commit(state: &mut State, node: NodeId) {
        let log = state.replica(node).log.clone();
        let Some(primary) = state.primary_mut(node) else {
            return;
        };
        let commit = primary.quorum_end(end(&log));
        primary.commit = commit;
        let replica = state.replica_mut(node);
        replica.commit = replica.commit.max(commit);
        state.declare_committed(&log, commit);
    }
}
