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

use super::{BaseState, Cut, ImportError, Importing, ShardCopy, SplitBase, Take};
use crate::shard::CopyGap;

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
pub(super) struct Holds(Mutex<HashMap<Position, (Lsn, Timestamp)>>);

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

/// What the copies of a source and of its targets do of a cut.
pub(crate) trait Cutting: ShardCopy {
    /// Has all copies keep aside what they hold, and returns at which record. This copy has to be the primary.
    ///
    /// # Errors
    /// [`CutError`]. A cut that was made all the same does no harm.
    async fn cut(&self, cut: Cut, within: Duration) -> Result<Lsn, CutError> {
        let number = cut.placement.number;
        let starts: Vec<_> = cut.parts.iter().map(|part| part.range.start()).collect();
        let entry = Entry::new(Kind::Cut, SplitBase::Cut(cut).to_bytes());
        let appended = {
            let _turn = self.turn().await;
            let place = self.until_all_applied(within).await?;
            // What is divided has to be all that there is at the record.
            let file = self.file().ok_or(ImportError::NotRunning)?;
            if schema_number(self, file).await? != number {
                return Err(CutError::SchemaChanged);
            }
            let after = Some(place);
            let entry = Entry { after, ..entry };
            self.append(entry, Level::Quorum, within).await?
        };
        self.aside().halts().reached(CopyGap::Cut);
        self.until_applied(appended.lsn, within).await?;
        for start in starts {
            self.hold(start, appended.lsn).await;
        }
        Ok(appended.lsn)
    }

    /// Has the log keep what somebody is yet to read, who is named by where the positions begin that it is about.
    async fn hold(&self, reader: Position, after: Lsn) {
        let first = self.aside().holds().note(reader, after, self.now());
        self.keep_after(first, HOLDING).await;
    }

    /// Has all copies of this shard begin with what they have kept aside. This copy has to be the primary.
    ///
    /// # Errors
    /// What the log says: it may be in the log.
    async fn begin_with(&self, take: Take, within: Duration) -> Result<Lsn, CutError> {
        let entry = Entry::new(Kind::SplitBase, SplitBase::Take(take).to_bytes());
        let appended = {
            let _turn = self.turn().await;
            self.append(entry, Level::Quorum, within).await?
        };
        self.aside().halts().reached(CopyGap::Begun);
        self.until_applied(appended.lsn, within).await?;
        Ok(appended.lsn)
    }

    /// Has the log keep the records since the cut while this copy makes what is kept aside of it.
    async fn hold_while_making(&self) {
        if let Some(at) = self.aside().bases().first_making() {
            self.hold(MAKING, at).await;
        }
    }

    /// Returns how far this copy is with what it keeps aside for another shard.
    fn base(&self, operation: &OperationId, target: &ShardId) -> BaseState {
        let aside = self.aside();
        aside.bases().state(aside.home(), operation, target)
    }
}

impl<C: ShardCopy> Cutting for C {}

/// Returns the number of the schema that the data of a copy has.
///
/// # Errors
/// [`ImportError`].
pub(crate) async fn schema_number(
    copy: &impl ShardCopy,
    file: Arc<ShardFile>,
) -> Result<u64, ImportError> {
    let read = copy.aside_of_tasks(move || {
        let sql = "SELECT value FROM main._meta WHERE key = ?1";
        let key = [Value::from(BROADCAST_KEY)];
        let snapshot = file.snapshot()?;
        snapshot.query_row(sql, &key, |row| row.get(0).as_i64())
    });
    let read = read.await.ok_or(ImportError::NotRunning)?;
    let number = read.map_err(ImportError::Store)?.flatten();
    Ok(number.map_or(0, i64::cast_unsigned))
}
