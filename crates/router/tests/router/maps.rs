//! Maps: tenants and positions to owners, and what a change of the map opens and shuts.

use shardwright_registry::Partitioning;
use shardwright_router::{
    Error, Route,
    topology::{
        ConfigId, Incarnation, Position, Primary, Proposal, ReplicaId, ShardMap, ShardMapChange,
        ShardRecord,
    },
};

use super::*;

/// A shard's record with an owner at an epoch.
fn owned(record: &ShardRecord, owner: &str, epoch: u64) -> ShardRecord {
    let primary = Primary {
        node: node(owner),
        incarnation: Incarnation(1),
    };
    let proposal = Proposal::single(
        ConfigId::from_bits(u128::from(epoch)),
        primary,
        ReplicaId::from_bits(7),
    );
    ShardRecord {
        epoch: Epoch(epoch),
        active: Some(proposal.at(Epoch(epoch))),
        ..record.clone()
    }
}

fn assign(map: &ShardMap, number: u32, owner: &str, epoch: u64) -> ShardMap {
    let record = map.shard(&shard(number)).expect("it exists").record();
    let record = owned(record, owner, epoch);
    map.apply(ShardMapChange::Update { record })
        .expect("a valid change")
}

#[test]
fn a_tenant_is_routed_to_the_owner_of_its_range() {
    let router = Router::local(node("n1"));
    assert!(matches!(
        router.route_by_tenant("tenant-123"),
        Err(Error::NoMap)
    ));
    let map = assign(&ShardMap::even(8), 0, "n1", 2);
    assert!(router.set_map(Arc::new(map)));
    let route = Route {
        shard: shard(0),
        owner: node("n1"),
        epoch: Epoch(2),
    };
    assert_eq!(router.shard_of("tenant-123").expect("a map"), shard(0));
    assert_eq!(router.route_by_tenant("tenant-123").expect("owned"), route);
    assert_eq!(
        router.route_at(Position::of("tenant-123")).expect("owned"),
        route
    );
    assert_eq!(router.route(&shard(0)).expect("owned"), route);
    let look = |shard: &ShardId, owner: &NodeId, epoch| Route {
        shard: shard.clone(),
        owner: owner.clone(),
        epoch,
    };
    let seen = router.with_route_at(Position::of("tenant-123"), look);
    assert_eq!(seen.expect("owned"), route);
    let unowned = Position(u64::MAX);
    assert!(matches!(
        router.with_route_at(unowned, look),
        Err(Error::NoOwner { .. })
    ));
    assert!(matches!(
        router.route(&shard(1)),
        Err(Error::NoOwner { .. })
    ));
    assert_eq!(
        router.guard_by_tenant("tenant-123").expect("local").epoch(),
        Epoch(2)
    );
}

#[test]
fn a_fixed_number_of_shards_is_divided_by() {
    let settings = Settings {
        partitioning: Partitioning::Modulo { shards: 10 },
        ..Settings::default()
    };
    let router = Router::new(node("n1"), Arc::new(Network::new()), settings);
    router.set_map(Arc::new(assign(&ShardMap::even(10), 3, "n1", 1)));
    assert_eq!(router.shard_of("tenant-123").expect("a map"), shard(3));
    assert_eq!(
        router
            .route_at(Position::of("tenant-123"))
            .expect("owned")
            .shard,
        shard(3)
    );
}

#[test]
fn an_older_map_is_not_taken() {
    let router = Router::local(node("n1"));
    let first = assign(&ShardMap::even(4), 0, "n1", 1);
    let second = assign(&first, 0, "n2", 2);
    assert!(router.set_map(Arc::new(second)));
    assert!(!router.set_map(Arc::new(first)));
    assert!(matches!(
        router.guard(&shard(0)),
        Err(Error::NotLocal { .. })
    ));
}

#[test]
fn a_map_opens_what_comes_and_shuts_what_goes() {
    let router = Router::local(node("n1"));
    let map = assign(&ShardMap::even(4), 0, "n1", 1);
    router.set_map(Arc::new(map.clone()));
    let guard = router.guard(&shard(0)).expect("local");
    let map = assign(&map, 1, "n1", 1);
    router.set_map(Arc::new(map.clone()));
    assert!(router.is_shard_local(&shard(1)));
    // The same owner at a later epoch: work goes on, new work is at the new epoch.
    let map = assign(&map, 0, "n1", 2);
    router.set_map(Arc::new(map.clone()));
    assert_eq!(router.guard(&shard(0)).expect("local").epoch(), Epoch(2));
    assert_eq!(guard.epoch(), Epoch(1));
    let map = assign(&map, 0, "n2", 3);
    router.set_map(Arc::new(map.clone()));
    assert!(matches!(
        router.guard(&shard(0)),
        Err(Error::NotLocal { .. })
    ));

    // A split of the shard that is here ends it.
    let (left, right) = map
        .shard(&shard(1))
        .expect("it exists")
        .range()
        .halve()
        .expect("wide");
    let target = |name: &str, range| {
        let id = ShardId::new(name).expect("a valid name");
        let record = ShardRecord::new(map.keyspace().clone(), id, Some(range));
        owned(&record, "n1", 1)
    };
    let targets = vec![target("left", left), target("right", right)];
    let change = ShardMapChange::Split {
        source: shard(1),
        targets,
    };
    router.set_map(Arc::new(map.apply(change).expect("a valid split")));
    assert!(matches!(
        router.guard(&shard(1)),
        Err(Error::UnknownShard { .. })
    ));
    for name in ["left", "right"] {
        assert!(router.is_shard_local(&ShardId::new(name).expect("a valid name")));
    }
}

#[tokio::test]
async fn a_tenant_follows_its_range_to_a_new_shard_while_the_call_waits() {
    let network = Network::new();
    let (caller, owner) = (join(&network, "caller"), join(&network, "owner"));
    caller.set_address(&node("owner"), Some("owner"));
    owner.handle("shard", async |call| {
        Ok::<_, BoxError>(call.shard().to_string())
    });
    let before = ShardMap::even(1);
    caller.set_map(Arc::new(before.clone()));
    let (left, right) = before.shards()[0].range().halve().expect("wide");
    let target = |name: &str, range| {
        let id = ShardId::new(name).expect("a valid name");
        owned(
            &ShardRecord::new(before.keyspace().clone(), id, Some(range)),
            "owner",
            1,
        )
    };
    let targets = vec![target("left", left), target("right", right)];
    let change = ShardMapChange::Split {
        source: shard(0),
        targets,
    };
    let after = Arc::new(before.apply(change).expect("a valid split"));
    let split = async {
        tokio::task::yield_now().await;
        owner.set_map(Arc::clone(&after));
        caller.set_map(Arc::clone(&after));
    };
    let (answer, ()) = tokio::join!(caller.call_by_tenant("tenant-123", "shard", ""), split);
    assert_eq!(answer.expect("an answer"), "left");
}
