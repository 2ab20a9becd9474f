//! What a manager of stores of one's own takes up from the one before.

use std::{sync::Arc, time::Duration};

use shardwright_elastic::{
    ElasticShardManager, Extent, Gating, MemoryJournal, Notice, Part, Settings, ShardConfig,
    SplitAt,
    topology::{KeyRange, NodeId, Phase, ShardId},
};

use crate::own::{OwnStore, put};

async fn manager(
    journal: &MemoryJournal,
    store: &Arc<OwnStore>,
    grace: Duration,
) -> ElasticShardManager {
    let settings = Settings {
        grace,
        ..Settings::local()
    };
    ElasticShardManager::builder(ShardConfig::default())
        .node(NodeId::new("node-1").expect("a name"), store.clone())
        .journal(Arc::new(journal.clone()))
        .settings(settings)
        .build()
        .await
        .expect("a manager")
}

#[tokio::test]
async fn a_shard_that_was_divided_since_does_not_come_back() {
    let whole = Part {
        shard: ShardId::numbered(0),
        node: NodeId::new("node-1").expect("a name"),
        extent: Extent::range(KeyRange::ALL),
    };
    let (journal, store) = (MemoryJournal::new([whole]), Arc::new(OwnStore::default()));
    let first = manager(&journal, &store, Duration::from_secs(3_600)).await;
    for user in 0..400 {
        put(&first, &store, &format!("user:{user}"), b"first")
            .await
            .expect("it serves");
    }
    let (left, _) = first
        .split_shard_at("shard-0", SplitAt::Median, Gating::Force)
        .await
        .expect("a split");
    let (low, high) = first
        .split_shard_at(left.as_str(), SplitAt::Median, Gating::Force)
        .await
        .expect("a split of what came of it");
    // Nothing of either is removed yet.
    let all = store.shards();
    assert!(all.contains(&"shard-0".to_owned()) && all.contains(&left.to_string()));

    let next = manager(&journal, &store, Duration::ZERO).await;
    let mut notices = next.notices();
    let mut ended = 0;
    while ended < 2 {
        match notices.recv().await.expect("the manager is there") {
            Notice::Report { report, .. } => panic!("it does not get on: {report:?}"),
            Notice::Phase {
                phase: Phase::Done, ..
            } => ended += 1,
            _ => {}
        }
    }
    let layout = next.layout();
    assert_eq!(layout.len(), first.layout().len());
    for shard in store.shards() {
        assert!(layout.part(&shard).is_some(), "{shard} is left over");
    }
    for shard in [low, high] {
        assert!(layout.part(shard.as_str()).is_some(), "{shard} is missing");
    }
    put(&next, &store, "user:1", b"second")
        .await
        .expect("it serves");
}
