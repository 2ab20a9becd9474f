//! Copies replicate, fail over, restart and catch up.

use std::time::Duration;

use shardwright_quorum::{
    log::{
        Kind, Level, ReadLevel,
        shard_log::{AppendError, Condition, Entry, ReadError},
    },
    topology::{Epoch, Lsn},
};

use crate::cluster::{Cluster, node_id, within};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_read_at_every_level() {
    let cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    let mut lines = Vec::new();
    for level in [Level::One, Level::Quorum, Level::All] {
        let line = format!("{level:?}");
        let appended = cluster.append(1, &line, level).await;
        assert_eq!((appended.epoch, appended.level), (Epoch(1), level));
        lines.push(line);
        for read in [ReadLevel::Leased, ReadLevel::Consistent] {
            let seen = cluster.read(1, read).await;
            assert_eq!(seen[..], lines[..seen.len()]);
            assert!(
                level == Level::One || seen == lines,
                "an acknowledged write is read"
            );
        }
    }
    for number in [2, 3] {
        cluster.applied(number, Lsn(4)).await;
        assert_eq!(cluster.lines(number), lines);
        let refused = cluster.try_append(number, "no", Level::One).await;
        let hint = Some(node_id(1));
        assert_eq!(refused, Err(AppendError::NotPrimary { hint: hint.clone() }));
        let read = cluster.log(number).barrier(ReadLevel::Leased).await;
        assert_eq!(read, Err(ReadError::NotPrimary { hint }));
        let records = within("records", cluster.log(number).read_from(Lsn(2))).await;
        let records = records.expect("it holds them");
        assert_eq!(
            records
                .iter()
                .map(|record| record.lsn.0)
                .collect::<Vec<_>>(),
            [3, 4]
        );
    }
    let large = Entry::new(Kind::Batch, vec![0; 9 << 20]);
    let refused = cluster
        .log(1)
        .append(large, Level::One, Duration::MAX)
        .await;
    assert!(
        matches!(refused, Err(AppendError::TooLarge { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_goes_on_after_the_primary() {
    let mut cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    for number in 0..50 {
        cluster.append(1, &number.to_string(), Level::Quorum).await;
    }
    cluster.stop(1).await;
    cluster.lead(2, &[1, 2, 3]).await;
    cluster.append(2, "after", Level::Quorum).await;
    let mut lines: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    lines.push("after".to_owned());
    assert_eq!(cluster.read(2, ReadLevel::Leased).await, lines);
    cluster.start(1).await;
    let last = cluster.append(2, "again", Level::All).await;
    lines.push("again".to_owned());
    cluster.applied(1, last.lsn).await;
    assert_eq!(cluster.lines(1), lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_starts_again_is_a_member_until_it_is_named_anew() {
    let mut cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "before", Level::Quorum).await;
    let (me, replica_id) = (cluster.primary(1), cluster.status(1).replica_id);
    cluster.stop(1).await;
    cluster.start(1).await;
    assert_eq!(cluster.status(1).replica_id, replica_id);
    assert!(cluster.primary(1).incarnation > me.incarnation, "P6");
    let refused = cluster.try_append(1, "no", Level::Quorum).await;
    assert!(
        matches!(refused, Err(AppendError::NotPrimary { .. })),
        "{refused:?}"
    );
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "after", Level::Quorum).await;
    assert_eq!(
        cluster.read(1, ReadLevel::Consistent).await,
        ["before", "after"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_away_gets_a_snapshot_of_what_is_trimmed() {
    let mut cluster = Cluster::with(3, |settings, _| {
        (settings.retain, settings.retain_max, settings.trim_step) = (10, 20, 5);
    })
    .await;
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "first", Level::All).await;
    cluster.stop(3).await;
    for number in 0..200 {
        cluster.append(1, &number.to_string(), Level::Quorum).await;
    }
    cluster
        .until(1, "the log is trimmed", |status| status.base.lsn > Lsn(100))
        .await;
    cluster.start(3).await;
    let last = cluster.append(1, "last", Level::All).await;
    cluster.applied(3, last.lsn).await;
    assert_eq!(cluster.lines(3), cluster.lines(1));
    let installed = cluster
        .node(3)
        .disk
        .shown
        .installed
        .lock()
        .expect("a list")
        .len();
    assert!(installed >= 1, "records alone do not suffice");
    let files = std::fs::read_dir(cluster.directory(3))
        .expect("a directory")
        .count();
    assert_eq!(files, 0, "no snapshot stays behind");
    let trimmed = cluster.log(3).read_from(Lsn(1)).await;
    assert!(
        matches!(trimmed, Err(ReadError::Trimmed { .. })),
        "{trimmed:?}"
    );
    cluster.stop(3).await;
    cluster.start(3).await;
    assert_eq!(cluster.status(3).condition, Condition::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_goes_on_in_a_configuration_with_other_members() {
    let cluster = Cluster::new(4).await;
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "before", Level::All).await;
    let learners = cluster.members(&[4]);
    cluster
        .log(1)
        .set_learners(learners)
        .await
        .expect("it runs");
    cluster.applied(4, Lsn(2)).await;
    cluster.lead(1, &[1, 2, 4]).await;
    let appended = cluster.append(1, "after", Level::All).await;
    assert_eq!(appended.epoch, Epoch(2));
    cluster.applied(4, appended.lsn).await;
    assert_eq!(cluster.lines(4), ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_the_writes() {
    let cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    let log = cluster.log(1).clone();
    let writers = (0..32).map(|writer: u32| {
        let log = log.clone();
        tokio::spawn(async move {
            for number in 0..50 {
                let entry = Entry::new(Kind::Batch, format!("{writer} {number}").into_bytes());
                let appended = log
                    .append(entry, Level::Quorum, Duration::from_secs(60))
                    .await;
                appended.expect("it is appended");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        within("a writer", writer).await.expect("it ends well");
    }
    let lines = cluster.read(1, ReadLevel::Leased).await;
    assert_eq!(lines.len(), 32 * 50);
    for writer in 0..32 {
        let own = lines
            .iter()
            .filter_map(|line| line.strip_prefix(&format!("{writer} ")));
        let own: Vec<u32> = own
            .map(|number| number.parse().expect("a number"))
            .collect();
        assert!(own.is_sorted(), "the writes of one writer keep their order");
    }
}
