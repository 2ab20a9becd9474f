//! The machines of all keyspaces, which a leader has, and what they are yet to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shardwright_failover::{
    Verdict, Written,
    replication::{self, Input, Move, Registered, Replication},
};
use shardwright_rebalancer::PartitionId;
use shardwright_topology::{
    Config, Incarnation, KeyspaceName, NodeId, NodeRecord, NodeState, OperationId, ShardId,
    Timestamp,
};

use crate::{core::WriteOutcome, protocol::CopyState};

/// The machines of all keyspaces that have shards which commit on several members.
///
/// Whoever does not lead has none: the next leader begins with fresh ones, and all their times count from then on.
#[derive(Debug, Default)]
pub(in crate::core) struct Replicated {
    is_leading: bool,
    machines: BTreeMap<KeyspaceName, Replication>,
    inbox: VecDeque<(KeyspaceName, Input)>,
    /// The nodes that keep copies. Others say nothing of whether copies can be reached.
    keepers: BTreeMap<NodeId, Option<NodeRecord>>,
    /// The sessions of those that have answered.
    up: BTreeMap<NodeId, Incarnation>,
    /// What they vouch for.
    registered: BTreeMap<(KeyspaceName, NodeId), Registered>,
    /// The shards of which a member gives its place to a copy elsewhere.
    moves: BTreeMap<PartitionId, Move>,
    /// The moves that are over, and since when that is known.
    ended: BTreeMap<OperationId, Timestamp>,
}

impl Replicated {
    pub(in crate::core) fn is_leading(&self) -> bool {
        self.is_leading
    }

    pub(super) fn begin(&mut self) {
        self.is_leading = true;
    }

    /// Lets the machines answer whoever waits. They are dropped after that.
    pub(super) fn step_down(&mut self) {
        self.tell_all(|| Input::Leading(false));
    }

    pub(super) fn machine(&self, keyspace: &KeyspaceName) -> Option<&Replication> {
        self.machines.get(keyspace)
    }

    pub(super) fn has(&self, keyspace: &KeyspaceName) -> bool {
        self.machines.contains_key(keyspace)
    }

    /// Adds the machine of a keyspace, and tells it all that is known of nodes.
    pub(super) fn add(
        &mut self,
        keyspace: &KeyspaceName,
        settings: replication::Settings,
        seed: u64,
    ) {
        // Settings are checked before they get here.
        let Ok(machine) = Replication::new(settings, keyspace.clone(), seed) else {
            return;
        };
        self.machines.insert(keyspace.clone(), machine);
        let mut told = Vec::new();
        for (node, record) in &self.keepers {
            told.push(match record {
                Some(record) => Input::Node(record.clone()),
                None => Input::NodeGone(node.clone()),
            });
            let up = self.up.get(node).copied();
            let down = record
                .as_ref()
                .filter(|record| record.state == NodeState::Down);
            told.extend(down.map(|record| Input::Verdict(down_of(record))));
            told.extend(up.map(|incarnation| Input::Verdict(up_of(node, incarnation))));
        }
        let registered = self.registered.iter();
        let registered = registered.filter(|((of, _), _)| of == keyspace);
        told.extend(registered.map(|(_, registered)| Input::Registered(registered.clone())));
        told.push(Input::Leading(true));
        let told = told.into_iter().map(|input| (keyspace.clone(), input));
        self.inbox.extend(told);
    }

    /// Has a machine told something, if there is one for that keyspace.
    pub(super) fn tell(&mut self, keyspace: &KeyspaceName, input: Input) {
        if self.has(keyspace) {
            self.inbox.push_back((keyspace.clone(), input));
        }
    }

    fn tell_all(&mut self, input: impl Fn() -> Input) {
        let all = self.machines.keys();
        self.inbox
            .extend(all.map(|keyspace| (keyspace.clone(), input())));
    }

    /// Has the machines know which moves are wanted, and no others.
    pub(super) fn set_moves(&mut self, wanted: BTreeMap<PartitionId, Move>) {
        let before = std::mem::replace(&mut self.moves, wanted);
        let ids: BTreeSet<_> = before
            .into_keys()
            .chain(self.moves.keys().cloned())
            .collect();
        for id in ids {
            let moving = self.moves.get(&id).cloned();
            let machine = self.machines.get(&id.keyspace);
            if machine.is_some_and(|machine| machine.moving(&id.shard) != moving.as_ref()) {
                let shard = id.shard.clone();
                self.tell(&id.keyspace, Input::Move { shard, moving });
            }
        }
    }

    /// Returns since when it is known that a move is over.
    pub(super) fn ended(&mut self, now: Timestamp, id: &OperationId) -> Timestamp {
        *self.ended.entry(id.clone()).or_insert(now)
    }

