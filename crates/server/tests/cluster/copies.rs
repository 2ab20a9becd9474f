//! Copies that cannot follow the log, and those that must not.

use std::{fs, path::Path, time::Duration};

use shardwright_server::{
    node::Scrubbing,
    shard::{ScrubOptions, Write},
};
use shardwright_store::{Config, Member, ShardFile};
use shardwright_topology::{Lsn, ReplicaId, ShardId};

use crate::{
    cluster::{Cluster, insert, node_id, wait},
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

/// The id of the copy that a node has.
pub(crate) fn copy_of(cluster: &Cluster, name: &str) -> Option<ReplicaId> {
    cluster.shard(name)?.status().borrow().replica_id
}

/// A node that has not the primary.
pub(crate) async fn another(cluster: &Cluster) -> String {
    let primary = cluster.primary_name().await;
    let other = cluster.names().into_iter().find(|name| *name != primary);
    other.expect("there are several")
}

/// Changes a row of a copy, which its node knows nothing of.
async fn change_by_hand(cluster: &Cluster, name: &str) {
    cluster.until_equal().await;
    cluster.shut_down(name).await;
    let path = cluster.directory(name).join("copy/data/shard-0.db");
    let file = ShardFile::open(&path, &Config::default()).expect("it is closed");
    let sql = "UPDATE written SET value = 'three' WHERE value = 'two'";
    let mut writer = file.writer().expect("nobody has it");
    writer.execute(sql, ()).expect("a row");
    drop(writer);
    file.close().expect("nobody has it");
    cluster.restart(name).await;
    cluster.until_applied(name).await;
}

/// Waits until a node has another copy that is equal to the others, and the one before was kept for people to look at.
pub(crate) async fn until_made_anew(cluster: &Cluster, name: &str, before: Option<ReplicaId>) {
    wait("another copy", async || {
        copy_of(cluster, name).filter(|copy| Some(*copy) != before)
    })
    .await;
    cluster.until_equal().await;
    assert!(cluster.directory(name).join("aside-1").exists());
}

pub(crate) async fn with_rows(cluster: &Cluster) {
    let primary = cluster.primary().await;
    for value in ["one", "two"] {
        primary.write(Write::new(insert(value))).await.expect("new");
    }
    for number in 0..50 {
        let value = format!("value {number}");
        let written = primary.write(Write::new(insert(&value))).await;
        written.expect("new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_differs_is_set_aside_and_made_anew() {
    let cluster = Cluster::start(3).await;
    with_rows(&cluster).await;
    let other = another(&cluster).await;
    let before = copy_of(&cluster, &other);
    // Nothing shows it until that row is written.
    change_by_hand(&cluster, &other).await;
    assert_eq!(copy_of(&cluster, &other), before);
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
    until_made_anew(&cluster, &other, before).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_of_copies_finds_one_that_was_changed_and_heals_it() {
    let often = Scrubbing {
        every: Duration::from_secs(1),
        options: ScrubOptions {
            rows: 10,
            pause: Duration::from_millis(1),
            ..ScrubOptions::default()
        },
    };
    let cluster = Cluster::with_scrubbing(3, often, |_, _| {}).await;
    with_rows(&cluster).await;
    let other = another(&cluster).await;
    let before = copy_of(&cluster, &other);
    change_by_hand(&cluster, &other).await;
    // Nobody writes.
    until_made_anew(&cluster, &other, before).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_whose_copy_was_changed_is_outvoted() {
    let cluster = Cluster::start(3).await;
    with_rows(&cluster).await;
    let other = another(&cluster).await;
    let before = copy_of(&cluster, &other);
    let small = ScrubOptions {
        rows: 10,
        ..ScrubOptions::default()
    };
    let equal = cluster.primary().await.scrub(small).await;
    let equal = equal.expect("it leads");
    assert_eq!((equal.differing.len(), equal.undecided), (0, 0));
    assert!(equal.slices > 5 && equal.rows > 50, "{equal:?}");
    assert_eq!(equal.missing, 0);
    change_by_hand(&cluster, &other).await;
    cluster.hand_over(&other).await;
    let shard = cluster.shard(&other).expect("it runs");
    // It ends early, or has found itself.
    if let Ok(found) = shard.scrub(small).await {
        assert_eq!(found.differing, [node_id(&other)].into());
    }
    until_made_anew(&cluster, &other, before).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_compared_while_they_are_written_to() {
    let cluster = Cluster::start(3).await;
    let mut writers = Writers::start(&cluster, 4);
    writers.at_least(100).await;
    let small = ScrubOptions {
        rows: 200,
        pause: Duration::from_millis(5),
        ..ScrubOptions::default()
    };
    for _ in 0..3 {
        let found = cluster.primary().await.scrub(small).await;
        let found = found.expect("it leads");
        assert_eq!((found.differing.len(), found.undecided), (0, 0));
        assert_eq!(found.missing, 0);
    }
    let count = writers.count();
    writers.at_least(count + 50).await;
    writers.stop().await;
    cluster.until_equal().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_never_announced_goes_with_its_shard_when_its_node_starts_again() {
    let cluster = Cluster::start(3).await;
    let name = cluster.names().remove(0);
    cluster.until_applied(&name).await;
    let note = |home: &Path| home.join("UNANNOUNCED");
    let own = cluster.directory(&name);
    wait("it is announced", async || {
        (!note(&own).exists()).then_some(())
    })
    .await;
    cluster.kill(&name);
    // It has died when it had made copies for an operation that is long over.
    let [new, old, empty] = ["op-1.0", "op-1.1", "op-1.2"].map(|it| own.with_file_name(it));
    for home in [&new, &old] {
        fs::create_dir_all(home.join("copy/data")).expect("room");
    }
    fs::write(note(&new), "").expect("room");
    fs::create_dir(&empty).expect("room");
    cluster.restart(&name).await;
    wait("what nobody wants goes", async || {
        (!new.exists() && !empty.exists()).then_some(())
    })
    .await;
    let listed = wait("what may hold something is known", async || {
        let found = cluster.registry().copies().get(&node_id(&name)).await;
        let copies = found.ok().flatten()?.value.copies;
        let old = ShardId::new("op-1.1").expect("a name");
        copies.contains_key(&old).then_some(copies)
    })
    .await;
    assert!(old.join("copy").exists());
    let gone = ["op-1.0", "op-1.2"].map(|it| ShardId::new(it).expect("a name"));
    assert!(gone.iter().all(|it| !listed.contains_key(it)), "{listed:?}");
    cluster.until_equal().await;
    cluster.stop().await;
}
