//! Copies that cannot follow the log, and those that must not.

use shardwright_quorum::log::shard_log::Condition;
use shardwright_server::shard::Write;
use shardwright_store::{Config, Member, ShardFile};
use shardwright_topology::Lsn;

use crate::{
    cluster::{Cluster, insert, wait},
    writing::Writers,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_for_long_gets_a_snapshot() {
    let cluster = Cluster::with(3, |log, _| {
        (log.retain, log.retain_max, log.trim_step) = (10, 20, 1);
    })
    .await;
    let mut writers = Writers::start(&cluster, 4);
    writers.at_least(50).await;
    let primary = cluster.primary_name().await;
    let away = cluster.names().into_iter().find(|name| *name != primary);
    let away = away.expect("there are three");
    let last = |name: &str| {
        cluster
            .shard(name)
            .map(|shard| shard.status().borrow().last.lsn)
    };
    let before = last(&away).expect("it has a copy");
    cluster.kill(&away);
    wait("a log that was trimmed", async || {
        let base = cluster.primary().await.status().borrow().base.lsn;
        (base > Lsn(before.0 + 20)).then_some(())
    })
    .await;
    cluster.restart(&away).await;
    wait("its next file", async || {
        let next = cluster.directory(&away).join("copy/data/shard-1.db");
        next.exists().then_some(())
    })
    .await;
    writers.stop().await;
    cluster.until_equal().await;
    writers.check(&cluster).await;
    // It goes on from the snapshot, also after the next start.
    cluster.shut_down(&away).await;
    cluster.restart(&away).await;
    cluster
        .primary()
        .await
        .write(Write::new(insert("last")))
        .await
        .expect("two are enough");
    cluster.until_equal().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_differs_is_set_aside_and_made_anew() {
    let cluster = Cluster::start(3).await;
    let primary = cluster.primary().await;
    for value in ["one", "two"] {
        primary.write(Write::new(insert(value))).await.expect("new");
    }
    cluster.until_equal().await;
    let leader = cluster.primary_name().await;
    let other = cluster.names().into_iter().find(|name| *name != leader);
    let other = other.expect("there are three");
    let copy_of = |name: &str| cluster.shard(name)?.status().borrow().replica_id;
    let before = copy_of(&other).expect("it has a copy");
    cluster.shut_down(&other).await;
    let path = cluster.directory(&other).join("copy/data/shard-0.db");
    let file = ShardFile::open(&path, &Config::default()).expect("it is closed");
    let sql = "UPDATE written SET value = 'three' WHERE value = 'two'";
    let mut writer = file.writer().expect("nobody has it");
    writer.execute(sql, ()).expect("a row");
    drop(writer);
    file.close().expect("nobody has it");
    cluster.restart(&other).await;
    // Nothing shows it until that row is written.
    cluster.until_applied(&other).await;
    assert_eq!(copy_of(&other), Some(before));
    let change = |member: &mut Member<'_>| {
        member.execute("UPDATE written SET value = 'four' WHERE value = 'two'", ())?;
        Ok(Vec::new())
    };
    cluster
        .primary()
        .await
        .write(Write::new(change))
        .await
        .expect("a majority has it");
    wait("another copy", async || {
        copy_of(&other).filter(|copy| *copy != before)
    })
    .await;
    cluster.until_equal().await;
    assert!(
        cluster.directory(&other).join("aside-1").exists(),
        "people may look at it"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_room_stops_until_there_is_some() {
    let cluster = Cluster::start(3).await;
    let full = cluster.primary_name().await;
    cluster.shut_down(&full).await;
    let small = Config {
        setup_sql: "PRAGMA max_page_count = 40".to_owned(),
        ..Config::default()
    };
    cluster.restart_with(&full, small).await;
    let mut writers = Writers::start(&cluster, 4);
    let is_full = || {
        let shard = cluster.shard(&full)?;
        let condition = shard.status().borrow().condition.clone();
        matches!(condition, Condition::NoRoom(_)).then_some(())
    };
    wait("a full file", async || is_full()).await;
    // The others go on.
    let count = writers.count();
    writers.at_least(count + 100).await;
    assert!(cluster.shard(&full).is_some(), "the node runs");
    cluster.shut_down(&full).await;
    cluster.restart(&full).await;
    writers.stop().await;
    cluster.until_equal().await;
    writers.check(&cluster).await;
    cluster.stop().await;
}
