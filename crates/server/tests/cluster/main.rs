//! Nodes and a coordinator in one process, whose shards are written to while they fail.

mod backups;
mod balancing;
mod by_hand;
mod cluster;
mod coordinated;
mod copies;
mod faults;
mod hrana;
mod interactive;
mod limits;
mod migrating;
mod modelled;
mod moving;
mod once;
mod planned;
mod split;
mod sql;
mod transactions;
mod transfers;
mod writing;

use std::time::Duration;

use shardwright_quorum::log::ClientId;
use shardwright_server::shard::{Identity, ReadLevel, Write, WriteError};

use self::{
    cluster::{Cluster, PATIENCE, count, insert},
    writing::Writers,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_on_every_copy() {
    let cluster = Cluster::start(3).await;
    let mut writers = Writers::start(&cluster, 8);
    writers.at_least(400).await;
    writers.stop().await;
    cluster.until_equal().await;
    writers.check(&cluster).await;
    let primary = cluster.primary().await;
    let fresh = primary.fresh(ReadLevel::Leased, PATIENCE).await;
    assert!(count(&fresh.expect("it leads").file) >= 400);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_costs_nothing_that_was_acknowledged() {
    let cluster = Cluster::start(3).await;
    let mut writers = Writers::start(&cluster, 5);
    for round in 1..=3 {
        writers.at_least(round * 100).await;
        let primary = cluster.primary_name().await;
        cluster.kill(&primary);
        writers.at_least(round * 100 + 50).await;
        cluster.restart(&primary).await;
    }
    writers.stop().await;
    cluster.until_equal().await;
    writers.check(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_a_number_happens_once() {
    let cluster = Cluster::start(3).await;
    let primary = cluster.primary().await;
    let identity = Identity {
        client: ClientId([7; 16]),
        sequence: 1,
    };
    let write = || Write::new(insert("once")).identified(identity, Vec::new());
    let first = primary.write(write()).await.expect("it is written");
    assert!(!first.repeated);
    // Both at once, and neither is the first.
    let (one, two) = tokio::join!(primary.write(write()), primary.write(write()));
    for again in [one, two] {
        let again = again.expect("it is remembered");
        assert_eq!((again.repeated, &again.outcome), (true, &first.outcome));
        assert!(first.token <= again.token);
    }
    cluster.until_equal().await;
    assert_eq!(cluster.rows("n1").await, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_never_run_again() {
    let cluster = Cluster::with(3, |_, memory| {
        memory.window.per_client = 5;
        memory.forget_every = 10;
    })
    .await;
    let primary = cluster.primary().await;
    let write = |sequence: u64| {
        let client = ClientId([7; 16]);
        let identity = Identity { client, sequence };
        Write::new(insert(&format!("value {sequence}"))).identified(identity, Vec::new())
    };
    for sequence in 0..40 {
        primary.write(write(sequence)).await.expect("it is new");
    }
    let old = primary.write(write(1)).await;
    assert!(matches!(old, Err(WriteError::Forgotten)), "{old:?}");
    let last = primary.write(write(39)).await.expect("it is remembered");
    assert!(last.repeated);
    cluster.until_equal().await;
    assert_eq!(cluster.rows("n1").await, 40);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_takes_no_other_along() {
    let cluster = Cluster::start(3).await;
    let primary = cluster.primary().await;
    let writes = (0..40).map(|number| {
        let primary = primary.clone();
        // Every value comes twice.
        let value = format!("value {}", number / 2);
        tokio::spawn(async move { primary.write(Write::new(insert(&value))).await })
    });
    let mut refused = 0;
    for write in writes.collect::<Vec<_>>() {
        match write.await.expect("no panic") {
            Ok(_) => {}
            Err(WriteError::Refused(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(refused, 20);
    cluster.until_equal().await;
    assert_eq!(cluster.rows("n2").await, 20);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_shows_what_led_to_a_token() {
    let cluster = Cluster::start(3).await;
    let primary = cluster.primary().await;
    let name = cluster.primary_name().await;
    for number in 0..20 {
        let value = format!("value {number}");
        let written = primary.write(Write::new(insert(&value))).await;
        let token = written.expect("it is written").token;
        for member in cluster.names().iter().filter(|member| **member != name) {
            let shard = cluster.shard(member).expect("it has a copy");
            let fresh = shard.fresh(ReadLevel::AtLeast(token), PATIENCE).await;
            let fresh = fresh.expect("it follows");
            assert!(fresh.token >= token);
            assert_eq!(count(&fresh.file), number + 1);
            let refused = shard.fresh(ReadLevel::Leased, Duration::from_secs(1)).await;
            assert!(refused.is_err(), "it is not the primary");
            assert!(shard.fresh(ReadLevel::Any, PATIENCE).await.is_ok());
        }
    }
    cluster.stop().await;
}
