//! The records of a source on their way to a target.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use shardwright_quorum::log::{
    BatchMember, Kind, Level, Record,
    shard_log::{AppendError, Entry, ReadError},
};
use shardwright_sql::Placement;
use shardwright_store::{
    ChangeSet, Error as StoreError, META_TABLE, ReplicaError, ShardFile, ValueRef,
};
use shardwright_topology::{KeyRange, Lsn, OperationId, ShardId};

use super::{Cutting, Merging, ShardCopy, import_client, is_own_note};
use crate::shard::{CopyGap, remembered::share};

/// How long records are waited for that are known to be committed.
const READING: Duration = Duration::from_secs(2);

/// What a record of a source means for a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceRecord {
    /// Its changes of rows that belong to the target.
    #[serde(with = "serde_bytes")]
    pub(crate) changes: Vec<u8>,
    /// The writes in it that have numbers.
    pub(crate) members: Vec<BatchMember>,
}

/// Records of a source, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceRecords {
    /// Those that change something, with their numbers.
    pub(crate) records: Vec<(Lsn, SourceRecord)>,
    /// The last one that was looked at.
    pub(crate) through: Lsn,
    /// The last one that there is.
    pub(crate) head: Lsn,
}

/// Which records are wanted, and of which rows.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The positions that the target is to own.
    pub(crate) range: KeyRange,
    /// What leads from a row to its position.
    pub(crate) placement: Arc<Placement>,
    /// Whether the target is the one that tells of writes with several keys.
    pub(crate) tells: bool,
    /// After which record.
    pub(crate) after: Lsn,
    /// Up to which one.
    pub(crate) up_to: Option<Lsn>,
    /// How many, at most.
    pub(crate) count: usize,
    /// How many bytes, about.
    pub(crate) bytes: usize,
}

/// How far a target has taken in what a source has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Imported {
    /// The last record of the source that it has.
    pub(crate) applied: Lsn,
}

/// Why records of a source are not to be had, or not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The log does not keep them any more.
    #[error("the records are not kept any more")]
    Trimmed,
    /// The schema changes in them: it is not known where the rows belong after that.
    #[error("the schema has changed since the shard was divided")]
    SchemaChanged,
    /// The target has not begun with what it keeps aside.
    #[error("the shard has not begun with what it keeps aside")]
    NotBegun,
    /// The copy does not run.
    #[error("the copy does not run")]
    NotRunning,
    /// The log does not say that it has them.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a source and a target do with records.
pub(crate) trait Importing: ShardCopy {
    /// Returns records that are committed, as far as they concern some rows. Ends at once if there are none yet.
    ///
    /// # Errors
    /// [`ImportError`].
    async fn records(&self, wanted: Wanted) -> Result<SourceRecords, ImportError> {
        let shown = self.standing().known_commit;
        // A place that is named is committed, though that may not be shown yet.
        let last = wanted.up_to.unwrap_or(shown);
        self.hold(wanted.range.start(), wanted.after).await;
        let (mut records, mut through, mut bytes) = (Vec::new(), wanted.after, 0);
        while through < last && records.len() < wanted.count && bytes < wanted.bytes {
            let some = match self.read_from(through, READING).await {
                Some(Ok(some)) => some,
                Some(Err(ReadError::Trimmed { .. })) => return Err(ImportError::Trimmed),
                Some(Err(_)) => return Err(ImportError::NotRunning),
                None => break,
            };
            for record in some.iter().take_while(|record| record.lsn <= last) {
                let one = part_of(record, &wanted)?;
                let size = one.as_ref().map_or(0, |_| record.size());
                if bytes > 0 && bytes + size > wanted.bytes {
                    // Together they may be more than one record of the target can take.
                    bytes = wanted.bytes;
                    break;
                }
                through = record.lsn;
                bytes += size;
                records.extend(one.map(|one| (record.lsn, one)));
            }
        }
        Ok(SourceRecords {
            records,
            through,
            head: shown.max(through),
        })
    }

    /// Returns how far this copy is with what a source has written; `None` if it has not begun with anything.
    ///
    /// # Errors
    /// [`ImportError`].
    async fn imported(
        &self,
        operation: &OperationId,
        source: &ShardId,
    ) -> Result<Option<Imported>, ImportError> {
        let file = self.file().ok_or(ImportError::NotRunning)?;
        let client = import_client(operation, source).0;
        let read = self.aside_of_tasks(move || last_import(&file, &client));
        Ok(read.await.ok_or(ImportError::NotRunning)??)
    }

