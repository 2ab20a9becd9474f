//! Nodes vouch for copies.

use std::collections::BTreeMap;

use shardwright_registry::topology::{
    Incarnation, KeyspaceName, Member, ReplicaId, ShardRecord, ShardState,
};

use super::*;

#[test]
fn a_node_vouches_for_the_copies_that_it_has_opened() {
    futures_executor::block_on(async {
        let registry = registry();
        let copy = |id| Member {
            node: node("a"),
            replica_id: ReplicaId::from_bits(id),
        };
        let open = async |number: u32, id| {
            let opened = registry.register_copy(&shard(number), &copy(id)).await;
            opened.expect("the store answers")
        };
        let forget = async |number: u32, id| {
            let forgotten = registry.forget_copy(&shard(number), &copy(id)).await;
            forgotten.expect("the store answers");
        };
        let copies = async || {
            let found = registry.copies().get(node("a")).await;
            let found = found.expect("the store answers").expect("it is there");
            let ids = found.value.copies.into_iter();
            ids.collect::<BTreeMap<_, _>>()
        };
        forget(0, 1).await;
        assert_eq!(open(0, 1).await, Incarnation(1));
        assert_eq!(open(1, 2).await, Incarnation(2));
        assert_eq!(open(0, 1).await, Incarnation(3), "it was opened again");
        assert_eq!(open(0, 3).await, Incarnation(4), "it began anew");
        forget(0, 1).await;
        let ids = |id| ReplicaId::from_bits(id);
        let both = BTreeMap::from([(shard(0), ids(3)), (shard(1), ids(2))]);
        assert_eq!(copies().await, both, "the other one was deleted long ago");
        forget(0, 3).await;
        assert_eq!(copies().await, BTreeMap::from([(shard(1), ids(2))]));
        assert_eq!(open(0, 5).await, Incarnation(5));
    });
}

#[test]
fn a_new_copy_is_of_use_while_its_shard_is_there_and_owns_something() {
    futures_executor::block_on(async {
        let registry = registry();
        let copy = Member {
            node: node("a"),
            replica_id: ReplicaId::from_bits(1),
        };
        let open = async || {
            let opened = registry.register_new_copy(&shard(0), &copy).await;
            opened.expect("the store answers").is_some()
        };
        assert!(!open().await, "nobody knows the shard");
        let record = ShardRecord::new(KeyspaceName::main(), shard(0), None);
        let created = registry.shards().create_if_absent(&shard(0), record).await;
        created.expect("the store answers");
        assert!(open().await);
        let retire = |record: &ShardRecord| {
            let state = ShardState::Retired;
            let record = record.clone();
            Ok(ShardRecord { state, ..record })
        };
        let retired = registry.shards().update(&shard(0), retire).await;
        retired.expect("the store answers");
        assert!(!open().await, "it owns nothing");
    });
}
