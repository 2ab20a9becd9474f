//! The end of a copy that nobody needs.

use std::{ffi::OsString, fs, io, path::Path};

use shardwright_coordinator::failover::replication::{Instruction, Kept as StillNeeded};
use shardwright_registry::{Error, Registry};
use shardwright_topology::{Epoch, Halts, Member, ShardId};

use crate::shard::CopyGap;

/// A copy that a coordinator has found to be of no use.
#[derive(Debug)]
pub(super) struct Deletion {
    /// What it said.
    pub(super) instruction: Instruction,
    pub(super) shard: ShardId,
    pub(super) copy: Member,
    /// The epoch that the copy has promised to obey.
    pub(super) promised: Epoch,
}

/// Why a copy is not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Kept {
    #[error(transparent)]
    Needed(#[from] StillNeeded),
    #[error("the copy was never opened")]
    NoCopy,
    #[error("the copy is being removed")]
    Going,
    #[error("the registry has no record of the shard")]
    NoRecord,
    #[error(transparent)]
    Registry(#[from] Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Deletion {
    /// Takes the copy, which answers nobody any more, out of the registry, if the shard's record lets it go.
    pub(super) async fn release(&self, registry: &Registry) -> Result<(), Kept> {
        let stored = registry.shards().get(&self.shard).await?;
        let stored = stored.ok_or(Kept::NoRecord)?;
        let held = self.copy.replica_id;
        self.instruction.may_delete(held, self.promised, &stored)?;
        registry.forget_copy(&self.shard, &self.copy).await?;
        Ok(())
    }
}

/// Removes what a copy has stored, in a directory of its own. It is renamed first, so that half of it is never taken for a copy.
///
/// # Errors
/// When the disk refuses: some of it may be gone.
pub fn remove(directory: &Path, halts: &Halts<CopyGap>) -> io::Result<()> {
    let Some((parent, name)) = directory.parent().zip(directory.file_name()) else {
        return Ok(());
    };
    let mut going = OsString::from(GOING);
    going.push(name);
    let going = parent.join(going);
    remove_if_there(&going)?;
    fs::rename(directory, &going)?;
    halts.reached(CopyGap::Renamed);
    remove_if_there(&going)
}

/// Removes the copies in a directory whose removal a crash has interrupted.
///
/// # Errors
/// When the disk refuses: some may be left.
pub fn end_removals(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(GOING.as_bytes())
        {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What the names of directories begin with that are being removed: no shard is named so.
const GOING: &str = ".deleted-";
