//! Shards that are split while their cluster runs.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use shardwright_coordinator::registry::Registry;
use shardwright_elastic::{
    ElasticShardManager, Gating, RegistryJournal, Settings, ShardConfig, SplitAt,
};
use shardwright_server::ClusterStore;
use shardwright_topology::KeyspaceName;

use crate::{
    cluster::{Cluster, node_id},
    sql::Asking,
};

/// Returns what splits the shards of a cluster.
async fn manager(cluster: &Cluster) -> ElasticShardManager {
    let (store, keyspace) = (cluster.store(), KeyspaceName::main());
    let journal = RegistryJournal::new(Registry::new(Arc::clone(&store), keyspace.clone()));
    let shards = ClusterStore::new(store, keyspace, None).expect("a client");
    let mut builder = ElasticShardManager::builder(ShardConfig::default())
        .journal(Arc::new(journal.expect("a journal")))
        .settings(Settings {
            calm: Duration::from_millis(100),
            grace: Duration::ZERO,
            ..Settings::default()
        });
    for name in cluster.names() {
        builder = builder.store(node_id(&name), Arc::new(shards.clone()));
    }
    builder.build().await.expect("a manager")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_split_in_two_that_have_its_rows() {
    let asking = Asking::start(3, 1).await;
    for sql in [
        "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT)",
        "CREATE TABLE kinds(id INTEGER PRIMARY KEY, name TEXT) /* shardwright: reference */",
        "CREATE TABLE notes(user TEXT NOT NULL REFERENCES users(id), text TEXT, PRIMARY KEY(user, text)) WITHOUT ROWID /* shardwright: shard_key=user colocate_with=users */",
        "INSERT INTO kinds VALUES (1, 'one'), (2, 'two')",
    ] {
        asking.run("n1", sql).await;
    }
    for number in 0..60 {
        let insert = format!("INSERT INTO users VALUES ('u{number}', 'name {number}')");
        asking.run("n2", &insert).await;
        let note = format!("INSERT INTO notes VALUES ('u{number}', 'a note')");
        asking.run("n3", &note).await;
    }
    let manager = manager(&asking.cluster).await;
    let mut notices = manager.notices();
    tokio::spawn(async move {
        while let Ok(notice) = notices.recv().await {
            eprintln!("{notice:?}");
        }
    });
    let split = manager.begin_split("shard-0", SplitAt::Median, Gating::Force);
    let split = split.await.expect("it begins");
    let split = manager.committed(&split).await.expect("it is split");
    assert_eq!(split.operation.targets.len(), 2);
    for node in ["n1", "n2", "n3"] {
        let sql = "SELECT count(*), count(DISTINCT users.id) FROM users JOIN notes ON notes.user = users.id";
        let count = asking.run(node, sql).await;
        assert_eq!(count["rows"], json!([[60, 60]]), "{count}");
    }
    asking.cluster.stop().await;
}
