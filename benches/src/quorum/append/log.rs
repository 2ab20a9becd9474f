//! Ours: a log of three copies, and no data.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use shardwright_quorum::{
    log::{
        Kind, Level, Point, Record, ShardLog, Snapshot, StateError, StateMachine,
        segments::Options,
        shard_log::{Entry, InDirectory, LogOptions},
    },
    topology::ShardId,
};

use super::{Appends, PAYLOAD};
use crate::copies::{Replica, ThreeCopies};

/// A copy of a log.
#[derive(Debug)]
pub(super) struct BareLog(ShardLog);

impl Replica for BareLog {
    const KIND: &'static str = "log";

    fn start(shard: ShardId, directory: PathBuf, options: LogOptions) -> Self {
        let open = |_: &Path| Ok(Place::default());
        let home = InDirectory::new(directory, Options::default(), open);
        let (log, _task) = ShardLog::start(shard, home, options);
        Self(log)
    }

    fn log(&self) -> &ShardLog {
        &self.0
    }
}

/// Data that is nothing but its place: what it costs to apply a record is not the log's.
#[derive(Debug, Default)]
struct Place(Point);

impl StateMachine for Place {
    fn applied(&self) -> Point {
        self.0
    }

    fn apply(&mut self, records: &[Arc<Record>]) -> Result<(), StateError> {
        self.0 = records.last().map_or(self.0, |last| last.point());
        Ok(())
    }

    fn save(&mut self) -> Result<(), StateError> {
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StateError> {
        let content = Box::new(std::io::empty());
        Ok(Snapshot {
            base: self.0,
            content,
        })
    }

    fn install(&mut self, base: Point, _: &mut dyn Read) -> Result<(), StateError> {
        self.0 = base;
        Ok(())
    }
}

impl Appends for Arc<ThreeCopies<BareLog>> {
    async fn append(&self) -> anyhow::Result<()> {
        let entry = Entry::new(Kind::Batch, PAYLOAD.to_vec());
        let patience = Duration::from_secs(10);
        self.own().0.append(entry, Level::Quorum, patience).await?;
        Ok(())
    }
}
