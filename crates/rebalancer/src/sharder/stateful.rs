//! A sharder that does what a policy says.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::NodeId;

use super::{Error, Replica, Sharder};
use crate::{
    Cluster, Node, Partition, PartitionId, Plan, Policy, ReplicaPolicy, RingPolicy, Standing,
    TargetPolicy,
};

/// Shardz's sharder: the least loaded node gets the next copy, and work is stolen from nodes with too much.
pub type ReplicaSharder = PolicySharder<ReplicaPolicy>;

/// The sharder of the hash ring.
pub type RingSharder = PolicySharder<RingPolicy>;

/// The sharder of target counts.
pub type TargetSharder = PolicySharder<TargetPolicy>;

/// A sharder in memory: a cluster to which the plans of a policy are applied as soon as anything changes.
///
/// Each change costs a plan over everything, so register many at a time.
///
/// ```
/// use shardwright_rebalancer::{Node, PartitionId, ReplicaPolicy, ReplicaSharder, Sharder};
/// use shardwright_topology::{NodeId, ShardId};
///
/// let mut sharder = ReplicaSharder::new(ReplicaPolicy::default(), 2);
/// let id = PartitionId::from(ShardId::new("users")?);
/// sharder.register_partitions(&[id.clone()])?;
/// sharder.register_nodes(&[Node::new(NodeId::new("n1")?)])?;
/// assert_eq!(sharder.nodes(&id)?.len(), 1);
/// assert_eq!(sharder.last_plan().under_replicated[0].wants, 2);
///
/// sharder.register_nodes(&[Node::new(NodeId::new("n2")?)])?;
/// assert_eq!(sharder.nodes(&id)?.len(), 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ReplicaSharder")]
#[derive(Debug, Clone)]
pub struct PolicySharder<P> {
    policy: P,
    copies: u32,
    cluster: Cluster,
    served: BTreeMap<NodeId, BTreeSet<PartitionId>>,
    last_plan: Plan,
}

impl<P: Policy> PolicySharder<P> {
    /// Returns a sharder without nodes and partitions, that gives each partition so many copies.
    #[must_use]
    pub fn new(policy: P, copies: u32) -> Self {
        Self {
            policy,
            copies,
            cluster: Cluster::new(),
            served: BTreeMap::new(),
            last_plan: Plan::default(),
        }
    }

    /// Returns what is registered, and who serves what.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Returns what the last change led to, and what is under-replicated since.
    #[must_use]
    pub fn last_plan(&self) -> &Plan {
        &self.last_plan
    }

    /// Moves work from nodes with too much, and returns what was done. There is nothing to do unless a load has changed: every
    /// other change does it already.
    #[doc(alias = "stealWork")]
    pub fn steal_work(&mut self) -> &Plan {
        self.settle();
        &self.last_plan
    }

    /// Sets the load of each copy of a partition; [`steal_work`](Self::steal_work) then moves what there is to move.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    pub fn set_load(&mut self, id: &PartitionId, load: u32) -> Result<(), Error> {
        let mut partition = self.require(id)?.clone();
        partition.load = Some(load);
        self.cluster.set_partition(id.clone(), partition);
        Ok(())
    }

    /// Sets what may be done with a node, and moves what there is to move: everything from one that is drained or down.
    ///
    /// # Errors
    /// [`Error::UnknownNode`].
    pub fn set_standing(&mut self, node: &NodeId, standing: Standing) -> Result<(), Error> {
        let node = self.require_node(node)?.clone();
        self.cluster.set_node(Node { standing, ..node });
        self.settle();
        Ok(())
    }

    fn require(&self, id: &PartitionId) -> Result<&Partition, Error> {
        let partition = self.cluster.partition(id);
        partition.ok_or_else(|| Error::UnknownPartition {
            partition: id.clone(),
        })
    }

    fn require_node(&self, node: &NodeId) -> Result<&Node, Error> {
        let known = self.cluster.node(node);
        known.ok_or_else(|| Error::UnknownNode { node: node.clone() })
    }

    /// Plans, and does what is planned.
    fn settle(&mut self) {
        let plan = self.policy.plan(&self.cluster);
        for planned in &plan.moves {
            self.cluster
                .apply(planned)
                .expect("a policy plans what fits the cluster that it was given");
            let partition = &planned.partition;
            if let Some(served) = planned
                .step
                .from()
                .and_then(|from| self.served.get_mut(from))
            {
                served.remove(partition);
            }
            if let Some(served) = planned.step.to().and_then(|to| self.served.get_mut(to)) {
                served.insert(partition.clone());
            }
        }
        self.last_plan = plan;
    }

    /// Sets who serves a partition.
    fn hold(&mut self, id: &PartitionId, holders: Vec<NodeId>) {
        let Some(partition) = self.cluster.partition(id).cloned() else {
            return;
        };
        for holder in &partition.holders {
            if let Some(served) = self.served.get_mut(holder) {
                served.remove(id);
            }
        }
        for holder in &holders {
            if let Some(served) = self.served.get_mut(holder) {
                served.insert(id.clone());
            }
        }
        self.cluster.set_partition(
            id.clone(),
            Partition {
                holders,
                ..partition
            },
        );
    }
}

