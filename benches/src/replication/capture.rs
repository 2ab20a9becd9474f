//! Batches of 64 inserts whose changes are captured and logged, against the same inserts and a log of as many bytes.

use std::{fs, path::Path};

use rusqlite::{Connection, TransactionBehavior};
use shardwright_store::{
    Applied, Config, Error as StoreError, Identity, Member, Replica, ShardFile, Synchronous,
    ValueRef, Writer,
};

use super::{
    group_commit,
    rows::{BODY, CREATE, INSERT},
};
use crate::{bare_file::BareFile, harness::Suite};

/// What a batch may take, of what it takes without capture.
const GOAL: f64 = 1.25;

/// The inserts of a batch.
const BATCH: usize = 64;

/// Whether a log is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    Yes,
    No,
}

/// A log that has the bytes before the file has the rows.
#[derive(Debug)]
struct Log {
    file: BareFile,
    sync: Synced,
}

/// A file whose changes are captured.
#[derive(Debug)]
struct Captured {
    writer: Writer,
    applied: Applied,
    log: Log,
}

/// A file of bare SQLite.
#[derive(Debug)]
struct Plain {
    connection: Connection,
    /// As many bytes as the changes of a batch.
    changes: Vec<u8>,
    log: Log,
}

impl Log {
    fn append(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self.sync {
            Synced::Yes => self.file.append(bytes)?,
            Synced::No => self.file.write(bytes)?,
        }
        Ok(())
    }
}

impl Captured {
    /// Runs a batch, and returns the size of its changes.
    fn batch(&mut self) -> anyhow::Result<usize> {
        let insert = |member: &mut Member<'_>| -> Result<(), StoreError> {
            member.execute(INSERT, &[ValueRef::Blob(&BODY)]).map(drop)
        };
        let captured = self.writer.execute_batch(&mut [insert; BATCH])?;
        let changes = captured.changes.as_bytes();
        self.log.append(changes)?;
        self.applied.lsn += 1;
        self.writer.commit_at(self.applied, &[])?;
        Ok(changes.len())
    }
}

impl Plain {
    fn batch(&mut self) -> anyhow::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for _ in 0..BATCH {
            insert.execute([&BODY[..]])?;
        }
        drop(insert);
        self.log.append(&self.changes)?;
        transaction.commit()?;
        Ok(())
    }
}

/// Measures the time of a batch with the syncs of a log, and without any.
pub(super) fn run(suite: &mut Suite, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir(directory)?;
    compare(suite, directory, ("capture_64", Some(GOAL)), Synced::Yes)?;
    compare(suite, directory, ("capture_64_cpu", None), Synced::No)
}

fn compare(
    suite: &mut Suite,
    directory: &Path,
    (case, goal): (&'static str, Option<f64>),
    sync: Synced,
) -> anyhow::Result<()> {
    // What makes the commits durable is the log, on both sides.
    let (synchronous, pragma) = match sync {
        Synced::Yes => (Synchronous::Normal, "NORMAL"),
        Synced::No => (Synchronous::Off, "OFF"),
    };
    let log = |side: &str| -> anyhow::Result<Log> {
        let file = BareFile::create(&directory.join(format!("{case}-{side}.log")))?;
        Ok(Log { file, sync })
    };
    let config = Config {
        synchronous,
        ..Config::default()
    };
    let path = directory.join(format!("{case}-ours.db"));
    let file = ShardFile::create(&path, &Identity::new("bench", "shard-0"), &config)?;
    let mut writer = file.writer()?;
    writer.execute(CREATE, ())?;
    writer.start_replica(&Replica {
        id: [1; 16],
        applied: Applied::default(),
    })?;
    let applied = Applied {
        epoch: 1,
        ..Applied::default()
    };
    let mut ours = Captured {
        writer,
        applied,
        log: log("ours")?,
    };
    let changes = ours.batch()?;
    let path = directory.join(format!("{case}-baseline.db"));
    let mut baseline = Plain {
        connection: group_commit::open(&path, pragma)?,
        changes: vec![0x5a; changes],
        log: log("baseline")?,
    };
    baseline.batch()?;
    suite.time(
        case,
        goal,
        BATCH,
        || {
            ours.batch().expect("it has run before");
        },
        || baseline.batch().expect("it has run before"),
    );
    Ok(())
}
