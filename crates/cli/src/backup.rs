//! Backups of a cluster, each in a directory of its own.
//!
//! ```text
//! SHELF/
//!   NAME/                a backup, which is complete
//!     manifest.json      what it is of, and the SHA-256 of each file
//!     registry.db, catalog.db, shard-0.db, ...    a database, as it is restored
//!   NAME.unfinished/     one that is being made, or was interrupted
//! ```
//! A directory gets its name when all that belongs into it is there and on the disk. So what has the name of a backup is one.

mod check;
mod create;
mod error;
mod manifest;
mod restore;
mod shelf;

pub(crate) use self::{
    check::check,
    create::receive,
    error::BackupError,
    manifest::Manifest,
    restore::restore,
    shelf::{Shelf, Shelved, Standing},
};
