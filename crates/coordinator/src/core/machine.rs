//! The machine: what it remembers, what it is told, and the writes that are under way.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngCore;
use shardwright_rebalancer::{Cluster, Partition, PartitionId, Plan, Policy};
use shardwright_registry::{Key, LeaseWatcher, Revision, Seen, node_lease, node_of_lease};
use shardwright_topology::{Gap, Incarnation, NodeId, ShardRecord, ShardState, Timestamp};

use super::{
    Action, Change, CommandId, Done, Event, Refusal, Settings, Value, WriteId, WriteOutcome,
    contact::Contact,
    leadership::{Claim, LEASE, Leadership},
    mirror::{Changed, Mirror},
    moving::Moving,
    pins::Pins,
    replicated::Replicated,
};

/// A coordinator between two events.
#[derive(Debug)]
pub struct Core {
    pub(super) settings: Settings,
    pub(super) policy: Box<dyn Policy>,
    pub(super) rng: Box<dyn Draw>,
    pub(super) mirror: Mirror,
    watchers: BTreeMap<String, LeaseWatcher>,
    pub(super) leadership: Option<Leadership>,
    pub(super) claim: Option<Claim>,
    pub(super) contacts: BTreeMap<NodeId, Contact>,
    pub(super) cluster: Cluster,
    /// Whether the cluster has changed since it was planned on.
    pub(super) is_dirty: bool,
    /// Whether nodes came or went since.
    pub(super) is_urgent: bool,
    pub(super) planned_at: Timestamp,
    /// Workers that have got a lease, and are yet to get what they held before.
    pub(super) joined: BTreeSet<NodeId>,
    /// Whether a worker has answered, or lost its lease, since somebody was last waited for.
    pub(super) is_heard: bool,
    /// When the next ping is due, at the earliest.
    pub(super) pings_from: Timestamp,
    pub(super) plan: Plan,
    /// Partitions that were removed, and are still held.
    pub(super) retiring: BTreeSet<PartitionId>,
    /// Where people have put partitions, which stay there while the node may keep them.
    pub(super) pins: Pins,
    /// Sessions that have said that they serve nothing any more.
    pub(super) gone: BTreeMap<NodeId, Incarnation>,
    pub(super) moving: BTreeMap<PartitionId, Moving>,
    pub(super) failures: BTreeMap<PartitionId, Timestamp>,
    /// Shards that would move for balance if they were served.
    pub(super) unserved: BTreeSet<PartitionId>,
    /// The shards that commit on several members.
    pub(super) replicated: Replicated,
    /// Whether there may be something to do for shards that move.
    pub(super) is_to_move: bool,
    writes: BTreeMap<WriteId, Written>,
    /// The keys of `writes`.
    writing: BTreeSet<Key>,
    pub(super) next_write: u64,
    pub(super) last_tick: Timestamp,
    complete_at: Option<Timestamp>,
    is_bootstrapped: bool,
    /// Whether somebody may have fallen silent since the leader last looked.
    pub(super) is_to_judge: bool,
    /// Grows with everything that a view shows.
    pub(super) version: u64,
}

/// A source of random ids.
pub trait Draw: RngCore + std::fmt::Debug + Send {}

impl<T: RngCore + std::fmt::Debug + Send> Draw for T {}

/// A write that is under way.
#[derive(Debug)]
struct Written {
    change: Change,
    purpose: Purpose,
}

/// What a write is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Lead,
    Renew {
        node: NodeId,
        pong: u64,
        /// When that answer came.
        heard_at: Timestamp,
    },
    Node,
    Expire {
        node: NodeId,
    },
    Shard(PartitionId),
    Replicated(PartitionId),
    /// Where somebody has put a partition, or that it may go again.
    Pin,
    /// A step of a move, which is there once it is done.
    Operation(Gap),
    /// What a command about a move has asked for.
    Asked {
        command: CommandId,
        done: Done,
        partition: PartitionId,
    },
}

