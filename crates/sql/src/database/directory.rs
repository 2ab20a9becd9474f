//! The directory: keys whose rows are on another shard than their hash says.
//!
//! An entry names the shard of one key of a key space, for all tables of it. It is a row of the table `_directory` on
//! the shard that owns the key's hash, so that the entry is where the rows would be without it, and entries are spread
//! as evenly as keys. Entries are made by insert-if-absent and together with the first row of their key, in one commit,
//! or [moved](ShardedDatabase::reassign_shard) together with all rows. Reading makes none. An entry stays when the last row
//! of its key is deleted: rows that the key gets later come to the same shard.
//!
//! What was looked up is kept in memory. One process writes, so what it keeps is never out of date; a statement that was
//! planned with an entry ends before that entry is moved (`gate`).

mod allocate;
mod cache;
mod entries;
mod gate;
mod lookup;
mod reassign;
mod rows;
mod settings;
mod snapshot;
mod stats;
mod write;

pub(super) use self::write::remove_homes;
pub(crate) use self::{
    entries::{PUT as PUT_ENTRY, TABLES as DIRECTORY_TABLES},
    snapshot::home_in,
};

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use shardwright_hashing::allocation::Allocator;

pub(super) use self::gate::Pass;
use self::{cache::Cache, gate::Gate};
pub use self::{
    entries::DirectoryEntry,
    reassign::Reassigned,
    settings::{Allocation, Strategy},
    stats::ShardStats,
};
use super::{Access, Options, ShardedDatabase};
use crate::{error::Error, plan::Purpose};

/// What a database knows of its directory.
#[derive(Debug)]
pub(super) struct Directory {
    allocation: Allocation,
    /// Whether there may be entries.
    is_on: AtomicBool,
    cache: Mutex<Cache>,
    allocator: Mutex<Allocator>,
    gate: Arc<Gate>,
}

impl Directory {
    pub(super) fn new(options: &Options) -> Self {
        let allocation = options.directory.clone().unwrap_or_default();
        Self {
            allocator: Mutex::new(allocation.allocator()),
            allocation,
            is_on: AtomicBool::new(false),
            cache: Mutex::default(),
            gate: Arc::default(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }
}

impl ShardedDatabase {
    /// Whether keys may have homes of their own: the database was opened with [`Options::directory`](super::Options::directory)
    /// once.
    #[must_use]
    pub fn has_directory(&self) -> bool {
        self.key_directory().is_on()
    }

    pub(super) fn key_directory(&self) -> &Directory {
        &self.inner.shared.directory
    }

    /// Finds out whether there is a directory, and makes its tables if the options ask for one.
    pub(super) fn open_directory(&self) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let (options, places) = (&shared.options, &self.inner.places);
        let is_writable = options.access == Access::ReadWrite;
        if options.directory.is_some() {
            self.check_directory()?;
            if is_writable {
                entries::create(&**places)?;
            }
        }
        let is_on = places.is_exclusive() && entries::are_in(&**places)?;
        shared.directory.is_on.store(is_on, Ordering::Release);
        Ok(())
    }

    fn check_directory(&self) -> Result<(), Error> {
        if !self.inner.places.is_exclusive() {
            return Err(Error::Unsupported {
                what: "a directory of keys where several engines write to the same places"
                    .to_owned(),
                hint: "open the database without one; the coordinator's directory serves such keyspaces",
            });
        }
        let state = self.inner.state.load();
        if state.schema.table(entries::TABLE).is_some() {
            return Err(Error::Exists {
                path: format!("the table {}", entries::TABLE),
            });
        }
        self.inner
            .shared
            .directory
            .allocation
            .check(&self.shard_names())
    }

    /// Whether new keys get entries.
    pub(super) fn makes_entries(&self) -> bool {
        let directory = self.key_directory();
        directory.is_on() && directory.allocation.makes_entries()
    }

    /// Lets a statement in that finds rows by their keys. It must be held until the statement has ended.
    pub(super) fn enter(&self) -> Option<Pass> {
        let directory = self.key_directory();
        directory.is_on().then(|| directory.gate.enter(false))
    }

    /// As [`ShardedDatabase::enter`], for a transaction, which may hold shards that others wait for.
    pub(super) fn enter_transaction(&self) -> Option<Pass> {
        let directory = self.key_directory();
        directory.is_on().then(|| directory.gate.enter(true))
    }

    /// What keys are looked up for; `None` without a directory.
    pub(super) fn purpose(&self, purpose: Purpose) -> Option<Purpose> {
        self.key_directory().is_on().then_some(purpose)
    }
}
