//! The data of a copy, as its log changes it.

use std::{io::Read, path::Path, sync::Arc};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_quorum::log::{Point, Record, Snapshot, StateError, StateMachine};
use shardwright_store::Config;

use super::{copy_file::CopyFile, logged_file::LoggedFile};

/// Returns how the data of a shard is opened: what opens it can be asked again after a failure.
pub(super) fn open_state(
    data: Arc<CopyFile>,
    shard: PartitionId,
    config: Config,
) -> impl FnMut(&Path) -> Result<SqliteState, StateError> + Send + 'static {
    move |directory| {
        let opened = LoggedFile::open(directory, &shard, config.clone())?;
        let saved = opened.saved();
        data.open(opened);
        if let Some(file) = data.file() {
            // Most copies are read by nobody.
            file.close_idle_readers();
        }
        Ok(SqliteState {
            data: Arc::clone(&data),
            saved,
        })
    }
}

/// An SQLite file that the records of a log change.
#[derive(Debug)]
pub(super) struct SqliteState {
    data: Arc<CopyFile>,
    /// Up to where no crash takes it back.
    saved: Point,
}

impl Drop for SqliteState {
    fn drop(&mut self) {
        self.data.close();
    }
}

impl StateMachine for SqliteState {
    fn applied(&self) -> Point {
        self.saved
    }

    fn apply(&mut self, records: &[Arc<Record>]) -> Result<(), StateError> {
        for record in records {
            self.data.apply(record)?;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), StateError> {
        self.saved = self.data.save()?;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StateError> {
        self.data.snapshot()
    }

    fn install(&mut self, base: Point, content: &mut dyn Read) -> Result<(), StateError> {
        self.saved = self.data.install(base, content)?;
        Ok(())
    }
}