impl Purpose {
    /// Answers whoever waits for a write.
    fn answer(&self, outcome: &WriteOutcome, actions: &mut Vec<Action>) {
        let Self::Asked {
            command,
            done,
            partition,
        } = self
        else {
            return;
        };
        let (id, partition) = (*command, partition.clone());
        let result = match outcome {
            WriteOutcome::Done(_) => Ok(done.clone()),
            WriteOutcome::Conflict => Err(Refusal::Busy { partition }),
            WriteOutcome::Unknown => Err(Refusal::Unconfirmed),
        };
        actions.push(Action::Answer { id, result });
    }
}

impl Core {
    /// Returns a coordinator that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Settings, policy: Box<dyn Policy>, rng: Box<dyn Draw>) -> Self {
        Self {
            settings,
            policy,
            rng,
            mirror: Mirror::default(),
            watchers: BTreeMap::new(),
            leadership: None,
            claim: None,
            contacts: BTreeMap::new(),
            cluster: Cluster::new(),
            is_dirty: false,
            is_urgent: false,
            planned_at: Timestamp::default(),
            joined: BTreeSet::new(),
            is_heard: false,
            pings_from: Timestamp::default(),
            plan: Plan::default(),
            retiring: BTreeSet::new(),
            pins: Pins::default(),
            gone: BTreeMap::new(),
            moving: BTreeMap::new(),
            failures: BTreeMap::new(),
            unserved: BTreeSet::new(),
            replicated: Replicated::default(),
            is_to_move: false,
            writes: BTreeMap::new(),
            writing: BTreeSet::new(),
            next_write: 0,
            last_tick: Timestamp::default(),
            complete_at: None,
            is_bootstrapped: false,
            is_to_judge: false,
            version: 0,
        }
    }

    /// Takes in an event.
    pub fn handle(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Seen(seen) => self.seen(now, seen),
            Event::Found(found) => {
                self.found(&found);
                let changed = self.mirror.put(found);
                self.changed(now, changed);
            }
            Event::Pong(pong) => self.pong(now, pong, actions),
            Event::Silence { node, incarnation } => self.silence(now, &node, incarnation),
            Event::Wrote { write, outcome } => self.wrote(now, write, outcome, actions),
            Event::Command { id, command } => {
                if let Some(result) = self.command(now, id, command, actions) {
                    actions.push(Action::Answer { id, result });
                }
            }
            Event::Tick => {
                self.tick(now, actions);
                self.replicated.tick();
                self.pins.tick();
                self.is_to_move = true;
            }
        }
        self.look_after_replicated(now, actions);
        if self.is_leading(now) {
            self.lead(now, actions);
        }
    }

    /// Whether this coordinator may act: its lease holds, and everything from before it is seen.
    #[must_use]
    pub fn is_leading(&self, now: Timestamp) -> bool {
        let hold = self.settings.timing.hold();
        self.leadership.as_ref().is_some_and(|leadership| {
            leadership.holds_at(now, hold) && leadership.since <= self.mirror.revision
        })
    }

    fn seen(&mut self, now: Timestamp, seen: Seen) {
        let changed = self.mirror.watch(seen);
        self.changed(now, changed);
    }

    fn changed(&mut self, now: Timestamp, changed: Option<Changed>) {
        let Some(changed) = changed else {
            return;
        };
        self.version += 1;
        match changed {
            Changed::Node(id) => self.node_changed(now, &id),
            Changed::Shard(id) => self.shard_changed(now, &id),
            Changed::Copies(keyspace, node) => self.copies_changed(&keyspace, &node),
            Changed::Operation(shards) => {
                self.is_to_move = true;
                for id in shards {
                    self.decided(now, &id);
                }
            }
            Changed::Lease(name) => {
                self.watch_lease(now, &name);
                if let Some(node) = node_of_lease(&lease_key(&name)) {
                    self.node_changed(now, &node);
                }
            }
            Changed::Pin(id) => self.pin_changed(&id),
            Changed::Complete => {
                self.complete_at = Some(now);
                self.watch_lease(now, LEASE);
            }
        }
    }

    fn watch_lease(&mut self, now: Timestamp, name: &str) {
        let timing = self.settings.timing;
        let watcher = self
            .watchers
            .entry(name.to_owned())
            .or_insert_with(|| LeaseWatcher::new(timing));
        watcher.observe(now, self.mirror.leases.get(name).cloned());
    }

    /// A session's lease was renewed for an answer that came at that moment: the time-out counts from then, and not from the write.
    fn date_back(&mut self, node: &NodeId, revision: Revision, heard_at: Timestamp) {
        let key = node_lease(node);
        if let Some(watcher) = self.watchers.get_mut(key.last_name()) {
            watcher.date_back(revision, heard_at);
        }
    }

    pub(super) fn is_vacant(&self, now: Timestamp, name: &str) -> bool {
        let watcher = self.watchers.get(name);
        watcher.is_some_and(|watcher| watcher.vacancy(now).is_some())
    }

    pub(super) fn shard_changed(&mut self, now: Timestamp, id: &PartitionId) {
        self.is_heard |= self.moving.contains_key(id);
        if self.mirror.pins.contains_key(id) {
            self.pins.check();
        }
        let known = self.cluster.partition(id);
        let before = known.map(|known| known.holders.clone());
        self.place_in_cluster(id);
        let stored = self.mirror.shards.get(id);
        let after = stored.map(|stored| super::mirror::holders(&stored.value));
        for node in before.into_iter().chain(after).flatten() {
            self.change_list(now, &node);
        }
        self.retire_if_removed(id);
        self.replicated_shard_changed(id);
    }

    /// Takes in that the operation of a shard may have been decided.
    fn decided(&mut self, now: Timestamp, id: &PartitionId) {
        self.place_in_cluster(id);
        let stored = self.mirror.shards.get(id);
        let holders = stored.map(|stored| super::mirror::holders(&stored.value));
        for node in holders.into_iter().flatten() {
            self.change_list(now, &node);
        }
    }

    /// Shows the planner a shard as it is now. One that an operation holds stays where it is, and one that is being filled is not its affair.
    pub(super) fn place_in_cluster(&mut self, id: &PartitionId) {
        let stored = self.mirror.shards.get(id);
        let record = stored.map(|stored| self.mirror.decided(&stored.value));
        let is_placed = |record: &ShardRecord| {
            let is_serving = matches!(record.state, ShardState::Serving | ShardState::Sealed);
            is_serving && !record.replicated
        };
        let Some(record) = record.filter(|record| is_placed(record)) else {
            self.is_dirty |= self.cluster.remove_partition(id).is_some();
            return;
        };
        let pin = self.pin_of(id);
        let is_pinned = pin.is_some_and(|node| record.primary() == Some(node));
        let mut partition = Partition {
            pinned: is_pinned || record.hold.is_some(),
            ..Partition::of_record(&record, self.settings.copies(&id.keyspace))
        };
        if record.hold.is_some() {
            let holders = partition.holders.len();
            partition.copies = u32::try_from(holders).unwrap_or(u32::MAX);
        }
        if self.cluster.partition(id) != Some(&partition) {
            self.cluster.set_partition(id.clone(), partition);
            self.is_dirty = true;
        }
    }

    pub(super) fn change_list(&mut self, now: Timestamp, node: &NodeId) {
        // Changes that come together are told together.
        let soon = now + self.settings.check_interval / 100;
        if let Some(contact) = self.contacts.get_mut(node) {
            contact.change_list(soon);
            self.pings_from = self.pings_from.min(soon);
        }
    }

    /// Writes a record in place of the one that is known, unless a write of that key is under way.
    pub(super) fn write(
        &mut self,
        key: Key,
        value: Option<Value>,
        purpose: Purpose,
        actions: &mut Vec<Action>,
    ) -> bool {
        let expected = match &value {
            Some(Value::Node(record)) => self
                .mirror
                .nodes
                .get(&record.id)
                .map(|stored| stored.revision),
            Some(Value::Lease(_)) => self
                .mirror
                .leases
                .get(key.last_name())
                .map(|stored| stored.revision),
            Some(Value::Shard(record)) => {
                let id = super::mirror::partition_of(record);
                self.mirror.shards.get(&id).map(|stored| stored.revision)
            }
            Some(Value::Operation(operation)) => {
                let known = self.mirror.operations.get(&operation.id);
                known.map(|stored| stored.revision)
            }
            Some(Value::Pin(_)) | None => None,
        };
        self.write_at(key, expected, value, purpose, actions)
    }

    /// Writes a record in place of the one at a revision, unless a write of that key is under way.
    pub(super) fn write_at(
        &mut self,
        key: Key,
        expected: Option<Revision>,
        value: Option<Value>,
        purpose: Purpose,
        actions: &mut Vec<Action>,
    ) -> bool {
        if !self.writing.insert(key.clone()) {
            return false;
        }
        let write = WriteId(self.next_write);
        self.next_write += 1;
        let gap = match (&purpose, &value) {
            (Purpose::Operation(gap), _) => Some(*gap),
            (Purpose::Asked { .. }, Some(Value::Operation(operation))) => {
                Some(operation.gap(shardwright_topology::Written::Phase))
            }
            (Purpose::Replicated(partition), _) => self.gap_of_members(partition),
            _ => None,
        };
        let change = Change {
            key,
            expected,
            value,
            gap,
        };
        self.writes.insert(
            write,
            Written {
                change: change.clone(),
                purpose,
            },
        );
        actions.push(Action::Write { write, change });
        true
    }

    fn wrote(
        &mut self,
        now: Timestamp,
        write: WriteId,
        outcome: WriteOutcome,
        actions: &mut Vec<Action>,
    ) {
        let Some(Written { change, purpose }) = self.writes.remove(&write) else {
            return;
        };
        self.writing.remove(&change.key);
        if let Purpose::Replicated(partition) = &purpose {
            self.replicated.wrote(partition, &outcome);
        }
        self.is_to_move = true;
        purpose.answer(&outcome, actions);
        let done = match outcome {
            WriteOutcome::Done(revision) => {
                if let Some(value) = change.value {
                    let changed = self.mirror.put(value.seen(change.key, revision));
                    self.changed(now, changed);
                }
                Some(revision)
            }
            WriteOutcome::Conflict | WriteOutcome::Unknown => {
                self.is_dirty = true;
                None
            }
        };
        match purpose {
            Purpose::Lead => self.claimed(now, done, actions),
            Purpose::Renew {
                node,
                pong,
                heard_at,
            } => {
                if let Some(revision) = done {
                    self.date_back(&node, revision, heard_at);
                }
                self.renewed(now, &node, pong, done.is_some());
            }
            Purpose::Expire { node } if done.is_some() => self.expired(now, &node, actions),
            Purpose::Shard(partition) => self.moved(&partition, done.is_some(), actions),
            Purpose::Node
            | Purpose::Expire { .. }
            | Purpose::Replicated(_)
            | Purpose::Pin
            | Purpose::Operation(_)
            | Purpose::Asked { .. } => {}
        }
    }

    /// What the leader does after every event.
    fn lead(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.keep_pins(actions);
        self.bootstrap(now, actions);
        self.expire_the_silent(now, actions);
        self.reconcile(now, actions);
        self.ping_the_due(now, actions);
    }

    fn bootstrap(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let shards = self.settings.shards;
        if self.is_bootstrapped || shards == 0 {
            return;
        }
        // Whether a node keeps copies is known once it has answered.
        let nodes = self.cluster.nodes().filter(|node| node.accepts());
        let answered = nodes.filter_map(|node| self.contacts.get(&node.id));
        let answered = answered.filter(|contact| contact.granted.is_some());
        let (keepers, others): (Vec<_>, Vec<_>) =
            answered.partition(|contact| contact.copies.is_some());
        let replicated = !keepers.is_empty();
        let count = if replicated { &keepers } else { &others }.len();
        let is_enough = self.settings.replication_factor as usize <= count;
        let waited = self
            .complete_at
            .is_some_and(|at| count > 0 && self.settings.bootstrap_wait <= now.since(at));
        if is_enough || waited {
            self.is_bootstrapped = true;
            actions.push(Action::Bootstrap { shards, replicated });
        }
    }
}

/// The key of a lease.
pub(super) fn lease_key(name: &str) -> Key {
    Key::new(format!("lease/{name}")).expect("a node's name makes a valid key")
}

/// The key of a node.
pub(super) fn node_key(node: &NodeId) -> Key {
    Key::new(format!("node/{node}")).expect("a node's name makes a valid key")
}
