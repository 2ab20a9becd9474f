//! What a copy keeps aside for other shards, and who is yet to read its log.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use shardwright_quorum::log::{Record, StateError};
use shardwright_store::ShardFile;
use shardwright_topology::Halts;

use super::{
    SplitBase,
    base::{self, Bases, Making},
    cut::Holds,
    record::decode,
};
use crate::shard::{
    CopyGap,
    convert::{fault_of, state_error},
};

/// How long a cut waits for a reader of the file, and with it all records after it.
const SNAPSHOT: Duration = Duration::from_millis(500);

/// What the copy in a directory keeps aside for other shards, and who is yet to read its log.
#[derive(Debug)]
pub struct Aside {
    home: PathBuf,
    bases: Bases,
    holds: Holds,
    halts: Halts<CopyGap>,
}

impl Aside {
    /// Returns that of a copy whose process begins.
    #[must_use]
    pub fn new(home: PathBuf) -> Self {
        Self::halting(home, Halts::default())
    }

    /// Returns the same, with a test that is told of each gap between two steps of an operation.
    #[must_use]
    pub fn halting(home: PathBuf, halts: Halts<CopyGap>) -> Self {
        Self {
            home,
            bases: Bases::default(),
            holds: Holds::default(),
            halts,
        }
    }

    /// Returns the directory of the copy.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Forgets what an earlier process has not completed, or has not removed after the data of this copy had begun with it.
    pub fn opened(&self, file: &ShardFile) {
        if self.bases.first_making().is_none() {
            base::forget_unfinished(&self.home);
        }
        base::forget_taken(&self.home, file);
    }

    /// Begins to keep aside what a record that was just applied says. What is returned makes it, while records are applied; `None` if the file
    /// cannot be read now: others have it, and this copy gets it from them.
    ///
    /// # Errors
    /// [`StateError`]: the record is damaged, or the disk is.
    pub fn cut(&self, record: &Record, file: &ShardFile) -> Result<Option<Making>, StateError> {
        let SplitBase::Cut(cut) = decode(record).map_err(state_error)? else {
            return Ok(None);
        };
        match file.snapshot_within(SNAPSHOT) {
            Ok(snapshot) => Ok(Some(self.bases.begin(
                &self.home,
                record.lsn,
                cut,
                snapshot,
                self.halts.clone(),
            ))),
            Err(error) => fault_of(&error).map_or(Ok(None), Err),
        }
    }

    /// Gives up what is being made, and removes all that lies in the directories of others: the shard owns nothing any more, and its copy has
    /// stopped.
    pub fn leave(&self) {
        self.bases.give_up();
        base::leave(&self.home);
    }

    /// Returns who is told of the gaps between two steps of an operation.
    pub(in crate::shard) fn halts(&self) -> &Halts<CopyGap> {
        &self.halts
    }

    pub(super) fn bases(&self) -> &Bases {
        &self.bases
    }

    pub(super) fn holds(&self) -> &Holds {
        &self.holds
    }
}