impl<P: Policy> Sharder for PolicySharder<P> {
    fn register_nodes(&mut self, nodes: &[Node]) -> Result<(), Error> {
        let taken = |node: &NodeId| self.cluster.node(node).is_some();
        if let Some(node) = twice_or(taken, nodes.iter().map(|node| &node.id)) {
            return Err(Error::NodeExists { node: node.clone() });
        }
        for node in nodes {
            self.served.insert(node.id.clone(), BTreeSet::new());
            self.cluster.set_node(node.clone());
        }
        self.settle();
        Ok(())
    }

    fn unregister_nodes(&mut self, nodes: &[NodeId]) -> Result<(), Error> {
        let unknown = |node: &NodeId| self.cluster.node(node).is_none();
        if let Some(node) = twice_or(unknown, nodes) {
            return Err(Error::UnknownNode { node: node.clone() });
        }
        for node in nodes {
            self.cluster.remove_node(node);
            for id in self.served.remove(node).unwrap_or_default() {
                // Not lost but gone: nobody waits for its return.
                let held = self
                    .cluster
                    .partition(&id)
                    .map(|partition| partition.holders.clone());
                let mut holders = held.unwrap_or_default();
                holders.retain(|holder| holder != node);
                self.hold(&id, holders);
            }
        }
        self.settle();
        Ok(())
    }

    fn register_partitions(&mut self, ids: &[PartitionId]) -> Result<(), Error> {
        let taken = |id: &PartitionId| self.cluster.partition(id).is_some();
        if let Some(id) = twice_or(taken, ids) {
            return Err(Error::PartitionExists {
                partition: id.clone(),
            });
        }
        for id in ids {
            self.cluster
                .set_partition(id.clone(), Partition::new(self.copies));
        }
        self.settle();
        Ok(())
    }

    fn unregister_partitions(&mut self, ids: &[PartitionId]) -> Result<(), Error> {
        let unknown = |id: &PartitionId| self.cluster.partition(id).is_none();
        if let Some(id) = twice_or(unknown, ids) {
            return Err(Error::UnknownPartition {
                partition: id.clone(),
            });
        }
        for id in ids {
            self.hold(id, Vec::new());
            self.cluster.remove_partition(id);
        }
        self.settle();
        Ok(())
    }

    fn partitions(&self, node: &NodeId) -> Result<Vec<Replica>, Error> {
        self.require_node(node)?;
        let served = self.served.get(node).into_iter().flatten();
        let replica = |id: &PartitionId| {
            let holders = &self.cluster.partition(id)?.holders;
            let place = holders.iter().position(|holder| holder == node)?;
            Some(Replica {
                id: id.clone(),
                replica: u32::try_from(place).ok()?,
            })
        };
        Ok(served.filter_map(replica).collect())
    }

    fn nodes(&self, partition: &PartitionId) -> Result<Vec<NodeId>, Error> {
        Ok(self.require(partition)?.holders.clone())
    }

    fn adopt(&mut self, held: &[(PartitionId, Vec<NodeId>)]) -> Result<(), Error> {
        for (id, holders) in held {
            self.require(id)?;
            for holder in holders {
                self.require_node(holder)?;
            }
        }
        for (id, holders) in held {
            self.hold(id, holders.clone());
        }
        self.settle();
        Ok(())
    }
}

/// Returns the first name that is `wrong` or that was there before.
fn twice_or<'a, N: Ord>(
    wrong: impl Fn(&N) -> bool,
    names: impl IntoIterator<Item = &'a N>,
) -> Option<&'a N> {
    let mut seen = BTreeSet::new();
    names
        .into_iter()
        .find(|name| wrong(name) || !seen.insert(*name))
}
