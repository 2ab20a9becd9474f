//! Disks that are full, fail, or hold something else than was written: the copy on them stops, people are told, and it comes back by itself.

use std::{fs, ops::ControlFlow, path::PathBuf};

use shardwright_coordinator::{core::Notice, protocol::TroubleKind};
use shardwright_quorum::log::shard_log::Condition;
use shardwright_server::shard::{ScrubOptions, Write};
use shardwright_store::{Config, Error, Member, ShardFile};
use shardwright_topology::ReplicaId;

use crate::{
    cluster::{Cluster, node_id, wait},
    copies::{another, copy_of, until_made_anew, with_rows},
    writing::Writers,
};

/// The kinds of trouble that the coordinator shows of a node's copy of the shard.
async fn troubles(cluster: &Cluster, node: &str) -> Vec<String> {
    let shown = cluster.shown().await;
    let troubles = shown["troubles"].as_array().into_iter().flatten();
    let troubles = troubles.filter(|trouble| trouble["node"] == node);
    let kinds = troubles.filter_map(|trouble| trouble["kind"].as_str());
    kinds.map(str::to_owned).collect()
}

/// Whether people were told so of a node.
fn was_told(cluster: &Cluster, node: &str, is_it: impl Fn(&Notice) -> bool) -> bool {
    let of_node = |notice: &Notice| match notice {
        Notice::CopyFailed { node: at, .. } | Notice::CopyBack { node: at, .. } => {
            *at == node_id(node)
        }
        _ => false,
    };
    let events = cluster.events();
    events.iter().any(|notice| of_node(notice) && is_it(notice))
}

/// Waits until people are told that a copy does not work.
async fn until_trouble(cluster: &Cluster, node: &str, expected: TroubleKind) {
    let is_it =
        |notice: &Notice| matches!(notice, Notice::CopyFailed { kind, .. } if *kind == expected);
    wait("an event", async || {
        was_told(cluster, node, is_it).then_some(())
    })
    .await;
}

/// Waits until people are told that it works again, and nothing is shown any more.
async fn until_back(cluster: &Cluster, node: &str) {
    wait("the copy to be back", async || {
        let is_it = |notice: &Notice| matches!(notice, Notice::CopyBack { .. });
        (was_told(cluster, node, is_it) && troubles(cluster, node).await.is_empty()).then_some(())
    })
    .await;
}

/// The SQLite file of a node that does not run.
fn file_of(cluster: &Cluster, node: &str) -> PathBuf {
    cluster.directory(node).join("copy/data/shard-0.db")
}

/// Writes so much that the file has many pages.
async fn with_pages(cluster: &Cluster) {
    with_rows(cluster).await;
    let fill = |member: &mut Member<'_>| {
        member.execute(
            "INSERT INTO written(value) SELECT hex(randomblob(500)) FROM written",
            (),
        )?;
        Ok(Vec::new())
    };
    let written = cluster.primary().await.write(Write::new(fill)).await;
    written.expect("it is new");
    cluster.until_equal().await;
}

/// Overwrites the first page of the table's rows.
fn garble(path: &PathBuf) {
    let file = ShardFile::open(path, &Config::default()).expect("it is closed");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'written'";
    let root = file
        .snapshot()
        .expect("a snapshot")
        .query_row(sql, (), |row| row.get(0).as_i64());
    let root = root.expect("it can be read").flatten().expect("a number");
    let root = usize::try_from(root).expect("a page");
    // What waits in the log goes into the file.
    file.close().expect("nobody has it");
    let mut bytes = fs::read(path).expect("it is closed");
    bytes[(root - 1) * 4096..root * 4096].fill(0xa5);
    fs::write(path, bytes).expect("room");
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
    until_trouble(&cluster, &full, TroubleKind::NoRoom).await;
    // The others go on.
    let count = writers.count();
    writers.at_least(count + 100).await;
    assert!(cluster.shard(&full).is_some(), "the node runs");
    cluster.shut_down(&full).await;
    cluster.restart(&full).await;
    writers.stop().await;
    until_back(&cluster, &full).await;
    cluster.until_equal().await;
    writers.check(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_opened_comes_back_by_itself() {
    let cluster = Cluster::start(3).await;
    with_rows(&cluster).await;
    let other = another(&cluster).await;
    let before = copy_of(&cluster, &other);
    cluster.until_equal().await;
    cluster.shut_down(&other).await;
    // It finds out there whether it can write.
    let obstacle = cluster.directory(&other).join("copy/room");
    fs::create_dir(&obstacle).expect("room");
    cluster.restart(&other).await;
    until_trouble(&cluster, &other, TroubleKind::Unusable).await;
    wait("it to be shown", async || {
        (troubles(&cluster, &other).await == ["unusable"]).then_some(())
    })
    .await;
    fs::remove_dir(&obstacle).expect("it is there");
    until_back(&cluster, &other).await;
    assert_eq!(copy_of(&cluster, &other), before, "nothing was lost");
    cluster.until_equal().await;
    cluster.stop().await;
}

/// Fills the copies with pages, and damages the file of one that is no primary while its node is away. Returns which node that is, and
/// which copy it had.
async fn with_damaged(
    cluster: &Cluster,
    damage: impl FnOnce(&PathBuf),
) -> (String, Option<ReplicaId>) {
    with_pages(cluster).await;
    let other = another(cluster).await;
    let before = copy_of(cluster, &other);
    cluster.shut_down(&other).await;
    damage(&file_of(cluster, &other));
    cluster.restart(&other).await;
    (other, before)
}

fn cut(path: &PathBuf) {
    let file = fs::File::options().write(true).open(path);
    let file = file.expect("it is closed");
    file.set_len(5_000).expect("it can be cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_set_aside_and_made_anew() {
    let cluster = Cluster::start(3).await;
    let (other, before) = with_damaged(&cluster, cut).await;
    until_trouble(&cluster, &other, TroubleKind::SetAside).await;
    until_made_anew(&cluster, &other, before).await;
    until_back(&cluster, &other).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_a_file_is_found_by_the_comparison_of_copies() {
    let cluster = Cluster::start(3).await;
    let (other, before) = with_damaged(&cluster, garble).await;
    cluster.until_applied(&other).await;
    let options = ScrubOptions {
        patience: std::time::Duration::from_secs(1),
        ..ScrubOptions::default()
    };
    let found = cluster.primary().await.scrub(options).await;
    let found = found.expect("it leads");
    assert!(found.missing > 0, "{found:?}");
    until_trouble(&cluster, &other, TroubleKind::SetAside).await;
    until_made_anew(&cluster, &other, before).await;
    until_back(&cluster, &other).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_finds_garbage_stops_the_copy() {
    let cluster = Cluster::start(3).await;
    let (other, before) = with_damaged(&cluster, garble).await;
    cluster.until_applied(&other).await;
    let shard = cluster.shard(&other).expect("it runs");
    let file = cluster.file(&other).await.expect("it is open");
    let snapshot = file.snapshot().expect("a snapshot");
    let read = snapshot.query("SELECT value FROM written", (), |_| {
        ControlFlow::<()>::Continue(())
    });
    let error = read.expect_err("its pages are garbage");
    shard.found(&Error::NoTransaction).await;
    shard.found(&error).await;
    until_made_anew(&cluster, &other, before).await;
    until_back(&cluster, &other).await;
    cluster.stop().await;
}
