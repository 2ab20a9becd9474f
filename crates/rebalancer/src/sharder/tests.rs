//! The sharders of this crate, and one that somebody else might write.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::ShardId;

use super::*;
use crate::{
    Cluster, Partition, Policy, ReplicaPolicy, RingPolicy, Spread, Standing, TargetPolicy,
    conformance,
};

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn id(name: &str) -> PartitionId {
    PartitionId::from(ShardId::new(name).unwrap())
}

#[test]
fn the_sharders_keep_the_contract() {
    for copies in 1..=3 {
        conformance::check(|| ReplicaSharder::new(ReplicaPolicy::default(), copies));
        let zones = ReplicaPolicy {
            spread: Spread::Zones,
            steal_above_percent: 100,
        };
        conformance::check(|| ReplicaSharder::new(zones, copies));
        conformance::check(|| RingSharder::new(RingPolicy::default(), copies));
        let targets = (0..8).map(|number| (node(&format!("node-{number}")), number + 1));
        let targets = TargetPolicy::new(targets);
        conformance::check(|| TargetSharder::new(targets.clone(), copies));
    }
}

/// A sharder as simple as can be: the name of the partition modulo the number of nodes.
#[derive(Debug, Default)]
struct Modulo {
    nodes: BTreeSet<NodeId>,
    partitions: BTreeSet<PartitionId>,
    /// Names a node that nobody registered, as a fault.
    faulty: bool,
}

fn add<N: Ord + Clone>(set: &mut BTreeSet<N>, names: &[N]) -> Result<(), N> {
    let mut all = set.clone();
    match names.iter().find(|name| !all.insert((*name).clone())) {
        Some(name) => Err(name.clone()),
        None => {
            *set = all;
            Ok(())
        }
    }
}

fn remove<N: Ord + Clone>(set: &mut BTreeSet<N>, names: &[N]) -> Result<(), N> {
    let mut rest = set.clone();
    match names.iter().find(|name| !rest.remove(name)) {
        Some(name) => Err(name.clone()),
        None => {
            *set = rest;
            Ok(())
        }
    }
}

impl Sharder for Modulo {
    fn register_nodes(&mut self, nodes: &[Node]) -> Result<(), Error> {
        let names: Vec<NodeId> = nodes.iter().map(|node| node.id.clone()).collect();
        add(&mut self.nodes, &names).map_err(|node| Error::NodeExists { node })
    }

    fn unregister_nodes(&mut self, nodes: &[NodeId]) -> Result<(), Error> {
        remove(&mut self.nodes, nodes).map_err(|node| Error::UnknownNode { node })
    }

    fn register_partitions(&mut self, ids: &[PartitionId]) -> Result<(), Error> {
        add(&mut self.partitions, ids).map_err(|partition| Error::PartitionExists { partition })
    }

    fn unregister_partitions(&mut self, ids: &[PartitionId]) -> Result<(), Error> {
        remove(&mut self.partitions, ids).map_err(|partition| Error::UnknownPartition { partition })
    }

    fn partitions(&self, node: &NodeId) -> Result<Vec<Replica>, Error> {
        if !self.nodes.contains(node) {
            return Err(Error::UnknownNode { node: node.clone() });
        }
        let here = |id: &&PartitionId| self.nodes(id).is_ok_and(|nodes| nodes[0] == *node);
        let replica = |id: &PartitionId| Replica {
            id: id.clone(),
            replica: 0,
        };
        Ok(self.partitions.iter().filter(here).map(replica).collect())
    }

    fn nodes(&self, partition: &PartitionId) -> Result<Vec<NodeId>, Error> {
        if !self.partitions.contains(partition) {
            return Err(Error::UnknownPartition {
                partition: partition.clone(),
            });
        }
        if self.faulty {
            return Ok(vec![node("stranger")]);
        }
        if self.nodes.is_empty() {
            return Ok(Vec::new());
        }
        let sum: usize = partition.shard.as_str().bytes().map(usize::from).sum();
        Ok(self
            .nodes
            .iter()
            .nth(sum % self.nodes.len())
            .cloned()
            .into_iter()
            .collect())
    }
}

