//! Transactions whose statements come one after the other.

use std::time::Duration;

use shardwright_server::{
    Shard,
    shard::{Ended, Interactive, Limits, StatementError, Write, WriteError},
};
use shardwright_store::{Member, Value};

use crate::cluster::{Cluster, PATIENCE, insert, wait};

fn count_rows(member: &mut Member<'_>) -> shardwright_store::Result<Option<i64>> {
    let sql = "SELECT count(*) FROM written";
    let found = member.query_row(sql, (), |row| row.get(0).as_i64())?;
    Ok(found.flatten())
}

fn insert_value(
    value: &'static str,
) -> impl FnOnce(&mut Member<'_>) -> shardwright_store::Result<()> {
    move |member| {
        let value = [Value::from(value)];
        member.execute("INSERT INTO written(value) VALUES (?1)", &value)?;
        Ok(())
    }
}

async fn begun(primary: &Shard, limits: Limits) -> Interactive {
    let begun = primary.begin(limits).await.expect("it begins");
    begun.open().expect("it is new")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_happens_as_a_whole_on_every_copy() {
    let cluster = Cluster::start(3).await;
    let primary = cluster.primary().await;
    let transaction = begun(&primary, Limits::default()).await;
    for value in ["one", "two"] {
        transaction.execute(insert_value(value)).await.expect("new");
    }
    let refused = transaction.execute(insert_value("two")).await;
    assert!(matches!(refused, Err(StatementError::Refused(_))));
    let own = transaction.execute(count_rows).await;
    assert_eq!(own.expect("it goes on"), Some(2));
    let name = cluster.primary_name().await;
    assert_eq!(cluster.rows(&name).await, 0, "nobody else sees it");
    let committed = transaction
        .commit(Vec::new())
        .await
        .expect("it is committed");
    assert!(!committed.repeated);
    cluster.until_equal().await;
    assert_eq!(cluster.rows("n3").await, 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_dropped_leaves_nothing_and_others_wait_for_it() {
    let cluster = Cluster::start(1).await;
    let primary = cluster.primary().await;
    let transaction = begun(&primary, Limits::default()).await;
    transaction
        .execute(insert_value("gone"))
        .await
        .expect("new");
    let late = Write::new(insert("late"));
    let late = late.until(
        shardwright_quorum::log::Level::Quorum,
        Duration::from_millis(50),
    );
    let late = primary.write(late).await;
    assert!(matches!(late, Err(WriteError::Late)), "{late:?}");
    let next = tokio::spawn({
        let primary = primary.clone();
        async move { primary.write(Write::new(insert("next"))).await }
    });
    drop(transaction);
    next.await.expect("no panic").expect("its turn has come");
    assert_eq!(cluster.rows("n1").await, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_idles_is_undone() {
    let cluster = Cluster::start(1).await;
    let primary = cluster.primary().await;
    let limits = Limits {
        idle: Duration::from_millis(100),
        ..Limits::default()
    };
    let transaction = begun(&primary, limits).await;
    transaction
        .execute(insert_value("gone"))
        .await
        .expect("new");
    wait("the end", async || transaction.ended().map(drop)).await;
    assert_eq!(transaction.ended(), Some(Ended::Idle));
    let refused = transaction.execute(count_rows).await;
    assert!(matches!(refused, Err(StatementError::Ended(Ended::Idle))));
    let refused = transaction.commit(Vec::new()).await;
    assert!(
        matches!(refused, Err(WriteError::Ended(Ended::Idle))),
        "{refused:?}"
    );
    primary
        .write(Write::new(insert("next")))
        .await
        .expect("free");
    assert_eq!(cluster.rows("n1").await, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_can_end_its_transaction() {
    let cluster = Cluster::start(1).await;
    let primary = cluster.primary().await;
    let transaction = begun(&primary, Limits::default()).await;
    transaction.execute(insert_value("one")).await.expect("new");
    let insert_or_rollback = |member: &mut Member<'_>| {
        member.execute("INSERT OR ROLLBACK INTO written(value) VALUES ('one')", ())
    };
    assert!(transaction.execute(insert_or_rollback).await.is_err());
    wait("the end", async || transaction.ended().map(drop)).await;
    assert_eq!(transaction.ended(), Some(Ended::ByStatement));
    assert!(transaction.commit(Vec::new()).await.is_err());
    assert_eq!(cluster.rows("n1").await, 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_ends_with_its_primary() {
    let cluster = Cluster::start(3).await;
    let (name, primary) = (cluster.primary_name().await, cluster.primary().await);
    let transaction = begun(&primary, Limits::default()).await;
    transaction
        .execute(insert_value("gone"))
        .await
        .expect("new");
    cluster.kill(&name);
    let other = wait("another primary", async || {
        let other = cluster.primary_name().await;
        (other != name).then_some(other)
    })
    .await;
    let committed = transaction.commit(Vec::new()).await;
    assert!(committed.is_err(), "{committed:?}");
    cluster
        .primary()
        .await
        .write(Write::new(insert("next")))
        .await
        .expect("it leads");
    assert_eq!(cluster.rows(&other).await, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_stops_waits_for_no_transaction() {
    let cluster = Cluster::start(1).await;
    let primary = cluster.primary().await;
    let limits = Limits {
        idle: PATIENCE * 2,
        total: PATIENCE * 2,
        ..Limits::default()
    };
    let transaction = begun(&primary, limits).await;
    transaction
        .execute(insert_value("gone"))
        .await
        .expect("new");
    let stopped = tokio::time::timeout(PATIENCE, primary.stop()).await;
    assert!(stopped.is_ok(), "the transaction lasts for longer");
    assert_eq!(transaction.ended(), Some(Ended::NotPrimary));
    cluster.stop().await;
}
