//! The shard registry of Aurora's documentation: nodes register, shards are assigned, replicas are added.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::{error::Error, sync::Arc};

use shardwright::{
    registry::{MemoryStore, Partitioning, Registration, Registry},
    topology::{KeyspaceName, NodeId, ShardId},
};

fn main() -> Result<(), Box<dyn Error>> {
    futures_executor::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
    // Shards exist before they are assigned, so that a mistyped name is an error.
    registry
        .bootstrap(Partitioning::Modulo { shards: 10 }, 10)
        .await?;

    let (first, second) = (NodeId::new("node-1")?, NodeId::new("node-2")?);
    let node = registry
        .register(Registration {
            shards: (0..3).map(ShardId::numbered).collect(),
            ..Registration::new(first.clone(), "http://localhost:3000")
        })
        .await?;
    println!("registered {} at {}", node.value.id, node.value.address);
    registry
        .register(Registration::new(second.clone(), "http://localhost:3001"))
        .await?;

    let shard = ShardId::numbered(0);
    registry.assign_shard(&shard, &first).await?;
    registry.add_replica(&shard, &second).await?;
    let owner = registry
        .owner(&shard)
        .await?
        .ok_or("shard-0 was assigned")?;
    println!("{shard} is owned by {} at {}", owner.node, owner.epoch);
    for replica in registry.replicas(&shard).await? {
        println!("{shard} has a replica on {}", replica.node);
    }
    assert_eq!(registry.assignments().await?.len(), 4);

    let claim = Registration {
        shards: vec![shard],
        ..Registration::new(second, "http://localhost:3001")
    };
    let refused = registry
        .register(claim)
        .await
        .err()
        .ok_or("shard-0 has an owner")?;
    println!("refused: {refused}");
    Ok(())
}
