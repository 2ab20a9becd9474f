//! The data of a copy, as its log changes it.

use std::{io::Read, path::Path, sync::Arc};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_quorum::log::{Point, Record, Snapshot, StateError, StateMachine};
use shardwright_store::{
    Config, Error as StoreError, Expect, Identity, Replica, ShardFile, Synchronous,
};

use super::{
    convert::{applied, not_open, point, state_error},
    copy_file::CopyFile,
    generations::Generations,
};

/// Returns how the data of a shard is opened: what opens it can be asked again after a failure.
pub(super) fn open_state(
    data: Arc<CopyFile>,
    shard: &PartitionId,
    config: Config,
) -> impl FnMut(&Path) -> Result<SqliteState, StateError> + Send + 'static {
    let identity = Identity::new(shard.keyspace.as_str(), shard.shard.as_str());
    let config = Config {
        // What a power failure undoes is in the log.
        synchronous: Synchronous::Normal,
        expect: Expect {
            database: Some(identity.database.clone()),
            place: Some(identity.place.clone()),
        },
        ..config
    };
    move |directory| {
        let generations = Generations::find(directory)?;
        let mut state = SqliteState {
            data: Arc::clone(&data),
            generations,
            identity: identity.clone(),
            config: config.clone(),
            saved: Point::default(),
        };
        state.open().map_err(state_error)?;
        Ok(state)
    }
}

/// An SQLite file that the records of a log change.
#[derive(Debug)]
pub(super) struct SqliteState {
    data: Arc<CopyFile>,
    generations: Generations,
    identity: Identity,
    config: Config,
    /// Up to where no crash takes it back.
    saved: Point,
}

impl SqliteState {
    /// Opens the file, or makes an empty one.
    fn open(&mut self) -> Result<(), StoreError> {
        let path = self.generations.current();
        let file = if path.exists() {
            ShardFile::open(&path, &self.config)?
        } else {
            ShardFile::create(&path, &self.identity, &self.config)?
        };
        if file.replica()?.is_none() {
            let replica = Replica {
                id: rand::random(),
                applied: applied(Point::default()),
            };
            file.writer()?.start_replica(&replica)?;
        }
        self.take(file)
    }

    /// Goes on with a file, from what is durable of it.
    fn take(&mut self, file: ShardFile) -> Result<(), StoreError> {
        file.sync()?;
        self.saved = point(file.applied()?);
        self.data.open(file, self.saved)
    }
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
        self.saved = self.data.sync()?;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StateError> {
        let file = self.data.file().ok_or_else(not_open)?;
        let snapshot = file.snapshot().map_err(state_error)?;
        let replica = snapshot.replica().map_err(state_error)?;
        let replica = replica.ok_or_else(not_open)?;
        Ok(Snapshot {
            base: point(replica.applied),
            content: Box::new(self.generations.send(snapshot)),
        })
    }

    fn install(&mut self, base: Point, content: &mut dyn Read) -> Result<(), StateError> {
        let file = self.generations.receive(content, &self.config);
        let file = file.map_err(state_error)?;
        let reached = point(file.applied().map_err(state_error)?);
        if reached != base {
            let why = format!("a snapshot of {} reaches {}", base.lsn, reached.lsn);
            return Err(StateError::Diverged(why.into()));
        }
        self.take(file).map_err(state_error)?;
        Ok(self.generations.clean()?)
    }
}
