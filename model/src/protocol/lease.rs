//! Leases for reads, on clocks whose drift is bounded.
//!
//! A member that answers a ping refuses higher fences for the promised duration of its own clock, also its own
//! fence as a candidate, and after its process start for as long as a promise ever is. The primary counts less than
//! that from when it sent the ping. An acknowledged append carries the same promise; it is a ping at that moment.
//!
//! Clocks advance one at a time, none more than the scenario's drift ahead of the slowest. So over any span two
//! clocks differ by at most twice the drift, which is the margin. Only what is left of each span is in the state,
//! hence time never runs out.

use super::Protocol;
use crate::{
    action::Action,
    record::{Epoch, Lsn, NodeId, Ticks, writes},
    rule::Rule,
    state::{Broken, Message, Primary, Replica, Role, Round, State},
};

impl Protocol {
    /// How long a primary counts a lease from when it sent the ping.
    fn lease_length(&self) -> Ticks {
        let margin = if self.lacks(Rule::LeaseMargin) {
            0
        } else {
            2 * self.scenario.drift
        };
        self.scenario.promise - margin
    }

    pub(super) fn lease_steps(
        &self,
        state: &State,
        node: NodeId,
        primary: &Primary,
        actions: &mut Vec<Action>,
    ) {
        if self.scenario.rounds == 0 || !primary.activated {
            return;
        }
        let fresh = primary.round.is_none_or(|round| round.age > 0);
        if state.rounds < self.scenario.rounds && fresh {
            actions.push(Action::PingAll(node));
        }
        for message in &state.messages {
            if let Message::Pong {
                epoch,
                from,
                replica_id,
                round,
            } = message
                && *epoch == primary.config.epoch
                && primary.config.has(*from, *replica_id)
                && primary.round.is_some_and(|last| last.number == *round)
            {
                actions.push(Action::Pong(node, message.clone()));
            }
        }
        let reads = self.leased_reads(state, node).into_iter();
        actions.extend(reads.map(|applied| Action::LeasedRead(node, applied)));
    }

    /// The positions up to which state may be applied when it is read under a lease; none without a lease.
    pub(crate) fn leased_reads(&self, state: &State, node: NodeId) -> Vec<Lsn> {
        let Some(primary) = state.primary(node).filter(|primary| primary.activated) else {
            return Vec::new();
        };
        // Its own promise needs no clock: it steps down when it is fenced.
        let counted = |member: &NodeId| {
            let promised = primary.leases[usize::from(*member)] > 0;
            let listed = primary.config.names(*member) || self.lacks(Rule::LeaseOfEpoch);
            listed && (promised || *member == node)
        };
        let holders = (0..self.scenario.nodes).filter(counted).count();
        let needed = if self.lacks(Rule::LeaseQuorum) {
            1
        } else {
            primary.config.w
        };
        let started = primary.commit >= primary.start || self.lacks(Rule::LeaseReadPastStart);
        if holders < needed || !started {
            return Vec::new();
        }
        if self.lacks(Rule::LeaseReadApplied) {
            return (primary.start..=primary.commit).collect();
        }
        vec![primary.commit]
    }

    /// Answers at once, from what is applied; whatever is acknowledged at this moment has to be in it.
    pub(super) fn leased_read(state: &mut State, node: NodeId, applied: Lsn) {
        let log = &state.replica(node).log[..usize::from(applied)];
        let sees = |value: &u8| writes(log).any(|write| write == *value);
        if !state.acknowledged.iter().all(sees) {
            state.broken = Some(Broken::StaleLeasedRead);
        }
    }

    pub(super) fn ping_all(state: &mut State, node: NodeId) {
        state.rounds += 1;
        let number = state.rounds;
        let Some(primary) = state.primary_mut(node) else {
            return;
        };
        primary.round = Some(Round { number, age: 0 });
        let epoch = primary.config.epoch;
        state.messages.insert(Message::Ping {
            epoch,
            from: node,
            round: number,
        });
    }

