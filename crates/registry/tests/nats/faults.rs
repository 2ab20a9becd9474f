//! Servers that die and come back while the store is used.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::StreamExt;
use shardwright_registry::{
    Key, Partitioning, Prefix, Registry, Revision, Seen, Store, StoreError, topology::KeyspaceName,
    watch_records,
};
use shardwright_testkit::nats::{NatsServer, servers};
use tokio::sync::oneshot;

use super::*;

/// Counts a key up until told to stop. A change whose fate is unknown is read back. Returns the last count that was confirmed.
async fn write(store: NatsStore, mut stop: oneshot::Receiver<()>) -> u64 {
    let key = Key::new("count/a").expect("a key");
    let mut at = store.create(&key, b"0").await.expect("new");
    let mut count = 0_u64;
    while stop.try_recv().is_err() {
        let next = (count + 1).to_string();
        match store.compare_and_set(&key, at, next.as_bytes()).await {
            Ok(revision) => (at, count) = (revision, count + 1),
            Err(StoreError::Unknown { .. } | StoreError::Unavailable(_)) => {}
            // The change of which nothing was known.
            Err(StoreError::Conflict {
                found: Some(found), ..
            }) => {
                assert_eq!(found.value, next.as_bytes(), "nobody else writes");
                (at, count) = (found.revision, count + 1);
            }
            Err(error) => panic!("a sole writer is not refused: {error:?}"),
        }
    }
    count
}

/// Follows the counter until it is at a count, with no step back.
async fn follow(store: NatsStore, until: oneshot::Receiver<u64>) {
    let prefix = Prefix::new("count/").expect("a prefix");
    let mut until = until;
    let mut goal = None;
    let mut last = (Revision(0), 0_u64);
    let mut watch = store.watch(&prefix, Revision(0)).await.expect("a watch");
    while goal.is_none_or(|goal| last.1 < goal) {
        tokio::select! {
            event = watch.next() => match event {
                Some(Ok(event)) => {
                    let value = event.value.expect("never deleted");
                    let count = String::from_utf8(value).expect("a number").parse().expect("a number");
                    assert!(last.0 < event.revision && last.1 <= count, "{last:?} before {count}");
                    last = (event.revision, count);
                }
                None | Some(Err(_)) => {
                    watch = match store.watch(&prefix, last.0).await {
                        Ok(watch) => watch,
                        Err(error) => panic!("three servers outlast the loss of one: {error:?}"),
                    };
                }
            },
            reached = &mut until, if goal.is_none() => goal = Some(reached.expect("the writer ends first")),
        }
    }
}

/// Kills the server that leads the stream, waits until writes go on, and brings it back.
fn survives_the_death_of_the_leader(server: &NatsServer) {
    let mut cluster = NatsCluster::start(server, 3);
    let runtime = runtime();
    let mut options = options(&cluster);
    options.deadline = std::time::Duration::from_secs(20);
    let store = runtime.block_on(open(&options));
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let writer = runtime.spawn(write(store.clone(), stopped));
    let follower = runtime.spawn(follow(store.clone(), ended));
    let count = || {
        let key = Key::new("count/a").expect("a key");
        let found = runtime.block_on(store.get(&key)).ok()?;
        String::from_utf8(found?.value).ok()?.parse::<u64>().ok()
    };
    let wait_beyond = |from: u64| while count().is_none_or(|count| count < from + 50) {};
    wait_beyond(0);
    let stream = format!("KV_{}", options.bucket);
    let leader = cluster
        .leader_of(&stream)
        .expect("a stream that is written to");
    cluster.kill(leader);
    wait_beyond(count().unwrap_or_default());
    cluster.restart(leader);
    wait_beyond(count().unwrap_or_default());
    stop.send(()).expect("the writer writes");
    let last = runtime.block_on(writer).expect("no change was lost");
    end.send(last).expect("the follower follows");
    runtime.block_on(follower).expect("the watch has no gap");
    assert_eq!(count(), Some(last), "what was confirmed is there");
}

#[test]
fn changes_and_watches_outlast_the_death_of_the_stream_leader() {
    for server in servers() {
        survives_the_death_of_the_leader(&server);
    }
}

#[test]
fn a_watch_of_records_outlasts_the_restart_of_the_only_server() {
    for server in servers() {
        let mut cluster = NatsCluster::start(&server, 1);
        let runtime = runtime();
        let store = Arc::new(runtime.block_on(open(&options(&cluster))));
        let registry = Registry::new(store.clone(), KeyspaceName::main());
        let mut watch = watch_records(store);
        let mut shown = BTreeMap::new();
        let mut see = async |count: usize| {
            while shown.len() < count {
                match watch.next().await.expect("no end") {
                    Ok(Seen::Shard(stored)) => drop(shown.insert(stored.key, stored.revision)),
                    Ok(Seen::Keyspace(stored)) => drop(shown.insert(stored.key, stored.revision)),
                    Ok(_) => {}
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
        };
        runtime.block_on(async {
            registry
                .bootstrap(Partitioning::Named, 3)
                .await
                .expect("new");
            see(4).await;
        });
        cluster.kill(0);
        cluster.restart(0);
        runtime.block_on(async {
            let id = shardwright_registry::topology::ShardId::new("a").expect("a name");
            while let Err(error) = registry.create_partitions([id.clone()]).await {
                assert!(error.is_retryable(), "{error:?}");
            }
            see(5).await;
        });
    }
}
