//! The sharder of Shardz's document: nodes and partitions are registered, and work is stolen when a node joins.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;

use shardwright::{
    rebalancer::{Node, PartitionId, ReplicaPolicy, ReplicaSharder, Sharder},
    topology::{NodeId, ShardId},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut sharder = ReplicaSharder::new(ReplicaPolicy::default(), 2);
    let (first, second, third) = (node("worker-1")?, node("worker-2")?, node("worker-3")?);

    // Partitions may come first; one copy of two is better than none, and what is missing is reported.
    let ids: Vec<PartitionId> = (0..6)
        .map(|number| Ok(PartitionId::from(ShardId::new(format!("users-{number}"))?)))
        .collect::<Result<_, Box<dyn Error>>>()?;
    sharder.register_partitions(&ids)?;
    sharder.register_nodes(std::slice::from_ref(&first))?;
    print!("{}", sharder.last_plan());
    assert_eq!(sharder.last_plan().under_replicated.len(), 6);

    sharder.register_nodes(std::slice::from_ref(&second))?;
    assert!(sharder.last_plan().under_replicated.is_empty());

    // Each of three nodes has a third of twelve copies: four.
    sharder.register_nodes(std::slice::from_ref(&third))?;
    print!("{}", sharder.last_plan());
    for worker in [&first, &second, &third] {
        let served = sharder.partitions(&worker.id)?;
        println!("{} serves {}", worker.id, served.len());
        assert_eq!(served.len(), 4);
    }

    sharder.unregister_nodes(&[second.id])?;
    for id in &ids {
        let nodes = sharder.nodes(id)?;
        println!("{id}: {} and {}", nodes[0], nodes[1]);
    }

    let twice = sharder.register_nodes(&[third]);
    println!("{}", twice.expect_err("the node is registered"));
    Ok(())
}

fn node(name: &str) -> Result<Node, Box<dyn Error>> {
    Ok(Node::new(NodeId::new(name)?))
}
