//! The cut: where a source is divided.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shardwright_quorum::log::{
    Kind, Level,
    shard_log::{AppendError, Entry},
};
use shardwright_sql::shards::BROADCAST_KEY;
use shardwright_store::{ShardFile, Value};
use shardwright_topology::{Lsn, OperationId, Position, ShardId, Timestamp};
use tokio::task::spawn_blocking;

use super::{BaseState, Cut, ImportError, SplitBase, Take};
use crate::shard::{CopyGap, Fresh, Shard};

/// How long the records since are kept if nobody reads them.
const HOLDING: Duration = Duration::from_secs(300);

/// Stands among those who read for whoever makes what is kept aside: no target begins there.
const MAKING: Position = Position(u64::MAX);

/// Why a source is not known to be cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutError {
    /// The schema is not the one that the cut was made for. Ask again.
    #[error("the schema has changed meanwhile")]
    SchemaChanged,
    /// The copy cannot be read.
    #[error(transparent)]
    Read(#[from] ImportError),
    /// The log does not say that it has the record.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// From where on the records of a log are to be kept, by who reads them, and until when that holds.
#[derive(Debug, Default)]
pub(in crate::shard) struct Holds(Mutex<HashMap<Position, (Lsn, Timestamp)>>);

impl Holds {
    /// Notes how far somebody is, and returns the first place that anybody needs.
    fn note(&self, reader: Position, after: Lsn, now: Timestamp) -> Lsn {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, (_, until)| now < *until);
        held.insert(reader, (after, now + HOLDING));
        held.values()
            .map(|(after, _)| *after)
            .min()
            .unwrap_or(after)
    }
}

impl Shard {
    /// Has all copies keep aside what they hold, and returns at which record. This copy has to be the primary.
    ///
    /// # Errors
    /// [`CutError`]. A cut that was made all the same does no harm.
    pub(crate) async fn cut(&self, cut: Cut, within: Duration) -> Result<Lsn, CutError> {
        let number = cut.placement.number;
        let starts: Vec<_> = cut.parts.iter().map(|part| part.range.start()).collect();
        let entry = Entry::new(Kind::Cut, SplitBase::Cut(cut).to_bytes());
        let appended = {
            let _turn = self.turn.lock().await;
            let place = self.until_all_applied(within).await?;
            // What is divided has to be all that there is at the record.
            let file = self.data.file().ok_or(ImportError::NotRunning)?;
            if schema_number(file).await? != number {
                return Err(CutError::SchemaChanged);
            }
            let after = Some(place);
            let entry = Entry { after, ..entry };
            self.log.append(entry, Level::Quorum, within).await?
        };
        self.data.halts().reached(CopyGap::Cut);
        self.until_place(appended.lsn, within).await?;
        for start in starts {
            self.hold(start, appended.lsn).await;
        }
        Ok(appended.lsn)
    }

    /// Has the log keep what somebody is yet to read, who is named by where the positions begin that it is about.
    pub(super) async fn hold(&self, reader: Position, after: Lsn) {
        let now = self.clock().now();
        let first = self.data.holds().note(reader, after, now);
        // A log that has stopped keeps what it has.
        let _held = self.log.hold(first, HOLDING).await;
    }

    /// Has all copies of this shard begin with what they have kept aside. This copy has to be the primary.
    ///
    /// # Errors
    /// What the log says: it may be in the log.
    pub(crate) async fn begin_with(&self, take: Take, within: Duration) -> Result<Lsn, CutError> {
        let entry = Entry::new(Kind::SplitBase, SplitBase::Take(take).to_bytes());
        let appended = {
            let _turn = self.turn.lock().await;
            self.log.append(entry, Level::Quorum, within).await?
        };
        self.data.halts().reached(CopyGap::Begun);
        self.until_place(appended.lsn, within).await?;
        Ok(appended.lsn)
    }

    /// Has the log keep the records since the cut while this copy makes what is kept aside of it.
    pub(crate) async fn hold_while_making(&self) {
        if let Some(at) = self.data.bases().first_making() {
            self.hold(MAKING, at).await;
        }
    }

    /// Returns how far this copy is with what it keeps aside for another shard.
    pub(crate) fn base(&self, operation: &OperationId, target: &ShardId) -> BaseState {
        self.data.bases().state(self.data.home(), operation, target)
    }
}

impl Fresh {
    /// Returns the number of the schema that the data has.
    ///
    /// # Errors
    /// [`ImportError`].
    pub(crate) async fn schema_number(&self) -> Result<u64, ImportError> {
        schema_number(Arc::clone(&self.file)).await
    }
}

async fn schema_number(file: Arc<ShardFile>) -> Result<u64, ImportError> {
    let read = spawn_blocking(move || {
        let sql = "SELECT value FROM main._meta WHERE key = ?1";
        let key = [Value::from(BROADCAST_KEY)];
        let snapshot = file.snapshot()?;
        snapshot.query_row(sql, &key, |row| row.get(0).as_i64())
    });
    let read = read.await.map_err(|_| ImportError::NotRunning)?;
    let number = read.map_err(ImportError::Store)?.flatten();
    Ok(number.map_or(0, i64::cast_unsigned))
}
