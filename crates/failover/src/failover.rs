//! The failover of one keyspace, as one of any number of coordinators sees it.
//!
//! ```text
//! leases, shards seen   -->  Failover  --> write a lease, write a shard, read reports
//! reports read          -->            --> events, answers
//! writes answered, time -->
//! ```
//!
//! All coordinators watch; the one that holds the coordinators' lease acts. For a node that is silent for the time-out:
//!
//! 1. **Fence**: end its lease by compare-and-set. From then on it cannot renew it, and its process has stopped serving, since its own
//!    clock ended the lease before ours did.
//! 2. **Read** what its replicas say of their copies. Before the fence one may still take back that it is in sync; after it, whoever is in
//!    sync stays so, since nobody acknowledges a write any more. So only a listing from after the fence counts.
//! 3. **Promote**: each shard whose primary it was gets the next epoch and a replica as primary, by compare-and-set. Only a record that
//!    is older than the fence may be taken away: a younger one may belong to a later lease of the node, and needs a fence of its own.
//!
//! So the leader may be wrong about everything, or not be the leader any more, and do no harm.

mod node;
mod promote;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use rand::{SeedableRng, rngs::StdRng};
use shardwright_registry::{
    Election, ElectionAction, Holder, Key, LeaseTiming, Revision, Stored, node_of_lease,
};
use shardwright_topology::{
    Epoch, Incarnation, KeyspaceName, NodeId, ShardId, ShardRecord, Timestamp,
};

use self::{
    node::Node,
    promote::Promoting,
    reading::{Reading, Request},
};
use crate::{Action, Config, ConfigError, Detector, Event, Input, Observation, Verdict, Written};

/// The failover of one keyspace, as one coordinator sees it.
#[derive(Debug)]
pub struct Failover {
    config: Config,
    timing: LeaseTiming,
    me: Holder,
    election: Election,
    detector: Detector,
    nodes: BTreeMap<NodeId, Node>,
    shards: BTreeMap<Key, Stored<ShardRecord>>,
    /// The shards of each primary.
    owned: BTreeMap<NodeId, BTreeSet<Key>>,
    /// The nodes that are down and have to be looked at.
    due: BTreeSet<NodeId>,
    /// The nodes that are down and whose leases could not be ended yet.
    unfenced: BTreeSet<NodeId>,
    /// The shards that want a successor of their primary, whose node is down.
    wanting: BTreeSet<Key>,
    reading: Reading,
    /// The term in which it looks after all nodes that are down.
    attends: Option<u64>,
    /// The promotions whose outcome is awaited.
    promoting: BTreeMap<Key, Promoting>,
    /// The epoch for which it was told that nobody can take over.
    complained: BTreeMap<Key, Epoch>,
    /// Whether all records were shown once.
    current: bool,
    shard_prefix: String,
    rng: StdRng,
}

/// Returns the key of the lease of a keyspace's failover coordinators.
///
/// # Panics
/// Never: a keyspace's name makes a valid key.
#[must_use]
pub fn failover_lease(keyspace: &KeyspaceName) -> Key {
    Key::new(format!("lease/failover.{keyspace}")).expect("a name makes a key")
}

impl Failover {
    /// Returns a coordinator that knows nothing yet. `seed` draws ids; `process` tells this start of it from others.
    ///
    /// # Errors
    /// [`ConfigError`] if the times do not fit each other.
    pub fn new(
        config: Config,
        keyspace: &KeyspaceName,
        id: NodeId,
        process: Incarnation,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let timing = config.lease_timing()?;
        let holder = Holder {
            node: id,
            incarnation: process,
        };
        Ok(Self {
            election: Election::new(failover_lease(keyspace), holder.clone(), timing),
            me: holder,
            detector: Detector::new(&config),
            config,
            timing,
            nodes: BTreeMap::new(),
            shards: BTreeMap::new(),
            owned: BTreeMap::new(),
            due: BTreeSet::new(),
            unfenced: BTreeSet::new(),
            wanting: BTreeSet::new(),
            reading: Reading::default(),
            attends: None,
            promoting: BTreeMap::new(),
            complained: BTreeMap::new(),
            current: false,
            shard_prefix: format!("shard/{keyspace}/"),
            rng: StdRng::seed_from_u64(seed),
        })
    }

