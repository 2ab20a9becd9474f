//! Keyspaces of named shards.

use futures_executor::block_on;
use futures_util::StreamExt;
use shardwright_registry::{Error, Partitioning};
use shardwright_topology::{Epoch, ShardState};

use super::*;

fn named(names: &[&str]) -> Vec<ShardId> {
    let id = |name: &&str| ShardId::new(name).expect("a valid name");
    names.iter().map(id).collect()
}

async fn partitions() -> Registry {
    let registry = registry();
    registry
        .bootstrap(Partitioning::Named, 0)
        .await
        .expect("a new keyspace");
    registry
}

#[test]
fn a_named_shard_is_created_assigned_deleted_and_comes_back_at_a_later_epoch() {
    block_on(async {
        let registry = partitions().await;
        register(&registry, "n1", &[]).await;
        let created = registry.create_partitions(named(&["a", "b"])).await;
        assert_eq!(created.expect("a keyspace of names").len(), 2);
        let a = &named(&["a"])[0];
        registry
            .assign_shard(a, &node("n1"))
            .await
            .expect("registered");
        let again = registry.create_partitions(named(&["a"])).await;
        let again = &again.expect("it exists")[0].value;
        assert_eq!(again.primary(), Some(&node("n1")), "it stays as it is");

        let deleted = registry.delete_partitions(named(&["a"])).await;
        let deleted = deleted.expect("it exists")[0].value.clone();
        assert_eq!(deleted.state, ShardState::Retired);
        let refused = registry.assign_shard(a, &node("n1")).await;
        assert!(matches!(refused, Err(Error::Attempt(_))), "{refused:?}");

        let back = registry.create_partitions(named(&["a"])).await;
        let back = &back.expect("it was deleted")[0].value;
        assert_eq!((back.state, back.epoch), (ShardState::Serving, Epoch(1)));
        register(&registry, "n2", &[]).await;
        let moved = registry.assign_shard(a, &node("n2")).await;
        assert_eq!(moved.expect("registered").value.epoch, Epoch(2));
    });
}

#[test]
fn names_make_no_map_and_the_refusal_says_so() {
    block_on(async {
        let registry = partitions().await;
        let refused = registry.map().await.expect_err("no ranges");
        assert_eq!(
            refused.to_string(),
            "the shards of keyspace main have names and no ranges, look them up by name"
        );
        registry
            .create_partitions(named(&["a"]))
            .await
            .expect("a keyspace of names");
        let watched = registry.watch_map().next().await.expect("an item");
        assert!(matches!(watched, Err(Error::NoMap { .. })), "{watched:?}");
    });
}

#[test]
fn a_name_is_refused_where_shards_own_ranges_and_an_unknown_one_is_not_deleted() {
    block_on(async {
        let ranges = registry();
        let missing = ranges.create_partitions(named(&["a"])).await;
        assert!(matches!(missing, Err(Error::UnknownKeyspace { .. })));
        ranges
            .bootstrap(Partitioning::Ranges, 2)
            .await
            .expect("a new keyspace");
        let refused = ranges.create_partitions(named(&["a"])).await;
        assert!(matches!(refused, Err(Error::NotNamed { .. })));
        let refused = ranges.delete_partitions(named(&["shard-0"])).await;
        assert!(matches!(refused, Err(Error::NotNamed { .. })));
        let unknown = partitions().await.delete_partitions(named(&["a"])).await;
        assert!(matches!(unknown, Err(Error::UnknownShard { .. })));
    });
}
