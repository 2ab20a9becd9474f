//! Operations on replicated shards in a registry: whoever looks after these decides where their copies are.

use std::{collections::BTreeSet, sync::Arc};

use shardwright_elastic::{
    ElasticShardManager, Error, Extent, Gating, Journal, MemoryShardStore, Nodes, Part, Record,
    RegistryJournal, Settings, ShardConfig, ShardStore, SplitAt, Version, Work, clear_left,
    topology::{
        Conditions, ConfigId, Incarnation, KeyRange, KeyspaceName, Member, NodeId, OperationId,
        OperationKind, Phase, Position, Primary, Proposal, ReplicaId, ShardId, ShardRecord,
        ShardState,
    },
};
use shardwright_registry::{MemoryStore, Partitioning, Registry};

/// One store, which finds the shards wherever they are.
#[derive(Debug)]
struct Anywhere(MemoryShardStore);

impl Nodes for Anywhere {
    fn store(&self, _: &NodeId) -> Option<Arc<dyn ShardStore>> {
        Some(Arc::new(self.0.clone()))
    }

    fn nodes(&self) -> Vec<NodeId> {
        vec![node("n1")]
    }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

/// A keyspace of replicated shards that nobody serves, but the last one, which is not replicated.
async fn registry(shards: u32) -> Registry {
    let registry = Registry::new(Arc::new(MemoryStore::new()), KeyspaceName::main());
    let records: Vec<_> = ShardRecord::even(registry.name(), shards).collect();
    let (last, others) = records.split_last().expect("there are shards");
    let replicated = others.iter().cloned().map(ShardRecord::replicated);
    registry
        .bootstrap_with(Partitioning::Ranges, replicated.chain([last.clone()]))
        .await
        .expect("a new keyspace");
    registry
}

/// Makes a node the primary of a shard that has copies on n1 and n2.
async fn serve(registry: &Registry, shard: &ShardId, primary: &str) {
    let members: BTreeSet<_> = [1, 2]
        .map(|number: u8| Member {
            node: node(&format!("n{number}")),
            replica_id: ReplicaId::from_bits(number.into()),
        })
        .into();
    let clean = members.iter().map(|member| member.replica_id).collect();
    let conditions = Conditions { clean, w_min: 1 };
    let step = |record: &ShardRecord| {
        let config_id = ConfigId::from_bits(u128::from(record.epoch.0) + 1);
        let proposal = Proposal {
            config_id,
            primary: Primary {
                node: node(primary),
                incarnation: Incarnation(1),
            },
            members: members.clone(),
            w: 2,
            zones: 1,
        };
        let begun = record.begin_attempt(proposal, &conditions);
        let next = begun.and_then(|record| record.activate(config_id));
        Ok(next.expect("both copies are whole"))
    };
    let served = registry.update_shard(shard, step).await;
    served.expect("the shard is there");
}

async fn manager(registry: &Registry, store: &MemoryShardStore) -> ElasticShardManager {
    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    let manager = ElasticShardManager::builder(ShardConfig::default())
        .nodes(Arc::new(Anywhere(store.clone())))
        .journal(Arc::new(journal))
        .settings(Settings::local())
        .build()
        .await
        .expect("a manager");
    store.add_parts(manager.layout().parts());
    manager
}

async fn record(registry: &Registry, shard: &ShardId) -> ShardRecord {
    registry.shard(shard).await.expect("its record").value
}

#[tokio::test]
async fn shards_that_have_no_primary_yet_are_among_the_others() {
    let registry = registry(3).await;
    serve(&registry, &ShardId::numbered(1), "n2").await;
    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    let parts = journal.shards().await.expect("the shards");
    let nodes: Vec<_> = parts.iter().map(|part| part.node.as_str()).collect();
    let nowhere = RegistryJournal::NOWHERE;
    assert_eq!(nodes, [nowhere, "n2", nowhere]);
}

#[tokio::test]
async fn targets_are_replicated_beside_their_source_and_get_their_copies_from_others() {
    let registry = registry(3).await;
    let (first, store) = (ShardId::numbered(0), MemoryShardStore::new());
    serve(&registry, &first, "n1").await;
    let manager = manager(&registry, &store).await;
    // The manager does not know of this.
    serve(&registry, &first, "n2").await;
    let halves = manager
        .split_shard_at(first.as_str(), SplitAt::Middle, Gating::Force)
        .await
        .expect("a split");
    for target in [&halves.0, &halves.1] {
        let target = record(&registry, target).await;
        assert_eq!(target.beside.as_ref(), Some(&first));
        assert_eq!((target.replicated, &target.active), (true, &None));
        assert_eq!((target.state, &target.hold), (ShardState::Serving, &None));
    }
    let map = registry.map().await.expect("the shards tile the space");
    assert_eq!((map.len(), map.at(Position::MIN).id()), (4, &halves.0));
    let gone = record(&registry, &first).await;
    assert_eq!((gone.state, gone.hold), (ShardState::Retired, None));
    assert_eq!(
        gone.active.map(|config| config.primary.node),
        Some(node("n2"))
    );

    serve(&registry, &halves.0, "n2").await;
    manager.refresh().await.expect("the journal is there");
    let done = manager.operations().await.expect("the journal is there");
    let done = done.first().expect("it is kept");
    let back = manager.reverse(done.record.id()).await;
    let back = back.expect("the targets are as they were, but for their nodes");
    let merged = manager.committed(&back).await.expect("a merge");
    let merged = record(&registry, &merged.work.targets[0].shard).await;
    assert_eq!(merged.beside, Some(halves.0.clone()));
    assert_eq!(merged.range, KeyRange::even(3).next());

    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    for entry in journal.list().await.expect("both are kept") {
        let (id, version) = (entry.record.id(), entry.version);
        journal.remove(id, version).await.expect("it has ended");
    }
    let left = registry.shards().list().await.expect("the records");
    assert_eq!(left.len(), 3, "none is left of those that are retired");
}

#[tokio::test]
async fn a_replicated_shard_is_not_moved_nor_merged_with_one_that_is_not() {
    let registry = registry(2).await;
    let store = MemoryShardStore::new();
    serve(&registry, &ShardId::numbered(0), "n1").await;
    let manager = manager(&registry, &store).await;
    let moved = manager.migrate_shard("shard-0", "n2").await;
    assert!(matches!(moved, Err(Error::Unsupported { .. })), "{moved:?}");
    let merge = manager
        .begin_merge(&["shard-0", "shard-1"], Gating::Force)
        .await
        .expect("it is tried");
    match manager.committed(&merge).await {
        Err(Error::Aborted { reason, .. }) => {
            assert!(reason.contains("commits on several members"), "{reason}");
        }
        other => panic!("they are one shard: {other:?}"),
    }
    for number in 0..2 {
        let kept = record(&registry, &ShardId::numbered(number)).await;
        assert_eq!((kept.state, kept.hold), (ShardState::Serving, None));
    }
}

/// A split of the first shard that is written down, with its version.
async fn planned(registry: &Registry, journal: &RegistryJournal) -> (Record, Version) {
    let first = record(registry, &ShardId::numbered(0)).await;
    let range = first.range.expect("it owns a range");
    let part = |shard: &str, range: KeyRange| Part {
        shard: ShardId::new(shard).expect("a name"),
        node: node("n1"),
        extent: Extent::range(range),
    };
    let (low, high) = range.halve().expect("it is wide");
    let work = Work {
        kind: OperationKind::Split,
        sources: vec![part("shard-0", range)],
        targets: vec![part("low", low), part("high", high)],
        reason: "a test".to_owned(),
    };
    let id = OperationId::new("op").expect("a name");
    let planned = Record::planned(id, KeyspaceName::main(), work).expect("it fits");
    let version = journal.put(&planned, None).await.expect("it is new");
    (planned, version)
}

/// Ends an operation without effect, from the record that was written last.
async fn abort(journal: &RegistryJournal, (record, version): (Record, Version)) -> Version {
    let aborting = record.advance(Phase::Aborting).expect("it is open");
    let version = journal.put(&aborting, Some(version)).await;
    journal.resolve(&aborting).await.expect("it is decided");
    let aborted = aborting.advance(Phase::Aborted).expect("it is decided");
    let version = journal.put(&aborted, Some(version.expect("nobody else writes")));
    version.await.expect("nobody else writes")
}

#[tokio::test]
async fn what_holds_shards_after_the_end_of_its_operation_is_let_go_of_before_it_is_removed() {
    let registry = registry(2).await;
    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    let planned = planned(&registry, &journal).await;
    let id = planned.0.id().clone();
    abort(&journal, planned).await;
    // A coordinator that stood still writes the record of a target.
    let target = ShardId::new("low").expect("a name");
    let late = ShardRecord::target_of(
        id.clone(),
        KeyspaceName::main(),
        target.clone(),
        KeyRange::even(4).next().expect("the first"),
    );
    let created = registry.create_shard(late.replicated()).await;
    created.expect("it is not there");
    let store = MemoryShardStore::new();
    assert!(clear_left(&journal, &store, &target, &id).await);
    let left = record(&registry, &target).await;
    assert_eq!((left.state, left.hold), (ShardState::Retired, None));
}

#[tokio::test]
async fn an_operation_that_has_ended_is_known_as_long_as_a_node_has_what_is_left_of_it() {
    let registry = registry(2).await;
    let journal = RegistryJournal::new(registry.clone()).expect("a journal");
    let planned = planned(&registry, &journal).await;
    let id = planned.0.id().clone();
    journal.hold(&planned.0).await.expect("nobody else has it");
    let version = abort(&journal, planned).await;
    let target = ShardId::new("low").expect("a name");
    let copy = Member {
        node: node("n1"),
        replica_id: ReplicaId::from_bits(7),
    };
    let registered = registry.register_copy(&target, &copy).await;
    registered.expect("the store is there");
    let removed = journal.remove(&id, version).await;
    assert!(removed.is_err_and(|error| error.is_retryable()));
    assert!(
        journal
            .get(&id)
            .await
            .expect("the store is there")
            .is_some()
    );
    let forgotten = registry.forget_copy(&target, &copy).await;
    forgotten.expect("the store is there");
    journal.remove(&id, version).await.expect("it has ended");
    let left = registry.shards().get(&target).await;
    assert_eq!(left.expect("the store is there"), None);
}
