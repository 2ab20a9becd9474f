//! Disks and data fail: the copy stops, and nothing else.

use shardwright_quorum::{
    log::{
        Level, ReadLevel,
        shard_log::{AppendError, Condition, Status},
    },
    topology::Lsn,
};

use crate::{
    cluster::{Cluster, within},
    disk::Ill,
};

fn has_no_room(status: &Status) -> bool {
    matches!(status.condition, Condition::NoRoom(_))
}

fn runs(status: &Status) -> bool {
    status.condition == Condition::Running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_room_takes_part_again_when_there_is() {
    let cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "before", Level::All).await;
    let (copy, me) = (cluster.status(3).replica_id, cluster.primary(3));
    cluster.node(3).disk.turn(Ill::Full);
    cluster.append(1, "meanwhile", Level::Quorum).await;
    cluster.until(3, "there is no room", has_no_room).await;
    cluster.append(1, "still", Level::Quorum).await;
    cluster.node(3).disk.turn(Ill::Well);
    cluster.until(3, "it runs", runs).await;
    assert_eq!(cluster.status(3).replica_id, copy, "nothing was lost");
    assert!(cluster.primary(3).incarnation > me.incarnation, "P6");
    let last = cluster.append(1, "after", Level::All).await;
    cluster.applied(3, last.lsn).await;
    assert_eq!(cluster.lines(3), ["before", "meanwhile", "still", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_without_room_knows_not_what_it_appended() {
    let cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "before", Level::All).await;
    cluster.node(1).disk.turn(Ill::LogFull);
    let lost = within("an answer", cluster.try_append(1, "unknown", Level::All)).await;
    assert_eq!(lost, Err(AppendError::Indeterminate));
    cluster.until(1, "there is no room", has_no_room).await;
    let refused = within("an answer", cluster.try_append(1, "no", Level::One)).await;
    assert_eq!(refused, Err(AppendError::NotRunning));
    cluster.lead(2, &[1, 2, 3]).await;
    cluster.append(2, "after", Level::Quorum).await;
    cluster.node(1).disk.turn(Ill::Well);
    let last = cluster.append(2, "last", Level::All).await;
    cluster.applied(1, last.lsn).await;
    assert_eq!(cluster.lines(1), cluster.read(2, ReadLevel::Leased).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_disk_cannot_be_synced_begins_anew() {
    let cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "before", Level::All).await;
    let copy = cluster.status(3).replica_id;
    cluster.node(3).disk.turn(Ill::Broken);
    cluster.append(1, "meanwhile", Level::Quorum).await;
    let is_another = |status: &Status| runs(status) && status.replica_id != copy;
    cluster.node(3).disk.shown.lines();
    cluster
        .until(3, "it is set aside", |status| {
            matches!(status.condition, Condition::SetAside(_)) || status.replica_id != copy
        })
        .await;
    cluster.node(3).disk.turn(Ill::Well);
    cluster.until(3, "it begins anew", is_another).await;
    cluster.append(1, "after", Level::Quorum).await;
    let learners = cluster.members(&[3]);
    cluster
        .log(1)
        .set_learners(learners)
        .await
        .expect("it runs");
    cluster.applied(3, Lsn(4)).await;
    assert_eq!(cluster.lines(3), ["before", "meanwhile", "after"]);
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "whole", Level::All).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_lost_records_while_it_was_away_begins_anew() {
    let mut cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    let last = cluster.append(1, "before", Level::All).await;
    cluster.applied(3, last.lsn).await;
    let copy = cluster.status(3).replica_id;
    cluster.stop(3).await;
    cluster.node(3).disk.lose_the_log();
    cluster.start_with(3, Some(crate::cluster::TOKEN)).await;
    cluster
        .until(3, "it begins anew", |status| {
            runs(status) && status.replica_id.is_some()
        })
        .await;
    assert_ne!(cluster.status(3).replica_id, copy);
    cluster.append(1, "after", Level::Quorum).await;
    assert_eq!(cluster.lines(3), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_data_diverges_is_set_aside() {
    let cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    let copy = cluster.status(2).replica_id;
    *cluster
        .node(2)
        .disk
        .shown
        .diverges
        .lock()
        .expect("a switch") = true;
    cluster.append(1, "one", Level::Quorum).await;
    cluster
        .until(2, "it begins anew", |status| {
            runs(status) && status.replica_id != copy
        })
        .await;
    cluster.append(1, "two", Level::Quorum).await;
    assert_eq!(cluster.read(1, ReadLevel::Consistent).await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stands_still_holds_nobody_up() {
    let cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.node(3).disk.turn(Ill::Stuck);
    for number in 0..100 {
        cluster.append(1, &number.to_string(), Level::Quorum).await;
    }
    cluster.node(3).disk.turn(Ill::Well);
    let last = cluster.append(1, "last", Level::All).await;
    cluster.applied(3, last.lsn).await;
    assert_eq!(cluster.lines(3), cluster.lines(1));
}
