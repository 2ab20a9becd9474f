//! The failover coordinator of Aurora's documentation: a node goes down, and its replica takes over at the next epoch.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::{error::Error, sync::Arc, time::Duration};

use shardwright::{
    failover::{Config, Copy, FailoverCoordinator, Heartbeat, Mode},
    registry::{MemoryStore, Partitioning, Registration, Registry},
    topology::{KeyspaceName, Lsn, NodeId, ShardId},
};

/// Every process has a registry on the common store; here they are all in this one.
async fn start_node(
    registry: &Registry,
    name: &str,
    shards: Vec<ShardId>,
    config: &Config,
) -> Result<Heartbeat, Box<dyn Error>> {
    let registration = Registration {
        shards,
        ..Registration::new(NodeId::new(name)?, format!("http://{name}:3000"))
    };
    let heartbeat = Heartbeat::new(registry.clone(), registration, config)?;
    let name = name.to_owned();
    heartbeat.on_serve(move |shard, epoch| {
        println!("{name} serves {shard} at {epoch}");
        std::future::ready(())
    });
    heartbeat.start().await?;
    Ok(heartbeat)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
    registry
        .bootstrap(Partitioning::Modulo { shards: 1 }, 1)
        .await?;
    // The defaults are 5 s and 15 s; automatic promotion needs no handler.
    let config = Config {
        check_interval: Duration::from_millis(50),
        heartbeat_timeout: Duration::from_millis(500),
        mode: Mode::Manual,
        ..Config::default()
    };
    let shard = ShardId::numbered(0);
    let first = start_node(&registry, "node-1", vec![shard.clone()], &config).await?;
    first.serving(&shard).await;
    let second = start_node(&registry, "node-2", vec![], &config).await?;
    registry
        .add_replica(&shard, &NodeId::new("node-2")?)
        .await?;
    let epoch = registry.shard(&shard).await?.value.active_epoch();
    // What the replica's own replication knows; without it, a promotion has to be forced.
    let copy = Copy {
        epoch,
        position: Lsn(100),
        in_sync: true,
    };
    second.report([(shard.clone(), copy)]).await?;

    let id = NodeId::new("coordinator-1")?;
    let coordinator = FailoverCoordinator::new(registry.clone(), id, config)?;
    let (promoter, shards) = (coordinator.clone(), registry.clone());
    coordinator.on_node_down(move |node, down| {
        let (promoter, registry) = (promoter.clone(), shards.clone());
        async move {
            for shard in down {
                let Ok(replicas) = registry.replicas(&shard).await else {
                    continue;
                };
                for replica in replicas {
                    let outcome = promoter.promote_replica(&shard, &replica.node).await;
                    println!(
                        "{node} is down, {} takes {shard}: {outcome:?}",
                        replica.node
                    );
                }
            }
        }
    });
    coordinator.on_node_up(|node| {
        println!("{node} is back");
        std::future::ready(())
    });
    coordinator.start();
    coordinator.leading().await;

    first.stop().await;
    let taken = second.serving(&shard).await;
    assert!(epoch < taken && first.serves(&shard).is_none());
    coordinator.stop().await;
    second.stop().await;
    Ok(())
}