    /// Takes in what a source has written after a record, up to another one, unless that has happened. Returns how far this copy, which has to
    /// be the primary, is then. `merging` says how, if the target has rows of several sources.
    ///
    /// # Errors
    /// [`ImportError`]: what is not known to be in the log may be in it.
    async fn import(
        &self,
        (operation, source): (&OperationId, &ShardId),
        (after, through): (Lsn, Lsn),
        records: Vec<SourceRecord>,
        merging: Option<Merging>,
        within: Duration,
    ) -> Result<Imported, ImportError> {
        let client = import_client(operation, source);
        let appended = {
            let _turn = self.turn().await;
            let place = self.until_all_applied(within).await?;
            let here = self.imported(operation, source).await?;
            let here = here.ok_or(ImportError::NotBegun)?;
            if here.applied != after {
                return Ok(here);
            }
            let file = self.file().ok_or(ImportError::NotRunning)?;
            let taken = self.aside_of_tasks(move || match merging {
                None => taken(records),
                Some(merging) => merging.take(records, &file),
            });
            let (changes, mut members) = taken.await.ok_or(ImportError::NotRunning)??;
            members.push(BatchMember {
                client,
                sequence: through.0,
                positions: Vec::new(),
                outcome: Vec::new(),
            });
            let entry = Entry {
                kind: Kind::Batch,
                members,
                payload: ChangeSet::joined(&changes).into_bytes(),
                after: Some(place),
            };
            self.append(entry, Level::Quorum, within).await?
        };
        self.aside().halts().reached(CopyGap::Imported);
        self.until_applied(appended.lsn, within).await?;
        Ok(Imported { applied: through })
    }

    /// Waits until this copy has applied all that its log has, and returns how far that is.
    async fn until_all_applied(&self, within: Duration) -> Result<Lsn, ImportError> {
        self.until_applied(self.standing().last, within).await
    }

    /// Waits until this copy has applied a record, and returns how far it is.
    async fn until_applied(&self, lsn: Lsn, within: Duration) -> Result<Lsn, ImportError> {
        let place = self.until_place(lsn, within).await;
        place.ok_or(ImportError::NotRunning)
    }
}

impl<C: ShardCopy> Importing for C {}

/// Changes, and the writes with numbers that made them.
pub(super) type Taken = (Vec<ChangeSet>, Vec<BatchMember>);

pub(super) fn taken(records: Vec<SourceRecord>) -> Result<Taken, StoreError> {
    let (mut changes, mut members) = (Vec::with_capacity(records.len()), Vec::new());
    for record in records {
        changes.push(ChangeSet::from_bytes(record.changes)?);
        members.extend(record.members);
    }
    Ok((changes, members))
}

fn last_import(file: &ShardFile, client: &[u8; 16]) -> Result<Option<Imported>, StoreError> {
    let last = file.snapshot()?.last_of(client)?;
    Ok(last.map(|(sequence, _)| Imported {
        applied: Lsn(sequence),
    }))
}

/// Returns what a record of a source means for a target; `None` if it changes nothing.
fn part_of(record: &Record, wanted: &Wanted) -> Result<Option<SourceRecord>, ImportError> {
    match record.kind {
        // What a part changes is in the record that resolves it; the other one has nothing but notes.
        Kind::Batch | Kind::Ddl | Kind::Prepare | Kind::Resolve => {}
        _ => return Ok(None),
    }
    let changes = ChangeSet::from_bytes(record.payload.as_slice());
    let changes = changes.map_err(|error: ReplicaError| StoreError::from(error))?;
    if changes.changes_schema() {
        return Err(ImportError::SchemaChanged);
    }
    let changes = changes.filter(|table, mut row| {
        if table.name == META_TABLE {
            return !is_about_source(row.next());
        }
        match wanted.placement.table(&table.name) {
            Some(placed) => row
                .nth(placed.stored)
                .is_some_and(|key| wanted.range.contains(placed.position(key))),
            None => true,
        }
    });
    let members = record.members.iter().filter_map(|member| {
        let owns = |at| wanted.range.contains(at);
        let outcome = share(&member.outcome, owns, wanted.tells)?;
        Some(BatchMember {
            outcome,
            ..member.clone()
        })
    });
    let members: Vec<_> = members.collect();
    let is_empty = changes.is_empty() && members.is_empty();
    Ok((!is_empty).then(|| SourceRecord {
        changes: changes.into_bytes(),
        members,
    }))
}

/// Whether a note is about the source alone.
pub(super) fn is_about_source(key: Option<ValueRef<'_>>) -> bool {
    let key = key.and_then(|key| key.as_str());
    key.is_some_and(is_own_note)
}
