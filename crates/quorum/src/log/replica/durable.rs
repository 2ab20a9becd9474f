//! What a copy keeps across restarts, and the writes that it is made of.

use std::sync::Arc;

use shardwright_topology::{Lsn, ReplicaId};

use crate::log::{Ballot, Log, NotAppended, Point, Record};

/// Numbers the writes of a member; they become durable in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// What a copy keeps across restarts: all its writes, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// The copy. A copy that may have lost something has a new id.
    pub replica_id: ReplicaId,
    /// The highest ballot promised.
    pub promised: Option<Ballot>,
    /// The records.
    pub log: Log,
    /// The highest record known to be committed: a hint, which may lag.
    pub known_commit: Lsn,
    /// Whether all that was ever made durable is here. If not, the copy shows what is left when it is fenced, and does nothing else.
    pub clean: bool,
}

/// A change to what is kept: atomic in effect, the fields in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Write {
    /// The promise to keep.
    pub promised: Option<Ballot>,
    /// Begin the log anew after this place, which a snapshot reaches.
    pub base: Option<Point>,
    /// Drop the records after this one.
    pub truncate_after: Option<Lsn>,
    /// Append these.
    pub records: Vec<Arc<Record>>,
    /// Drop the records up to this one, for their room only.
    pub trim: Option<Lsn>,
    /// The highest record known to be committed before this write.
    pub known_commit: Lsn,
}

/// Why a copy cannot be opened as what it was: it may have lost acknowledged records (R4). Give it a new id, and begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclean {
    /// The log ends before what is known to be committed.
    #[error("the log ends at {last}, and {known_commit} is committed")]
    LogTooShort {
        /// The last record.
        last: Lsn,
        /// What is known to be committed.
        known_commit: Lsn,
    },
    /// The data does not come from this log.
    #[error("record {applied} was applied, and the log does not hold it")]
    AppliedNotHeld {
        /// The last record that was applied.
        applied: Lsn,
    },
}

impl Durable {
    /// Returns a copy without records.
    #[must_use]
    pub fn new(replica_id: ReplicaId) -> Self {
        Self {
            replica_id,
            promised: None,
            log: Log::default(),
            known_commit: Lsn(0),
            clean: true,
        }
    }

    /// Takes a write in, as it was made or read back.
    ///
    /// # Errors
    /// [`NotAppended`] if its records do not follow: what was read is damaged.
    pub fn take_in(&mut self, write: &Write) -> Result<(), NotAppended> {
        self.take_in_by(write, Log::extend)
    }

    /// Takes in a write of which it is known that its records are intact and follow.
    pub(in crate::log) fn take_in_verified(&mut self, write: &Write) {
        let extend = |log: &mut Log, records: &[Arc<Record>]| {
            log.extend_verified(records);
            Ok::<(), std::convert::Infallible>(())
        };
        match self.take_in_by(write, extend) {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    fn take_in_by<E>(
        &mut self,
        write: &Write,
        extend: impl FnOnce(&mut Log, &[Arc<Record>]) -> Result<(), E>,
    ) -> Result<(), E> {
        if write.promised.is_some() {
            self.promised = write.promised;
        }
        if let Some(base) = write.base {
            self.log = Log::from_base(base);
        }
        if let Some(lsn) = write.truncate_after {
            self.log.truncate_after(lsn);
        }
        extend(&mut self.log, &write.records)?;
        if let Some(lsn) = write.trim {
            self.log.trim(lsn);
        }
        self.known_commit = self.known_commit.max(write.known_commit);
        Ok(())
    }

    /// Checks what is kept against the data, whose last applied record is `applied`, and learns from it what is committed.
    ///
    /// # Errors
    /// [`Unclean`] if something is missing.
    pub(super) fn reconcile(&mut self, applied: Point) -> Result<(), Unclean> {
        if !self.clean {
            self.known_commit = self.known_commit.min(self.log.last().lsn);
            return Ok(());
        }
        if self.log.point(applied.lsn) != Some(applied) {
            let applied = applied.lsn;
            return Err(Unclean::AppliedNotHeld { applied });
        }
        // What was applied is committed, also when nothing was written since.
        self.known_commit = self.known_commit.max(applied.lsn);
        let (last, known_commit) = (self.log.last().lsn, self.known_commit);
        if last < known_commit {
            return Err(Unclean::LogTooShort { last, known_commit });
        }
        Ok(())
    }
}
