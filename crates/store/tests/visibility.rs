//! Random interleavings of writes, reads and snapshots, against a model of what each must see.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::collections::VecDeque;

use proptest::prelude::*;
use shardwright_store::{
    Checkpoint, Config, Identity, Reader, ShardFile, Snapshot, Statement, Synchronous, Value,
};

/// One step of an interleaving.
#[derive(Clone, Debug)]
enum Step {
    /// Inserts so many rows in one transaction, and commits it or not.
    Write { rows: u8, commit: bool },
    /// Reads through the reader that is kept all along, by text or by number.
    ReadKept { numbered: bool },
    /// Reads through a reader that is lent for this read.
    ReadLent { numbered: bool },
    /// Takes a snapshot.
    Snapshot,
    /// Reads through every snapshot, and drops the oldest.
    ReadSnapshots,
    /// Moves the log into the file as far as that goes.
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u8, any::<bool>()).prop_map(|(rows, commit)| Step::Write { rows, commit }),
        4 => any::<bool>().prop_map(|numbered| Step::ReadKept { numbered }),
        4 => any::<bool>().prop_map(|numbered| Step::ReadLent { numbered }),
        1 => Just(Step::Snapshot),
        1 => Just(Step::ReadSnapshots),
        1 => Just(Step::Checkpoint),
    ]
}

const COUNT: &str = "SELECT count(*) FROM t";

fn seen(reader: &mut Reader<'_>, numbered: Option<&Statement>) -> Option<i64> {
    let row = match numbered {
        Some(statement) => reader.query_row(statement, (), |row| row.get(0).as_i64()),
        None => reader.query_row(COUNT, (), |row| row.get(0).as_i64()),
    };
    row.unwrap().flatten()
}

fn write(file: &ShardFile, rows: u8, commit: bool) {
    let mut writer = file.writer().unwrap();
    writer.begin().unwrap();
    for row in 0..rows {
        writer
            .execute("INSERT INTO t VALUES (?1)", &[Value::from(row)])
            .unwrap();
    }
    if commit {
        writer.commit().unwrap();
    }
}

fn run(steps: &[Step], snapshot_reads: bool) {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        snapshot_reads,
        synchronous: Synchronous::Off,
        checkpoint_pages: 5,
        busy_timeout: std::time::Duration::ZERO,
        ..Config::default()
    };
    let path = directory.path().join("shard-0.db");
    let file = ShardFile::create(path, &Identity::new("shop", "shard-0"), &config).unwrap();
    file.writer()
        .unwrap()
        .execute("CREATE TABLE t (v)", ())
        .unwrap();
    let statement = Statement::new(COUNT);
    let mut kept = file.reader().unwrap();
    let mut snapshots: VecDeque<(Snapshot, i64)> = VecDeque::new();
    let mut committed = 0;
    for step in steps {
        match step {
            Step::Write { rows, commit } => {
                write(&file, *rows, *commit);
                committed += if *commit { i64::from(*rows) } else { 0 };
            }
            Step::ReadKept { numbered } => {
                let numbered = numbered.then_some(&statement);
                assert_eq!(seen(&mut kept, numbered), Some(committed));
            }
            Step::ReadLent { numbered } => {
                let numbered = numbered.then_some(&statement);
                let mut lent = file.reader().unwrap();
                assert_eq!(seen(&mut lent, numbered), Some(committed));
            }
            Step::Snapshot if snapshots.len() < 4 => {
                snapshots.push_back((file.snapshot().unwrap(), committed));
            }
            Step::Snapshot | Step::ReadSnapshots => {
                for (snapshot, then) in &snapshots {
                    let seen = snapshot.query_row(COUNT, (), |row| row.get(0).as_i64());
                    assert_eq!(seen.unwrap().flatten(), Some(*then));
                }
                snapshots.pop_front();
            }
            Step::Checkpoint => {
                let done = file.checkpoint(Checkpoint::Passive).unwrap();
                let old = snapshots.iter().any(|(_, then)| *then != committed);
                assert!(done.complete || old || snapshot_reads, "{done:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_read_sees_what_was_committed_before_it_and_a_snapshot_nothing_later(
        steps in prop::collection::vec(step(), 1..60),
        snapshot_reads in any::<bool>(),
    ) {
        run(&steps, snapshot_reads);
    }
}