    /// Returns whether this coordinator may act at this moment.
    #[must_use]
    pub fn leads_at(&self, now: Timestamp) -> bool {
        self.election.leads(now).is_some()
    }

    /// Returns the term in which it leads.
    #[must_use]
    pub fn term(&self, now: Timestamp) -> Option<u64> {
        self.election.leads(now)
    }

    /// Returns the coordinator that leads, as it was last seen.
    #[must_use]
    pub fn leader(&self) -> Option<&NodeId> {
        let holder = self.election.lease()?.value.holder.as_ref();
        holder.map(|holder| &holder.node)
    }

    /// Returns whether the lease of the coordinators names this process, as far as it knows.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        let holder = self
            .election
            .lease()
            .and_then(|lease| lease.value.holder.as_ref());
        holder == Some(&self.me)
    }

    /// Returns what it thinks of the nodes.
    #[must_use]
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Advances on `input`, appending to `actions` what must be done next.
    pub fn handle(&mut self, now: Timestamp, input: Input, actions: &mut Vec<Action>) {
        let mut asked = Vec::new();
        match input {
            Input::Lease(lease) if lease.key == *self.election.key() => {
                self.election.observe(now, Some(lease), &mut asked);
            }
            Input::Lease(lease) => self.node_lease_seen(now, lease, actions),
            Input::Shard(stored) => self.shard_seen(now, stored, actions),
            Input::Reports(reports) => self.reports_read(now, reports, actions),
            Input::Gone(key) => self.gone(now, &key),
            Input::Current => {
                self.current = true;
                // A lease that was not shown does not exist.
                self.election.observe(now, None, &mut asked);
            }
            Input::OwnLeaseWritten(written) => self.election.wrote(now, written, &mut asked),
            Input::Written { key, written } => self.written(now, key, written, actions),
            Input::Promote {
                ticket,
                shard,
                to,
                forced,
            } => {
                let request = Request {
                    ticket,
                    shard,
                    to,
                    forced,
                };
                self.promote(now, request, actions);
            }
            Input::Resign => self.election.resign(now, &mut asked),
            Input::Tick => self.tick(now, actions),
        }
        if self.current {
            self.election.tick(now, &mut asked);
        }
        for action in asked {
            actions.push(election_action(action));
        }
        match self.term(now) {
            Some(term) => self.attend(now, term, actions),
            None => self.stand_by(actions),
        }
    }

    fn tick(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.observe(now, Observation::Tick, actions);
        self.due.append(&mut self.unfenced);
        self.give_up(now, actions);
    }

    fn observe(&mut self, now: Timestamp, observation: Observation, actions: &mut Vec<Action>) {
        let mut verdicts = Vec::new();
        self.detector.handle(now, observation, &mut verdicts);
        let leads = self.leads_at(now);
        for verdict in verdicts {
            match verdict {
                Verdict::Suspect { node } if leads => {
                    actions.push(Action::Emit(Event::NodeSuspected { node }));
                }
                Verdict::Down { node, .. } => {
                    if let Some(known) = self.nodes.get_mut(&node) {
                        known.fell = true;
                    }
                    self.due.insert(node);
                    self.reading.want(now);
                }
                Verdict::Up { node, .. } => {
                    // Shards without a successor may have one now.
                    self.reading.want(now);
                    let known = self.nodes.get_mut(&node);
                    if known.is_some_and(|known| std::mem::take(&mut known.fell)) && leads {
                        actions.push(Action::Emit(Event::NodeUp { node }));
                    }
                }
                Verdict::Suspect { .. } => {}
            }
        }
    }

    fn shard_seen(
        &mut self,
        now: Timestamp,
        stored: Stored<ShardRecord>,
        actions: &mut Vec<Action>,
    ) {
        if !stored.key.as_str().starts_with(&self.shard_prefix) {
            return;
        }
        let before = self.shards.get(&stored.key);
        if before.is_some_and(|before| stored.revision <= before.revision) {
            return;
        }
        if let Some(former) = before.and_then(|before| before.value.primary().cloned()) {
            self.disown(&former, &stored.key);
        }
        if let Some(active) = &stored.value.active {
            let (node, incarnation) = (active.primary.node.clone(), active.primary.incarnation);
            self.owned
                .entry(node.clone())
                .or_default()
                .insert(stored.key.clone());
            if !self.nodes.contains_key(&node) {
                // It has the time-out to show itself.
                self.nodes
                    .insert(node.clone(), Node::unseen(self.timing, now));
                let heard = Observation::Heard {
                    node: node.clone(),
                    incarnation,
                };
                self.observe(now, heard, actions);
            }
            self.due.insert(node);
        }
        self.settle(&stored, actions);
        self.shards.insert(stored.key.clone(), stored);
    }

    fn gone(&mut self, now: Timestamp, key: &Key) {
        if let Some(stored) = self.shards.remove(key) {
            if let Some(former) = stored.value.primary().cloned() {
                self.disown(&former, key);
            }
            self.complained.remove(key);
        } else if let Some(node) = node_of_lease(key) {
            // The record of a lease is deleted when its node is removed from the system.
            self.nodes.remove(&node);
            let removed = Observation::Removed { node };
            self.detector.handle(now, removed, &mut Vec::new());
        }
    }

    fn disown(&mut self, node: &NodeId, key: &Key) {
        if let Some(keys) = self.owned.get_mut(node) {
            keys.remove(key);
            if keys.is_empty() {
                self.owned.remove(node);
            }
        }
    }

    fn written(&mut self, now: Timestamp, key: Key, written: Written, actions: &mut Vec<Action>) {
        if let Some(node) = node_of_lease(&key) {
            self.fence_written(now, &node, key, written, actions);
        } else {
            self.promotion_written(now, key, written, actions);
        }
    }

    /// Looks after the nodes that are down and of which something is new: fences them, and has their shards taken over.
    fn attend(&mut self, now: Timestamp, term: u64, actions: &mut Vec<Action>) {
        if self.attends.replace(term) != Some(term) {
            self.due.extend(self.nodes.keys().cloned());
        }
        for node in std::mem::take(&mut self.due) {
            if self.detector.is_down(&node) {
                self.attend_to(now, node, actions);
            }
        }
        self.read_reports(now, actions);
    }

    fn attend_to(&mut self, now: Timestamp, node: NodeId, actions: &mut Vec<Action>) {
        let owned = self.owned.get(&node).cloned().unwrap_or_default();
        let Some(known) = self.nodes.get_mut(&node) else {
            return;
        };
        let youngest = owned.iter().filter_map(|key| self.shards.get(key));
        let youngest = youngest.map(|stored| stored.revision).max();
        if known.fence_of(youngest.unwrap_or(Revision(0))).is_none() {
            known.fence(now, &node, actions);
            self.unfenced.insert(node);
            return;
        }
        if known.announced != known.fenced_at {
            known.announced = known.fenced_at;
            let shards = owned.iter().filter_map(|key| self.shards.get(key));
            let shards: Vec<ShardId> = shards.map(|stored| stored.value.id.clone()).collect();
            actions.push(Action::Emit(Event::NodeDown { node, shards }));
        }
        if !owned.is_empty() {
            self.wanting.extend(owned);
            self.reading.want(now);
        }
    }

    /// Forgets what only a leader looks after; who leads later begins anew.
    fn stand_by(&mut self, actions: &mut Vec<Action>) {
        self.attends = None;
        self.due.clear();
        self.unfenced.clear();
        self.wanting.clear();
        self.turn_away(actions);
    }
}

fn election_action(action: ElectionAction) -> Action {
    match action {
        ElectionAction::Write { expected, record } => Action::WriteOwnLease { expected, record },
        ElectionAction::Lead { term } => Action::Emit(Event::Leading { term }),
        ElectionAction::StepDown { term } => Action::Emit(Event::Deposed { term }),
    }
}

#[cfg(test)]
mod tests;
