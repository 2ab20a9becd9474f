//! The machine: election, the leases of workers, and what follows from what is seen.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngCore;
use shardwright_rebalancer::{Cluster, Node, Partition, PartitionId, Plan, Policy, Standing};
use shardwright_registry::{Holder, Key, LeaseRecord, LeaseWatcher, Seen};
use shardwright_topology::{Incarnation, NodeId, NodeRecord, NodeState, ShardState, Timestamp};

use super::{
    Action, Change, Event, Notice, Settings, Value, WriteId, WriteOutcome,
    contact::Contact,
    leadership::{Claim, LEASE, Leadership},
    mirror::{Changed, Mirror, lease_name, node_of_lease},
    moving::Moving,
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
    claim: Option<Claim>,
    pub(super) contacts: BTreeMap<NodeId, Contact>,
    pub(super) cluster: Cluster,
    /// Whether the cluster has changed since it was planned on.
    pub(super) is_dirty: bool,
    /// Whether nodes came or went since.
    pub(super) is_urgent: bool,
    pub(super) planned_at: Timestamp,
    pub(super) plan: Plan,
    /// Partitions that were removed, and are still held.
    pub(super) retiring: BTreeSet<PartitionId>,
    /// Where people have put partitions, which stay there while the node may keep them.
    pub(super) pins: BTreeMap<PartitionId, NodeId>,
    /// Sessions that have said that they serve nothing any more.
    pub(super) gone: BTreeMap<NodeId, Incarnation>,
    pub(super) moving: BTreeMap<PartitionId, Moving>,
    pub(super) failures: BTreeMap<PartitionId, Timestamp>,
    writes: BTreeMap<WriteId, Written>,
    /// The keys of `writes`.
    writing: BTreeSet<Key>,
    pub(super) next_write: u64,
    last_tick: Timestamp,
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
    Renew { node: NodeId, pong: u64 },
    Node,
    Expire { node: NodeId },
    Shard(PartitionId),
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
            plan: Plan::default(),
            retiring: BTreeSet::new(),
            pins: BTreeMap::new(),
            gone: BTreeMap::new(),
            moving: BTreeMap::new(),
            failures: BTreeMap::new(),
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
                let changed = self.mirror.put(found);
                self.changed(now, changed);
            }
            Event::Pong(pong) => self.pong(now, pong, actions),
            Event::Silence { node, incarnation } => self.silence(&node, incarnation),
            Event::Wrote { write, outcome } => self.wrote(now, write, outcome, actions),
            Event::Command { id, command } => {
                let result = self.command(now, command, actions);
                actions.push(Action::Answer { id, result });
            }
            Event::Tick => self.tick(now, actions),
        }
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
            Changed::Lease(name) => {
                self.watch_lease(now, &name);
                if let Some(node) = node_of_lease(&name) {
                    self.node_changed(now, &node);
                }
            }
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

    fn is_vacant(&self, now: Timestamp, name: &str) -> bool {
        let watcher = self.watchers.get(name);
        watcher.is_some_and(|watcher| watcher.vacancy(now).is_some())
    }

    fn node_changed(&mut self, now: Timestamp, id: &NodeId) {
        self.is_to_judge = true;
        let Some(stored) = self.mirror.nodes.get(id) else {
            self.is_urgent |= self.cluster.remove_node(id).is_some();
            self.contacts.remove(id);
            return;
        };
        let record = &stored.value;
        let contact = self.contacts.get(id);
        if contact.is_none_or(|contact| contact.incarnation != record.incarnation) {
            let contact = Contact::new(record.incarnation, now);
            self.contacts.insert(id.clone(), contact);
        }
        let node = Node {
            standing: self.standing(record),
            ..Node::from(record)
        };
        if self.cluster.node(id) != Some(&node) {
            let keeps = node.accepts();
            self.cluster.set_node(node);
            if !keeps {
                self.unpin(now, id);
            }
            self.is_urgent = true;
            // A worker that comes up or goes down changes what others are to do.
            self.change_list(now, id);
        }
    }

    /// What people have put on a node stays there only while the node may keep it.
    fn unpin(&mut self, now: Timestamp, node: &NodeId) {
        let pinned = self.pins.iter().filter(|(_, pinned)| *pinned == node);
        let freed: Vec<_> = pinned.map(|(partition, _)| partition.clone()).collect();
        for partition in freed {
            self.pins.remove(&partition);
            self.shard_changed(now, &partition);
        }
    }

    /// What a planner may do with a node: whoever is not known to be alive or dead is left alone.
    fn standing(&self, record: &NodeRecord) -> Standing {
        let lease = self.mirror.lease_of(&record.id);
        let holder = lease.and_then(|stored| stored.value.holder.as_ref());
        match holder {
            Some(holder) if holder.incarnation != record.incarnation => Standing::Keeping,
            Some(_) => match record.state {
                NodeState::Joining | NodeState::Up => Standing::Accepting,
                NodeState::Draining => Standing::Draining,
                NodeState::Down => Standing::Keeping,
            },
            None if record.state == NodeState::Down => Standing::Down,
            None => Standing::Keeping,
        }
    }

    fn shard_changed(&mut self, now: Timestamp, id: &PartitionId) {
        let before = self
            .cluster
            .partition(id)
            .map(|known| known.holders.clone());
        let stored = self.mirror.shards.get(id);
        let record = stored.map(|stored| &stored.value).filter(|record| {
            let is_assigned = record.active.as_ref().is_none_or(|config| config.w == 1);
            is_assigned && record.state != ShardState::Retired
        });
        match record {
            Some(record) => {
                let copies = self.settings.copies(&id.keyspace);
                let partition = Partition {
                    pinned: self
                        .pins
                        .get(id)
                        .is_some_and(|node| record.primary() == Some(node)),
                    ..Partition::of_record(record, copies)
                };
                if self.cluster.partition(id) != Some(&partition) {
                    self.cluster.set_partition(id.clone(), partition);
                    self.is_dirty = true;
                }
            }
            None => self.is_dirty |= self.cluster.remove_partition(id).is_some(),
        }
        let after = stored.map(|stored| super::mirror::holders(&stored.value));
        for node in before.into_iter().chain(after).flatten() {
            self.change_list(now, &node);
        }
        self.retire_if_removed(id);
    }

    pub(super) fn change_list(&mut self, now: Timestamp, node: &NodeId) {
        if let Some(contact) = self.contacts.get_mut(node) {
            contact.change_list(now);
        }
    }

    fn tick(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        // After a pause of this process everybody seems silent, and it was this process that did not listen.
        let is_late = self.settings.timing.hold() / 2 < now.since(self.last_tick);
        self.last_tick = now;
        self.is_to_judge = true;
        let hold = self.settings.timing.hold();
        if let Some(leadership) = &mut self.leadership {
            if is_late {
                leadership.judges_from = now + self.settings.check_interval / 2;
            }
            if !leadership.holds_at(now, hold) {
                self.step_down(actions);
            }
        }
        self.claim_leadership(now, actions);
    }

    fn step_down(&mut self, actions: &mut Vec<Action>) {
        let Some(leadership) = self.leadership.take() else {
            return;
        };
        self.version += 1;
        self.moving.clear();
        self.failures.clear();
        self.plan = Plan::default();
        actions.push(Action::Notify(Notice::SteppedDown {
            coordinator: self.settings.id.clone(),
            term: leadership.term,
        }));
    }

    /// Renews the lease of the leader, or takes it when it is vacant.
    fn claim_leadership(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.claim.is_some() || !self.mirror.is_complete {
            return;
        }
        let stored = self.mirror.leases.get(LEASE);
        let record = match &self.leadership {
            Some(leadership) => {
                let is_due = leadership.sent_at + self.settings.timing.renew_every() <= now;
                let mine = stored.filter(|stored| stored.value.term == leadership.term);
                match mine {
                    Some(mine) if is_due => LeaseRecord {
                        counter: mine.value.counter + 1,
                        ..mine.value.clone()
                    },
                    _ => return,
                }
            }
            None if self.is_vacant(now, LEASE) => LeaseRecord {
                holder: Some(self.me()),
                term: stored.map_or(0, |stored| stored.value.term) + 1,
                counter: 0,
            },
            None => return,
        };
        self.claim = Some(Claim {
            sent_at: now,
            record: record.clone(),
        });
        self.write(
            lease_key(LEASE),
            Some(Value::Lease(record)),
            Purpose::Lead,
            actions,
        );
    }

    fn me(&self) -> Holder {
        Holder {
            node: self.settings.id.clone(),
            incarnation: self.settings.incarnation,
        }
    }

    /// Gives the leadership back, so that the next leader need not wait.
    pub fn resign(&mut self, actions: &mut Vec<Action>) {
        let stored = self.mirror.leases.get(LEASE);
        if let (Some(leadership), Some(stored)) = (&self.leadership, stored)
            && stored.value.term == leadership.term
        {
            let record = LeaseRecord {
                holder: None,
                ..stored.value.clone()
            };
            self.step_down(actions);
            self.write(
                lease_key(LEASE),
                Some(Value::Lease(record)),
                Purpose::Node,
                actions,
            );
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
        if !self.writing.insert(key.clone()) {
            return false;
        }
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
            None => None,
        };
        let write = WriteId(self.next_write);
        self.next_write += 1;
        let change = Change {
            key,
            expected,
            value,
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
            Purpose::Renew { node, pong } => self.renewed(now, &node, pong, done.is_some()),
            Purpose::Expire { node } if done.is_some() => self.expired(&node, actions),
            Purpose::Shard(partition) => self.moved(&partition, done.is_some(), actions),
            Purpose::Node | Purpose::Expire { .. } => {}
        }
    }

    fn claimed(
        &mut self,
        now: Timestamp,
        done: Option<shardwright_registry::Revision>,
        actions: &mut Vec<Action>,
    ) {
        let (Some(claim), Some(revision)) = (self.claim.take(), done) else {
            return;
        };
        let is_mine = claim.record.holder.as_ref() == Some(&self.me());
        match &mut self.leadership {
            Some(leadership) if leadership.term == claim.record.term => {
                leadership.sent_at = claim.sent_at;
            }
            Some(_) => {}
            None if is_mine && claim.record.counter == 0 => {
                self.leadership = Some(Leadership {
                    term: claim.record.term,
                    since: revision,
                    judges_from: now + self.settings.check_interval / 2,
                    sent_at: claim.sent_at,
                });
                for contact in self.contacts.values_mut() {
                    *contact = Contact::new(contact.incarnation, now);
                }
                self.is_urgent = true;
                self.version += 1;
                actions.push(Action::Notify(Notice::Leading {
                    coordinator: self.settings.id.clone(),
                    term: claim.record.term,
                }));
            }
            // A renewal that came back after this coordinator had stopped leading.
            None => {}
        }
    }

    /// What the leader does after every event.
    fn lead(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
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
        let accepting = self.cluster.nodes().filter(|node| node.accepts()).count();
        let is_enough = self.settings.replication_factor as usize <= accepting;
        let waited = self
            .complete_at
            .is_some_and(|at| accepting > 0 && self.settings.bootstrap_wait <= now.since(at));
        if is_enough || waited {
            self.is_bootstrapped = true;
            actions.push(Action::Bootstrap { shards });
        }
    }

    /// Ends the leases of workers of whom nothing was heard for the time-out: first the node is marked, so that this session
    /// never gets a lease again, then the lease is ended. Only then may others have what it held.
    fn expire_the_silent(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let judges = |leadership: &Leadership| leadership.judges_from <= now;
        if !self.is_to_judge || !self.leadership.as_ref().is_some_and(judges) {
            return;
        }
        self.is_to_judge = false;
        let timeout = self.settings.timing.timeout();
        let silent: Vec<NodeRecord> = self
            .mirror
            .nodes
            .values()
            .map(|stored| &stored.value)
            .filter(|record| self.is_silent(now, record, timeout))
            .cloned()
            .collect();
        for record in silent {
            self.end_session(record, actions);
        }
    }

    fn is_silent(&self, now: Timestamp, record: &NodeRecord, timeout: std::time::Duration) -> bool {
        let name = lease_name(&record.id);
        let holder = self
            .mirror
            .lease_of(&record.id)
            .and_then(|stored| stored.value.holder.as_ref());
        if self.gone.get(&record.id) == Some(&record.incarnation) {
            return holder.is_some_and(|holder| holder.incarnation == record.incarnation);
        }
        match holder {
            Some(holder) if holder.incarnation == record.incarnation => {
                // One that was marked and whose lease is yet to be ended: it serves until that is over.
                self.is_vacant(now, &name)
            }
            // A new session waits for the end of the one before.
            Some(_) => self.is_vacant(now, &name),
            // A session that registered and never answered.
            None => {
                let contact = self.contacts.get(&record.id);
                record.state != NodeState::Down
                    && contact.is_some_and(|contact| timeout <= now.since(contact.since))
            }
        }
    }

    /// Marks the node, or ends its lease when it is marked or has a new session.
    pub(super) fn end_session(&mut self, record: NodeRecord, actions: &mut Vec<Action>) {
        let lease = self
            .mirror
            .lease_of(&record.id)
            .map(|stored| stored.value.clone());
        let holder = lease.as_ref().and_then(|lease| lease.holder.clone());
        let is_of_session = holder
            .as_ref()
            .is_none_or(|holder| holder.incarnation == record.incarnation);
        if is_of_session && record.state != NodeState::Down {
            let key = node_key(&record.id);
            let value = NodeRecord {
                state: NodeState::Down,
                ..record
            };
            self.write(key, Some(Value::Node(value)), Purpose::Node, actions);
        } else if let Some(lease) = lease.filter(|_| holder.is_some()) {
            let value = LeaseRecord {
                holder: None,
                ..lease
            };
            let node = record.id;
            let key = lease_key(&lease_name(&node));
            self.write(
                key,
                Some(Value::Lease(value)),
                Purpose::Expire { node },
                actions,
            );
        }
    }

    fn expired(&mut self, node: &NodeId, actions: &mut Vec<Action>) {
        let Some(stored) = self.mirror.nodes.get(node) else {
            return;
        };
        self.gone.remove(node);
        actions.push(Action::Notify(Notice::NodeDown {
            node: node.clone(),
            incarnation: stored.value.incarnation,
            shards: self.mirror.holdings(node).count(),
        }));
        let alone = |id: &&PartitionId| {
            let stored = self.mirror.shards.get(id);
            stored.is_some_and(|stored| super::mirror::holders(&stored.value) == [node.clone()])
        };
        let alone = self.mirror.holdings(node).filter(alone).count();
        if alone > 0 {
            actions.push(Action::Notify(Notice::NoReplica {
                node: node.clone(),
                shards: alone,
            }));
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
