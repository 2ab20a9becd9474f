//! The cluster as a planner sees it: nodes, partitions, and who holds what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use shardwright_topology::{
    KeyspaceName, Location, NodeId, NodeRecord, NodeState, Role, ShardId, ShardRecord,
};

use crate::{Load, Move, Plan, Step};

/// Names a shard among those of all keyspaces.
#[doc(alias = "P")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionId {
    /// The keyspace.
    pub keyspace: KeyspaceName,
    /// The shard within it.
    pub shard: ShardId,
}

impl PartitionId {
    /// Returns the name of a keyspace's shard.
    #[must_use]
    pub fn new(keyspace: KeyspaceName, shard: ShardId) -> Self {
        Self { keyspace, shard }
    }
}

impl From<ShardId> for PartitionId {
    /// Returns the name of the shard of the keyspace `main`.
    fn from(shard: ShardId) -> Self {
        Self::new(KeyspaceName::main(), shard)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.keyspace, self.shard)
    }
}

/// What a planner may do with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may be given more.
    Accepting,
    /// It keeps what it has and is given nothing.
    Keeping,
    /// It serves what it has until that is moved away.
    Draining,
    /// What it has is served elsewhere or not at all.
    Down,
}

impl From<NodeState> for Standing {
    /// A node that is joining keeps what it has.
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Joining => Self::Keeping,
            NodeState::Up => Self::Accepting,
            NodeState::Draining => Self::Draining,
            NodeState::Down => Self::Down,
        }
    }
}

/// A node that holds partitions or may.
#[doc(alias = "N")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Its share of the load, relative to the weights of other nodes; usually 100. A node of weight 0 is given nothing, and what
    /// it has is moved away.
    pub weight: u32,
    /// Where it runs.
    pub location: Location,
    /// Whether it may be given partitions.
    pub standing: Standing,
}

impl Node {
    /// Returns an accepting node of ordinary weight, nowhere in particular.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            weight: NodeRecord::WEIGHT,
            location: Location::default(),
            standing: Standing::Accepting,
        }
    }

    /// Whether it may be given partitions.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.standing == Standing::Accepting && self.weight > 0
    }
}

impl From<&NodeRecord> for Node {
    /// A proxy holds nothing, so its weight is 0 here.
    fn from(record: &NodeRecord) -> Self {
        let weight = match record.role {
            Role::Primary | Role::Replica => record.weight,
            Role::Proxy => 0,
        };
        Self {
            id: record.id.clone(),
            weight,
            location: record.location.clone(),
            standing: record.state.into(),
        }
    }
}

/// A partition: how many copies it should have, and who has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// How many copies it should have, each on a node of its own. With 0, every copy is dropped.
    pub copies: u32,
    /// The nodes that have a copy, the primary first.
    pub holders: Vec<NodeId>,
    /// Whether its copies stay where they are, whatever happens to their nodes. Copies that are missing are placed, and a living
    /// copy is promoted if the primary is down.
    pub pinned: bool,
    /// The load of each copy, in any unit that all partitions share; 1 if nothing is known. [`ReplicaPolicy`](crate::ReplicaPolicy)
    /// balances this.
    pub load: Option<u32>,
    /// What each copy was measured to need, if it was. [`LoadPolicy`](crate::LoadPolicy) balances this.
    pub measured: Option<Load>,
    /// Names of groups that it belongs to: no two partitions of a group may share a node. None by default.
    #[doc(alias = "anti-affinity")]
    pub apart: BTreeSet<String>,
}

impl Partition {
    /// Returns a partition that nobody holds and whose load is not known.
    #[must_use]
    pub fn new(copies: u32) -> Self {
        Self {
            copies,
            holders: Vec::new(),
            pinned: false,
            load: None,
            measured: None,
            apart: BTreeSet::new(),
        }
    }

    /// Returns what a shard record says: the members of the active configuration, the primary first.
    #[must_use]
    pub fn of_record(record: &ShardRecord, copies: u32) -> Self {
        let holders = record.active.iter().flat_map(|config| {
            let replicas = config.replicas().map(|member| &member.node);
            std::iter::once(&config.primary.node).chain(replicas)
        });
        Self {
            holders: holders.cloned().collect(),
            ..Self::new(copies)
        }
    }

    /// Returns the node that takes writes, if there is one.
    #[must_use]
    pub fn primary(&self) -> Option<&NodeId> {
        self.holders.first()
    }
}

/// Nodes, partitions, and who holds what: the input of every [`Policy`](crate::Policy).
///
/// It is kept in order, so whatever is planned on equal clusters is equal, however they came about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    nodes: BTreeMap<NodeId, Node>,
    partitions: BTreeMap<PartitionId, Partition>,
}

/// A step that does not fit the cluster: it was planned on another one. Nothing has changed; plan again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step} does not fit {partition} as it is now: plan again")]
pub struct DoesNotFit {
    /// The partition.
    pub partition: PartitionId,
    /// What was to be done with it.
    pub step: Step,
}

impl Cluster {
    /// Returns the cluster without nodes and partitions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node, or replaces what was known of it, which is returned.
    pub fn set_node(&mut self, node: Node) -> Option<Node> {
        self.nodes.insert(node.id.clone(), node)
    }

