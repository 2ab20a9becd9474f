//! Writers that change one key at once: none is lost, and the rate does not collapse.

use std::{sync::Arc, time::Duration};

use shardwright_registry::{Prefix, Records};
use shardwright_testkit::{Count, nats::servers};
use tokio::time::Instant;

use super::*;

fn records(store: NatsStore) -> Records<Count> {
    Records::new(Arc::new(store), Prefix::new("count/").expect("a prefix"))
}

/// Counts up until the time is over, and returns how often.
async fn count_for(records: Records<Count>, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut counted = 0;
    while Instant::now() < until {
        records
            .update("a", |found| Ok(found.next()))
            .await
            .expect("a change");
        counted += 1;
    }
    counted
}

/// How often so many writers with a connection each change one key in a while.
async fn changes(options: &NatsOptions, writers: usize, time: Duration) -> u64 {
    let shared = records(open(options).await);
    let (before, _) = shared
        .create_if_absent("a", Count::default())
        .await
        .expect("a first value");
    let mut tasks = Vec::new();
    for _ in 0..writers {
        tasks.push(tokio::spawn(count_for(records(open(options).await), time)));
    }
    let mut counted = 0;
    for task in tasks {
        counted += task.await.expect("no panic");
    }
    let after = shared.get("a").await.expect("readable").expect("created");
    assert_eq!(
        after.value.count,
        before.value.count + counted,
        "no change is lost"
    );
    counted
}

#[test]
fn no_change_of_eight_writers_is_lost_and_their_rate_does_not_collapse() {
    let time = Duration::from_secs(2);
    for server in servers() {
        for size in [1, 3] {
            let cluster = NatsCluster::start(&server, size);
            runtime().block_on(async {
                let options = options(&cluster);
                let alone = changes(&options, 1, time).await;
                let contended = changes(&options, 8, time).await;
                println!(
                    "{} x {size}: alone {alone}, eight {contended}",
                    server.version
                );
                assert!(
                    alone < contended * 20,
                    "{contended} of eight, {alone} alone"
                );
            });
        }
    }
}