#[test]
fn a_sharder_from_elsewhere_is_checked_and_followed() {
    conformance::check(Modulo::default);
}

#[test]
fn a_sharder_that_breaks_the_contract_is_reported_and_moves_nothing() {
    let policy = SharderPolicy::new(|| Modulo {
        faulty: true,
        ..Modulo::default()
    });
    let mut cluster = Cluster::new();
    cluster.set_partition(id("a"), Partition::new(1));
    let plan = policy.plan(&cluster);
    assert!(plan.is_empty());
    let message = "refused: node stranger is not registered\n";
    assert_eq!(plan.to_string(), message);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["refused"]["code"], "UNKNOWN_NODE");
}

#[test]
fn an_adopted_placement_is_gone_on_from() {
    let policy = SharderPolicy::new(|| ReplicaSharder::new(ReplicaPolicy::default(), 1));
    let mut cluster = Cluster::new();
    for name in ["n1", "n2"] {
        cluster.set_node(Node::new(node(name)));
    }
    for (partition, holder) in [("a", "n1"), ("b", "n2"), ("c", "n1"), ("d", "n2")] {
        let partition_of = Partition {
            holders: vec![node(holder)],
            ..Partition::new(1)
        };
        cluster.set_partition(id(partition), partition_of);
    }
    assert!(policy.plan(&cluster).is_empty());
}

#[test]
fn work_is_stolen_on_demand_once_loads_are_known() {
    let mut sharder = ReplicaSharder::new(ReplicaPolicy::default(), 1);
    sharder
        .register_nodes(&[Node::new(node("n1")), Node::new(node("n2"))])
        .unwrap();
    let ids = ["a", "b", "c", "d"].map(id);
    sharder.register_partitions(&ids).unwrap();
    assert!(sharder.steal_work().is_empty());

    for replica in sharder.partitions(&node("n1")).unwrap() {
        sharder.set_load(&replica.id, 10).unwrap();
    }
    assert_eq!(sharder.steal_work().moves.len(), 1);
    assert!(sharder.steal_work().is_empty());
    assert_eq!(
        sharder.set_load(&id("x"), 1).unwrap_err().code(),
        "UNKNOWN_PARTITION"
    );
}

#[test]
fn a_node_that_is_drained_loses_all_that_it_serves() {
    let mut sharder = ReplicaSharder::new(ReplicaPolicy::default(), 2);
    sharder
        .register_nodes(&["n1", "n2", "n3"].map(|name| Node::new(node(name))))
        .unwrap();
    let ids: Vec<_> = (0..30).map(|number| id(&format!("p{number}"))).collect();
    sharder.register_partitions(&ids).unwrap();
    sharder
        .set_standing(&node("n2"), Standing::Draining)
        .unwrap();
    assert_eq!(sharder.partitions(&node("n2")).unwrap(), []);
    let refused = sharder.set_standing(&node("n9"), Standing::Down);
    assert_eq!(refused.unwrap_err().code(), "UNKNOWN_NODE");
}

#[test]
fn the_codes_are_those_of_the_json() {
    let (node, partition) = (node("n1"), id("p1"));
    let errors = [
        Error::NodeExists { node: node.clone() },
        Error::UnknownNode { node },
        Error::PartitionExists {
            partition: partition.clone(),
        },
        Error::UnknownPartition { partition },
    ];
    let codes: BTreeMap<_, _> = errors
        .iter()
        .map(|error| {
            (
                error.code(),
                serde_json::to_value(error).unwrap()["code"].clone(),
            )
        })
        .collect();
    assert_eq!(codes.len(), 4);
    assert!(codes.iter().all(|(code, json)| json == code), "{codes:?}");
}