    /// The pings that `node` may answer, each once: to answer again only makes the promise longer.
    pub(super) fn lease_deliveries(&self, state: &State, node: NodeId, actions: &mut Vec<Action>) {
        if self.scenario.rounds == 0 {
            return;
        }
        let replica = state.replica(node);
        for message in &state.messages {
            if let Message::Ping { epoch, from, round } = message
                && *from != node
                && *epoch >= replica.promised
                && Self::is_awaited(state, *from, *epoch, *round)
            {
                let answer = Message::Pong {
                    epoch: *epoch,
                    from: node,
                    replica_id: replica.replica_id,
                    round: *round,
                };
                if !state.messages.contains(&answer) {
                    actions.push(Action::Ping(node, message.clone()));
                }
            }
        }
        if self.clocks_matter(state) && replica.ahead < self.scenario.drift {
            actions.push(Action::Tick(node));
        }
    }

    /// Whether answers to this ping give a lease yet; those to others would only hold up fences.
    fn is_awaited(state: &State, node: NodeId, epoch: Epoch, number: u8) -> bool {
        state.primary(node).is_some_and(|primary| {
            let round = primary.round.filter(|round| round.number == number);
            primary.config.epoch == epoch && round.is_some()
        })
    }

    pub(super) fn pinged(&self, state: &mut State, node: NodeId, message: &Message) {
        let Message::Ping { epoch, round, .. } = message else {
            return;
        };
        let replica = state.replica_mut(node);
        if *epoch > replica.promised {
            replica.role = Role::Replica;
        }
        replica.promise(*epoch);
        replica.held = self.scenario.promise;
        let answer = Message::Pong {
            epoch: *epoch,
            from: node,
            replica_id: replica.replica_id,
            round: *round,
        };
        state.messages.insert(answer);
    }

    pub(super) fn ponged(&self, state: &mut State, node: NodeId, message: &Message) {
        let length = self.lease_length();
        let from_receipt = self.lacks(Rule::LeaseFromSend);
        if let Some(primary) = state.primary_mut(node)
            && let Some(round) = primary.round
            && let Message::Pong { from, .. } = message
        {
            let age = if from_receipt { 0 } else { round.age };
            let lease = &mut primary.leases[usize::from(*from)];
            *lease = (*lease).max(length.saturating_sub(age));
        }
    }

    /// Whether there can be a lease yet.
    fn clocks_matter(&self, state: &State) -> bool {
        let counts = |replica: &Replica| {
            matches!(&replica.role, Role::Primary(primary)
                if primary.round.is_some() || primary.leases.iter().any(|left| *left > 0))
        };
        state.rounds < self.scenario.rounds || state.replicas.iter().any(counts)
    }

    /// Forgets clocks and promises when no lease can follow: no write depends on them (I19), and the fences that
    /// the promises held up may only come earlier.
    pub(super) fn settle(&self, state: &mut State) {
        if self.scenario.rounds > 0 && !self.clocks_matter(state) {
            for replica in &mut state.replicas {
                (replica.held, replica.ahead) = (0, 0);
            }
        }
    }

    pub(super) fn tick(&self, state: &mut State, node: NodeId) {
        let replica = state.replica_mut(node);
        replica.ahead += 1;
        replica.held = replica.held.saturating_sub(1);
        if let Role::Primary(primary) = &mut replica.role {
            for lease in &mut primary.leases {
                *lease = lease.saturating_sub(1);
            }
            self.grow_old(primary);
        }
        let slowest = state.replicas.iter().map(|replica| replica.ahead).min();
        for replica in &mut state.replicas {
            replica.ahead -= slowest.unwrap_or(0);
        }
    }

    /// Forgets a round when its answers give no lease any more.
    fn grow_old(&self, primary: &mut Primary) {
        if let Some(round) = &mut primary.round {
            round.age = (round.age + 1).min(self.scenario.promise);
            if round.age >= self.lease_length() && !self.lacks(Rule::LeaseFromSend) {
                primary.round = None;
            }
        }
    }
}