    /// Forgets a node and returns it. Copies that it has count as lost.
    pub fn remove_node(&mut self, node: &NodeId) -> Option<Node> {
        self.nodes.remove(node)
    }

    /// Returns a node.
    #[must_use]
    pub fn node(&self, node: &NodeId) -> Option<&Node> {
        self.nodes.get(node)
    }

    /// Returns the nodes, in the order of their names.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.values()
    }

    /// Adds a partition, or replaces what was known of it, which is returned. A holder that is listed twice is one holder.
    pub fn set_partition(
        &mut self,
        id: PartitionId,
        mut partition: Partition,
    ) -> Option<Partition> {
        for place in (1..partition.holders.len()).rev() {
            let (before, rest) = partition.holders.split_at(place);
            if before.contains(&rest[0]) {
                partition.holders.remove(place);
            }
        }
        self.partitions.insert(id, partition)
    }

    /// Forgets a partition and returns it.
    pub fn remove_partition(&mut self, id: &PartitionId) -> Option<Partition> {
        self.partitions.remove(id)
    }

    /// Returns a partition.
    #[must_use]
    pub fn partition(&self, id: &PartitionId) -> Option<&Partition> {
        self.partitions.get(id)
    }

    /// Returns the partitions, in the order of their names.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = (&PartitionId, &Partition)> {
        self.partitions.iter()
    }

    /// Keeps a partition where it is, whatever happens to its nodes. Returns whether it is known.
    pub fn pin(&mut self, id: &PartitionId) -> bool {
        self.set_pinned(id, true)
    }

    /// Lets a partition move again. Returns whether it is known.
    pub fn unpin(&mut self, id: &PartitionId) -> bool {
        self.set_pinned(id, false)
    }

    fn set_pinned(&mut self, id: &PartitionId, pinned: bool) -> bool {
        let known = self.partitions.get_mut(id);
        known.map(|partition| partition.pinned = pinned).is_some()
    }

    /// Returns how many bytes a move copies, as far as that is measured: none if it makes no copy.
    #[must_use]
    pub fn bytes_of(&self, planned: &Move) -> u64 {
        let measured = match planned.step {
            Step::Promote { .. } | Step::Drop { .. } => None,
            Step::Place { .. } | Step::Move { .. } => {
                let partition = self.partitions.get(&planned.partition);
                partition.and_then(|partition| partition.measured)
            }
        };
        measured.map_or(0, |load| load.bytes)
    }

    /// Changes the holders of a partition as a step of a plan says.
    ///
    /// # Errors
    /// [`DoesNotFit`] if the partition is unknown, if the node that gives has no copy, or if the one that takes has one.
    pub fn apply(&mut self, planned: &Move) -> Result<(), DoesNotFit> {
        let fits = self
            .partitions
            .get_mut(&planned.partition)
            .and_then(|partition| planned.step.apply(&mut partition.holders));
        fits.ok_or_else(|| DoesNotFit {
            partition: planned.partition.clone(),
            step: planned.step.clone(),
        })
    }

    /// Applies every move of a plan.
    ///
    /// # Errors
    /// [`DoesNotFit`] with the first move that does not fit; those before it are applied.
    pub fn apply_all(&mut self, plan: &Plan) -> Result<(), DoesNotFit> {
        plan.moves
            .iter()
            .try_for_each(|planned| self.apply(planned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    #[track_caller]
    fn check(step: Step, expected: Option<&[&str]>) {
        let id = PartitionId::from(ShardId::numbered(0));
        let mut cluster = Cluster::new();
        let partition = Partition {
            holders: ["n1", "n2", "n1"].map(node).to_vec(),
            ..Partition::new(2)
        };
        cluster.set_partition(id.clone(), partition);
        let before = cluster.clone();
        let applied = cluster.apply(&Move {
            partition: id.clone(),
            step,
            reason: Reason::Wanted,
        });
        match expected {
            Some(names) => {
                let holders: Vec<_> = names.iter().map(|name| node(name)).collect();
                assert_eq!(cluster.partition(&id).unwrap().holders, holders);
            }
            None => assert!(applied.is_err() && cluster == before, "{applied:?}"),
        }
    }

    #[test]
    fn a_step_changes_the_holders_in_their_order_or_nothing() {
        let [n1, n2, n3] = ["n1", "n2", "n3"].map(node);
        let moved = |from: &NodeId, to: &NodeId| Step::Move {
            from: from.clone(),
            to: to.clone(),
        };
        check(Step::Place { to: n3.clone() }, Some(&["n1", "n2", "n3"]));
        check(Step::Place { to: n1.clone() }, None);
        check(moved(&n1, &n3), Some(&["n3", "n2"]));
        check(moved(&n1, &n2), None);
        check(moved(&n3, &n3), None);
        check(Step::Drop { from: n1 }, Some(&["n2"]));
        check(Step::Drop { from: n3.clone() }, None);
        check(Step::Promote { to: n2 }, Some(&["n2", "n1"]));
        check(Step::Promote { to: n3 }, None);
    }
}
