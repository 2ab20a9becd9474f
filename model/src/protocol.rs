//! The protocol as a state machine whose every step is explored.
//!
//! Registry, coordinators and faults are here; how an attempt becomes a primary is in `recovery`, the log in
//! `replication`, what clients repeat in `retries`, reads behind a barrier and under a lease in `reads` and `lease`.

mod lease;
mod reads;
mod recovery;
mod replication;
mod retries;

pub(crate) use retries::Known;

use std::{collections::BTreeSet, sync::Arc};

use stateright::{Model, Property};

use crate::{
    action::Action,
    operation::Operation,
    property,
    record::{Config, Content, Lsn, NodeId, Record, ReplicaId, end, last},
    rule::Rule,
    scenario::Scenario,
    state::{Attempt, Primary, Registry, Replica, Role, State},
};

/// A scenario, with all rules or without one.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) scenario: Scenario,
    pub(crate) without: Option<Rule>,
}

impl Protocol {
    pub(crate) fn lacks(&self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    /// How many members of `count` make a record committed.
    pub(crate) fn w(&self, count: usize) -> usize {
        if self.scenario.in_sync {
            count
        } else {
            count / 2 + 1
        }
    }

    /// Whether an answer of this copy counts in `config`.
    fn lists(&self, config: &Config, node: NodeId, replica_id: ReplicaId) -> bool {
        let by_node = self.lacks(Rule::ListedReplica) && config.names(node);
        by_node || config.has(node, replica_id)
    }

    /// All nodes idle, the first member the primary of epoch 1, nothing written.
    fn beginning(&self) -> State {
        let nodes = usize::from(self.scenario.nodes);
        let members = self.scenario.members;
        let config = Config {
            epoch: 1,
            primary: members[0],
            incarnation: 0,
            members: members.iter().map(|&node| (node, 0)).collect(),
            w: self.w(members.len()),
        };
        let start = Record {
            epoch: 1,
            content: Content::Start,
        };
        let replica = |node: NodeId| Replica {
            promised: u8::from(members.contains(&node)),
            synced: None,
            log: Arc::new(vec![start; usize::from(members.contains(&node))]),
            replica_id: 0,
            incarnation: 0,
            commit: 0,
            held: 0,
            ahead: 0,
            base: None,
            role: Role::Replica,
        };
        let mut replicas: Vec<_> = (0..self.scenario.nodes).map(replica).collect();
        let first = &mut replicas[usize::from(members[0])];
        let mut primary = Primary::starting(config.clone(), first, 1, nodes);
        for member in members {
            primary.acked[usize::from(*member)] = 1;
        }
        primary.activated = true;
        first.role = Role::Primary(primary);
        State {
            registry: Registry {
                epoch: 1,
                active: config,
                pending: None,
                replica_ids: vec![0; nodes],
            },
            attempts: Vec::new(),
            replicas,
            messages: BTreeSet::new(),
            written: 0,
            expiries: 0,
            restarts: 0,
            losses: 0,
            rounds: 0,
            acknowledged: BTreeSet::new(),
            refused: BTreeSet::new(),
            committed: vec![Some(start)],
            operation: Operation::planned(nodes, self.scenario.operation),
            broken: None,
        }
    }

    /// The first enabled action whose text starts with `text`.
    fn find(&self, state: &State, text: &str) -> Option<Action> {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        let named = |action: &Action| format!("{action:?}").starts_with(text);
        actions.into_iter().find(named)
    }

    /// Coordinators are not trusted: any may suspect anybody at any time, and its commands arrive late.
    fn coordinators(&self, state: &State, actions: &mut Vec<Action>) {
        if state.registry.epoch < self.scenario.epochs {
            for (primary, members) in self.scenario.attempts {
                actions.push(Action::Attempt {
                    primary: *primary,
                    members: members.to_vec(),
                });
            }
        }
        for (index, attempt) in state.attempts.iter().enumerate() {
            self.commands(state, index, attempt, actions);
        }
        self.operation_steps(state, actions);
    }

    /// Makes an attempt by compare-and-set (C1).
    fn attempt(&self, state: &mut State, primary: NodeId, members: &[NodeId]) {
        let listed = |&node: &NodeId| (node, state.registry.replica_ids[usize::from(node)]);
        let config = Config {
            epoch: state.registry.epoch + 1,
            primary,
            incarnation: state.replica(primary).incarnation,
            members: members.iter().map(listed).collect(),
            w: self.w(members.len()),
        };
        let mut recover_from = state.registry.active.clone();
        if let Some(pending) = &state.registry.pending
            && self.lacks(Rule::RecoverFromActive)
        {
            recover_from = pending.config.clone();
        }
        let attempt = Attempt {
            config,
            recover_from,
        };
        state.registry.epoch += 1;
        state.registry.pending = Some(attempt.clone());
        state.attempts.push(attempt);
    }

    fn faults(&self, state: &State, node: NodeId, actions: &mut Vec<Action>) {
        let replica = state.replica(node);
        let forgets = replica.role != Role::Replica
            || replica.held > 0
            || replica.synced.is_some()
            || (self.lacks(Rule::DurablePromise) && replica.promised > last(&replica.log).0)
            || (self.lacks(Rule::DurableRecord) && replica.commit < end(&replica.log));
        if state.restarts < self.scenario.restarts && forgets {
            actions.push(Action::Restart(node));
        }
        if state.losses < self.scenario.losses {
            if self.scenario.operation.is_some() {
                actions.push(Action::Damage(node));
            } else {
                let lengths = (0..).take(replica.log.len());
                actions.extend(lengths.map(|kept| Action::Lose(node, kept)));
            }
        }
    }

    fn restart(&self, state: &mut State, node: NodeId) {
        state.restarts += 1;
        let replica = state.replica_mut(node);
        self.start_process(replica);
        if self.lacks(Rule::DurablePromise) {
            replica.promised = last(&replica.log).0;
        }
        if self.lacks(Rule::DurableRecord) {
            let kept = usize::from(replica.commit);
            Arc::make_mut(&mut replica.log).truncate(kept);
        }
    }

    fn start_process(&self, replica: &mut Replica) {
        replica.incarnation += 1;
        replica.promised = replica.synced.take().unwrap_or(replica.promised);
        replica.role = Role::Replica;
        // What it promised before is forgotten, so it may have been as long as promises ever are.
        let forgotten = self.scenario.rounds == 0 || self.lacks(Rule::LeaseAfterRestart);
        replica.held = if forgotten { 0 } else { self.scenario.promise };
    }

    /// The disk loses a suffix and the promise, and says so (R4).
    fn lose(&self, state: &mut State, node: NodeId, kept: Lsn) {
        state.losses += 1;
        let replica = state.replica_mut(node);
        self.start_process(replica);
        Arc::make_mut(&mut replica.log).truncate(usize::from(kept));
        replica.commit = replica.commit.min(kept);
        replica.promised = last(&replica.log).0;
        if !self.lacks(Rule::FreshReplicaId) {
            replica.replica_id += 1;
            let replica_id = replica.replica_id;
            state.registry.replica_ids[usize::from(node)] = replica_id;
        }
    }

    /// Advances `state` by `action`.
    fn advance(&self, state: &mut State, action: Action) {
        match action {
            Action::Attempt { primary, members } => self.attempt(state, primary, &members),
            Action::Begin(index) => Self::begin(state, index),
            Action::SamePrimary(index) => self.same_primary(state, index),
            Action::Fence { candidate, member } => self.fence(state, candidate, member),
            Action::FenceAck(node, message) => Self::fence_answered(state, node, message),
            Action::GiveWay(index) => self.give_way(state, index),
            Action::Adopt(node) => self.adopt(state, node),
            Action::Write(node) => {
                state.written += 1;
                let value = state.written;
                Self::append(state, node, Content::Write(value));
            }
            Action::Send(node) => Self::send(state, node),
            Action::Append(node, message) => Self::appended(state, node, message),
            Action::AppendAck(node, message) => Self::acknowledged(state, node, &message),
            Action::Activate(node) => Self::activate(state, node),
            Action::Commit(node) => Self::commit(state, node),
            Action::Restart(node) => self.restart(state, node),
            Action::Lose(node, kept) => self.lose(state, node, kept),
            Action::BarrierBegin(node) => Self::barrier_begin(state, node),
            Action::BarrierAnswer { primary, member } => {
                Self::barrier_answer(state, primary, member);
            }
            Action::BarrierEnd(node) => Self::barrier_end(state, node),
            Action::Tick(node) => self.tick(state, node),
            Action::PingAll(node) => Self::ping_all(state, node),
            Action::Ping(node, message) => self.pinged(state, node, &message),
            Action::Pong(node, message) => self.ponged(state, node, &message),
            Action::LeasedRead(node, applied) => Self::leased_read(state, node, applied),
            Action::Deliver(node, write) => self.deliver(state, node, write),
            Action::Deny(_, write) => {
                state.refused.insert(write);
            }
            Action::Expire(node) => self.expire(state, node),
            Action::Operation(step) => self.operate(state, step),
            Action::Damage(node) => Self::damage(state, node),
        }
    }

    /// Advances `state` by `action`, and by what follows from it at once.
    fn step(&self, state: &mut State, action: Action) {
        self.advance(state, action);
        self.send_all(state);
        self.settle(state);
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = self.beginning();
        self.send_all(&mut state);
        for text in self.scenario.prefix {
            let action = self.find(&state, text);
            let action = action.unwrap_or_else(|| panic!("a prefix has no step `{text}`"));
            self.step(&mut state, action);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.coordinators(state, actions);
        for node in 0..self.scenario.nodes {
            match &state.replica(node).role {
                Role::Recovering(recovery) => self.recovery_steps(state, node, recovery, actions),
                Role::Primary(primary) => {
                    self.primary_steps(state, node, primary, actions);
                    self.retry_steps(state, node, primary, actions);
                    self.barrier_steps(state, node, primary, actions);
                    self.lease_steps(state, node, primary, actions);
                }
                Role::Replica => {}
            }
            self.deliveries(state, node, actions);
            self.lease_deliveries(state, node, actions);
            self.parent_steps(state, node, actions);
            self.faults(state, node, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::all(self)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let mut replicas = state.replicas.iter();
        replicas.all(|replica| replica.log.len() <= LONGEST_LOG)
    }
}

/// No scenario's bounds allow a longer log; it is here in case one is changed.
const LONGEST_LOG: usize = 12;