    /// Tells a machine the next thing that there is to tell. Returns what it wants.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
    ) -> Option<(KeyspaceName, Vec<replication::Action>)> {
        let (keyspace, input) = self.inbox.pop_front()?;
        let mut wanted = Vec::new();
        if let Some(machine) = self.machines.get_mut(&keyspace) {
            machine.handle(now, input, &mut wanted);
        }
        Some((keyspace, wanted))
    }

    /// Takes in that a node takes the place of another one.
    pub(in crate::core) fn heir(&mut self, node: &NodeId, heir: &NodeId) {
        self.tell_all(|| Input::Heir {
            node: node.clone(),
            heir: heir.clone(),
        });
    }

    pub(in crate::core) fn tick(&mut self) {
        self.tell_all(|| Input::Tick);
    }

    /// Whether all nodes of the members have answered this leader, or are known to be down: as long as they have not, none of them is up as far as it
    /// knows.
    pub(super) fn has_heard_of(&self, shards: &[(&ShardId, &Config)]) -> bool {
        let members = shards.iter().flat_map(|(_, config)| &config.members);
        let mut nodes = members.map(|member| &member.node);
        self.is_leading
            && nodes.all(|node| match self.keepers.get(node) {
                Some(Some(record)) => {
                    let has_answered = self.up.get(node) == Some(&record.incarnation);
                    has_answered || record.state == NodeState::Down
                }
                // It is not there any more, or has no copies.
                Some(None) | None => true,
            })
    }

    /// Returns the nodes that keep copies, or have kept some.
    pub(in crate::core) fn keepers(&self) -> impl Iterator<Item = &NodeId> {
        self.keepers.keys()
    }

    /// Takes in that a node keeps copies, or has kept some. Returns whether that is new.
    pub(super) fn keeps_copies(&mut self, node: &NodeId, record: Option<&NodeRecord>) -> bool {
        if !self.is_leading || self.keepers.contains_key(node) {
            return false;
        }
        self.keepers.insert(node.clone(), None);
        match record {
            Some(record) => self.node_changed(record),
            None => self.node_gone(node),
        }
        true
    }

    /// Takes in the record of a node; of one that keeps no copies, nothing.
    pub(in crate::core) fn node_changed(&mut self, record: &NodeRecord) {
        let Some(known) = self.keepers.get_mut(&record.id) else {
            return;
        };
        if known.as_ref() == Some(record) {
            return;
        }
        *known = Some(record.clone());
        self.tell_all(|| Input::Node(record.clone()));
        if record.state == NodeState::Down {
            self.up.remove(&record.id);
            self.tell_all(|| Input::Verdict(down_of(record)));
        }
    }

    pub(in crate::core) fn node_gone(&mut self, node: &NodeId) {
        let Some(known) = self.keepers.get_mut(node) else {
            return;
        };
        *known = None;
        self.up.remove(node);
        self.tell_all(|| Input::NodeGone(node.clone()));
    }

    /// Takes in what a node vouches for.
    pub(super) fn registered(&mut self, keyspace: &KeyspaceName, registered: Registered) {
        if self.is_leading {
            let key = (keyspace.clone(), registered.node.clone());
            self.registered.insert(key, registered.clone());
            self.tell(keyspace, Input::Registered(registered));
        }
    }

    /// Takes in what a session of a node says of the copies that it has open.
    pub(super) fn reported(
        &mut self,
        node: &NodeId,
        incarnation: Incarnation,
        copies: &[CopyState],
    ) {
        if !self.is_leading {
            return;
        }
        if self.up.get(node) != Some(&incarnation) {
            self.up.insert(node.clone(), incarnation);
            self.tell_all(|| Input::Verdict(up_of(node, incarnation)));
        }
        let keyspaces: BTreeSet<_> = self.machines.keys().cloned().collect();
        for keyspace in keyspaces {
            let here = copies
                .iter()
                .filter(|copy| copy.partition.keyspace == keyspace);
            let copies = here.map(|copy| (copy.partition.shard.clone(), copy.report.clone()));
            let input = Input::Copies {
                node: node.clone(),
                incarnation,
                copies: copies.collect(),
            };
            self.tell(&keyspace, input);
        }
    }

    /// Takes in what became of a write.
    pub(in crate::core) fn wrote(&mut self, id: &PartitionId, outcome: &WriteOutcome) {
        let written = match outcome {
            WriteOutcome::Done(revision) => Written::Done(*revision),
            WriteOutcome::Conflict => Written::Refused,
            WriteOutcome::Unknown => Written::Unknown,
        };
        self.written(id, written);
    }

    /// Takes in that a write was not begun.
    pub(super) fn not_written(&mut self, id: &PartitionId) {
        self.written(id, Written::Failed);
    }

    fn written(&mut self, id: &PartitionId, written: Written) {
        let shard = id.shard.clone();
        self.tell(&id.keyspace, Input::Written { shard, written });
    }
}

fn up_of(node: &NodeId, incarnation: Incarnation) -> Verdict {
    Verdict::Up {
        node: node.clone(),
        incarnation,
    }
}

fn down_of(record: &NodeRecord) -> Verdict {
    Verdict::Down {
        node: record.id.clone(),
        incarnation: record.incarnation,
    }
}
